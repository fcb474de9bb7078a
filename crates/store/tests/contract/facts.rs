//! A worker's facts: numbered, in order, once, all or none, and only from the worker that acts.

use holdpoint_model::execution::MAX_LOSSES_IN_A_ROW;
use holdpoint_model::wire::NumberedFact;
use holdpoint_model::{Command, ExecutionId, Incarnation, Refusal, Residency, WorkerSeq, command::Gone};
use holdpoint_store::Store;
use rstest::rstest;

use crate::picture::Picture;
use crate::support::*;

fn sentences(from: WorkerSeq, count: u64) -> Vec<NumberedFact> {
    numbered(from, (from..from + count).map(|n| says(&format!("sentence {n}"))).collect())
}

async fn gone(store: &Store, id: ExecutionId, incarnation: Incarnation) {
    let how = Gone::Lost { reason: "killed".into() };
    store.apply(id, Command::WorkerGone { incarnation, how }).await.expect("gone");
}

/// Two facts are known already.
#[rstest]
#[case::ahead(&[4], 3, 4)]
#[case::far_ahead(&[100, 101], 3, 100)]
#[case::hole_after_new_ones(&[3, 4, 6], 5, 6)]
#[case::hole_after_repeats(&[1, 2, 4], 3, 4)]
#[case::twice(&[3, 3], 4, 3)]
#[case::backwards(&[4, 3], 3, 4)]
#[tokio::test]
async fn a_gap_is_refused_and_changes_nothing(
    #[case] numbers: &[WorkerSeq],
    #[case] expected: WorkerSeq,
    #[case] got: WorkerSeq,
) {
    let bench = Bench::new().await;
    let id = start_warm(&bench.store, "gap").await;
    let before = (log(&bench.store, id).await, Picture::of(&bench.store).await);
    let facts = numbers.iter().map(|seq| NumberedFact { seq: *seq, at: START, fact: says("x") }).collect();
    let refused = refusal(bench.store.append_facts(id, 1, facts).await);
    assert_eq!(refused, Refusal::Gap { expected, got });
    assert_eq!(log(&bench.store, id).await, before.0);
    before.1.assert_same(&Picture::of(&bench.store).await, "after a gap");
    assert!(bench.store.side_log(id, 10).await.expect("side log").is_empty());
}

/// A worker that was not told of a commit tells it again, with more.
#[rstest]
#[case::nothing(vec![], 2, 0)]
#[case::all_known(sentences(1, 2), 2, 0)]
#[case::some_known(sentences(2, 3), 4, 2)]
#[case::none_known(sentences(3, 3), 5, 3)]
#[tokio::test]
async fn what_is_known_is_skipped(
    #[case] facts: Vec<NumberedFact>,
    #[case] up_to: WorkerSeq,
    #[case] news: usize,
) {
    let bench = Bench::new().await;
    let id = start_warm(&bench.store, "repeats").await;
    let before = log(&bench.store, id).await.len();
    for (time, news) in [(1, news), (2, 0)] {
        let told = bench.store.append_facts(id, 1, facts.clone()).await.expect("facts");
        assert_eq!((told.up_to, told.events.len()), (up_to, news), "time {time}");
        assert_eq!(told.execution.worker_seq, up_to);
    }
    assert_eq!(log(&bench.store, id).await.len(), before + news);
}

/// Two connections of one worker: the old one is not yet known to be dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn facts_told_over_two_connections_are_committed_once() {
    let bench = Bench::new().await;
    let id = start_warm(&bench.store, "two connections").await;
    let before = log(&bench.store, id).await.len();
    let mut tasks = tokio::task::JoinSet::new();
    for size in [1, 2, 3, 7] {
        let store = bench.store.clone();
        tasks.spawn(async move {
            let mut events = 0;
            for from in (3..=42).step_by(size) {
                let count = (size as u64).min(43 - from);
                events +=
                    store.append_facts(id, 1, sentences(from, count)).await.expect("facts").events.len();
            }
            events
        });
    }
    let events: usize = tasks.join_all().await.into_iter().sum();
    assert_eq!(events, 40, "each fact was somebody's news once");
    let log = log(&bench.store, id).await;
    let numbers: Vec<_> = log[before..].iter().filter_map(|event| event.worker_seq).collect();
    assert_eq!(numbers, (3..=42).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_fenced_worker_is_heard_beside_the_log() {
    let mut bench = Bench::new().await;
    let id = start_warm(&bench.store, "fenced").await;
    gone(&bench.store, id, 1).await;
    assert_eq!(start_worker(&bench.store, id).await, 2);
    let before = (log(&bench.store, id).await, Picture::of(&bench.store).await);

    // It had told 1 and 2, and does not know that they arrived.
    for facts in [sentences(1, 3), sentences(2, 4), sentences(3, 3)] {
        let refused = refusal(bench.store.append_facts(id, 1, facts).await);
        assert_eq!(refused, Refusal::Fenced { told: 1, current: 2 });
    }
    assert_eq!(log(&bench.store, id).await, before.0, "nothing of it is in the log");
    before.1.assert_same(&Picture::of(&bench.store).await, "after a fenced worker's facts");
    bench.reopen().await;
    let side = bench.store.side_log(id, 10).await.expect("side log");
    assert!(side.iter().all(|fact| fact.incarnation == 1 && fact.at == START), "{side:?}");
    let kept: Vec<_> = side.into_iter().map(|fact| fact.fact).collect();
    assert_eq!(kept, sentences(3, 3), "what the log has not, once, in order");

    // The successor's numbers begin at 1 and have nothing to do with those.
    tell(&bench.store, id, 2, 1, vec![ready(), says("from the second")]).await;
    let last = log(&bench.store, id).await.pop().expect("an event");
    assert_eq!((last.incarnation, last.worker_seq), (Some(2), Some(2)));
}

#[tokio::test]
async fn facts_of_a_worker_that_is_gone_are_stale() {
    let bench = Bench::new().await;
    let id = start_warm(&bench.store, "gone").await;
    gone(&bench.store, id, 1).await;
    let before = log(&bench.store, id).await;
    let refused = refusal(bench.store.append_facts(id, 1, sentences(3, 1)).await);
    assert!(matches!(refused, Refusal::Stale(_)), "{refused:?}");
    assert_eq!(log(&bench.store, id).await, before);
    assert_eq!(bench.store.side_log(id, 10).await.expect("side log").len(), 1);
}

#[tokio::test]
async fn a_worker_that_was_never_started_is_fenced() {
    let bench = Bench::new().await;
    let id = start_warm(&bench.store, "impostor").await;
    let refused = refusal(bench.store.append_facts(id, 7, sentences(1, 1)).await);
    assert_eq!(refused, Refusal::Fenced { told: 7, current: 1 });
    assert_eq!(known(&bench.store, id).await.worker_seq, 2);
}

/// The successor is started while the old worker still tells: each fact is in the log or in the side
/// log, and the side log begins where the log's part ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn between_two_workers_no_fact_is_lost_or_doubled() {
    let bench = Bench::new().await;
    let id = start_warm(&bench.store, "hand over").await;
    let told = tokio::spawn({
        let store = bench.store.clone();
        async move {
            for n in 3..=60 {
                // Refused from some number on; the worker has them in its journal.
                drop(store.append_facts(id, 1, sentences(n, 1)).await);
            }
        }
    });
    while known(&bench.store, id).await.worker_seq < 10 {
        tokio::task::yield_now().await;
    }
    gone(&bench.store, id, 1).await;
    start_worker(&bench.store, id).await;
    told.await.expect("the worker");
    let log = log(&bench.store, id).await;
    let mut numbers: Vec<_> = log.iter().filter_map(|event| event.worker_seq).collect();
    let in_log = numbers.len();
    numbers.extend(bench.store.side_log(id, 100).await.expect("side log").iter().map(|fact| fact.fact.seq));
    assert_eq!(numbers, (1..=60).collect::<Vec<_>>(), "the log has the first {in_log}");
}

/// A fact may lead to several events, and each execution to several workers.
#[tokio::test]
async fn a_number_is_on_the_first_event_of_its_fact_alone() {
    let mut bench = Bench::new().await;
    let id = start_warm(&bench.store, "several events").await;
    tell(&bench.store, id, 1, 3, vec![asks("a"), result_of("a")]).await;
    tell(&bench.store, id, 1, 5, rests()).await;
    let told: Vec<_> = log(&bench.store, id)
        .await
        .into_iter()
        .filter(|event| event.incarnation.is_some())
        .map(|event| (event.body.kind(), event.worker_seq))
        .collect();
    assert_eq!(
        told,
        [
            ("worker_ready", Some(1)),
            ("message_delivered", Some(2)),
            ("hold_opened", Some(3)),
            ("tool_result", Some(4)),
            ("hold_cancelled", None),
            ("turn_ended", Some(5)),
            ("session_idle", Some(6)),
            ("hold_opened", None),
        ]
    );
    for incarnation in 2..=MAX_LOSSES_IN_A_ROW {
        gone(&bench.store, id, incarnation - 1).await;
        assert_eq!(start_worker(&bench.store, id).await, incarnation);
        tell(&bench.store, id, incarnation, 1, vec![ready()]).await;
        bench.reopen().await;
        let now = known(&bench.store, id).await;
        assert_eq!((now.incarnation, now.worker_seq), (incarnation, 1));
        assert_eq!(now.residency, Residency::Warm);
    }
}
