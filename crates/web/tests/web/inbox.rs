//! The inbox of many: filters, whose a hold is, what is put off, several at once, what a browser tells.

use std::time::Duration;

use holdpoint_model::{HoldId, Role, Share};
use http::header;
use serde_json::json;

use crate::support::{World, person, plain_agent, seed::Seed};

async fn asking(world: &World, owner: &holdpoint_model::Actor, title: &str) -> (Seed, HoldId) {
    let mut seed = Seed::create(&world.store, owner, title, "Work").await;
    seed.work().await;
    let hold = seed.ask("toolu_1", "Bash", json!({"command": "touch a"})).await;
    (seed, hold)
}

#[tokio::test]
async fn a_hold_is_assigned_to_those_who_may_decide_it_and_to_nobody_else() {
    let world = World::new().await;
    let (ada, ada_token) = world.user("ada", Role::Approver).await;
    let (asker, asker_token) = world.user("asker", Role::Asker).await;
    let (friend, _) = world.user("friend", Role::Asker).await;
    world.user("grace", Role::Operator).await;
    world.user("viewer", Role::Viewer).await;
    world.user("stranger", Role::Asker).await;
    let gone = world.store.create_user("gone", Role::Operator, None).await.expect("user");
    let change =
        holdpoint_store::UserChange { active: Some(false), ..holdpoint_store::UserChange::default() };
    world.store.change_user(gone.id, change, person(ada, "ada").into()).await.expect("deactivate");
    let (seed, hold) = asking(&world, &person(asker, "asker"), "Work").await;
    world
        .store
        .set_share(seed.id, friend, Share::Answer, person(asker, "asker").into())
        .await
        .expect("share");

    let path = format!("/v1/holds/{hold}/assign");
    for name in ["grace", "asker", "friend", "ADA"] {
        let view = world.post(&path, &ada_token, &json!({"to": name})).await.expect(200).json();
        assert_eq!(view["assigned_to"]["name"].as_str().map(str::to_lowercase), Some(name.to_lowercase()));
    }
    for name in ["viewer", "stranger", "gone", "nobody", ""] {
        let problem = world.post(&path, &ada_token, &json!({"to": name})).await.expect(422).problem();
        assert_eq!(problem["detail"], format!("nobody called {name:?} may answer this hold"));
    }
    // Without a name it is whoever asks; what is written twice is one event.
    let before = world.store.execution(seed.id).await.expect("read").expect("execution").seq;
    world.post(&path, &ada_token, &json!({})).await.expect(200);
    assert_eq!(
        world.store.execution(seed.id).await.expect("read").expect("execution").seq,
        before,
        "hers already"
    );
    let list = |query: &'static str, token: String| {
        let world = &world;
        async move {
            let page = world.get(&format!("/v1/holds?{query}"), &token).await.expect(200).json();
            page["items"].as_array().expect("items").len()
        }
    };
    assert_eq!(list("assigned=me", ada_token.clone()).await, 1);
    assert_eq!(list("assigned=nobody", ada_token.clone()).await, 0);
    assert_eq!(list("assigned=me", asker_token.clone()).await, 0);
    assert_eq!(list("kind=tool&agent=claude", ada_token.clone()).await, 1);
    assert_eq!(list("kind=plan", ada_token.clone()).await, 0);
    assert_eq!(list("due_within=1m", ada_token.clone()).await, 0);
    world.get("/v1/holds?kind=nothing", &ada_token).await.expect(422);
    world.get("/v1/holds?assigned=x", &ada_token).await.expect(422);
    // It says whose it is, not who may answer.
    world
        .post(&format!("/v1/holds/{hold}/decision"), &asker_token, &json!({"action": "allow"}))
        .await
        .expect(200);
    let late = world.post(&path, &ada_token, &json!({"to": null})).await.expect(409).problem();
    assert_eq!(late["answered_by"]["name"], "asker");
}

#[tokio::test]
async fn what_is_snoozed_is_out_of_ones_own_inbox_and_count_alone() {
    let world = World::new().await;
    let (ada, ada_token) = world.user("ada", Role::Approver).await;
    let (grace, _) = world.user("grace", Role::Approver).await;
    let (hers, his) = (world.cookie(ada).await, world.cookie(grace).await);
    let (_, hold) = asking(&world, &person(ada, "ada"), "First").await;
    let (_, other) = asking(&world, &person(ada, "ada"), "Second").await;
    let inbox = world.page("/inbox", &hers).await.expect(200);
    assert!(inbox.text().contains("<title>(2) Inbox · Holdpoint</title>"), "{}", inbox.text());

    let snooze = format!("/holds/{hold}/snooze");
    let done =
        world.form(&snooze, &hers, &[("action", "4h"), ("back", "/inbox?kind=tool")]).await.expect(303);
    assert_eq!(done.header(header::LOCATION), format!("/inbox?kind=tool#i-{hold}"));
    let inbox = world.page("/inbox", &hers).await.expect(200);
    assert!(inbox.text().contains("<title>(1) Inbox"));
    assert!(!inbox.text().contains(&hold.to_string()) && inbox.text().contains(&other.to_string()));
    assert!(inbox.text().contains("1 snoozed"));
    let snoozed = world.page("/inbox?show=snoozed", &hers).await.expect(200);
    assert!(snoozed.text().contains(&hold.to_string()) && !snoozed.text().contains(&other.to_string()));
    assert!(snoozed.text().contains("data-action=\"wake\""));
    assert!(world.page("/inbox", &his).await.expect(200).text().contains("<title>(2) Inbox"));
    // Over the API as well, with what it lists by default left as it was.
    let count = |query: &str| {
        let path = format!("/v1/holds{query}");
        let (world, token) = (&world, ada_token.clone());
        async move { world.get(&path, &token).await.expect(200).json()["items"].as_array().expect("items").len() }
    };
    assert_eq!((count("").await, count("?snoozed=without").await, count("?snoozed=only").await), (2, 1, 1));
    world.form(&snooze, &hers, &[("action", "wake")]).await.expect(303);
    assert_eq!(count("?snoozed=without").await, 2);

    let path = format!("/v1/holds/{hold}/snooze");
    let view = world.post(&path, &ada_token, &json!({"until": "nearly_due"})).await.expect(200).json();
    let until: jiff::Timestamp = view["snoozed_until"].as_str().expect("a time").parse().expect("a time");
    let ends: jiff::Timestamp = view["expires_at"].as_str().expect("a time").parse().expect("a time");
    assert_eq!(ends.as_millisecond() - until.as_millisecond(), 3_600_000);
    // However long somebody wants their peace, it comes back before its end.
    let view = world.post(&path, &ada_token, &json!({"for": "29d"})).await.expect(200).json();
    let again: jiff::Timestamp = view["snoozed_until"].as_str().expect("a time").parse().expect("a time");
    assert_eq!(again, until);
    for wrong in [
        json!({"until": "yesterday"}),
        json!({"until": "2001-01-01T00:00:00Z"}),
        json!({"for": "0s"}),
        json!({"for": "1h", "until": "nearly_due"}),
    ] {
        world.post(&path, &ada_token, &wrong).await.expect(422);
    }
}

/// A hold that ends soon cannot be put off: it would expire unseen.
#[tokio::test]
async fn what_is_nearly_due_is_not_put_off() {
    let world = World::new().await;
    let (ada, token) = world.user("ada", Role::Approver).await;
    let mut definition = plain_agent();
    definition.limits.hold = Some("30m".parse().expect("a time"));
    let me = person(ada, "ada");
    let mut seed = Seed::create_with(&world.store, &me, "Soon", "Work", "claude", definition, false).await;
    seed.work().await;
    let hold = seed.ask("toolu_1", "Bash", json!({"command": "touch a"})).await;
    let path = format!("/v1/holds/{hold}/snooze");
    let problem = world.post(&path, &token, &json!({"for": "5m"})).await.expect(422).problem();
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("nearly due")), "{problem}");
    let due = world.get("/v1/holds?due_within=1h", &token).await.expect(200).json();
    assert_eq!(due["items"][0]["id"], hold.to_string());
    let cookie = world.cookie(ada).await;
    let page = world.page("/inbox?due=hour", &cookie).await.expect(200);
    assert!(page.text().contains("It is nearly due"), "{}", page.text());
}

#[tokio::test]
async fn several_are_decided_one_by_one_and_each_says_how_it_went() {
    let world = World::new().await;
    let (ada, _) = world.user("ada", Role::Approver).await;
    let (grace, grace_token) = world.user("grace", Role::Approver).await;
    let cookie = world.cookie(ada).await;
    let me = person(ada, "ada");
    let (_, first) = asking(&world, &me, "First").await;
    let (_, lost) = asking(&world, &person(grace, "grace"), "Lost").await;
    let (mut seed, third) = asking(&world, &me, "Third").await;
    let question = seed.ask("toolu_2", "AskUserQuestion", json!({"questions": [{"question": "Why?"}]})).await;
    let inbox = world.page("/inbox", &cookie).await.expect(200);
    assert_eq!(inbox.text().matches("data-pick").count(), 3, "questions are answered by themselves");
    // Somebody is quicker.
    world
        .post(&format!("/v1/holds/{lost}/decision"), &grace_token, &json!({"action": "allow"}))
        .await
        .expect(200);
    let ids = [first, lost, third, question].map(|hold| hold.to_string());
    let mut fields = vec![("action", "deny"), ("message", "Not today."), ("back", "/inbox")];
    fields.extend(ids.iter().map(|id| ("hold", id.as_str())));
    fields.push(("hold", "nonsense"));
    let page = world.form("/inbox/decide", &cookie, &fields).await.expect(200);
    assert!(page.text().contains("2 denied, 3 not"), "{}", page.text());
    for (id, outcome) in ids.iter().zip(["done", "refused", "done", "refused"]) {
        let mark = format!("data-decided=\"{id}\" data-outcome=\"{outcome}\"");
        assert!(page.text().contains(&mark), "{mark} in {}", page.text());
    }
    assert!(page.text().contains("It was answered by grace at"), "{}", page.text());
    let row = world.store.hold(first).await.expect("read").expect("hold");
    let decision = row.hold.state.decision().cloned().expect("decided");
    assert_eq!(json!(decision.answer), json!({"action": "deny", "message": "Not today."}));
    assert_eq!(decision.by.name, "ada");
    let row = world.store.hold(question).await.expect("read").expect("hold");
    assert_eq!(row.hold.state.as_str(), "open");
    for wrong in [vec![("action", "allow")], vec![("action", "reply"), ("hold", ids[0].as_str())]] {
        world.form("/inbox/decide", &cookie, &wrong).await.expect(422);
    }
}

#[tokio::test]
async fn filters_are_kept_and_what_is_empty_says_why() {
    let world = World::new().await;
    let (ada, _) = world.user("ada", Role::Approver).await;
    let cookie = world.cookie(ada).await;
    let empty = world.page("/inbox", &cookie).await.expect(200);
    assert!(empty.text().contains("Nothing waits for you.") && !empty.text().contains("inbox-filters"));
    assert!(empty.text().contains("<title>Inbox · Holdpoint</title>"));
    let (_, hold) = asking(&world, &person(ada, "ada"), "<b>Hostile</b>").await;
    let shown = world.page("/inbox?whose=nobody&kind=tool&agent=claude", &cookie).await.expect(200);
    assert!(shown.text().contains(&hold.to_string()) && !shown.text().contains("<b>Hostile"));
    assert!(
        shown.text().contains("value=\"/inbox?whose=nobody&amp;agent=claude&amp;kind=tool\""),
        "{}",
        shown.text()
    );
    let mine = world.page("/inbox?whose=me", &cookie).await.expect(200);
    assert!(mine.text().contains("Nothing like that waits for you."));
    world.form(&format!("/holds/{hold}/assign"), &cookie, &[("action", "take")]).await.expect(303);
    let mine = world.page("/inbox?whose=me", &cookie).await.expect(200);
    assert!(mine.text().contains("Yours") && mine.text().contains("data-action=\"give-back\""));
    let page = world.page(&format!("/holds/{hold}"), &cookie).await.expect(303);
    let page = world.page(page.header(header::LOCATION).split('#').next().unwrap_or_default(), &cookie).await;
    assert!(page.text().contains("with ada"), "the conversation says it too");
    for wrong in ["whose=x", "due=x", "kind=x", "cursor=x"] {
        let page = world.page(&format!("/inbox?{wrong}"), &cookie).await.expect(422);
        assert!(page.text().contains("data-problem=\"invalid_request\""), "{wrong}");
    }
}

/// Anybody may see it: nothing of what it is about is in it.
#[tokio::test]
async fn a_browser_tells_what_is_fit_for_everybodys_eyes() {
    let world = World::new().await;
    let (ada, _) = world.user("ada", Role::Approver).await;
    let (grace, _) = world.user("grace", Role::Approver).await;
    let cookie = world.cookie(ada).await;
    let me = person(ada, "ada");
    let mut seed = Seed::create(&world.store, &me, "hunter2", "hunter2").await;
    seed.work().await;
    let first = seed.ask("toolu_1", "Bash", json!({"command": "login hunter2"})).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    seed.ask("toolu_2", "AskUserQuestion", json!({"questions": [{"question": "hunter2?"}]})).await;
    let (other, _) = asking(&world, &me, "Other").await;
    let news = world.page("/inbox/waiting", &cookie).await.expect(200).json();
    assert_eq!((news["count"].as_u64(), news["mine"].as_u64()), (Some(3), Some(0)));
    let texts: Vec<&str> =
        news["newest"].as_array().expect("list").iter().filter_map(|one| one["text"].as_str()).collect();
    assert_eq!(
        texts,
        ["Claude wants to run a command", "Claude has a question", "Claude wants to run a command"]
    );
    assert!(!news.to_string().contains("hunter2"), "{news}");
    assert_eq!(news["newest"][2]["url"], format!("/holds/{first}"));
    // What is somebody else's is no news for her.
    let to = holdpoint_model::hold::Assignee { user: grace, name: "grace".into() };
    seed.command(holdpoint_model::Command::Assign { hold: first, to: Some(to), by: me.clone() }).await;
    let news = world.page("/inbox/waiting", &cookie).await.expect(200).json();
    assert_eq!(news["newest"].as_array().map(Vec::len), Some(2));
    other.command(holdpoint_model::Command::Cancel { by: me }).await;
    let news = world.page("/inbox/waiting", &cookie).await.expect(200).json();
    assert_eq!((news["count"].as_u64(), news["newest"].as_array().map(Vec::len)), (Some(2), Some(1)));
    let (viewer, _) = world.user("viewer", Role::Viewer).await;
    let cookie = world.cookie(viewer).await;
    assert_eq!(world.page("/inbox/waiting", &cookie).await.expect(200).json()["count"], 0);
}
