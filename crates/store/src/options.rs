//! What a store is opened with: where time and ids come from, and the bounds on what it keeps.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use holdpoint_model::{Budgets, UnixMs};
use uuid::Uuid;

/// Where the store's wall-clock time comes from.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now(&self) -> UnixMs;
}

impl<F: Fn() -> UnixMs + Send + Sync> Clock for F {
    fn now(&self) -> UnixMs {
        self()
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMs {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMs::try_from(since_epoch.as_millis()).unwrap_or(UnixMs::MAX)
    }
}

/// Where fresh ids come from.
pub trait IdSource: Send + Sync {
    /// A UUID that was never given out before; version 7, so that ids sort by time.
    fn fresh(&self) -> Uuid;
}

impl<F: Fn() -> Uuid + Send + Sync> IdSource for F {
    fn fresh(&self) -> Uuid {
        self()
    }
}

/// UUID v7 from the machine's clock and randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeOrderedIds;

impl IdSource for TimeOrderedIds {
    fn fresh(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// Executions kept ready in memory, so that a fact need not read and parse its aggregate first.
/// A few hundred are active at once on one machine; each takes some kilobytes.
pub(crate) const DEFAULT_CACHED_EXECUTIONS: usize = 256;

/// Connections that read, each with its own thread: more than a small machine has cores, so that
/// one slow page does not hold up the next.
pub(crate) const DEFAULT_READERS: u32 = 4;

/// What a store is opened with.
#[derive(Clone)]
pub struct StoreOptions {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Fresh ids.
    pub ids: Arc<dyn IdSource>,
    /// The budgets that conversations share.
    pub budgets: Arc<Budgets>,
    /// How many executions are kept ready in memory; at least one.
    pub cached_executions: usize,
    /// How many connections read; at least one.
    pub readers: u32,
    /// The most pages (of 4096 bytes) that the data file may grow to; None for no bound but the disk's.
    pub max_pages: Option<u32>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            ids: Arc::new(TimeOrderedIds),
            budgets: Arc::default(),
            cached_executions: DEFAULT_CACHED_EXECUTIONS,
            readers: DEFAULT_READERS,
            max_pages: None,
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("cached_executions", &self.cached_executions)
            .field("readers", &self.readers)
            .field("max_pages", &self.max_pages)
            .finish_non_exhaustive()
    }
}
