//! Interrupting, at every point where there is something to interrupt.

use std::time::Duration;

use holdpoint_claude::{AnswerOutcome, CommandState, Event, Failure, PermissionAnswer, SessionState};
use serde_json::json;

use crate::model::{Reply, bash, call, text};
use crate::world::{World, eventually, running};

const SLOW: Reply = Reply::Slow { pieces: 600, pause: Duration::from_millis(50) };

#[tokio::test]
async fn case_17_interrupt_while_asking() {
    let world = World::new().await;
    world.model.script("go", [bash("touch asked"), text("never said")]);
    world.model.script("next", [text("still here")]);
    let mut session = world.session().await;
    session.say("#go").await;
    let ask = session.ask().await;
    session.handle.interrupt().await.unwrap();
    session
        .until(|event| match event {
            Event::AskWithdrawn(id) => (*id == ask.request_id).then_some(()),
            _ => None,
        })
        .await;
    let late = session.handle.answer(&ask.request_id, PermissionAnswer::allow()).await.unwrap();
    assert_eq!(late, AnswerOutcome::Withdrawn);
    let turn = session.result().await;
    assert_eq!(turn.outcome.failure(), Some(&Failure::Aborted { during_tools: true }));
    session.say("#next").await;
    assert!(session.result().await.outcome.is_success());
    assert!(!world.made("asked"));
    session.close().await;
}

#[tokio::test]
async fn case_18_interrupt_while_streaming() {
    let world = World::new().await;
    world.model.script("go", [SLOW]);
    let mut session = world.session_with(|options| options.include_partial_messages(true)).await;
    session.say("#go").await;
    session
        .until(|event| match event {
            Event::StreamEvent(delta) => delta.text.clone(),
            _ => None,
        })
        .await;
    session.handle.interrupt().await.unwrap();
    let turn = session.result().await;
    assert_eq!(turn.outcome.failure(), Some(&Failure::Aborted { during_tools: false }));
    session.close().await;
}

#[tokio::test]
async fn case_19_interrupt_a_running_bash() {
    let world = World::new().await;
    let sleep = format!("sleep 300.{}", std::process::id());
    world.model.script("go", [bash(&format!("touch begun; {sleep}; touch ended")), text("never said")]);
    let mut session = world.session_with(|options| options.allow_tool("Bash")).await;
    session.say("#go").await;
    eventually("the command runs", || world.made("begun") && running(&sleep)).await;
    session.handle.interrupt().await.unwrap();
    let turn = session.result().await;
    assert_eq!(turn.outcome.failure(), Some(&Failure::Aborted { during_tools: true }));
    eventually("the command is gone", || !running(&sleep)).await;
    assert!(!world.made("ended"));
    session.close().await;
}

#[tokio::test]
async fn case_20_idle_interrupt() {
    let world = World::new().await;
    world.model.script("go", [text("one")]);
    let mut session = world.session().await;
    session.handle.initialized().await.unwrap();
    session.handle.interrupt().await.unwrap();
    session.say("#go").await;
    assert!(session.result().await.outcome.is_success());
    session.handle.interrupt().await.unwrap();
    assert!(!session.handle.is_busy());
    session.close().await;
}

#[tokio::test]
async fn case_21_coalesced_sends() {
    let world = World::new().await;
    world.model.script("a", [Reply::Slow { pieces: 20, pause: Duration::from_millis(50) }]);
    world.model.script("c", [text("both")]);
    let mut session = world.session_with(|options| options.include_partial_messages(true)).await;
    let a = session.say("#a").await;
    session.until(|event| matches!(event, Event::StreamEvent(_)).then_some(())).await;
    let b = session.say("bee").await;
    let c = session.say("#c").await;
    assert_eq!(session.result().await.user_message_uuids, [a]);
    assert_eq!(session.result().await.user_message_uuids, [b, c], "one turn for both");
    assert!(world.model.saw("bee"));
    session.close().await;
}

#[tokio::test]
async fn case_22_cancel_queued() {
    let world = World::new().await;
    world.model.script("a", [SLOW]);
    world.model.script("next", [text("still here")]);
    let mut session = world.session_with(|options| options.include_partial_messages(true)).await;
    session.say("#a").await;
    session.until(|event| matches!(event, Event::StreamEvent(_)).then_some(())).await;
    let queued = session.say("never mind").await;
    let lifecycle = |event: &Event, wanted| match event {
        Event::CommandLifecycle(command) => {
            (command.command_uuid == queued && command.state == wanted).then_some(())
        }
        _ => None,
    };
    session.until(|event| lifecycle(event, CommandState::Queued)).await;
    let interrupted = session.handle.interrupt_and_drop_queue().await.unwrap();
    assert_eq!(interrupted.cancelled, [queued]);
    session.until(|event| lifecycle(event, CommandState::Cancelled)).await;
    assert!(!session.result().await.outcome.is_success());
    session.say("#next").await;
    assert!(session.result().await.outcome.is_success());
    assert!(!world.model.saw("never mind"));
    session.close().await;
}

/// The CLI's exit code tells how the last turn ended, not whether the process crashed.
#[tokio::test]
async fn case_42_exit_1_after_interrupt_is_no_crash() {
    let world = World::new().await;
    world.model.script("go", [SLOW]);
    let mut session = world.session_with(|options| options.include_partial_messages(true)).await;
    session.say("#go").await;
    session.until(|event| matches!(event, Event::StreamEvent(_)).then_some(())).await;
    session.handle.interrupt().await.unwrap();
    assert!(!session.result().await.outcome.is_success());
    let report = session.close().await;
    assert_eq!((report.exit.code, report.exit.expected, report.forced), (Some(1), true, false));
}

/// A subagent in the background asks after the main turn has ended; the session counts as busy until then. An
/// interrupt ends that subagent too, and takes its question back.
#[tokio::test]
async fn an_interrupt_between_turns_ends_background_subagents() {
    let world = World::new().await;
    let task = json!({
        "description": "a helper", "prompt": "do it #sub", "subagent_type": "general-purpose",
        "run_in_background": true,
    });
    world.model.script("go", [call("Task", task), text("main done")]);
    world.model.script("sub", [bash("touch by-the-helper"), text("never said")]);
    let mut session = world.session().await;
    session.say("#go").await;
    let (mut asked, mut ended) = (None, false);
    while asked.is_none() || !ended {
        match session.next().await {
            Event::Ask(ask) => asked = Some(ask.request_id.clone()),
            Event::Result(turn) => ended = turn.outcome.is_success(),
            _ => {}
        }
    }
    assert!(session.handle.is_busy());
    session.handle.interrupt().await.unwrap();
    session
        .until(|event| match event {
            Event::AskWithdrawn(id) => (Some(id) == asked.as_ref()).then_some(()),
            _ => None,
        })
        .await;
    session
        .until(|event| {
            matches!(event, Event::SessionState(change) if change.state == SessionState::Idle).then_some(())
        })
        .await;
    assert!(!world.made("by-the-helper"));
    session.close().await;
}
