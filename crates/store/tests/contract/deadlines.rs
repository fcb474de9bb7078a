//! Answers and expiries compete under one rule, by the store's wall-clock time (invariants 3 and 18).

use std::sync::Arc;

use holdpoint_model::{AgentDef, Command, ExecutionId, HoldId, HoldState, HumanDuration, Limits, Refusal};
use holdpoint_store::{CreateOutcome, Store};
use rstest::rstest;
use tokio::sync::Barrier;

use crate::support::*;

/// An execution whose holds wait for a minute.
async fn asking_for_a_minute(store: &Store) -> (ExecutionId, HoldId) {
    let id = ExecutionId(fresh());
    let limits = Limits { hold: Some(HumanDuration(60_000)), ..Limits::default() };
    let mut created = created("a minute", "ada");
    created.definition = AgentDef { limits, ..AgentDef::builtin() };
    let outcome = store.create(id, created, "do it".into(), vec![], None).await.expect("create");
    assert!(matches!(outcome, CreateOutcome::New(_)));
    start_worker(store, id).await;
    tell(store, id, 1, 1, vec![ready(), asks("a")]).await;
    (id, hold_of(store, id, "a").await)
}

#[rstest]
#[case::before(-1, true)]
#[case::at_the_deadline(0, false)]
#[case::after(1, false)]
#[tokio::test]
async fn the_deadline_divides_answers_from_expiry(#[case] from_deadline: i64, #[case] answer_wins: bool) {
    let bench = Bench::new().await;
    let (id, hold) = asking_for_a_minute(&bench.store).await;
    bench.clock.set(START + 60_000 + from_deadline);
    let answered = answer(&bench.store, id, hold, 0).await;
    let expired = bench.store.apply(id, Command::Expire { hold }).await;
    assert_eq!((answered.is_ok(), expired.is_ok()), (answer_wins, !answer_wins));
    if answer_wins {
        assert_eq!(refusal(expired), Refusal::Stale("the hold is not open"));
    } else {
        assert_eq!(refusal(answered), Refusal::Expired);
    }
}

/// The clock passes the deadline while an answer and the expiry are on their way.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_and_an_expiry_never_both_win() {
    let bench = Bench::new().await;
    let (mut answers, mut expiries) = (0, 0);
    for race in 0..60 {
        bench.clock.set(START);
        let (id, hold) = asking_for_a_minute(&bench.store).await;
        let barrier = Arc::new(Barrier::new(3));
        let (store, waits) = (bench.store.clone(), Arc::clone(&barrier));
        let answering = tokio::spawn(async move {
            waits.wait().await;
            answer(&store, id, hold, 0).await.is_ok()
        });
        let (store, waits) = (bench.store.clone(), Arc::clone(&barrier));
        let expiring = tokio::spawn(async move {
            waits.wait().await;
            // As the reconciler: again and again, until nothing is open.
            while known(&store, id).await.holds[&hold].state == HoldState::Open {
                if store.apply(id, Command::Expire { hold }).await.is_ok() {
                    return true;
                }
            }
            false
        });
        barrier.wait().await;
        bench.clock.set(START + 60_000);
        let (answered, expired) = (answering.await.expect("answer"), expiring.await.expect("expiry"));
        assert!(answered != expired, "race {race}: answered {answered}, expired {expired}");
        let log = log(&bench.store, id).await;
        let ends: Vec<_> = log
            .iter()
            .map(|event| event.body.kind())
            .filter(|kind| ["hold_answered", "hold_expired"].contains(kind))
            .collect();
        assert_eq!(ends, [if answered { "hold_answered" } else { "hold_expired" }], "race {race}");
        answers += usize::from(answered);
        expiries += usize::from(expired);
    }
    assert_eq!(answers + expiries, 60);
}
