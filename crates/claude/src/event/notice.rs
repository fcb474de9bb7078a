//! News around the conversation: lifecycle, retries, tasks, modes.

use serde_json::Value;
use uuid::Uuid;

/// What became of a user message.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandLifecycle {
    /// The message, by the uuid it was sent with.
    pub command_uuid: Uuid,
    /// Where it stands.
    pub state: CommandState,
}

/// Where a user message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandState {
    /// It waits for the running turn.
    Queued,
    /// Its turn began.
    Started,
    /// Its turn ended.
    Completed,
    /// It was taken out of the queue.
    Cancelled,
    /// A word this crate does not know; see the raw frame.
    Other,
}

/// A model call failed and will be tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiRetry {
    /// Which retry this will be, from 1.
    pub attempt: u64,
    /// After how many the CLI gives up.
    pub max_retries: u64,
    /// How long it waits first, in milliseconds.
    pub retry_delay_ms: f64,
    /// The HTTP status; absent when the connection failed.
    pub error_status: Option<u16>,
    /// A word for it: `overloaded`, `rate_limit`, `server_error`, `authentication_failed`, `unknown`.
    pub error: String,
}

impl ApiRetry {
    /// Whether trying again cannot help, because the credentials are wrong.
    pub fn is_authentication(&self) -> bool {
        self.error_status == Some(401) || self.error == "authentication_failed"
    }
}

/// The session changed between idle, running and waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionStateChanged {
    /// The state it is in now.
    pub state: SessionState,
}

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// Nothing; it takes a message.
    Idle,
    /// A turn runs.
    Running,
    /// A turn waits for an answer.
    RequiresAction,
    /// A word this crate does not know; see the raw frame.
    Other,
}

/// Something about one task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskEvent {
    /// What happened.
    pub phase: TaskPhase,
    /// The task.
    pub task_id: String,
    /// The tool call that started it.
    pub tool_use_id: Option<String>,
    /// `local_bash`, `local_agent`, ….
    pub task_type: Option<String>,
    /// What it is about, for people.
    pub description: Option<String>,
    /// How it ended, for [`TaskPhase::Notification`].
    pub status: Option<String>,
    /// The file with its output, for [`TaskPhase::Notification`].
    pub output_file: Option<String>,
}

/// What happened to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskPhase {
    /// It began.
    Started,
    /// It is still at work.
    Progress,
    /// Something about it changed.
    Updated,
    /// It ended. In the background, a turn of the model's own follows.
    Notification,
}

/// The tasks in the background now.
#[derive(Debug, Clone, PartialEq)]
pub struct BackgroundTasks {
    /// All of them; empty when the last one ended.
    pub tasks: Vec<BackgroundTask>,
}

/// A task in the background.
#[derive(Debug, Clone, PartialEq)]
pub struct BackgroundTask {
    /// The task.
    pub task_id: String,
    /// `local_bash`, `local_agent`, ….
    pub task_type: String,
    /// What it is about, for people.
    pub description: String,
}

/// The phase of a turn, or a change of the permission mode.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// `requesting`, `compacting`, or nothing.
    pub status: Option<String>,
    /// The permission mode, when this frame is about it.
    pub permission_mode: Option<String>,
}

/// A tool that was refused without a question.
#[derive(Debug, Clone, PartialEq)]
pub struct PermissionDenied {
    /// The tool.
    pub tool_name: String,
    /// The call.
    pub tool_use_id: String,
    /// What the model is told.
    pub message: String,
    /// Why, as a word.
    pub decision_reason_type: Option<String>,
}

/// The conversation before this point was replaced by a summary.
#[derive(Debug, Clone, PartialEq)]
pub struct CompactBoundary {
    /// `manual` or `auto`.
    pub trigger: Option<String>,
    /// Tokens before.
    pub pre_tokens: Option<u64>,
    /// Tokens after.
    pub post_tokens: Option<u64>,
}

/// Another model took over.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFallback {
    /// The model that was asked for.
    pub original_model: Option<String>,
    /// The one that answers now.
    pub fallback_model: Option<String>,
    /// Why, as a word.
    pub trigger: Option<String>,
}

/// `/clear`: the conversation begins anew under another id.
#[derive(Debug, Clone, PartialEq)]
pub struct ConversationReset {
    /// The new session id.
    pub new_conversation_id: String,
}

/// Something is still at work.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolProgress {
    /// The call (a heartbeat id for hooks).
    pub tool_use_id: String,
    /// The tool, or the hook event.
    pub tool_name: String,
    /// The call it belongs to.
    pub parent_tool_use_id: Option<String>,
    /// For how long already, in seconds.
    pub elapsed_seconds: f64,
}

/// Small news for the eye.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The frame's subtype, or its type when it has none: `informational`, `notification`,
    /// `session_title_changed`, `thinking_tokens`, `ui_invalidate`, `attachment`, `keep_alive`, ….
    pub kind: String,
    /// What it says, when it says something.
    pub text: Option<String>,
    /// `warning`, `immediate`, ….
    pub level: Option<String>,
}

impl Notice {
    pub(crate) fn from_frame(kind: &str, frame: &Value) -> Self {
        let text = ["content", "text", "title"].iter().find_map(|key| frame[*key].as_str());
        let level = ["level", "priority"].iter().find_map(|key| frame[*key].as_str());
        Self { kind: kind.to_owned(), text: text.map(str::to_owned), level: level.map(str::to_owned) }
    }
}
