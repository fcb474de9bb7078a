//! `holdpoint rehearse`: plays a conversation that a script answers, or only checks the script.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use holdpoint_gateway::Source;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{Context, ask, up},
    config::Overrides,
    data::DataDir,
    failure::{Exit, Failure},
    log, serve,
    term::{self, Lines},
};

/// Arguments of `rehearse`. On a terminal it asks for what the conversation begins with.
#[derive(Debug, Args)]
pub struct RehearseArgs {
    /// The script, a YAML file, or a cassette
    pub script: PathBuf,
    /// What the conversation begins with
    #[arg(long, value_name = "TEXT", conflicts_with = "check")]
    pub prompt: Option<String>,
    /// Only check the script
    #[arg(long)]
    pub check: bool,
    /// With this agent
    #[arg(long, default_value = "claude")]
    pub agent: String,
}

/// Carries it out.
///
/// # Errors
/// When the script cannot be played, or the conversation does not run.
pub(super) async fn run(args: RehearseArgs, context: &Context) -> anyhow::Result<()> {
    let name = args.script.display().to_string();
    let text = std::fs::read_to_string(&args.script)
        .map_err(|error| Failure::new(format!("failed to read {name}")).why(error).exit(Exit::NotFound))?;
    let script = Source::parse(&text, &name)
        .map_err(|error| Failure::new("the script cannot be played").why(error).exit(Exit::Config))?;
    let can_ask = context.term.is_interactive() && !context.json;
    let prompt = match args.prompt {
        Some(prompt) => prompt,
        None if can_ask && !args.check => {
            term::print(&format!("{name} answers. What do you say first? > "))?;
            let line = Lines::start().next().await.unwrap_or_default();
            if line.trim().is_empty() {
                return Ok(term::line("nothing was said")?);
            }
            line
        }
        None => return checked(&name, &script, args.check, context),
    };
    play(args.script, prompt, args.agent, context).await
}

fn checked(name: &str, script: &Source, was_asked: bool, context: &Context) -> anyhow::Result<()> {
    let (what, json) = match script {
        Source::Script(script) => {
            let scenes = script.scenes.len();
            let turns: usize = script.scenes.iter().map(|scene| scene.turns.len()).sum();
            (format!("{scenes} scenes, {turns} turns"), serde_json::json!({"scenes": scenes, "turns": turns}))
        }
        Source::Cassette(cassette) => {
            let (calls, agent) = (cassette.len(), &cassette.agent);
            let what = format!("{calls} model calls, recorded with the agent `{agent}`");
            (what, serde_json::json!({"calls": calls, "agent": agent}))
        }
    };
    if context.json {
        return term::json(&json);
    }
    term::line(&format!("{name} can be played: {what}"))?;
    if !was_asked {
        term::line("It was only checked, since nobody can type here. To play it:")?;
        term::line(&format!("→ holdpoint rehearse {name} --prompt \"What you say first\""))?;
    }
    Ok(())
}

/// A conversation on a server of its own, which ends with it, whichever way that is.
async fn play(script: PathBuf, prompt: String, agent: String, context: &Context) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("holdpoint-rehearsal-").tempdir()?;
    let data = DataDir::locate(Some(folder.path()), &context.environment)?;
    data.create()?;
    let overrides = Overrides { port: Some(0), rehearsal: Some(script), ..Overrides::default() };
    let config = context.config(&overrides)?;
    // The CLI of the real data folder: it need not be fetched again.
    let mut plan = up::plan(config, context).await?;
    plan.data = data.clone();
    plan.is_passing = true;
    log::to_stderr("warn", context.term.error_color);
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let stop = CancellationToken::new();
    let mut server = Box::pin(serve::run(plan, stop.clone(), move |_| {
        let _ = ready.send(());
    }));
    let own = context.with_own_server(data);
    let conversation = async {
        is_ready.await.context("the server did not start")?;
        ask::run(ask::AskArgs::following(prompt, agent), &own).await
    };
    let outcome = tokio::select! {
        // It could not start, or a signal ended it: either way there is nothing left.
        ended = &mut server => return ended,
        outcome = conversation => outcome,
    };
    // Dropped instead, it would leave the worker and its session behind.
    stop.cancel();
    let ended = server.await;
    outcome.and(ended)
}
