//! Executions with realistic events, made through the store as a worker and people would make them.

use std::collections::BTreeMap;

use holdpoint_model::{
    Actor, AgentDef, Command, DecisionRequest, ExecutionId, HoldId, HoldKind, Lock, SessionId,
    command::Gone,
    event::{AssistantBlock, Block, Created, ModelCall, ResultFile, SendMode, ToolResult, TurnResult},
    form::{FieldKind, FormField},
    lock::{LOCK_VERSION, PluginLock, policy_digest, settings_digest},
    pricing::Tokens,
    wire::{Fact, NumberedFact},
};
use holdpoint_store::{CreateOutcome, Store};
use serde_json::{Value, json};
use uuid::Uuid;

/// The agents of the test installation.
pub(crate) fn agents() -> BTreeMap<String, AgentDef> {
    let field = |name: &str, label: &str, kind, required| FormField {
        name: name.into(),
        label: label.into(),
        kind,
        required,
        ..FormField::default()
    };
    let reviewer = AgentDef {
        title: "Contract reviewer".into(),
        description: "Reads a contract, lists **risks** by clause and drafts the answer to the other side."
            .into(),
        form: vec![
            field("party", "Who is the other side?", FieldKind::Text, true),
            FormField {
                options: vec!["English".into(), "Deutsch".into(), "Français".into()],
                value: "English".into(),
                ..field("language", "Language of the answer", FieldKind::Select, true)
            },
            field("amount", "Amount in dispute", FieldKind::Number, false),
            field("strict", "Quote every clause in full", FieldKind::Checkbox, false),
            field("notes", "What should be looked at first?", FieldKind::Area, false),
        ],
        prompt: "Review the contract with {{party}}. Language: {{language}}. {{notes}}".into(),
        ..AgentDef::default()
    };
    BTreeMap::from([("claude".to_owned(), AgentDef::builtin()), ("reviewer".to_owned(), reviewer)])
}

/// What a release of these agents is made of; `revision` is the commit of its one plugin.
pub(crate) fn lock(revision: &str) -> Lock {
    let agents = agents();
    Lock {
        version: LOCK_VERSION,
        holdpoint: "0.1.0".into(),
        claude_cli: "2.1.330".into(),
        settings: settings_digest(&agents),
        policy: policy_digest(&agents),
        base: None,
        dependencies: None,
        configuration: None,
        image: None,
        sources: BTreeMap::new(),
        plugins: vec![PluginLock {
            marketplace: "tools".into(),
            plugin: Some("review".into()),
            from: "https://git.example.org/tools".into(),
            revision: revision.into(),
        }],
    }
}

/// One execution and the worker that plays it.
pub(crate) struct Seed {
    pub(crate) store: Store,
    pub(crate) id: ExecutionId,
    incarnation: u32,
    worker_seq: u64,
    blocks: u32,
}

impl Seed {
    /// A new execution.
    pub(crate) async fn create(store: &Store, owner: &Actor, title: &str, prompt: &str) -> Self {
        Self::create_with(store, owner, title, prompt, "claude", AgentDef::builtin(), true).await
    }

    pub(crate) async fn create_with(
        store: &Store,
        owner: &Actor,
        title: &str,
        prompt: &str,
        agent: &str,
        definition: AgentDef,
        rehearsal: bool,
    ) -> Self {
        let id = ExecutionId(Uuid::now_v7());
        let created = Created {
            agent: agent.into(),
            definition,
            title: title.into(),
            owner: owner.clone(),
            session: SessionId(Uuid::now_v7()),
            inputs: BTreeMap::from([("prompt".to_owned(), prompt.to_owned())]),
            rehearsal,
            forked_from: None,
            release: None,
        };
        let made = store.create(id, created, prompt.into(), Vec::new(), None).await.expect("create");
        assert!(matches!(made, CreateOutcome::New(_)));
        Self { store: store.clone(), id, incarnation: 0, worker_seq: 0, blocks: 0 }
    }

    /// One that was started already, and has had no worker yet.
    pub(crate) fn of(store: &Store, id: ExecutionId) -> Self {
        Self { store: store.clone(), id, incarnation: 0, worker_seq: 0, blocks: 0 }
    }

    /// Anything else.
    pub(crate) async fn command(&self, command: Command) {
        self.store.apply(self.id, command).await.expect("command");
    }

    /// A worker comes up and gets the messages that wait.
    pub(crate) async fn work(&mut self) {
        let reason = "a message has to be sent".into();
        self.command(Command::StartWorker { engine: "process".into(), reason }).await;
        self.incarnation += 1;
        self.worker_seq = 0;
        self.fact(Fact::SessionReady { cli_version: "2.1.330".into(), resumed: self.incarnation > 1 }).await;
        self.deliver().await;
    }

    /// The session gets the messages that wait.
    pub(crate) async fn deliver(&mut self) {
        let execution = self.store.execution(self.id).await.expect("read").expect("execution");
        for pending in &execution.messages {
            // One that was queued waits for the end of the turn.
            if execution.turn.is_some() && pending.message.mode == SendMode::Queue {
                continue;
            }
            let (message, incarnation) = (pending.message.id, self.incarnation);
            self.command(Command::BeginMessage { message, incarnation }).await;
            self.fact(Fact::MessageDelivered { message }).await;
        }
    }

    pub(crate) async fn fact(&mut self, fact: Fact) {
        self.worker_seq += 1;
        let facts = vec![NumberedFact { seq: self.worker_seq, at: 0, fact }];
        self.store.append_facts(self.id, self.incarnation, facts).await.expect("fact");
    }

    /// Many things said at once: one commit.
    pub(crate) async fn texts(&mut self, texts: impl IntoIterator<Item = String>) {
        let mut facts = Vec::new();
        for text in texts {
            self.worker_seq += 1;
            self.blocks += 1;
            let message_id = format!("msg_{}", self.blocks);
            let fact = Fact::Assistant(AssistantBlock {
                message_id,
                block: Block::Text { text },
                parent_tool_use_id: None,
            });
            facts.push(NumberedFact { seq: self.worker_seq, at: 0, fact });
        }
        self.store.append_facts(self.id, self.incarnation, facts).await.expect("facts");
    }

    pub(crate) async fn block(&mut self, block: Block) {
        self.blocks += 1;
        let message_id = format!("msg_{}", self.blocks);
        self.fact(Fact::Assistant(AssistantBlock { message_id, block, parent_tool_use_id: None })).await;
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.block(Block::Text { text: text.into() }).await;
    }

    pub(crate) async fn thinking(&mut self, text: &str) {
        self.block(Block::Thinking { thinking: text.into() }).await;
    }

    /// The model calls a tool.
    pub(crate) async fn call(&mut self, id: &str, tool: &str, input: Value) {
        self.block(Block::ToolUse { id: id.into(), name: tool.into(), input }).await;
    }

    /// A subagent of `parent` says something or calls a tool.
    pub(crate) async fn below(&mut self, parent: &str, block: Block) {
        self.blocks += 1;
        let message_id = format!("msg_{}", self.blocks);
        let parent_tool_use_id = Some(parent.into());
        self.fact(Fact::Assistant(AssistantBlock { message_id, block, parent_tool_use_id })).await;
    }

    /// The model calls a tool and the session asks about it; the hold.
    pub(crate) async fn ask(&mut self, id: &str, tool: &str, input: Value) -> HoldId {
        self.call(id, tool, input.clone()).await;
        self.asked(id, tool, input).await
    }

    /// The session asks about a call that was made.
    pub(crate) async fn asked(&mut self, id: &str, tool: &str, input: Value) -> HoldId {
        self.fact(Fact::Asked {
            tool_use_id: id.into(),
            tool: tool.into(),
            input,
            place: None,
            description: None,
            agent_id: None,
        })
        .await;
        let execution = self.store.execution(self.id).await.expect("read").expect("execution");
        execution.hold_of_call(id).expect("hold").id
    }

    pub(crate) async fn result(&mut self, id: &str, content: &str, patch: Option<Value>) {
        self.fact(Fact::ToolResult(ToolResult {
            tool_use_id: id.into(),
            is_error: false,
            content: content.into(),
            truncated: false,
            patch,
            from_transcript: false,
        }))
        .await;
    }

    pub(crate) async fn failed(&mut self, id: &str, content: &str) {
        self.fact(Fact::ToolResult(ToolResult {
            tool_use_id: id.into(),
            is_error: true,
            content: content.into(),
            truncated: false,
            patch: None,
            from_transcript: false,
        }))
        .await;
    }

    /// A person answers, and the worker writes it.
    pub(crate) async fn decide(&mut self, hold: HoldId, by: &Actor, request: Value) {
        let request: DecisionRequest = serde_json::from_value(request).expect("request");
        self.command(Command::Decide { hold, request, by: by.clone() }).await;
        let execution = self.store.execution(self.id).await.expect("read").expect("execution");
        if execution.holds.get(&hold).is_some_and(|hold| hold.kind == HoldKind::Reply) {
            self.deliver().await;
            return;
        }
        self.command(Command::BeginRelease { hold, incarnation: self.incarnation }).await;
        self.fact(Fact::AnswerWritten { hold }).await;
    }

    /// What a rule has answered goes to the session too.
    pub(crate) async fn release(&mut self, hold: HoldId) {
        self.command(Command::BeginRelease { hold, incarnation: self.incarnation }).await;
        self.fact(Fact::AnswerWritten { hold }).await;
    }

    pub(crate) async fn paid(&self, model: &str, input: u64, output: u64, cost_micros: u64) {
        self.command(Command::ModelCall(ModelCall {
            call: holdpoint_model::CallId(Uuid::now_v7()),
            model: model.into(),
            status: 200,
            tokens: Tokens { input_tokens: input, output_tokens: output, ..Tokens::default() },
            cost_micros,
            replayed: false,
            incomplete: false,
            estimated: false,
        }))
        .await;
    }

    pub(crate) async fn files(&mut self, files: &[(&str, u64)]) {
        let files = files
            .iter()
            .map(|(path, size)| ResultFile { path: (*path).into(), size: *size, digest: None })
            .collect();
        self.fact(Fact::Files { files, omitted: 0 }).await;
    }

    pub(crate) async fn turn_ended(&mut self, text: &str) {
        self.fact(Fact::TurnEnded(TurnResult {
            ok: true,
            reason: "completed".into(),
            text: text.into(),
            structured: None,
            num_turns: 3,
            api_status: None,
            interrupted: false,
        }))
        .await;
        self.fact(Fact::Idle).await;
    }

    /// The turn fails, as it does when the model's API refuses the key.
    pub(crate) async fn turn_failed(&mut self, text: &str, api_status: Option<u16>) {
        self.fact(Fact::TurnEnded(TurnResult {
            ok: false,
            reason: "api_error".into(),
            text: text.into(),
            structured: None,
            num_turns: 1,
            api_status,
            interrupted: false,
        }))
        .await;
    }

    pub(crate) async fn gone(&self, how: Gone) {
        self.command(Command::WorkerGone { incarnation: self.incarnation, how }).await;
    }

    pub(crate) async fn message(&self, text: &str, mode: SendMode, by: &Actor) {
        self.command(Command::Message { text: text.into(), files: Vec::new(), mode, by: by.clone() }).await;
    }

    /// The reply hold that is open.
    pub(crate) async fn reply_hold(&self) -> HoldId {
        let execution = self.store.execution(self.id).await.expect("read").expect("execution");
        execution.reply_hold().expect("reply hold").id
    }
}

/// A question with two parts, as the CLI asks it.
pub(crate) fn questions() -> Value {
    json!({"questions": [
        {"question": "Which tone should the answer have?", "header": "Tone", "multiSelect": false, "options": [
            {"label": "Formal", "description": "As a law firm would write"},
            {"label": "Plain", "description": "Short sentences, no Latin"},
        ]},
        {"question": "Which clauses should be renegotiated?", "header": "Clauses", "multiSelect": true, "options": [
            {"label": "Liability", "description": "Clause 7: uncapped"},
            {"label": "Payment", "description": "Clause 4: 90 days"},
            {"label": "Termination", "description": "Clause 11: 24 months"},
        ]},
    ]})
}

/// The patch that Edit reports.
pub(crate) fn patch() -> Value {
    json!([{"oldStart": 1, "oldLines": 5, "newStart": 1, "newLines": 6, "lines": [
        " # Answer", " ", "-We accept clause 7 as it stands.", "+We propose to cap the liability in clause 7",
        "+at twelve months of fees.", " ", " Kind regards"
    ]}])
}
