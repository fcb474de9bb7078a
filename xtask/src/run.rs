//! Running other programs, and saying which one failed.

use std::process::Command;

use anyhow::{Context as _, ensure};

/// Runs `cargo` with these arguments, in the workspace.
pub(crate) fn cargo(args: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(env!("CARGO"));
    // A panic's place is enough, and errors of tests say what they saw.
    command.args(args).env("RUST_LIB_BACKTRACE", "0");
    program(command, &format!("cargo {}", args.join(" ")))
}

/// Runs a program to its end.
pub(crate) fn program(mut command: Command, shown: &str) -> anyhow::Result<()> {
    eprintln!("→ {shown}");
    let status = command.status().with_context(|| format!("failed to start `{shown}`"))?;
    ensure!(status.success(), "`{shown}` ended with {status}");
    Ok(())
}
