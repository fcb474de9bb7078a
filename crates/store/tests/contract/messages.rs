//! Messages reach the session once, whatever becomes of workers (invariant 11).

use holdpoint_model::event::SendMode;
use holdpoint_model::execution::Need;
use holdpoint_model::wire::Fact;
use holdpoint_model::{Command, DecisionRequest, ExecutionId, HoldKind, MessageId, Refusal, command::Gone};
use holdpoint_store::Store;

use crate::picture::assert_rebuild_is_live;
use crate::support::*;

/// At rest, with a reply given: its message waits. The hold and the message.
async fn replied(store: &Store) -> (ExecutionId, holdpoint_model::HoldId, MessageId) {
    let id = start_warm(store, "reply").await;
    tell_next(store, id, rests()).await;
    let hold = only_hold(store, id).await;
    assert_eq!(known(store, id).await.holds[&hold].kind, HoldKind::Reply);
    let request = DecisionRequest {
        action: "reply".into(),
        message: Some("go on".into()),
        ..DecisionRequest::default()
    };
    store.apply(id, Command::Decide { hold, request, by: person("grace") }).await.expect("reply");
    let message = known(store, id).await.messages[0].message.id;
    (id, hold, message)
}

async fn lose(store: &Store, id: ExecutionId, incarnation: u32) {
    let how = Gone::Lost { reason: "killed".into() };
    store.apply(id, Command::WorkerGone { incarnation, how }).await.expect("gone");
}

async fn phase(store: &Store, hold: holdpoint_model::HoldId) -> &'static str {
    store.hold(hold).await.expect("read").expect("a row").hold.state.as_str()
}

#[tokio::test]
async fn a_message_that_a_lost_worker_had_is_sent_again_by_the_next() {
    let mut bench = Bench::new().await;
    let (id, hold, message) = replied(&bench.store).await;
    assert_eq!(phase(&bench.store, hold).await, "answered");
    for incarnation in 1..=3 {
        let begin = Command::BeginMessage { message, incarnation };
        bench.store.apply(id, begin.clone()).await.expect("intent");
        assert_eq!(phase(&bench.store, hold).await, "releasing");
        let twice = refusal(bench.store.apply(id, begin.clone()).await);
        assert_eq!(twice, Refusal::Stale("the message was sent already"));
        lose(&bench.store, id, incarnation).await;
        bench.reopen().await;
        assert_eq!(phase(&bench.store, hold).await, "answered");
        let now = known(&bench.store, id).await;
        assert_eq!(now.messages.len(), 1);
        assert_eq!((now.messages[0].message.id, now.messages[0].sent_to), (message, None));
        assert_eq!(now.next(), [Need::StartWorker("a message has to be sent")]);
        assert_eq!(bench.store.needing_attention().await.expect("attention"), [id]);
        assert_eq!(start_worker(&bench.store, id).await, incarnation + 1);
        tell(&bench.store, id, incarnation + 1, 1, vec![ready()]).await;
        let old = refusal(bench.store.apply(id, begin).await);
        assert_eq!(old, Refusal::Fenced { told: incarnation, current: incarnation + 1 });
    }
    bench.store.apply(id, Command::BeginMessage { message, incarnation: 4 }).await.expect("intent");
    tell_next(&bench.store, id, vec![Fact::MessageDelivered { message }]).await;
    assert_eq!(phase(&bench.store, hold).await, "released");
    // Told again, by a worker that found it in the transcript: nothing is delivered twice.
    tell_next(&bench.store, id, vec![Fact::MessageDelivered { message }]).await;
    let delivered = bench.store.events_of_kind(id, &["message_delivered"], 0, 10).await.expect("events");
    assert_eq!(delivered.len(), 2, "the first message and the reply");
    assert_rebuild_is_live(&mut bench).await;
}

#[tokio::test]
async fn messages_wait_in_order_and_one_goes_at_a_time() {
    let mut bench = Bench::new().await;
    let id = start(&bench.store, "queue").await;
    for text in ["second", "third"] {
        let command =
            Command::Message { text: text.into(), files: vec![], mode: SendMode::Queue, by: person("ada") };
        bench.store.apply(id, command).await.expect("message");
    }
    start_worker(&bench.store, id).await;
    tell(&bench.store, id, 1, 1, vec![ready()]).await;
    bench.reopen().await;
    for (n, text) in ["do it", "second", "third"].into_iter().enumerate() {
        let now = known(&bench.store, id).await;
        let waiting: Vec<_> = now.messages.iter().map(|pending| pending.message.text.as_str()).collect();
        assert_eq!(waiting, ["do it", "second", "third"][n..]);
        let message = now.messages[0].message.id;
        assert_eq!(now.next(), [Need::Send(message)]);
        for later in &now.messages[1..] {
            bench
                .store
                .apply(id, Command::BeginMessage { message, incarnation: 1 })
                .await
                .map_or_else(|error| assert!(error.to_string().contains("sent already"), "{error}"), drop);
            let early = Command::BeginMessage { message: later.message.id, incarnation: 1 };
            assert!(matches!(refusal(bench.store.apply(id, early).await), Refusal::Stale(_)), "{text}");
        }
        if now.messages.len() == 1 {
            bench.store.apply(id, Command::BeginMessage { message, incarnation: 1 }).await.expect("intent");
        }
        let ended = Fact::TurnEnded(turn_ended());
        tell_next(&bench.store, id, vec![Fact::MessageDelivered { message }, ended]).await;
    }
}

/// A dozen reconcilers that all want to send the same message.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_intent_is_committed_whoever_asks() {
    let bench = Bench::new().await;
    let (id, _, message) = replied(&bench.store).await;
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let store = bench.store.clone();
        senders
            .spawn(async move { store.apply(id, Command::BeginMessage { message, incarnation: 1 }).await });
    }
    let sent = senders.join_all().await.into_iter().filter(Result::is_ok).count();
    let intents = bench.store.events_of_kind(id, &["message_intent"], 0, 10).await.expect("events");
    assert_eq!((sent, intents.len()), (1, 2), "the first message and the reply");
}
