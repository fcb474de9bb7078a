//! Group commit: requests share a commit and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use holdpoint_model::{CallId, Command, EventBody, ExecutionId, HoldId, Refusal, Role};
use holdpoint_store::{Applied, ApplyError, Idempotency, Store, StoreError, StoreOptions};
use rstest::rstest;

use crate::picture::Picture;
use crate::random::{completed_call, new_call};
use crate::support::*;

fn notice_of(applied: &Applied) -> &str {
    match applied.events.as_slice() {
        [event] => match &event.body {
            EventBody::Notice { text, .. } => text,
            other => panic!("not the caller's event: {other:?}"),
        },
        other => panic!("not one event: {other:?}"),
    }
}

#[tokio::test]
async fn each_caller_gets_its_own_events() {
    let bench = Bench::new().await;
    let ids = [start(&bench.store, "one").await, start(&bench.store, "two").await];
    let texts: Vec<String> = (0..40).map(|n| format!("notice {n}")).collect();
    let answers = at_once(
        texts.iter().enumerate().map(|(n, text)| bench.store.apply(ids[n % ids.len()], notice(text))),
    )
    .await;
    for (n, answer) in answers.into_iter().enumerate() {
        let applied = answer.expect("a notice");
        assert_eq!(notice_of(&applied), texts[n]);
        assert_eq!(applied.events[0].execution, ids[n % ids.len()]);
        // The state is that of the commit, which all of them shared.
        assert_eq!(applied.execution.seq, 2 + 20, "the requests were not in one commit");
    }
}

/// A request that fails, in whatever state it has brought the batch by then.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Failing {
    Refused,
    Gap,
    UnknownExecution,
    TakenId,
    OtherRequestWithTheKey,
    TakenName,
    TakenLink,
    UnknownReplay,
    Panic,
    PanicAfterWriting,
}

struct Failure<'a> {
    store: &'a Store,
    id: ExecutionId,
    open_call: CallId,
    panics: &'a Panics,
}

/// Where a part that was given to the store panics, once.
#[derive(Default)]
struct Panics {
    next_id: AtomicBool,
    /// When this many more times were asked for; 0 for never.
    clock: AtomicUsize,
}

impl Panics {
    fn on_id(&self) {
        assert!(!self.next_id.swap(false, Ordering::SeqCst), "this panic is part of the test");
    }

    fn on_clock(&self) {
        let left = self.clock.load(Ordering::SeqCst);
        self.clock.store(left.saturating_sub(1), Ordering::SeqCst);
        assert!(left != 1, "this panic is part of the test");
    }
}

impl<'a> Failure<'a> {
    /// The request, before which so many others of the batch ask for the time.
    fn request(&self, failing: Failing, before: usize) -> BoxFuture<'a, Result<(), ApplyError>> {
        let Self { store, id, open_call, panics } = *self;
        let by = person("grace");
        match failing {
            Failing::Refused => {
                let command = Command::Decide { hold: HoldId(fresh()), request: allow(), by };
                store.apply(id, command).map(|outcome| outcome.map(drop)).boxed()
            }
            Failing::Gap => {
                // The first of them could be taken by itself.
                let mut facts = numbered(3, vec![says("half of it"), says("never")]);
                facts[1].seq = 9;
                store.append_facts(id, 1, facts).map(|outcome| outcome.map(drop)).boxed()
            }
            Failing::UnknownExecution => {
                store.apply(ExecutionId(fresh()), notice("x")).map(|outcome| outcome.map(drop)).boxed()
            }
            Failing::TakenId => async move {
                store.create(id, created("x", "grace"), "x".into(), vec![], None).await?;
                Ok(())
            }
            .boxed(),
            Failing::OtherRequestWithTheKey => async move {
                let idempotency = Some(key("key", "another request"));
                let other = ExecutionId(fresh());
                store.create(other, created("x", "ada"), "x".into(), vec![], idempotency).await?;
                Ok(())
            }
            .boxed(),
            Failing::TakenName => async move {
                store.create_user("ADA", Role::Viewer, None).await?;
                Ok(())
            }
            .boxed(),
            Failing::TakenLink => async move {
                store.create_link([7; 32], "sign in", START + 1).await?;
                Ok(())
            }
            .boxed(),
            Failing::UnknownReplay => {
                store.note_replay(id, 1, CallId(fresh())).map(|outcome| outcome.map(drop)).boxed()
            }
            Failing::Panic => {
                panics.next_id.store(true, Ordering::SeqCst);
                // The first fact is folded in by the time that the second one needs an id.
                let facts = numbered(3, vec![says("half of it"), asks("never")]);
                store.append_facts(id, 1, facts).map(|outcome| outcome.map(drop)).boxed()
            }
            Failing::PanicAfterWriting => {
                // Its event is written by the time that it asks for the time once more.
                panics.clock.store(before + 2, Ordering::SeqCst);
                let done = completed_call(1);
                store.complete_call(open_call, done).map(|outcome| outcome.map(drop)).boxed()
            }
        }
    }
}

fn key(key: &str, request: &str) -> Idempotency {
    Idempotency {
        user: person("ada").user.expect("a user"),
        key: key.into(),
        request: holdpoint_model::Digest::of_bytes(request.as_bytes()),
    }
}

fn is_the_reason(failing: Failing, error: &ApplyError) -> bool {
    match failing {
        Failing::Refused => matches!(error, ApplyError::Refused(Refusal::UnknownHold)),
        Failing::Gap => matches!(error, ApplyError::Refused(Refusal::Gap { expected: 4, got: 9 })),
        Failing::UnknownExecution => matches!(error, ApplyError::UnknownExecution),
        Failing::TakenId | Failing::TakenName => {
            matches!(error, ApplyError::Store(StoreError::Exists { .. }))
        }
        Failing::OtherRequestWithTheKey => {
            matches!(error, ApplyError::Store(StoreError::IdempotencyConflict { .. }))
        }
        Failing::TakenLink => matches!(error, ApplyError::Store(StoreError::Database(_))),
        Failing::UnknownReplay => matches!(error, ApplyError::Store(StoreError::Missing { .. })),
        Failing::Panic | Failing::PanicAfterWriting => {
            matches!(error, ApplyError::Store(StoreError::Corrupt(why)) if why.contains("panicked"))
        }
    }
}

/// A bench whose ids and whose clock panic when told to.
async fn bench_with_panics() -> (Bench, Arc<Panics>) {
    let folder = tempfile::tempdir().expect("folder");
    let clock = TestClock::default();
    let panics = Arc::new(Panics::default());
    let (of_ids, of_clock, time) = (Arc::clone(&panics), Arc::clone(&panics), clock.clone());
    let options = StoreOptions {
        ids: Arc::new(move || {
            of_ids.on_id();
            fresh()
        }),
        clock: Arc::new(move || {
            of_clock.on_clock();
            time.now()
        }),
        ..options(&clock)
    };
    let store = Store::open(&folder.path().join("data.db"), options).await.expect("open");
    (Bench { store, clock, folder }, panics)
}

/// Alone, or anywhere among others that change the same execution and another one: it fails with its
/// own reason, leaves no trace, and the others are committed and answered.
#[rstest]
#[tokio::test]
async fn a_request_that_fails_undoes_itself_alone(
    #[values(
        Failing::Refused,
        Failing::Gap,
        Failing::UnknownExecution,
        Failing::TakenId,
        Failing::OtherRequestWithTheKey,
        Failing::TakenName,
        Failing::TakenLink,
        Failing::UnknownReplay,
        Failing::Panic,
        Failing::PanicAfterWriting
    )]
    failing: Failing,
) {
    let (mut bench, panics) = bench_with_panics().await;
    let id = start_warm(&bench.store, "the same").await;
    let other = start_warm(&bench.store, "another").await;
    bench.store.create_user("ada", Role::Asker, None).await.expect("user");
    bench.store.create_link([7; 32], "sign in", START + 1).await.expect("link");
    let first = ExecutionId(fresh());
    let keyed = Some(key("key", "one request"));
    bench.store.create(first, created("keyed", "ada"), "x".into(), vec![], keyed).await.expect("create");
    let open_call = bench.store.begin_call(new_call(id, 1)).await.expect("begin");
    let failure = Failure { store: &bench.store, id, open_call, panics: &panics };

    let before = Picture::of(&bench.store).await;
    let alone = failure.request(failing, 0).await.expect_err("alone, it has to fail");
    assert!(is_the_reason(failing, &alone), "alone: {alone:?}");
    before.assert_same(&Picture::of(&bench.store).await, "after a request that failed alone");

    for at in 0..=4 {
        let told = [log(&bench.store, id).await.len(), log(&bench.store, other).await.len()];
        let texts: Vec<String> = (0..4).map(|n| format!("{at} {n}")).collect();
        let mut requests: Vec<BoxFuture<'_, Result<Option<Applied>, ApplyError>>> = Vec::new();
        for (n, text) in texts.iter().enumerate() {
            let whose = if n % 2 == 0 { id } else { other };
            requests.push(bench.store.apply(whose, notice(text)).map(|outcome| outcome.map(Some)).boxed());
        }
        requests.insert(at, failure.request(failing, at).map(|outcome| outcome.map(|()| None)).boxed());
        let mut answers = at_once(requests).await;
        let failed = answers.remove(at).expect_err("it has to fail");
        assert!(is_the_reason(failing, &failed), "as request {at}: {failed:?}");
        for (answer, text) in answers.into_iter().zip(&texts) {
            let applied = answer.expect("the others are committed").expect("a notice");
            assert_eq!(notice_of(&applied), text);
        }
        for (whose, told) in [id, other].into_iter().zip(told) {
            let log = log(&bench.store, whose).await;
            let news: Vec<_> = log[told..].iter().map(|event| event.body.kind()).collect();
            assert_eq!(news, ["notice", "notice"], "with the failing request as number {at}");
        }
    }
    // Also on the disk, and in what is kept in memory.
    crate::picture::assert_rebuild_is_live(&mut bench).await;
    tell(&bench.store, id, 1, 3, vec![says("the worker goes on where it was")]).await;
}

/// A request that changes nothing is answered from the same commit as all others: also when one of
/// those fails, and whatever that one had touched.
#[rstest]
#[tokio::test]
async fn a_repeat_is_answered_beside_a_request_that_fails(
    #[values(Failing::TakenName, Failing::Panic, Failing::PanicAfterWriting)] failing: Failing,
    #[values(false, true)] repeat_first: bool,
) {
    let (bench, panics) = bench_with_panics().await;
    let id = start_warm(&bench.store, "repeats").await;
    bench.store.create_user("ada", Role::Asker, None).await.expect("user");
    let open_call = bench.store.begin_call(new_call(id, 1)).await.expect("begin");
    let failure = Failure { store: &bench.store, id, open_call, panics: &panics };
    let repeat = async {
        let repeated = bench.store.append_facts(id, 1, numbered(1, vec![ready()])).await?;
        assert_eq!((repeated.up_to, repeated.events.len(), repeated.execution.id), (2, 0, id));
        Ok(())
    };
    let mut requests = vec![repeat.boxed(), failure.request(failing, 0)];
    if !repeat_first {
        requests.reverse();
    }
    let mut answers = at_once(requests).await;
    if !repeat_first {
        answers.reverse();
    }
    let failed = answers.pop().expect("two").expect_err("it has to fail");
    assert!(is_the_reason(failing, &failed), "{failed:?}");
    answers.pop().expect("two").expect("a repeat is no failure");
}

/// More requests than one commit takes.
#[tokio::test]
async fn a_queue_longer_than_a_commit_is_worked_off() {
    let bench = Bench::new().await;
    let id = start(&bench.store, "long queue").await;
    let texts: Vec<String> = (0..700).map(|n| n.to_string()).collect();
    let answers = at_once(texts.iter().map(|text| bench.store.apply(id, notice(text)))).await;
    let mut numbers = Vec::new();
    for (answer, text) in answers.into_iter().zip(&texts) {
        let applied = answer.expect("a notice");
        assert_eq!(notice_of(&applied), text);
        numbers.push(applied.events[0].seq);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (3..703).collect::<Vec<_>>());
}
