//! What a broken or hostile program at the other end of the pipe can do. The programs here are shell scripts.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use holdpoint_claude::{
    Close, ControlError, EVENT_QUEUE_LEN, Event, Options, SessionChoice, StreamFault, UserMessage,
};

use crate::world::{Live, World};

async fn played_by(world: &World, script: &str, change: impl FnOnce(Options) -> Options) -> Live {
    let program = world.work().join("program");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let options = Options::new(&program, world.work(), world.config(), SessionChoice::new());
    world.spawn(change(options)).await.unwrap()
}

/// A line that never ends is refused, and the program is ended: what follows cannot be trusted.
#[tokio::test]
async fn a_line_without_an_end_is_a_fault() {
    let world = World::new().await;
    let mut session =
        played_by(&world, "echo '{\"type\":\"keep_alive\"}'; cat /dev/zero", |options| options).await;
    session.until(|event| matches!(event, Event::Notice(_)).then_some(())).await;
    let fault = session
        .until(|event| match event {
            Event::Fault(fault) => Some(fault.clone()),
            _ => None,
        })
        .await;
    assert!(matches!(fault, StreamFault::LineTooLong { .. }));
    let exit = session.exit().await;
    assert_eq!((exit.signal, exit.expected), (Some(9), false), "nobody wanted that");
    assert!(session.events.next().await.is_none());
}

/// A host that reads no events gets no replies in the end, but it can always end the session.
#[tokio::test]
async fn a_host_that_does_not_read_can_still_kill() {
    let world = World::new().await;
    let flood = "while :; do echo '{\"type\":\"keep_alive\"}'; done";
    let mut session =
        played_by(&world, flood, |options| options.control_timeout(Duration::from_secs(1))).await;
    let error = session.handle.interrupt().await.unwrap_err();
    assert!(matches!(error, ControlError::Timeout { .. }), "{error}");
    session.handle.kill().await;
    for _ in 0..EVENT_QUEUE_LEN {
        assert!(matches!(session.next().await, Event::Notice(_)), "what was queued is still there");
    }
    assert!(session.exit().await.expected);
}

/// A program that answers nothing is given up on, not waited for.
#[tokio::test]
async fn a_program_that_does_not_answer_is_ended() {
    let world = World::new().await;
    let mut session = played_by(&world, "trap '' TERM; sleep 600", |options| options).await;
    let report = session.handle.close(Close::interrupting(Duration::from_millis(200))).await;
    assert!(report.forced && report.exit.expected);
    session.exit().await;
}

/// A program that ends at once is told with what it said, and nobody waits for its replies.
#[tokio::test]
async fn a_program_that_ends_at_once_is_told() {
    let world = World::new().await;
    let mut session = played_by(&world, "echo 'wrong machine' >&2; exit 3", |options| options).await;
    let exit = session.exit().await;
    assert_eq!((exit.code, exit.expected), (Some(3), false));
    assert_eq!(exit.stderr_tail, "wrong machine\n");
    session.handle.initialized().await.unwrap_err();
    session.handle.interrupt().await.unwrap_err();
    session.handle.send(UserMessage::text("anybody?")).await.unwrap_err();
}

/// Words that are no frames do not stop what comes after them.
#[tokio::test]
async fn chatter_between_frames_is_passed_on() {
    let world = World::new().await;
    let script = "echo 'Warning: something'; echo; echo '{\"type\":\"keep_alive\"}'; printf '{\"torn'";
    let mut session = played_by(&world, script, |options| options).await;
    session.exit().await;
    let kinds: Vec<_> = session
        .seen
        .iter()
        .map(|event| match event {
            Event::Unknown { raw, .. } => raw.to_string(),
            Event::Notice(notice) => notice.kind.clone(),
            Event::Exited(_) => "exit".into(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["\"Warning: something\"", "\"\"", "keep_alive", "exit"]);
}
