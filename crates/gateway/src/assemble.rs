//! Puts a streamed response together again while it passes, so that it can be recorded whole.

use holdpoint_model::pricing::Tokens;
use serde_json::{Map, Value, json};

/// The response as far as it has been seen.
#[derive(Debug, Default)]
pub struct Assembler {
    message: Map<String, Value>,
    blocks: Vec<Block>,
    usage: Map<String, Value>,
    whole: bool,
    error: Option<String>,
    unreadable: u32,
}

#[derive(Debug)]
struct Block {
    value: Map<String, Value>,
    /// The pieces of a tool's input, which is JSON only when all are there.
    partial_json: String,
}

/// What an event meant for the one who passes it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Pass it on.
    Part,
    /// The last event: the response is whole, and has to be recorded before this goes on.
    Stop,
    /// The upstream gave up in the middle.
    Error,
}

impl Assembler {
    /// Takes the next event in.
    pub fn push(&mut self, event: &str, data: &str) -> Seen {
        if data.is_empty() {
            return Seen::Part;
        }
        let Ok(Value::Object(mut data)) = serde_json::from_str::<Value>(data) else {
            self.unreadable += 1;
            return Seen::Part;
        };
        let kind = data.get("type").and_then(Value::as_str).unwrap_or(event).to_owned();
        match kind.as_str() {
            "message_start" => {
                if let Some(Value::Object(mut message)) = data.remove("message") {
                    self.merge_usage(message.remove("usage"));
                    self.message = message;
                }
            }
            "content_block_start" => {
                if let Some(Value::Object(value)) = data.remove("content_block") {
                    self.blocks.push(Block { value, partial_json: String::new() });
                }
            }
            "content_block_delta" => self.delta(&data),
            "message_delta" => {
                self.merge_usage(data.remove("usage"));
                if let Some(Value::Object(delta)) = data.remove("delta") {
                    self.message.extend(delta);
                }
            }
            "message_stop" => {
                self.whole = !self.message.is_empty();
                return if self.whole { Seen::Stop } else { Seen::Part };
            }
            "error" => {
                let error = data.get("error").unwrap_or(&Value::Null);
                let text = |key| error.get(key).and_then(Value::as_str).unwrap_or_default();
                self.error = Some(format!("{}: {}", text("type"), text("message")));
                return Seen::Error;
            }
            _ => {}
        }
        Seen::Part
    }

    /// Adds a delta to its block. The rule is general, so that a new kind of delta is kept too: a text
    /// is appended to the block's field of that name, anything else replaces it.
    fn delta(&mut self, data: &Map<String, Value>) {
        let index = data.get("index").and_then(Value::as_u64).and_then(|i| usize::try_from(i).ok());
        let block = index.and_then(|i| self.blocks.get_mut(i));
        let (Some(block), Some(Value::Object(delta))) = (block, data.get("delta")) else {
            self.unreadable += 1;
            return;
        };
        for (key, value) in delta {
            match (key.as_str(), value) {
                ("type", _) => {}
                ("partial_json", Value::String(text)) => block.partial_json.push_str(text),
                ("citation", citation) => match block.value.get_mut("citations") {
                    Some(Value::Array(list)) => list.push(citation.clone()),
                    _ => drop(block.value.insert("citations".into(), json!([citation]))),
                },
                (_, Value::String(text)) => match block.value.get_mut(key) {
                    Some(Value::String(field)) => field.push_str(text),
                    _ => drop(block.value.insert(key.clone(), json!(text))),
                },
                (_, other) => drop(block.value.insert(key.clone(), other.clone())),
            }
        }
    }

    /// Later counts are totals, not additions: they replace the earlier ones.
    fn merge_usage(&mut self, usage: Option<Value>) {
        if let Some(Value::Object(usage)) = usage {
            self.usage.extend(usage.into_iter().filter(|(_, value)| !value.is_null()));
        }
    }

    /// Whether `message_stop` was seen.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// The stream's own error event, as `type: message`.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// How many events could not be understood.
    #[must_use]
    pub fn unreadable(&self) -> u32 {
        self.unreadable
    }

    /// The tokens used, as far as the stream has said.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        tokens(&self.usage)
    }

    /// The Message as a non-streamed answer would have held it. Of a cut stream: what came.
    #[must_use]
    pub fn into_message(self) -> Value {
        let content = self.blocks.into_iter().map(Block::finish).collect();
        let mut message = self.message;
        message.insert("content".into(), Value::Array(content));
        message.insert("usage".into(), Value::Object(self.usage));
        Value::Object(message)
    }
}

impl Block {
    fn finish(mut self) -> Value {
        if !self.partial_json.is_empty() {
            // A response cut by `max_tokens` may end within a tool's input; the CLI does not run such
            // a tool, and an empty input cannot be mistaken for an approved one.
            let input = serde_json::from_str(&self.partial_json).unwrap_or_else(|_| json!({}));
            self.value.insert("input".into(), input);
        }
        Value::Object(self.value)
    }
}

/// The tokens of a Message's `usage`.
#[must_use]
pub fn tokens(usage: &Map<String, Value>) -> Tokens {
    let count = |key| usage.get(key).and_then(Value::as_u64).unwrap_or_default();
    Tokens {
        input_tokens: count("input_tokens"),
        output_tokens: count("output_tokens"),
        cache_read_input_tokens: count("cache_read_input_tokens"),
        cache_creation_input_tokens: count("cache_creation_input_tokens"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit;

    fn feed(text: &str) -> (Assembler, Vec<Seen>) {
        let mut splitter = crate::sse::Splitter::default();
        splitter.push(text.as_bytes()).expect("small");
        let mut assembler = Assembler::default();
        let mut seen = Vec::new();
        while let Some(frame) = splitter.next_frame() {
            seen.push(assembler.push(&frame.event, &frame.data));
        }
        (assembler, seen)
    }

    #[test]
    fn what_is_emitted_as_a_stream_is_assembled_to_the_same_message() {
        let message = json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": null,
            "content": [
                {"type": "thinking", "thinking": "let me see", "signature": "abc"},
                {"type": "redacted_thinking", "data": "xyz"},
                {"type": "text", "text": "häl\u{2028}lo"},
                {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls", "n": [1, {"a": null}]}},
                {"type": "tool_use", "id": "toolu_2", "name": "Noop", "input": {}},
                {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"url": "x"}]},
            ],
            "stop_reason": "tool_use", "usage": {"input_tokens": 3, "output_tokens": 9}
        });
        let text: String = emit::events(&message, 4).into_iter().map(|event| event.text).collect();
        let (assembler, seen) = feed(&text);
        assert_eq!(seen.iter().filter(|seen| **seen == Seen::Stop).count(), 1);
        assert!(assembler.is_whole());
        assert_eq!(assembler.tokens().output_tokens, 9);
        assert_eq!(assembler.into_message(), message);
    }

    #[test]
    fn a_cut_stream_keeps_what_it_has_used_and_an_error_is_named() {
        let (assembler, _) = feed(
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}\n\n\
             event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
        );
        assert!(!assembler.is_whole());
        assert_eq!(assembler.error(), Some("overloaded_error: Overloaded"));
        assert_eq!(assembler.tokens().input_tokens, 7);
    }

    proptest::proptest! {
        #[test]
        fn events_of_any_shape_never_panic(
            events in proptest::collection::vec((
                "message_start|content_block_start|content_block_delta|content_block_stop|message_delta|message_stop|error|x",
                r#"\{("type":"(content_block_delta|message_delta)",)?("index":(-1|0|99999999999),)?"(delta|message|content_block|usage|error)":(null|1|\[\]|\{\}|\{"type":"text","text":"a"\}|\{"text":1\}|\{"partial_json":"\{"\}|\{"citation":1\})\}|[ -~]{0,20}"#,
            ), 0..12)
        ) {
            let mut assembler = Assembler::default();
            for (event, data) in &events {
                let _ = assembler.push(event, data);
            }
            let _ = assembler.tokens();
            let _ = assembler.into_message();
        }
    }
}
