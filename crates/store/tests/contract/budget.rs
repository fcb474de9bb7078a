//! Cost is set aside before a call and settled after it (invariant 14).

use std::collections::BTreeMap;

use holdpoint_model::budget::{Span, Whose};
use holdpoint_model::event::Created;
use holdpoint_model::wire::Fact;
use holdpoint_model::{
    AgentDef, BudgetUse, Budgets, Command, EventBody, ExecutionId, Limits, PerSpan, Refusal,
};
use holdpoint_store::{Deleting, Store};

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
    let refused = async |bench: &Bench| match refusal(bench.store.begin_call(new_call(id, 1)).await) {
        Refusal::OverBudget { used, set_aside_micros, call_micros } => {
            assert_eq!((used.whose, used.budget_micros, call_micros), (Whose::Conversation, 200, 50));
            (used.spent_micros, set_aside_micros)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&bench).await, (0, 200));
    // It cost less than was set aside, but not by enough for another.
    bench.store.complete_call(calls[0], completed_call(1)).await.expect("complete");
    assert_eq!(refused(&bench).await, (1, 150));
    bench.store.fail_call(calls[1], failed_call(false)).await.expect("fail");
    bench.reopen().await;
    begin(&bench.store, id, 1).await;
    assert_eq!(refused(&bench).await, (1, 150));
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

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Millionths of a dollar for the agent of these tests and for each person.
fn budgets(agent_day: Option<u64>, person: PerSpan<Option<u64>>) -> Budgets {
    let usd = |micros: u64| f64::from(u32::try_from(micros).expect("little")) / 1e6;
    let limits = Limits { budget_per_day_usd: agent_day.map(usd), ..Limits::default() };
    let agents = BTreeMap::from([("claude".to_owned(), AgentDef { limits, ..AgentDef::builtin() })]);
    Budgets::new(&agents, person)
}

async fn of_person(store: &Store, title: &str, name: &str) -> ExecutionId {
    let id = ExecutionId(fresh());
    store.create(id, created(title, name), "do it".into(), vec![], None).await.expect("create");
    start_worker(store, id).await;
    id
}

/// A call that costs so much.
async fn pay(store: &Store, id: ExecutionId, cost_micros: u64) {
    let call = begin(store, id, 1).await;
    store.complete_call(call, completed_call(cost_micros)).await.expect("complete");
}

async fn refused_by(store: &Store, id: ExecutionId) -> Option<BudgetUse> {
    match store.begin_call(new_call(id, 1)).await {
        Ok(call) => {
            store.fail_call(call, failed_call(false)).await.expect("fail");
            None
        }
        refused => match refusal(refused) {
            Refusal::OverBudget { used, .. } => Some(*used),
            other => panic!("{other:?}"),
        },
    }
}

async fn warned(store: &Store, id: ExecutionId) -> Vec<(Whose, Span, u64)> {
    let events = log(store, id).await.into_iter();
    events
        .filter_map(|event| match event.body {
            EventBody::BudgetWarning(used) => Some((used.whose, used.span, used.spent_micros)),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn conversations_share_an_agents_day_and_a_new_day_begins_anew() {
    let bench = Bench::new().await;
    bench.store.close().await;
    let budgets = budgets(Some(300), PerSpan::default());
    let store = open_with(&bench.path(), &bench.clock, &budgets).await;
    let (one, other) = (of_person(&store, "one", "ada").await, of_person(&store, "other", "grace").await);
    let open = begin(&store, one, 1).await;
    pay(&store, other, 210).await;
    // 210 spent, 50 set aside by the other conversation.
    let used = refused_by(&store, other).await.expect("no room");
    assert_eq!((used.whose, used.span, used.spent_micros), (Whose::Agent, Span::Day, 210));
    assert_eq!(refused_by(&store, one).await, Some(used.clone()));
    bench.clock.set(used.resets_at.expect("it begins anew"));
    assert_eq!(refused_by(&store, other).await, None);
    // What began yesterday was yesterday's.
    store.complete_call(open, completed_call(299)).await.expect("complete");
    assert_eq!(refused_by(&store, other).await, None);
    // Raising a budget helps conversations that have begun.
    pay(&store, one, 290).await;
    assert!(refused_by(&store, one).await.is_some());
    store.close().await;
    let store = open_with(&bench.path(), &bench.clock, &Budgets::default()).await;
    assert_eq!(refused_by(&store, one).await, None);
}

#[tokio::test]
async fn a_persons_budget_is_theirs_alone_and_outlives_what_is_deleted() {
    let bench = Bench::new().await;
    bench.store.close().await;
    let budgets = budgets(None, PerSpan { day: Some(200), month: Some(300) });
    let store = open_with(&bench.path(), &bench.clock, &budgets).await;
    let (ada, grace) = (of_person(&store, "one", "ada").await, of_person(&store, "two", "grace").await);
    pay(&store, ada, 180).await;
    assert_eq!(refused_by(&store, ada).await.map(|used| used.span), Some(Span::Day));
    assert_eq!(refused_by(&store, grace).await, None);
    bench.clock.advance(DAY_MS);
    pay(&store, ada, 90).await;
    let used = refused_by(&store, ada).await.expect("no room");
    assert_eq!((used.span, used.spent_micros, used.name.as_str()), (Span::Month, 270, "ada"));
    // Rehearsals cost nothing.
    let rehearsal = with_budget(&store, 0, true).await;
    pay(&store, rehearsal, 1_000).await;
    store.apply(ada, Command::Cancel { by: person("ada") }).await.expect("cancel");
    let gone = Command::WorkerGone { incarnation: 1, how: holdpoint_model::command::Gone::Stopped };
    store.apply(ada, gone).await.expect("gone");
    let deleting = Deleting { by: person("ada"), why: "a test".into(), files_bytes: 0 };
    store.delete_execution(ada, deleting).await.expect("delete");
    let again = of_person(&store, "three", "ada").await;
    assert_eq!(refused_by(&store, again).await.map(|used| used.spent_micros), Some(270));
}

#[tokio::test]
async fn a_warning_comes_once_whatever_is_killed() {
    let bench = Bench::new().await;
    bench.store.close().await;
    let budgets = budgets(Some(1_000), PerSpan::default());
    let mut store = open_with(&bench.path(), &bench.clock, &budgets).await;
    let id = of_person(&store, "warned", "ada").await;
    pay(&store, id, 700).await;
    assert_eq!(warned(&store, id).await, []);
    // A call that a crash cut short is settled at what was set aside, and may be what brings it on.
    let cut = begin(&store, id, 1).await;
    pay(&store, id, 60).await;
    for _ in 0..2 {
        store.close().await;
        store = open_with(&bench.path(), &bench.clock, &budgets).await;
        store.fail_open_calls("cut short").await.expect("settle");
        assert_eq!(warned(&store, id).await, [(Whose::Agent, Span::Day, 810)]);
    }
    assert!(matches!(refusal(store.complete_call(cut, completed_call(1)).await), Refusal::Stale(_)));
    pay(&store, id, 20).await;
    store.rebuild_projections().await.expect("rebuild");
    store.close().await;
    store = open_with(&bench.path(), &bench.clock, &budgets).await;
    pay(&store, id, 20).await;
    assert_eq!(warned(&store, id).await.len(), 1);
    tell(&store, id, 1, 1, vec![ready(), Fact::Idle]).await;
    bench.clock.advance(DAY_MS);
    pay(&store, id, 900).await;
    assert_eq!(warned(&store, id).await[1..], [(Whose::Agent, Span::Day, 900)]);
    // Another conversation tells its own people.
    let other = of_person(&store, "another", "ada").await;
    pay(&store, other, 1).await;
    assert_eq!(warned(&store, other).await, [(Whose::Agent, Span::Day, 901)]);
}
