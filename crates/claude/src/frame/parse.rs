//! One line → one frame.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::fields::{flag, items, text};
use super::{events, mend};
use crate::event::{
    ElicitationCall, ElicitationMode, Event, HookCall, McpMessage, PermissionAsk, PermissionUpdate,
    RequestId, WithRaw,
};

/// What the parser has to know about the session to judge a result.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context {
    /// A JSON schema was given: a turn without structured output has failed.
    pub schema_asked: bool,
    /// The driver ended this turn because of wrong credentials.
    pub auth_aborted: bool,
}

/// One parsed line.
#[derive(Debug, Clone)]
pub enum Frame {
    /// Something to tell the host.
    Event(Event),
    /// The reply to a request of the host.
    Reply(ControlReply),
    /// A request of the CLI.
    Request(InboundRequest),
    /// The CLI takes a request back.
    Withdrawn(RequestId),
}

/// The reply to a control request.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlReply {
    /// The request it answers.
    pub request_id: String,
    /// The payload (`Null` when there is none), or what went wrong.
    pub result: Result<Value, ControlRefusal>,
}

/// The CLI's "no" to a control request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlRefusal {
    /// A sentence.
    pub message: String,
    /// A word, in newer CLIs.
    pub code: Option<String>,
}

/// A request of the CLI.
#[derive(Debug, Clone)]
pub enum InboundRequest {
    /// `can_use_tool`.
    Permission(Box<WithRaw<PermissionAsk>>),
    /// `hook_callback`.
    Hook(Box<WithRaw<HookCall>>),
    /// `elicitation`.
    Elicitation(Box<WithRaw<ElicitationCall>>),
    /// `mcp_message`.
    Mcp(Box<WithRaw<McpMessage>>),
    /// A request this crate cannot answer, or could not read. It gets an error reply at once.
    Unsupported {
        /// What the reply has to name.
        request_id: RequestId,
        /// The subtype.
        subtype: String,
        /// The frame as it came.
        raw: Value,
    },
}

/// A line that is no frame.
#[derive(Debug, Clone, thiserror::Error)]
#[error("not a frame: {reason}")]
pub struct Malformed {
    /// What is wrong with it.
    pub reason: String,
    /// The line as JSON, or as a JSON string when it is none (its first 4 KiB).
    pub raw: Value,
}

/// How much of a line that is no JSON is kept, in bytes: enough to see who wrote it.
const MALFORMED_KEPT_BYTES: usize = 4096;

/// Reads one line.
///
/// # Errors
///
/// [`Malformed`] when it is no JSON object with a `type`. A frame of an unknown type is no error.
pub fn parse_line(line: &[u8], context: Context) -> Result<Frame, Malformed> {
    let mended;
    let (line, value) = match serde_json::from_slice::<Value>(line) {
        Ok(value) => (line, value),
        Err(error) => match mend::replace_lone_surrogates(line) {
            Some(bytes) => {
                mended = bytes;
                let value = serde_json::from_slice(&mended).map_err(|error| no_json(&mended, &error))?;
                (&mended[..], value)
            }
            None => return Err(no_json(line, &error)),
        },
    };
    let Some(kind) = value["type"].as_str().map(str::to_owned) else {
        return Err(Malformed { reason: "no `type`".into(), raw: value });
    };
    Ok(match kind.as_str() {
        "control_request" => request(line, value),
        "control_response" => reply(value),
        "control_cancel_request" => match value["request_id"].as_str() {
            Some(id) => Frame::Withdrawn(RequestId::new(id)),
            None => Frame::Event(unknown(value, "a withdrawal without a request id")),
        },
        _ => Frame::Event(events::event(&kind, value, context)),
    })
}

fn no_json(line: &[u8], error: &serde_json::Error) -> Malformed {
    let kept = &line[..line.len().min(MALFORMED_KEPT_BYTES)];
    Malformed { reason: error.to_string(), raw: Value::String(String::from_utf8_lossy(kept).into_owned()) }
}

fn unknown(raw: Value, reason: &str) -> Event {
    Event::Unknown { raw, reason: reason.to_owned() }
}

fn reply(value: Value) -> Frame {
    let response = &value["response"];
    let Some(request_id) = response["request_id"].as_str().map(str::to_owned) else {
        return Frame::Event(unknown(value, "a control response without a request id"));
    };
    let result = if response["subtype"] == "success" {
        Ok(response.get("response").cloned().unwrap_or(Value::Null))
    } else {
        Err(ControlRefusal {
            message: response["error"].as_str().unwrap_or("no reason given").to_owned(),
            code: text(response, "error_code"),
        })
    };
    Frame::Reply(ControlReply { request_id, result })
}

fn request(line: &[u8], raw: Value) -> Frame {
    let Some(request_id) = raw["request_id"].as_str().map(RequestId::new) else {
        return Frame::Event(unknown(raw, "a control request without an id"));
    };
    let subtype = raw["request"]["subtype"].as_str().unwrap_or_default().to_owned();
    let id = request_id.clone();
    let parsed = match subtype.as_str() {
        "can_use_tool" => permission(line, id, &raw).map(|ask| InboundRequest::Permission(boxed(ask, &raw))),
        "hook_callback" => hook(id, &raw["request"]).map(|call| InboundRequest::Hook(boxed(call, &raw))),
        "elicitation" => {
            elicitation(id, &raw["request"]).map(|call| InboundRequest::Elicitation(boxed(call, &raw)))
        }
        "mcp_message" => mcp(id, &raw["request"]).map(|message| InboundRequest::Mcp(boxed(message, &raw))),
        _ => None,
    };
    Frame::Request(parsed.unwrap_or(InboundRequest::Unsupported { request_id, subtype, raw }))
}

fn boxed<T>(body: T, raw: &Value) -> Box<WithRaw<T>> {
    Box::new(WithRaw::new(body, raw.clone()))
}

fn permission(line: &[u8], request_id: RequestId, raw: &Value) -> Option<PermissionAsk> {
    #[derive(Deserialize)]
    struct Outer<'a> {
        #[serde(borrow)]
        request: Inner<'a>,
    }
    #[derive(Deserialize)]
    struct Inner<'a> {
        #[serde(borrow)]
        input: &'a RawValue,
    }
    let request = &raw["request"];
    let exact: Outer<'_> = serde_json::from_slice(line).ok()?;
    Some(PermissionAsk {
        request_id,
        tool_name: text(request, "tool_name")?,
        tool_use_id: text(request, "tool_use_id")?,
        input: request["input"].clone(),
        input_json: exact.request.input.to_owned(),
        display_name: text(request, "display_name"),
        description: text(request, "description"),
        suggestions: items(request, "permission_suggestions")
            .cloned()
            .map(PermissionUpdate::from_offer)
            .collect(),
        blocked_path: text(request, "blocked_path"),
        decision_reason: text(request, "decision_reason"),
        decision_reason_type: text(request, "decision_reason_type"),
        agent_id: text(request, "agent_id"),
        requires_user_interaction: flag(request, "requires_user_interaction"),
    })
}

fn hook(request_id: RequestId, request: &Value) -> Option<HookCall> {
    let input = &request["input"];
    Some(HookCall {
        request_id,
        callback_id: text(request, "callback_id")?,
        event: text(input, "hook_event_name").unwrap_or_default(),
        tool_use_id: text(request, "tool_use_id"),
        tool_name: text(input, "tool_name"),
        tool_input: input.get("tool_input").cloned(),
        agent_id: text(input, "agent_id"),
    })
}

fn elicitation(request_id: RequestId, request: &Value) -> Option<ElicitationCall> {
    let mode = match request["mode"].as_str() {
        Some("url") => ElicitationMode::Url { url: text(request, "url")? },
        _ => ElicitationMode::Form { schema: request["requested_schema"].clone() },
    };
    Some(ElicitationCall {
        request_id,
        server: text(request, "mcp_server_name")?,
        message: text(request, "message").unwrap_or_default(),
        mode,
    })
}

fn mcp(request_id: RequestId, request: &Value) -> Option<McpMessage> {
    Some(McpMessage {
        request_id,
        server: text(request, "server_name")?,
        message: request.get("message")?.clone(),
    })
}
