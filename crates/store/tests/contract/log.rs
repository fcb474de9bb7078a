//! The log: numbers, order, and what is read back.

use std::collections::BTreeMap;

use holdpoint_model::wire::Fact;
use holdpoint_model::{Command, Event, EventBody, ExecutionId, Status};
use holdpoint_store::{ApplyError, StoreError};
use serde_json::json;

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

/// Ten executions, each with a worker that tells facts and people who send commands, all at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn numbers_have_no_gap_and_no_double_whoever_writes() {
    const EXECUTIONS: usize = 10;
    const PEOPLE: usize = 4;
    const TIMES: usize = 20;
    let bench = Bench::new().await;
    let mut writers = tokio::task::JoinSet::new();
    let mut ids = Vec::new();
    for n in 0..EXECUTIONS {
        let id = start_warm(&bench.store, &format!("execution {n}")).await;
        ids.push(id);
        let store = bench.store.clone();
        writers.spawn(async move {
            let mut answered = Vec::new();
            for n in 0..TIMES {
                let from = 3 + 2 * n as u64;
                let facts = numbered(from, vec![says(&format!("{n}a")), says(&format!("{n}b"))]);
                let told = store.append_facts(id, 1, facts).await.expect("facts");
                assert_eq!(told.up_to, from + 1);
                answered.extend(told.events);
            }
            answered
        });
        for person in 0..PEOPLE {
            let store = bench.store.clone();
            writers.spawn(async move {
                let mut answered = Vec::new();
                for n in 0..TIMES {
                    let applied = store.apply(id, notice(&format!("{person} {n}"))).await.expect("notice");
                    answered.extend(applied.events);
                }
                answered
            });
        }
    }
    let mut answered: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    while let Some(events) = writers.join_next().await {
        let events = events.expect("a writer");
        assert!(
            events.windows(2).all(|pair| pair[0].seq < pair[1].seq),
            "one writer's events keep its order"
        );
        for event in events {
            let double = answered.entry(event.execution).or_default().insert(event.seq, event);
            assert!(double.is_none(), "two callers got {double:?}");
        }
    }
    for id in ids {
        let log = log(&bench.store, id).await;
        let answered = &answered[&id];
        assert_eq!(answered.len(), TIMES * (2 + PEOPLE));
        let first = *answered.keys().next().expect("events");
        assert_eq!(log.len() as u64, first - 1 + answered.len() as u64, "each event has one caller");
        for event in &log[first as usize - 1..] {
            assert_eq!(Some(event), answered.get(&event.seq).map(|event| &**event), "as it was answered");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hint_comes_after_what_it_hints_at() {
    let bench = Bench::new().await;
    let mut hints = bench.store.hints();
    let id = start_warm(&bench.store, "hinted").await;
    let writer = tokio::spawn({
        let store = bench.store.clone();
        async move {
            for n in 0..50 {
                store.apply(id, notice(&format!("{n}"))).await.expect("notice");
            }
            known(&store, id).await.seq
        }
    });
    let mut seen = 0;
    while seen < 50 {
        let hint = hints.recv().await.expect("a hint");
        assert_eq!(hint.execution, id);
        assert!(hint.seq > seen, "hints go forward: {} after {seen}", hint.seq);
        let event = bench.store.event(id, hint.seq).await.expect("read");
        assert!(event.is_some(), "{} was hinted at and cannot be read", hint.seq);
        assert!(known(&bench.store, id).await.seq >= hint.seq, "the state is older than the hint");
        seen = hint.seq;
    }
    let last = writer.await.expect("the writer");
    while seen < last {
        seen = hints.recv().await.expect("a hint").seq;
    }
    assert_eq!(seen, last, "the last hint is the last event");
}

/// Whoever follows one log is woken by that one alone, also when others stopped following it before.
#[tokio::test]
async fn a_hint_of_one_log() {
    let bench = Bench::new().await;
    let (mine, other) = (start_warm(&bench.store, "mine").await, start_warm(&bench.store, "other").await);
    drop((bench.store.hints_of(mine), bench.store.hints_of(other)));
    let mut hints = bench.store.hints_of(mine);
    let mut also = bench.store.hints_of(mine);
    bench.store.apply(other, notice("other")).await.expect("notice");
    assert!(!hints.has_changed().expect("open"));
    bench.store.apply(mine, notice("mine")).await.expect("notice");
    let last = known(&bench.store, mine).await.seq;
    for hints in [&mut hints, &mut also] {
        hints.changed().await.expect("a hint");
        assert_eq!(*hints.borrow_and_update(), last);
        assert!(bench.store.event(mine, last).await.expect("read").is_some());
    }
}

/// The data of every kind of number and text comes back as it was told: digests depend on it.
#[tokio::test]
async fn what_was_told_comes_back_bit_by_bit() {
    let bench = Bench::new().await;
    let id = start_warm(&bench.store, "bits").await;
    let frame = json!({
        "float": 0.1, "huge": 1e300, "beyond i64": 18_446_744_073_709_551_615_u64, "negative": -1,
        "text": "quote \" brace } nul \u{0} smile \u{1f600}", "kind": "data", "nested": [[], {}, null],
    });
    tell_next(&bench.store, id, vec![Fact::CliFrame { name: "a/\"b".into(), frame: frame.clone() }]).await;
    let last = log(&bench.store, id).await.pop().expect("an event");
    assert_eq!(last.body, EventBody::CliFrame { name: "a/\"b".into(), frame });
    assert_eq!((last.incarnation, last.worker_seq), (Some(1), Some(3)));
}

#[tokio::test]
async fn a_log_is_read_in_pages_and_by_kind() {
    let bench = Bench::new().await;
    let id = start_warm(&bench.store, "pages").await;
    for n in 0..20 {
        bench.store.apply(id, notice(&format!("{n}"))).await.expect("notice");
        tell_next(&bench.store, id, vec![says(&format!("{n}"))]).await;
    }
    let whole = log(&bench.store, id).await;
    for limit in [1, 7, 100] {
        let mut read: Vec<Event> = Vec::new();
        loop {
            let after = read.last().map_or(0, |event| event.seq);
            let page = bench.store.events(id, after, limit).await.expect("page");
            assert!(page.len() <= limit as usize);
            if page.is_empty() {
                break;
            }
            read.extend(page);
        }
        assert_eq!(read, whole, "in pages of {limit}");
    }
    let wanted = ["notice", "message_queued"];
    let some = bench.store.events_of_kind(id, &wanted, 0, 100).await.expect("events");
    let expected: Vec<_> = whole.into_iter().filter(|event| wanted.contains(&event.body.kind())).collect();
    assert_eq!((some.len(), &some), (21, &expected));
    let middle = expected[10].seq;
    let page = bench.store.events_of_kind(id, &wanted, middle, 3).await.expect("events");
    assert_eq!(page, expected[11..14]);
}

#[tokio::test]
async fn nothing_is_read_of_an_execution_that_is_not_there() {
    let bench = Bench::new().await;
    let nobody = ExecutionId(fresh());
    assert!(bench.store.execution(nobody).await.expect("read").is_none());
    assert!(bench.store.events(nobody, 0, 10).await.expect("read").is_empty());
    assert!(bench.store.event(nobody, 1).await.expect("read").is_none());
    assert_eq!(bench.store.cost_of(nobody).await.expect("read"), 0);
    let outcome = bench.store.apply(nobody, notice("to nobody")).await;
    assert!(matches!(outcome, Err(ApplyError::UnknownExecution)), "{outcome:?}");
    let outcome = bench.store.append_facts(nobody, 1, numbered(1, vec![ready()])).await;
    assert!(matches!(outcome, Err(ApplyError::UnknownExecution)), "{outcome:?}");
}

#[tokio::test]
async fn an_id_is_given_out_once() {
    let bench = Bench::new().await;
    let id = start(&bench.store, "first").await;
    let second = bench.store.create(id, created("second", "grace"), "again".into(), vec![], None).await;
    assert!(matches!(second, Err(StoreError::Exists { what: "execution" })), "{second:?}");
    assert_eq!(known(&bench.store, id).await.title, "first");
    assert_eq!(log(&bench.store, id).await.len(), 2);
}

#[tokio::test]
async fn a_store_that_was_closed_says_so() {
    let bench = Bench::new().await;
    let id = start(&bench.store, "closed").await;
    bench.store.close().await;
    bench.store.close().await;
    let written = bench.store.apply(id, notice("too late")).await;
    assert!(matches!(written, Err(ApplyError::Store(StoreError::Closed))), "{written:?}");
    let read = bench.store.events(id, 0, 1).await;
    assert!(matches!(read, Err(StoreError::Closed)), "{read:?}");
}
