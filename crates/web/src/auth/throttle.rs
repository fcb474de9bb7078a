//! Guessing passwords is slow: after some failures for one name from one address, or many from one
//! address, a pause.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use holdpoint_model::UnixMs;

use crate::limits;

/// Failed sign-ins. In memory: a restart forgets, and costs the guesser a restart.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    failures: Mutex<HashMap<Key, Failures>>,
    /// Since when, and how many of them the audit log has.
    audited: Mutex<(UnixMs, u32)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Name { name: String, address: String },
    Address(String),
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: UnixMs,
}

/// One try: somebody at an address says a name.
#[derive(Debug)]
pub(crate) struct Guess {
    name: Key,
    address: Key,
}

impl Guess {
    /// Names differ as users' names do: not by case.
    pub(crate) fn new(name: &str, address: &str) -> Self {
        let short: String = name.chars().take(limits::SIGN_IN_NAME_CHARS).collect();
        Self {
            name: Key::Name { name: short.to_lowercase(), address: address.to_owned() },
            address: Key::Address(address.to_owned()),
        }
    }

    fn keys(&self) -> [(&Key, u32); 2] {
        [(&self.name, limits::SIGN_IN_TRIES), (&self.address, limits::SIGN_IN_ADDRESS_TRIES)]
    }
}

impl Failures {
    /// Seconds until the next try is looked at, where there were `tries` of them.
    fn wait_s(self, tries: u32, now: UnixMs) -> Option<i64> {
        let left = self.last + limits::SIGN_IN_PAUSE_MS - now;
        (self.count >= tries && left > 0).then_some((left + 999) / 1000)
    }

    /// Whether what was before does not count any more: it is long ago, or was paid for by a pause.
    fn is_over(self, tries: u32, now: UnixMs) -> bool {
        let kept = if self.count >= tries { limits::SIGN_IN_PAUSE_MS } else { limits::SIGN_IN_WINDOW_MS };
        self.last + kept <= now
    }
}

impl Throttle {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a try as a failure until it is known to be none.
    ///
    /// # Errors
    /// The seconds to wait, where it is not to be looked at.
    pub(crate) fn count(&self, guess: &Guess, now: UnixMs) -> Result<(), i64> {
        let mut failures = self.lock();
        let waits = guess.keys().into_iter().filter_map(|(key, tries)| failures.get(key)?.wait_s(tries, now));
        if let Some(wait_s) = waits.max() {
            return Err(wait_s);
        }
        for (key, tries) in guess.keys() {
            make_room(&mut failures, key, now);
            let seen = failures.entry(key.clone()).or_insert(Failures { count: 0, last: now });
            if seen.is_over(tries, now) {
                seen.count = 0;
            }
            seen.count += 1;
            seen.last = now;
        }
        Ok(())
    }

    /// The right password came: the name's failures are forgotten, and of the address's this one
    /// alone, or an account of one's own would be enough to go on guessing at others.
    pub(crate) fn succeeded(&self, guess: &Guess) {
        let mut failures = self.lock();
        failures.remove(&guess.name);
        if let Some(seen) = failures.get_mut(&guess.address) {
            seen.count = seen.count.saturating_sub(1);
        }
    }
}

impl Throttle {
    /// Whether the audit log is to have one more failure in this minute.
    pub(crate) fn may_audit(&self, now: UnixMs) -> bool {
        let mut audited = self.audited.lock().unwrap_or_else(PoisonError::into_inner);
        if now - audited.0 >= 60_000 {
            *audited = (now, 0);
        }
        audited.1 += 1;
        audited.1 <= limits::AUDITED_FAILURES
    }
}

fn make_room(failures: &mut HashMap<Key, Failures>, key: &Key, now: UnixMs) {
    if failures.len() < limits::SIGN_IN_ENTRIES || failures.contains_key(key) {
        return;
    }
    failures.retain(|_, seen| seen.last + limits::SIGN_IN_WINDOW_MS > now);
    if failures.len() >= limits::SIGN_IN_ENTRIES
        && let Some(oldest) = failures.iter().min_by_key(|(_, seen)| seen.last).map(|(key, _)| key.clone())
    {
        failures.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_failures_lead_to_a_short_pause() {
        let throttle = Throttle::default();
        let ada = Guess::new("ada", "10.0.0.1");
        for n in 0..limits::SIGN_IN_TRIES {
            assert_eq!(throttle.count(&ada, i64::from(n)), Ok(()));
        }
        let wait_s = throttle.count(&Guess::new("ADA", "10.0.0.1"), 10).expect_err("a pause");
        assert!(wait_s <= 60, "a name is not kept from its owner for long: {wait_s} s");
        assert_eq!(throttle.count(&Guess::new("bob", "10.0.0.1"), 10), Ok(()), "others are not in the way");
        assert_eq!(throttle.count(&Guess::new("ada", "10.0.0.2"), 10), Ok(()), "nor is she elsewhere");
        let later = 10 + limits::SIGN_IN_PAUSE_MS;
        for n in 0..i64::from(limits::SIGN_IN_TRIES) {
            assert_eq!(throttle.count(&ada, later + n), Ok(()), "tries in the pause did not prolong it");
        }
        throttle.count(&ada, later + 10).expect_err("the next pause");
        throttle.succeeded(&ada);
        assert_eq!(throttle.count(&ada, later + 10), Ok(()));
    }

    #[test]
    fn one_address_cannot_try_name_after_name() {
        let throttle = Throttle::default();
        let guess = |n: u32| Guess::new(&format!("name {n}"), "10.0.0.1");
        for n in 0..limits::SIGN_IN_ADDRESS_TRIES {
            assert_eq!(throttle.count(&guess(n), 0), Ok(()));
            if n == 0 {
                throttle.succeeded(&guess(n));
                assert_eq!(throttle.count(&guess(n), 0), Ok(()), "a success is no failure");
            }
        }
        throttle.count(&guess(999), 1).expect_err("a pause");
        assert_eq!(throttle.count(&Guess::new("name 999", "10.0.0.2"), 1), Ok(()));
        assert_eq!(throttle.count(&guess(999), limits::SIGN_IN_PAUSE_MS), Ok(()));
    }

    #[test]
    fn the_audit_log_cannot_be_filled() {
        let throttle = Throttle::default();
        let taken = |from: i64| (0..500).filter(|n| throttle.may_audit(from + n)).count();
        assert_eq!(taken(1_000_000), limits::AUDITED_FAILURES as usize);
        assert_eq!(taken(1_060_000), limits::AUDITED_FAILURES as usize);
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..limits::SIGN_IN_ENTRIES + 10 {
            let guess = Guess::new(&"x".repeat(10_000), &n.to_string());
            assert_eq!(throttle.count(&guess, i64::try_from(n).unwrap_or_default()), Ok(()));
        }
        let failures = throttle.lock();
        assert_eq!(failures.len(), limits::SIGN_IN_ENTRIES);
        assert!(failures.keys().all(|key| match key {
            Key::Name { name, .. } => name.chars().count() <= limits::SIGN_IN_NAME_CHARS,
            Key::Address(_) => true,
        }));
    }
}
