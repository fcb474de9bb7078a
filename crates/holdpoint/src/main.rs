//! The program: reads the command line and the environment, and hands over.

use std::process::ExitCode;

use clap::Parser as _;
use holdpoint::{
    cli::{self, Cli, Command},
    env::Environment,
    failure, log, session,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Worker(args) => {
            // Its stderr is its log: `holdpoint logs --worker` and `--cli` show it.
            log::to_stderr(log::USUAL, false);
            return holdpoint_worker::run(&args.spec).map(|()| ExitCode::SUCCESS);
        }
        Command::Bridge(args) => return session::bridge(args),
        Command::Inside(args) => return session::inside(&args),
        _ => {}
    }
    let environment = Environment::read();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(cli::run(cli, environment));
    // A thread may still wait for a line on stdin: it need not come.
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}
