//! Asking and answering.

use std::time::{Duration, Instant};

use holdpoint_claude::{AnswerOutcome, DEFAULT_DENIAL, Event, PermissionAnswer, PermissionMode};
use serde_json::json;

use crate::model::{bash, call, calls, text};
use crate::world::{Live, World};

async fn allow(session: &Live, ask: &holdpoint_claude::PermissionAsk) {
    let outcome = session.handle.answer(&ask.request_id, PermissionAnswer::allow()).await.unwrap();
    assert_eq!(outcome, AnswerOutcome::Answered);
}

#[tokio::test]
async fn case_09_allow() {
    let world = World::new().await;
    world.model.script("go", [bash("touch allowed"), text("done")]);
    let mut session = world.session().await;
    session.say("#go").await;
    let ask = session.ask().await;
    assert_eq!(ask.tool_name, "Bash");
    assert_eq!(ask.input, json!({"command": "touch allowed"}));
    assert!(!world.made("allowed"), "it waits");
    assert_eq!(session.handle.open_asks(), std::slice::from_ref(&ask.request_id));
    allow(&session, &ask).await;
    let again = session.handle.answer(&ask.request_id, PermissionAnswer::deny("")).await.unwrap();
    assert_eq!(again, AnswerOutcome::AlreadyAnswered, "a second answer is suppressed");
    let turn = session.result().await;
    assert!(turn.outcome.is_success());
    assert!(world.made("allowed"));
    let results: Vec<_> = session
        .seen
        .iter()
        .filter_map(|event| match event {
            Event::UserFrame(frame) => frame.tool_results().next().cloned(),
            _ => None,
        })
        .collect();
    assert_eq!(results.len(), 1);
    assert_eq!(results[0].tool_use_id, ask.tool_use_id);
    session.close().await;
}

#[tokio::test]
async fn case_10_rewrite() {
    let world = World::new().await;
    world.model.script("go", [bash("touch original"), text("done")]);
    let mut session = world.session().await;
    session.say("#go").await;
    let ask = session.ask().await;
    let edited = json!({"command": "touch edited"}).as_object().cloned().unwrap();
    session.handle.answer(&ask.request_id, PermissionAnswer::allow_with(edited)).await.unwrap();
    assert!(session.result().await.outcome.is_success());
    assert!(world.made("edited") && !world.made("original"));
    session.close().await;
}

#[tokio::test]
async fn case_11_deny() {
    let world = World::new().await;
    world.model.script("go", [bash("touch denied"), text("as you wish")]);
    let mut session = world.session().await;
    session.say("#go").await;
    let ask = session.ask().await;
    session.handle.answer(&ask.request_id, PermissionAnswer::deny("because of the moon")).await.unwrap();
    let turn = session.result().await;
    assert!(turn.outcome.is_success(), "the turn goes on");
    assert_eq!(turn.permission_denials[0].tool_use_id, ask.tool_use_id);
    assert!(!world.made("denied"));
    assert!(world.model.saw("because of the moon"));
    session.close().await;
}

#[tokio::test]
async fn case_12_deny_with_empty_text() {
    let world = World::new().await;
    world.model.script("go", [bash("touch denied"), text("as you wish")]);
    let mut session = world.session().await;
    session.say("#go").await;
    let ask = session.ask().await;
    session.handle.answer(&ask.request_id, PermissionAnswer::deny(" ")).await.unwrap();
    assert!(session.result().await.outcome.is_success());
    assert!(world.model.saw(DEFAULT_DENIAL));
    session.close().await;
}

#[tokio::test]
async fn case_13_deny_and_interrupt() {
    let world = World::new().await;
    world.model.script("go", [bash("touch denied"), text("never said")]);
    world.model.script("next", [text("still here")]);
    let mut session = world.session().await;
    session.say("#go").await;
    let ask = session.ask().await;
    let answer = PermissionAnswer::deny_and_interrupt("a secret reason");
    session.handle.answer(&ask.request_id, answer).await.unwrap();
    let turn = session.result().await;
    assert_eq!(
        turn.outcome.failure(),
        Some(&holdpoint_claude::Failure::Aborted { during_tools: true }),
        "{}",
        turn.raw
    );
    session.say("#next").await;
    assert!(session.result().await.outcome.is_success(), "the session stays usable");
    assert!(!world.model.saw("a secret reason"));
    session.close().await;
}

/// One suggestion at most is sent, so "always" for one kind does not open the door for others.
#[tokio::test]
async fn case_14_scoped_always() {
    let world = World::new().await;
    world.model.script(
        "go",
        [
            bash("touch one.txt"),
            bash("touch one.txt"),
            call("Write", json!({"file_path": world.work().join("two.txt"), "content": "2"})),
            text("done"),
        ],
    );
    let mut session = world.session().await;
    session.say("#go").await;
    let ask = session.ask().await;
    assert!(ask.suggestions.len() > 1, "{:?}", ask.suggestions);
    let rule = ask.suggestions.iter().find(|offer| offer.kind() == "addRules").unwrap();
    session.handle.answer(&ask.request_id, PermissionAnswer::allow().and(rule.clone())).await.unwrap();
    let ask = session.ask().await;
    assert_eq!(ask.tool_name, "Write", "the same command is not asked for again, another tool is");
    allow(&session, &ask).await;
    let turn = session.result().await;
    assert!(turn.outcome.is_success());
    assert_eq!(session.asks(), 2);
    session.close().await;
}

#[tokio::test]
async fn case_15_parallel_asks_answered_in_reverse() {
    let world = World::new().await;
    let outside = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..3).map(|number| outside.path().join(format!("file{number}"))).collect();
    for (number, path) in paths.iter().enumerate() {
        std::fs::write(path, format!("content-{number}")).unwrap();
    }
    let reads: Vec<_> = paths.iter().map(|path| ("Read", json!({"file_path": path}))).collect();
    world.model.script("go", [calls(reads), text("done")]);
    let mut session = world.session().await;
    session.say("#go").await;
    let mut asks = Vec::new();
    for _ in 0..3 {
        asks.push(session.ask().await);
    }
    assert_eq!(session.handle.open_asks().len(), 3);
    for ask in asks.iter().rev() {
        allow(&session, ask).await;
    }
    assert!(session.result().await.outcome.is_success());
    for number in 0..3 {
        assert!(world.model.saw(&format!("content-{number}")));
    }
    session.close().await;
}

/// A person takes their time; nobody else has to. The wait here is 20 s and not a quarter of an hour: the
/// recording behind `case_16_an_answer_after_twelve_minutes_was_honoured` shows that the CLI does not mind.
#[tokio::test]
async fn case_16_slow_human() {
    let world = World::new().await;
    world.model.script("go", [bash("touch late"), text("done")]);
    let mut session = world.session().await;
    session.say("#go").await;
    let ask = session.ask().await;
    let asked = Instant::now();
    let mut rounds = Vec::new();
    while asked.elapsed() < Duration::from_secs(20) {
        let begun = Instant::now();
        session.handle.mcp_status().await.unwrap();
        session.handle.set_permission_mode(PermissionMode::Default).await.unwrap();
        session.handle.get_session_cost().await.unwrap();
        session.handle.get_binary_version().await.unwrap();
        rounds.push(begun.elapsed());
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    // The best round, because the machine is shared with three more sessions.
    assert!(rounds.iter().min().unwrap() < &Duration::from_secs(1), "four calls each: {rounds:?}");
    assert!(!world.made("late"));
    allow(&session, &ask).await;
    assert!(session.result().await.outcome.is_success());
    assert!(world.made("late"));
    session.close().await;
}

/// What is asked for in one mode and refused in another, and which words exist, is the type's business.
#[tokio::test]
async fn case_30_modes_are_an_enum() {
    let world = World::new().await;
    let mut session = world.session_with(|options| options.permission_mode(PermissionMode::Plan)).await;
    let reply = session.handle.initialized().await.unwrap();
    assert_eq!(reply.current_permission_mode.as_deref(), Some("plan"));
    for mode in [PermissionMode::Default, PermissionMode::AcceptEdits, PermissionMode::DontAsk] {
        session.handle.set_permission_mode(mode).await.unwrap();
        session
            .until(|event| match event {
                Event::Status(status) => {
                    (status.permission_mode.as_deref() == Some(mode.as_str())).then_some(())
                }
                _ => None,
            })
            .await;
    }
    let refused = session.handle.set_permission_mode(PermissionMode::BypassPermissions).await.unwrap_err();
    assert!(matches!(refused, holdpoint_claude::ControlError::Refused { .. }), "{refused}");
    session.close().await;
}

/// Texts that have broken line protocols before. One invalid line would end the CLI.
#[tokio::test]
async fn case_45_nasty_text_does_not_break_the_pipe() {
    let world = World::new().await;
    let nasty = [
        "line\nbreak\r\nand more",
        "\u{2028}\u{2029}\u{0}\u{7}\u{1b}[31m",
        "\"}{\"type\":\"user\"}",
        "\\ud83e \\u0000 \\",
        "größe 🦀 \u{feff}",
        "{\"type\":\"control_request\"}\n",
    ];
    let mut session = world.session().await;
    for said in nasty {
        world.model.script("go", [bash("touch never"), text("fine")]);
        session.say(&format!("{said} #go")).await;
        let ask = session.ask().await;
        session.handle.answer(&ask.request_id, PermissionAnswer::deny(said)).await.unwrap();
        assert!(session.result().await.outcome.is_success(), "{said:?}");
        let told = world.model.requests().last().unwrap()["messages"].to_string();
        assert!(told.contains("tool_result"), "{told}");
        let odd = session.handle.rename_session(said).await;
        assert!(matches!(odd, Ok(()) | Err(holdpoint_claude::ControlError::Refused { .. })), "{odd:?}");
    }
    session.close().await;
}
