//! The log as pages and as a stream.

use std::time::Duration;

use axum::body::Body;
use futures::StreamExt as _;
use holdpoint_model::{Command, Role};
use http::{Request, header};
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::{World, person, seed::Seed};

/// Reads a stream until `until` says that it has seen enough, or the stream ends.
async fn read(world: &World, request: Request<Body>, until: impl Fn(&str) -> bool) -> (String, bool) {
    let response = world.router.clone().oneshot(request).await.expect("infallible");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let mut body = response.into_body().into_data_stream();
    let mut text = String::new();
    loop {
        match tokio::time::timeout(Duration::from_secs(10), body.next()).await.expect("in time") {
            None => return (text, true),
            Some(chunk) => text.push_str(std::str::from_utf8(&chunk.expect("chunk")).expect("text")),
        }
        if until(&text) {
            return (text, false);
        }
    }
}

fn stream(path: &str, token: &str, last: Option<u64>) -> Request<Body> {
    let mut request = Request::get(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::ACCEPT, "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    request.body(Body::empty()).expect("request")
}

/// The ids of a stream's events, in order.
fn ids(text: &str) -> Vec<u64> {
    text.lines().filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse().expect("id")).collect()
}

#[tokio::test]
async fn a_stream_gives_all_and_ends_after_the_end() {
    let world = World::new().await;
    let (user, token) = world.user("ada", Role::Asker).await;
    let mut seed = Seed::create(&world.store, &person(user, "ada"), "Work", "Work").await;
    seed.work().await;
    seed.text("Hello").await;
    seed.command(Command::Cancel { by: person(user, "ada") }).await;
    seed.gone(holdpoint_model::command::Gone::Stopped).await;
    let last = world.store.execution(seed.id).await.expect("read").expect("execution").seq;

    let path = format!("/v1/executions/{}/events", seed.id);
    let (text, ended) = read(&world, stream(&path, &token, None), |_| false).await;
    assert!(ended);
    assert_eq!(ids(&text), (1..=last).collect::<Vec<_>>());
    assert!(text.contains("event: execution_created\n"), "{text}");
    assert!(text.trim_end().ends_with("event: end\ndata: {}"), "{text}");
    let first = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
    let first: serde_json::Value = serde_json::from_str(first).expect("json");
    assert_eq!(first["seq"], 1);
    assert_eq!(first["kind"], "execution_created");
    assert_eq!(first["data"]["agent"], "claude");
    assert!(first["at"].as_str().expect("time").ends_with('Z'));

    let (text, _) = read(&world, stream(&format!("{path}?after=3"), &token, None), |_| false).await;
    assert_eq!(ids(&text), (4..=last).collect::<Vec<_>>());
    let (text, _) = read(&world, stream(&format!("{path}?after=1"), &token, Some(5)), |_| false).await;
    assert_eq!(ids(&text), (6..=last).collect::<Vec<_>>(), "Last-Event-ID wins");
}

#[tokio::test]
async fn a_stream_follows_without_losing_or_doubling() {
    let world = World::new().await;
    let (user, token) = world.user("ada", Role::Asker).await;
    let mut seed = Seed::create(&world.store, &person(user, "ada"), "Work", "Work").await;
    let path = format!("/v1/executions/{}/events", seed.id);
    let reader = read(&world, stream(&path, &token, None), |text| ids(text).len() >= 305);
    let writer = async {
        seed.work().await;
        for n in 0..300 {
            seed.text(&format!("line {n}")).await;
        }
    };
    let ((text, ended), ()) = tokio::join!(reader, writer);
    assert!(!ended);
    let seen = ids(&text);
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn streams_end_when_the_server_goes_down() {
    let world = World::new().await;
    let (user, token) = world.user("ada", Role::Asker).await;
    let seed = Seed::create(&world.store, &person(user, "ada"), "Work", "Work").await;
    let request = stream(&format!("/v1/executions/{}/events", seed.id), &token, None);
    let closing = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.closing.cancel();
    };
    let ((text, ended), ()) = tokio::join!(read(&world, request, |_| false), closing);
    assert!(ended);
    assert!(!text.contains("event: end"), "a client must come back: {text}");
}

#[tokio::test]
async fn pages_of_json() {
    let world = World::new().await;
    let (user, token) = world.user("ada", Role::Asker).await;
    let mut seed = Seed::create(&world.store, &person(user, "ada"), "Work", "Work").await;
    seed.work().await;
    let page = |query: &'static str| {
        let request = Request::get(format!("/v1/executions/{}/events{query}", seed.id))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::ACCEPT, "application/json")
            .body(Body::empty())
            .expect("request");
        world.send(request)
    };
    let first = page("?limit=2").await.expect(200).json();
    assert_eq!(first["items"].as_array().expect("items").len(), 2);
    assert_eq!(first["next"], json!(2));
    let rest = page("?after=2").await.expect(200).json();
    assert_eq!(rest["items"][0]["seq"], 3);
    assert!(rest["next"].is_null());
}

/// Lists can be followed: who may see a conversation is told that it goes on, and nobody else is.
#[tokio::test]
async fn changes_are_told_to_those_who_may_see_them() {
    let world = World::new().await;
    let (ada, token) = world.user("ada", Role::Asker).await;
    let (otto, others) = world.user("otto", Role::Asker).await;
    let mine = Seed::create(&world.store, &person(ada, "ada"), "Mine", "Mine").await;
    let mut theirs = Seed::create(&world.store, &person(otto, "otto"), "Theirs", "Theirs").await;

    let request = Request::get("/v1/changes")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::empty())
        .expect("request");
    let response = world.router.clone().oneshot(request).await.expect("infallible");
    assert_eq!(response.status(), 200);
    let mut body = response.into_body().into_data_stream();
    let mut next = async || match tokio::time::timeout(Duration::from_secs(10), body.next()).await {
        Ok(Some(chunk)) => String::from_utf8(chunk.expect("chunk").to_vec()).expect("text"),
        Ok(None) => "over".to_owned(),
        Err(_) => panic!("nothing came"),
    };
    assert!(next().await.contains("event: hello"));

    theirs.work().await;
    world.store.apply(mine.id, Command::Cancel { by: person(ada, "ada") }).await.expect("cancel");
    let told = next().await;
    assert!(told.contains("event: execution") && told.contains(&mine.id.to_string()), "{told}");
    assert!(told.contains("\"status\":\"cancelled\"") && told.contains("\"open_holds\":[]"), "{told}");
    assert!(!told.contains(&theirs.id.to_string()), "{told}");

    let path = format!("/v1/executions/{}/shares", theirs.id);
    world.post(&path, &others, &json!({"name": "ada", "share": "look"})).await.expect(200);
    theirs.text("Hello").await;
    let told = next().await;
    assert!(told.contains(&theirs.id.to_string()), "{told}");

    // Not any more, and at last not at all.
    world.store.unshare(theirs.id, ada, person(otto, "otto").into()).await.expect("unshare");
    theirs.text("Secret").await;
    let end = holdpoint_store::UserChange { active: Some(false), ..Default::default() };
    world.store.change_user(ada, end, person(otto, "otto").into()).await.expect("deactivate");
    assert_eq!(next().await, "over");
}
