//! What the gateway reads of a Messages request.
//!
//! The body itself is passed on byte for byte; this is a lenient reading beside it, for the thread, the
//! replay and the rehearsal. Unknown fields and block types are skipped, so that a newer CLI still works.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use crate::error::ApiError;

/// A Messages request, as far as the gateway looks at it.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Request {
    /// The model's name.
    pub model: Option<String>,
    /// The most output tokens the session accepts.
    pub max_tokens: Option<u64>,
    /// The conversation.
    pub messages: Option<Vec<Message>>,
    /// Whether the answer is to be a stream of events.
    #[serde(default)]
    pub stream: bool,
    /// The system prompt's text blocks.
    #[serde(default)]
    pub system: Content,
    /// The tools on offer; only their number and names matter here.
    #[serde(default)]
    pub tools: Vec<ToolName>,
    /// Extended thinking.
    pub thinking: Option<Thinking>,
    /// Holds `format` when an answer in a JSON schema is wanted.
    pub output_config: Option<OutputConfig>,
}

/// A tool on offer.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ToolName {
    /// Its name, absent for some server tools.
    #[serde(default)]
    pub name: String,
}

/// The request's `thinking` field.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Thinking {
    /// `adaptive`, `enabled` or `disabled`.
    #[serde(default, rename = "type")]
    pub kind: String,
}

/// The request's `output_config` field.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct OutputConfig {
    /// Present when the answer has to follow a schema.
    pub format: Option<IgnoredAny>,
}

/// One message of the conversation.
#[derive(Debug, Clone, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What.
    #[serde(default)]
    pub content: Content,
}

/// Who speaks in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The person, or tool results.
    User,
    /// The model.
    Assistant,
    /// Instructions in the middle of a conversation. CLI 2.1.330 sends its environment, the deferred
    /// tools and the kinds of agents this way, right after the first user message.
    System,
    /// Something newer than this code.
    #[serde(other)]
    Unknown,
}

/// A message's content: its blocks. A plain string becomes one text block.
#[derive(Debug, Clone, Default)]
pub struct Content(pub Vec<Block>);

/// One content block, flat: only the fields of its `type` are present.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Block {
    /// `text`, `thinking`, `redacted_thinking`, `tool_use`, `tool_result`, `image`, …
    #[serde(default, rename = "type")]
    pub kind: String,
    /// A text block's text.
    pub text: Option<String>,
    /// A thinking block's text.
    pub thinking: Option<String>,
    /// A thinking block's signature.
    pub signature: Option<String>,
    /// A tool use's id.
    pub id: Option<String>,
    /// A tool use's tool.
    pub name: Option<String>,
    /// Which tool use a tool result answers.
    pub tool_use_id: Option<String>,
    /// Whether a tool result is that of a failure, or of a refusal.
    pub is_error: Option<bool>,
    /// A tool result's content.
    #[serde(default)]
    pub content: Content,
}

impl Request {
    /// Reads a request's body.
    ///
    /// # Errors
    /// The API's 400 when the body is not JSON, or not shaped like a Messages request.
    pub fn read(body: &[u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(body).map_err(|error| {
            let what = match error.classify() {
                serde_json::error::Category::Data => error.to_string(),
                _ => format!("The request body is not valid JSON: {error}"),
            };
            ApiError::invalid(what)
        })
    }

    /// The conversation, empty when the field is missing.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        self.messages.as_deref().unwrap_or_default()
    }

    /// The conversation in the order that counts: neighbours of one role are one message, as the API
    /// has it, and instructions in between (`role: system`) are left out.
    #[must_use]
    pub fn merged(&self) -> Vec<Merged<'_>> {
        let mut merged: Vec<Merged<'_>> = Vec::new();
        for message in self.messages() {
            if !matches!(message.role, Role::User | Role::Assistant) {
                continue;
            }
            match merged.last_mut() {
                Some(last) if last.role == message.role => last.blocks.extend(&message.content.0),
                _ => merged.push(Merged { role: message.role, blocks: message.content.0.iter().collect() }),
            }
        }
        merged
    }

    /// The system prompt as one text.
    #[must_use]
    pub fn system_text(&self) -> String {
        self.system.text()
    }
}

/// Neighbouring messages of one role, as one.
#[derive(Debug, Clone)]
pub struct Merged<'a> {
    /// Who speaks.
    pub role: Role,
    /// All their blocks, in order.
    pub blocks: Vec<&'a Block>,
}

impl Content {
    /// All text in it, joined by line ends.
    #[must_use]
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self.0.iter().filter_map(|block| block.text.as_deref()).collect();
        texts.join("\n")
    }
}

impl Block {
    /// The text, if this is a text block.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if self.kind == "text" { self.text.as_deref() } else { None }
    }

    /// The id, if this is a tool use.
    #[must_use]
    pub fn as_tool_use(&self) -> Option<&str> {
        if self.kind == "tool_use" { self.id.as_deref() } else { None }
    }

    /// The answered id, if this is a tool result.
    #[must_use]
    pub fn as_tool_result(&self) -> Option<&str> {
        if self.kind == "tool_result" { self.tool_use_id.as_deref() } else { None }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

/// Reads both spellings without buffering, which serde's untagged enums would do.
struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of content blocks")
    }

    fn visit_str<E>(self, text: &str) -> Result<Content, E> {
        Ok(Content(vec![Block { kind: "text".into(), text: Some(text.into()), ..Block::default() }]))
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::default())
    }

    /// A search result or document holds an object here, which nobody in this crate reads.
    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Content::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
        let mut blocks = Vec::with_capacity(list.size_hint().unwrap_or(4));
        while let Some(block) = list.next_element()? {
            blocks.push(block);
        }
        Ok(Content(blocks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_spellings_of_content_and_skips_what_is_new() {
        let request = Request::read(
            br#"{"model":"m","max_tokens":5,"messages":[
                {"role":"user","content":"hi"},
                {"role":"system","content":[{"type":"text","text":"env"}],"output_config":{"effort":"low"}},
                {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"ok"}]},
                                          {"type":"hologram","source":{"content":{"a":1}}}]}],"later":[1]}"#,
        )
        .expect("readable");
        let merged = request.merged();
        assert_eq!(merged.len(), 1, "user, (system), user is one message");
        assert_eq!(merged[0].blocks[0].as_text(), Some("hi"));
        assert_eq!(merged[0].blocks[1].as_tool_result(), Some("t"));
        assert_eq!(merged[0].blocks[1].content.text(), "ok");
    }

    #[test]
    fn what_cannot_be_read_is_the_apis_400() {
        for body in [&b"{"[..], b"[]", b"{\"messages\":7}", b"{\"messages\":[{\"role\":1}]}", b"\xff"] {
            let error = Request::read(body).expect_err("unreadable");
            assert_eq!(error.status.as_u16(), 400);
            assert_eq!(error.kind, "invalid_request_error");
        }
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = Request::read(&body);
        }

        #[test]
        fn reading_json_of_any_shape_never_panics(text in r#"\{("messages"|"system"|"tools"|"thinking"):(\[|\{|"|null|1|\[\{"role":"user","content":)[\]\}"a-z:,0-9\[\{]{0,40}"#) {
            let _ = Request::read(text.as_bytes()).map(|request| request.merged().len());
        }
    }
}
