//! `holdpoint cli`: the Claude CLI that Holdpoint runs.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::{
    cli::Context,
    config::{CliSource, Overrides},
    install::{self, Installer},
    term,
};

/// Subcommands of `cli`.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Install the version that Holdpoint was tested with
    Install(InstallArgs),
    /// Check every byte of the installed one, and that it runs
    Check,
}

/// Arguments of `cli install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Into this folder rather than the data folder
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
}

/// Carries it out.
///
/// # Errors
/// When it cannot be installed, or is not what it should be.
pub(super) async fn run(command: CliCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        CliCommand::Install(args) => {
            let folder = match args.to {
                Some(to) => std::path::absolute(to)?,
                None => {
                    context.data.create()?;
                    context.data.cli_folder().join(install::VERSION)
                }
            };
            let program =
                Installer::new(folder, context.environment.path.clone(), context.term).install().await?;
            if context.json {
                return term::json(&json!({"program": program, "version": install::VERSION}));
            }
            Ok(term::line(&program.display().to_string())?)
        }
        CliCommand::Check => {
            let config = context.config(&Overrides::default())?;
            let program = match config.claude.cli {
                CliSource::Installed => {
                    let folder = context.data.cli_folder().join(install::VERSION);
                    Installer::new(folder, context.environment.path.clone(), context.term).verify().await?
                }
                _ => {
                    install::resolve(&config.claude, &context.data, &context.environment, context.term)
                        .await?
                }
            };
            if context.json {
                return term::json(&json!({"program": program, "right": true}));
            }
            Ok(term::line(&format!("{} is right", program.display()))?)
        }
    }
}
