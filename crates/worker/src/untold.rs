//! Facts that the control plane has not committed yet, and how much of them goes into one frame.

use std::collections::VecDeque;

use holdpoint_model::wire::{Fact, MAX_FRAME_BYTES, NumberedFact};

/// What one frame of facts has at most, but for a fact that is longer by itself. A connection ends at a frame that is
/// too long: what has piled up while the control plane was away must not end each one that follows.
const MOST_BYTES: usize = MAX_FRAME_BYTES / 16;

/// In the order in which they were numbered.
#[derive(Debug, Default)]
pub(crate) struct Untold {
    facts: VecDeque<(NumberedFact, usize)>,
    /// How many of them were given to the present connection.
    given: usize,
}

impl Untold {
    /// Adds a fact that is so long as JSON.
    pub(crate) fn push(&mut self, fact: NumberedFact, bytes: usize) {
        self.facts.push_back((fact, bytes));
    }

    /// Forgets what is committed.
    pub(crate) fn acked(&mut self, up_to: u64) {
        while self.facts.front().is_some_and(|(fact, _)| fact.seq <= up_to) {
            self.facts.pop_front();
            self.given = self.given.saturating_sub(1);
        }
    }

    /// Another connection: it was given nothing.
    pub(crate) fn again(&mut self) {
        self.given = 0;
    }

    /// What the next frame has; nothing when all was given.
    pub(crate) fn next(&self) -> Vec<NumberedFact> {
        let mut bytes = 0_usize;
        let fits = |(at, (_, more)): &(usize, &(NumberedFact, usize))| {
            bytes = bytes.saturating_add(*more);
            *at == 0 || bytes <= MOST_BYTES
        };
        let rest = self.facts.iter().skip(self.given).enumerate().take_while(fits);
        rest.map(|(_, (fact, _))| fact.clone()).collect()
    }

    /// So many more are on their way.
    pub(crate) fn gave(&mut self, facts: usize) {
        self.given = self.given.saturating_add(facts).min(self.facts.len());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Whether a tool's result is among them.
    pub(crate) fn has_result(&self) -> bool {
        self.facts.iter().any(|(fact, _)| matches!(fact.fact, Fact::ToolResult(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn untold(lengths: &[usize]) -> Untold {
        let mut untold = Untold::default();
        for (seq, bytes) in (1..).zip(lengths) {
            untold.push(NumberedFact { seq, at: 0, fact: Fact::Idle }, *bytes);
        }
        untold
    }

    /// All frames of one connection, by the numbers of their facts.
    fn frames(untold: &mut Untold) -> Vec<Vec<u64>> {
        untold.again();
        let mut frames = Vec::new();
        loop {
            let frame = untold.next();
            if frame.is_empty() {
                return frames;
            }
            untold.gave(frame.len());
            frames.push(frame.iter().map(|fact| fact.seq).collect());
        }
    }

    #[rstest::rstest]
    #[case::none(&[], vec![])]
    #[case::small(&[10, 20, 30], vec![vec![1, 2, 3]])]
    #[case::exactly_full(&[MOST_BYTES - 1, 1, 1], vec![vec![1, 2], vec![3]])]
    #[case::one_too_long(&[1, MOST_BYTES * 2, 1], vec![vec![1], vec![2], vec![3]])]
    #[case::piled_up(&[MOST_BYTES / 2; 5], vec![vec![1, 2], vec![3, 4], vec![5]])]
    fn a_frame_is_never_longer_than_it_may_be(#[case] lengths: &[usize], #[case] expected: Vec<Vec<u64>>) {
        assert_eq!(frames(&mut untold(lengths)), expected);
    }

    #[test]
    fn what_is_committed_is_not_told_again() {
        let mut untold = untold(&[MOST_BYTES / 2; 5]);
        let first = untold.next().len();
        untold.gave(first);
        untold.acked(1);
        assert_eq!(untold.next().first().map(|fact| fact.seq), Some(3), "2 is on its way");
        untold.acked(4);
        assert_eq!(frames(&mut untold), [[5]]);
        untold.acked(9);
        assert!(untold.is_empty() && untold.next().is_empty());
    }
}
