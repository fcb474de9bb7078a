//! How many sessions run at once, and who waits for a place.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
};

use holdpoint_model::{ExecutionId, Incarnation};

use crate::lock;

/// The places for sessions on this machine. In memory only: after a restart the living workers
/// take their places again and the rest queue up anew, oldest first.
#[derive(Debug)]
pub(crate) struct Places {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: HashMap<ExecutionId, Incarnation>,
    waiting: VecDeque<ExecutionId>,
}

impl Places {
    pub(crate) fn new(max: usize) -> Self {
        Self { max: max.max(1), state: Mutex::default() }
    }

    /// Takes a place, or joins the queue. First come, first served.
    pub(crate) fn take(&self, id: ExecutionId) -> bool {
        let mut state = lock(&self.state);
        if state.taken.contains_key(&id) {
            return true;
        }
        let free = self.max.saturating_sub(state.taken.len());
        let ahead = state.waiting.iter().position(|waiting| *waiting == id).unwrap_or(state.waiting.len());
        if ahead < free {
            state.waiting.retain(|waiting| *waiting != id);
            state.taken.insert(id, 0);
            return true;
        }
        if !state.waiting.contains(&id) {
            state.waiting.push_back(id);
        }
        false
    }

    /// Notes which worker holds the place; also for workers that were adopted.
    pub(crate) fn hold(&self, id: ExecutionId, incarnation: Incarnation) {
        let mut state = lock(&self.state);
        state.waiting.retain(|waiting| *waiting != id);
        state.taken.insert(id, incarnation);
    }

    /// Gives the place back (or leaves the queue) and says who is next.
    pub(crate) fn release(&self, id: ExecutionId) -> Vec<ExecutionId> {
        let mut state = lock(&self.state);
        state.waiting.retain(|waiting| *waiting != id);
        state.taken.remove(&id);
        let free = self.max.saturating_sub(state.taken.len());
        state.waiting.iter().take(free).copied().collect()
    }

    pub(crate) fn taken(&self) -> usize {
        lock(&self.state).taken.len()
    }

    pub(crate) fn holders(&self) -> Vec<(ExecutionId, Incarnation)> {
        lock(&self.state).taken.iter().map(|(id, incarnation)| (*id, *incarnation)).collect()
    }

    pub(crate) fn waiting(&self) -> usize {
        lock(&self.state).waiting.len()
    }

    pub(crate) fn somebody_waits(&self) -> bool {
        !lock(&self.state).waiting.is_empty()
    }

    /// Why an execution waits, if it does.
    pub(crate) fn reason(&self, id: ExecutionId) -> Option<String> {
        let state = lock(&self.state);
        let ahead = state.waiting.iter().position(|waiting| *waiting == id)?;
        let place = match ahead {
            0 => "it is next".to_owned(),
            1 => "one is ahead of it".to_owned(),
            n => format!("{n} are ahead of it"),
        };
        Some(format!(
            "waiting for a free place: {} of {} sessions are running; {place}",
            state.taken.len(),
            self.max
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> ExecutionId {
        ExecutionId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn first_come_first_served_and_the_reason_is_said() {
        let places = Places::new(2);
        assert!(places.take(id(1)));
        assert!(places.take(id(2)));
        assert!(places.take(id(2)), "a place that is held is held");
        assert!(!places.take(id(3)));
        assert!(!places.take(id(4)));
        assert_eq!(
            places.reason(id(4)).as_deref(),
            Some("waiting for a free place: 2 of 2 sessions are running; one is ahead of it")
        );
        assert_eq!(places.release(id(1)), vec![id(3)]);
        assert!(!places.take(id(4)), "nobody jumps the queue");
        assert!(places.take(id(3)));
        assert_eq!(places.reason(id(3)), None);
        assert_eq!(places.release(id(9)), vec![]);
    }
}
