//! `holdpoint ask`: start a conversation.

use std::{collections::BTreeMap, io::Read as _, path::PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::{
    cli::{Context, attach, converse},
    client::{Api, ErrorKind, ids::short, types::Execution},
    config::BUILTIN_AGENT,
    failure::{Exit, Failure},
    term,
};

/// How often a request that could not be sent is sent again, with the same key.
const TRIES: u32 = 3;

/// Arguments of `ask`.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// What should be done; `-` reads it from stdin
    pub prompt: Option<String>,
    /// Which agent
    #[arg(long, default_value = BUILTIN_AGENT)]
    pub agent: String,
    /// A file to attach; may be given several times
    #[arg(long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// A field of the agent's form; may be given several times
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub inputs: Vec<(String, String)>,
    /// Stay with it: show what happens, and answer what it asks
    #[arg(long, short)]
    pub follow: bool,
}

impl AskArgs {
    /// A prompt for an agent, to stay with.
    #[must_use]
    pub fn following(prompt: String, agent: String) -> Self {
        Self { prompt: Some(prompt), agent, files: Vec::new(), inputs: Vec::new(), follow: true }
    }
}

/// `NAME=VALUE`
///
/// # Errors
/// Without a `=`.
pub(super) fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// Carries it out.
///
/// # Errors
/// When it is refused.
pub(super) async fn run(args: AskArgs, context: &Context) -> anyhow::Result<()> {
    let mut inputs: BTreeMap<String, String> = args.inputs.into_iter().collect();
    if let Some(prompt) = args.prompt {
        inputs.insert("prompt".into(), if prompt == "-" { stdin()? } else { prompt });
    }
    if inputs.is_empty() {
        return Err(Failure::new("there is nothing to ask")
            .exit(Exit::Usage)
            .next("holdpoint ask \"What should be done\"")
            .into());
    }
    let said = inputs.get("prompt").cloned();
    let mut body = json!({"agent": args.agent, "inputs": inputs});
    let files = attach::read(&args.files)?;
    if !files.is_empty() {
        body["files"] = Value::Array(files);
    }
    let api = context.api()?;
    let answer = start(&api, &body).await?;
    let execution: Execution = serde_json::from_value(answer.clone())?;
    if !args.follow {
        if context.json {
            return term::json(&answer);
        }
        let url = answer["url"].as_str().unwrap_or_default();
        let url = if url.starts_with('/') { format!("{}{url}", api.base()) } else { url.to_owned() };
        term::line(&format!("{}  {url}", execution.id))?;
        term::line(&format!("→ holdpoint logs {} --follow", short(&execution.id)))?;
        return Ok(());
    }
    converse::run(context, &execution.id, 0, said).await
}

/// Starts it once, however often it has to be sent.
async fn start(api: &Api, body: &Value) -> anyhow::Result<Value> {
    let key = uuid::Uuid::new_v4().to_string();
    let mut tries = TRIES;
    loop {
        tries -= 1;
        match api.post_once("/v1/executions", &key, body).await {
            Err(error) if tries > 0 && error.kind == ErrorKind::Busy => {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
            answer => return Ok(answer?),
        }
    }
}

fn stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}
