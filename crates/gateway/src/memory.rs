//! A record in memory: for tests, and for a rehearsal that nobody means to continue.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{FutureExt as _, future::BoxFuture};
use holdpoint_model::{CallId, ExecutionId, Incarnation};
use serde_json::Value;
use uuid::Uuid;

use crate::record::{Failure, NewCall, RecordError, Recorded, RecordedCall, Recorder};
use crate::thread::Thread;

/// A [`Recorder`] that forgets with the process. Clones share the record.
#[derive(Debug, Clone, Default)]
pub struct MemoryRecorder {
    calls: Arc<Mutex<Calls>>,
}

#[derive(Debug, Default)]
struct Calls {
    all: Vec<MemoryCall>,
    /// How many calls an execution had completed at its last turn boundary, and which ones.
    completed: HashMap<ExecutionId, Vec<CallId>>,
}

/// Everything known of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryCall {
    /// Its id.
    pub id: CallId,
    /// How it began.
    pub call: NewCall,
    /// How it ended.
    pub end: MemoryEnd,
    /// The incarnations it was delivered to.
    pub delivered_to: Vec<Incarnation>,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub enum MemoryEnd {
    /// It has not.
    Open,
    /// With a whole response.
    Whole(Recorded),
    /// Without one.
    Failed(Failure),
}

impl MemoryRecorder {
    /// An empty record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every call so far, in the order they began.
    #[must_use]
    pub fn calls(&self) -> Vec<MemoryCall> {
        self.lock().all.clone()
    }

    /// Begins a new turn: what was recorded before is no longer replayed. The control plane does this
    /// before it sends a person's message or an interrupt.
    pub fn turn_boundary(&self, execution: ExecutionId) {
        self.lock().completed.remove(&execution);
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, id: CallId, end: MemoryEnd) -> Result<(), RecordError> {
        let mut calls = self.lock();
        let call = calls.get(id)?;
        call.end = end;
        let (execution, side) = (call.call.execution, call.call.thread == Thread::Side);
        if matches!(call.end, MemoryEnd::Whole(_)) && !side {
            calls.completed.entry(execution).or_default().push(id);
        }
        Ok(())
    }
}

impl Calls {
    fn get(&mut self, id: CallId) -> Result<&mut MemoryCall, RecordError> {
        let found = self.all.iter_mut().find(|call| call.id == id);
        found.ok_or_else(|| RecordError::Failed(format!("no call {id}")))
    }
}

impl Recorder for MemoryRecorder {
    fn begin(&self, call: NewCall) -> BoxFuture<'_, Result<CallId, RecordError>> {
        let id = CallId(Uuid::now_v7());
        self.lock().all.push(MemoryCall { id, call, end: MemoryEnd::Open, delivered_to: Vec::new() });
        futures::future::ready(Ok(id)).boxed()
    }

    fn complete(&self, id: CallId, recorded: Recorded) -> BoxFuture<'_, Result<(), RecordError>> {
        futures::future::ready(self.end(id, MemoryEnd::Whole(recorded))).boxed()
    }

    fn fail(&self, id: CallId, failure: Failure) -> BoxFuture<'_, Result<(), RecordError>> {
        futures::future::ready(self.end(id, MemoryEnd::Failed(failure))).boxed()
    }

    fn delivered(&self, id: CallId, incarnation: Incarnation) -> BoxFuture<'_, Result<(), RecordError>> {
        let done = self.lock().get(id).map(|call| {
            if !call.delivered_to.contains(&incarnation) {
                call.delivered_to.push(incarnation);
            }
        });
        futures::future::ready(done).boxed()
    }

    fn current_turn(&self, execution: ExecutionId) -> BoxFuture<'_, Result<Vec<RecordedCall>, RecordError>> {
        let mut calls = self.lock();
        let ids = calls.completed.get(&execution).cloned().unwrap_or_default();
        let mut turn = Vec::with_capacity(ids.len());
        for id in ids {
            if let Ok(MemoryCall { id, call, end: MemoryEnd::Whole(recorded), delivered_to }) = calls.get(id)
            {
                turn.push(RecordedCall {
                    id: *id,
                    incarnation: call.incarnation,
                    thread: call.thread.clone(),
                    place: call.place.clone(),
                    footprint: recorded.footprint.clone(),
                    delivered_to: delivered_to.clone(),
                });
            }
        }
        futures::future::ready(Ok(turn)).boxed()
    }

    fn response(&self, id: CallId) -> BoxFuture<'_, Result<Arc<Value>, RecordError>> {
        let found = self.lock().get(id).and_then(|call| match &call.end {
            MemoryEnd::Whole(recorded) => Ok(recorded.response.clone()),
            _ => Err(RecordError::Failed(format!("call {id} has no whole response"))),
        });
        futures::future::ready(found).boxed()
    }
}
