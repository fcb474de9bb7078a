//! Whether the wall clock can be trusted with deadlines right now (invariant 18).

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use holdpoint_model::UnixMs;
use tracing::warn;

use crate::lock;

/// A wall clock that has moved this much more, or less, than the monotonic one has jumped.
const JUMP_MS: i64 = 30_000;

/// After a jump nothing expires for so long. A clock that was set wrongly is most often set right again
/// within seconds, and what expired meanwhile would stay expired.
const CONFIRMED_AFTER: Duration = Duration::from_secs(60);

/// Compares the wall clock with the monotonic one.
#[derive(Debug, Default)]
pub(crate) struct Clock(Mutex<Option<Seen>>);

#[derive(Debug)]
struct Seen {
    wall: UnixMs,
    at: Instant,
    jumped: Option<Instant>,
}

impl Clock {
    /// Whether deadlines may be acted on: the wall clock has gone on evenly for a while. To be asked
    /// every few seconds.
    pub(crate) fn is_steady(&self, wall: UnixMs) -> bool {
        self.is_steady_at(wall, Instant::now())
    }

    fn is_steady_at(&self, wall: UnixMs, at: Instant) -> bool {
        let mut seen = lock(&self.0);
        let jumped = seen.as_ref().and_then(|seen| {
            let passed = i64::try_from(at.saturating_duration_since(seen.at).as_millis()).unwrap_or(i64::MAX);
            let jump_ms = (wall - seen.wall).saturating_sub(passed);
            if jump_ms.abs() > JUMP_MS {
                warn!(
                    jump_ms,
                    "the wall clock has jumped: nothing expires until it has gone on evenly for a minute"
                );
                return Some(at);
            }
            seen.jumped.filter(|jumped| at.saturating_duration_since(*jumped) < CONFIRMED_AFTER)
        });
        *seen = Some(Seen { wall, at, jumped });
        jumped.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_must_be_confirmed() {
        let (clock, start) = (Clock::default(), Instant::now());
        let steady = |wall_s: i64, after_s: u64| {
            clock.is_steady_at(wall_s * 1000, start + Duration::from_secs(after_s))
        };
        assert!(steady(0, 0) && steady(2, 2) && steady(20, 4), "small differences are no jump");
        assert!(!steady(100_000, 6), "forwards");
        assert!(!steady(100_010, 16), "not confirmed yet");
        assert!(!steady(70, 70), "backwards, to where it belongs");
        assert!(!steady(100, 100));
        assert!(steady(130, 130), "confirmed");
        assert!(steady(7_330, 7_330), "nobody asked for two hours, and both went on evenly");
    }
}
