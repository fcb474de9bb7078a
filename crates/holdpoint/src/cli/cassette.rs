//! `holdpoint cassette export`: what the model answered in a conversation, as a file to play back.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use holdpoint_gateway::{Cassette, Gist, Thread};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    cli::Context,
    client::{Api, ids},
    failure::{Exit, Failure},
    term,
};

/// `holdpoint cassette`
#[derive(Debug, Subcommand)]
pub enum CassetteCommand {
    /// Write what the model answered in a conversation to a file; `--rehearse FILE` plays it back
    Export(ExportArgs),
}

/// Arguments of `cassette export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Which conversation: its id, or an end or beginning of it that means one only
    pub execution: String,
    /// Where to write it [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// A call as the API tells it.
#[derive(Deserialize)]
struct Item {
    seq: u64,
    thread: Thread,
    asked: Option<Gist>,
    response: Value,
}

/// Carries it out.
///
/// # Errors
/// When there is no such conversation, nothing was recorded in it, or the file cannot be written.
pub(super) async fn run(command: CassetteCommand, context: &Context) -> anyhow::Result<()> {
    let CassetteCommand::Export(args) = command;
    let api = context.api()?;
    let id = ids::execution(&api, &args.execution).await?;
    let cassette = recorded(&api, &id).await?;
    let Some(file) = args.output else { return Ok(term::print(&cassette.to_text())?) };
    std::fs::write(&file, cassette.to_text())
        .map_err(|error| Failure::new(format!("failed to write {}", file.display())).why(error))?;
    if context.json {
        return term::json(&json!({"file": file, "calls": cassette.len()}));
    }
    let shown = file.display();
    term::line(&format!(
        "{shown} has {} model calls of agent `{}`. To play it:",
        cassette.len(),
        cassette.agent
    ))?;
    Ok(term::line(&format!(
        "→ holdpoint up --rehearse {shown}     (or `rehearsal = \"{shown}\"` of an agent)"
    ))?)
}

async fn recorded(api: &Api, id: &str) -> anyhow::Result<Cassette> {
    let execution = api.get(&format!("/v1/executions/{id}")).await?;
    let mut cassette = Cassette::new(execution["agent"].as_str().unwrap_or_default());
    let mut after = 0;
    loop {
        let page = api.get(&format!("/v1/executions/{id}/calls?after={after}")).await?;
        let folder = page["folder"].as_str().unwrap_or_default();
        for item in page["items"].as_array().into_iter().flatten() {
            let call = Item::deserialize(item)?;
            let asked = call.asked.ok_or_else(|| {
                Failure::new(format!("the conversation {id} cannot be made a cassette"))
                    .why("it was recorded by an older version, which did not keep what was asked")
                    .next("Have the same conversation again, and export that one.")
            })?;
            cassette.add(&call.thread, asked, &call.response, folder);
            after = after.max(call.seq);
        }
        if page["next"].is_null() {
            break;
        }
    }
    if cassette.is_empty() {
        let failure = Failure::new(format!("the conversation {id} has no model calls"))
            .why("nothing would be on its cassette")
            .exit(Exit::NotFound);
        return Err(failure.into());
    }
    Ok(cassette)
}
