//! Following a log by `seq`: from its tail, which all followers share, and by pages of it for who is further behind.
//! A slow, lagging or reconnecting reader never loses an event, because each knows what it has, and nothing but the
//! log itself is read.

use std::{future::pending, sync::Arc, time::Duration};

use holdpoint_model::{ExecutionId, Seq, wire::Delta};
use holdpoint_store::{Store, StoreError};
use tokio::{
    sync::broadcast::{
        Receiver,
        error::{RecvError, TryRecvError},
    },
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    limits,
    state::WebState,
    tail::{Entry, Follower},
};

/// What a follower gets.
#[derive(Debug)]
pub(crate) enum Fed {
    /// The next events, in order, never empty.
    Events(Vec<Arc<Entry>>),
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
    follower: Follower,
    deltas: Option<Receiver<Delta>>,
    closing: CancellationToken,
    /// What was there at first has been looked at.
    begun: bool,
    idle_at: Instant,
}

impl Feed {
    /// Everything after `after`, and then what comes.
    pub(crate) fn new(state: &WebState, id: ExecutionId, after: Seq, deltas: bool) -> Self {
        Self {
            store: state.store().clone(),
            id,
            after,
            follower: state.tails.follow(state.store(), id),
            deltas: deltas.then(|| state.control.deltas(id)),
            closing: state.closing.clone(),
            begun: false,
            idle_at: Instant::now() + Duration::from_millis(limits::POLL_MS),
        }
    }

    /// The next thing. May be dropped at any time and asked again: what was not given comes then.
    pub(crate) async fn next(&mut self) -> Result<Fed, StoreError> {
        loop {
            // Before the look: what is there after it wakes.
            let mark = self.follower.mark();
            // Deltas first: those of a block were sent before the block was committed, and must not be shown after it.
            if std::mem::replace(&mut self.begun, true)
                && let Some(delta) = self.delta_there()
            {
                return Ok(Fed::Delta(delta));
            }
            let entries = self.read().await?;
            if let Some(last) = entries.last() {
                self.after = last.event.seq;
                return Ok(Fed::Events(entries));
            }
            if mark.over && self.after >= mark.end {
                return Ok(Fed::End);
            }
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return Ok(Fed::Closing),
                delta = next_delta(self.deltas.as_mut()) => match delta {
                    Some(delta) => return Ok(Fed::Delta(delta)),
                    None => self.deltas = None,
                },
                goes_on = self.follower.changed() => if !goes_on {
                    return Ok(Fed::Closing);
                },
                () = sleep_until(self.idle_at) => {
                    self.idle_at = Instant::now() + Duration::from_millis(limits::POLL_MS);
                    return Ok(Fed::Idle);
                }
            }
        }
    }

    /// The next events, as far as there are any.
    async fn read(&self) -> Result<Vec<Arc<Entry>>, StoreError> {
        if let Some(entries) = self.follower.after(self.after) {
            return Ok(entries);
        }
        let events = self.store.events(self.id, self.after, limits::EVENTS_PAGE).await?;
        Ok(events.into_iter().map(Entry::new).collect())
    }

    /// A delta that waits already.
    fn delta_there(&mut self) -> Option<Delta> {
        let deltas = self.deltas.as_mut()?;
        loop {
            match deltas.try_recv() {
                Ok(delta) => return Some(delta),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
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
