//! Every table beside the log can be deleted and made again from it (invariant 1).

use futures::FutureExt as _;
use holdpoint_model::{AgentDef, Command, ExecutionId};
use holdpoint_store::{CreateOutcome, ListFilter, Store, StoreOptions};
use proptest::prelude::*;

use crate::picture::assert_rebuild_is_live;
use crate::random::{Step, definition, step, take};
use crate::support::*;

/// What happens in one moment: up to three things to any execution, which share commits, and then time passes.
type Moment = (Vec<(usize, Step)>, bool);

fn moment() -> impl Strategy<Value = Moment> {
    let things = proptest::collection::vec((0..3_usize, step()), 1..4);
    (things, proptest::bool::weighted(0.1))
}

async fn run(definitions: Vec<AgentDef>, moments: Vec<Moment>, cached_executions: usize) {
    const THREE_DAYS_MS: i64 = 3 * 24 * 3600 * 1000;
    let mut bench = Bench::new().await;
    bench.store.close().await;
    let options = StoreOptions { cached_executions, ..options(&bench.clock) };
    bench.store = Store::open(&bench.path(), options).await.expect("open");
    let mut ids = Vec::new();
    for (n, definition) in definitions.into_iter().enumerate() {
        let id = ExecutionId(fresh());
        let mut created = created(&format!("execution {n}"), ["ada", "grace"][n % 2]);
        created.definition = definition;
        let outcome = bench.store.create(id, created, "do it".into(), vec![], None).await.expect("create");
        assert!(matches!(outcome, CreateOutcome::New(_)));
        ids.push(id);
    }
    for (things, days_pass) in &moments {
        at_once(things.iter().map(|(whose, step)| take(&bench.store, ids[*whose], step))).await;
        bench.clock.advance(if *days_pass { THREE_DAYS_MS } else { 1 });
    }
    assert_rebuild_is_live(&mut bench).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn rebuilt_is_live(
        definitions in proptest::collection::vec(definition(), 3),
        moments in proptest::collection::vec(moment(), 10..60),
        // With one place, every request finds its execution pushed out by another.
        cached_executions in prop_oneof![Just(1), Just(256)],
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("runtime")
            .block_on(run(definitions, moments, cached_executions));
    }
}

/// A rebuild is one request among others: in the same commit, before and after changes.
#[tokio::test]
async fn a_rebuild_may_share_a_commit() {
    let mut bench = Bench::new().await;
    let id = start_warm(&bench.store, "shared").await;
    let new = ExecutionId(fresh());
    let requests = [
        bench
            .store
            .append_facts(id, 1, numbered(3, vec![asks("a")]))
            .map(|told| drop(told.expect("facts")))
            .boxed(),
        bench
            .store
            .create(new, created("new", "ada"), "do it".into(), vec![], None)
            .map(|outcome| drop(outcome.expect("create")))
            .boxed(),
        bench
            .store
            .rebuild_projections()
            .map(|rebuilt| assert_eq!(rebuilt.expect("rebuild").executions, 2))
            .boxed(),
        bench
            .store
            .append_facts(id, 1, numbered(4, vec![asks("b")]))
            .map(|told| drop(told.expect("facts")))
            .boxed(),
        bench
            .store
            .apply(new, Command::Cancel { by: person("ada") })
            .map(|told| drop(told.expect("cancel")))
            .boxed(),
    ];
    at_once(requests).await;
    assert_rebuild_is_live(&mut bench).await;
}

/// Written to while it is rebuilt, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rebuild_takes_nothing_away_from_readers_and_writers() {
    let mut bench = Bench::new().await;
    let id = start_warm(&bench.store, "busy").await;
    let writer = tokio::spawn({
        let store = bench.store.clone();
        async move {
            for n in 3..60 {
                tell(&store, id, 1, n, vec![asks(&format!("call-{n}"))]).await;
            }
        }
    });
    while !writer.is_finished() {
        let rebuilt = bench.store.rebuild_projections().await.expect("rebuild");
        assert_eq!(rebuilt.executions, 1);
        // A reader sees what was before a commit or what is after it, never the middle.
        let list = bench.store.list(&ListFilter::default(), None, 10).await.expect("list");
        assert_eq!(list.len(), 1, "the list was empty for a moment");
    }
    writer.await.expect("the writer");
    assert_rebuild_is_live(&mut bench).await;
}
