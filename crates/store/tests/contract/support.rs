//! What the tests share: a way to open a store, a clock and ids that are the same in every run, and
//! an execution's first steps.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use holdpoint_model::event::{AssistantBlock, Block, Created, Level, ToolResult, TurnResult};
use holdpoint_model::hold::Assignee;
use holdpoint_model::wire::{Fact, NumberedFact};
use holdpoint_model::{
    Actor, AgentDef, Budgets, Channel, Command, DecisionRequest, Event, Execution, ExecutionId, HoldId,
    Incarnation, Refusal, SessionId, UnixMs, UserId, WorkerSeq,
};
use holdpoint_store::{Applied, ApplyError, CreateOutcome, Store, StoreOptions};
use serde_json::json;
use uuid::Uuid;

/// Where the tests' time begins.
pub(crate) const START: UnixMs = 1_700_000_000_000;

/// A clock that stands still until it is moved.
#[derive(Clone, Default)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub(crate) fn now(&self) -> UnixMs {
        START + self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn set(&self, now: UnixMs) {
        self.0.store(now - START, Ordering::SeqCst);
    }

    pub(crate) fn advance(&self, ms: UnixMs) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

/// A store in its own folder.
pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) clock: TestClock,
    pub(crate) folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let clock = TestClock::default();
        let store = open(&folder.path().join("data.db"), &clock).await;
        Self { store, clock, folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("data.db")
    }

    /// Closes the store and opens its file again.
    pub(crate) async fn reopen(&mut self) {
        self.store.close().await;
        self.store = open(&self.path(), &self.clock).await;
    }
}

/// The one way in which the suite opens a store: another database joins here.
pub(crate) async fn open(path: &Path, clock: &TestClock) -> Store {
    Store::open(path, options(clock)).await.expect("open")
}

/// The same with budgets that conversations share.
pub(crate) async fn open_with(path: &Path, clock: &TestClock, budgets: &Budgets) -> Store {
    let options = StoreOptions { budgets: Arc::new(budgets.clone()), ..options(clock) };
    Store::open(path, options).await.expect("open")
}

pub(crate) fn options(clock: &TestClock) -> StoreOptions {
    let clock = clock.clone();
    StoreOptions { clock: Arc::new(move || clock.now()), ids: Arc::new(fresh), ..StoreOptions::default() }
}

/// Ids in order; unique in this process.
pub(crate) fn fresh() -> Uuid {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Uuid::from_u64_pair(0x0190_0000_0000_7000, 0x8000_0000_0000_0000 | NEXT.fetch_add(1, Ordering::SeqCst))
}

pub(crate) fn person(name: &str) -> Actor {
    let id = name.bytes().fold(7_u128, |sum, byte| sum * 31 + u128::from(byte));
    Actor { user: Some(UserId(Uuid::from_u128(id))), name: name.into(), channel: Channel::Browser }
}

pub(crate) fn assignee(name: &str) -> Assignee {
    Assignee { user: person(name).user.expect("a person"), name: name.into() }
}

pub(crate) fn created(title: &str, owner: &str) -> Created {
    Created {
        agent: "claude".into(),
        definition: AgentDef::builtin(),
        title: title.into(),
        owner: person(owner),
        session: SessionId(fresh()),
        inputs: std::collections::BTreeMap::new(),
        rehearsal: false,
        forked_from: None,
        release: None,
    }
}

/// An execution with its first message.
pub(crate) async fn start(store: &Store, title: &str) -> ExecutionId {
    let id = ExecutionId(fresh());
    match store.create(id, created(title, "ada"), "do it".into(), vec![], None).await.expect("create") {
        CreateOutcome::New(_) => id,
        CreateOutcome::Existing(other) => panic!("{other} existed"),
    }
}

/// An execution whose first worker is warm and has the first message: facts 1 and 2 are told.
pub(crate) async fn start_warm(store: &Store, title: &str) -> ExecutionId {
    let id = start(store, title).await;
    start_worker(store, id).await;
    let message = store.execution(id).await.expect("read").expect("known").messages[0].message.id;
    store.apply(id, Command::BeginMessage { message, incarnation: 1 }).await.expect("intent");
    tell(store, id, 1, 1, vec![ready(), Fact::MessageDelivered { message }]).await;
    id
}

pub(crate) async fn start_worker(store: &Store, id: ExecutionId) -> Incarnation {
    let command = Command::StartWorker { engine: "process".into(), reason: "a test".into() };
    store.apply(id, command).await.expect("start worker").execution.incarnation
}

pub(crate) fn ready() -> Fact {
    Fact::SessionReady { cli_version: "2.1.330".into(), resumed: false }
}

pub(crate) fn numbered(from: WorkerSeq, facts: Vec<Fact>) -> Vec<NumberedFact> {
    (from..).zip(facts).map(|(seq, fact)| NumberedFact { seq, at: START, fact }).collect()
}

pub(crate) async fn tell(
    store: &Store,
    id: ExecutionId,
    incarnation: Incarnation,
    from: WorkerSeq,
    facts: Vec<Fact>,
) {
    store.append_facts(id, incarnation, numbered(from, facts)).await.expect("facts");
}

pub(crate) fn says(text: &str) -> Fact {
    Fact::Assistant(AssistantBlock {
        message_id: "msg".into(),
        block: Block::Text { text: text.into() },
        parent_tool_use_id: None,
    })
}

pub(crate) fn asks(call: &str) -> Fact {
    Fact::Asked {
        tool_use_id: call.into(),
        tool: "Bash".into(),
        input: json!({"command": format!("make {call}"), "nice": 0.1}),
        place: None,
        description: None,
        agent_id: None,
    }
}

pub(crate) fn allow() -> DecisionRequest {
    DecisionRequest { action: "allow".into(), ..DecisionRequest::default() }
}

pub(crate) async fn only_hold(store: &Store, id: ExecutionId) -> HoldId {
    let execution = store.execution(id).await.expect("read").expect("known");
    assert_eq!(execution.holds.len(), 1, "{:?}", execution.holds);
    *execution.holds.keys().next().expect("one")
}

pub(crate) fn deny() -> DecisionRequest {
    DecisionRequest { action: "deny".into(), ..DecisionRequest::default() }
}

pub(crate) fn result_of(call: &str) -> Fact {
    Fact::ToolResult(ToolResult {
        tool_use_id: call.into(),
        is_error: false,
        content: "done".into(),
        truncated: false,
        patch: None,
        from_transcript: false,
    })
}

/// The turn is over, and nothing follows by itself.
pub(crate) fn rests() -> Vec<Fact> {
    vec![Fact::TurnEnded(turn_ended()), Fact::Idle]
}

pub(crate) fn turn_ended() -> TurnResult {
    TurnResult {
        ok: true,
        reason: "completed".into(),
        text: "all done".into(),
        structured: None,
        num_turns: 1,
        api_status: None,
        interrupted: false,
    }
}

pub(crate) fn notice(text: &str) -> Command {
    Command::Notice { level: Level::Info, text: text.into() }
}

pub(crate) async fn known(store: &Store, id: ExecutionId) -> Arc<Execution> {
    store.execution(id).await.expect("read").expect("known")
}

/// The next facts of the present worker.
pub(crate) async fn tell_next(store: &Store, id: ExecutionId, facts: Vec<Fact>) {
    let now = known(store, id).await;
    tell(store, id, now.incarnation, now.worker_seq + 1, facts).await;
}

/// The unsettled hold over a tool call.
pub(crate) async fn hold_of(store: &Store, id: ExecutionId, call: &str) -> HoldId {
    known(store, id).await.hold_of_call(call).unwrap_or_else(|| panic!("no hold over {call}")).id
}

pub(crate) async fn decide(store: &Store, id: ExecutionId, hold: HoldId, name: &str) {
    store.apply(id, Command::Decide { hold, request: allow(), by: person(name) }).await.expect("decide");
}

/// An answer of the n-th person: every other one refuses.
pub(crate) async fn answer(
    store: &Store,
    id: ExecutionId,
    hold: HoldId,
    n: usize,
) -> Result<Applied, ApplyError> {
    let request = if n.is_multiple_of(2) { allow() } else { deny() };
    store.apply(id, Command::Decide { hold, request, by: person(&format!("person {n}")) }).await
}

/// The whole log, which has no gap and no double.
pub(crate) async fn log(store: &Store, id: ExecutionId) -> Vec<Event> {
    let events = store.events(id, 0, u32::MAX).await.expect("events");
    for (expected, event) in (1..).zip(&events) {
        assert_eq!(event.seq, expected, "a gap or a double in the log of {id}");
    }
    events
}

/// Makes requests that the store takes into one commit: on one thread, the writer only runs once all of
/// them wait. Answers come in the order of the requests.
pub(crate) async fn at_once<F: Future>(requests: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    futures::future::join_all(requests).await
}

/// Why a request was refused; anything else is a failure of the test.
pub(crate) fn refusal<T: std::fmt::Debug>(outcome: Result<T, ApplyError>) -> Refusal {
    match outcome {
        Err(ApplyError::Refused(refusal)) => refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}
