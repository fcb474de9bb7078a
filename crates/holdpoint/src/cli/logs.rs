//! `holdpoint logs`: a conversation as it was, or as it happens.

use std::path::PathBuf;

use clap::Args;
use reqwest::Method;
use serde_json::json;

use crate::{
    cli::{Context, converse, inspect::instead},
    client::{feed, ids},
    data::describe,
    failure::{Exit, Failure},
    render::{clean, events::Transcript, paint::Paint},
    term,
};

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Which conversation: its id, or an end or beginning of it that means one only
    pub execution: String,
    /// Stay with it: show what happens, and answer what it asks
    #[arg(long, short)]
    pub follow: bool,
    /// What its workers wrote instead: to find out why a session does not come up
    #[arg(long, conflicts_with = "follow", group = "of")]
    pub worker: bool,
    /// What the Claude CLI wrote instead: its newest log in its own folder, and the end of its stderr
    #[arg(long, conflicts_with = "follow", group = "of")]
    pub cli: bool,
    /// What the first process of its container said instead
    #[arg(long, conflicts_with = "follow", group = "of")]
    pub container: bool,
    /// With --cli or --container: how many lines, from the end
    #[arg(long, value_name = "LINES", default_value_t = 500)]
    pub tail: u32,
}

/// Carries it out.
///
/// # Errors
/// When there is no such conversation.
pub(super) async fn run(args: LogsArgs, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    let id = ids::execution(&api, &args.execution).await?;
    if args.worker {
        return worker_logs(&id, context);
    }
    if args.cli || args.container {
        let of = if args.cli { "cli" } else { "container" };
        let path = format!("/v1/executions/{id}/logs/{of}?tail={}", args.tail);
        let answer = api.send(api.request(Method::GET, &path)).await.map_err(|error| instead(error, &id))?;
        let text = answer.text().await.map_err(|error| api.unreachable(&error))?;
        return if context.json { term::json(&json!({ of: text })) } else { Ok(term::print(&clean(&text))?) };
    }
    if args.follow {
        return converse::run(context, &id, 0, None).await;
    }
    let mut transcript = Transcript::new(&id, Paint(context.term.color), true);
    feed::pages(&api, &id, |event| {
        if context.json {
            return term::json(&event.raw);
        }
        Ok(term::print(&transcript.event(&event))?)
    })
    .await
}

/// The log files of the workers, which are on this machine.
fn worker_logs(id: &str, context: &Context) -> anyhow::Result<()> {
    let runs = context.data.executions().join(id).join("run");
    let none = |why: String| {
        Failure::new("this conversation has no worker's log here")
            .exit(Exit::NotFound)
            .why(why)
            .next("type this on the machine where Holdpoint runs, with its --data")
    };
    let mut folders: Vec<(u32, PathBuf)> = std::fs::read_dir(&runs)
        .map_err(|error| none(format!("{}: {}", runs.display(), describe(&error))))?
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect();
    folders.sort_unstable();
    if folders.is_empty() {
        return Err(none(format!("{} is empty", runs.display())).into());
    }
    for (incarnation, folder) in folders {
        let text = std::fs::read(folder.join("worker.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        if context.json {
            term::json(&json!({"worker": incarnation, "log": text}))?;
        } else {
            term::line(&format!("── worker {incarnation}"))?;
            term::print(&clean(&text))?;
        }
    }
    Ok(())
}
