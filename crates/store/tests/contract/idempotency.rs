//! A client that repeats a request to start an execution starts one.

use holdpoint_model::{Digest, ExecutionId, UserId};
use holdpoint_store::{CreateOutcome, Idempotency, ListFilter, Store, StoreError};

use crate::support::*;

async fn create(
    store: &Store,
    who: &str,
    key: &str,
    prompt: &str,
) -> Result<(bool, ExecutionId), StoreError> {
    let id = ExecutionId(fresh());
    let user: UserId = person(who).user.expect("a user");
    let idempotency = Idempotency { user, key: key.into(), request: Digest::of_bytes(prompt.as_bytes()) };
    let outcome = store.create(id, created(prompt, who), prompt.into(), vec![], Some(idempotency)).await?;
    Ok(match outcome {
        CreateOutcome::New(execution) => (true, execution.id),
        CreateOutcome::Existing(existing) => (false, existing),
    })
}

async fn count(store: &Store) -> usize {
    store.list(&ListFilter::default(), None, u32::MAX).await.expect("list").len()
}

#[tokio::test]
async fn the_same_request_again_finds_the_first() {
    let mut bench = Bench::new().await;
    let (new, first) = create(&bench.store, "ada", "key", "do it").await.expect("create");
    assert!(new);
    for _ in 0..2 {
        let again = create(&bench.store, "ada", "key", "do it").await.expect("create");
        assert_eq!(again, (false, first));
        bench.reopen().await;
    }
    assert_eq!((count(&bench.store).await, log(&bench.store, first).await.len()), (1, 2));
}

#[tokio::test]
async fn another_request_with_the_key_is_a_conflict() {
    let bench = Bench::new().await;
    let (_, first) = create(&bench.store, "ada", "key", "do it").await.expect("create");
    let other = create(&bench.store, "ada", "key", "do something else").await.expect_err("a conflict");
    let StoreError::IdempotencyConflict { key, execution } = &other else { panic!("{other:?}") };
    assert_eq!((key.as_str(), *execution), ("key", first));
    let message = other.to_string().replace(&first.to_string(), "FIRST");
    insta::assert_snapshot!(message, @r#"use the idempotency key "key" again: it was used for another request, which started FIRST"#);
    assert_eq!(count(&bench.store).await, 1);
}

#[tokio::test]
async fn keys_of_different_users_never_meet() {
    let bench = Bench::new().await;
    let (_, ada) = create(&bench.store, "ada", "key", "do it").await.expect("create");
    let (new, grace) = create(&bench.store, "grace", "key", "do something else").await.expect("create");
    assert!(new && ada != grace);
    let (new, _) =
        create(&bench.store, "ada", "KEY", "keys are compared to the letter").await.expect("create");
    assert!(new);
}

/// An impatient client: in one commit, and in as many as it takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_requests_with_one_key_start_one_execution() {
    let bench = Bench::new().await;
    for round in 0..20 {
        let key = format!("key {round}");
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (store, key) = (bench.store.clone(), key.clone());
            clients.spawn(async move { create(&store, "ada", &key, "do it").await.expect("create") });
        }
        let outcomes = clients.join_all().await;
        assert_eq!(outcomes.iter().filter(|(new, _)| *new).count(), 1, "round {round}: {outcomes:?}");
        let first = outcomes[0].1;
        assert!(outcomes.iter().all(|(_, id)| *id == first), "round {round}: {outcomes:?}");
        assert_eq!(count(&bench.store).await, round + 1);
    }
}

#[tokio::test]
async fn two_requests_with_one_key_in_one_commit_start_one_execution() {
    let bench = Bench::new().await;
    let prompts = ["do it", "do it", "do something else"];
    let outcomes = at_once(prompts.map(|prompt| create(&bench.store, "ada", "key", prompt))).await;
    let [Ok((true, first)), Ok((false, second)), Err(StoreError::IdempotencyConflict { .. })] =
        outcomes.as_slice()
    else {
        panic!("{outcomes:?}")
    };
    assert_eq!((first, count(&bench.store).await), (second, 1));
}

/// A request that came to nothing leaves its key free.
#[tokio::test]
async fn a_failed_start_does_not_use_up_its_key() {
    let bench = Bench::new().await;
    let taken = start(&bench.store, "taken").await;
    let idempotency = Idempotency {
        user: person("ada").user.expect("a user"),
        key: "key".into(),
        request: Digest::of_bytes(b"do it"),
    };
    let failed =
        bench.store.create(taken, created("x", "ada"), "do it".into(), vec![], Some(idempotency)).await;
    assert!(matches!(failed, Err(StoreError::Exists { .. })), "{failed:?}");
    assert!(create(&bench.store, "ada", "key", "do it").await.expect("create").0);
}
