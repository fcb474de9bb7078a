//! Looking inside: who may, what it says, and what stays in the log.

use holdpoint_model::{EventBody, Role};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{World, person, seed::Seed};

#[rstest]
#[case(Role::Admin, true)]
#[case(Role::Operator, true)]
#[case(Role::Approver, false)]
#[case(Role::Asker, false)]
#[case(Role::Viewer, false)]
#[tokio::test]
async fn operators_look_inside_and_nobody_else(#[case] role: Role, #[case] may: bool) {
    let world = World::new().await;
    let (user, token) = world.user("me", role).await;
    // Also not into their own.
    let mut seed = Seed::create(&world.store, &person(user, "me"), "Work", "Work").await;
    seed.work().await;
    let (id, cookie) = (seed.id, world.cookie(user).await);
    let status = |of: u16| if may { of } else { 403 };
    for (path, expected) in [
        ("/v1/workers".to_owned(), 200),
        (format!("/v1/executions/{id}/worker"), 200),
        // Nothing was written here.
        (format!("/v1/executions/{id}/logs/worker"), 404),
        (format!("/v1/executions/{id}/logs/cli"), 404),
        (format!("/v1/executions/{id}/logs/container"), 409),
    ] {
        let answer = world.get(&path, &token).await;
        assert_eq!(answer.status, status(expected), "{role} {path}: {}", answer.text());
    }
    let exec = world.post(&format!("/v1/executions/{id}/exec"), &token, &json!({"command": ["id"]})).await;
    assert_eq!(exec.status, status(200), "{role}: {}", exec.text());
    let page = world.page(&format!("/executions/{id}"), &cookie).await.expect(200);
    assert_eq!(page.text().contains("id=\"session\""), may, "{role}");
    world.page(&format!("/executions/{id}/session"), &cookie).await.expect(status(200));
    world.form(&format!("/executions/{id}/session"), &cookie, &[("command", "id")]).await.expect(status(200));
    let ran = world.store.events_of_kind(id, &["command_run"], 0, 10).await.expect("events");
    assert_eq!(ran.len(), if may { 2 } else { 0 });
}

#[tokio::test]
async fn what_is_seen_is_said() {
    let world = World::new().await;
    let (user, token) = world.user("olga", Role::Operator).await;
    let mut seed = Seed::create(&world.store, &person(user, "olga"), "Work", "Work").await;
    let worker = format!("/v1/executions/{}/worker", seed.id);
    let problem = world.get(&worker, &token).await.expect(409).problem();
    assert_eq!((&problem["code"], &problem["residency"]), (&json!("no_worker"), &json!("absent")));
    seed.work().await;
    let seen = world.get(&worker, &token).await.expect(200).json();
    assert_eq!(seen["memory_bytes"], json!({"used": 300 << 20, "limit": 1 << 30}));
    assert_eq!(seen["container"]["name"], "a-container");
    assert_eq!(seen["started_at"], "1970-01-01T00:00:00.000Z");
    world.get("/v1/executions/00000000-0000-7000-8000-000000000000/worker", &token).await.expect(404);
    world.get(&format!("/v1/executions/{}/logs/else", seed.id), &token).await.expect(404).problem();
}

#[tokio::test]
async fn a_command_comes_back_line_by_line_and_stays_in_the_log() {
    let world = World::new().await;
    let (user, token) = world.user("olga", Role::Operator).await;
    let mut seed = Seed::create(&world.store, &person(user, "olga"), "Work", "Work").await;
    seed.work().await;
    let path = format!("/v1/executions/{}/exec", seed.id);
    let answer = world.post(&path, &token, &json!({"command": ["ls", "a b"]})).await.expect(200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> =
        answer.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        lines,
        [
            json!({"out": "ls a b CLAUDE_CONFIG_DIR,HOME\n"}),
            json!({"err_base64": "/w=="}),
            json!({"exit": 3})
        ],
        "nothing of the session's tokens is handed on"
    );
    for bad in [
        json!({"command": []}),
        json!({"command": ["a\0"]}),
        json!({"command": ["a"], "stdin": "", "stdin_base64": ""}),
        json!({"command": ["a"], "stdin_base64": "?"}),
    ] {
        world.post(&path, &token, &bad).await.expect(422).problem();
    }
    let ran = world.store.events_of_kind(seed.id, &["command_run"], 0, 10).await.expect("events");
    let [event] = &ran[..] else { panic!("{ran:?}") };
    let EventBody::CommandRun { by, incarnation, command } = &event.body else { panic!("{event:?}") };
    assert_eq!((by.name.as_str(), *incarnation, command.join("|").as_str()), ("olga", 1, "ls|a b"));

    let cookie = world.cookie(user).await;
    let form = [("command", "ls '<b>'")];
    let page = world.form(&format!("/executions/{}/session", seed.id), &cookie, &form).await.expect(200);
    assert!(
        page.text().contains("Exit code 3") && page.text().contains("sh -c ls '&lt;b&gt;'"),
        "{}",
        page.text()
    );
    let page = world.page(&format!("/executions/{}", seed.id), &cookie).await.expect(200);
    assert!(page.text().contains("olga ran a command beside the session: ls 'a b'"), "{}", page.text());
}
