//! What the driver writes to stdin.
//!
//! One malformed line ends the CLI with code 1, so nothing outside this module makes lines, and every line is
//! made by serialising a type.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::event::RequestId;

/// One line for stdin, newline included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line(Vec<u8>);

impl Line {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn new(message: &impl Serialize) -> Result<Self, serde_json::Error> {
        let mut bytes = serde_json::to_vec(message)?;
        // Serialised strings hold no raw newline; text that is passed through unparsed must not either.
        bytes.retain(|byte| *byte != b'\n' && *byte != b'\r');
        bytes.push(b'\n');
        Ok(Self(bytes))
    }

    /// A request of the host.
    pub(crate) fn request(
        id: &str,
        subtype: &str,
        mut fields: Map<String, Value>,
    ) -> Result<Self, serde_json::Error> {
        fields.insert("subtype".into(), subtype.into());
        Self::new(&json!({"type": "control_request", "request_id": id, "request": fields}))
    }

    /// The answer to a request of the CLI.
    pub(crate) fn success(id: &RequestId, response: &RawValue) -> Result<Self, serde_json::Error> {
        #[derive(Serialize)]
        struct Outer<'a> {
            r#type: &'a str,
            response: Inner<'a>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            subtype: &'a str,
            request_id: &'a RequestId,
            response: &'a RawValue,
        }
        Self::new(&Outer {
            r#type: "control_response",
            response: Inner { subtype: "success", request_id: id, response },
        })
    }

    /// The refusal of a request of the CLI.
    pub(crate) fn error(id: &RequestId, error: &str) -> Result<Self, serde_json::Error> {
        Self::new(&json!({
            "type": "control_response",
            "response": {"subtype": "error", "request_id": id, "error": error},
        }))
    }
}

/// A message of the user.
#[derive(Debug, Clone, PartialEq)]
pub struct UserMessage {
    uuid: Uuid,
    content: Value,
    client_composed: bool,
}

impl UserMessage {
    /// A text, under a random uuid. The CLI acts on `/commands` and `@files` in it, unless
    /// [`verbatim`](Self::verbatim) is set.
    pub fn text(text: impl Into<String>) -> Self {
        Self { uuid: Uuid::new_v4(), content: Value::String(text.into()), client_composed: false }
    }

    /// Several parts.
    pub fn parts(parts: impl IntoIterator<Item = ContentPart>) -> Self {
        let content = parts.into_iter().map(ContentPart::into_json).collect();
        Self { uuid: Uuid::new_v4(), content: Value::Array(content), client_composed: false }
    }

    /// The uuid under which the CLI keeps the message. A host that chooses it can tell after a crash, from
    /// the [transcript](crate::transcript), whether the message had arrived.
    #[must_use]
    pub fn uuid(mut self, uuid: Uuid) -> Self {
        self.uuid = uuid;
        self
    }

    /// Take the text as it is: no slash commands, no `@file` handling. Older CLIs ignore this.
    #[must_use]
    pub fn verbatim(mut self) -> Self {
        self.client_composed = true;
        self
    }

    /// The uuid.
    pub fn id(&self) -> Uuid {
        self.uuid
    }

    pub(crate) fn line(&self) -> Result<Line, serde_json::Error> {
        let mut message = json!({
            "type": "user",
            "message": {"role": "user", "content": self.content},
            "parent_tool_use_id": null,
            "session_id": "",
            "uuid": self.uuid,
        });
        if self.client_composed {
            message["client_composed"] = true.into();
        }
        Line::new(&message)
    }
}

/// One part of a user message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentPart {
    /// Text.
    Text(String),
    /// An image.
    Image {
        /// `image/png`, ….
        media_type: String,
        /// The bytes, base64.
        data: String,
    },
    /// A document.
    Document {
        /// `application/pdf`, ….
        media_type: String,
        /// The bytes, base64.
        data: String,
    },
}

impl ContentPart {
    fn into_json(self) -> Value {
        let source = |media_type, data| json!({"type": "base64", "media_type": media_type, "data": data});
        match self {
            Self::Text(text) => json!({"type": "text", "text": text}),
            Self::Image { media_type, data } => json!({"type": "image", "source": source(media_type, data)}),
            Self::Document { media_type, data } => {
                json!({"type": "document", "source": source(media_type, data)})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{HookAnswer, PermissionAnswer};
    use crate::event::PermissionUpdate;
    use proptest::prelude::*;

    /// What the CLI wants of a line: one newline, at the end, and before it an object with a type.
    fn check(line: &Line) -> Value {
        let (last, rest) = line.as_bytes().split_last().unwrap();
        assert_eq!(*last, b'\n');
        assert!(!rest.contains(&b'\n') && !rest.contains(&b'\r'));
        let value: Value = serde_json::from_slice(rest).unwrap();
        assert!(value["type"].is_string());
        value
    }

    fn map(entries: Vec<(String, String)>) -> Map<String, Value> {
        entries.into_iter().map(|(key, value)| (key, Value::String(value))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn case_45_every_line_is_valid(
            text in any::<String>(),
            id in any::<String>(),
            entries in prop::collection::vec((any::<String>(), any::<String>()), 0..5),
        ) {
            let parts = [
                ContentPart::Text(text.clone()),
                ContentPart::Image { media_type: text.clone(), data: id.clone() },
                ContentPart::Document { media_type: id.clone(), data: text.clone() },
            ];
            for message in [UserMessage::text(text.clone()).verbatim(), UserMessage::parts(parts)] {
                let value = check(&message.line().unwrap());
                prop_assert_eq!(&value["message"]["role"], "user");
            }
            let request_id = RequestId::new(id.clone());
            let value = check(&Line::request(&id, &text, map(entries.clone())).unwrap());
            prop_assert_eq!(&value["request"]["subtype"], &text);
            check(&Line::error(&request_id, &text).unwrap());

            let asked = serde_json::value::to_raw_value(&map(entries.clone())).unwrap();
            for answer in [
                PermissionAnswer::allow(),
                PermissionAnswer::allow_with(map(entries.clone())).and(PermissionUpdate::allow_tool(&text, Some(&id))),
                PermissionAnswer::deny(text.clone()),
                PermissionAnswer::deny_and_interrupt(text.clone()),
            ] {
                let value = check(&Line::success(&request_id, &answer.to_json(&asked).unwrap()).unwrap());
                let response = &value["response"]["response"];
                match response["behavior"].as_str() {
                    Some("allow") => prop_assert_eq!(&response["updatedInput"], &Value::Object(map(entries.clone()))),
                    _ => prop_assert!(!response["message"].as_str().unwrap().trim().is_empty()),
                }
            }
            for answer in [
                HookAnswer::deny(&text), HookAnswer::ask(&text).with_input(map(entries.clone())), HookAnswer::block(&text),
                HookAnswer::stop(&text), HookAnswer::context(crate::HookEvent::Stop, &text),
            ] {
                let raw = serde_json::value::to_raw_value(&answer.0.unwrap()).unwrap();
                check(&Line::success(&request_id, &raw).unwrap());
            }
        }
    }

    /// Text that is passed through unparsed is the one thing that could bring a newline of its own.
    #[test]
    fn a_newline_between_tokens_is_taken_out() {
        let asked = RawValue::from_string("{\n \"a\":\r\n1}".into()).unwrap();
        let answer = PermissionAnswer::allow().to_json(&asked).unwrap();
        let value = check(&Line::success(&RequestId::new("r"), &answer).unwrap());
        assert_eq!(value["response"]["response"]["updatedInput"], json!({"a": 1}));
    }
}
