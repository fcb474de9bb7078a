//! Frames that are news: everything but control traffic.

use serde::Deserialize;
use serde_json::Value;

use super::Context;
use super::fields::{flag, items, text, uuid};
use crate::event::outcome::Expectations;
use crate::event::{
    ApiRetry, Assistant, AssistantBlock, BackgroundTask, BackgroundTasks, CommandLifecycle, CommandState,
    CompactBoundary, ConversationReset, Event, ModelFallback, Notice, PermissionDenied, SessionState,
    SessionStateChanged, Status, StreamEvent, SystemInit, TaskEvent, TaskPhase, ToolProgress, ToolResult,
    TurnResult, UserBlock, UserFrame, WithRaw,
};

pub(super) fn event(kind: &str, raw: Value, context: Context) -> Event {
    let expected = Expectations { schema_asked: context.schema_asked, auth_aborted: context.auth_aborted };
    match kind {
        "assistant" => typed(assistant(&raw), raw, |event| Event::Assistant(Box::new(event))),
        "user" => typed(user(&raw), raw, |event| Event::UserFrame(Box::new(event))),
        "stream_event" => typed(stream_event(&raw), raw, |event| Event::StreamEvent(Box::new(event))),
        "result" => {
            typed(TurnResult::from_frame(&raw, expected), raw, |event| Event::Result(Box::new(event)))
        }
        "system" => system(raw),
        "command_lifecycle" => typed(command_lifecycle(&raw), raw, Event::CommandLifecycle),
        "conversation_reset" => typed(conversation_reset(&raw), raw, Event::ConversationReset),
        "tool_progress" => typed(tool_progress(&raw), raw, Event::ToolProgress),
        "attachment" | "keep_alive" => typed(Some(Notice::from_frame(kind, &raw)), raw, Event::Notice),
        _ => Event::Unknown { reason: format!("unknown type `{kind}`"), raw },
    }
}

/// Wraps a typed view, or passes the frame on raw when its type could not be read.
fn typed<T>(body: Option<T>, raw: Value, wrap: impl FnOnce(WithRaw<T>) -> Event) -> Event {
    match body {
        Some(body) => wrap(WithRaw::new(body, raw)),
        None => Event::Unknown { reason: "a known type of an unknown shape".to_owned(), raw },
    }
}

fn system(raw: Value) -> Event {
    let subtype = raw["subtype"].as_str().unwrap_or_default().to_owned();
    match subtype.as_str() {
        "init" => typed(SystemInit::deserialize(&raw).ok(), raw, |event| Event::SystemInit(Box::new(event))),
        "api_retry" => typed(api_retry(&raw), raw, Event::ApiRetry),
        "session_state_changed" => typed(session_state(&raw), raw, Event::SessionState),
        "task_started" => task(TaskPhase::Started, raw),
        "task_progress" => task(TaskPhase::Progress, raw),
        "task_updated" => task(TaskPhase::Updated, raw),
        "task_notification" => task(TaskPhase::Notification, raw),
        "background_tasks_changed" => typed(Some(background_tasks(&raw)), raw, Event::BackgroundTasks),
        "status" => typed(Some(status(&raw)), raw, Event::Status),
        "permission_denied" => {
            typed(permission_denied(&raw), raw, |event| Event::PermissionDenied(Box::new(event)))
        }
        "compact_boundary" => typed(Some(compact_boundary(&raw)), raw, Event::CompactBoundary),
        "model_fallback" => typed(Some(model_fallback(&raw)), raw, Event::ModelFallback),
        "informational" | "notification" | "session_title_changed" | "thinking_tokens" | "ui_invalidate" => {
            typed(Some(Notice::from_frame(&subtype, &raw)), raw, Event::Notice)
        }
        _ => Event::Unknown { reason: format!("unknown subtype `system/{subtype}`"), raw },
    }
}

fn task(phase: TaskPhase, raw: Value) -> Event {
    let body = text(&raw, "task_id").map(|task_id| TaskEvent {
        phase,
        task_id,
        tool_use_id: text(&raw, "tool_use_id"),
        task_type: text(&raw, "task_type"),
        description: text(&raw, "description").or_else(|| text(&raw, "summary")),
        status: text(&raw, "status").or_else(|| text(&raw["patch"], "status")),
        output_file: text(&raw, "output_file").filter(|path| !path.is_empty()),
    });
    typed(body, raw, |event| Event::Task(Box::new(event)))
}

fn api_retry(raw: &Value) -> Option<ApiRetry> {
    Some(ApiRetry {
        attempt: raw["attempt"].as_u64()?,
        max_retries: raw["max_retries"].as_u64().unwrap_or(0),
        retry_delay_ms: raw["retry_delay_ms"].as_f64().unwrap_or(0.0),
        error_status: raw["error_status"].as_u64().and_then(|status| u16::try_from(status).ok()),
        error: text(raw, "error").unwrap_or_default(),
    })
}

fn session_state(raw: &Value) -> Option<SessionStateChanged> {
    let state = match raw["state"].as_str()? {
        "idle" => SessionState::Idle,
        "running" => SessionState::Running,
        "requires_action" => SessionState::RequiresAction,
        _ => SessionState::Other,
    };
    Some(SessionStateChanged { state })
}

fn background_tasks(raw: &Value) -> BackgroundTasks {
    let tasks = items(raw, "tasks").filter_map(|task| {
        Some(BackgroundTask {
            task_id: text(task, "task_id")?,
            task_type: text(task, "task_type").unwrap_or_default(),
            description: text(task, "description").unwrap_or_default(),
        })
    });
    BackgroundTasks { tasks: tasks.collect() }
}

fn status(raw: &Value) -> Status {
    Status { status: text(raw, "status"), permission_mode: text(raw, "permissionMode") }
}

fn permission_denied(raw: &Value) -> Option<PermissionDenied> {
    Some(PermissionDenied {
        tool_name: text(raw, "tool_name")?,
        tool_use_id: text(raw, "tool_use_id")?,
        message: text(raw, "message").unwrap_or_default(),
        decision_reason_type: text(raw, "decision_reason_type"),
    })
}

fn compact_boundary(raw: &Value) -> CompactBoundary {
    let metadata = &raw["compact_metadata"];
    CompactBoundary {
        trigger: text(metadata, "trigger"),
        pre_tokens: metadata["pre_tokens"].as_u64(),
        post_tokens: metadata["post_tokens"].as_u64(),
    }
}

fn model_fallback(raw: &Value) -> ModelFallback {
    ModelFallback {
        original_model: text(raw, "original_model"),
        fallback_model: text(raw, "fallback_model"),
        trigger: text(raw, "trigger"),
    }
}

fn conversation_reset(raw: &Value) -> Option<ConversationReset> {
    Some(ConversationReset { new_conversation_id: text(raw, "new_conversation_id")? })
}

fn assistant(raw: &Value) -> Option<Assistant> {
    let message = &raw["message"];
    Some(Assistant {
        uuid: uuid(raw, "uuid"),
        message_id: text(message, "id").unwrap_or_default(),
        parent_tool_use_id: text(raw, "parent_tool_use_id"),
        session_id: text(raw, "session_id").unwrap_or_default(),
        model: text(message, "model").unwrap_or_default(),
        blocks: message["content"].as_array()?.iter().map(assistant_block).collect(),
        api_error: flag(raw, "is_api_error_message"),
        aborted: flag(raw, "aborted"),
        user_message_uuids: items(raw, "user_message_uuids")
            .filter_map(|id| id.as_str()?.parse().ok())
            .collect(),
    })
}

fn assistant_block(block: &Value) -> AssistantBlock {
    let known = match block["type"].as_str() {
        Some("text") => text(block, "text").map(AssistantBlock::Text),
        Some("thinking") => text(block, "thinking")
            .map(|thinking| AssistantBlock::Thinking { thinking, signature: text(block, "signature") }),
        Some("tool_use") => text(block, "id")
            .zip(text(block, "name"))
            .map(|(id, name)| AssistantBlock::ToolUse { id, name, input: block["input"].clone() }),
        _ => None,
    };
    known.unwrap_or_else(|| AssistantBlock::Other(block.clone()))
}

fn user(raw: &Value) -> Option<UserFrame> {
    let blocks = match &raw["message"]["content"] {
        Value::String(text) => vec![UserBlock::Text(text.clone())],
        Value::Array(blocks) => blocks.iter().map(user_block).collect(),
        _ => return None,
    };
    Some(UserFrame {
        uuid: uuid(raw, "uuid"),
        parent_tool_use_id: text(raw, "parent_tool_use_id"),
        session_id: text(raw, "session_id").unwrap_or_default(),
        blocks,
        tool_use_result: raw.get("tool_use_result").filter(|value| !value.is_null()).cloned(),
        is_replay: flag(raw, "isReplay"),
        is_synthetic: flag(raw, "isSynthetic"),
    })
}

fn user_block(block: &Value) -> UserBlock {
    let known = match block["type"].as_str() {
        Some("text") => text(block, "text").map(UserBlock::Text),
        Some("tool_result") => block.as_object().and_then(ToolResult::from_block).map(UserBlock::ToolResult),
        _ => None,
    };
    known.unwrap_or_else(|| UserBlock::Other(block.clone()))
}

fn stream_event(raw: &Value) -> Option<StreamEvent> {
    let inner = &raw["event"];
    Some(StreamEvent {
        kind: text(inner, "type")?,
        message_id: text(raw, "api_message_id").or_else(|| text(&inner["message"], "id")),
        parent_tool_use_id: text(raw, "parent_tool_use_id"),
        index: inner["index"].as_u64(),
        text: text(&inner["delta"], "text"),
    })
}

fn command_lifecycle(raw: &Value) -> Option<CommandLifecycle> {
    let state = match raw["state"].as_str()? {
        "queued" => CommandState::Queued,
        "started" => CommandState::Started,
        "completed" => CommandState::Completed,
        "cancelled" => CommandState::Cancelled,
        _ => CommandState::Other,
    };
    Some(CommandLifecycle { command_uuid: uuid(raw, "command_uuid")?, state })
}

fn tool_progress(raw: &Value) -> Option<ToolProgress> {
    Some(ToolProgress {
        tool_use_id: text(raw, "tool_use_id")?,
        tool_name: text(raw, "tool_name").unwrap_or_default(),
        parent_tool_use_id: text(raw, "parent_tool_use_id"),
        elapsed_seconds: raw["elapsed_time_seconds"].as_f64().unwrap_or(0.0),
    })
}
