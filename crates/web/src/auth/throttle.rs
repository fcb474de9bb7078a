//! Guessing passwords is slow: after some failures for one name from one address, a pause.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use holdpoint_model::UnixMs;

use crate::limits;

/// Failed sign-ins by name and address. In memory: a restart forgets, and costs the guesser a restart.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    failures: Mutex<HashMap<String, Failures>>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: UnixMs,
}

impl Throttle {
    /// Seconds to wait before the next try is looked at, if there are any.
    pub(crate) fn wait_s(&self, key: &str, now: UnixMs) -> Option<i64> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = failures.get(key)?;
        let left = seen.last + limits::SIGN_IN_WINDOW_MS - now;
        (seen.count >= limits::SIGN_IN_TRIES && left > 0).then_some((left + 999) / 1000)
    }

    /// Notes a failure.
    pub(crate) fn failed(&self, key: &str, now: UnixMs) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= limits::SIGN_IN_ENTRIES && !failures.contains_key(key) {
            failures.retain(|_, seen| seen.last + limits::SIGN_IN_WINDOW_MS > now);
            if failures.len() >= limits::SIGN_IN_ENTRIES
                && let Some(oldest) =
                    failures.iter().min_by_key(|(_, seen)| seen.last).map(|(key, _)| key.clone())
            {
                failures.remove(&oldest);
            }
        }
        let seen = failures.entry(key.to_owned()).or_insert(Failures { count: 0, last: now });
        if seen.last + limits::SIGN_IN_WINDOW_MS <= now {
            seen.count = 0;
        }
        seen.count += 1;
        seen.last = now;
    }

    /// Forgets the failures: the right password came.
    pub(crate) fn succeeded(&self, key: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_failures_lead_to_a_pause_that_ends() {
        let throttle = Throttle::default();
        for n in 0..limits::SIGN_IN_TRIES {
            assert_eq!(throttle.wait_s("a", i64::from(n)), None);
            throttle.failed("a", i64::from(n));
        }
        assert!(throttle.wait_s("a", 10).is_some());
        assert_eq!(throttle.wait_s("b", 10), None, "others are not in the way");
        let later = 10 + limits::SIGN_IN_WINDOW_MS;
        assert_eq!(throttle.wait_s("a", later), None);
        throttle.failed("a", later);
        assert_eq!(throttle.wait_s("a", later + 1), None, "old failures are forgotten");
        throttle.succeeded("a");
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..limits::SIGN_IN_ENTRIES + 10 {
            throttle.failed(&n.to_string(), i64::try_from(n).unwrap_or_default());
        }
        assert_eq!(throttle.failures.lock().expect("lock").len(), limits::SIGN_IN_ENTRIES);
    }
}
