//! `holdpoint export`: a conversation's whole log.

use clap::Args;

use crate::{
    cli::Context,
    client::{feed, ids},
    term,
};

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Which conversation: its id, or an end or beginning of it that means one only
    pub execution: String,
}

/// Carries it out.
///
/// # Errors
/// When there is no such conversation.
pub(super) async fn run(args: ExportArgs, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    let id = ids::execution(&api, &args.execution).await?;
    feed::pages(&api, &id, |event| term::json(&event.raw)).await
}
