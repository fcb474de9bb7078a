//! The session's events in Holdpoint's words.

use holdpoint_claude as claude;
use holdpoint_model::{
    event::{AssistantBlock, Block, ToolResult, TurnResult},
    wire::MAX_TOOL_RESULT_BYTES,
};
use serde_json::{Value, json};

/// Patches larger than this are left to the files themselves.
const MAX_PATCH_BYTES: usize = 128 * 1024;

/// A frame without a word of ours is kept up to this size.
const MAX_FRAME_BYTES: usize = 16 * 1024;

pub(crate) fn blocks(message: &claude::Assistant) -> Vec<AssistantBlock> {
    message
        .blocks
        .iter()
        .map(|block| AssistantBlock {
            message_id: message.message_id.clone(),
            parent_tool_use_id: message.parent_tool_use_id.clone(),
            block: match block {
                claude::AssistantBlock::Text(text) => Block::Text { text: text.clone() },
                claude::AssistantBlock::Thinking { thinking, .. } => {
                    Block::Thinking { thinking: thinking.clone() }
                }
                claude::AssistantBlock::ToolUse { id, name, input } => {
                    Block::ToolUse { id: id.clone(), name: name.clone(), input: input.clone() }
                }
                claude::AssistantBlock::Other(raw) => Block::Other { raw: bounded(raw, MAX_FRAME_BYTES) },
            },
        })
        .collect()
}

pub(crate) fn tool_results(frame: &claude::UserFrame) -> Vec<ToolResult> {
    frame
        .tool_results()
        .map(|result| {
            let (content, truncated) = cut(&text_of(&result.content), MAX_TOOL_RESULT_BYTES);
            ToolResult {
                tool_use_id: result.tool_use_id.clone(),
                is_error: result.is_error,
                content,
                truncated,
                patch: frame.tool_use_result.as_ref().and_then(patch),
                from_transcript: false,
            }
        })
        .collect()
}

/// Text as it is; blocks of other kinds by their name.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .map(|block| match (block["type"].as_str(), block["text"].as_str()) {
                (Some("text"), Some(text)) => text.to_owned(),
                (Some(kind), _) => format!("[{kind}]"),
                (None, _) => "[block]".to_owned(),
            })
            .collect::<Vec<_>>()
            .join("\n"),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The structured patch of Write and Edit: path, kind and hunks, without the original file.
fn patch(result: &Value) -> Option<Value> {
    let hunks = result.get("structuredPatch")?;
    let created = result["type"] == "create";
    let mut patch = json!({ "path": result["filePath"], "created": created, "hunks": hunks });
    if created {
        patch["content"] = result["content"].clone();
    }
    (patch.to_string().len() <= MAX_PATCH_BYTES).then_some(patch)
}

pub(crate) fn turn_result(turn: &claude::TurnResult) -> TurnResult {
    let mut result = TurnResult {
        ok: turn.outcome.is_success(),
        reason: turn.terminal_reason.clone().unwrap_or_else(|| turn.subtype.clone()),
        text: String::new(),
        structured: None,
        num_turns: u32::try_from(turn.num_turns).unwrap_or(u32::MAX),
        api_status: None,
        interrupted: false,
    };
    match &turn.outcome {
        claude::Outcome::Success(success) => {
            result.text = success.text.clone();
            result.structured = success.structured_output.clone();
        }
        claude::Outcome::Failure(failure) => {
            result.text = failure.to_string();
            match failure {
                claude::Failure::Authentication => {
                    result.api_status = Some(401);
                    result.reason = "authentication_failed".into();
                }
                claude::Failure::Api { status, .. } => result.api_status = *status,
                claude::Failure::Aborted { .. } => result.interrupted = true,
                claude::Failure::MaxTurns => result.reason = "max_turns".into(),
                claude::Failure::MaxBudget => result.reason = "max_budget".into(),
                _ => {}
            }
        }
    }
    result
}

/// The end of a turn that did not go on after its session was lost.
pub(crate) fn not_resumed() -> TurnResult {
    TurnResult {
        ok: false,
        reason: "not_resumed".into(),
        text: "The turn was not taken up again after its session was lost.".into(),
        structured: None,
        num_turns: 0,
        api_status: None,
        interrupted: false,
    }
}

/// The name of a raw frame: its type, and its subtype after a slash.
pub(crate) fn frame_name(raw: &Value) -> String {
    let kind = raw["type"].as_str().unwrap_or("unknown");
    match raw["subtype"].as_str() {
        Some(subtype) => format!("{kind}/{subtype}"),
        None => kind.to_owned(),
    }
}

/// The frame, or how large it was.
pub(crate) fn bounded_frame(raw: &Value) -> Value {
    bounded(raw, MAX_FRAME_BYTES)
}

fn bounded(value: &Value, max_bytes: usize) -> Value {
    let length = value.to_string().len();
    if length <= max_bytes { value.clone() } else { Value::String(format!("({length} bytes, not kept)")) }
}

/// The text, at most so many bytes of it, and whether it was cut.
pub(crate) fn cut(text: &str, max_bytes: usize) -> (String, bool) {
    if text.len() <= max_bytes {
        return (text.to_owned(), false);
    }
    (text[..text.floor_char_boundary(max_bytes)].to_owned(), true)
}
