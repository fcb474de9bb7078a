//! `holdpoint rehearse`: checks a script, or runs a conversation that it answers.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use holdpoint_gateway::Script;

use crate::{
    cli::{Context, ask, up},
    config::Overrides,
    data::DataDir,
    failure::{Exit, Failure},
    serve, term,
};

/// Arguments of `rehearse`.
#[derive(Debug, Args)]
pub struct RehearseArgs {
    /// The script, a YAML file
    pub script: PathBuf,
    /// Also run a conversation that begins with this, on a server of its own
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// With this agent
    #[arg(long, default_value = "claude", requires = "prompt")]
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
    let script = Script::parse(&text, &name)
        .map_err(|error| Failure::new("the script cannot be played").why(error).exit(Exit::Config))?;
    let Some(prompt) = args.prompt else {
        let turns: usize = script.scenes.iter().map(|scene| scene.turns.len()).sum();
        if context.json {
            return term::json(&serde_json::json!({"scenes": script.scenes.len(), "turns": turns}));
        }
        return Ok(term::line(&format!(
            "{name} can be played: {} scenes, {turns} turns",
            script.scenes.len()
        ))?);
    };
    let folder = tempfile::Builder::new().prefix("holdpoint-rehearsal-").tempdir()?;
    let data = DataDir::locate(Some(folder.path()), &context.environment)?;
    data.create()?;
    let overrides = Overrides { port: Some(0), rehearsal: Some(args.script), ..Overrides::default() };
    let config = context.config(&overrides)?;
    // The CLI of the real data folder: it need not be fetched again.
    let mut plan = up::plan(config, context).await?;
    plan.data = data.clone();
    up::init_log("warn");
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let server = serve::run(plan, move |_| {
        let _ = ready.send(());
    });
    let own = context.with_data(data);
    let conversation = async {
        is_ready.await.context("the server did not start")?;
        ask::run(ask::AskArgs::following(prompt, args.agent), &own).await
    };
    tokio::select! {
        ended = server => ended,
        ended = conversation => ended,
    }
}
