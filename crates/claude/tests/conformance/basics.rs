//! Handshake, turns, framing.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use holdpoint_claude::{Event, Outcome, ToolServer, UserMessage, probe_version};
use serde_json::json;

use crate::model::{Reply, bash, call, text};
use crate::world::{World, cli};

#[tokio::test]
async fn the_version_can_be_read() {
    let version = probe_version(&cli()).await.unwrap();
    assert_eq!(version.major, 2);
}

#[tokio::test]
async fn case_01_handshake() {
    let world = World::new().await;
    let session = world.session().await;
    let reply = session.handle.initialized().await.unwrap();
    assert_eq!(reply.pid, Some(session.handle.pid()));
    assert_eq!(reply.current_permission_mode.as_deref(), Some("default"));
    let report = session.close().await;
    assert!(!report.forced);
    assert_eq!(report.exit.code, Some(0));
    assert!(report.exit.expected);
}

/// The CLI connects to an in-process server before it answers the handshake; a driver that waits for its own
/// reply first waits for ever.
#[tokio::test]
async fn case_02_inbound_first() {
    let world = World::new().await;
    let server = ToolServer::new("host", "1")
        .tool("now", "the time", json!({"type": "object"}), |_| async { Ok("noon".to_owned()) }.boxed());
    let mut session = world.session_with(|options| options.sdk_mcp_server("host", Arc::new(server))).await;
    let mut inbound_first = false;
    session
        .until(|event| {
            inbound_first |=
                matches!(event, Event::McpMessage(message) if message.message["method"] == "initialize");
            matches!(event, Event::Initialized(_)).then_some(())
        })
        .await;
    assert!(inbound_first, "{:#?}", session.kinds());
    world.model.script("go", [call("mcp__host__now", json!({})), text("done")]);
    session.say("#go").await;
    let ask = session.ask().await;
    session.handle.answer(&ask.request_id, holdpoint_claude::PermissionAnswer::allow()).await.unwrap();
    assert!(session.result().await.outcome.is_success());
    assert!(world.model.saw("noon"));
    session.close().await;
}

/// Sent right away, without waiting for the handshake.
#[tokio::test]
async fn case_03_echo_turn() {
    let world = World::new().await;
    world.model.script("echo", [text("hello yourself")]);
    let mut session = world.session().await;
    let message = UserMessage::text("hello #echo");
    let id = session.handle.send(message).await.unwrap();
    let turn = session.result().await;
    match &turn.outcome {
        Outcome::Success(success) => assert_eq!(success.text, "hello yourself"),
        other => panic!("{other:?}"),
    }
    assert_eq!(turn.user_message_uuids, [id]);
    assert!(world.transcript(session.handle.session()).contains_user_message(id));
    session.close().await;
}

#[tokio::test]
async fn case_04_three_turns() {
    let world = World::new().await;
    let mut session = world.session().await;
    let mut cost = 0.0;
    for number in 0..3 {
        world.model.script("turn", [text(&format!("answer {number}"))]);
        session.say("#turn").await;
        let turn = session.result().await;
        assert!(turn.outcome.is_success());
        assert_eq!(turn.session_id, session.handle.session().to_string());
        assert!(turn.total_cost_usd > cost, "the cost never falls");
        cost = turn.total_cost_usd;
    }
    session.close().await;
}

/// A text of 2 MB comes back as one line, far more than a pipe holds, full of characters that reads cut in
/// half.
#[tokio::test]
async fn case_07_long_lines() {
    let world = World::new().await;
    let long = "größe 🦀 ".repeat(150_000);
    world.model.script("long", [text(&long)]);
    let mut session = world.session().await;
    session.say("#long").await;
    match session.result().await.outcome.clone() {
        Outcome::Success(success) => {
            assert!(success.text.trim() == long.trim(), "{} bytes", success.text.len())
        }
        other => panic!("{other:?}"),
    }
    session.close().await;
}

/// Megabytes on stderr neither stall the session nor fill the memory.
#[tokio::test]
async fn case_08_stderr_flood() {
    let world = World::new().await;
    let wrapper = world.work().join("noisy-claude");
    let script = format!(
        "#!/bin/sh\nhead -c 3000000 /dev/zero | tr '\\0' 'x' >&2\necho the end >&2\nexec {} \"$@\"\n",
        cli().display()
    );
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let options = holdpoint_claude::Options::new(
        &wrapper,
        world.work(),
        world.config(),
        holdpoint_claude::SessionChoice::new(),
    )
    .env("ANTHROPIC_BASE_URL", &world.model.url)
    .env("ANTHROPIC_API_KEY", "test")
    .stderr_tail_bytes(1000);
    world.model.script("go", [text("fine")]);
    let mut session = world.spawn(options).await.unwrap();
    session.say("#go").await;
    assert!(session.result().await.outcome.is_success());
    let report = session.close().await;
    assert!(report.exit.stderr_tail.len() <= 1000);
    assert!(report.exit.stderr_tail.contains("the end"), "{:?}", report.exit);
}

/// The partial messages of a slow answer come as they are spoken.
#[tokio::test]
async fn deltas_come_before_the_block() {
    let world = World::new().await;
    world.model.script("slow", [Reply::Slow { pieces: 5, pause: Duration::from_millis(50) }]);
    let mut session = world.session_with(|options| options.include_partial_messages(true)).await;
    session.say("#slow").await;
    session
        .until(|event| match event {
            Event::StreamEvent(delta) => delta.text.clone(),
            Event::Assistant(_) => panic!("the whole block came first"),
            _ => None,
        })
        .await;
    assert!(session.result().await.outcome.is_success());
    session.close().await;
}

/// What the host's environment holds does not reach a command the session runs.
#[tokio::test]
async fn commands_see_no_variable_of_the_host() {
    let world = World::new().await;
    world.model.script("env", [bash("env | cut -d= -f1 | sort > names"), text("done")]);
    let mut session = world.session_with(|options| options.allow_tool("Bash")).await;
    session.say("#env").await;
    assert!(session.result().await.outcome.is_success());
    let names = std::fs::read_to_string(world.work().join("names")).unwrap();
    assert!(names.contains(holdpoint_claude::RUN_MARKER_ENV), "{names}");
    for host in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME"] {
        assert!(!names.contains(host), "{host} leaked: {names}");
    }
    session.close().await;
}
