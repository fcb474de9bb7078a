//! The two processes between a worker and its session in a container: what they are told, and their runtimes.

use std::process::ExitCode;

use anyhow::Context as _;
use holdpoint_bridge::{BridgeOptions, InsideOptions, Launch};
use holdpoint_model::container::{GATEWAY_DIR, GATEWAY_PORT, SESSION_DIR};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use tokio::runtime::Builder;

use crate::{
    cli::{BridgeArgs, InsideArgs},
    env,
};

/// Stands for the CLI outside: its arguments, environment, working directory and stdio are the CLI's.
///
/// # Errors
/// When the CLI could not be started inside.
pub fn bridge(args: BridgeArgs) -> anyhow::Result<ExitCode> {
    let (program, rest) = args.program.split_first().context("no program")?;
    let cwd = std::env::current_dir()?.into_os_string().into_string();
    let launch = Launch {
        program: program.clone(),
        args: rest.to_vec(),
        env: env::whole(),
        cwd: cwd.ok().context("the working directory's name is no text")?,
        writable: args.writable,
        memory_bytes: args.memory_bytes,
        processes: args.processes,
    };
    let options = BridgeOptions { folder: args.folder, notes: args.notes, gateway: args.gateway, launch };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(holdpoint_bridge::bridge(options));
    // A thread still waits for stdin.
    runtime.shutdown_background();
    Ok(ExitCode::from(u8::try_from(code?).unwrap_or(u8::MAX)))
}

/// Is the first process inside.
///
/// # Errors
/// When there is no worker outside, or the CLI could not be started.
pub fn inside(args: &InsideArgs) -> anyhow::Result<ExitCode> {
    let options = InsideOptions {
        session: SESSION_DIR.into(),
        // What only the program may reach is not in a folder of its own: the worker's side leads there.
        gateway: if args.cli_alone { SESSION_DIR.into() } else { GATEWAY_DIR.into() },
        port: GATEWAY_PORT,
        program_alone: args.cli_alone,
    };
    bound(Resource::Fsize, args.file_bytes)?;
    bound(Resource::Nofile, args.open_files)?;
    bound(Resource::Core, 0)?;
    if let Some(most) = args.user_processes {
        bound(Resource::Nproc, most)?;
    }
    // What runs inside has the same user, and is not to have this process's connections and memory. Programs
    // that it starts are not hidden by this.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(holdpoint_bridge::inside(options));
    // What else runs inside ends with the first process.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

/// Bounds this process and all that it starts: what is lowered here stays so.
fn bound(resource: Resource, most: u64) -> anyhow::Result<()> {
    let most = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
        .with_context(|| format!("failed to bound {resource:?} to {most}"))
}
