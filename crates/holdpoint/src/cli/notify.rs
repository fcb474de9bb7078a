//! `holdpoint notify`: does anybody hear us?

use std::time::Instant;

use clap::Subcommand;
use holdpoint_model::NoticeId;
use holdpoint_notify::{Notice, SendError};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    cli::Context,
    config::Overrides,
    failure::{Exit, Failure},
    render::{one_line, time},
    term,
};

/// How much of an answer is shown, in characters.
const ANSWER_WIDTH: usize = 60;

/// Subcommands of `notify`.
#[derive(Debug, Subcommand)]
pub enum NotifyCommand {
    /// Send a test over every channel of [notify], and show what comes back
    Test,
}

/// What became of a test over one channel.
#[derive(Debug, Serialize)]
struct Outcome {
    channel: &'static str,
    host: String,
    id: NoticeId,
    ok: bool,
    /// The HTTP status, if there was an answer.
    status: Option<u16>,
    /// The beginning of the answer.
    answer: String,
    error: Option<String>,
    took_ms: u64,
}

/// Carries it out.
///
/// # Errors
/// When there is no channel, or one of them did not take it.
pub(super) async fn run(command: NotifyCommand, context: &Context) -> anyhow::Result<()> {
    let NotifyCommand::Test = command;
    let config = context.config(&Overrides::default())?;
    let channels = config.notify.channels()?;
    if channels.is_empty() {
        return Err(Failure::new("there is nobody to tell: [notify] names no channel")
            .exit(Exit::Config)
            .next("holdpoint config example     (shows how to name one)")
            .into());
    }
    let base_url = config.base_url.unwrap_or_else(|| format!("http://localhost:{}", config.port));
    let mut outcomes = Vec::new();
    for channel in &channels {
        let now = time::now();
        let notice = Notice::test(NoticeId(Uuid::now_v7()), &base_url, now);
        let begun = Instant::now();
        let sent = channel.send(&notice, now).await;
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (status, answer) = match &sent {
            Ok(receipt) => (Some(receipt.status), receipt.answer.clone()),
            Err(SendError::Refused { status, answer, .. }) => (Some(*status), answer.clone()),
            Err(SendError::Redirected { status, .. }) => (Some(*status), String::new()),
            Err(SendError::Unreachable { .. } | SendError::TimedOut { .. }) => (None, String::new()),
        };
        let outcome = Outcome {
            channel: channel.name(),
            host: channel.place().to_owned(),
            id: notice.id,
            ok: sent.is_ok(),
            status,
            answer,
            error: sent.err().map(|error| format!("failed to {error}")),
            took_ms,
        };
        if !context.json {
            term::line(&line(&outcome))?;
        }
        outcomes.push(outcome);
    }
    if context.json {
        term::json(&serde_json::json!({ "items": outcomes }))?;
    }
    let failed: Vec<&str> =
        outcomes.iter().filter(|outcome| !outcome.ok).map(|outcome| outcome.channel).collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("nobody was told over {}", failed.join(" and "))).into())
}

fn line(outcome: &Outcome) -> String {
    let Outcome { channel, host, took_ms, .. } = outcome;
    let what = match (&outcome.error, outcome.status) {
        (Some(error), _) => one_line(error, usize::MAX),
        (None, Some(status)) => format!("{host} took it ({status}, {took_ms} ms)"),
        (None, None) => format!("{host} took it ({took_ms} ms)"),
    };
    let answer = one_line(&outcome.answer, ANSWER_WIDTH);
    if answer.is_empty() { format!("{channel}: {what}") } else { format!("{channel}: {what}: {answer}") }
}
