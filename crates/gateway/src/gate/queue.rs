//! Who may call next. Pure: time is passed in.
//!
//! The next place goes to the execution with the fewest calls under way, and among those to the one that was
//! served longest ago; within an execution, first come, first served. However many subagents a conversation
//! starts, another one waits for a single call to end at most.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use holdpoint_model::ExecutionId;
use tokio::time::Instant;

use crate::limits::{MAX_WAITING, MAX_WAITING_OF_ONE};

/// The window of `calls_per_minute`.
const MINUTE: Duration = Duration::from_secs(60);

/// How much may go upstream. An absent bound is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Calls that may begin within any minute.
    pub calls_per_minute: Option<u32>,
    /// Calls that may be under way at once.
    pub concurrent_calls: Option<u32>,
}

impl Rates {
    /// Whether every call may go at once.
    #[must_use]
    pub fn is_unbounded(&self) -> bool {
        self.calls_per_minute.is_none() && self.concurrent_calls.is_none()
    }
}

/// Why a call may not even wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// As many of its execution wait as may.
    OfOne,
    /// As many wait as may.
    OfAll,
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// This call goes.
    Go(u64),
    /// One may go then, not before.
    At(Instant),
    /// Nobody waits, or one goes when another has ended.
    Nobody,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    rates: Rates,
    last_number: u64,
    /// When the calls of the last minute began, the earliest first.
    begun: VecDeque<Instant>,
    under_way: HashMap<u64, ExecutionId>,
    /// Executions that have calls waiting, the one that was served longest ago first.
    waiting: VecDeque<(ExecutionId, VecDeque<u64>)>,
}

impl Queue {
    pub(super) fn new(rates: Rates) -> Self {
        Self { rates, ..Self::default() }
    }

    /// Takes a place in the line; its number.
    pub(super) fn enter(&mut self, execution: ExecutionId) -> Result<u64, Full> {
        if self.waiting() >= MAX_WAITING {
            return Err(Full::OfAll);
        }
        let line = self.waiting.iter_mut().find(|(of, _)| *of == execution);
        if line.as_ref().is_some_and(|(_, line)| line.len() >= MAX_WAITING_OF_ONE) {
            return Err(Full::OfOne);
        }
        self.last_number += 1;
        match line {
            Some((_, line)) => line.push_back(self.last_number),
            None => self.waiting.push_back((execution, VecDeque::from([self.last_number]))),
        }
        Ok(self.last_number)
    }

    /// Lets the next call go, if one may.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        if self.rates.concurrent_calls.is_some_and(|most| self.under_way.len() >= most as usize) {
            return Next::Nobody;
        }
        let mut of: HashMap<ExecutionId, usize> = HashMap::new();
        self.under_way.values().for_each(|execution| *of.entry(*execution).or_default() += 1);
        let under_way = |execution: &ExecutionId| of.get(execution).copied().unwrap_or_default();
        let first = (0..self.waiting.len()).min_by_key(|at| (under_way(&self.waiting[*at].0), *at));
        let Some(first) = first else { return Next::Nobody };
        if let Some(most) = self.rates.calls_per_minute {
            while self.begun.front().is_some_and(|begun| *begun + MINUTE <= now) {
                self.begun.pop_front();
            }
            if self.begun.len() >= most as usize {
                return self.begun.front().map_or(Next::Nobody, |begun| Next::At(*begun + MINUTE));
            }
        }
        let Some((execution, mut line)) = self.waiting.remove(first) else { return Next::Nobody };
        let Some(number) = line.pop_front() else { return Next::Nobody };
        if !line.is_empty() {
            self.waiting.push_back((execution, line));
        }
        if self.rates.calls_per_minute.is_some() {
            self.begun.push_back(now);
        }
        self.under_way.insert(number, execution);
        Next::Go(number)
    }

    /// A call has ended, or is not wanted any more.
    pub(super) fn leave(&mut self, number: u64) {
        if self.under_way.remove(&number).is_none() {
            self.waiting.iter_mut().for_each(|(_, line)| line.retain(|one| *one != number));
            self.waiting.retain(|(_, line)| !line.is_empty());
        }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.iter().map(|(_, line)| line.len()).sum()
    }

    /// How many were let go, and have not left.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn execution(n: u128) -> ExecutionId {
        ExecutionId(Uuid::from_u128(n))
    }

    fn queue(calls_per_minute: Option<u32>, concurrent_calls: Option<u32>) -> Queue {
        Queue::new(Rates { calls_per_minute, concurrent_calls })
    }

    #[test]
    fn a_fan_out_does_not_starve_others() {
        let now = Instant::now();
        let mut queue = queue(None, Some(2));
        let many: Vec<u64> = (0..10).map(|_| queue.enter(execution(1)).expect("room")).collect();
        assert_eq!([queue.next(now), queue.next(now)], [Next::Go(many[0]), Next::Go(many[1])]);
        let late = queue.enter(execution(2)).expect("room");
        assert_eq!(queue.next(now), Next::Nobody);
        queue.leave(many[0]);
        assert_eq!(queue.next(now), Next::Go(late), "the one with nothing under way comes first");
        queue.leave(many[1]);
        assert_eq!(queue.next(now), Next::Go(many[2]));
        queue.leave(late);
        assert_eq!(queue.next(now), Next::Go(many[3]), "alone, it has every place");
    }

    #[test]
    fn what_is_not_wanted_any_more_leaves_the_line() {
        let now = Instant::now();
        let mut queue = queue(None, Some(1));
        let [first, gone, last] = [1, 1, 1].map(|n| queue.enter(execution(n)).expect("room"));
        assert_eq!(queue.next(now), Next::Go(first));
        queue.leave(gone);
        queue.leave(first);
        assert_eq!(queue.next(now), Next::Go(last));
        queue.leave(last);
        assert_eq!((queue.next(now), queue.waiting()), (Next::Nobody, 0));
    }

    #[test]
    fn a_minute_has_so_many_beginnings_however_short_the_calls() {
        let now = Instant::now();
        let mut queue = queue(Some(2), None);
        let numbers = [1, 2, 3].map(|n| queue.enter(execution(n)).expect("room"));
        assert_eq!(queue.next(now), Next::Go(numbers[0]));
        assert_eq!(queue.next(now + Duration::from_secs(20)), Next::Go(numbers[1]));
        queue.leave(numbers[0]);
        assert_eq!(queue.next(now + Duration::from_secs(59)), Next::At(now + MINUTE));
        assert_eq!(queue.next(now + MINUTE), Next::Go(numbers[2]));
    }

    #[test]
    fn one_conversation_cannot_fill_the_line() {
        let mut queue = queue(None, Some(1));
        let first: Result<Vec<u64>, Full> =
            (0..MAX_WAITING_OF_ONE).map(|_| queue.enter(execution(1))).collect();
        assert!(first.is_ok());
        assert_eq!(queue.enter(execution(1)), Err(Full::OfOne));
        for n in 2.. {
            if queue.waiting() == MAX_WAITING {
                break;
            }
            queue.enter(execution(n)).expect("room");
        }
        assert_eq!(queue.enter(execution(0)), Err(Full::OfAll));
    }

    proptest! {
        /// Never more under way or begun in a minute than may be; nobody is lost, and nobody goes twice.
        #[test]
        fn bounds_hold_and_everybody_gets_through(
            steps in prop::collection::vec((0..3_u8, 0..4_u128, 0..20_u64), 1..80),
            per_minute in 1..6_u32,
            at_once in 1..4_u32,
        ) {
            let mut queue = queue(Some(per_minute), Some(at_once));
            let mut now = Instant::now();
            let (mut entered, mut went, mut under_way): (Vec<u64>, Vec<(u64, Instant)>, Vec<u64>) = Default::default();
            let mut let_go = |queue: &mut Queue, now: Instant, under_way: &mut Vec<u64>| {
                while let Next::Go(number) = queue.next(now) {
                    went.push((number, now));
                    under_way.push(number);
                    assert!(under_way.len() <= at_once as usize);
                    let minute = went.iter().filter(|(_, at)| *at + MINUTE > now).count();
                    assert!(minute <= per_minute as usize);
                }
                went.len()
            };
            for (what, of, secs) in steps {
                now += Duration::from_secs(secs);
                match what {
                    0 | 1 => entered.push(queue.enter(execution(of)).expect("room")),
                    _ => if !under_way.is_empty() { queue.leave(under_way.remove(0)) },
                }
                let_go(&mut queue, now, &mut under_way);
            }
            for _ in 0..entered.len() * 2 {
                now += MINUTE;
                under_way.drain(..).for_each(|number| queue.leave(number));
                let_go(&mut queue, now, &mut under_way);
            }
            prop_assert_eq!(queue.waiting(), 0);
            let mut numbers: Vec<u64> = went.into_iter().map(|(number, _)| number).collect();
            numbers.sort_unstable();
            prop_assert_eq!(numbers, entered);
        }
    }
}
