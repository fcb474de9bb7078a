//! The gateway's record of model calls: a response is nowhere else, and the bill is what it saw (invariant 14).

use std::collections::BTreeSet;

use holdpoint_model::event::ModelCall;
use holdpoint_model::wire::Fact;
use holdpoint_model::{CallId, Command, EventBody, ExecutionId, Refusal, Status, command::Gone};
use holdpoint_store::{ApplyError, CompletedCall, NewCall, Store, StoreError};
use serde_json::json;

use crate::picture::assert_rebuild_is_live;
use crate::random::{completed_call, failed_call, new_call, tokens};
use crate::support::*;

pub(crate) async fn begin(store: &Store, id: ExecutionId, incarnation: u32) -> CallId {
    store.begin_call(new_call(id, incarnation)).await.expect("begin")
}

async fn calls_in_log(store: &Store, id: ExecutionId) -> Vec<ModelCall> {
    log(store, id)
        .await
        .into_iter()
        .filter_map(|event| match event.body {
            EventBody::ModelCall(call) => Some(call),
            _ => None,
        })
        .collect()
}

async fn of_turn(store: &Store, id: ExecutionId) -> Vec<CallId> {
    store.turn_calls(id).await.expect("calls").iter().map(|call| call.id).collect()
}

#[tokio::test]
async fn a_completed_call_is_on_record_and_in_the_log() {
    let mut bench = Bench::new().await;
    let id = start_warm(&bench.store, "call").await;
    let call = begin(&bench.store, id, 1).await;
    assert!(calls_in_log(&bench.store, id).await.is_empty(), "a beginning is no fact yet");
    assert_eq!(bench.store.call_response(call).await.expect("read"), None);
    let done = completed_call(42);
    let applied = bench.store.complete_call(call, done.clone()).await.expect("complete");
    let event = ModelCall {
        call,
        model: "claude-opus".into(),
        status: 200,
        tokens: tokens(10),
        cost_micros: 42,
        replayed: false,
        incomplete: false,
        estimated: false,
    };
    assert_eq!(applied.events.len(), 1);
    assert_eq!(applied.events[0].body, EventBody::ModelCall(event.clone()));
    bench.reopen().await;
    assert_eq!(calls_in_log(&bench.store, id).await, [event]);
    assert_eq!(bench.store.call_response(call).await.expect("read"), Some(done.response));
    let [stored] = &bench.store.turn_calls(id).await.expect("calls")[..] else { panic!("not one call") };
    assert_eq!((stored.id, stored.incarnation, stored.thread.as_str()), (call, 1, "main"));
    assert_eq!((&stored.place, &stored.footprint), (&json!({"after": 3}), &done.footprint));
    assert_eq!(stored.delivered_to, [] as [u32; 0]);
}

/// The record and the event are one commit: either both are there or neither.
#[tokio::test]
async fn a_call_is_settled_once() {
    let bench = Bench::new().await;
    let id = start_warm(&bench.store, "once").await;
    let call = begin(&bench.store, id, 1).await;
    let outcomes = at_once([1, 2, 3].map(|cost| bench.store.complete_call(call, completed_call(cost)))).await;
    let [Ok(_), Err(ApplyError::Refused(Refusal::Stale(_))), Err(ApplyError::Refused(Refusal::Stale(_)))] =
        outcomes.as_slice()
    else {
        panic!("{outcomes:?}")
    };
    let failed = bench.store.fail_call(call, failed_call(true)).await;
    assert!(matches!(refusal(failed), Refusal::Stale(_)));
    assert_eq!(calls_in_log(&bench.store, id).await.len(), 1);
    assert_eq!(bench.store.cost_of(id).await.expect("cost"), 1);
    let response = bench.store.call_response(call).await.expect("read");
    assert_eq!(response, Some(completed_call(1).response));
}

#[tokio::test]
async fn an_unknown_call_is_missing() {
    let bench = Bench::new().await;
    let id = start_warm(&bench.store, "unknown").await;
    let nothing = CallId(fresh());
    for outcome in [
        bench.store.complete_call(nothing, completed_call(1)).await.map(drop),
        bench.store.fail_call(nothing, failed_call(false)).await,
        bench.store.note_replay(id, 1, nothing).await.map(drop),
        bench.store.mark_delivered(nothing, 1).await.map(drop).map_err(ApplyError::Store),
    ] {
        assert!(matches!(outcome, Err(ApplyError::Store(StoreError::Missing { .. }))), "{outcome:?}");
    }
    assert_eq!(bench.store.call_response(nothing).await.expect("read"), None);
}

/// Nothing is spent for a worker that was replaced, or for what is over; what was spent before is taken down.
#[tokio::test]
async fn only_the_acting_worker_begins_a_call() {
    let bench = Bench::new().await;
    let id = start_warm(&bench.store, "fenced").await;
    let open = begin(&bench.store, id, 1).await;
    let how = Gone::Lost { reason: "killed".into() };
    bench.store.apply(id, Command::WorkerGone { incarnation: 1, how }).await.expect("gone");
    start_worker(&bench.store, id).await;
    let refused = refusal(bench.store.begin_call(new_call(id, 1)).await);
    assert_eq!(refused, Refusal::Fenced { told: 1, current: 2 });
    bench.store.complete_call(open, completed_call(5)).await.expect("the money is spent");
    assert_eq!(refusal(bench.store.note_replay(id, 1, open).await), Refusal::Fenced { told: 1, current: 2 });

    let last = begin(&bench.store, id, 2).await;
    bench.store.apply(id, Command::Cancel { by: person("ada") }).await.expect("cancel");
    let refused = refusal(bench.store.begin_call(new_call(id, 2)).await);
    assert_eq!(refused, Refusal::Ended("cancelled"));
    let applied = bench.store.complete_call(last, completed_call(7)).await.expect("the money is spent");
    assert_eq!((applied.execution.status, applied.execution.totals.cost_micros), (Status::Cancelled, 12));
    let unknown = bench.store.begin_call(new_call(ExecutionId(fresh()), 1)).await;
    assert!(matches!(unknown, Err(ApplyError::UnknownExecution)), "{unknown:?}");
}

#[tokio::test]
async fn the_turn_has_its_calls_in_the_order_of_their_completion() {
    let mut bench = Bench::new().await;
    let id = start_warm(&bench.store, "turn").await;
    let other = start_warm(&bench.store, "another").await;
    let mut calls = Vec::new();
    for _ in 0..4 {
        bench.clock.advance(1);
        calls.push(begin(&bench.store, id, 1).await);
    }
    let of_other = begin(&bench.store, other, 1).await;
    bench.store.complete_call(of_other, completed_call(1)).await.expect("complete");
    // The last to begin is the first to end; one comes to nothing, one is still open.
    bench.store.complete_call(calls[2], completed_call(1)).await.expect("complete");
    bench.store.fail_call(calls[1], failed_call(true)).await.expect("fail");
    bench.store.complete_call(calls[0], completed_call(1)).await.expect("complete");
    assert_eq!(of_turn(&bench.store, id).await, [calls[2], calls[0]]);
    bench.store.note_replay(id, 1, calls[2]).await.expect("replay");
    assert_eq!(of_turn(&bench.store, id).await, [calls[2], calls[0]], "a replay is no other call");

    tell_next(&bench.store, id, vec![Fact::TurnEnded(turn_ended())]).await;
    assert_eq!(of_turn(&bench.store, id).await, [] as [CallId; 0]);
    assert_eq!(of_turn(&bench.store, other).await, [of_other], "the turn of another goes on");
    // Begun in the turn before, ended in this one: it belongs to this one.
    bench.store.complete_call(calls[3], completed_call(1)).await.expect("complete");
    assert_eq!(of_turn(&bench.store, id).await, [calls[3]]);
    assert_rebuild_is_live(&mut bench).await;
    assert_eq!(of_turn(&bench.store, id).await, [calls[3]]);
    let response = bench.store.call_response(calls[0]).await.expect("read");
    assert!(response.is_some(), "responses outlive their turn");
}

#[tokio::test]
async fn deliveries_are_noted_once_for_each_session() {
    let mut bench = Bench::new().await;
    let id = start_warm(&bench.store, "deliveries").await;
    let call = begin(&bench.store, id, 1).await;
    bench.store.complete_call(call, completed_call(1)).await.expect("complete");
    for incarnation in [3, 1, 2, 1, 3] {
        let made_for = bench.store.mark_delivered(call, incarnation).await.expect("delivered");
        assert_eq!(made_for, (id, 1));
    }
    bench.reopen().await;
    assert_eq!(bench.store.turn_calls(id).await.expect("calls")[0].delivered_to, [1, 2, 3]);
}

/// What was seen of a stream is paid; what never began costs nothing; a replay costs nothing.
#[tokio::test]
async fn the_bill_is_what_the_gateway_saw() {
    let mut bench = Bench::new().await;
    let id = start_warm(&bench.store, "bill").await;
    let whole = begin(&bench.store, id, 1).await;
    bench.store.complete_call(whole, completed_call(100)).await.expect("complete");
    let cut = begin(&bench.store, id, 1).await;
    bench.store.fail_call(cut, failed_call(true)).await.expect("fail");
    let refused = begin(&bench.store, id, 1).await;
    bench.store.fail_call(refused, failed_call(false)).await.expect("fail");
    let replay = bench.store.note_replay(id, 1, whole).await.expect("replay");
    begin(&bench.store, id, 1).await;

    let totals = replay.execution.totals;
    assert_eq!((totals.calls, totals.replays, totals.cost_micros), (2, 1, 102));
    assert_eq!(totals.tokens, tokens(11));
    let told: Vec<_> = calls_in_log(&bench.store, id)
        .await
        .iter()
        .map(|call| (call.call, call.cost_micros, call.replayed, call.incomplete, call.status))
        .collect();
    assert_eq!(
        told,
        [(whole, 100, false, false, 200), (cut, 2, false, true, 0), (whole, 0, true, false, 200)]
    );
    assert_eq!(of_turn(&bench.store, id).await, [whole], "what was cut off is never replayed");
    assert_eq!(bench.store.call_response(cut).await.expect("read"), None);
    let replayed = bench.store.note_replay(id, 1, cut).await;
    assert!(matches!(replayed, Err(ApplyError::Store(StoreError::Missing { .. }))), "{replayed:?}");
    assert_eq!(bench.store.cost_of(id).await.expect("cost"), 102);
    bench.reopen().await;
    assert_eq!(bench.store.cost_of(id).await.expect("cost"), 102, "also where it is not in memory");
    assert_rebuild_is_live(&mut bench).await;
}

#[tokio::test]
async fn a_rehearsal_costs_nothing() {
    let bench = Bench::new().await;
    let id = ExecutionId(fresh());
    let mut created = created("rehearsal", "ada");
    created.rehearsal = true;
    bench.store.create(id, created, "do it".into(), vec![], None).await.expect("create");
    start_worker(&bench.store, id).await;
    let call = begin(&bench.store, id, 1).await;
    let applied = bench.store.complete_call(call, completed_call(100)).await.expect("complete");
    assert_eq!((applied.execution.totals.calls, applied.execution.totals.cost_micros), (1, 0));
    assert_eq!(bench.store.cost_of(id).await.expect("cost"), 0);
}

/// At start: whatever has neither a response nor a failure was cut short by the crash. Nobody saw what it
/// cost, so it is paid at what was set aside for it, once.
#[tokio::test]
async fn what_a_crash_cut_short_is_failed_at_the_next_start() {
    let mut bench = Bench::new().await;
    let id = start_warm(&bench.store, "crash").await;
    let whole = begin(&bench.store, id, 1).await;
    bench.store.complete_call(whole, completed_call(3)).await.expect("complete");
    let open = [begin(&bench.store, id, 1).await, begin(&bench.store, id, 1).await];
    bench.reopen().await;
    assert_eq!(bench.store.cost_of(id).await.expect("cost"), 3);
    assert_eq!(bench.store.fail_open_calls("the control plane was killed").await.expect("fail"), 2);
    assert_eq!(bench.store.fail_open_calls("again").await.expect("fail"), 0);
    let told = calls_in_log(&bench.store, id).await;
    let [_, cut_short @ ..] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(cut_short.iter().map(|call| call.call).collect::<BTreeSet<_>>(), BTreeSet::from(open));
    assert!(cut_short.iter().all(|call| call.incomplete && call.estimated && call.cost_micros == 50));
    for call in open {
        assert!(matches!(
            refusal(bench.store.complete_call(call, completed_call(1)).await),
            Refusal::Stale(_)
        ));
    }
    assert_eq!(of_turn(&bench.store, id).await, [whole]);
    assert_eq!(bench.store.cost_of(id).await.expect("cost"), 3 + 2 * 50);
    assert_rebuild_is_live(&mut bench).await;
}

/// Ten sessions call at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_calls_keep_to_their_executions() {
    let mut bench = Bench::new().await;
    let mut sessions = tokio::task::JoinSet::new();
    for n in 1..=10_u64 {
        let store = bench.store.clone();
        let id = start_warm(&store, &format!("session {n}")).await;
        sessions.spawn(async move {
            for turn in 0..10 {
                let place = json!([n, turn]);
                let call = NewCall { place: place.clone(), ..new_call(id, 1) };
                let call = store.begin_call(call).await.expect("begin");
                let done = CompletedCall { response: place.clone(), ..completed_call(n) };
                store.complete_call(call, done).await.expect("complete");
                store.mark_delivered(call, 1).await.expect("delivered");
                assert_eq!(store.call_response(call).await.expect("read"), Some(place));
            }
            (n, id)
        });
    }
    for (n, id) in sessions.join_all().await {
        assert_eq!(bench.store.cost_of(id).await.expect("cost"), 10 * n);
        let calls = bench.store.turn_calls(id).await.expect("calls");
        let places: Vec<_> = calls.iter().map(|call| call.place.clone()).collect();
        assert_eq!(places, (0..10).map(|turn| json!([n, turn])).collect::<Vec<_>>());
        assert!(calls.iter().all(|call| call.delivered_to == [1]));
    }
    assert_rebuild_is_live(&mut bench).await;
}
