//! The latest events of a log, as many as fit. Pure.

use std::{collections::VecDeque, sync::Arc};

use holdpoint_model::Seq;

use super::Entry;

/// Every event of a log after some point, up to the last that was read.
pub(super) struct Buffer {
    /// All events after this one are here; None before anybody knows where the log ends.
    base: Option<Seq>,
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
}

impl Buffer {
    pub(super) fn new(max_events: usize, max_bytes: usize) -> Self {
        Self { base: None, entries: VecDeque::new(), bytes: 0, max_events, max_bytes }
    }

    /// The log ends here; what comes after it is put in.
    pub(super) fn begin(&mut self, end: Seq) {
        self.base = Some(end);
        self.entries.clear();
        self.bytes = 0;
    }

    /// The last event that was put in, or where it began.
    pub(super) fn end(&self) -> Option<Seq> {
        self.entries.back().map(|entry| entry.event.seq).or(self.base)
    }

    /// The next events of the log, in order. The oldest make room.
    pub(super) fn extend(&mut self, next: impl IntoIterator<Item = Arc<Entry>>) {
        for entry in next {
            self.bytes += entry.frame().len();
            self.entries.push_back(entry);
            while self.entries.len() > self.max_events || self.bytes > self.max_bytes {
                let Some(oldest) = self.entries.pop_front() else { break };
                self.bytes -= oldest.frame().len();
                self.base = Some(oldest.event.seq);
            }
        }
    }

    /// Up to so many events after that one; None when it does not reach back so far.
    pub(super) fn after(&self, after: Seq, at_most: usize) -> Option<Vec<Arc<Entry>>> {
        if self.base? > after {
            return None;
        }
        let from = self.entries.partition_point(|entry| entry.event.seq <= after);
        Some(self.entries.range(from..).take(at_most).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use holdpoint_model::{Event, EventBody, ExecutionId};
    use proptest::prelude::*;

    use super::*;

    fn entry(seq: Seq) -> Arc<Entry> {
        let reason = "x".repeat((seq % 7) as usize * 30);
        let body = EventBody::WorkerStarting { incarnation: 1, engine: "process".into(), reason };
        let execution = ExecutionId(uuid::Uuid::nil());
        Entry::new(Event { execution, seq, at: 0, incarnation: None, worker_seq: None, body })
    }

    fn seqs(entries: &[Arc<Entry>]) -> Vec<Seq> {
        entries.iter().map(|entry| entry.event.seq).collect()
    }

    #[test]
    fn before_it_has_begun_it_reaches_nowhere() {
        assert!(Buffer::new(9, 9_999).after(0, 9).is_none());
    }

    proptest! {
        /// Whoever takes from it, paging the log where it does not reach back, gets each event once and in order,
        /// however slow they are and whatever the bounds.
        #[test]
        fn takers_get_each_once(
            begin in 0..20_u64,
            max_events in 1..30_usize,
            max_bytes in 1..4_000_usize,
            page in 1..12_usize,
            starts in proptest::collection::vec(0..40_u64, 1..4),
            steps in proptest::collection::vec((0..9_u64, 0..5_usize), 1..60),
        ) {
            let mut buffer = Buffer::new(max_events, max_bytes);
            buffer.begin(begin);
            let mut last = begin;
            let mut got: Vec<Vec<Seq>> = vec![Vec::new(); starts.len()];
            let take = |buffer: &Buffer, last: Seq, start: Seq, got: &mut Vec<Seq>| {
                let after = got.last().copied().unwrap_or(start);
                let more = match buffer.after(after, page) {
                    Some(entries) => seqs(&entries),
                    // From the log.
                    None => (after + 1..=last).take(page).collect(),
                };
                got.extend(&more);
                !more.is_empty()
            };
            for (grows, who) in steps {
                buffer.extend((last + 1..=last + grows).map(entry));
                last += grows;
                prop_assert_eq!(buffer.end(), Some(last));
                prop_assert!(buffer.entries.len() <= max_events);
                prop_assert!(buffer.bytes <= max_bytes);
                prop_assert_eq!(buffer.bytes, buffer.entries.iter().map(|entry| entry.frame().len()).sum::<usize>());
                if let (Some(start), Some(got)) = (starts.get(who), got.get_mut(who)) {
                    take(&buffer, last, *start, got);
                }
            }
            for (start, got) in starts.iter().zip(&mut got) {
                while take(&buffer, last, *start, got) {}
                prop_assert_eq!(&*got, &(start + 1..=last).collect::<Vec<_>>());
            }
        }
    }
}
