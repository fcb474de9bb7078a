//! `holdpoint token`: tokens for scripts, and links to sign in with. Works on the data folder,
//! whether the control plane runs or not.

use clap::{Args, Subcommand};
use holdpoint_model::Role;
use serde_json::json;

use crate::{cli::Context, config::Overrides, serve, term};

/// Subcommands of `token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token for a script or a person; it is printed once and stored nowhere
    Create(CreateArgs),
    /// Make a one-time link to sign in with
    Link,
}

/// Arguments of `token create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Whose it is
    #[arg(long)]
    pub name: String,
    /// What they may do: admin, operator, approver, asker, viewer
    #[arg(long, default_value = "operator")]
    pub role: Role,
}

/// Carries it out.
///
/// # Errors
/// When it cannot be made.
pub(super) async fn run(command: TokenCommand, context: &Context) -> anyhow::Result<()> {
    context.data.create()?;
    let (key, value) = match command {
        TokenCommand::Create(args) => {
            ("token", serve::create_token(&context.data, &args.name, args.role).await?)
        }
        TokenCommand::Link => {
            let config = context.config(&Overrides::default())?;
            let base = config.base_url.unwrap_or_else(|| format!("http://localhost:{}", config.port));
            ("url", serve::create_link(&context.data, &base).await?)
        }
    };
    if context.json {
        return term::json(&json!({key: value}));
    }
    Ok(term::line(&value)?)
}
