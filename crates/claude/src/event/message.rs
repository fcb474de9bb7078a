//! Conversation frames: the model's blocks, tool results, partial deltas.

use serde_json::{Map, Value};
use uuid::Uuid;

/// One content block of an assistant message. Blocks of one message come in frames of their own and share
/// `message_id`.
#[derive(Debug, Clone, PartialEq)]
pub struct Assistant {
    /// The frame's own id; it is also the entry's id in the transcript.
    pub uuid: Option<Uuid>,
    /// The API's id of the message.
    pub message_id: String,
    /// The tool call of the subagent that speaks; absent for the main loop.
    pub parent_tool_use_id: Option<String>,
    /// The session. It changes when the conversation is cleared.
    pub session_id: String,
    /// The model that wrote it. `<synthetic>` for text of the CLI itself (API failures, local commands).
    pub model: String,
    /// The blocks. The CLI sends one a frame; nothing here depends on that.
    pub blocks: Vec<AssistantBlock>,
    /// The text stands for a failed model call.
    pub api_error: bool,
    /// The block was cut by an interrupt.
    pub aborted: bool,
    /// The user messages this answers, by their uuids.
    pub user_message_uuids: Vec<Uuid>,
}

impl Assistant {
    /// The tool calls in it.
    pub fn tool_uses(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        self.blocks.iter().filter_map(|block| match block {
            AssistantBlock::ToolUse { id, name, input } => Some((id.as_str(), name.as_str(), input)),
            _ => None,
        })
    }
}

/// A block of the model.
#[derive(Debug, Clone, PartialEq)]
pub enum AssistantBlock {
    /// Text.
    Text(String),
    /// Thinking; the signature is what the API wants back with it.
    Thinking {
        /// The text, which may be empty.
        thinking: String,
        /// The API's signature.
        signature: Option<String>,
    },
    /// A call of a tool.
    ToolUse {
        /// The model's id of the call.
        id: String,
        /// The tool.
        name: String,
        /// Its input, before any edit by a hook or a person.
        input: Value,
    },
    /// Any other block (redacted thinking, server tools, …), raw.
    Other(Value),
}

/// A `user` frame: what goes back to the model.
#[derive(Debug, Clone, PartialEq)]
pub struct UserFrame {
    /// The frame's own id; it is also the entry's id in the transcript.
    pub uuid: Option<Uuid>,
    /// The tool call of the subagent it belongs to; absent for the main loop.
    pub parent_tool_use_id: Option<String>,
    /// The session.
    pub session_id: String,
    /// The content.
    pub blocks: Vec<UserBlock>,
    /// What the tool reported in structure: `stdout`/`stderr` for Bash, the patch for Write and Edit, a
    /// string for errors. One per frame, because a frame carries one tool result.
    pub tool_use_result: Option<Value>,
    /// The CLI repeats a message of the host (only when replay was asked for, and for local commands).
    pub is_replay: bool,
    /// The CLI wrote it by itself.
    pub is_synthetic: bool,
}

impl UserFrame {
    /// The tool results in it.
    pub fn tool_results(&self) -> impl Iterator<Item = &ToolResult> {
        self.blocks.iter().filter_map(|block| match block {
            UserBlock::ToolResult(result) => Some(result),
            _ => None,
        })
    }
}

/// A block of a `user` frame.
#[derive(Debug, Clone, PartialEq)]
pub enum UserBlock {
    /// Text.
    Text(String),
    /// The result of a tool call.
    ToolResult(ToolResult),
    /// Any other block, raw.
    Other(Value),
}

/// The result of a tool call as the model sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    /// The call it answers.
    pub tool_use_id: String,
    /// Text or blocks.
    pub content: Value,
    /// The tool failed, or was not allowed to run.
    pub is_error: bool,
}

impl ToolResult {
    /// The content as text: a string as it is, text blocks joined by newlines.
    pub fn text(&self) -> String {
        match &self.content {
            Value::String(text) => text.clone(),
            Value::Array(blocks) => {
                let texts: Vec<_> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
                texts.join("\n")
            }
            _ => String::new(),
        }
    }

    pub(crate) fn from_block(block: &Map<String, Value>) -> Option<Self> {
        Some(Self {
            tool_use_id: block.get("tool_use_id")?.as_str()?.to_owned(),
            content: block.get("content").cloned().unwrap_or(Value::Null),
            is_error: block.get("is_error").and_then(Value::as_bool).unwrap_or(false),
        })
    }
}

/// A raw event of the API's stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEvent {
    /// `message_start`, `content_block_delta`, ….
    pub kind: String,
    /// The API's id of the message.
    pub message_id: Option<String>,
    /// The tool call of the subagent that speaks; absent for the main loop.
    pub parent_tool_use_id: Option<String>,
    /// The block's index.
    pub index: Option<u64>,
    /// New text of a `text_delta`.
    pub text: Option<String>,
}
