//! Chaos: conversations with everything in them, and processes killed with -9 while they go on.
//!
//! The seed chooses conversations, answers, victims and moments. What the machine makes of it differs from
//! run to run, so a seed finds a bug again often, not always; the report tells what happened when.

mod answers;
pub mod check;
mod client;
pub mod disk;
mod drive;
mod gather;
mod report;
mod scenes;
mod strike;
mod victims;
mod watch;
mod world;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;

use self::{client::Client, strike::Killer, world::World};
pub use self::{disk::Disk, report::Report, strike::Blow, world::Struck};
use crate::{Server, Setup, podman::Podman};

/// Sessions at once: fewer than conversations, so that some wait in line.
const FEWER_SESSIONS: usize = 1;

/// How a run goes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Chooses everything.
    pub seed: u64,
    /// Conversations, at least; more are begun while there are too few kills.
    pub conversations: usize,
    /// Kills with -9.
    pub kills: usize,
    /// Conversations that go on at once.
    pub at_once: usize,
    /// How long one conversation may take.
    pub patience_s: u64,
    /// Sessions run in its containers, not as processes.
    pub podman: Option<Podman>,
    /// A disk of our own that is filled now and then.
    pub disk: Option<Disk>,
    /// Where to keep what conversations that are not in order left behind.
    pub keep: Option<PathBuf>,
    /// Show how far it is.
    pub progress: bool,
}

/// Runs it, and checks.
///
/// # Errors
/// When the harness itself cannot go on: no server, no log.
pub async fn run(options: Options) -> Result<Report> {
    let begun = Instant::now();
    let outside = tempfile::Builder::new().prefix("holdpoint-chaos-").tempdir()?;
    write_note(&outside.path().join("note"))?;
    let sessions = options.at_once.saturating_sub(FEWER_SESSIONS).max(1);
    let mut setup = Setup::script(&scenes::script(outside.path()))
        .toml(&scenes::agents(outside.path()))
        .top(&format!("max_sessions = {sessions}"));
    if let Some(podman) = options.podman.clone() {
        podman.takes(outside.path())?;
        setup = setup.podman(podman);
    }
    setup.folder = options.disk.as_ref().map(|disk| disk.folder().to_owned());
    let mut server = Server::start(setup).await?;
    if options.disk.is_some() {
        // The model is elsewhere, and so is its record: it must not lack what a full disk could not take.
        server.kill()?;
        let (from, to) = (server.data.join("rehearsal.jsonl"), outside.path().join("rehearsal.jsonl"));
        fs::copy(&from, &to)?;
        fs::remove_file(&from)?;
        std::os::unix::fs::symlink(&to, &from)?;
        server.up().await?;
    }
    let rival = server.run(&["token", "create", "--name", "Rival", "--role", "approver"])?.trim().to_owned();
    let people =
        [Client::new(&server.url, &server.token, "Tess")?, Client::new(&server.url, &rival, "Rival")?];
    let world = Arc::new(World::new(people, outside.path().to_owned()));
    let killer = Killer::new(server, world.clone(), options.seed, options.disk.clone());
    let killer = play(&options, &world, killer).await?;
    // Calls that a crash cut short are settled when the control plane starts: the record is whole then.
    let Killer { mut server, counts, .. } = killer;
    server.kill()?;
    server.up().await?;
    let history = gather::gather(&world, &server).await?;
    let findings = check::check(&history);
    if let Some(folder) = options.keep.as_deref().filter(|_| !findings.all.is_empty()) {
        let executions = findings.all.iter().map(|finding| finding.execution.as_str()).collect();
        gather::keep(&server, &executions, folder).context("what is to be kept")?;
    }
    let strikes = world.records().strikes.clone();
    let conversations = world.begun.load(Ordering::Relaxed);
    Ok(Report {
        seed: options.seed,
        took: begun.elapsed(),
        conversations,
        blows: counts,
        strikes,
        history,
        findings,
    })
}

/// Conversations go on, and the killer strikes, until there are enough of both.
async fn play(options: &Options, world: &Arc<World>, killer: Killer) -> Result<Killer> {
    let bar = bar(options);
    let mut talks = JoinSet::new();
    let mut kills = world.kills.subscribe();
    let (wanted_kills, wanted) = (options.kills, options.conversations);
    let mut striking = tokio::spawn(killer.strike_often(wanted_kills, wanted));
    let mut killer = None;
    loop {
        let done_kills = *kills.borrow_and_update();
        let mut begun = world.begun.load(Ordering::Relaxed);
        while talks.len() < options.at_once && may_begin(options, begun, talks.len(), done_kills) {
            talks.spawn(drive::converse(world.clone(), begun, options.seed, options.patience_s));
            begun += 1;
            world.begun.store(begun, Ordering::Relaxed);
        }
        bar.set_message(format!("{done_kills} of {wanted_kills} kills"));
        if talks.is_empty()
            && let Some(killer) = killer.take()
        {
            bar.finish_and_clear();
            return Ok(killer);
        }
        tokio::select! {
            Some(done) = talks.join_next() => {
                done.context("a conversation")??;
                bar.inc(1);
            }
            ended = &mut striking, if killer.is_none() => killer = Some(ended.context("the killer")??),
            _ = kills.changed() => {}
        }
    }
}

/// Conversations keep pace with the kills, so that all of them have their share; but there is always
/// somebody to strike at.
fn may_begin(options: &Options, begun: usize, going_on: usize, kills: usize) -> bool {
    if begun >= options.conversations {
        return kills < options.kills;
    }
    let due = (kills * options.conversations).checked_div(options.kills).unwrap_or(options.conversations);
    begun < due + options.at_once || going_on < options.at_once.div_ceil(2)
}

fn bar(options: &Options) -> ProgressBar {
    if !options.progress {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos} of {len} conversations, {msg}");
    let bar = ProgressBar::new(options.conversations as u64);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn write_note(path: &Path) -> Result<()> {
    fs::write(path, scenes::NOTE)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
