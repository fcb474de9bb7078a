//! The connections that workers open.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use holdpoint_engine::WorkerId;
use holdpoint_model::{
    Execution, ExecutionId, HoldState, Incarnation, Refusal, UnixMs,
    event::Message,
    wire::{Behaviour, Down, LEASE_MS, NumberedFact, OLDEST_WIRE, Release, Up, WIRE_VERSION},
};
use holdpoint_store::ApplyError;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::{Control, Inner, Purpose, lock};

/// Frames that wait to be written to one worker. A worker that reads nothing for so long is
/// disconnected; what it missed is sent again when it comes back.
const DOWN_QUEUE: usize = 256;

/// How long a worker has for its first frame.
const HELLO_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Facts taken into one commit at most.
const MAX_FACTS_AT_ONCE: usize = 512;

/// The workers that are connected.
#[derive(Debug, Default)]
pub(crate) struct Links {
    by_execution: Mutex<HashMap<ExecutionId, Link>>,
    /// Connections so far: no two have the same number, whatever came in between.
    connections: AtomicU64,
    /// Why workers were sent away to come back later, where nothing of theirs was committed since.
    troubles: Mutex<HashMap<WorkerId, String>>,
}

#[derive(Clone, Debug)]
struct Link {
    incarnation: Incarnation,
    /// Tells two connections of one worker apart.
    number: u64,
    since: UnixMs,
    down: mpsc::Sender<Down>,
}

impl Links {
    /// Hands a frame to the worker, if it is connected and keeps up.
    pub(crate) fn send(&self, id: WorkerId, frame: Down) -> bool {
        let link =
            lock(&self.by_execution).get(&id.execution).filter(|l| l.incarnation == id.incarnation).cloned();
        link.is_some_and(|link| link.down.try_send(frame).is_ok())
    }

    pub(crate) fn is_connected(&self, id: WorkerId) -> bool {
        lock(&self.by_execution).get(&id.execution).is_some_and(|link| link.incarnation == id.incarnation)
    }

    /// None while a later incarnation is connected.
    fn put(&self, id: WorkerId, since: UnixMs, down: mpsc::Sender<Down>) -> Option<u64> {
        let mut links = lock(&self.by_execution);
        if links.get(&id.execution).is_some_and(|link| link.incarnation > id.incarnation) {
            return None;
        }
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        links.insert(id.execution, Link { incarnation: id.incarnation, number, since, down });
        Some(number)
    }

    /// Whether this reason is news: a worker that comes back is met by the same one again and again.
    fn is_new_trouble(&self, id: WorkerId, reason: &str) -> bool {
        let before = lock(&self.troubles).insert(id, reason.to_owned());
        before.as_deref() != Some(reason)
    }

    /// Nothing is in this worker's way any more; whether something was.
    pub(crate) fn forget_trouble(&self, id: WorkerId) -> bool {
        lock(&self.troubles).remove(&id).is_some()
    }

    fn remove(&self, id: WorkerId, number: u64) {
        let mut links = lock(&self.by_execution);
        if links.get(&id.execution).is_some_and(|link| link.number == number) {
            let gone = links.remove(&id.execution);
            debug!(worker = %id, since = gone.map(|link| link.since), "worker disconnected");
        }
    }
}

/// Why a worker was turned away.
#[derive(Debug, thiserror::Error)]
pub enum LinkRefused {
    /// The token is not one of ours, or of an incarnation that does not act.
    #[error("this worker is not expected: {0}")]
    NotExpected(String),
}

/// A worker that showed a good token.
#[derive(Debug)]
pub struct WorkerLink {
    control: Control,
    id: WorkerId,
}

impl Control {
    /// Checks a worker's token before its connection is upgraded.
    ///
    /// # Errors
    /// [`LinkRefused`].
    pub async fn expect_worker(&self, token: &str) -> Result<WorkerLink, LinkRefused> {
        let id = self
            .tokens()
            .check(Purpose::Worker, token)
            .ok_or_else(|| LinkRefused::NotExpected("its token is not valid".into()))?;
        Ok(WorkerLink { control: self.clone(), id })
    }
}

impl WorkerLink {
    /// Serves the connection until it ends.
    pub async fn serve<U, D>(self, mut up: U, down: D)
    where
        U: Stream<Item = Result<Up, String>> + Send + Unpin,
        D: Sink<Down> + Send + Unpin + 'static,
        D::Error: std::fmt::Display,
    {
        let (sender, mut queue) = mpsc::channel::<Down>(DOWN_QUEUE);
        let mut down = down;
        let writer = tokio::spawn(async move {
            while let Some(frame) = queue.recv().await {
                if let Err(error) = down.send(frame).await {
                    debug!(%error, "failed to write to a worker");
                    break;
                }
            }
            let _ = down.close().await;
        });
        self.talk(&mut up, &sender).await;
        drop(sender);
        let _ = writer.await;
    }

    async fn talk<U>(&self, up: &mut U, down: &mpsc::Sender<Down>)
    where
        U: Stream<Item = Result<Up, String>> + Send + Unpin,
    {
        let inner = &self.control.inner;
        let refuse = |reason: String| async move {
            info!(worker = %self.id, %reason, "worker refused");
            let _ = down.send(Down::Refused { reason }).await;
        };
        let hello = tokio::time::timeout(HELLO_TIMEOUT, up.next()).await;
        let Ok(Some(Ok(Up::Hello { wire, execution, incarnation, releases, messages, .. }))) = hello else {
            return refuse("the first frame must be a hello".into()).await;
        };
        if !(OLDEST_WIRE..=WIRE_VERSION).contains(&wire) {
            return refuse(format!(
                "this control plane understands wire versions {OLDEST_WIRE} to {WIRE_VERSION}, the worker speaks {wire}"
            ))
            .await;
        }
        if (WorkerId { execution, incarnation }) != self.id {
            return refuse("the hello is not of the worker whose token it came with".into()).await;
        }
        // Connected first, looked at afterwards: whatever is committed from now on is sent here, and what
        // was committed before is seen. What comes both ways the worker takes once.
        let Some(number) = inner.links.put(self.id, inner.now(), down.clone()) else {
            return refuse("another incarnation acts".into()).await;
        };
        let state = match inner.options.store.execution(execution).await {
            Ok(Some(state)) if state.incarnation == incarnation && state.residency.has_worker() => state,
            Ok(_) => {
                inner.links.remove(self.id, number);
                return refuse("another incarnation acts, or none".into()).await;
            }
            Err(error) => {
                // Not refused: it may come back when the log can be read again.
                inner.links.remove(self.id, number);
                return self.later(format!("failed to read the log: {error}"), down).await;
            }
        };
        inner.places.hold(execution, incarnation);
        let mut greeting = vec![Down::Welcome { acked: state.worker_seq, lease_ms: LEASE_MS }];
        greeting.extend(unseen(&state, &releases, &messages));
        for frame in greeting {
            if down.send(frame).await.is_err() {
                break;
            }
        }
        debug!(worker = %self.id, "worker connected");
        inner.look_at(execution);
        while let Some(frame) = up.next().await {
            let keep = match frame {
                Ok(frame) => self.on_frame(frame, up, down).await,
                Err(error) => {
                    self.later(format!("failed to {error}"), down).await;
                    false
                }
            };
            if !keep {
                break;
            }
        }
        inner.links.remove(self.id, number);
        inner.look_at(execution);
    }

    async fn on_frame<U>(&self, frame: Up, _up: &mut U, down: &mpsc::Sender<Down>) -> bool {
        let inner = &self.control.inner;
        match frame {
            Up::Hello { .. } => false,
            Up::Renew => down.send(Down::Lease { lease_ms: LEASE_MS }).await.is_ok(),
            Up::Delta(delta) => {
                inner.send_delta(self.id.execution, delta);
                true
            }
            Up::Facts { facts } => {
                let mut facts = facts;
                while !facts.is_empty() {
                    let rest = facts.split_off(facts.len().min(MAX_FACTS_AT_ONCE));
                    if !self.take(facts, down).await {
                        return false;
                    }
                    facts = rest;
                }
                true
            }
        }
    }

    /// Commits facts and acknowledges them; false when the connection should end.
    async fn take(&self, facts: Vec<NumberedFact>, down: &mpsc::Sender<Down>) -> bool {
        let WorkerId { execution, incarnation } = self.id;
        match self.control.store().append_facts(execution, incarnation, facts).await {
            Ok(applied) => {
                if self.control.inner.links.forget_trouble(self.id) {
                    info!(worker = %self.id, "what this worker tells is committed again");
                }
                down.send(Down::Ack { up_to: applied.up_to }).await.is_ok()
            }
            Err(ApplyError::Refused(refusal @ (Refusal::Fenced { .. } | Refusal::Stale(_)))) => {
                let _ = down.send(Down::Refused { reason: refusal.to_string() }).await;
                false
            }
            Err(error) => {
                // It keeps its journal and tells again after it has reconnected.
                self.later(format!("failed to commit what it told: {error}"), down).await;
                false
            }
        }
    }

    /// Tells the worker to come back, and why: the connection ends with this.
    async fn later(&self, reason: String, down: &mpsc::Sender<Down>) {
        if self.control.inner.links.is_new_trouble(self.id, &reason) {
            warn!(worker = %self.id, %reason, "a worker is sent away and comes back");
        } else {
            debug!(worker = %self.id, %reason, "a worker is sent away again");
        }
        let _ = down.send(Down::TryAgain { reason }).await;
    }
}

/// What is committed as handed to this worker, and what it has not seen: a connection was cut, or
/// the control plane, between the commit and the frame.
fn unseen(
    state: &Execution,
    releases: &[holdpoint_model::HoldId],
    messages: &[holdpoint_model::MessageId],
) -> Vec<Down> {
    let mut frames: Vec<Down> = state
        .holds
        .values()
        .filter(|hold| !releases.contains(&hold.id))
        .filter(|hold| match &hold.state {
            HoldState::Releasing { incarnation, .. } => *incarnation == state.incarnation,
            HoldState::Expired { told } => *told == Some(state.incarnation),
            _ => false,
        })
        .filter_map(release_frame)
        .collect();
    frames.extend(
        state
            .messages
            .iter()
            .filter(|pending| {
                pending.sent_to == Some(state.incarnation) && !messages.contains(&pending.message.id)
            })
            .map(|pending| send_frame(&pending.message)),
    );
    frames
}

/// The frame that hands a hold's decision (or its expiry) over.
pub(crate) fn release_frame(hold: &holdpoint_model::Hold) -> Option<Down> {
    let behaviour = match &hold.state {
        HoldState::Expired { .. } => Behaviour::Deny {
            message: "Nobody decided in time: this request has expired. It was neither allowed nor refused by a person."
                .into(),
        },
        state => {
            let answer = &state.decision()?.answer;
            match hold.released_input(answer) {
                Some(input) => Behaviour::Allow { input },
                None => match answer {
                    holdpoint_model::Answer::Deny { message } => Behaviour::Deny { message: message.clone() },
                    _ => return None,
                },
            }
        }
    };
    Some(Down::Release(Release {
        hold: hold.id,
        tool_use_id: hold.subject.tool_use_id.clone()?,
        digest: hold.subject.digest.clone(),
        behaviour,
    }))
}

/// The frame that sends a message.
pub(crate) fn send_frame(message: &Message) -> Down {
    Down::Send { message: message.clone() }
}

impl Inner {
    /// Asks the reconciler to look at an execution soon.
    pub(crate) fn look_at(self: &Arc<Self>, id: ExecutionId) {
        self.work.mark(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_once_until_it_is_over() {
        let (links, id) = (Links::default(), |incarnation| WorkerId {
            execution: ExecutionId(uuid::Uuid::from_u128(1)),
            incarnation,
        });
        assert!(links.is_new_trouble(id(1), "full"));
        assert!(!links.is_new_trouble(id(1), "full"));
        assert!(links.is_new_trouble(id(1), "broken"), "something else");
        assert!(links.is_new_trouble(id(2), "broken"), "another worker");
        assert!(links.forget_trouble(id(1)) && !links.forget_trouble(id(1)));
        assert!(links.is_new_trouble(id(1), "broken"), "it was over in between");
    }
}
