//! The killer: who is hit, with what, and at which moment.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::sync::broadcast;

use super::{
    disk::Disk,
    victims::{self, Processes},
    world::{Sighting, Struck, World},
};
use crate::{PATIENCE, Server, processes};

/// What is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blow {
    /// The control plane, with -9; then it is started again.
    ControlPlane,
    /// A worker, with -9.
    Worker,
    /// A CLI, with -9.
    Cli,
    /// A session's container, with -9.
    Container,
    /// Something that a CLI runs, with -9.
    Child,
    /// The control plane and every process of every conversation, with -9, as when a machine goes down.
    Everything,
    /// The connection of a worker to the control plane.
    WorkerLink,
    /// The connections of a CLI to the gateway.
    GatewayLink,
    /// The control plane stops for some seconds and goes on.
    Freeze,
    /// The disk is full for some seconds.
    DiskFull,
}

impl Blow {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::ControlPlane => "kill -9 control plane",
            Self::Worker => "kill -9 worker",
            Self::Cli => "kill -9 CLI",
            Self::Container => "kill -9 container",
            Self::Child => "kill -9 running child",
            Self::Everything => "kill -9 everything at once",
            Self::WorkerLink => "cut worker link",
            Self::GatewayLink => "cut gateway connection",
            Self::Freeze => "freeze control plane",
            Self::DiskFull => "disk full",
        }
    }

    /// Whether it counts as a kill.
    #[must_use]
    pub fn is_kill(self) -> bool {
        !matches!(self, Self::WorkerLink | Self::GatewayLink | Self::Freeze | Self::DiskFull)
    }
}

/// Moments that are worth a strike: right after one of these events. The same kind may be there twice.
const MOMENTS: [&str; 18] = [
    "worker_starting",
    "worker_ready",
    "message_intent",
    "message_delivered",
    "assistant",
    "hold_opened",
    "hold_opened",
    "hold_answered",
    "hold_answered",
    "release_intent",
    "answer_written",
    "answer_written",
    "tool_result",
    "model_call",
    "hold_reasked",
    "worker_stopped",
    "turn_ended",
    "session_idle",
];

/// The product gives an execution up after five losses in a row; that is no chaos but a rule.
const MOST_LOSSES: u32 = 3;

/// Longest wait for a chosen moment.
const MOMENT_WITHIN: Duration = Duration::from_millis(800);

/// Longest wait for a tool to run.
const CHILD_WITHIN: Duration = Duration::from_millis(1_500);

/// How often the disk is to be filled, of a hundred strikes.
const DISK_PERCENT: u8 = 12;

/// Workers of one conversation that a full disk may take down, one after another.
const DISK_LOSSES: u32 = 2;

/// How long to leave conversations in peace that are behind.
const AHEAD_FOR: Duration = Duration::from_millis(50);

/// Strikes at a running server.
#[derive(Debug)]
pub(super) struct Killer {
    pub(super) server: Server,
    world: Arc<World>,
    rng: fastrand::Rng,
    sightings: broadcast::Receiver<Sighting>,
    disk: Option<Disk>,
    disk_due: bool,
    pub(super) counts: BTreeMap<Blow, usize>,
}

impl Killer {
    pub(super) fn new(server: Server, world: Arc<World>, seed: u64, disk: Option<Disk>) -> Self {
        let sightings = world.sightings.subscribe();
        let rng = fastrand::Rng::with_seed(seed);
        Self { server, world, rng, sightings, disk, disk_due: false, counts: BTreeMap::new() }
    }

    /// Strikes until there were enough kills, at the pace of the conversations. Returns itself, with the
    /// control plane up.
    ///
    /// # Errors
    /// When the control plane does not come back.
    pub(super) async fn strike_often(mut self, kills: usize, conversations: usize) -> Result<Self> {
        loop {
            let done = *self.world.kills.borrow();
            if done >= kills {
                return Ok(self);
            }
            if done * conversations < kills * self.world.begun.load(Ordering::Relaxed) {
                self.strike().await?;
            } else {
                tokio::time::sleep(AHEAD_FOR).await;
            }
        }
    }

    /// One strike, or none where nobody was there to be struck.
    ///
    /// # Errors
    /// When the control plane does not come back.
    async fn strike(&mut self) -> Result<()> {
        if let Some(status) = self.server.ended() {
            bail!("the control plane ended by itself with {status}:\n{}", self.server.output());
        }
        let blow = self.choose();
        let (moment, victim) = self.moment().await;
        let Some(execution) = self.deliver(blow, victim, &moment).await? else { return Ok(()) };
        *self.counts.entry(blow).or_default() += 1;
        if blow.is_kill() {
            self.world.kills.send_modify(|kills| *kills += 1);
        }
        note_strike(&self.world, blow, &moment, execution);
        Ok(())
    }

    fn choose(&mut self) -> Blow {
        // It hits everybody, so it waits until everybody can bear it.
        self.disk_due |= self.disk.is_some() && self.rng.u8(..100) < DISK_PERCENT;
        if self.disk_due && self.spare(DISK_LOSSES).is_some() {
            self.disk_due = false;
            return Blow::DiskFull;
        }
        match self.rng.u8(..100) {
            0..18 => Blow::ControlPlane,
            18..38 => Blow::Worker,
            38..48 if self.server.in_containers() => Blow::Container,
            38..58 => Blow::Cli,
            58..76 => Blow::Child,
            76..80 => Blow::Everything,
            80..88 => Blow::WorkerLink,
            88..96 => Blow::GatewayLink,
            _ => Blow::Freeze,
        }
    }

    /// Waits for a moment: an event of some kind, and a little longer; or just a while.
    async fn moment(&mut self) -> (String, Option<String>) {
        if self.rng.u8(..100) < 35 {
            let pause_ms = self.rng.u64(..400);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            return (format!("after {pause_ms} ms"), None);
        }
        // Two of them, whichever comes first: waiting for a rare one alone would be a long peace.
        let wanted = [0; 2].map(|_| MOMENTS[self.rng.usize(..MOMENTS.len())]);
        // Half of them at once, the rest within the next fiftieth of a second or the next quarter.
        let pause_ms = match self.rng.u8(..4) {
            0 | 1 => 0,
            2 => self.rng.u64(..20),
            _ => self.rng.u64(..250),
        };
        self.sightings = self.world.sightings.subscribe();
        let deadline = tokio::time::Instant::now() + MOMENT_WITHIN;
        loop {
            match tokio::time::timeout_at(deadline, self.sightings.recv()).await {
                Ok(Ok(seen)) if wanted.contains(&seen.kind.as_str()) => {
                    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                    return (format!("{pause_ms} ms after {}", seen.kind), Some(seen.execution));
                }
                Ok(Ok(_) | Err(broadcast::error::RecvError::Lagged(_))) => {}
                Ok(Err(broadcast::error::RecvError::Closed)) | Err(_) => {
                    return ("at no moment in particular".to_owned(), None);
                }
            }
        }
    }

    /// Strikes. Says whom it hit, which is nobody in particular for what hits all; None if it hit nothing.
    async fn deliver(&mut self, blow: Blow, victim: Option<String>, moment: &str) -> Result<Option<String>> {
        let all = Some(String::new());
        match blow {
            Blow::ControlPlane => {
                self.server.kill()?;
                let pause_ms = self.rng.u64(..400);
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                self.bring_back().await?;
                Ok(all)
            }
            Blow::Freeze => {
                let Some(pid) = self.server.pid() else { return Ok(None) };
                processes::pause(&[pid]);
                let pause_ms = self.rng.u64(300..3_000);
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                victims::go_on(pid);
                Ok(all)
            }
            Blow::Everything => {
                let everybody = self.spare(1);
                if everybody.is_none() {
                    return Ok(None);
                }
                self.server.kill()?;
                for execution in everybody.into_iter().flatten() {
                    processes::kill(&Processes::of(&execution).all());
                    self.lost(&execution);
                }
                self.bring_back().await?;
                Ok(all)
            }
            Blow::DiskFull => self.fill(moment).await,
            Blow::Child => Ok(self.kill_child().await),
            Blow::Worker | Blow::Cli | Blow::Container | Blow::WorkerLink | Blow::GatewayLink => {
                Ok(self.hit_one(blow, victim))
            }
        }
    }

    fn hit_one(&mut self, blow: Blow, victim: Option<String>) -> Option<String> {
        let port = self.port();
        let mut candidates: Vec<String> = self.world.active().keys().cloned().collect();
        self.rng.shuffle(&mut candidates);
        let candidates = victim.into_iter().chain(candidates);
        for execution in candidates {
            let kills = blow.is_kill();
            let spared = self.world.active().get(&execution).is_none_or(|of| of.losses() >= MOST_LOSSES);
            if kills && spared {
                continue;
            }
            let of = Processes::of(&execution);
            let hit = match blow {
                Blow::Worker => kill_all(&of.workers),
                Blow::Cli => kill_all(&of.clis),
                Blow::Container => kill_all(&of.firsts),
                Blow::WorkerLink => of.workers.iter().map(|pid| victims::cut(*pid, port)).sum(),
                _ => of.clis.iter().map(|pid| victims::cut(*pid, port)).sum(),
            };
            if hit > 0 {
                if kills {
                    self.lost(&execution);
                }
                return Some(execution);
            }
        }
        None
    }

    /// Waits for a tool to run, anywhere, and kills one of its processes.
    async fn kill_child(&mut self) -> Option<String> {
        let deadline = Instant::now() + CHILD_WITHIN;
        while Instant::now() < deadline {
            let executions: Vec<String> = self.world.active().keys().cloned().collect();
            for execution in executions {
                let children = Processes::of(&execution).children;
                if !children.is_empty() {
                    let pause_ms = self.rng.u64(..60);
                    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                    let child = children[self.rng.usize(..children.len())];
                    // It may have ended meanwhile, and another process may have its number.
                    if !Processes::of(&execution).children.contains(&child) {
                        continue;
                    }
                    processes::kill(&[child]);
                    return Some(execution);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    /// The disk is full for a while; sometimes somebody dies of something else meanwhile.
    async fn fill(&mut self, moment: &str) -> Result<Option<String>> {
        let (Some(disk), Some(everybody)) = (self.disk.clone(), self.spare(DISK_LOSSES)) else {
            return Ok(None);
        };
        disk.fill()?;
        for execution in &everybody {
            for _ in 0..DISK_LOSSES {
                self.lost(execution);
            }
        }
        let pause_ms = self.rng.u64(300..2_500);
        tokio::time::sleep(Duration::from_millis(pause_ms / 2)).await;
        if self.rng.u8(..3) == 0 {
            self.server.kill()?;
            note_strike(&self.world, Blow::ControlPlane, &format!("disk full, {moment}"), String::new());
            *self.counts.entry(Blow::ControlPlane).or_default() += 1;
            self.world.kills.send_modify(|kills| *kills += 1);
        }
        tokio::time::sleep(Duration::from_millis(pause_ms / 2)).await;
        disk.free()?;
        if self.server.pid().is_some() && !self.server.is_up() {
            let what = "the control plane had ended by itself".to_owned();
            self.world.records().strikes.push(Struck {
                at: jiff::Timestamp::now(),
                what,
                execution: String::new(),
            });
        }
        self.bring_back().await?;
        Ok(Some(String::new()))
    }

    /// Everybody, if all of them can bear so many losses more.
    fn spare(&self, losses: u32) -> Option<Vec<String>> {
        let active = self.world.active();
        let bears = active.values().all(|of| of.losses() + losses <= MOST_LOSSES);
        (bears && !active.is_empty()).then(|| active.keys().cloned().collect())
    }

    fn lost(&self, execution: &str) {
        if let Some(of) = self.world.active().get_mut(execution) {
            of.struck += 1;
        }
    }

    /// The control plane, up again on the same data; does nothing if it is up.
    ///
    /// # Errors
    /// When it does not answer in time; with what it printed.
    pub(super) async fn bring_back(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.server.is_up() {
            match self.server.up().await {
                Ok(()) => {}
                // A disk that has just been freed, a port that is not free yet: once more.
                Err(error) if Instant::now() > deadline => bail!("the control plane stays away: {error:#}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
        Ok(())
    }

    fn port(&self) -> u16 {
        self.server.url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default()
    }
}

fn kill_all(pids: &[u32]) -> usize {
    processes::kill(pids);
    pids.len()
}

/// Writes a strike down.
fn note_strike(world: &World, blow: Blow, moment: &str, execution: String) {
    let what = format!("{}, {moment}", blow.words());
    world.records().strikes.push(Struck { at: jiff::Timestamp::now(), what, execution });
}
