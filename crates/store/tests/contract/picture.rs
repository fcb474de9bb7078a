//! Everything that a store tells about its executions, to be compared with what it tells later.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdpoint_model::{Execution, ExecutionId, HoldId, HoldState, Status, UnixMs, UserId};
use holdpoint_store::{
    Counts, ExecutionRow, Figures, FiguresFilter, HoldFilter, HoldPhase, HoldRow, ListFilter, Store,
    StoredCall,
};

use crate::support::*;

pub(crate) const STATUSES: [Status; 6] =
    [Status::Starting, Status::Running, Status::Awaiting, Status::Finished, Status::Error, Status::Cancelled];

pub(crate) const PHASES: [HoldPhase; 8] = [
    HoldPhase::Open,
    HoldPhase::Answered,
    HoldPhase::Releasing,
    HoldPhase::Released,
    HoldPhase::Indeterminate,
    HoldPhase::Expired,
    HoldPhase::Cancelled,
    HoldPhase::Superseded,
];

/// What the executions of these tests are found by.
const QUESTIONS: [&str; 8] = [
    "do it",
    "more",
    "\"all done\"",
    "broke",
    "execution 1",
    "author:ada",
    "agent:claude status:can",
    "result:all",
];

/// Later than any deadline of these tests.
pub(crate) const FAR: UnixMs = START + 400 * 24 * 3600 * 1000;

/// Whatever is not the log itself: each field is a projection of it, or rests on one.
#[derive(Debug)]
pub(crate) struct Picture {
    executions: BTreeMap<ExecutionId, Arc<Execution>>,
    list: Vec<ExecutionRow>,
    by_status: BTreeMap<&'static str, Vec<ExecutionId>>,
    holds: Vec<HoldRow>,
    by_phase: BTreeMap<&'static str, Vec<HoldId>>,
    nobodys: Vec<HoldId>,
    due: Vec<(ExecutionId, HoldId)>,
    attention: Vec<ExecutionId>,
    counts: Counts,
    turn_calls: BTreeMap<ExecutionId, Vec<StoredCall>>,
    costs: BTreeMap<ExecutionId, u64>,
    found: BTreeMap<&'static str, Vec<ExecutionId>>,
    figures: [Figures; 2],
}

impl Picture {
    pub(crate) async fn of(store: &Store) -> Self {
        let list = store.list(&ListFilter::default(), None, u32::MAX).await.expect("list");
        let mut picture = Self {
            executions: BTreeMap::new(),
            by_status: BTreeMap::new(),
            holds: store.holds(&HoldFilter::default(), u32::MAX).await.expect("holds"),
            by_phase: BTreeMap::new(),
            nobodys: Vec::new(),
            due: store.due_holds(FAR, u32::MAX).await.expect("due holds"),
            attention: store.needing_attention().await.expect("attention"),
            counts: store.counts().await.expect("counts"),
            turn_calls: BTreeMap::new(),
            costs: BTreeMap::new(),
            found: BTreeMap::new(),
            figures: [figures(store, None).await, figures(store, person("ada").user).await],
            list,
        };
        for question in QUESTIONS {
            let filter = ListFilter { text: Some(question.into()), ..ListFilter::default() };
            let rows = store.list(&filter, None, u32::MAX).await.expect(question);
            picture.found.insert(question, rows.iter().map(|row| row.id).collect());
        }
        for status in STATUSES {
            let filter = ListFilter { statuses: vec![status], ..ListFilter::default() };
            let rows = store.list(&filter, None, u32::MAX).await.expect("list");
            picture.by_status.insert(status.as_str(), rows.iter().map(|row| row.id).collect());
        }
        for phase in PHASES {
            let filter = HoldFilter { phase: Some(phase), ..HoldFilter::default() };
            let rows = store.holds(&filter, u32::MAX).await.expect("holds");
            picture.by_phase.insert(phase.as_str(), rows.iter().map(|row| row.hold.id).collect());
        }
        let filter = HoldFilter { assigned: Some(None), ..HoldFilter::open() };
        let rows = store.holds(&filter, u32::MAX).await.expect("holds");
        picture.nobodys = rows.iter().map(|row| row.hold.id).collect();
        for id in picture.list.iter().map(|row| row.id) {
            picture.executions.insert(id, known(store, id).await);
            picture.turn_calls.insert(id, store.turn_calls(id).await.expect("calls"));
            picture.costs.insert(id, store.cost_of(id).await.expect("cost"));
        }
        picture
    }

    /// Part by part, so that a failure says which projection differs.
    #[track_caller]
    pub(crate) fn assert_same(&self, other: &Self, when: &str) {
        assert_eq!(self.executions, other.executions, "the executions differ {when}");
        assert_eq!(self.list, other.list, "the list differs {when}");
        assert_eq!(self.by_status, other.by_status, "the list by status differs {when}");
        assert_eq!(self.holds, other.holds, "the holds differ {when}");
        assert_eq!(self.by_phase, other.by_phase, "the holds by state differ {when}");
        assert_eq!(self.nobodys, other.nobodys, "the holds that are nobody's differ {when}");
        assert_eq!(self.due, other.due, "the due holds differ {when}");
        assert_eq!(self.attention, other.attention, "what needs attention differs {when}");
        assert_eq!(self.counts, other.counts, "the counts differ {when}");
        assert_eq!(self.turn_calls, other.turn_calls, "the calls of the turn differ {when}");
        assert_eq!(self.costs, other.costs, "the costs differ {when}");
        assert_eq!(self.found, other.found, "what is found differs {when}");
        assert_eq!(self.figures, other.figures, "the figures differ {when}");
    }

    /// That the parts agree with each other.
    pub(crate) fn assert_consistent(&self) {
        for (id, execution) in &self.executions {
            let row = self.list.iter().find(|row| row.id == *id).expect("in the list");
            assert_eq!(
                (row.status, row.residency, row.updated_at, row.ended_at),
                (execution.status, execution.residency, execution.updated_at, execution.ended_at),
                "the row of {id} is not its state"
            );
            assert_eq!(row.open_holds as usize, execution.open_holds().count(), "open holds of {id}");
            assert_eq!(row.cost_micros, execution.totals.cost_micros, "the cost of {id}");
            assert_eq!(self.costs[id], execution.totals.cost_micros, "the cost of {id}");
            let needs = execution.residency.has_worker() || !execution.next().is_empty();
            assert_eq!(self.attention.contains(id), needs, "attention for {id}: {:?}", execution.next());
            for hold in execution.holds.values() {
                let row = self.holds.iter().find(|row| row.hold.id == hold.id).expect("in the holds");
                assert_eq!((&row.hold, row.settled_at), (hold, None), "the row of a hold of {id}");
            }
        }
        for row in self.holds.iter().filter(|row| row.settled_at.is_some()) {
            assert!(
                !self.executions[&row.execution].holds.contains_key(&row.hold.id),
                "settled and yet not: {row:?}"
            );
        }
        for row in self.holds.iter().filter(|row| row.hold.state == HoldState::Open) {
            assert_eq!(self.nobodys.contains(&row.hold.id), row.hold.assigned.is_none(), "{row:?}");
        }
        let open = self.by_phase["open"].len();
        assert_eq!((self.counts.open_holds as usize, self.due.len()), (open, open), "open holds");
        for (status, ids) in &self.by_status {
            let counted = self.counts.executions.get(*status).copied().unwrap_or_default();
            assert_eq!(counted as usize, ids.len(), "executions that are {status}");
        }
        let all = &self.figures[0];
        let cost: u64 = all.agents.iter().map(|(_, runs)| runs.cost_micros).sum();
        assert!(cost >= self.costs.values().sum(), "the cost of deleted ones counts too");
        let of_people: u64 = all.people.iter().map(|(_, runs)| runs.cost_micros).sum();
        assert_eq!(cost, of_people, "by agent and by person");
    }
}

/// Figures of all days, rehearsals included.
pub(crate) async fn figures(store: &Store, owner: Option<UserId>) -> Figures {
    let filter = FiguresFilter { owner, from_day: 0, to_day: 1_000_000, rehearsals: true };
    store.figures(&filter).await.expect("figures")
}

/// That the log, taken by itself, makes exactly what the store says each execution is.
pub(crate) async fn assert_log_makes(store: &Store, picture: &Picture) {
    for (id, execution) in &picture.executions {
        let from_log = Execution::rebuild(&log(store, *id).await).expect("a log");
        assert_eq!(from_log, **execution, "the log of {id} makes something else");
    }
}

/// That live projections, reopened ones and rebuilt ones are the same. Leaves the bench reopened.
pub(crate) async fn assert_rebuild_is_live(bench: &mut Bench) {
    let live = Picture::of(&bench.store).await;
    live.assert_consistent();
    assert_log_makes(&bench.store, &live).await;
    bench.reopen().await;
    live.assert_same(&Picture::of(&bench.store).await, "after reopening");
    let rebuilt = bench.store.rebuild_projections().await.expect("rebuild");
    assert_eq!(rebuilt.executions as usize, live.executions.len(), "executions rebuilt");
    assert_eq!(rebuilt.events, live.executions.values().map(|execution| execution.seq).sum::<u64>());
    live.assert_same(&Picture::of(&bench.store).await, "after a rebuild");
    // What was kept in memory hid the rebuilt snapshots.
    bench.reopen().await;
    live.assert_same(&Picture::of(&bench.store).await, "after a rebuild and reopening");
}
