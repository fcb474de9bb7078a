//! The immutable facts of an execution's log.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::budget::BudgetUse;
use crate::hold::{Assignee, Decision, Subject};
use crate::pricing::Tokens;
use crate::release::{Stamp, Suggestion};
use crate::{
    Actor, AgentDef, CallId, Digest, ExecutionId, GrantId, HoldId, HoldKind, Incarnation, MessageId, Rule,
    Seq, SessionId, UnixMs, WorkerSeq,
};

/// One fact, keyed `(execution, seq)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Whose log.
    pub execution: ExecutionId,
    /// Position in it.
    pub seq: Seq,
    /// When it was committed.
    pub at: UnixMs,
    /// Which worker told it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// The worker's own number for the fact; on the first event that a fact led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_seq: Option<WorkerSeq>,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What happened. `kind` is the SSE event name, `data` its JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum EventBody {
    /// The first event of every log.
    ExecutionCreated(Box<Created>),
    /// A person's message waits to be sent to the session.
    MessageQueued(Message),
    /// The message is about to be sent to that incarnation's session.
    MessageIntent {
        /// Which.
        message: MessageId,
        /// To whom.
        incarnation: Incarnation,
    },
    /// The session has the message.
    MessageDelivered {
        /// Which.
        message: MessageId,
    },
    /// The worker was lost before it said that the session has the message; it will be looked for
    /// in the transcript before it is sent again.
    MessageRequeued {
        /// Which.
        message: MessageId,
    },
    /// A worker is being started.
    WorkerStarting {
        /// Its number.
        incarnation: Incarnation,
        /// Where it runs: `process`, `container`, `ray`.
        engine: String,
        /// Why now, in words.
        reason: String,
    },
    /// The worker's session is up.
    WorkerReady {
        /// Which worker.
        incarnation: Incarnation,
        /// The CLI's version.
        cli_version: String,
        /// Whether it went on with an existing transcript.
        resumed: bool,
    },
    /// The worker is gone without having been told to.
    WorkerLost {
        /// Which worker.
        incarnation: Incarnation,
        /// In words.
        reason: String,
        /// Set where its session never came up for a reason that somebody has to see to: the cause, and
        /// what to type.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<Problem>,
    },
    /// The worker ended because nothing was left for it to do for now, or for good.
    WorkerStopped {
        /// Which worker.
        incarnation: Incarnation,
        /// Whether the execution can go on later with another.
        parked: bool,
    },
    /// A complete block of the model's answer.
    Assistant(AssistantBlock),
    /// A tool runs that policy allows and that may be repeated.
    ToolStarted {
        /// The call.
        tool_use_id: String,
        /// The tool.
        tool: String,
        /// The rule that allowed it.
        rule: Rule,
    },
    /// A tool's result, as the session has it.
    ToolResult(ToolResult),
    /// A person is needed.
    HoldOpened {
        /// Its id.
        hold: HoldId,
        /// What kind of answer it needs.
        hold_kind: HoldKind,
        /// What is asked.
        subject: Subject,
        /// When it expires.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<UnixMs>,
        /// The incarnation whose session asks; None when Holdpoint itself asks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked_by: Option<Incarnation>,
    },
    /// A new incarnation's session asks for the very same thing again.
    HoldReasked {
        /// Which.
        hold: HoldId,
        /// Who asks now.
        incarnation: Incarnation,
    },
    /// Said whose it is. Whoever may answer it may do so all the same.
    HoldAssigned {
        /// Which.
        hold: HoldId,
        /// Whose it is now; None for nobody's in particular.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Assignee>,
        /// Who says so.
        by: Actor,
    },
    /// Decided.
    HoldAnswered {
        /// Which.
        hold: HoldId,
        /// How.
        decision: Decision,
    },
    /// Nobody decided in time.
    HoldExpired {
        /// Which.
        hold: HoldId,
    },
    /// The session is about to be told of the expiry.
    ExpiryTold {
        /// Which.
        hold: HoldId,
        /// To whom.
        incarnation: Incarnation,
    },
    /// Not needed any more.
    HoldCancelled {
        /// Which.
        hold: HoldId,
        /// In words.
        reason: String,
    },
    /// The session asked for something else instead.
    HoldSuperseded {
        /// Which.
        hold: HoldId,
        /// By which hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<HoldId>,
    },
    /// The decision is about to be handed to that incarnation (invariant 4).
    ReleaseIntent {
        /// Which.
        hold: HoldId,
        /// To whom.
        incarnation: Incarnation,
    },
    /// The worker has written the answer to the CLI.
    AnswerWritten {
        /// Which.
        hold: HoldId,
    },
    /// The worker was lost and the answer provably had no effect: the decision stands and will be
    /// handed to the next one.
    ReleaseVoided {
        /// Which.
        hold: HoldId,
        /// In words.
        reason: String,
    },
    /// The session has shown that it took the decision.
    HoldReleased {
        /// Which.
        hold: HoldId,
    },
    /// A worker was lost between intent and result: nobody knows whether the tool ran.
    HoldIndeterminate {
        /// Which.
        hold: HoldId,
        /// The hold that asks again.
        replaced_by: HoldId,
        /// In words.
        reason: String,
    },
    /// "Allow this kind in this conversation."
    GrantAdded(Grant),
    /// The gateway finished a model call.
    ModelCall(ModelCall),
    /// A budget that this conversation draws on is nearly used: once for each budget and period.
    BudgetWarning(BudgetUse),
    /// The CLI tries a model call again.
    ApiRetry {
        /// Which attempt comes next.
        attempt: u32,
        /// Of how many.
        max_retries: u32,
        /// In how many milliseconds.
        delay_ms: u64,
        /// The HTTP status that failed, if there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// The CLI's word for the error.
        error: String,
    },
    /// The agent's turn is over. Others may follow by themselves; see [`Self::SessionIdle`].
    TurnEnded(TurnResult),
    /// The session has nothing to do any more but what runs in the background.
    SessionIdle,
    /// So many tasks run in the background now.
    BackgroundChanged {
        /// How many.
        running: u32,
    },
    /// What the session made or changed in its workspace.
    FilesCollected {
        /// Every result file there is now.
        files: Vec<ResultFile>,
        /// How many more there are than are listed.
        #[serde(default)]
        omitted: u64,
    },
    /// Transcript and workspace as they are now were put by, enough to go on elsewhere.
    CheckpointTaken(Checkpoint),
    /// A person asked the agent to stop what it is doing.
    InterruptRequested {
        /// Who.
        by: Actor,
    },
    /// A person said that this is done as soon as the turn is over.
    FinishRequested {
        /// Who.
        by: Actor,
    },
    /// An operator runs a command beside the session; written before it runs.
    CommandRun {
        /// Who.
        by: Actor,
        /// Beside which incarnation's session.
        incarnation: Incarnation,
        /// The program and its arguments.
        command: Vec<String>,
    },
    /// The agent did without a package that its image lacks, and says which.
    DependencySuggested(Suggestion),
    /// A person moved it to another release: later workers run on that.
    ReleaseChanged {
        /// What it runs on from now on.
        release: Stamp,
        /// Its agent's definition there.
        definition: Box<AgentDef>,
        /// Who.
        by: Actor,
    },
    /// Something an operator or asker should know.
    Notice {
        /// `info` or `warning`.
        level: Level,
        /// In words.
        text: String,
    },
    /// A frame of the CLI that Holdpoint has no word for, as it came.
    CliFrame {
        /// Its `type`, with its `subtype` after a slash.
        name: String,
        /// As it came.
        frame: Value,
    },
    /// The end: done.
    ExecutionFinished {
        /// Who said so.
        by: Actor,
        /// The last turn's text.
        result: String,
        /// The last turn's structured output.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        structured: Option<Value>,
    },
    /// The end: it cannot go on. Transcript and files are kept.
    ExecutionFailed {
        /// What failed, why it matters, what to do.
        error: Problem,
    },
    /// The end: a person ended it.
    ExecutionCancelled {
        /// Who.
        by: Actor,
    },
}

impl EventBody {
    /// The name of the kind, as in SSE.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ExecutionCreated(_) => "execution_created",
            Self::MessageQueued(_) => "message_queued",
            Self::MessageIntent { .. } => "message_intent",
            Self::MessageDelivered { .. } => "message_delivered",
            Self::MessageRequeued { .. } => "message_requeued",
            Self::WorkerStarting { .. } => "worker_starting",
            Self::WorkerReady { .. } => "worker_ready",
            Self::WorkerLost { .. } => "worker_lost",
            Self::WorkerStopped { .. } => "worker_stopped",
            Self::Assistant(_) => "assistant",
            Self::ToolStarted { .. } => "tool_started",
            Self::ToolResult(_) => "tool_result",
            Self::HoldOpened { .. } => "hold_opened",
            Self::HoldReasked { .. } => "hold_reasked",
            Self::HoldAssigned { .. } => "hold_assigned",
            Self::HoldAnswered { .. } => "hold_answered",
            Self::HoldExpired { .. } => "hold_expired",
            Self::ExpiryTold { .. } => "expiry_told",
            Self::HoldCancelled { .. } => "hold_cancelled",
            Self::HoldSuperseded { .. } => "hold_superseded",
            Self::ReleaseIntent { .. } => "release_intent",
            Self::AnswerWritten { .. } => "answer_written",
            Self::ReleaseVoided { .. } => "release_voided",
            Self::HoldReleased { .. } => "hold_released",
            Self::HoldIndeterminate { .. } => "hold_indeterminate",
            Self::GrantAdded(_) => "grant_added",
            Self::ModelCall(_) => "model_call",
            Self::BudgetWarning(_) => "budget_warning",
            Self::ApiRetry { .. } => "api_retry",
            Self::TurnEnded(_) => "turn_ended",
            Self::SessionIdle => "session_idle",
            Self::BackgroundChanged { .. } => "background_changed",
            Self::FilesCollected { .. } => "files_collected",
            Self::CheckpointTaken(_) => "checkpoint_taken",
            Self::InterruptRequested { .. } => "interrupt_requested",
            Self::FinishRequested { .. } => "finish_requested",
            Self::CommandRun { .. } => "command_run",
            Self::DependencySuggested(_) => "dependency_suggested",
            Self::ReleaseChanged { .. } => "release_changed",
            Self::Notice { .. } => "notice",
            Self::CliFrame { .. } => "cli_frame",
            Self::ExecutionFinished { .. } => "execution_finished",
            Self::ExecutionFailed { .. } => "execution_failed",
            Self::ExecutionCancelled { .. } => "execution_cancelled",
        }
    }
}

/// What an execution begins with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// The agent's name.
    pub agent: String,
    /// Its definition as it was then: what runs is what was started.
    pub definition: AgentDef,
    /// A short title for lists.
    pub title: String,
    /// Who started it.
    pub owner: Actor,
    /// The session's id, chosen by us.
    pub session: SessionId,
    /// What was filled in.
    pub inputs: BTreeMap<String, String>,
    /// Whether a script answers instead of a model.
    pub rehearsal: bool,
    /// Where it branched off from another conversation, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkedFrom>,
    /// The release that it was started on; None before the first deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Stamp>,
}

/// The point at which a conversation branched off from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForkedFrom {
    /// The other.
    pub execution: ExecutionId,
    /// The `checkpoint_taken` event in its log.
    pub seq: Seq,
}

/// A checkpoint that is whole and on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checkpoint {
    /// The digest of its manifest.
    pub id: String,
    /// Up to which event it goes: what happened later may be missing in it.
    pub at: Seq,
    /// The turn was over: another conversation can branch off here.
    pub at_rest: bool,
    /// The last entry of the session's transcript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<Uuid>,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A person's message to the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// The uuid that the CLI sees.
    pub id: MessageId,
    /// What the person wrote.
    pub text: String,
    /// Attached files, as paths relative to the workspace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// When it is sent.
    #[serde(default)]
    pub mode: SendMode,
    /// Who wrote it.
    pub by: Actor,
    /// The reply hold that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldId>,
}

/// When a message is sent while the agent works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SendMode {
    /// After the present turn.
    #[default]
    Queue,
    /// At once: the agent sees it between two steps of its turn.
    Steer,
}

/// A complete block of the model's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AssistantBlock {
    /// The model's message id; several blocks share it.
    pub message_id: String,
    /// The block.
    pub block: Block,
    /// The call that started the subagent which speaks; None for the main one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_tool_use_id: Option<String>,
}

/// A content block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// Markdown.
    Text {
        /// The text.
        text: String,
    },
    /// Extended thinking, as far as it is shown.
    Thinking {
        /// The text.
        thinking: String,
    },
    /// A call of a tool.
    ToolUse {
        /// The call's id.
        id: String,
        /// The tool.
        name: String,
        /// Its arguments.
        input: Value,
    },
    /// A block of a type that Holdpoint does not know.
    Other {
        /// As it came.
        raw: Value,
    },
}

/// A tool's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolResult {
    /// The call.
    pub tool_use_id: String,
    /// Whether the tool (or the refusal of it) reported an error.
    pub is_error: bool,
    /// What the model read: text, with other blocks named in brackets. At most
    /// [`MAX_TOOL_RESULT_BYTES`](crate::wire::MAX_TOOL_RESULT_BYTES).
    pub content: String,
    /// Whether `content` was cut.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The structured patch of Write and Edit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<Value>,
    /// Found in the transcript after the worker was lost, rather than told by it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_transcript: bool,
}

/// "Allow this kind in this conversation": a rule with its author. Ends with the execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// What it allows.
    pub rule: Rule,
    /// Who said so.
    pub by: Actor,
    /// At which hold.
    pub hold: HoldId,
}

/// One model call as the gateway saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelCall {
    /// Its id in the gateway's record.
    pub call: CallId,
    /// The model that answered.
    pub model: String,
    /// The HTTP status given to the session.
    pub status: u16,
    /// Tokens, as the upstream counted them.
    pub tokens: Tokens,
    /// Cost in millionths of a US dollar; 0 for rehearsals and replays.
    pub cost_micros: u64,
    /// Answered from the record: nothing was generated or paid.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// The stream ended before the model was done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
    /// Nobody saw what came back, so the cost is what was set aside for it: at most that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TurnResult {
    /// Whether it did what it set out to do.
    pub ok: bool,
    /// The CLI's word for the ending: `completed`, `api_error`, `max_turns`, `aborted_tools`…
    pub reason: String,
    /// The turn's last text, or the error's.
    pub text: String,
    /// Structured output, if a schema was asked for and met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured: Option<Value>,
    /// Model calls in this turn.
    pub num_turns: u32,
    /// The HTTP status of an API failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_status: Option<u16>,
    /// A person interrupted it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
}

/// A file in the workspace that the session made or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResultFile {
    /// Relative to the workspace, with `/`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Of its content; None for a file too large to read at the end of a turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Info,
    /// Something may be missing or wrong.
    Warning,
}

/// An error as part of the product: what failed, why it matters, what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Failure")]
pub struct Problem {
    /// Stable, for scripts: `cli_missing`, `invalid_key`, `container_failed`, `worker_crash_loop`…
    pub code: String,
    /// What failed.
    pub title: String,
    /// Details.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

/// A command as a person would type it into a shell.
#[must_use]
pub fn command_line(command: &[String]) -> String {
    let is_plain = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c))
    };
    let quoted = |word: &String| {
        if is_plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', "'\\''")) }
    };
    command.iter().map(quoted).collect::<Vec<_>>().join(" ")
}
