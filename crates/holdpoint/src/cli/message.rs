//! `holdpoint message`: write to a conversation.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::{
    cli::{Context, attach},
    client::ids,
    term,
};

/// Arguments of `message`.
#[derive(Debug, Args)]
pub struct MessageArgs {
    /// Which conversation: its id, or an end or beginning of it that means one only
    pub execution: String,
    /// What to say
    pub text: String,
    /// At once, between two steps of the present turn, rather than after it
    #[arg(long)]
    pub steer: bool,
    /// A file to attach; may be given several times
    #[arg(long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Carries it out.
///
/// # Errors
/// When it is refused.
pub(super) async fn run(args: MessageArgs, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    let id = ids::execution(&api, &args.execution).await?;
    let mode = if args.steer { "steer" } else { "queue" };
    let mut body = json!({"text": args.text, "mode": mode});
    let files = attach::read(&args.files)?;
    if !files.is_empty() {
        body["files"] = Value::Array(files);
    }
    let answer = api.post(&format!("/v1/executions/{id}/messages"), &body).await?;
    if context.json {
        return term::json(&answer);
    }
    Ok(term::line("sent")?)
}
