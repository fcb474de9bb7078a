//! The panel as a browser without scripts has it.

use axum::body::Body;
use holdpoint_model::{Role, command::Gone};
use http::{Request, header};
use serde_json::json;

use crate::support::{
    World, person,
    seed::{Seed, patch, questions},
};

#[tokio::test]
async fn pages_are_strict() {
    let world = World::new().await;
    let (user, _) = world.user("ada", Role::Admin).await;
    let cookie = world.cookie(user).await;
    let home = world.page("/", &cookie).await.expect(200);
    assert_eq!(
        home.header(header::CONTENT_SECURITY_POLICY),
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    );
    assert_eq!(home.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
    assert_eq!(home.header(header::REFERRER_POLICY), "same-origin");
    assert_eq!(home.header(header::CACHE_CONTROL), "no-store");
    let missing = world.page("/nothing", &cookie).await.expect(404);
    assert!(missing.text().contains("data-problem=\"unknown_route\""));
    world.page("/executions/nothing", &cookie).await.expect(404);

    // Every script and style that a page names is there, for ever.
    let text = home.text();
    let assets: Vec<&str> = text.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(assets.len() >= 3, "{assets:?}");
    let script = assets.iter().find(|asset| asset.ends_with("app.js")).expect("script");
    for asset in &assets {
        let answer = world.page(asset, "").await.expect(200);
        assert!(answer.header(header::CACHE_CONTROL).contains("immutable"), "{asset}");
    }
    let code = world.page(script, "").await;
    for name in code.text().split('"').filter_map(|part| part.strip_prefix("./")) {
        let other = script.replace("app.js", name);
        assert_eq!(world.page(&other, "").await.status, 200, "{name}");
    }
    let old = world.page("/assets/0000/app.css", "").await.expect(200);
    assert_eq!(old.header(header::CACHE_CONTROL), "no-cache");
    world.page("/assets/0000/..%2fapp.css", "").await.expect(404);
}

#[tokio::test]
async fn a_conversation_is_started_and_read_without_scripts() {
    let world = World::with("http://holdpoint.test", true).await;
    let (user, _) = world.user("ada", Role::Asker).await;
    let cookie = world.cookie(user).await;
    let home = world.page("/", &cookie).await.expect(200);
    assert!(home.text().contains("data-agent=\"reviewer\""));
    assert!(home.text().contains("id=\"rehearsal\""));
    let form = world.page("/agents/reviewer", &cookie).await.expect(200);
    for field in
        ["name=\"party\"", "name=\"language\"", "type=\"number\"", "type=\"checkbox\"", "name=\"files\""]
    {
        assert!(form.text().contains(field), "{field}");
    }
    world.page("/agents/nobody", &cookie).await.expect(404);
    let wrong = world.form("/agents/reviewer", &cookie, &[("language", "English")]).await.expect(422);
    assert!(wrong.text().contains("aria-invalid=\"true\""));

    let boundary = "xxx";
    let part = |name: &str, value: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = part("party", "Acme")
        + &part("language", "English")
        + &format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a.txt\"\r\n\r\nhello\r\n"
        )
        + &format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"\"\r\n\r\n\r\n--{boundary}--\r\n"
        );
    let request = Request::post("/agents/reviewer")
        .header(header::COOKIE, &cookie)
        .header("sec-fetch-site", "same-origin")
        .header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"))
        .body(Body::from(body))
        .expect("request");
    let started = world.send(request).await.expect(303);
    let place = started.header(header::LOCATION).to_owned();
    let page = world.page(&place, &cookie).await.expect(200);
    assert!(page.text().contains("Review the contract with Acme"));
    assert!(page.text().contains("attachments/a.txt"));
    assert!(world.page("/executions", &cookie).await.expect(200).text().contains(&place));
    let filtered = world.page("/executions?status=finished&agent=&q=", &cookie).await.expect(200);
    assert!(filtered.text().contains("id=\"empty\""));
}

#[tokio::test]
async fn holds_are_answered_without_scripts() {
    let world = World::new().await;
    let (user, _) = world.user("ada", Role::Asker).await;
    let cookie = world.cookie(user).await;
    let me = person(user, "ada");
    let mut seed = Seed::create(&world.store, &me, "Work", "Work").await;
    seed.work().await;
    let place = format!("/executions/{}", seed.id);
    let store = &world.store;
    let state_of = |hold| async move { store.hold(hold).await.expect("read").expect("hold") };

    let edit = seed.ask("toolu_1", "Bash", json!({"command": "touch a", "timeout": 5})).await;
    let page = world.page(&place, &cookie).await.expect(200);
    for needed in [
        format!("data-hold=\"{edit}\""),
        "data-state=\"open\"".into(),
        "data-action=\"allow\"".into(),
        "data-action=\"allow-conversation\"".into(),
        "Bash(touch *)".into(),
        "data-action=\"deny\"".into(),
    ] {
        assert!(page.text().contains(&needed), "{needed}");
    }
    let path = format!("/holds/{edit}/decision");
    let fields =
        [("action", "allow-edited"), ("edit", "command"), ("edited", "touch b\r\ntouch c"), ("back", &place)];
    let done = world.form(&path, &cookie, &fields).await.expect(303);
    assert_eq!(done.header(header::LOCATION), format!("{place}#h-{edit}"));
    let row = state_of(edit).await;
    let decision = json!(row.hold.state.decision().expect("decision").answer);
    assert_eq!(decision["input"], json!({"command": "touch b\ntouch c", "timeout": 5}));

    let second = world.form(&path, &cookie, &[("action", "deny"), ("back", &place)]).await.expect(409);
    assert!(second.text().contains("answered by ada at"), "{}", second.text());
    let request = Request::post(&path)
        .header(header::COOKIE, &cookie)
        .header("sec-fetch-site", "same-origin")
        .header("x-requested-with", "holdpoint")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from("action=deny"))
        .expect("request");
    let told = world.send(request).await.expect(409).problem();
    assert_eq!(told["answered_by"]["name"], "ada");

    let question = seed.ask("toolu_2", "AskUserQuestion", questions()).await;
    let fields = [
        ("action", "answer"),
        ("q0", "Formal"),
        ("q0-other", "Like a friend"),
        ("q1", "Liability"),
        ("q1", "Payment"),
        ("n1", "in this order"),
    ];
    world.form(&format!("/holds/{question}/decision"), &cookie, &fields).await.expect(303);
    let answer = json!(state_of(question).await.hold.state.decision().expect("decision").answer);
    assert_eq!(answer["answers"]["Which tone should the answer have?"], "Like a friend");
    assert_eq!(answer["answers"]["Which clauses should be renegotiated?"], "Liability, Payment");
    assert_eq!(answer["notes"]["Which clauses should be renegotiated?"], "in this order");

    let plan = seed.ask("toolu_3", "ExitPlanMode", json!({"plan": "# Do it"})).await;
    assert!(world.page(&place, &cookie).await.text().contains("<h1>Do it</h1>"));
    let fields = [("action", "allow-edited"), ("edit", "plan"), ("edited", "# Do it well")];
    world.form(&format!("/holds/{plan}/decision"), &cookie, &fields).await.expect(303);

    let stale = seed.ask("toolu_4", "Bash", json!({"command": "ls"})).await;
    let fields = [("action", "allow"), ("digest", "sha256:0")];
    world.form(&format!("/holds/{stale}/decision"), &cookie, &fields).await.expect(422);
    let fields = [("action", "allow-conversation")];
    world.form(&format!("/holds/{stale}/decision"), &cookie, &fields).await.expect(303);
    assert!(world.page(&place, &cookie).await.text().contains("Allowed in this conversation"));
    let found = world.page(&format!("/holds/{stale}"), &cookie).await.expect(303);
    assert_eq!(found.header(header::LOCATION), format!("{place}#h-{stale}"));

    seed.turn_ended("Done").await;
    let reply = seed.reply_hold().await.to_string();
    assert!(world.page("/inbox", &cookie).await.text().contains(&reply));
    let messages = format!("{place}/messages");
    world.form(&messages, &cookie, &[("text", "Go on"), ("hold", &reply)]).await.expect(303);
    let late = world.form(&messages, &cookie, &[("text", "Me too"), ("hold", &reply)]).await.expect(409);
    assert!(late.text().contains("answered by ada at"));
    world.form(&format!("{place}/cancel"), &cookie, &[]).await.expect(303);
    assert!(world.page(&place, &cookie).await.text().contains("data-outcome=\"cancelled\""));
}

/// Whoever allows something must be able to see all of it.
#[tokio::test]
async fn all_of_what_is_asked_is_on_the_page() {
    let world = World::new().await;
    let (user, _) = world.user("ada", Role::Asker).await;
    let cookie = world.cookie(user).await;
    let mut seed = Seed::create(&world.store, &person(user, "ada"), "Work", "Work").await;
    seed.work().await;
    let old: String = (0..3_000).map(|n| format!("old line {n}\n")).collect();
    let new: String = (0..3_000).map(|n| format!("new line {n}\n")).collect();
    seed.ask("toolu_1", "Edit", json!({"file_path": "/a", "old_string": old, "new_string": new})).await;
    seed.ask(
        "toolu_2",
        "ExitPlanMode",
        json!({"plan": "# Plan\n\n[hidden]: https://example.org/a \"title\"\n\n<!-- a comment -->"}),
    )
    .await;
    for path in [format!("/executions/{}", seed.id), "/inbox".to_owned()] {
        let page = world.page(&path, &cookie).await.expect(200);
        for n in [0, 1_999, 2_000, 2_999] {
            for word in ["old", "new"] {
                let line = format!("{word} line {n}");
                let places = page.text().matches(&format!("{line}<")).count()
                    + page.text().matches(&format!("{line}\n")).count();
                // In the conversation once more, in the folded call.
                assert!(places >= 1, "{line} on {path}");
            }
        }
        for hidden in ["[hidden]: https://example.org/a &quot;title&quot;", "&lt;!-- a comment --&gt;"] {
            assert!(page.text().contains(hidden), "{hidden} on {path}");
        }
    }
}

#[tokio::test]
async fn a_plan_without_text_shows_what_the_agent_wrote() {
    let world = World::new().await;
    let (user, _) = world.user("ada", Role::Asker).await;
    let cookie = world.cookie(user).await;
    let me = person(user, "ada");
    let mut told = Seed::create(&world.store, &me, "Told", "Work").await;
    told.work().await;
    // The CLI asks with nothing where no plan file was written, whatever the model said.
    told.call("toolu_1", "ExitPlanMode", json!({"plan": "# Sketch it"})).await;
    let hold = told.asked("toolu_1", "ExitPlanMode", json!({})).await;
    let mut silent = Seed::create(&world.store, &me, "Silent", "Work").await;
    silent.work().await;
    silent.ask("toolu_2", "ExitPlanMode", json!({})).await;

    let page = |path: String| {
        let (world, cookie) = (&world, &cookie);
        async move { world.page(&path, cookie).await.expect(200).text().to_owned() }
    };
    // What stands in the card itself, not in the folded call before it.
    let card = |page: &str| {
        let from = page.find("The agent proposes a plan").expect("a plan");
        page[from..].split("</section>").next().unwrap_or_default().to_owned()
    };
    let shown = card(&page(format!("/executions/{}", told.id)).await);
    assert!(shown.contains("<h1>Sketch it</h1>") && !shown.contains("No arguments"), "{shown}");
    assert!(shown.contains("name=\"edit\" value=\"plan\""), "{shown}");
    let shown = card(&page(format!("/executions/{}", silent.id)).await);
    assert!(shown.contains("The agent gave no plan text; read what it wrote above."), "{shown}");
    let inbox = page("/inbox".to_owned()).await;
    assert!(inbox.contains("<h1>Sketch it</h1>") && !inbox.contains("No arguments"), "{inbox}");
    assert!(inbox.contains(&format!("href=\"/executions/{}#t-toolu_2\"", silent.id)), "{inbox}");

    let fields = [("action", "allow-edited"), ("edit", "plan"), ("edited", "# Sketch it twice")];
    world.form(&format!("/holds/{hold}/decision"), &cookie, &fields).await.expect(303);
    let row = world.store.hold(hold).await.expect("read").expect("hold");
    let decision = json!(row.hold.state.decision().expect("decision").answer);
    assert_eq!(decision["input"], json!({"plan": "# Sketch it twice"}));
}

#[tokio::test]
async fn an_inbox_of_many_has_pages() {
    let world = World::new().await;
    let (user, _) = world.user("ada", Role::Asker).await;
    let cookie = world.cookie(user).await;
    let mut seed = Seed::create(&world.store, &person(user, "ada"), "Work", "Work").await;
    seed.work().await;
    for n in 0..120 {
        seed.ask(&format!("toolu_{n}"), "Bash", json!({"command": format!("touch {n}")})).await;
    }
    let (mut path, mut seen, mut pages) = ("/inbox".to_owned(), std::collections::BTreeSet::new(), 0);
    loop {
        let page = world.page(&path, &cookie).await.expect(200);
        let holds: Vec<String> = page
            .text()
            .split("data-hold=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap_or_default().to_owned())
            .collect();
        assert!(page.text().contains("120 wait for you in all") && !holds.is_empty(), "{path}");
        assert!(page.text().contains(&format!("name=\"back\" value=\"{path}\"")), "{path}");
        seen.extend(holds);
        pages += 1;
        let Some(next) = page.text().split("rel=\"next\" href=\"").nth(1) else { break };
        path = next.split('"').next().unwrap_or_default().to_owned();
    }
    assert_eq!((seen.len(), pages), (120, 3));
    world.page("/inbox?cursor=x", &cookie).await.expect(422);
}

#[tokio::test]
async fn a_form_that_is_too_long_is_refused_in_the_form_of_its_sender() {
    let world = World::new().await;
    let (user, _) = world.user("ada", Role::Asker).await;
    let cookie = world.cookie(user).await;
    let seed = Seed::create(&world.store, &person(user, "ada"), "Work", "Work").await;
    let send = |script: bool| {
        let mut request = Request::post(format!("/executions/{}/messages", seed.id))
            .header(header::COOKIE, &cookie)
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::CONTENT_LENGTH, 60 * 1024 * 1024);
        if script {
            request = request.header("x-requested-with", "holdpoint");
        }
        world.send(request.body(Body::empty()).expect("request"))
    };
    let told = send(true).await.expect(413).problem();
    assert_eq!(told["detail"], "the body may have at most 48 MiB");
    let page = send(false).await.expect(413);
    assert!(page.text().contains("data-page=\"error\""), "{}", page.text());
    let lost = world.page("/executions/%FF", &cookie).await.expect(400);
    assert!(lost.text().contains("data-problem=\"invalid_path\""), "{}", lost.text());
}

#[tokio::test]
async fn what_others_wrote_stays_text_on_every_page() {
    let world = World::new().await;
    let (user, _) = world.user("ada", Role::Admin).await;
    let cookie = world.cookie(user).await;
    let bad = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'>";
    let me = person(user, bad);
    let mut seed = Seed::create(&world.store, &me, bad, bad).await;
    seed.work().await;
    seed.thinking(bad).await;
    seed.text(bad).await;
    seed.call(bad, bad, json!({ bad: bad })).await;
    seed.result(
        bad,
        bad,
        Some(json!([{"oldStart": 1, "newStart": 1, "lines": [format!("+{bad}"), format!("-{bad}")]}])),
    )
    .await;
    seed.call("toolu_e", "Edit", json!({"file_path": bad, "old_string": bad, "new_string": bad, "x": bad}))
        .await;
    seed.result("toolu_e", bad, Some(patch())).await;
    seed.ask("toolu_1", "Bash", json!({"command": bad, "description": bad, bad: bad})).await;
    seed.ask("toolu_2", "Write", json!({"file_path": bad, "content": bad})).await;
    seed.ask("toolu_3", "mcp__a__b", json!({ bad: [bad] })).await;
    seed.ask("toolu_4", "ExitPlanMode", json!({ "plan": bad })).await;
    seed.ask("toolu_5", "AskUserQuestion", json!({"questions": [
        {"question": bad, "header": bad, "options": [{"label": bad, "description": bad}], "multiSelect": true}
    ]})).await;
    seed.files(&[(bad, 1)]).await;
    seed.gone(Gone::Lost { reason: bad.into() }).await;
    for path in
        ["/", "/executions", "/inbox", &format!("/executions/{}", seed.id), "/executions?q=%3Cscript%3Ealert"]
    {
        let page = world.page(path, &cookie).await.expect(200);
        let text = page.text();
        assert!(!text.contains("<script>alert"), "{path}");
        assert!(!text.contains("<img"), "{path}");
        // Only our own script, by its address.
        assert_eq!(text.matches("<script").count(), 1, "{path}");
        assert!(!text.contains(" style="), "{path}");
        assert!(!text.contains(" onerror=alert(1)>\"'>\""), "{path}");
    }
}

#[tokio::test]
async fn what_comes_live_is_rendered_like_the_page() {
    let world = World::new().await;
    let (user, _) = world.user("ada", Role::Asker).await;
    let cookie = world.cookie(user).await;
    let me = person(user, "ada");
    let mut seed = Seed::create(&world.store, &me, "Work", "Work").await;
    seed.work().await;
    let hold = seed.ask("toolu_1", "Bash", json!({"command": "touch a"})).await;
    seed.decide(hold, &me, json!({"action": "allow"})).await;
    seed.result("toolu_1", "made", None).await;
    seed.command(holdpoint_model::Command::Cancel { by: me.clone() }).await;
    seed.gone(Gone::Stopped).await;
    let live = world.page(&format!("/executions/{}/live?after=2", seed.id), &cookie).await.expect(200);
    let text = live.text();
    let patches: Vec<serde_json::Value> = text
        .split("\n\n")
        .filter(|frame| frame.contains("event: patch"))
        .map(|frame| {
            let data = frame.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
            serde_json::from_str(data).expect("json")
        })
        .collect();
    assert!(text.trim_end().ends_with("event: end\ndata: {}"), "{text}");
    let html: String = patches.iter().map(|patch| patch["html"].as_str().expect("html")).collect();
    assert!(html.contains("id=\"t-toolu_1\""), "{html}");
    assert!(html.contains("data-outcome=\"allowed\""), "{html}");
    assert!(html.contains("data-outcome=\"cancelled\""), "{html}");
    assert_eq!(patches.last().expect("one")["status"], "cancelled");
    let (other, _) = world.user("eve", Role::Asker).await;
    let stranger = world.cookie(other).await;
    world.page(&format!("/executions/{}/live", seed.id), &stranger).await.expect(404);
    world.page(&format!("/executions/{}", seed.id), &stranger).await.expect(404);
}

#[tokio::test]
async fn who_may_only_look_gets_nothing_to_press() {
    let world = World::new().await;
    let (owner, _) = world.user("ada", Role::Asker).await;
    let (viewer, _) = world.user("vera", Role::Viewer).await;
    let cookie = world.cookie(viewer).await;
    let mut seed = Seed::create(&world.store, &person(owner, "ada"), "Work", "Work").await;
    seed.work().await;
    let hold = seed.ask("toolu_1", "Bash", json!({"command": "touch a"})).await;
    let page = world.page(&format!("/executions/{}", seed.id), &cookie).await.expect(200);
    assert!(page.text().contains(&format!("data-hold=\"{hold}\"")), "what is asked is seen");
    assert!(!page.text().contains("data-action="), "{}", page.text());
    let inbox = world.page("/inbox", &cookie).await.expect(200);
    assert!(inbox.text().contains("id=\"empty\""));
    for (path, fields) in [
        (format!("/holds/{hold}/decision"), vec![("action", "allow")]),
        (format!("/executions/{}/messages", seed.id), vec![("text", "hi")]),
        (format!("/executions/{}/cancel", seed.id), vec![]),
        (format!("/executions/{}/finish", seed.id), vec![]),
        (format!("/executions/{}/interrupt", seed.id), vec![]),
        ("/agents/claude".to_owned(), vec![("prompt", "hi")]),
    ] {
        world.form(&path, &cookie, &fields).await.expect(403);
    }
    world.page("/agents/claude", &cookie).await.expect(403);
}
