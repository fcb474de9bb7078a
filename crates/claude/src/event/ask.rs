//! Questions the CLI puts to its host.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::options::PermissionMode;

/// Names one question of the CLI; the answer carries it back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(String);

impl RequestId {
    /// Wraps an id that was kept elsewhere.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as the CLI wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `can_use_tool`: may this tool run with this input?
///
/// Also the channel of `AskUserQuestion` and `ExitPlanMode`; see [`dialog`](crate::dialog) for those.
#[derive(Debug, Clone)]
pub struct PermissionAsk {
    /// What the answer has to name.
    pub request_id: RequestId,
    /// The tool, by the name the model uses (`mcp__server__tool` for MCP tools).
    pub tool_name: String,
    /// The model's id for this call. It appears in the assistant block and in the tool result too.
    pub tool_use_id: String,
    /// The input.
    pub input: Value,
    /// The same input as the exact text the CLI sent. An unedited allow echoes this text, so that no number
    /// or key order is touched on the way through.
    pub input_json: Box<RawValue>,
    /// The tool's name for people.
    pub display_name: Option<String>,
    /// One line about this call for people.
    pub description: Option<String>,
    /// Rules the CLI offers for "allow this kind from now on". They are **alternatives**: an answer carries
    /// at most one.
    pub suggestions: Vec<PermissionUpdate>,
    /// The path because of which the CLI asks.
    pub blocked_path: Option<String>,
    /// Why the CLI asks, for people.
    pub decision_reason: Option<String>,
    /// Why the CLI asks, as a word (`rule`, `mode`, `hook`, …).
    pub decision_reason_type: Option<String>,
    /// The subagent that asks; absent for the main loop.
    pub agent_id: Option<String>,
    /// The tool exists to ask a person (questions, plans): no policy should answer it.
    pub requires_user_interaction: bool,
}

/// A change of the session's permission rules, as the CLI offers it or takes it.
///
/// Only what the CLI offered, or one of the constructors here, can be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PermissionUpdate(Value);

impl PermissionUpdate {
    /// Switches the permission mode for the rest of the session.
    pub fn set_mode(mode: PermissionMode) -> Self {
        Self(serde_json::json!({"type": "setMode", "mode": mode.as_str(), "destination": "session"}))
    }

    /// Allows a tool for the rest of the session; `rule` narrows it (`touch a *` for Bash).
    pub fn allow_tool(tool: &str, rule: Option<&str>) -> Self {
        let mut entry = serde_json::json!({"toolName": tool});
        if let Some(rule) = rule {
            entry["ruleContent"] = rule.into();
        }
        Self(serde_json::json!({
            "type": "addRules", "rules": [entry], "behavior": "allow", "destination": "session",
        }))
    }

    /// `addRules`, `addDirectories`, `setMode`, ….
    pub fn kind(&self) -> &str {
        self.0["type"].as_str().unwrap_or_default()
    }

    /// Where it would be stored: `session`, `localSettings`, ….
    pub fn destination(&self) -> &str {
        self.0["destination"].as_str().unwrap_or_default()
    }

    /// The JSON.
    pub fn as_value(&self) -> &Value {
        &self.0
    }

    pub(crate) fn from_offer(value: Value) -> Self {
        Self(value)
    }
}

/// `hook_callback`: one of the hooks declared in the options fired.
#[derive(Debug, Clone)]
pub struct HookCall {
    /// What the answer has to name.
    pub request_id: RequestId,
    /// Which declared callback this is.
    pub callback_id: String,
    /// The hook event (`PreToolUse`, …).
    pub event: String,
    /// The model's id of the tool call; for events that belong to no tool, an id of the CLI's.
    pub tool_use_id: Option<String>,
    /// The tool, for tool events.
    pub tool_name: Option<String>,
    /// The tool's input, for tool events.
    pub tool_input: Option<Value>,
    /// The subagent in which it fired; absent for the main loop.
    pub agent_id: Option<String>,
}

/// `elicitation`: an MCP server wants something from a person.
#[derive(Debug, Clone)]
pub struct ElicitationCall {
    /// What the answer has to name.
    pub request_id: RequestId,
    /// The server that asks.
    pub server: String,
    /// What it says.
    pub message: String,
    /// A form to fill, or an address to open.
    pub mode: ElicitationMode,
}

/// What an elicitation wants.
#[derive(Debug, Clone)]
pub enum ElicitationMode {
    /// Fields by JSON schema.
    Form {
        /// The schema of the answer's `content`.
        schema: Value,
    },
    /// A page to open; nothing comes back but yes or no.
    Url {
        /// The address. Written by the server: show it, never open it unasked.
        url: String,
    },
}

/// `mcp_message`: JSON-RPC for an in-process MCP server.
#[derive(Debug, Clone)]
pub struct McpMessage {
    /// The control request it came in.
    pub request_id: RequestId,
    /// The server it is for.
    pub server: String,
    /// The JSON-RPC message.
    pub message: Value,
}
