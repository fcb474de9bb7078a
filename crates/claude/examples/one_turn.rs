//! One turn: `cargo run -p holdpoint-claude --example one_turn -- "What is in this folder?"`
//!
//! Works in the current directory and needs `ANTHROPIC_API_KEY`.

use std::time::Duration;

use anyhow::Context;
use holdpoint_claude::{
    AssistantBlock, Claude, Close, Event, Outcome, PermissionAnswer, SessionChoice, UserMessage,
};

mod common;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let prompt = std::env::args().nth(1).context("say what to ask, as the first argument")?;
    let config = tempfile::tempdir()?;
    let options = common::options(config.path(), SessionChoice::new())?;
    let (session, mut events) = Claude::spawn(options).await?;
    session.send(UserMessage::text(prompt)).await?;

    while let Some(event) = events.next().await {
        match event {
            Event::Assistant(message) => {
                for block in &message.blocks {
                    match block {
                        AssistantBlock::Text(text) => println!("{text}"),
                        AssistantBlock::ToolUse { name, input, .. } => println!("[{name} {input}]"),
                        _ => {}
                    }
                }
            }
            Event::Ask(ask) => {
                let answer = PermissionAnswer::deny("Only read-only tools, please.");
                session.answer(&ask.request_id, answer).await?;
            }
            Event::Result(turn) => {
                match &turn.outcome {
                    Outcome::Success(_) => eprintln!("done for {} $", turn.total_cost_usd),
                    Outcome::Failure(failure) => eprintln!("failed: {failure}"),
                }
                break;
            }
            Event::Exited(exit) => anyhow::bail!("the CLI ended: {}", exit.stderr_tail),
            _ => {}
        }
    }
    session.close(Close::finishing(Duration::from_secs(10))).await;
    Ok(())
}
