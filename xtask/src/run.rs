//! Running other programs, and saying which one failed.

use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::tools;

/// Runs `cargo` with these arguments, in the workspace.
pub(crate) fn cargo(args: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(env!("CARGO"));
    // A panic's place is enough, and errors of tests say what they saw.
    command.args(args).env("RUST_LIB_BACKTRACE", "0");
    program(command, &format!("cargo {}", args.join(" ")))
}

/// Builds the program and all that tests are made of. Always the whole workspace: what cargo is asked to build
/// decides which features dependencies have, and another choice would build them once more.
pub(crate) fn build() -> anyhow::Result<()> {
    cargo(&["build", "--workspace", "--all-targets"])
}

/// The same for benchmarks and chaos, which are examples.
pub(crate) fn build_release() -> anyhow::Result<()> {
    cargo(&["build", "--release", "--workspace", "--bins", "--examples"])
}

/// Runs an example of the release build.
pub(crate) fn example(name: &str, args: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(tools::target_dir()?.join("release/examples").join(name));
    command.args(args);
    program(command, &format!("{name} {}", args.join(" ")))
}

/// Runs a program to its end.
pub(crate) fn program(mut command: Command, shown: &str) -> anyhow::Result<()> {
    eprintln!("→ {shown}");
    let status = command.status().with_context(|| format!("failed to start `{shown}`"))?;
    ensure!(status.success(), "`{shown}` ended with {status}");
    Ok(())
}
