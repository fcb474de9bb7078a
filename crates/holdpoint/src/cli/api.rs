//! `holdpoint api`: the description of the HTTP API.

use clap::Subcommand;

use crate::term;

/// Subcommands of `api`.
#[derive(Debug, Subcommand)]
pub enum ApiCommand {
    /// Print the OpenAPI document of /v1, for generators of clients
    Schema,
}

/// Carries it out.
///
/// # Errors
/// When nothing can be printed.
pub(super) fn run(command: &ApiCommand) -> anyhow::Result<()> {
    match command {
        ApiCommand::Schema => Ok(term::print(&holdpoint_web::openapi_document())?),
    }
}
