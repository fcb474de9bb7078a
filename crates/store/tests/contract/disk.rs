//! A full disk: what was acknowledged stays, what could not be written is said, and there is a way on.

use holdpoint_model::{Command, EventBody, ExecutionId};
use holdpoint_store::{ApplyError, Store, StoreError, StoreOptions};

use crate::picture::{Picture, assert_rebuild_is_live};
use crate::support::*;

async fn reopen(bench: &mut Bench, max_pages: Option<u32>) {
    bench.store.close().await;
    let options = StoreOptions { max_pages, ..options(&bench.clock) };
    bench.store = Store::open(&bench.path(), options).await.expect("open");
}

/// Room for about so many pages more than there are.
async fn fill(bench: &mut Bench, more: u32) {
    bench.store.close().await;
    let pages = std::fs::metadata(bench.path()).expect("metadata").len() / 4096;
    reopen(bench, Some(u32::try_from(pages).expect("few") + more)).await;
}

fn is_full(error: &ApplyError) -> bool {
    matches!(error, ApplyError::Store(StoreError::Database(_) | StoreError::Unsettled(_)))
        && error.to_string().contains("full")
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_full_disk() {
    let mut bench = Bench::new().await;
    let id = start_warm(&bench.store, "full").await;
    let other = start_warm(&bench.store, "another").await;
    fill(&mut bench, 40).await;
    let long = "x".repeat(3_000);
    let mut acknowledged = Vec::new();
    let error = loop {
        match bench.store.apply(id, notice(&long)).await {
            Ok(applied) => acknowledged.extend(applied.events),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 1_000, "the disk is never full");
    };
    assert!(is_full(&error), "{error:?}");
    assert!(!acknowledged.is_empty());
    let logged = log(&bench.store, id).await;
    let last: Vec<_> = logged[logged.len() - acknowledged.len()..].iter().collect();
    assert_eq!(last, acknowledged.iter().map(|event| &**event).collect::<Vec<_>>());

    // It goes on failing, alone and in company, and goes on reading.
    let before = Picture::of(&bench.store).await;
    let answers = at_once([id, other, id].map(|id| bench.store.apply(id, notice(&long)))).await;
    for answer in answers {
        let error = answer.expect_err("there is no room");
        assert!(is_full(&error), "{error:?}");
    }
    let facts = numbered(3, (0..50).map(|_| says(&long)).collect());
    assert!(is_full(&bench.store.append_facts(other, 1, facts).await.expect_err("there is no room")));
    before.assert_same(&Picture::of(&bench.store).await, "while the disk is full");
    assert_eq!(log(&bench.store, id).await, logged);

    // With room again, numbers go on where they were.
    reopen(&mut bench, None).await;
    before.assert_same(&Picture::of(&bench.store).await, "with room again");
    let applied = bench.store.apply(id, notice("there is room")).await.expect("notice");
    assert_eq!(applied.events[0].seq, logged.len() as u64 + 1);
    tell(&bench.store, other, 1, 3, vec![asks("a")]).await;
    assert_rebuild_is_live(&mut bench).await;
}

/// Room comes back while the store is open: the writer has not been left unfit by the failure.
#[tokio::test]
async fn small_things_are_committed_after_one_that_was_too_large() {
    let mut bench = Bench::new().await;
    let id = start_warm(&bench.store, "too large").await;
    fill(&mut bench, 30).await;
    for round in 0..3 {
        let seq = known(&bench.store, id).await.seq;
        let error = bench.store.apply(id, notice(&"x".repeat(400_000))).await.expect_err("too large");
        assert!(is_full(&error), "{error:?}");
        let started = bench.store.create(ExecutionId(fresh()), created("s", "ada"), "x".into(), vec![], None);
        started.await.expect("a small one");
        let small = bench.store.apply(id, notice("small")).await.expect("a small one");
        assert_eq!(small.events[0].seq, seq + 1, "round {round}");
        let end = bench.store.apply(id, Command::Interrupt { by: person("ada") }).await.expect("a small one");
        assert_eq!(end.execution.seq, seq + 2);
    }
    assert_rebuild_is_live(&mut bench).await;
}

/// Whoever came second is not told of an answer that nobody will ever find.
#[tokio::test]
async fn nobody_is_refused_for_what_was_not_committed() {
    let mut bench = Bench::new().await;
    let id = start_warm(&bench.store, "contested").await;
    let other = start_warm(&bench.store, "too large").await;
    tell_next(&bench.store, id, vec![asks("a")]).await;
    let hold = only_hold(&bench.store, id).await;
    fill(&mut bench, 30).await;
    let decide = |name| Command::Decide { hold, request: allow(), by: person(name) };
    let flood = notice(&"x".repeat(400_000));
    let requests = [(id, decide("rival")), (id, decide("tess")), (other, flood)];
    for answer in at_once(requests.map(|(id, command)| bench.store.apply(id, command))).await {
        let error = answer.expect_err("there is no room");
        assert!(is_full(&error), "{error:?}");
    }
    assert_eq!(only_hold(&bench.store, id).await, hold);
    let applied = bench.store.apply(id, decide("tess")).await.expect("it is still open");
    assert!(applied.events.iter().any(
        |event| matches!(&event.body, EventBody::HoldAnswered { decision, .. } if decision.by.name == "tess")
    ));
    assert_rebuild_is_live(&mut bench).await;
}
