//! How a turn ended.

use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

/// The `result` frame.
///
/// One message is not one result: messages sent while a turn runs are answered together, and background tasks
/// start turns of their own. Correlate by `user_message_uuids`.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnResult {
    /// Whether the turn succeeded. Look at this, never at `subtype`.
    pub outcome: Outcome,
    /// The CLI's word. `success` also for a failed model call.
    pub subtype: String,
    /// Why the turn ended, as a word.
    pub terminal_reason: Option<String>,
    /// The API's stop reason.
    pub stop_reason: Option<String>,
    /// The session.
    pub session_id: String,
    /// Model calls in this turn; 0 for commands that run locally.
    pub num_turns: u64,
    /// US dollars, cumulative over the **process**.
    pub total_cost_usd: f64,
    /// Tokens of **this turn**.
    pub usage: Usage,
    /// Cumulative over the process, by model, raw.
    pub model_usage: Map<String, Value>,
    /// Tools that were not allowed to run.
    pub permission_denials: Vec<PermissionDenial>,
    /// Messages that wait for their turn. 0 in CLIs that do not say.
    pub queued_turn_count: u64,
    /// The user messages this turn answered. Empty when they had no uuid.
    pub user_message_uuids: Vec<Uuid>,
    /// Wall-clock time of the turn, in milliseconds.
    pub duration_ms: u64,
    /// What started the turn when it was no user message: `task-notification`, ….
    pub origin: Option<String>,
}

/// Success or failure of a turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It did what it was to do.
    Success(Success),
    /// It did not.
    Failure(Failure),
}

impl Outcome {
    /// Whether it is a success.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Success(_))
    }

    /// The failure, if it is one.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failure(failure) => Some(failure),
            Self::Success(_) => None,
        }
    }
}

/// What a successful turn brought.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Success {
    /// The last text.
    pub text: String,
    /// The answer by schema, when one was asked for.
    pub structured_output: Option<Value>,
    /// A tool call that a hook deferred; it comes back when the session is resumed.
    pub deferred_tool_use: Option<DeferredToolUse>,
}

/// A tool call that waits for a resume.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct DeferredToolUse {
    /// The model's id of the call.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its input.
    pub input: Value,
}

/// Why a turn failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The model endpoint does not take the credentials.
    #[error("the model endpoint refused the credentials")]
    Authentication,
    /// A model call failed for good. `status` is absent when there was no response.
    #[error("the model call failed{}: {message}", status.map(|code| format!(" with status {code}")).unwrap_or_default())]
    Api {
        /// The HTTP status.
        status: Option<u16>,
        /// The API's or the CLI's word for it.
        kind: Option<String>,
        /// What the CLI says about it.
        message: String,
    },
    /// The conversation does not fit the model.
    #[error("the prompt is too long for the model")]
    PromptTooLong,
    /// `max_turns` model calls were made.
    #[error("the turn limit was reached")]
    MaxTurns,
    /// The budget is spent.
    #[error("the budget was reached")]
    MaxBudget,
    /// The turn was interrupted, or a denial ended it.
    #[error("the turn was interrupted")]
    Aborted {
        /// A tool was asked for or running; otherwise the model was speaking.
        during_tools: bool,
    },
    /// A schema was asked for and the model's answer does not have that shape.
    #[error("the model gave no structured output")]
    StructuredOutputMissing,
    /// The session to resume is not there.
    #[error("no conversation with this session id")]
    UnknownSession,
    /// The CLI refused to start.
    #[error("the CLI did not start: {reason}")]
    Startup {
        /// The CLI's word, or its message.
        reason: String,
    },
    /// Anything else.
    #[error("the turn failed ({subtype}): {message}")]
    Other {
        /// The CLI's word.
        subtype: String,
        /// What it says about it.
        message: String,
    },
}

/// Tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Input, outside the cache.
    pub input_tokens: u64,
    /// Output.
    pub output_tokens: u64,
    /// Input written to the cache.
    pub cache_creation_input_tokens: u64,
    /// Input read from the cache.
    pub cache_read_input_tokens: u64,
}

/// A tool that was not allowed to run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PermissionDenial {
    /// The tool.
    pub tool_name: String,
    /// The call.
    pub tool_use_id: String,
    /// Its input.
    #[serde(default)]
    pub tool_input: Value,
}

/// What the driver knows and the frame does not say.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Expectations {
    pub(crate) schema_asked: bool,
    pub(crate) auth_aborted: bool,
}

impl TurnResult {
    pub(crate) fn from_frame(frame: &Value, expected: Expectations) -> Option<Self> {
        let text = |key: &str| frame[key].as_str().map(str::to_owned);
        let list = |key: &str| frame[key].as_array().cloned().unwrap_or_default();
        let uuids = list("user_message_uuids").iter().filter_map(|id| id.as_str()?.parse().ok()).collect();
        Some(Self {
            outcome: outcome(frame, expected)?,
            subtype: text("subtype")?,
            terminal_reason: text("terminal_reason"),
            stop_reason: text("stop_reason"),
            session_id: text("session_id").unwrap_or_default(),
            num_turns: frame["num_turns"].as_u64().unwrap_or(0),
            total_cost_usd: frame["total_cost_usd"].as_f64().unwrap_or(0.0),
            usage: Usage::deserialize(&frame["usage"]).unwrap_or_default(),
            model_usage: frame["modelUsage"].as_object().cloned().unwrap_or_default(),
            permission_denials: list("permission_denials")
                .iter()
                .filter_map(|denial| PermissionDenial::deserialize(denial).ok())
                .collect(),
            queued_turn_count: frame["queued_turn_count"].as_u64().unwrap_or(0),
            user_message_uuids: uuids,
            duration_ms: frame["duration_ms"].as_u64().unwrap_or(0),
            origin: frame["origin"]["kind"].as_str().map(str::to_owned),
        })
    }
}

fn outcome(frame: &Value, expected: Expectations) -> Option<Outcome> {
    let subtype = frame["subtype"].as_str()?;
    let failed = frame["is_error"].as_bool()? || subtype != "success";
    if failed {
        return Some(Outcome::Failure(failure(frame, subtype, expected)));
    }
    let success = Success {
        text: frame["result"].as_str().unwrap_or_default().to_owned(),
        structured_output: frame.get("structured_output").filter(|value| !value.is_null()).cloned(),
        deferred_tool_use: DeferredToolUse::deserialize(&frame["deferred_tool_use"]).ok(),
    };
    // A command that ran locally, a deferred call and a turn that a hook stopped never got as far as an
    // answer.
    let answered = frame["num_turns"].as_u64() != Some(0)
        && matches!(frame["terminal_reason"].as_str(), None | Some("completed"));
    if expected.schema_asked && answered && success.structured_output.is_none() {
        return Some(Outcome::Failure(Failure::StructuredOutputMissing));
    }
    Some(Outcome::Success(success))
}

fn failure(frame: &Value, subtype: &str, expected: Expectations) -> Failure {
    let terminal = frame["terminal_reason"].as_str().unwrap_or_default();
    let status = frame["api_error_status"].as_u64().and_then(|status| u16::try_from(status).ok());
    let first_error = frame["errors"][0].as_str().unwrap_or_default();
    match (subtype, terminal) {
        _ if expected.auth_aborted || status == Some(401) => Failure::Authentication,
        ("error_max_turns", _) => Failure::MaxTurns,
        ("error_max_budget_usd", _) => Failure::MaxBudget,
        ("error_max_structured_output_retries", _) => Failure::StructuredOutputMissing,
        (_, "prompt_too_long") => Failure::PromptTooLong,
        ("success", _) | (_, "api_error") => Failure::Api {
            status,
            kind: ["api_error_type", "api_error"]
                .iter()
                .find_map(|key| frame[*key].as_str())
                .map(str::to_owned),
            message: frame["result"].as_str().unwrap_or(first_error).to_owned(),
        },
        (_, "aborted_tools") => Failure::Aborted { during_tools: true },
        (_, "aborted_streaming") => Failure::Aborted { during_tools: false },
        _ if frame["startup_failure_reason"].is_string() => Failure::Startup {
            reason: frame["startup_failure_reason"].as_str().unwrap_or_default().to_owned(),
        },
        // The CLI has no word for this one, only the sentence (2.1.330).
        _ if first_error.starts_with("No conversation found") => Failure::UnknownSession,
        _ => Failure::Other { subtype: subtype.to_owned(), message: first_error.to_owned() },
    }
}
