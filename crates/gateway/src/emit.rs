//! Writes a whole Message as the events the API would have streamed it in.

use serde_json::{Value, json};

/// Characters per delta of a replay: large, for nobody watches it being typed again.
pub const REPLAY_CHUNK_CHARS: usize = 4096;

/// One event, as text and by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The event's name, `message_start` to `message_stop`.
    pub name: &'static str,
    /// The event as it goes over the wire, empty line included.
    pub text: String,
}

impl Event {
    /// An event of this name with this data.
    #[must_use]
    pub fn new(name: &'static str, data: &Value) -> Self {
        Self { name, text: format!("event: {name}\ndata: {data}\n\n") }
    }
}

/// All events of `message`, texts cut into pieces of `chunk_chars` characters.
#[must_use]
pub fn events(message: &Value, chunk_chars: usize) -> Vec<Event> {
    let mut start = message.clone();
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    start["stop_sequence"] = Value::Null;
    if start["usage"].is_object() {
        // The API says "1" here and the real number at the end.
        start["usage"]["output_tokens"] = json!(1);
    }
    let mut events = vec![Event::new("message_start", &json!({"type": "message_start", "message": start}))];
    for (index, block) in message["content"].as_array().into_iter().flatten().enumerate() {
        let (start, deltas) = deltas(block, chunk_chars.max(1));
        events.push(Event::new(
            "content_block_start",
            &json!({"type": "content_block_start", "index": index, "content_block": start}),
        ));
        for delta in deltas {
            let data = json!({"type": "content_block_delta", "index": index, "delta": delta});
            events.push(Event::new("content_block_delta", &data));
        }
        events.push(Event::new("content_block_stop", &json!({"type": "content_block_stop", "index": index})));
    }
    let delta = json!({"stop_reason": message["stop_reason"], "stop_sequence": message["stop_sequence"]});
    let data = json!({"type": "message_delta", "delta": delta, "usage": message["usage"]});
    events.push(Event::new("message_delta", &data));
    events.push(Event::new("message_stop", &json!({"type": "message_stop"})));
    events
}

/// How a block begins, and the deltas that make it whole.
fn deltas(block: &Value, chunk_chars: usize) -> (Value, Vec<Value>) {
    let mut start = block.clone();
    let text = |key: &str| block[key].as_str().unwrap_or_default();
    match text("type") {
        "text" => {
            start["text"] = json!("");
            (start, pieces(text("text"), chunk_chars, "text_delta", "text"))
        }
        "thinking" => {
            start["thinking"] = json!("");
            start["signature"] = json!("");
            let mut deltas = pieces(text("thinking"), chunk_chars, "thinking_delta", "thinking");
            deltas.push(json!({"type": "signature_delta", "signature": text("signature")}));
            (start, deltas)
        }
        "tool_use" | "server_tool_use" => {
            start["input"] = json!({});
            let input = block["input"].to_string();
            (start, pieces(&input, chunk_chars, "input_json_delta", "partial_json"))
        }
        // Everything else comes whole with its start, as the API does for server tools' results.
        _ => (start, Vec::new()),
    }
}

fn pieces(text: &str, chunk_chars: usize, kind: &str, field: &str) -> Vec<Value> {
    let chars: Vec<char> = text.chars().collect();
    chars
        .chunks(chunk_chars)
        .map(|piece| json!({"type": kind, field: piece.iter().collect::<String>()}))
        .collect()
}
