//! Which part of a conversation a page shows: its newest events, or those from a certain one on. However long it is,
//! no more than that are read in full, because reading costs as much as showing. Of all others only those are read
//! that say how things stand: holds, turns, costs.

use holdpoint_model::{Execution, ExecutionId, Seq};
use maud::{Markup, html};

use super::each_event;
use crate::{limits, panel::timeline::Timeline, problem::Problem, state::WebState};

/// What makes a part of the page and nothing else: nobody misses it where that part is not shown.
const ONLY_SHOWN: [&str; 8] = [
    "assistant",
    "tool_started",
    "tool_result",
    "api_retry",
    "checkpoint_taken",
    "command_run",
    "notice",
    "cli_frame",
];

/// Events before and after those that are shown: what has no part of its own is shown with the one before it, and a
/// call whose result came soon after with that.
const BESIDE: Seq = 50;

/// A stretch of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// The last event that is not shown.
    from: Seq,
    /// The last one that is.
    until: Seq,
    /// The last one there is.
    last: Seq,
    /// It begins at an event that somebody asked for.
    is_asked: bool,
}

/// The parts that are shown: from the first on, up to the one before the end.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) timeline: Timeline,
    pub(super) first: usize,
    pub(super) end: usize,
}

impl Stretch {
    /// The newest events of a log; all of them; or those from one on, where the newest do not have it.
    pub(super) fn of(last: Seq, at: Option<Seq>, all: bool) -> Self {
        let newest = last.saturating_sub(limits::CONVERSATION_EVENTS);
        match at {
            _ if all => Self { from: 0, until: last, last, is_asked: false },
            Some(at) if at <= newest => {
                let from = at.saturating_sub(1);
                Self { from, until: from + limits::CONVERSATION_EVENTS, last, is_asked: true }
            }
            _ => Self { from: newest, until: last, last, is_asked: false },
        }
    }

    /// Whether it goes on to the end, and on with what happens.
    pub(super) fn is_newest(&self) -> bool {
        self.until == self.last
    }

    /// From where on everything is known.
    pub(super) fn from(&self) -> Seq {
        self.from.saturating_sub(BESIDE)
    }

    /// Reads it.
    pub(super) async fn fold(&self, state: &WebState, id: ExecutionId) -> Result<Shown, Problem> {
        let mut timeline = fold_from(state, id, self.from(), self.from).await?;
        let before = timeline.len();
        each_event(state, id, self.from, self.until, |event| timeline.apply(event).map(drop)).await?;
        let first = if self.is_asked { before.min(timeline.item_at(self.from + 1)) } else { before };
        let end = timeline.len();
        let soon = self.last.min(self.until + BESIDE);
        each_event(state, id, self.until, soon, |event| timeline.apply(event).map(drop)).await?;
        how_it_stands(state, id, soon, self.last, &mut timeline).await?;
        Ok(Shown { timeline, first, end })
    }

    /// The way to what came before.
    pub(super) fn earlier(&self, execution: &Execution) -> Markup {
        let at = self.from.saturating_sub(limits::CONVERSATION_EVENTS) + 1;
        html! {
            @if self.from > 0 {
                nav.row aria-label="Earlier parts" {
                    a.button rel="prev" href={ "/executions/" (execution.id) "?at=" (at) } { "Earlier" }
                    a.button href={ "/executions/" (execution.id) "?all=1" } { "Show all" }
                    span.quiet { "From event " (self.from + 1) " of " (self.last) " on." }
                }
            }
        }
    }

    /// The way to what came after.
    pub(super) fn later(&self, execution: &Execution) -> Markup {
        html! {
            nav #later .row aria-label="Later parts" {
                a.button rel="next" href={ "/executions/" (execution.id) "?at=" (self.until + 1) } { "Later" }
                a.button href={ "/executions/" (execution.id) } { "To where it is now" }
            }
        }
    }
}

/// A log up to `until`, of which everything is known after `from`.
pub(super) async fn fold_from(
    state: &WebState,
    id: ExecutionId,
    from: Seq,
    until: Seq,
) -> Result<Timeline, Problem> {
    let mut timeline = Timeline::default();
    how_it_stands(state, id, 0, from, &mut timeline).await?;
    each_event(state, id, from, until, |event| timeline.apply(event).map(drop)).await?;
    Ok(timeline)
}

/// Takes in what happened after `after` and up to `until`, without what is only shown.
async fn how_it_stands(
    state: &WebState,
    id: ExecutionId,
    mut after: Seq,
    until: Seq,
    timeline: &mut Timeline,
) -> Result<(), Problem> {
    while after < until {
        let events = state.store().events_but(id, &ONLY_SHOWN, after, until, limits::EVENTS_PAGE).await?;
        let Some(last) = events.last() else { break };
        after = last.seq;
        for event in &events {
            timeline.apply(event).map_err(|error| Problem::internal("read a log", &error))?;
        }
        if events.len() < limits::EVENTS_PAGE as usize {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const N: Seq = limits::CONVERSATION_EVENTS;

    #[rstest]
    #[case(7, None, false, (0, 7))]
    #[case(N + 7, None, false, (7, N + 7))]
    #[case(N + 7, None, true, (0, N + 7))]
    #[case(N + 7, Some(3), true, (0, N + 7))]
    #[case(N + 7, Some(3), false, (2, N + 2))]
    #[case(N + 7, Some(0), false, (0, N))]
    // The newest have it: it goes on with what happens.
    #[case(N + 7, Some(8), false, (7, N + 7))]
    #[case(N + 7, Some(9 * N), false, (7, N + 7))]
    #[case(7, Some(3), false, (0, 7))]
    fn as_much_as_a_page_holds(
        #[case] last: Seq,
        #[case] at: Option<Seq>,
        #[case] all: bool,
        #[case] expected: (Seq, Seq),
    ) {
        let stretch = Stretch::of(last, at, all);
        assert_eq!((stretch.from, stretch.until), expected);
        assert_eq!(stretch.is_newest(), expected.1 == last);
    }

    /// Each earlier page ends where the next one begins.
    #[test]
    fn earlier_pages_come_to_the_beginning() {
        let mut stretch = Stretch::of(3 * N + 7, None, false);
        let mut pages = 1;
        while stretch.from > 0 {
            let earlier = Stretch::of(3 * N + 7, Some(stretch.from.saturating_sub(N) + 1), false);
            assert!(earlier.until >= stretch.from && earlier.from < stretch.from);
            stretch = earlier;
            pages += 1;
        }
        assert_eq!(pages, 4);
    }
}
