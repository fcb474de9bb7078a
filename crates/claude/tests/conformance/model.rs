//! A scripted Messages endpoint on loopback.
//!
//! A message that contains `#name` is answered from the script `name`, one reply a model call; so a subagent,
//! whose prompt names another script, is told apart from the main loop. Every request is kept.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};
use uuid::Uuid;

/// One answer of the model.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// These blocks.
    Blocks(Vec<Block>),
    /// Text in pieces with pauses.
    Slow { pieces: usize, pause: Duration },
    /// These blocks, and a bill for so many output tokens.
    Costly { blocks: Vec<Block>, output_tokens: u64 },
    /// An error.
    Status(u16),
}

#[derive(Debug, Clone)]
pub(crate) enum Block {
    Text(String),
    ToolUse { id: String, name: String, input: Value },
}

pub(crate) fn text(text: &str) -> Reply {
    Reply::Blocks(vec![Block::Text(text.into())])
}

pub(crate) fn call(name: &str, input: Value) -> Reply {
    calls([(name, input)])
}

pub(crate) fn bash(command: &str) -> Reply {
    call("Bash", json!({ "command": command }))
}

/// A call whose id the test chooses.
pub(crate) fn named_call(id: &str, name: &str, input: Value) -> Block {
    Block::ToolUse { id: id.into(), name: name.into(), input }
}

pub(crate) fn calls<'a>(calls: impl IntoIterator<Item = (&'a str, Value)>) -> Reply {
    let block = |(name, input): (&str, Value)| Block::ToolUse {
        id: format!("toolu_{}", Uuid::new_v4().simple()),
        name: name.into(),
        input,
    };
    Reply::Blocks(calls.into_iter().map(block).collect())
}

#[derive(Default)]
struct Scripts {
    scripts: HashMap<String, VecDeque<Reply>>,
    requests: Vec<Value>,
}

#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) url: String,
    scripts: Arc<Mutex<Scripts>>,
}

impl Model {
    pub(crate) async fn start() -> Self {
        let scripts = Arc::new(Mutex::new(Scripts::default()));
        let router = Router::new()
            .route("/v1/messages", post(answer))
            .fallback(|uri: Uri| async move { (StatusCode::NOT_FOUND, uri.to_string()) })
            .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
            .with_state(scripts.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, scripts }
    }

    /// Adds replies to a script.
    pub(crate) fn script(&self, name: &str, replies: impl IntoIterator<Item = Reply>) {
        self.scripts.lock().unwrap().scripts.entry(name.into()).or_default().extend(replies);
    }

    /// The bodies of all model calls so far.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.scripts.lock().unwrap().requests.clone()
    }

    /// Whether any model call so far carried this text.
    pub(crate) fn saw(&self, text: &str) -> bool {
        self.requests().iter().any(|request| request["messages"].to_string().contains(text))
    }
}

async fn answer(State(scripts): State<Arc<Mutex<Scripts>>>, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap();
    let model = request["model"].as_str().unwrap_or("model").to_owned();
    let reply = {
        let mut scripts = scripts.lock().unwrap();
        let name = script_name(&request["messages"]);
        scripts.requests.push(request);
        name.and_then(|name| scripts.scripts.get_mut(&name)?.pop_front())
    };
    match reply.unwrap_or_else(|| text("the script is over")) {
        Reply::Status(status) => {
            let kind = match status {
                401 => "authentication_error",
                529 => "overloaded_error",
                _ => "api_error",
            };
            let body = json!({"type": "error", "error": {"type": kind, "message": "scripted"}});
            (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
        }
        Reply::Blocks(blocks) => stream_response(events(&model, &blocks, 10), Duration::ZERO),
        Reply::Costly { blocks, output_tokens } => {
            stream_response(events(&model, &blocks, output_tokens), Duration::ZERO)
        }
        Reply::Slow { pieces, pause } => {
            let mut all = vec![start(&model), block_start(0, &json!({"type": "text", "text": ""}))];
            let delta = json!({"index": 0, "delta": {"type": "text_delta", "text": "word "}});
            all.extend((0..pieces).map(|_| event("content_block_delta", delta.clone())));
            all.push(event("content_block_stop", json!({"index": 0})));
            all.extend(end("end_turn", 10));
            stream_response(all, pause)
        }
    }
}

/// The script that the last message of a person (or the prompt of a subagent) names.
fn script_name(messages: &Value) -> Option<String> {
    let named = |text: &str| {
        let (_, rest) = text.rsplit_once('#')?;
        let name: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
        (!name.is_empty()).then_some(name)
    };
    messages.as_array()?.iter().rev().filter(|message| message["role"] == "user").find_map(|message| {
        match &message["content"] {
            Value::String(text) => named(text),
            Value::Array(blocks) => blocks.iter().rev().find_map(|block| {
                // What the CLI itself adds may hold a `#` of its own.
                let text = block["text"].as_str()?;
                if text.starts_with("<system-reminder>") { None } else { named(text) }
            }),
            _ => None,
        }
    })
}

fn stream_response(events: Vec<String>, pause: Duration) -> Response {
    let stream = stream::iter(events).then(move |event| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, std::convert::Infallible>(event)
    });
    ([("content-type", "text/event-stream")], Body::from_stream(stream)).into_response()
}

fn events(model: &str, blocks: &[Block], output_tokens: u64) -> Vec<String> {
    let mut all = vec![start(model)];
    let mut stop_reason = "end_turn";
    for (index, block) in blocks.iter().enumerate() {
        match block {
            Block::Text(text) => {
                all.push(block_start(index, &json!({"type": "text", "text": ""})));
                let delta = json!({"type": "text_delta", "text": text});
                all.push(event("content_block_delta", json!({"index": index, "delta": delta})));
            }
            Block::ToolUse { id, name, input } => {
                stop_reason = "tool_use";
                let start = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
                all.push(block_start(index, &start));
                let delta = json!({"type": "input_json_delta", "partial_json": input.to_string()});
                all.push(event("content_block_delta", json!({"index": index, "delta": delta})));
            }
        }
        all.push(event("content_block_stop", json!({ "index": index })));
    }
    all.extend(end(stop_reason, output_tokens));
    all
}

fn start(model: &str) -> String {
    let message = json!({
        "id": format!("msg_{}", Uuid::new_v4().simple()), "type": "message", "role": "assistant",
        "model": model, "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": 100, "output_tokens": 1},
    });
    event("message_start", json!({ "message": message }))
}

fn block_start(index: usize, block: &Value) -> String {
    event("content_block_start", json!({"index": index, "content_block": block}))
}

fn end(stop_reason: &str, output_tokens: u64) -> [String; 2] {
    let delta = json!({"stop_reason": stop_reason, "stop_sequence": null});
    let usage = json!({"output_tokens": output_tokens});
    [event("message_delta", json!({"delta": delta, "usage": usage})), event("message_stop", json!({}))]
}

fn event(kind: &str, mut data: Value) -> String {
    data["type"] = kind.into();
    format!("event: {kind}\ndata: {data}\n\n")
}
