//! Every endpoint's ordinary answer and its problems.

use axum::body::Body;
use holdpoint_model::{
    AgentDef, Role,
    agent::{HumanDuration, Limits},
};
use http::{Request, header};
use serde_json::{Value, json};

use crate::support::{
    World, person,
    seed::{Seed, questions},
};

/// Ids and times are different in every run.
fn settled(mut value: Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (key, value) in map.iter_mut() {
                    let is_id = value.as_str().is_some_and(|text| {
                        text.len() >= 36 && uuid::Uuid::parse_str(&text[text.len() - 36..]).is_ok()
                    });
                    if is_id {
                        *value = json!("[id]");
                    } else if key.ends_with("_at") && !value.is_null() || key == "at" {
                        *value = json!("[time]");
                    } else {
                        walk(value);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(walk),
            _ => {}
        }
    }
    walk(&mut value);
    value
}

#[tokio::test]
async fn a_conversation_over_the_api() {
    let world = World::new().await;
    let (user, token) = world.user("ada", Role::Asker).await;

    let started = world
        .post("/v1/executions", &token, &json!({"agent": "claude", "inputs": {"prompt": "Write a poem"}}))
        .await
        .expect(201);
    let id = started.json()["id"].as_str().expect("id").to_owned();
    assert_eq!(started.header(header::LOCATION), format!("/v1/executions/{id}"));
    insta::assert_json_snapshot!("started", settled(started.json()));

    let mut seed = Seed::create(&world.store, &person(user, "ada"), "Review", "Review it").await;
    seed.work().await;
    let tool = seed.ask("toolu_1", "Bash", json!({"command": "touch a"})).await;
    let question = seed.ask("toolu_2", "AskUserQuestion", questions()).await;

    let holds = world.get("/v1/holds", &token).await.expect(200).json();
    assert_eq!(holds["items"].as_array().expect("items").len(), 2);
    let one = world.get(&format!("/v1/holds/{tool}"), &token).await.expect(200).json();
    insta::assert_json_snapshot!("hold", settled(one));

    let decided = world
        .post(&format!("/v1/holds/{tool}/decision"), &token, &json!({"action": "allow"}))
        .await
        .expect(200)
        .json();
    assert_eq!(decided["state"], "answered");
    assert_eq!(decided["decision"]["action"], "allow");
    assert_eq!(decided["decision"]["by"]["channel"], "api");
    let answered = json!({"action": "answer", "answers": {
        "Which tone should the answer have?": "Plain",
        "Which clauses should be renegotiated?": ["Liability", "Payment"],
    }});
    let decided =
        world.post(&format!("/v1/holds/{question}/decision"), &token, &answered).await.expect(200).json();
    assert_eq!(decided["decision"]["answers"]["Which clauses should be renegotiated?"], "Liability, Payment");

    let second = world
        .post(&format!("/v1/holds/{tool}/decision"), &token, &json!({"action": "deny"}))
        .await
        .expect(409)
        .problem();
    insta::assert_json_snapshot!("second_answer", settled(second), { ".detail" => "[detail]" });

    let list = world.get("/v1/executions?limit=1", &token).await.expect(200).json();
    assert_eq!(list["items"].as_array().expect("items").len(), 1);
    let next = list["next"].as_str().expect("next");
    let rest = world.get(&format!("/v1/executions?limit=1&cursor={next}"), &token).await.expect(200).json();
    assert_eq!(rest["items"][0]["id"], id.as_str());
    assert!(rest["next"].is_null());
    let none = world.get("/v1/executions?status=finished,error", &token).await.expect(200).json();
    assert_eq!(none["items"], json!([]));

    let whole = world.get(&format!("/v1/executions/{}", seed.id), &token).await.expect(200).json();
    insta::assert_json_snapshot!("execution", settled(whole));
}

/// A hundred and one holds with deadlines in any order; a quarter of them never expire.
#[tokio::test]
async fn holds_come_in_pages_by_deadline() {
    let world = World::new().await;
    let (user, token) = world.user("ada", Role::Asker).await;
    for n in 0..101_u64 {
        let hold = HumanDuration(if n % 4 == 0 { u64::MAX } else { (4 - n % 4) * 3_600_000 });
        let limits = Limits { hold: Some(hold), ..Limits::default() };
        let definition = AgentDef { limits, ..AgentDef::builtin() };
        let me = person(user, "ada");
        let mut seed = Seed::create_with(&world.store, &me, "Work", "Work", "claude", definition, true).await;
        seed.work().await;
        seed.ask("toolu_1", "Bash", json!({"command": format!("touch {n}")})).await;
    }
    for (query, newest_first) in [("", false), ("&status=any", true)] {
        let (mut seen, mut pages, mut cursor) = (Vec::new(), 0, String::new());
        loop {
            let path = format!("/v1/holds?limit=10{query}{cursor}");
            let page = world.get(&path, &token).await.expect(200).json();
            let items = page["items"].as_array().expect("items");
            assert!(items.len() == 10 || page["next"].is_null());
            seen.extend(items.iter().map(|hold| {
                let text = |key: &str| hold[key].as_str().unwrap_or("9999").to_owned();
                (text("expires_at"), text("opened_at"), text("id"))
            }));
            pages += 1;
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!((seen.len(), pages), (101, 11));
        let mut sorted = seen.clone();
        if newest_first {
            sorted.sort_by(|a, b| (&b.1, &b.2).cmp(&(&a.1, &a.2)));
        } else {
            sorted.sort();
        }
        assert!(seen == sorted, "{query}: {seen:#?}");
        sorted.dedup();
        assert_eq!(sorted.len(), 101);
    }
}

#[tokio::test]
async fn messages_and_commands() {
    let world = World::new().await;
    let (user, token) = world.user("ada", Role::Asker).await;
    let mut seed = Seed::create(&world.store, &person(user, "ada"), "Work", "Work").await;
    let path = |what: &str| format!("/v1/executions/{}/{what}", seed.id);
    let (interrupt, messages, finish, cancel) =
        (path("interrupt"), path("messages"), path("finish"), path("cancel"));
    world.post(&interrupt, &token, &json!({})).await.expect(409).problem();
    seed.work().await;
    world
        .post(
            &messages,
            &token,
            &json!({"text": "faster", "mode": "steer", "files": [
                {"name": "note.txt", "content": "aGVsbG8="}
            ]}),
        )
        .await
        .expect(200);
    let attached = world.control.workspace(seed.id).join("attachments/note.txt");
    assert_eq!(std::fs::read_to_string(attached).expect("attached"), "hello");
    world.post(&interrupt, &token, &json!({})).await.expect(200);
    let after = world.post(&finish, &token, &json!({})).await.expect(200).json();
    assert_eq!(after["status"], "running", "the turn goes on until its end");
    let after = world.post(&cancel, &token, &json!({})).await.expect(200).json();
    assert_eq!(after["status"], "cancelled");
    let late = world.post(&messages, &token, &json!({"text": "hello?"})).await.expect(409).problem();
    insta::assert_json_snapshot!("message_after_the_end", late);
    world.post(&cancel, &token, &json!({})).await.expect(409).problem();
}

#[tokio::test]
async fn a_reply_with_files_answers_its_hold() {
    let world = World::new().await;
    let (user, token) = world.user("ada", Role::Asker).await;
    let mut seed = Seed::create(&world.store, &person(user, "ada"), "Work", "Work").await;
    seed.work().await;
    seed.turn_ended("Done. What else?").await;
    let hold = seed.reply_hold().await;
    let path = format!("/v1/holds/{hold}/decision");
    let files = json!([{"name": "a.csv", "content": "YSxi"}]);
    world.post(&path, &token, &json!({"action": "deny", "files": files})).await.expect(422).problem();
    world.post(&path, &token, &json!({"action": "allow"})).await.expect(422).problem();
    world.post(&path, &token, &json!({"action": "reply", "message": "  "})).await.expect(422).problem();
    let done = world
        .post(&path, &token, &json!({"action": "reply", "message": "Look at this", "files": files}))
        .await
        .expect(200)
        .json();
    assert_eq!(done["decision"]["files"], json!(["attachments/a.csv"]));
}

#[tokio::test]
async fn the_same_request_starts_one_conversation() {
    let world = World::new().await;
    let (_, token) = world.user("ada", Role::Asker).await;
    let send = |prompt: &'static str| {
        let request = Request::post("/v1/executions")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", "once")
            .body(Body::from(json!({"agent": "claude", "inputs": {"prompt": prompt}}).to_string()))
            .expect("request");
        world.send(request)
    };
    let first = send("a").await.expect(201).json();
    let again = send("a").await.expect(200).json();
    assert_eq!(first, again);
    insta::assert_json_snapshot!("idempotency_mismatch", send("b").await.expect(409).problem());
}

#[tokio::test]
async fn problems_say_what_and_where() {
    let world = World::new().await;
    let (_, token) = world.user("ada", Role::Asker).await;
    let raw = |body: &'static str| {
        world.send(
            Request::post("/v1/executions")
                .header(header::AUTHORIZATION, format!("Bearer {token}"))
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body))
                .expect("request"),
        )
    };
    insta::assert_json_snapshot!("malformed", raw("{\"agent\": \n oops").await.expect(400).problem());
    insta::assert_json_snapshot!(
        "unknown_field",
        raw("{\"agent\":\"claude\",\"imputs\":{}}").await.expect(422).problem()
    );
    insta::assert_json_snapshot!("unknown_agent", raw("{\"agent\":\"nobody\"}").await.expect(422).problem());
    insta::assert_json_snapshot!(
        "empty_prompt",
        raw("{\"agent\":\"claude\",\"inputs\":{\"prompt\":\"\"}}").await.expect(422).problem()
    );
    insta::assert_json_snapshot!("not_base64", raw("{\"agent\":\"claude\",\"inputs\":{\"prompt\":\"x\"},\"files\":[{\"name\":\"a\",\"content\":\"*\"}]}").await.expect(422).problem());
    insta::assert_json_snapshot!(
        "unknown_route",
        world.get("/v1/nothing", &token).await.expect(404).problem()
    );
    insta::assert_json_snapshot!(
        "wrong_method",
        world.post("/v1/me", &token, &json!({})).await.expect(405).problem()
    );
    insta::assert_json_snapshot!("no_token", world.get("/v1/me", "").await.expect(401).problem());
    insta::assert_json_snapshot!("wrong_token", world.get("/v1/me", "x").await.expect(401).problem());
    insta::assert_json_snapshot!(
        "unknown_execution",
        world.get("/v1/executions/x", &token).await.expect(404).problem()
    );
    insta::assert_json_snapshot!(
        "unknown_status",
        world.get("/v1/executions?status=x", &token).await.expect(422).problem()
    );
    insta::assert_json_snapshot!(
        "unknown_query",
        world.get("/v1/executions?stat=x", &token).await.expect(400).problem()
    );
    world.get("/v1/executions?cursor=x", &token).await.expect(422).problem();
    world.get("/v1/holds?cursor=x", &token).await.expect(422).problem();
    world.get("/v1/holds?status=x", &token).await.expect(422).problem();
    world.get("/v1/holds?execution=x", &token).await.expect(422).problem();
    world.get("/v1/holds/x", &token).await.expect(404).problem();

    for path in [
        "/v1/executions/%FF",
        "/v1/executions/%FF/events",
        "/v1/executions/x/files/%FF",
        "/v1/holds/%FF",
        "/executions/%FF",
        "/assets/%FF/app.css",
    ] {
        let problem = world.get(path, &token).await.expect(400).problem();
        assert_eq!(problem["code"], "invalid_path", "{path}");
    }
    world.post("/v1/executions/%FF/cancel", &token, &json!({})).await.expect(400).problem();
    world.get("/v1/executions/x/events?after=y", &token).await.expect(400).problem();

    let no_type = Request::post("/v1/executions")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::from("{}"))
        .expect("request");
    insta::assert_json_snapshot!("no_content_type", world.send(no_type).await.expect(415).problem());
    let huge = Request::post(format!("/v1/executions/{}/messages", uuid::Uuid::now_v7()))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_LENGTH, 100 * 1024 * 1024)
        .body(Body::empty())
        .expect("request");
    insta::assert_json_snapshot!("too_large", world.send(huge).await.expect(413).problem());
    // Without a length in front, the bytes themselves are counted.
    let endless = Body::from_stream(futures::stream::iter(
        (0..60).map(|_| Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b' '; 1024 * 1024]))),
    ));
    let huge = Request::post("/v1/executions")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(endless)
        .expect("request");
    world.send(huge).await.expect(413).problem();
}

#[tokio::test]
async fn agents_me_status_and_health() {
    let world = World::with("http://holdpoint.test", true).await;
    let (_, token) = world.user("ada", Role::Asker).await;
    let (_, operator) = world.user("otto", Role::Operator).await;
    insta::assert_json_snapshot!("agents", world.get("/v1/agents", &token).await.expect(200).json());
    insta::assert_json_snapshot!("me", settled(world.get("/v1/me", &token).await.expect(200).json()));
    insta::assert_json_snapshot!("status_asker", world.get("/v1/status", &token).await.expect(200).json());
    insta::assert_json_snapshot!(
        "status_operator",
        world.get("/v1/status", &operator).await.expect(200).json()
    );
    let health = world.get("/health", "").await.expect(200);
    assert_eq!(health.json()["status"], "ok");
    assert_eq!(health.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
}

#[tokio::test]
async fn tokens_and_links_are_made_by_admins_alone() {
    let world = World::new().await;
    let (_, admin) = world.user("root", Role::Admin).await;
    let (_, operator) = world.user("otto", Role::Operator).await;
    for path in ["/v1/tokens", "/v1/links"] {
        let body = if path == "/v1/tokens" { json!({"name": "x"}) } else { json!({}) };
        world.post(path, &operator, &body).await.expect(403).problem();
        world.post(path, "", &body).await.expect(401).problem();
        world.post(path, &admin, &json!({"unknown": 1})).await.expect(422).problem();
    }
    let made =
        world.post("/v1/tokens", &admin, &json!({"name": "ci", "role": "asker"})).await.expect(201).json();
    let me = world.get("/v1/me", made["token"].as_str().expect("token")).await.expect(200).json();
    assert_eq!((me["name"].as_str(), me["role"].as_str()), (Some("ci"), Some("asker")));
    world.post("/v1/tokens", &admin, &json!({"name": "ci", "role": "admin"})).await.expect(409).problem();

    let link = world.post("/v1/links", &admin, &json!({"role": "viewer"})).await.expect(201).json();
    let token = link["url"].as_str().expect("url").split_once("token=").expect("token").1.to_owned();
    let fields = [
        ("token", token.as_str()),
        ("name", "vera"),
        ("password", "correct horse"),
        ("again", "correct horse"),
    ];
    world.form("/welcome", "", &fields).await.expect(303);
    let vera = world.store.user_by_name("vera").await.expect("read").expect("user");
    assert_eq!(vera.role, Role::Viewer);
}
