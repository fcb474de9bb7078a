//! The log: creation, commands, facts.

use holdpoint_model::{Command, Status};

use crate::support::*;

#[tokio::test]
async fn an_execution_is_created_worked_on_and_read_back() {
    let mut bench = Bench::new().await;
    let id = start_warm(&bench.store, "first").await;
    tell(&bench.store, id, 1, 3, vec![says("hello"), asks("a")]).await;
    let hold = only_hold(&bench.store, id).await;
    let applied = bench
        .store
        .apply(id, Command::Decide { hold, request: allow(), by: person("grace") })
        .await
        .expect("decide");
    let live = bench.store.execution(id).await.expect("read").expect("known");
    assert_eq!(*live, *applied.execution);
    bench.reopen().await;
    let again = bench.store.execution(id).await.expect("read").expect("known");
    assert_eq!(*live, *again);
    assert_eq!(again.status, Status::Running);
    let events = bench.store.events(id, 0, 100).await.expect("events");
    assert_eq!(events.last(), applied.events.last().map(|event| &**event));
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), (1..=again.seq).collect::<Vec<_>>());
}
