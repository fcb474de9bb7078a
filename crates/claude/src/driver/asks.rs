//! The CLI's open questions, and which of them were answered.

use std::collections::{HashMap, VecDeque};

use serde_json::value::RawValue;

use crate::answer::AnswerOutcome;
use crate::event::RequestId;

/// How many settled questions are remembered, so that a late answer can be told from a wrong one. Far more
/// than a session has open at once; an id takes about 100 bytes.
const SETTLED_KEPT: usize = 4096;

/// What an answer has to fit.
#[derive(Debug)]
pub(super) enum AskKind {
    /// `can_use_tool`, with the input as the CLI wrote it.
    Permission(Box<RawValue>),
    /// `hook_callback`.
    Hook,
    /// `elicitation`.
    Elicitation,
    /// `mcp_message`; answered by the driver itself.
    Mcp,
}

#[derive(Debug, Clone, Copy)]
enum Settled {
    Answered,
    Withdrawn,
}

/// The registry. Every question is settled at most once, whoever comes first.
#[derive(Debug, Default)]
pub(super) struct Asks {
    open: HashMap<RequestId, AskKind>,
    settled: HashMap<RequestId, Settled>,
    order: VecDeque<RequestId>,
}

impl Asks {
    pub(super) fn opened(&mut self, id: RequestId, kind: AskKind) {
        self.open.insert(id, kind);
    }

    /// What an open question has to be answered with.
    pub(super) fn open(&self, id: &RequestId) -> Option<&AskKind> {
        self.open.get(id)
    }

    /// Settles it by an answer; whether it was open.
    pub(super) fn answered(&mut self, id: &RequestId) -> bool {
        let Some((id, _)) = self.open.remove_entry(id) else { return false };
        self.settle(id, Settled::Answered);
        true
    }

    /// What became of a question that is not open.
    pub(super) fn outcome(&self, id: &RequestId) -> AnswerOutcome {
        match self.settled.get(id) {
            Some(Settled::Answered) => AnswerOutcome::AlreadyAnswered,
            Some(Settled::Withdrawn) => AnswerOutcome::Withdrawn,
            None => AnswerOutcome::Unknown,
        }
    }

    /// Settles it by a withdrawal; whether it was open.
    pub(super) fn withdraw(&mut self, id: &RequestId) -> bool {
        let Some((id, _)) = self.open.remove_entry(id) else { return false };
        self.settle(id, Settled::Withdrawn);
        true
    }

    /// The process is gone, and its questions with it.
    pub(super) fn withdraw_all(&mut self) {
        for id in self.open.drain().map(|(id, _)| id).collect::<Vec<_>>() {
            self.settle(id, Settled::Withdrawn);
        }
    }

    /// Those that wait for the host.
    pub(super) fn waiting(&self) -> Vec<RequestId> {
        let mine = |kind: &AskKind| !matches!(kind, AskKind::Mcp);
        self.open.iter().filter(|(_, kind)| mine(kind)).map(|(id, _)| id.clone()).collect()
    }

    fn settle(&mut self, id: RequestId, how: Settled) {
        if self.order.len() == SETTLED_KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.settled.remove(&oldest);
        }
        self.order.push_back(id.clone());
        self.settled.insert(id, how);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_first_settles_it() {
        let mut asks = Asks::default();
        let (a, b) = (RequestId::new("a"), RequestId::new("b"));
        assert_eq!(asks.outcome(&a), AnswerOutcome::Unknown);
        asks.opened(a.clone(), AskKind::Hook);
        asks.opened(b.clone(), AskKind::Hook);
        assert!(asks.open(&a).is_some());
        assert!(asks.answered(&a));
        assert!(!asks.answered(&a) && !asks.withdraw(&a));
        assert_eq!(asks.outcome(&a), AnswerOutcome::AlreadyAnswered);
        assert!(asks.withdraw(&b));
        assert!(!asks.answered(&b));
        assert_eq!(asks.outcome(&b), AnswerOutcome::Withdrawn);
    }

    #[test]
    fn memory_of_settled_ones_is_bounded() {
        let mut asks = Asks::default();
        for number in 0..SETTLED_KEPT + 10 {
            let id = RequestId::new(number.to_string());
            asks.opened(id.clone(), AskKind::Hook);
            asks.withdraw(&id);
        }
        assert_eq!(asks.settled.len(), SETTLED_KEPT);
        assert_eq!(asks.order.len(), SETTLED_KEPT);
    }
}
