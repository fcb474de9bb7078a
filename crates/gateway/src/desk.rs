//! What is going on right now: calls in flight, and deliveries. Lost with the process, and then not
//! missed: a new process has no connections to know about.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use holdpoint_model::{CallId, ExecutionId, Incarnation};
use tokio::sync::watch;

use crate::thread::{Place, Thread};

/// The gateway's view of the calls it is busy with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    in_flight: Vec<(Asked, watch::Receiver<()>)>,
    /// Questions that left the list with an answer so far: what was read of the record before may lack it.
    answered: u64,
    deliveries: HashMap<ExecutionId, Deliveries>,
}

/// Deliveries to the newest incarnation of an execution.
#[derive(Debug, Default)]
struct Deliveries {
    incarnation: Incarnation,
    to: HashMap<CallId, Delivery>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Delivery {
    /// On its way, or cut on its way, to this thread.
    To(Thread),
    /// Done; the record is about to say so too.
    Done,
}

/// A question put to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) execution: ExecutionId,
    pub(crate) incarnation: Incarnation,
    pub(crate) thread: Thread,
    pub(crate) place: Place,
}

impl Asked {
    /// Whether `later` asks what is being asked already: the same thread after a cut connection, or a
    /// successor of a killed session. Two subagents of one process with one prompt each ask for
    /// themselves.
    fn is_asked_again_by(&self, later: &Self) -> bool {
        let same_kind = match (&self.thread, &later.thread) {
            (Thread::Main, Thread::Main) => true,
            (Thread::Agent(a), Thread::Agent(b)) => a == b || self.incarnation != later.incarnation,
            _ => false,
        };
        same_kind
            && self.execution == later.execution
            && self.place.root == later.place.root
            && self.place.after == later.place.after
    }
}

/// A question's place in the list of those in flight; leaves it when dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    desk: Desk,
    asked: Asked,
    is_answered: AtomicBool,
    _done: watch::Sender<()>,
}

impl InFlight {
    /// The answer is about to be recorded as `id`, and is on its way to whoever asked.
    pub(crate) fn answered(&self, id: CallId) {
        self.desk.take(id, &self.asked);
        self.is_answered.store(true, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut inner = self.desk.lock();
        if let Some(at) = inner.in_flight.iter().position(|(asked, _)| *asked == self.asked) {
            inner.in_flight.swap_remove(at);
            inner.answered += u64::from(self.is_answered.load(Ordering::Relaxed));
        }
    }
}

/// The same question is in flight already. Its answer will be in the record.
#[derive(Debug)]
pub(crate) struct AlreadyAsked(watch::Receiver<()>);

impl AlreadyAsked {
    /// Waits until that call has ended, however it ends.
    pub(crate) async fn ended(mut self) {
        // The sender never sends: it is dropped at the end.
        while self.0.changed().await.is_ok() {}
    }
}

impl Desk {
    /// How many questions have been answered so far, and their answers recorded.
    pub(crate) fn answered(&self) -> u64 {
        self.lock().answered
    }

    /// Enters a question that goes upstream.
    pub(crate) fn ask(&self, asked: Asked) -> Result<InFlight, AlreadyAsked> {
        let mut inner = self.lock();
        let earlier = inner.in_flight.iter().find(|(earlier, _)| earlier.is_asked_again_by(&asked));
        if let Some((_, done)) = earlier {
            return Err(AlreadyAsked(done.clone()));
        }
        let (sender, receiver) = watch::channel(());
        inner.in_flight.push((asked.clone(), receiver));
        Ok(InFlight { desk: self.clone(), asked, is_answered: AtomicBool::new(false), _done: sender })
    }

    /// Takes a recorded response for delivery to a thread; false when another one has it.
    pub(crate) fn take(&self, id: CallId, asked: &Asked) -> bool {
        let mut inner = self.lock();
        let deliveries = inner.deliveries.entry(asked.execution).or_default();
        if deliveries.incarnation > asked.incarnation {
            // Of a session that was replaced: its last bytes are refused, whatever it takes.
            return true;
        }
        if deliveries.incarnation < asked.incarnation {
            *deliveries = Deliveries { incarnation: asked.incarnation, to: HashMap::new() };
        }
        let delivery = deliveries.to.entry(id).or_insert_with(|| Delivery::To(asked.thread.clone()));
        *delivery == Delivery::To(asked.thread.clone())
    }

    /// The responses that this thread cannot have: with another thread, or delivered.
    pub(crate) fn taken(
        &self,
        execution: ExecutionId,
        incarnation: Incarnation,
        thread: &Thread,
    ) -> HashSet<CallId> {
        let inner = self.lock();
        let deliveries = inner.deliveries.get(&execution).filter(|all| all.incarnation == incarnation);
        let mine = Delivery::To(thread.clone());
        let all = deliveries.into_iter().flat_map(|deliveries| &deliveries.to);
        all.filter(|(_, delivery)| **delivery != mine).map(|(id, _)| *id).collect()
    }

    /// A delivery is done; known here at once, before the record is.
    pub(crate) fn delivered(&self, id: CallId, execution: ExecutionId, incarnation: Incarnation) {
        let mut inner = self.lock();
        let deliveries = inner.deliveries.get_mut(&execution).filter(|all| all.incarnation == incarnation);
        if let Some(delivery) = deliveries.and_then(|deliveries| deliveries.to.get_mut(&id)) {
            *delivery = Delivery::Done;
        }
    }

    /// The record says it now.
    pub(crate) fn delivery_recorded(&self, id: CallId, execution: ExecutionId) {
        if let Some(deliveries) = self.lock().deliveries.get_mut(&execution) {
            deliveries.to.remove(&id);
        }
    }

    /// An execution has ended.
    pub(crate) fn forget(&self, execution: ExecutionId) {
        self.lock().deliveries.remove(&execution);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
