//! Releases: one is current, unfinished ones are taken up, and none goes while a conversation needs it.

use std::collections::BTreeMap;

use holdpoint_model::lock::{ImageLock, LOCK_VERSION, PluginLock};
use holdpoint_model::{AgentDef, Command, Digest, ExecutionId, Lock, ReleaseState};
use holdpoint_store::{By, CreateOutcome, Deed, ReleaseError, ReleaseRow, Store, StoreError};

use crate::support::*;

fn by() -> By {
    person("root").into()
}

fn lock(policy: &str) -> Lock {
    Lock {
        version: LOCK_VERSION,
        holdpoint: "0.1.0".into(),
        claude_cli: "2".into(),
        settings: Digest::of_bytes(b"settings"),
        policy: Digest::of_bytes(policy.as_bytes()),
        base: None,
        dependencies: None,
        configuration: None,
        image: None,
        sources: BTreeMap::new(),
        plugins: vec![PluginLock {
            marketplace: "m".into(),
            plugin: Some("p".into()),
            from: "/p".into(),
            revision: "1".into(),
        }],
    }
}

fn agents() -> BTreeMap<String, AgentDef> {
    BTreeMap::from([("claude".to_owned(), AgentDef::builtin())])
}

fn image(id: &str) -> ImageLock {
    ImageLock { id: id.into(), reference: None }
}

async fn begin(store: &Store, policy: &str) -> ReleaseRow {
    store.begin_release(lock(policy), agents(), by()).await.expect("begun")
}

async fn current(store: &Store, policy: &str) -> ReleaseRow {
    let number = begin(store, policy).await.number;
    store.release_image(number, image(policy)).await.expect("image");
    store.activate_release(number, by()).await.expect("current")
}

async fn start_on(store: &Store, release: &ReleaseRow) -> Result<ExecutionId, StoreError> {
    let id = ExecutionId(fresh());
    let created = holdpoint_model::event::Created { release: Some(release.stamp()), ..created("t", "ada") };
    match store.create(id, created, "do it".into(), vec![], None).await? {
        CreateOutcome::New(_) => Ok(id),
        CreateOutcome::Existing(other) => panic!("{other} existed"),
    }
}

async fn states(store: &Store) -> Vec<(u32, ReleaseState)> {
    store.releases().await.expect("releases").iter().map(|row| (row.number, row.state)).collect()
}

#[tokio::test]
async fn an_unfinished_one_is_taken_up_and_another_deployment_ends_it() {
    let mut bench = Bench::new().await;
    let first = begin(&bench.store, "a").await;
    bench.store.release_image(first.number, image("x")).await.expect("image");
    bench.reopen().await;
    let again = begin(&bench.store, "a").await;
    assert_eq!((again.number, again.lock.image.clone()), (first.number, Some(image("x"))), "taken up");
    bench.store.release_image(first.number, image("x")).await.expect("the same again");
    let second = begin(&bench.store, "b").await;
    assert_eq!(states(&bench.store).await, [(2, ReleaseState::Building), (1, ReleaseState::Failed)]);
    let refused = bench.store.activate_release(first.number, by()).await;
    assert!(matches!(refused, Err(ReleaseError::Refused { number: 1, .. })), "{refused:?}");
    let unknown = bench.store.release_image(9, image("x")).await;
    assert!(matches!(unknown, Err(ReleaseError::Unknown(9))), "{unknown:?}");
    bench.store.fail_release(second.number, "no".into()).await.expect("failed");
    let failed = bench.store.release(2).await.expect("read").expect("known");
    assert_eq!(failed.problem.as_deref(), Some("no"));
    let steps: Vec<String> =
        bench.store.release_steps(1).await.expect("steps").into_iter().map(|step| step.step).collect();
    assert_eq!(steps, ["begun", "image", "failed"]);
}

#[tokio::test]
async fn one_is_current_and_an_earlier_one_can_be_again() {
    let mut bench = Bench::new().await;
    assert_eq!(bench.store.current_release().await.expect("read"), None);
    let (one, two) = (current(&bench.store, "a").await, current(&bench.store, "b").await);
    assert_eq!(states(&bench.store).await, [(2, ReleaseState::Current), (1, ReleaseState::Retired)]);
    bench.store.activate_release(two.number, by()).await.expect("it is already");
    bench.store.activate_release(one.number, by()).await.expect("back");
    bench.reopen().await;
    assert_eq!(states(&bench.store).await, [(2, ReleaseState::Retired), (1, ReleaseState::Current)]);
    assert_eq!(bench.store.current_release().await.expect("read").expect("one").number, one.number);
    let deployed = bench.store.audited(Some(Deed::Deployed), None, 10).await.expect("audit");
    assert_eq!(deployed.len(), 3);
    let late = bench.store.release_image(one.number, image("y")).await;
    assert!(matches!(late, Err(ReleaseError::Refused { .. })), "what it is made of never changes: {late:?}");
}

#[tokio::test]
async fn nothing_is_removed_that_a_conversation_needs_and_nobody_starts_on_what_is_gone() {
    let bench = Bench::new().await;
    let one = current(&bench.store, "a").await;
    let id = start_on(&bench.store, &one).await.expect("started");
    let two = current(&bench.store, "b").await;
    let going_on = async |number| bench.store.release(number).await.expect("read").expect("known").going_on;
    assert_eq!(going_on(one.number).await, 1);
    for number in [one.number, two.number] {
        let refused = bench.store.remove_release(number).await;
        assert!(matches!(refused, Err(ReleaseError::Refused { .. })), "{refused:?}");
    }
    let moved =
        Command::Move { release: two.stamp(), definition: Box::new(AgentDef::builtin()), by: person("ada") };
    bench.store.apply(id, moved).await.expect("moved");
    assert_eq!((going_on(one.number).await, going_on(two.number).await), (0, 1));
    bench.store.remove_release(one.number).await.expect("removed");
    bench.store.remove_release(one.number).await.expect("again");
    assert_eq!(states(&bench.store).await, [(2, ReleaseState::Current), (1, ReleaseState::Removed)]);
    let refused = start_on(&bench.store, &one).await;
    assert!(matches!(refused, Err(StoreError::Missing { .. })), "{refused:?}");
    let refused = bench.store.activate_release(one.number, by()).await;
    assert!(matches!(refused, Err(ReleaseError::Refused { .. })), "{refused:?}");
    // What a rebuild makes of the log is the same.
    bench.store.rebuild_projections().await.expect("rebuilt");
    assert_eq!(going_on(two.number).await, 1);
}
