//! Telling those who wait that a log grew: any log, or one of them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdpoint_model::{ExecutionId, Seq};
use tokio::sync::{broadcast, watch};

use crate::Hint;

/// Hints kept for a receiver that is slow; one that lags further reads again by `seq`.
const HINTS_KEPT: usize = 4_096;

/// Everybody who waits for news.
pub(crate) struct Hints {
    all: broadcast::Sender<Hint>,
    /// Whoever follows one log is not woken by a thousand others.
    of_one: Mutex<HashMap<ExecutionId, watch::Sender<Seq>>>,
}

impl Hints {
    pub(crate) fn new() -> Self {
        Self { all: broadcast::channel(HINTS_KEPT).0, of_one: Mutex::default() }
    }

    pub(crate) fn all(&self) -> broadcast::Receiver<Hint> {
        self.all.subscribe()
    }

    pub(crate) fn of(&self, id: ExecutionId) -> watch::Receiver<Seq> {
        let mut of_one = self.of_one();
        // What nobody follows any more goes now, or every log ever followed would stay.
        of_one.retain(|_, sender| sender.receiver_count() > 0);
        of_one.entry(id).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    pub(crate) fn send(&self, hint: Hint) {
        // Nobody may be waiting.
        drop(self.all.send(hint));
        if let Some(sender) = self.of_one().get(&hint.execution) {
            sender.send_replace(hint.seq);
        }
    }

    fn of_one(&self) -> MutexGuard<'_, HashMap<ExecutionId, watch::Sender<Seq>>> {
        // Nothing in here can be left half done.
        self.of_one.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
