//! Permissions on the terminal: `cargo run -p holdpoint-claude --example permission_prompt -- "Make a file
//! a.txt"`
//!
//! Works in the current directory and needs `ANTHROPIC_API_KEY`. The question stays open for as long as you
//! think about it; the session does not mind.

use std::time::Duration;

use anyhow::Context;
use holdpoint_claude::{Claude, Close, Event, PermissionAnswer, PermissionAsk, SessionChoice, UserMessage};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

mod common;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let prompt = std::env::args().nth(1).context("say what to do, as the first argument")?;
    let config = tempfile::tempdir()?;
    let options = common::options(config.path(), SessionChoice::new())?;
    let (session, mut events) = Claude::spawn(options).await?;
    session.send(UserMessage::text(prompt)).await?;

    let mut typed = BufReader::new(tokio::io::stdin()).lines();
    while let Some(event) = events.next().await {
        match event {
            Event::Ask(ask) => {
                let answer = decide(&ask, &mut typed).await?;
                let outcome = session.answer(&ask.request_id, answer).await?;
                println!("({outcome:?})");
            }
            Event::UserFrame(frame) => {
                frame.tool_results().for_each(|result| println!("→ {}", result.text()));
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

async fn decide(
    ask: &PermissionAsk,
    typed: &mut Lines<BufReader<Stdin>>,
) -> anyhow::Result<PermissionAnswer> {
    println!("May {} run?\n  {}", ask.tool_name, ask.input);
    for (number, offer) in ask.suggestions.iter().enumerate() {
        println!("  {number}: yes, and {}", offer.as_value());
    }
    println!("  y: yes    anything else: no, and why");
    let line = typed.next_line().await?.unwrap_or_default();
    Ok(match line.trim() {
        "y" => PermissionAnswer::allow(),
        other => match other.parse::<usize>().ok().and_then(|number| ask.suggestions.get(number)) {
            Some(offer) => PermissionAnswer::allow().and(offer.clone()),
            None => PermissionAnswer::deny(other),
        },
    })
}
