//! What a developer runs: `cargo xtask test`, `cargo xtask bench`, `cargo xtask chaos`.

mod bench;
mod chaos;
mod run;
mod tools;

use clap::Parser;

/// What a developer runs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Set up whatever is missing, then format check, lints and all tests
    Test {
        /// Only tests whose name contains this; format and lints are left out
        filter: Option<String>,
    },
    /// Measure a release build, and print a table
    Bench,
    /// Kill everything with -9, over and over, and count what that broke
    Chaos(chaos::ChaosArgs),
    /// Install the tools that tests need: the Claude CLI, Chromium, Podman
    Tools,
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Test { filter } => test(filter.as_deref()),
        Task::Bench => bench::bench(),
        Task::Chaos(args) => chaos::chaos(&args),
        Task::Tools => tools::install(),
    }
}

fn test(filter: Option<&str>) -> anyhow::Result<()> {
    tools::install()?;
    if filter.is_none() {
        run::cargo(&["fmt", "--all", "--check"])?;
        run::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    }
    // The end-to-end tests run the program itself.
    run::build()?;
    let mut args = vec!["test", "--workspace", "--no-fail-fast"];
    args.extend(filter);
    // Several real CLIs at once need half a gigabyte; more of them than cores only make each other late.
    args.extend(["--", "--test-threads", "3"]);
    run::cargo(&args)
}
