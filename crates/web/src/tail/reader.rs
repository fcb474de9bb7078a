//! The task that reads for all who follow a log.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use holdpoint_model::{ExecutionId, Seq};
use holdpoint_store::{Store, StoreError};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{Buffer, Entry, Followed, Mark, locked};
use crate::limits;

pub(super) struct Reader {
    all: Arc<Followed>,
    store: Store,
    id: ExecutionId,
    hints: watch::Receiver<Seq>,
    buffer: Arc<Mutex<Buffer>>,
    marks: watch::Sender<Mark>,
    /// The execution was found over, with a worker still to say goodbye.
    over_since: Option<Instant>,
}

impl Reader {
    pub(super) fn new(
        all: Arc<Followed>,
        store: Store,
        id: ExecutionId,
        buffer: Arc<Mutex<Buffer>>,
    ) -> (Self, watch::Receiver<Mark>) {
        // Subscribed before the first look, or a commit in between would go unnoticed.
        let hints = store.hints_of(id);
        let (marks, receiver) = watch::channel(Mark::default());
        (Self { all, store, id, hints, buffer, marks, over_since: None }, receiver)
    }

    /// Reads until it is ended, or the store is closed: then followers are told that nothing will come.
    pub(super) async fn run(mut self) {
        loop {
            // What is committed after this look is hinted at after it.
            self.hints.mark_unchanged();
            let rest = match self.look().await {
                Ok(rest) => rest,
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(execution = %self.id, %error, "failed to read events for who follows them");
                    Some(Duration::from_millis(limits::POLL_MS))
                }
            };
            // What comes meanwhile comes together.
            sleep(self.all.pause()).await;
            let Some(rest) = rest else { continue };
            if let Ok(Err(_)) = timeout(rest, self.hints.changed()).await {
                return;
            }
        }
    }

    /// Reads what is new, and says how long to rest if nobody hints at anything; None when there is more.
    async fn look(&mut self) -> Result<Option<Duration>, StoreError> {
        let end = locked(&self.buffer).end();
        let end = if let Some(end) = end {
            let events = self.store.events(self.id, end, limits::EVENTS_PAGE).await?;
            let is_page = events.len() >= limits::EVENTS_PAGE as usize;
            let last = events.last().map_or(end, |event| event.seq);
            if last > end {
                let entries: Vec<_> = events.into_iter().map(Entry::new).collect();
                // Encoded here, so that nobody waits for the lock meanwhile.
                for entry in &entries {
                    entry.frame();
                }
                locked(&self.buffer).extend(entries);
                self.tell(Mark { end: last, over: false });
            }
            if is_page {
                return Ok(None);
            }
            Some(last)
        } else {
            None
        };
        let Some(execution) = self.store.execution(self.id).await? else {
            // Deleted, with all that might have come.
            self.tell(Mark { end: 0, over: true });
            return Ok(Some(Duration::from_millis(limits::POLL_MS)));
        };
        let Some(end) = end else {
            // What there is already, followers page by themselves.
            locked(&self.buffer).begin(execution.seq);
            self.tell(Mark { end: execution.seq, over: false });
            return Ok(None);
        };
        if execution.seq > end {
            return Ok(None);
        }
        let mut rest = Duration::from_millis(limits::POLL_MS);
        if execution.status.is_final() {
            let grace = Duration::from_millis(limits::END_GRACE_MS);
            let since = *self.over_since.get_or_insert_with(Instant::now);
            let left = grace.saturating_sub(since.elapsed());
            if !execution.residency.has_worker() || left.is_zero() {
                self.tell(Mark { end, over: true });
            } else {
                rest = rest.min(left);
            }
        }
        Ok(Some(rest))
    }

    fn tell(&self, mark: Mark) {
        self.marks.send_if_modified(|now| std::mem::replace(now, mark) != mark);
    }
}
