//! Following a log: pages by `seq`, woken by hints. A slow, lagging or reconnecting reader never
//! loses an event, because nothing but the log itself carries any.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use holdpoint_model::{Event, ExecutionId, Seq, wire::Delta};
use holdpoint_store::{Hint, Store, StoreError};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{limits, state::WebState};

/// What a follower gets.
#[derive(Debug)]
pub(crate) enum Fed {
    /// The next events, in order, never empty.
    Events(Vec<Event>),
    /// Part of what the model is writing.
    Delta(Delta),
    /// Nothing, for a while.
    Idle,
    /// The execution is over and everything was given.
    End,
    /// The server goes down; come back with the last `seq`.
    Closing,
}

/// One reader of one log.
#[derive(Debug)]
pub(crate) struct Feed {
    store: Store,
    id: ExecutionId,
    after: Seq,
    hints: Receiver<Hint>,
    deltas: Option<Receiver<Delta>>,
    closing: CancellationToken,
    /// There may be more in the log than was read.
    unread: bool,
    /// Everything there was has been given, and nobody has asked yet whether that is all.
    caught_up: bool,
    /// Not before.
    look_at: Instant,
    poll_at: Instant,
    /// The execution was found over, with a worker still to say goodbye.
    over_since: Option<Instant>,
    follower: Follower,
}

/// One of those who follow a log, for as long as it is there.
#[derive(Debug)]
struct Follower(Arc<AtomicUsize>);

impl Follower {
    fn one_more(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(all))
    }

    /// How long each waits between two looks.
    fn pause(&self) -> Duration {
        let all = u32::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        Duration::from_micros(limits::LOOK_SHARE_US).saturating_mul(all)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Feed {
    /// Everything after `after`, and then what comes.
    pub(crate) fn new(state: &WebState, id: ExecutionId, after: Seq, deltas: bool) -> Self {
        Self {
            store: state.store().clone(),
            id,
            after,
            // Subscribed before the first look, or a commit in between would go unnoticed.
            hints: state.store().hints(),
            deltas: deltas.then(|| state.control.deltas(id)),
            closing: state.closing.clone(),
            unread: true,
            caught_up: false,
            look_at: Instant::now(),
            poll_at: Instant::now() + Duration::from_millis(limits::POLL_MS),
            over_since: None,
            follower: Follower::one_more(&state.followers),
        }
    }

    /// The next thing.
    pub(crate) async fn next(&mut self) -> Result<Fed, StoreError> {
        loop {
            if self.unread && Instant::now() >= self.look_at {
                let events = self.store.events(self.id, self.after, limits::EVENTS_PAGE).await?;
                self.look_at = Instant::now() + self.follower.pause();
                // What is committed after this look is hinted at after it.
                self.unread = events.len() >= limits::EVENTS_PAGE as usize;
                self.caught_up = !self.unread;
                if let Some(last) = events.last() {
                    self.after = last.seq;
                    return Ok(Fed::Events(events));
                }
            }
            if std::mem::take(&mut self.caught_up) && self.is_over().await? {
                return Ok(Fed::End);
            }
            let wake_at = if self.unread { self.look_at.min(self.poll_at) } else { self.poll_at };
            tokio::select! {
                // Deltas first: those of a block were sent before the block was committed, and must
                // not be shown after it.
                biased;
                () = self.closing.cancelled() => return Ok(Fed::Closing),
                delta = next_delta(self.deltas.as_mut()) => {
                    if let Some(delta) = delta {
                        return Ok(Fed::Delta(delta));
                    }
                    self.deltas = None;
                }
                // Whoever knows of more need not be told of each.
                hint = self.hints.recv(), if !self.unread => match hint {
                    Ok(hint) => self.unread |= hint.execution == self.id && hint.seq > self.after,
                    Err(RecvError::Lagged(_)) => self.unread = true,
                    Err(RecvError::Closed) => return Ok(Fed::Closing),
                },
                () = sleep_until(wake_at) => if Instant::now() >= self.poll_at {
                    self.unread = true;
                    self.poll_at = Instant::now() + Duration::from_millis(limits::POLL_MS);
                    return Ok(Fed::Idle);
                }
            }
        }
    }

    /// Over, and its worker has said goodbye (or takes too long to).
    async fn is_over(&mut self) -> Result<bool, StoreError> {
        let Some(execution) = self.store.execution(self.id).await? else { return Ok(true) };
        if execution.seq > self.after {
            self.unread = true;
            return Ok(false);
        }
        if !execution.status.is_final() {
            return Ok(false);
        }
        let grace = Duration::from_millis(limits::END_GRACE_MS);
        let since = *self.over_since.get_or_insert_with(Instant::now);
        self.poll_at = self.poll_at.min(since + grace);
        Ok(!execution.residency.has_worker() || since.elapsed() >= grace)
    }
}

/// The next delta; None when there will be no more. Those that a slow reader missed are missed.
async fn next_delta(deltas: Option<&mut Receiver<Delta>>) -> Option<Delta> {
    let Some(deltas) = deltas else { return pending().await };
    loop {
        match deltas.recv().await {
            Ok(delta) => return Some(delta),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}
