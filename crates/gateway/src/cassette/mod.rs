//! A conversation's model traffic in a file, to be played back: a test of everything but the model.
//!
//! JSON lines. The first says what it is; each other is one call of the gateway's record, in the order of
//! their completion: whose it was, what was new in its request ([`Gist`]), and the whole response. Keys are
//! sorted and nothing of one recording's own is in it (no times, no tokens, no paths of the machine), so that
//! two recordings can be compared line by line. The session's folder is written as [`PLACE`].

mod play;

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    gist::Gist, limits::MAX_CASSETTE_BYTES, record::Footprint, rehearsal::ScriptError, replay, thread::Thread,
};

/// What stands for the folder of everything that is a session's.
pub(crate) const PLACE: &str = "{{place}}";

/// The version of the format that is written, and the only one that is read.
const VERSION: u32 = 1;

/// How a cassette begins; no script does.
const BEGINNING: &str = "{\"cassette\":";

/// Recorded calls, ready to be played.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cassette {
    /// What messages call it: its file's name.
    pub name: String,
    /// The agent that it was recorded with.
    pub agent: String,
    calls: Vec<Taped>,
}

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Taped {
    pub(crate) thread: Thread,
    pub(crate) asked: Gist,
    pub(crate) response: Value,
    pub(crate) footprint: Footprint,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    cassette: u32,
    agent: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    thread: Thread,
    asked: Gist,
    response: Value,
}

impl Cassette {
    /// An empty one.
    #[must_use]
    pub fn new(agent: &str) -> Self {
        Self { name: String::new(), agent: agent.to_owned(), calls: Vec::new() }
    }

    /// Whether this text is, or means to be, a cassette.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.trim_start().starts_with(BEGINNING)
    }

    /// Adds a call of the record. `place` is the session's folder.
    pub fn add(&mut self, thread: &Thread, asked: Gist, response: &Value, place: &str) {
        let response = with_strings(response, &|text| without_place(text, place));
        let footprint = replay::footprint(&response);
        self.calls.push(Taped { thread: thread.clone(), asked, response, footprint });
    }

    /// How many calls there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // By hand, so that it begins as it is recognised by.
        let _ = writeln!(text, "{BEGINNING}{VERSION},\"agent\":{}}}", json!(self.agent));
        let mut agents: Vec<&Thread> = Vec::new();
        for call in &self.calls {
            let thread = match &call.thread {
                // Their ids are others in every recording.
                Thread::Agent(_) => {
                    let number =
                        agents.iter().position(|known| **known == call.thread).unwrap_or_else(|| {
                            agents.push(&call.thread);
                            agents.len() - 1
                        });
                    Thread::Agent((number + 1).to_string())
                }
                other => other.clone(),
            };
            let _ = writeln!(
                text,
                "{}",
                json!({"thread": thread, "asked": call.asked, "response": call.response})
            );
        }
        text
    }

    /// Reads a file's text. `name` is what messages call it.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(text: &str, name: &str) -> Result<Self, ScriptError> {
        let error = |line: usize, message: String| ScriptError {
            name: name.to_owned(),
            line: u64::try_from(line).unwrap_or(u64::MAX),
            message,
        };
        if text.len() > MAX_CASSETTE_BYTES {
            let message =
                format!("a cassette may have {MAX_CASSETTE_BYTES} bytes, this one has {}", text.len());
            return Err(error(1, message));
        }
        let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        let (at, first) = lines.next().unwrap_or((1, ""));
        let head: Head = serde_json::from_str(first)
            .map_err(|mistake| error(at, format!("this does not begin like a cassette: {mistake}")))?;
        if head.cassette != VERSION {
            let message = format!(
                "a cassette of version {}, and this program plays {VERSION}: export it again",
                head.cassette
            );
            return Err(error(at, message));
        }
        let mut cassette = Self { name: name.to_owned(), ..Self::new(&head.agent) };
        for (at, line) in lines {
            let Line { thread, asked, response } = serde_json::from_str(line)
                .map_err(|mistake| error(at, format!("this is no call of a cassette: {mistake}")))?;
            if response["type"] != "message" {
                return Err(error(at, "`response` is no message of the model".into()));
            }
            let footprint = replay::footprint(&response);
            cassette.calls.push(Taped { thread, asked, response, footprint });
        }
        if cassette.is_empty() {
            return Err(error(
                1,
                "there is no call on this cassette: nothing can be answered from it".into(),
            ));
        }
        Ok(cassette)
    }
}

/// The text with the session's folder written as [`PLACE`].
pub(crate) fn without_place(text: &str, place: &str) -> String {
    if place.is_empty() { text.to_owned() } else { text.replace(place, PLACE) }
}

/// A JSON value with each of its strings changed.
fn with_strings(value: &Value, change: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(text)),
        Value::Array(items) => items.iter().map(|item| with_strings(item, change)).collect(),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, item)| (key.clone(), with_strings(item, change))).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
