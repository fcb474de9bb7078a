//! Tells people about holds: a reconciler over the outbox. It takes no input and is safe to repeat; it is
//! woken by commits, by sends that end, and by a timer.
//!
//! A notice that was sent and not yet noted as sent when the control plane dies is sent again, under the
//! same id: at least once on the wire, and once for a receiver that looks at ids.

use std::{sync::Arc, time::Duration};

use holdpoint_model::Status;
use holdpoint_notify::{Channel, Notice, Retry, SendError, Waiting};
use holdpoint_store::{AfterFailure, ApplyError, Delivery, Hint, LONGEST_WAIT_MS, StoreError};
use tokio::sync::{Notify, Semaphore, broadcast};
use tracing::warn;

use crate::{Control, Inner};

/// How often the outbox is looked at, whatever was or was not hinted: reminders come by the clock alone.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often it is swept where there is nobody to tell.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Sends at once over one channel; one that hangs does not keep another waiting.
const SENDS_AT_ONCE: usize = 4;

/// Notices spread in one commit.
const SPREAD_AT_ONCE: u32 = 64;

/// For how long a delivery is claimed: longer than a send may take ([`holdpoint_notify::SEND_TIMEOUT`])
/// and its outcome be noted.
const LEASE_MS: u64 = 60_000;

const _: () = assert!(LEASE_MS as u128 > 2 * holdpoint_notify::SEND_TIMEOUT.as_millis());
const _: () = assert!(LEASE_MS <= LONGEST_WAIT_MS && LONGEST_PAUSE_MS <= LONGEST_WAIT_MS);

/// The pause after a first failure; doubled with each further one.
const FIRST_PAUSE_MS: u64 = 2_000;

/// The longest pause, unless the other side asks for more.
const LONGEST_PAUSE_MS: u64 = 30 * 60 * 1000;

/// Tries after which a delivery is given up: with these pauses, after two days.
const MAX_TRIES: u32 = 100;

/// How long sends that are under way may take when the control plane ends.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Where people are told.
#[derive(Debug)]
pub struct Outlets {
    /// Over what; may be empty.
    pub channels: Vec<Arc<dyn Channel>>,
    /// Where people reach the panel.
    pub base_url: String,
}

struct Outlet {
    channel: Arc<dyn Channel>,
    free: Arc<Semaphore>,
}

struct Announcer {
    inner: Arc<Inner>,
    names: Vec<String>,
    outlets: Vec<Outlet>,
    base_url: Arc<str>,
    /// A send has ended: its place is free.
    freed: Arc<Notify>,
}

impl Control {
    /// Tells people about holds until [`Control::shutdown`]. There may be one of it only.
    ///
    /// # Errors
    /// When the outbox cannot be used at the start.
    pub async fn announce(&self, outlets: Outlets) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        let mut hints = inner.options.store.hints();
        let announcer = Announcer {
            names: outlets.channels.iter().map(|channel| channel.name().to_owned()).collect(),
            outlets: outlets
                .channels
                .into_iter()
                .map(|channel| Outlet { channel, free: Arc::new(Semaphore::new(SENDS_AT_ONCE)) })
                .collect(),
            base_url: outlets.base_url.into(),
            freed: Arc::default(),
            inner: Arc::clone(&inner),
        };
        inner.options.store.begin_deliveries(&announcer.names).await?;
        let has_channels = !announcer.names.is_empty();
        let mut timer = tokio::time::interval(if has_channels { LOOK_EVERY } else { SWEEP_EVERY });
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = inner.stopping.cancelled() => return Ok(()),
                _ = timer.tick() => {}
                () = announcer.freed.notified() => {}
                () = something_waits(&mut hints), if has_channels => {}
            }
            match announcer.pass().await {
                Ok(()) => {}
                Err(_) if inner.stopping.is_cancelled() => return Ok(()),
                Err(error) => warn!(%error, "failed to look for people to tell; trying again"),
            }
        }
    }
}

/// Waits for a commit after which somebody may have to be told; those that came meanwhile count as one.
async fn something_waits(hints: &mut broadcast::Receiver<Hint>) {
    loop {
        match hints.recv().await {
            Ok(hint) if hint.status != Status::Awaiting => {}
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {
                while hints.try_recv().is_ok() {}
                return;
            }
            // The store is closed: the end is near.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Announcer {
    /// One look at the outbox: what is due is claimed, and its sends are begun.
    async fn pass(&self) -> Result<(), StoreError> {
        let store = &self.inner.options.store;
        let with_reminders = self.inner.clock.is_steady(self.inner.now());
        while store.spread_notices(&self.names, with_reminders, SPREAD_AT_ONCE).await? == SPREAD_AT_ONCE {}
        for outlet in &self.outlets {
            let free = outlet.free.available_permits();
            if free == 0 {
                continue;
            }
            let limit = u32::try_from(free).unwrap_or(u32::MAX);
            for delivery in store.claim_deliveries(outlet.channel.name(), LEASE_MS, limit).await? {
                // Nobody else takes places: there is one for each that was claimed.
                let permit = Arc::clone(&outlet.free).try_acquire_owned();
                let (inner, freed) = (Arc::clone(&self.inner), Arc::clone(&self.freed));
                let (channel, base_url) = (Arc::clone(&outlet.channel), Arc::clone(&self.base_url));
                self.inner.tasks.spawn(async move {
                    inner.deliver(channel.as_ref(), &base_url, delivery).await;
                    drop(permit);
                    freed.notify_one();
                });
            }
        }
        Ok(())
    }
}

impl Inner {
    async fn deliver(&self, channel: &dyn Channel, base_url: &str, delivery: Delivery) {
        let Delivery { claim, occasion, hold, execution, agent, title, rehearsal } = delivery;
        let waiting = Waiting::new(occasion, execution, &agent, &title, rehearsal, &hold);
        let notice = Notice::of_hold(claim.notice, base_url, waiting);
        let sent = tokio::select! {
            sent = channel.send(&notice, self.now()) => sent,
            // The next control plane sends it again, under its id.
            () = self.time_to_go() => return,
        };
        let attempt = claim.attempt;
        let noted = match sent {
            Ok(_) => self.options.store.delivered(claim).await.map_err(ApplyError::Store),
            Err(error) => {
                let after = after_failure(channel.name(), attempt, &error);
                warn!(%execution, hold = %hold.id, channel = channel.name(), attempt, %error, ?after, "failed to tell people");
                self.options.store.delivery_failed(claim, after).await
            }
        };
        if let Err(error) = noted {
            warn!(%execution, hold = %hold.id, channel = channel.name(), %error, "failed to note whether people were told; they may be told again");
        }
    }

    /// The control plane ends, and what was under way has had its time.
    async fn time_to_go(&self) {
        self.stopping.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    }
}

/// Whether and when a delivery is tried again after its n-th try has failed.
fn after_failure(channel: &str, attempt: u32, error: &SendError) -> AfterFailure {
    let given_up = |why: String| AfterFailure::GiveUp {
        notice: format!("Nobody was told over {channel} that something waits here: failed to {error}. {why}"),
    };
    match error.retry() {
        Retry::Never => given_up("It is not tried again, since the answer would be the same.".into()),
        Retry::Later(_) if attempt >= MAX_TRIES => given_up(format!("It was tried {attempt} times.")),
        Retry::Later(asked_for) => {
            let doublings = attempt.saturating_sub(1).min(20);
            let pause_ms = (FIRST_PAUSE_MS << doublings).min(LONGEST_PAUSE_MS);
            let asked_for_ms =
                asked_for.map_or(0, |pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
            AfterFailure::Again { wait_ms: pause_ms.max(asked_for_ms) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, retry_after_s: Option<u64>) -> SendError {
        SendError::Refused {
            host: "hooks.example".into(),
            status,
            retry_after: retry_after_s.map(Duration::from_secs),
            answer: "what they say".into(),
        }
    }

    #[test]
    fn pauses_grow_to_a_bound_and_yield_to_the_other_side() {
        let pause_s = |attempt: u32, error: &SendError| match after_failure("webhook", attempt, error) {
            AfterFailure::Again { wait_ms } => wait_ms / 1000,
            AfterFailure::GiveUp { notice } => panic!("{notice}"),
        };
        let down = SendError::TimedOut { host: "hooks.example".into() };
        let pauses: Vec<u64> = (1..=12).map(|attempt| pause_s(attempt, &down)).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1800, 1800]);
        assert_eq!(pause_s(MAX_TRIES - 1, &down), 1800);
        assert_eq!(pause_s(1, &refused(429, Some(90))), 90);
        assert_eq!(pause_s(8, &refused(503, Some(1))), 256);
        let all_s: u64 = (1..MAX_TRIES).map(|attempt| pause_s(attempt, &down)).sum();
        assert_eq!(all_s / 3600, 45, "about two days");
    }

    #[test]
    fn what_is_given_up_says_why_and_not_what_others_said() {
        for (attempt, error) in [(1, refused(410, None)), (MAX_TRIES, refused(500, Some(1)))] {
            let AfterFailure::GiveUp { notice } = after_failure("webhook", attempt, &error) else {
                panic!("tried again after {error}");
            };
            assert!(notice.contains("webhook") && notice.contains("hooks.example"), "{notice}");
            assert!(!notice.contains("what they say"), "{notice}");
        }
    }
}
