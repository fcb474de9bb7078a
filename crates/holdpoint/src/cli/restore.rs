//! `holdpoint restore`: a data folder out of a backup.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::{
    backup::{self, Stop},
    cli::{Context, backup::unless_stopped},
    render::clean,
    serve::ways_back,
    term,
};

/// Arguments of `restore`. It goes to the data folder (`--data`), which must be absent or empty.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup
    pub file: PathBuf,
}

/// Carries it out.
///
/// # Errors
/// When the backup is not whole, or the data folder is in use.
pub(super) async fn run(args: RestoreArgs, context: &Context) -> anyhow::Result<()> {
    let stop = Stop::default();
    let restoring = backup::restore(&args.file, &context.data, context.term, stop.clone());
    let restored = unless_stopped(&stop, restoring).await?;
    let (manifest, here) = (&restored.manifest, restored.root.display().to_string());
    if context.json {
        return term::json(&json!({
            "data": here, "files": restored.files, "backup": manifest, "can_go_on": restored.can_go_on(),
        }));
    }
    term::line(&format!(
        "{} conversations, {} events and {} files are in {here}, as they were at {}.",
        manifest.conversations(),
        manifest.events,
        restored.files,
        clean(&manifest.made_at)
    ))?;
    if manifest.going_on == 0 {
        return Ok(term::line(&format!("→ holdpoint --data {here} up"))?);
    }
    if restored.can_go_on() {
        term::line(&format!("{} that were not over go on where they were:", manifest.going_on))?;
        return Ok(term::line(&format!("→ holdpoint --data {here} up"))?);
    }
    let before = clean(&manifest.data.display().to_string());
    term::line(&format!(
        "{} of them are not over, and hold absolute paths: they go on only where they were, at {before}.",
        manifest.going_on
    ))?;
    for way in ways_back(&before, &here) {
        term::line(&format!("→ {way}"))?;
    }
    Ok(())
}
