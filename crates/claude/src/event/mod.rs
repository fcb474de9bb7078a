//! Everything a session tells its host.

mod ask;
mod message;
mod notice;
pub(crate) mod outcome;
mod system;

use std::ops::Deref;

use serde_json::Value;

pub use ask::{
    ElicitationCall, ElicitationMode, HookCall, McpMessage, PermissionAsk, PermissionUpdate, RequestId,
};
pub use message::{Assistant, AssistantBlock, StreamEvent, ToolResult, UserBlock, UserFrame};
pub use notice::{
    ApiRetry, BackgroundTask, BackgroundTasks, CommandLifecycle, CommandState, CompactBoundary,
    ConversationReset, ModelFallback, Notice, PermissionDenied, SessionState, SessionStateChanged, Status,
    TaskEvent, TaskPhase, ToolProgress,
};
pub use outcome::{DeferredToolUse, Failure, Outcome, PermissionDenial, Success, TurnResult, Usage};
pub use system::{InitializeResponse, SystemInit};

/// A typed frame together with the JSON it was read from.
///
/// The type names what a host usually needs; `raw` has everything, also what a newer CLI adds.
#[derive(Debug, Clone, PartialEq)]
pub struct WithRaw<T> {
    body: T,
    /// The whole frame as the CLI wrote it.
    pub raw: Value,
}

impl<T> WithRaw<T> {
    /// Pairs a typed view with its source.
    pub fn new(body: T, raw: Value) -> Self {
        Self { body, raw }
    }

    /// The typed view alone.
    pub fn into_body(self) -> T {
        self.body
    }
}

impl<T> Deref for WithRaw<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.body
    }
}

/// One thing that happened in a session, in the order in which the CLI said it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is done; the session takes messages. `raw` is the control response's payload.
    Initialized(Box<WithRaw<InitializeResponse>>),
    /// A turn begins: which tools, servers, model and mode it has. Comes on **every** turn.
    SystemInit(Box<WithRaw<SystemInit>>),
    /// One complete content block of the model.
    Assistant(Box<WithRaw<Assistant>>),
    /// Tool results, replayed user messages and messages the CLI wrote itself.
    UserFrame(Box<WithRaw<UserFrame>>),
    /// A raw API stream event: for the eye only, never a fact. See [`Event::DeltasDropped`].
    StreamEvent(Box<WithRaw<StreamEvent>>),
    /// A turn ended.
    Result(Box<WithRaw<TurnResult>>),

    /// The CLI asks whether a tool may run. Answer with [`Handle::answer`](crate::Handle::answer).
    Ask(Box<WithRaw<PermissionAsk>>),
    /// The CLI takes a question back; an answer would be suppressed.
    AskWithdrawn(RequestId),
    /// A hook fired. Answer with [`Handle::answer_hook`](crate::Handle::answer_hook).
    HookCall(Box<WithRaw<HookCall>>),
    /// An MCP server asks a person. Answer with
    /// [`Handle::answer_elicitation`](crate::Handle::answer_elicitation).
    Elicitation(Box<WithRaw<ElicitationCall>>),
    /// A message for an in-process MCP server. The driver has handed it to that server already.
    McpMessage(Box<WithRaw<McpMessage>>),

    /// What became of a user message, by its uuid.
    CommandLifecycle(WithRaw<CommandLifecycle>),
    /// A model call failed and is tried again.
    ApiRetry(WithRaw<ApiRetry>),
    /// Idle, running or waiting for an answer.
    SessionState(WithRaw<SessionStateChanged>),
    /// A task (a subagent, a shell command) started, went on or ended.
    Task(Box<WithRaw<TaskEvent>>),
    /// The list of tasks in the background changed.
    BackgroundTasks(WithRaw<BackgroundTasks>),
    /// Mode or phase changed.
    Status(WithRaw<Status>),
    /// The CLI refused a tool by itself, without asking.
    PermissionDenied(Box<WithRaw<PermissionDenied>>),
    /// The conversation was compacted here.
    CompactBoundary(WithRaw<CompactBoundary>),
    /// Another model took over.
    ModelFallback(WithRaw<ModelFallback>),
    /// The conversation was cleared; it goes on under another session id.
    ConversationReset(WithRaw<ConversationReset>),
    /// A tool or a hook is still at work.
    ToolProgress(WithRaw<ToolProgress>),
    /// Text for the eye: notifications, warnings, titles, and other small news.
    Notice(WithRaw<Notice>),

    /// A frame that this crate has no type for, or whose known type it could not read.
    Unknown {
        /// The frame as it came.
        raw: Value,
        /// Why it has no type.
        reason: String,
    },
    /// Partial stream events that were dropped because the host did not keep up.
    DeltasDropped(u64),
    /// The stream from the CLI cannot be trusted any more. The process is being killed.
    Fault(StreamFault),
    /// The process is gone. Nothing follows.
    Exited(Exit),
}

impl Event {
    /// The JSON this event was read from. `None` for the driver's own events.
    pub fn raw(&self) -> Option<&Value> {
        Some(match self {
            Self::Initialized(event) => &event.raw,
            Self::SystemInit(event) => &event.raw,
            Self::Assistant(event) => &event.raw,
            Self::UserFrame(event) => &event.raw,
            Self::StreamEvent(event) => &event.raw,
            Self::Result(event) => &event.raw,
            Self::Ask(event) => &event.raw,
            Self::HookCall(event) => &event.raw,
            Self::Elicitation(event) => &event.raw,
            Self::McpMessage(event) => &event.raw,
            Self::CommandLifecycle(event) => &event.raw,
            Self::ApiRetry(event) => &event.raw,
            Self::SessionState(event) => &event.raw,
            Self::Task(event) => &event.raw,
            Self::BackgroundTasks(event) => &event.raw,
            Self::Status(event) => &event.raw,
            Self::PermissionDenied(event) => &event.raw,
            Self::CompactBoundary(event) => &event.raw,
            Self::ModelFallback(event) => &event.raw,
            Self::ConversationReset(event) => &event.raw,
            Self::ToolProgress(event) => &event.raw,
            Self::Notice(event) => &event.raw,
            Self::Unknown { raw, .. } => raw,
            Self::AskWithdrawn(_) | Self::DeltasDropped(_) | Self::Fault(_) | Self::Exited(_) => return None,
        })
    }
}

/// Why the stream from the CLI ended before the process did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamFault {
    /// A line passed [`MAX_LINE_BYTES`](crate::frame::MAX_LINE_BYTES).
    LineTooLong {
        /// The cap, in bytes.
        limit: usize,
    },
    /// The pipe failed.
    Io(String),
}

/// How the process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, when it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether this end was wanted: by [`close`](crate::Handle::close), [`kill`](crate::Handle::kill) or the
    /// drop of the last handle.
    ///
    /// An exit code of 1 after `close` is expected when the last turn had failed (an interrupted turn has):
    /// the CLI reports that turn, not a crash. An exit with 0 is always expected.
    pub expected: bool,
    /// The end of what the CLI wrote to stderr. Free text, for people.
    pub stderr_tail: String,
}
