//! `holdpoint backup`: everything that there is, in one file, while it is in use or not.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::{
    backup::{self, Destination, Stop},
    cli::Context,
    failure::{Exit, Failure},
    render::{clean, time::bytes},
    term,
};

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Where to write it; `-` for stdout
    #[arg(required_unless_present = "check", conflicts_with = "check")]
    pub file: Option<PathBuf>,
    /// Check that this backup is whole, and write nothing
    #[arg(long, value_name = "FILE")]
    pub check: Option<PathBuf>,
}

/// Carries it out.
///
/// # Errors
/// When the backup is not whole.
pub(super) async fn run(args: BackupArgs, context: &Context) -> anyhow::Result<()> {
    match (args.file, args.check) {
        (_, Some(file)) => check(file, context).await,
        (Some(file), None) => write(file, context).await,
        (None, None) => Ok(()),
    }
}

async fn write(file: PathBuf, context: &Context) -> anyhow::Result<()> {
    let to_stdout = file == Path::new("-");
    if to_stdout && context.term.has_screen {
        return Err(Failure::new("a backup is not for a screen")
            .exit(Exit::Usage)
            .next("holdpoint backup FILE")
            .next("holdpoint backup - | ssh HOST 'cat > holdpoint.tar'")
            .into());
    }
    let to = if to_stdout { Destination::Stdout } else { Destination::File(file.clone()) };
    let stop = Stop::default();
    let written = unless_stopped(&stop, backup::write(&context.data, to, context.term, stop.clone())).await?;
    for damaged in &written.damaged {
        eprintln!("warning: {}", clean(damaged));
    }
    let manifest = &written.manifest;
    if context.json && !to_stdout {
        return term::json(&json!({
            "file": file, "bytes": written.bytes, "files": written.files, "damaged": written.damaged,
            "conversations": manifest.conversations(), "going_on": manifest.going_on,
            "events": manifest.events, "schema": manifest.schema,
        }));
    }
    let text = format!(
        "{} conversations ({} not over), {} events, {} files: {}",
        manifest.conversations(),
        manifest.going_on,
        manifest.events,
        written.files,
        bytes(written.bytes)
    );
    if to_stdout {
        eprintln!("{text}");
        return Ok(());
    }
    term::line(&format!("{text} in {}", file.display()))?;
    Ok(term::line(&format!("→ holdpoint backup --check {}", file.display()))?)
}

async fn check(file: PathBuf, context: &Context) -> anyhow::Result<()> {
    let (term, stop) = (context.term, Stop::default());
    let looked = {
        let (file, stop) = (file.clone(), stop.clone());
        async move { Ok(tokio::task::spawn_blocking(move || backup::check(&file, term, stop)).await??) }
    };
    let checked = unless_stopped(&stop, looked).await?;
    let manifest = &checked.manifest;
    if context.json {
        return term::json(&json!({
            "file": file, "whole": true, "bytes": checked.bytes, "files": checked.files, "backup": manifest,
        }));
    }
    term::line(&format!(
        "The backup is whole: {} conversations ({} not over), {} events, {} files, {}.",
        manifest.conversations(),
        manifest.going_on,
        manifest.events,
        checked.files,
        bytes(checked.bytes)
    ))?;
    let (made_at, by) = (clean(&manifest.made_at), clean(&manifest.holdpoint));
    let data = clean(&manifest.data.display().to_string());
    Ok(term::line(&format!("Holdpoint {by} made it at {made_at} of {data}."))?)
}

/// Ctrl-C ends it in good order, so that nothing half done stays behind.
pub(super) async fn unless_stopped<T>(
    stop: &Stop,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => done,
        _ = tokio::signal::ctrl_c() => {
            stop.stop();
            work.await
        }
    }
}
