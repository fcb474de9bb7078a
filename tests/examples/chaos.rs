//! `cargo xtask chaos`: kills everything, over and over, and counts what that broke.

use std::{ffi::OsStr, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Parser;
use holdpoint_tests::{
    chaos::{self, Disk, Options},
    podman::{Kind, Podman},
};

/// Long: a conversation may be killed many times, on a busy machine.
const PATIENCE_S: u64 = 300;

/// Room for some hundred conversations, their logs and transcripts.
const DISK_MB: u32 = 768;

/// Kill everything, over and over, and count what that broke
#[derive(Debug, Parser)]
struct Args {
    /// Chooses conversations, answers, victims and moments
    #[arg(long)]
    seed: u64,
    /// Conversations
    #[arg(long, default_value_t = 200)]
    conversations: usize,
    /// Kills with -9
    #[arg(long, default_value_t = 500)]
    kills: usize,
    /// Conversations that go on at once
    #[arg(long, default_value_t = 4)]
    at_once: usize,
    /// Fill the disk now and then: the data folder is on a small one of its own, in a mount namespace
    #[arg(long)]
    disk_full: bool,
    /// Sessions in containers, of root's Podman or of an ordinary user's
    #[arg(long, value_parser = ["rootful", "rootless"])]
    podman: Option<String>,
    /// The small disk, once it is mounted
    #[arg(long, hide = true)]
    disk: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if args.disk_full && args.disk.is_none() {
        return Err(again_with_a_disk());
    }
    let keep = holdpoint_tests::build_dir()?.join("chaos").join(format!("seed-{}", args.seed));
    let report = chaos::run(Options {
        seed: args.seed,
        conversations: args.conversations,
        kills: args.kills,
        at_once: args.at_once,
        patience_s: PATIENCE_S,
        podman: args.podman.as_deref().map(podman).transpose()?,
        disk: args.disk.as_deref().map(Disk::at),
        keep: Some(keep.clone()),
        progress: true,
    })
    .await?;
    println!("{report}");
    if report.is_clean() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", report.details());
    println!("transcripts, journals and logs are kept in {}", keep.display());
    Ok(ExitCode::FAILURE)
}

fn podman(which: &str) -> Result<Podman> {
    Podman::ready(if which == "rootful" { Kind::Rootful } else { Kind::Rootless })
}

/// The same program in a mount namespace; comes back only with an error. The folder that is mounted over is
/// empty, and stays behind so.
fn again_with_a_disk() -> anyhow::Error {
    let enter = || -> Result<anyhow::Error> {
        let folder = tempfile::Builder::new().prefix("holdpoint-disk-").tempdir()?.keep();
        let program = std::env::current_exe()?;
        let own: Vec<_> = std::env::args_os().skip(1).collect();
        let mut args: Vec<&OsStr> = own.iter().map(AsRef::as_ref).collect();
        args.extend([OsStr::new("--disk"), folder.as_os_str()]);
        let error = chaos::disk::enter(&folder, DISK_MB, program.as_os_str(), &args);
        Ok(anyhow::Error::new(error).context("no mount namespace of our own, which --disk-full needs"))
    };
    enter().context("failed to prepare a small disk").unwrap_or_else(|error| error)
}
