//! The executions that are kept ready in memory: committed states only, put there by the writer alone.

use std::sync::{Arc, Mutex, PoisonError};

use hashlink::LruCache;
use holdpoint_model::{Execution, ExecutionId};

/// A bounded cache of committed states. Readers take from it and never put into it: a state that was
/// read from the database may be older than the one that the writer has just published.
pub(crate) struct Cache {
    entries: Mutex<LruCache<ExecutionId, Arc<Execution>>>,
}

impl Cache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: Mutex::new(LruCache::new(capacity.max(1))) }
    }

    pub(crate) fn get(&self, id: ExecutionId) -> Option<Arc<Execution>> {
        self.lock().get(&id).cloned()
    }

    pub(crate) fn publish(&self, execution: Arc<Execution>) {
        self.lock().insert(execution.id, execution);
    }

    pub(crate) fn forget(&self, id: ExecutionId) {
        self.lock().remove(&id);
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<ExecutionId, Arc<Execution>>> {
        // Nothing in here can be left half done: a panic elsewhere does not spoil the entries.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
