//! `cargo xtask chaos`: conversations with the release build, and kill -9 for everything.

use clap::Args;

use crate::{run, tools};

/// What is passed on to the harness.
#[derive(Debug, Args)]
pub(crate) struct ChaosArgs {
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
    /// Sessions in containers, of root's Podman or of an ordinary user's
    #[arg(long, value_parser = ["rootful", "rootless"])]
    podman: Option<String>,
    /// Fill the disk now and then; needs `unshare` and the permission to mount
    #[arg(long)]
    disk_full: bool,
}

/// Builds what is needed and runs it.
pub(crate) fn chaos(args: &ChaosArgs) -> anyhow::Result<()> {
    tools::claude()?;
    if args.podman.is_some() {
        tools::containers()?;
    }
    run::build_release()?;
    let (seed, conversations) = (args.seed.to_string(), args.conversations.to_string());
    let (kills, at_once) = (args.kills.to_string(), args.at_once.to_string());
    let mut command = vec!["--seed", &seed, "--conversations", &conversations];
    command.extend(["--kills", &kills, "--at-once", &at_once]);
    if let Some(podman) = &args.podman {
        command.extend(["--podman", podman.as_str()]);
    }
    command.extend(args.disk_full.then_some("--disk-full"));
    run::example("chaos", &command)
}
