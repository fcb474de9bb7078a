//! A scripted answer, and the ways it goes out: whole, as a stream, cut, or ending in an error.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use holdpoint_model::pricing::Tokens;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::{
    Scene, Script, Step, ids,
    position::{Position, fill, fill_value},
};
use crate::{
    emit,
    error::ApiError,
    thread,
    upstream::{Call, Reply, UpstreamError},
    wire::Request,
};

/// Characters in a chunk, unless the step says otherwise.
const CHUNK_CHARS: usize = 24;

/// A Message and the pace it goes out at.
#[derive(Debug)]
pub(super) struct Answer {
    message: Value,
    delay: Duration,
    chunk: usize,
}

impl Answer {
    /// The answer that a step describes.
    pub(super) fn of(call: &Call, step: &Step, position: &Position) -> Self {
        let name = ids::call();
        let mut content = Vec::new();
        if let Some(think) = &step.think {
            let thinking = fill(think, position);
            let signature = ids::signature(&name, &thinking);
            content.push(json!({"type": "thinking", "thinking": thinking, "signature": signature}));
        }
        if let Some(text) = &step.text {
            content.push(json!({"type": "text", "text": fill(text, position)}));
        }
        let mut stop_reason = "end_turn";
        for tool in step.tool_uses() {
            let input = if tool.input.is_null() { json!({}) } else { fill_value(&tool.input, position) };
            let id = ids::tool_use(&name, step.think.is_some());
            content.push(json!({"type": "tool_use", "id": id, "name": tool.tool, "input": input}));
            stop_reason = "tool_use";
        }
        let stop_reason = step.stop_reason.as_deref().unwrap_or(stop_reason);
        let tokens = step.usage.unwrap_or_else(|| estimate(call.body.len(), &content));
        Self {
            message: message(&name, call.request.model.as_deref(), &content, stop_reason, &tokens),
            delay: Duration::from_millis(step.delay),
            chunk: step.chunk.unwrap_or(CHUNK_CHARS),
        }
    }

    /// A recorded answer.
    pub(super) fn recorded(message: Value) -> Self {
        Self { message, delay: Duration::ZERO, chunk: CHUNK_CHARS }
    }

    /// An answer that is no scene's: some text.
    fn plain(model: Option<&str>, input_bytes: usize, text: &str) -> Self {
        let content = [json!({"type": "text", "text": text})];
        let tokens = estimate(input_bytes, &content);
        Self {
            message: message(&ids::call(), model, &content, "end_turn", &tokens),
            delay: Duration::ZERO,
            chunk: CHUNK_CHARS,
        }
    }

    /// The answer to one of the CLI's side calls: a title, a summary, the reading of a page.
    pub(super) fn aside(request: &Request) -> Self {
        let wants_format = request.output_config.as_ref().is_some_and(|config| config.format.is_some());
        let text = if wants_format {
            json!({"title": "Rehearsal"}).to_string()
        } else {
            let first = thread::first_prompt(&request.merged()).unwrap_or_default();
            let first: String = first.chars().take(500).collect();
            format!("A script is answering, so this is no real summary. The conversation began with: {first}")
        };
        Self::plain(request.model.as_deref(), 0, &text)
    }

    /// What is said when no scene fits.
    pub(super) fn no_scene(call: &Call, script: &Script, position: &Position) -> Self {
        let text = format!(
            "A script is answering, and {} has no scene for a conversation that begins with “{}”. Add one, or a \
             scene without `when`, which fits always.",
            called(script),
            position.first_prompt.chars().take(80).collect::<String>()
        );
        Self::plain(call.request.model.as_deref(), call.body.len(), &text)
    }

    /// What is said past the last step.
    pub(super) fn end_of_scene(call: &Call, script: &Script, scene: &Scene, position: &Position) -> Self {
        let scene = if scene.name.is_empty() {
            "This scene".into()
        } else {
            format!("The scene “{}”", scene.name)
        };
        let text = format!(
            "A script is answering, and it ends here. {scene} of {} has nothing for turn {}, step {}.",
            called(script),
            position.turn,
            position.step + 1
        );
        Self::plain(call.request.model.as_deref(), call.body.len(), &text)
    }

    pub(super) fn message_id(&self) -> &str {
        self.message["id"].as_str().unwrap_or_default()
    }

    pub(super) fn tool_use_ids(&self) -> Vec<String> {
        let blocks = self.message["content"].as_array().into_iter().flatten();
        let tools = blocks.filter(|block| block["type"] == "tool_use");
        tools.filter_map(|block| block["id"].as_str()).map(str::to_owned).collect()
    }

    /// The answer in order.
    pub(super) fn reply(self, streamed: bool) -> Reply {
        if !streamed {
            return with_request_id(Reply::json(StatusCode::OK, &self.message));
        }
        let events = self.events();
        self.stream(events.into_iter().map(Ok).collect())
    }

    /// The answer, its connection broken after `count` events.
    pub(super) fn reply_cut(self, count: usize) -> Reply {
        let mut events: Vec<_> = self.events().into_iter().take(count).map(Ok).collect();
        events.push(Err(UpstreamError::Broken("the script cuts the stream here".into())));
        self.stream(events)
    }

    /// The answer's first half and an error event.
    pub(super) fn reply_with_error_event(self, kind: &str) -> Reply {
        let events = self.events();
        let half = events.len() / 2;
        let mut events: Vec<_> = events.into_iter().take(half).map(Ok).collect();
        let error = json!({"type": "error", "error": {"type": kind, "message": words(kind)}});
        events.push(Ok(emit::Event::new("error", &error).text));
        self.stream(events)
    }

    fn events(&self) -> Vec<String> {
        emit::events(&self.message, self.chunk).into_iter().map(|event| event.text).collect()
    }

    fn stream(self, events: Vec<Result<String, UpstreamError>>) -> Reply {
        let delay = self.delay;
        let body = stream::iter(events.into_iter().enumerate()).then(move |(index, event)| async move {
            if index > 0 && !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            event.map(Bytes::from)
        });
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        with_request_id(Reply { status: StatusCode::OK, headers, body: body.boxed() })
    }
}

/// The error a script asks for.
pub(super) fn scripted_error(status: u16, retry_after: Option<u32>) -> ApiError {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut error = ApiError::new(status, "");
    words(error.kind).clone_into(&mut error.message);
    error.retry_after_secs = retry_after;
    error
}

/// An error as an upstream's reply.
pub(super) fn error(error: &ApiError) -> Reply {
    let mut reply = Reply::json(error.status, &error.body());
    if let Some(secs) = error.retry_after_secs {
        reply.headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    with_request_id(reply)
}

/// What the API says with an error of this type.
fn words(kind: &str) -> &'static str {
    match kind {
        "authentication_error" => "invalid x-api-key",
        "rate_limit_error" => "This request would exceed your account's rate limit. Please try again later.",
        "overloaded_error" => "Overloaded",
        "permission_error" => "Your API key does not have permission to use the specified resource.",
        "billing_error" => "Your credit balance is too low to access the Anthropic API.",
        "api_error" => "Internal server error",
        _ => "The script says that this call fails.",
    }
}

fn with_request_id(mut reply: Reply) -> Reply {
    if let Ok(id) = HeaderValue::from_str(&format!("req_rehearsal_{}", ids::random(12))) {
        reply.headers.insert(HeaderName::from_static("request-id"), id);
    }
    reply
}

fn called(script: &Script) -> String {
    if script.title.is_empty() { "the script".into() } else { format!("the script “{}”", script.title) }
}

fn message(name: &str, model: Option<&str>, content: &[Value], stop_reason: &str, tokens: &Tokens) -> Value {
    json!({
        "id": ids::message(name), "type": "message", "role": "assistant", "model": model.unwrap_or_default(),
        "content": content, "stop_reason": stop_reason, "stop_sequence": null, "usage": tokens,
    })
}

fn estimate(input_bytes: usize, content: &[Value]) -> Tokens {
    let output: usize = content.iter().map(|block| block.to_string().len()).sum();
    Tokens {
        input_tokens: input_bytes.div_ceil(4) as u64,
        output_tokens: output.div_ceil(4).max(1) as u64,
        ..Tokens::default()
    }
}
