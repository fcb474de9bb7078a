//! The end of a log that somebody follows: read and encoded once, for all who follow it.
//!
//! One task for each followed conversation reads what is new and keeps the latest of it; it ends with the last
//! follower. A tail is a short cut and nothing else: whoever is further behind than it reaches pages the log, and a
//! follower knows by `seq` what it has, so none is given twice and none is left out. Who may follow at all is looked
//! at for each follower, by whoever opened its stream.

mod buffer;
mod entry;
mod reader;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use holdpoint_model::{ExecutionId, Seq};
use holdpoint_store::Store;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::limits;
use buffer::Buffer;
pub(crate) use entry::Entry;
use reader::Reader;

/// How far a log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The last event that is known; 0 before the first look.
    pub(crate) end: Seq,
    /// Nothing comes after it: the execution is over, and its worker has said goodbye (or takes too long to).
    pub(crate) over: bool,
}

/// The tails of all logs that are followed. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub(crate) struct Tails(Arc<Followed>);

#[derive(Default)]
struct Followed {
    tails: Mutex<HashMap<ExecutionId, Weak<Tail>>>,
    followers: AtomicUsize,
}

impl fmt::Debug for Tails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tails").field(&self.0.followers).finish()
    }
}

impl Tails {
    /// Follows a log. Must be called in a runtime.
    pub(crate) fn follow(&self, store: &Store, id: ExecutionId) -> Follower {
        self.0.followers.fetch_add(1, Ordering::Relaxed);
        let mut tails = self.0.tails();
        let tail = tails.get(&id).and_then(Weak::upgrade).unwrap_or_else(|| {
            let tail = Arc::new(Tail::new(&self.0, store, id));
            tails.insert(id, Arc::downgrade(&tail));
            tail
        });
        Follower { marks: tail.marks.clone(), tail }
    }
}

impl Followed {
    fn tails(&self) -> MutexGuard<'_, HashMap<ExecutionId, Weak<Tail>>> {
        // Nothing in here can be left half done.
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a tail waits between two looks.
    fn pause(&self) -> Duration {
        let all = u32::try_from(self.followers.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        Duration::from_micros(limits::LOOK_SHARE_US).saturating_mul(all)
    }
}

/// The end of one log, for as long as somebody follows it.
struct Tail {
    id: ExecutionId,
    all: Arc<Followed>,
    buffer: Arc<Mutex<Buffer>>,
    marks: watch::Receiver<Mark>,
    /// It only reads: it may be ended anywhere.
    _reader: AbortOnDropHandle<()>,
}

impl Tail {
    fn new(all: &Arc<Followed>, store: &Store, id: ExecutionId) -> Self {
        let buffer = Arc::new(Mutex::new(Buffer::new(limits::TAIL_EVENTS, limits::TAIL_BYTES)));
        let (reader, marks) = Reader::new(Arc::clone(all), store.clone(), id, Arc::clone(&buffer));
        let reader = AbortOnDropHandle::new(tokio::spawn(reader.run()));
        Self { id, all: Arc::clone(all), buffer, marks, _reader: reader }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let mut tails = self.all.tails();
        // By now there may be another in its place.
        if tails.get(&self.id).is_some_and(|tail| tail.strong_count() == 0) {
            tails.remove(&self.id);
        }
    }
}

/// One who follows a log.
pub(crate) struct Follower {
    tail: Arc<Tail>,
    marks: watch::Receiver<Mark>,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("of", &self.tail.id).finish_non_exhaustive()
    }
}

impl Follower {
    /// How far the log goes. What goes further from now on wakes [`Self::changed`].
    pub(crate) fn mark(&mut self) -> Mark {
        *self.marks.borrow_and_update()
    }

    /// The mark moved; false when it never will again.
    pub(crate) async fn changed(&mut self) -> bool {
        self.marks.changed().await.is_ok()
    }

    /// The next events after `after`, up to a page of them; None when the tail does not reach back so far.
    pub(crate) fn after(&self, after: Seq) -> Option<Vec<Arc<Entry>>> {
        locked(&self.tail.buffer).after(after, limits::EVENTS_PAGE as usize)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.tail.all.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

fn locked(buffer: &Mutex<Buffer>) -> MutexGuard<'_, Buffer> {
    // An entry is whole before it is put in.
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}
