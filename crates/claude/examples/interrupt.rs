//! Stops a turn after a while: `cargo run -p holdpoint-claude --example interrupt -- "Count to a million"`
//!
//! Needs `ANTHROPIC_API_KEY`.

use std::time::Duration;

use anyhow::Context;
use holdpoint_claude::{Claude, Close, Event, PermissionAnswer, SessionChoice, UserMessage};

mod common;

/// How long the model may go on.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let prompt = std::env::args().nth(1).context("say what to ask, as the first argument")?;
    let config = tempfile::tempdir()?;
    let options = common::options(config.path(), SessionChoice::new())?.include_partial_messages(true);
    let (session, mut events) = Claude::spawn(options).await?;
    session.send(UserMessage::text(prompt)).await?;

    // The handle is free for anybody to use, whatever the loop below is busy with.
    let interrupter = session.clone();
    tokio::spawn(async move {
        tokio::time::sleep(PATIENCE).await;
        match interrupter.interrupt().await {
            Ok(_) => eprintln!("\n(interrupted)"),
            Err(error) => eprintln!("\n(failed to interrupt: {error})"),
        }
    });

    while let Some(event) = events.next().await {
        match event {
            Event::StreamEvent(delta) => print!("{}", delta.text.as_deref().unwrap_or_default()),
            Event::Ask(ask) => {
                session.answer(&ask.request_id, PermissionAnswer::deny("")).await?;
            }
            Event::Result(turn) => {
                println!("{:?}", turn.outcome);
                break;
            }
            _ => {}
        }
    }
    session.close(Close::interrupting(Duration::from_secs(10))).await;
    Ok(())
}
