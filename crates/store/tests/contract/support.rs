//! What the tests share: a way to open a store, a clock and ids that are the same in every run, and
//! an execution's first steps.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use holdpoint_model::event::{AssistantBlock, Block, Created};
use holdpoint_model::wire::{Fact, NumberedFact};
use holdpoint_model::{
    Actor, AgentDef, Channel, Command, DecisionRequest, ExecutionId, HoldId, Incarnation, SessionId, UnixMs,
    UserId, WorkerSeq,
};
use holdpoint_store::{CreateOutcome, Store, StoreOptions};
use serde_json::json;
use uuid::Uuid;

/// Where the tests' time begins.
pub(crate) const START: UnixMs = 1_700_000_000_000;

/// A clock that stands still.
#[derive(Clone, Default)]
pub(crate) struct TestClock(Arc<AtomicI64>);

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

pub(crate) fn options(clock: &TestClock) -> StoreOptions {
    let clock = clock.clone();
    StoreOptions {
        clock: Arc::new(move || START + clock.0.load(Ordering::SeqCst)),
        ids: Arc::new(fresh),
        ..StoreOptions::default()
    }
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

pub(crate) fn created(title: &str, owner: &str) -> Created {
    Created {
        agent: "claude".into(),
        definition: AgentDef::builtin(),
        title: title.into(),
        owner: person(owner),
        session: SessionId(fresh()),
        inputs: std::collections::BTreeMap::new(),
        rehearsal: false,
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
