//! What all parts of a run share.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use tokio::sync::{broadcast, watch};

use super::{
    check::{Answered, Event, Said, words_of},
    client::Client,
};

/// Sightings that wait for a killer who is busy.
const SIGHTINGS: usize = 1024;

/// An event of some execution, just seen.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) execution: String,
    pub(super) kind: String,
}

/// A conversation that goes on.
#[derive(Debug, Default)]
pub(super) struct Active {
    /// Strikes that take its worker down, since it last made progress.
    pub(super) struck: u32,
    /// Losses that its log tells of since then.
    lost: u32,
}

impl Active {
    /// Losses without progress: the product gives up after five. What was struck may not have been told yet,
    /// and what was told may come from something else.
    pub(super) fn losses(&self) -> u32 {
        self.struck.max(self.lost)
    }
}

/// One strike, for whoever reads what came of it.
#[derive(Clone, Debug)]
pub struct Struck {
    /// When.
    pub at: jiff::Timestamp,
    /// What was hit, and at which moment.
    pub what: String,
    /// Whose part it was; empty for those that hit all.
    pub execution: String,
}

/// Shared by all parts of a run.
#[derive(Debug)]
pub(super) struct World {
    /// The people: an admin and an approver.
    pub(super) people: [Client; 2],
    /// The folder outside every workspace.
    pub(super) outside: PathBuf,
    pub(super) sightings: broadcast::Sender<Sighting>,
    active: Mutex<BTreeMap<String, Active>>,
    records: Mutex<Records>,
    /// Conversations begun so far.
    pub(super) begun: AtomicUsize,
    /// Kills so far.
    pub(super) kills: watch::Sender<usize>,
}

/// What is written down for the checker.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) answers: Vec<Answered>,
    pub(super) said: Vec<Said>,
    pub(super) strikes: Vec<Struck>,
    pub(super) conversations: Vec<Conversation>,
}

/// A conversation that has come to its end, or has not.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    pub(super) id: String,
    pub(super) play: &'static str,
    pub(super) expected_status: &'static str,
    pub(super) status: String,
    pub(super) seen: Vec<Event>,
}

impl World {
    pub(super) fn new(people: [Client; 2], outside: PathBuf) -> Self {
        Self {
            people,
            outside,
            sightings: broadcast::channel(SIGHTINGS).0,
            active: Mutex::default(),
            records: Mutex::default(),
            begun: AtomicUsize::new(0),
            kills: watch::channel(0).0,
        }
    }

    pub(super) fn active(&self) -> MutexGuard<'_, BTreeMap<String, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody has seen an event.
    pub(super) fn saw(&self, execution: &str, event: &Event) {
        if let Some(active) = self.active().get_mut(execution) {
            match event.kind.as_str() {
                "tool_result" | "turn_ended" => *active = Active::default(),
                "worker_lost" => active.lost += 1,
                _ => {}
            }
        }
        // Nobody listening is no error: the killer has what it needs.
        let _ = self.sightings.send(Sighting { execution: execution.to_owned(), kind: event.kind.clone() });
    }

    /// How often this very command has run.
    pub(super) fn runs_of(&self, execution: &str, input: &serde_json::Value) -> usize {
        let Some((token, _)) = words_of(input) else { return 0 };
        let text = std::fs::read_to_string(self.outside.join("nonces")).unwrap_or_default();
        let mark = format!(" {token} ");
        text.lines().filter(|line| line.contains(execution) && line.contains(&mark)).count()
    }
}

/// A moment in the future.
pub(super) fn in_secs(secs: u64) -> Instant {
    Instant::now() + Duration::from_secs(secs)
}
