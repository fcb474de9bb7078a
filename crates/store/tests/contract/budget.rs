//! Cost is set aside before a call and settled after it (invariant 14).

use holdpoint_model::event::Created;
use holdpoint_model::{AgentDef, ExecutionId, Limits, Refusal};
use holdpoint_store::Store;

use crate::random::{completed_call, failed_call, new_call};
use crate::record::begin;
use crate::support::*;

/// An execution that may cost so many millionths of a dollar.
async fn with_budget(store: &Store, micros: u32, rehearsal: bool) -> ExecutionId {
    let id = ExecutionId(fresh());
    let limits = Limits { budget_usd: Some(f64::from(micros) / 1e6), ..Limits::default() };
    let definition = AgentDef { limits, ..AgentDef::builtin() };
    let created = Created { definition, rehearsal, ..created("budget", "ada") };
    store.create(id, created, "do it".into(), vec![], None).await.expect("create");
    start_worker(store, id).await;
    id
}

/// Each call sets 50 aside: what is under way counts as spent until it is known.
#[tokio::test]
async fn a_budget_is_for_what_is_spent_and_what_is_under_way() {
    let mut bench = Bench::new().await;
    let id = with_budget(&bench.store, 200, false).await;
    let calls = [
        begin(&bench.store, id, 1).await,
        begin(&bench.store, id, 1).await,
        begin(&bench.store, id, 1).await,
        begin(&bench.store, id, 1).await,
    ];
    let over = |spent_micros| Refusal::OverBudget { budget_micros: 200, spent_micros, call_micros: 50 };
    let refused = async |bench: &Bench| refusal(bench.store.begin_call(new_call(id, 1)).await);
    assert_eq!(refused(&bench).await, over(200));
    // It cost less than was set aside, but not by enough for another.
    bench.store.complete_call(calls[0], completed_call(1)).await.expect("complete");
    assert_eq!(refused(&bench).await, over(151));
    bench.store.fail_call(calls[1], failed_call(false)).await.expect("fail");
    bench.reopen().await;
    begin(&bench.store, id, 1).await;
    assert_eq!(refused(&bench).await, over(151));
    let rehearsal = with_budget(&bench.store, 0, true).await;
    begin(&bench.store, rehearsal, 1).await;
}

/// Subagents call at the same time: together they set aside no more than there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_calls_never_set_aside_more_than_the_budget() {
    let bench = Bench::new().await;
    let id = with_budget(&bench.store, 500, false).await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let store = bench.store.clone();
        callers.spawn(async move {
            let call = store.begin_call(new_call(id, 1)).await.ok()?;
            store.complete_call(call, completed_call(50)).await.expect("complete");
            Some(call)
        });
    }
    let made = callers.join_all().await.into_iter().flatten().count();
    assert_eq!((made, bench.store.cost_of(id).await.expect("cost")), (10, 500));
}
