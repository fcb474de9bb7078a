//! `holdpoint config`: is the configuration right, and what may be in it.

use clap::Subcommand;
use serde_json::json;

use crate::{
    cli::Context,
    config::{EXAMPLE, NamedSecret, Overrides, schema},
    term,
};

/// Subcommands of `config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the configuration and say what it comes to
    Check,
    /// Print the JSON Schema of holdpoint.toml, for editors
    Schema,
    /// Print an annotated holdpoint.toml to begin with
    Example,
}

/// Carries it out.
///
/// # Errors
/// Everything that is wrong with the configuration.
pub(super) fn run(command: &ConfigCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Schema => Ok(term::print(&schema())?),
        ConfigCommand::Example => Ok(term::print(EXAMPLE)?),
        ConfigCommand::Check => check(context),
    }
}

fn check(context: &Context) -> anyhow::Result<()> {
    let config = context.config(&Overrides::default())?;
    let (file, model, cli) = (config.file_in_words(), config.model_in_words(), config.cli_in_words());
    let notify = [("webhook", &config.notify.webhook), ("ntfy", &config.notify.ntfy)];
    let notify: Vec<String> = notify
        .iter()
        .filter_map(|(name, endpoint)| Some((name, endpoint.as_ref()?)))
        .map(|(name, endpoint)| match &endpoint.secret {
            Some(NamedSecret { variable, value: None }) => format!("{name} ({variable} is not set)"),
            _ => (*name).to_owned(),
        })
        .collect();
    let agents: Vec<&str> = config.agents.keys().map(String::as_str).collect();
    if context.json {
        return term::json(&json!({
            "file": config.file, "data": context.data.root(), "host": config.host, "port": config.port,
            "base_url": config.base_url, "max_sessions": config.max_sessions, "model": model, "cli": cli,
            "notify": notify, "agents": agents,
        }));
    }
    for (name, value) in [
        ("file", file),
        ("data", context.data.root().display().to_string()),
        ("listens", format!("{}:{}", config.host, config.port)),
        ("sessions", format!("{} at once", config.max_sessions)),
        ("model", model),
        ("cli", cli),
        ("notify", if notify.is_empty() { "nobody".to_owned() } else { notify.join(", ") }),
        ("agents", agents.join(", ")),
    ] {
        term::line(&format!("{name:9} {value}"))?;
    }
    Ok(term::line("the configuration is right")?)
}
