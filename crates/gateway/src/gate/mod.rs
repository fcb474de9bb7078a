//! The line in front of the upstream: calls wait here before they are recorded as begun, so that waiting is
//! no upstream time and sets no money aside.

mod queue;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use holdpoint_model::ExecutionId;
use http::StatusCode;
use tokio::{sync::oneshot, time::Instant};

pub use self::queue::Rates;
use self::queue::{Full, Next, Queue};
use crate::{
    error::ApiError,
    limits::{MAX_WAITING, MAX_WAITING_OF_ONE, QUEUE_PATIENCE},
};

/// What a session that found no place is told to wait, seconds.
const TRY_AGAIN_SECS: u32 = 10;

/// Lets calls through. Clones share the line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    rates: Rates,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    queue: Queue,
    /// Those that wait, to be told that they may go.
    told: HashMap<u64, oneshot::Sender<()>>,
}

/// A place: in the line, and then under way. Given back when dropped, which is how a session that goes away
/// leaves the line.
#[derive(Debug)]
pub(crate) struct Pass(Option<(Gate, u64)>);

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some((gate, number)) = self.0.take() {
            let mut inner = gate.lock();
            inner.told.remove(&number);
            inner.queue.leave(number);
            inner.let_go(Instant::now());
        }
    }
}

impl Gate {
    /// Calls that wait, and calls that were let through and are under way.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.queue.waiting(), inner.queue.under_way())
    }

    pub(crate) fn new(rates: Rates) -> Self {
        let inner = Inner { queue: Queue::new(rates), told: HashMap::new() };
        Self { rates, inner: Arc::new(Mutex::new(inner)) }
    }

    /// Waits until a call of this execution may begin.
    ///
    /// # Errors
    /// The API's 529, after which the session tries again by itself, when too many wait or it took too long.
    pub(crate) async fn pass(&self, execution: ExecutionId) -> Result<Pass, ApiError> {
        if self.rates.is_unbounded() {
            return Ok(Pass(None));
        }
        let begun = Instant::now();
        let (pass, mut may_go) = self.enter(execution)?;
        loop {
            let next = self.lock().let_go(Instant::now());
            let patience_ends = begun + QUEUE_PATIENCE;
            let wake = next.map_or(patience_ends, |at| at.min(patience_ends));
            match tokio::time::timeout_at(wake, &mut may_go).await {
                Ok(_) => {
                    let waited_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                    tracing::debug!(%execution, waited_ms, "a model call was let through");
                    return Ok(pass);
                }
                Err(_) if wake < patience_ends => {}
                Err(_) => return Err(self.too_long(execution)),
            }
        }
    }

    fn enter(&self, execution: ExecutionId) -> Result<(Pass, oneshot::Receiver<()>), ApiError> {
        let mut inner = self.lock();
        let number = inner.queue.enter(execution).map_err(|full| {
            let waiting = match full {
                Full::OfOne => format!("{MAX_WAITING_OF_ONE} model calls of this conversation"),
                Full::OfAll => format!("{MAX_WAITING} model calls"),
            };
            self.overloaded(&format!("{waiting} wait in line already"))
        })?;
        let (tell, told) = oneshot::channel();
        inner.told.insert(number, tell);
        Ok((Pass(Some((self.clone(), number))), told))
    }

    fn too_long(&self, execution: ExecutionId) -> ApiError {
        let waiting = self.lock().queue.waiting();
        tracing::warn!(%execution, waiting, "a model call waited too long for its turn");
        self.overloaded(&format!(
            "its turn did not come within {} s; {waiting} model calls wait in line",
            QUEUE_PATIENCE.as_secs()
        ))
    }

    fn overloaded(&self, why: &str) -> ApiError {
        let shown = |most: Option<u32>| most.map_or("not set".to_owned(), |most| most.to_string());
        let message = format!(
            "{why}. It is tried again. If this stays, raise `concurrent_calls` ({}) or `calls_per_minute` ({}) in \
             [gateway] of holdpoint.toml",
            shown(self.rates.concurrent_calls),
            shown(self.rates.calls_per_minute)
        );
        let status = StatusCode::from_u16(529).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        ApiError { retry_after_secs: Some(TRY_AGAIN_SECS), ..ApiError::new(status, message) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Tells all who may go now; when the next one may, if only time is in the way.
    fn let_go(&mut self, now: Instant) -> Option<Instant> {
        loop {
            match self.queue.next(now) {
                // Whoever is gone gives the place back when its pass is dropped.
                Next::Go(number) => drop(self.told.remove(&number).map(|tell| tell.send(()))),
                Next::At(at) => return Some(at),
                Next::Nobody => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;
    use uuid::Uuid;

    use super::*;

    fn execution(n: u128) -> ExecutionId {
        ExecutionId(Uuid::from_u128(n))
    }

    fn gate(calls_per_minute: Option<u32>, concurrent_calls: Option<u32>) -> Gate {
        Gate::new(Rates { calls_per_minute, concurrent_calls })
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_goes_away_leaves_the_line() {
        let gate = gate(None, Some(1));
        let first = gate.pass(execution(1)).await.expect("free");
        let mut gone = Box::pin(gate.pass(execution(2)));
        assert!(gone.as_mut().now_or_never().is_none());
        let mut last = Box::pin(gate.pass(execution(3)));
        assert!(last.as_mut().now_or_never().is_none());
        assert_eq!(gate.lock().queue.waiting(), 2);
        drop(gone);
        assert_eq!(gate.lock().queue.waiting(), 1);
        drop(first);
        drop(last.await.expect("its turn"));
        gate.pass(execution(1)).await.expect("free again");
    }

    /// Told to go and gone at the same moment: the place is not lost.
    #[tokio::test(start_paused = true)]
    async fn a_place_that_nobody_takes_is_given_on() {
        let gate = gate(None, Some(1));
        let first = gate.pass(execution(1)).await.expect("free");
        let mut gone = Box::pin(gate.pass(execution(2)));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(first);
        drop(gone);
        gate.pass(execution(3)).await.expect("free");
    }

    #[tokio::test(start_paused = true)]
    async fn beginnings_are_spread_over_minutes_and_patience_ends() {
        let gate = gate(Some(1), None);
        let begun = Instant::now();
        drop(gate.pass(execution(1)).await.expect("free"));
        drop(gate.pass(execution(1)).await.expect("a minute later"));
        assert_eq!(begun.elapsed().as_secs(), 60);
        let waiting = futures::future::join_all((0..4).map(|n| gate.pass(execution(n)))).await;
        let errors: Vec<&ApiError> = waiting.iter().filter_map(|passed| passed.as_ref().err()).collect();
        assert_eq!(errors.len(), 2, "two minutes have room for two");
        assert_eq!((errors[0].status.as_u16(), errors[0].retry_after_secs), (529, Some(10)));
        assert!(errors[0].message.contains("`calls_per_minute` (1)"), "{}", errors[0].message);
        assert_eq!(gate.lock().told.len(), 0);
        tokio::time::advance(Duration::from_secs(60)).await;
        gate.pass(execution(1)).await.expect("a minute later");
    }
}
