//! Which of a session's conversations with the model a request belongs to.
//!
//! Seen in the traffic of CLI 2.1.330 (`-p --input-format stream-json`), loopback, all requests
//! `POST /v1/messages?beta=true`, `stream: true`:
//!
//! | who | what tells |
//! | --- | --- |
//! | main loop | no agent header; tools on offer; `thinking` and `context_management` present |
//! | subagent (`Agent` tool) | header `x-claude-code-agent-id: a<16 hex>`, the `agent_id` of its asks; its system prompt's first block ends with `cc_is_subagent=true;` |
//! | title of the session | no tools, no `thinking`, `output_config.format` set; sent beside the first main call of a turn unless `CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC` |
//! | compaction | the main loop's own request, tools and system prompt included, plus a last user text that begins `CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.` |
//!
//! A subagent's id does **not** survive: after a resume the same `Agent` tool use starts a subagent with
//! a new id. Its first user message (the tool's `prompt`) is the same, so that is what a place in the
//! record is found by, see [`Place`].
//!
//! `X-Claude-Code-Session-Id` and `metadata.user_id` name the session, for all of them alike. The first
//! system block (`x-anthropic-billing-header: cc_version=2.1.330.<3 hex>`) changes with the first message.

use std::{fmt, str::FromStr};

use holdpoint_model::{CallId, Digest};
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::wire::{Merged, Request, Role};

/// The header by which the CLI names a subagent.
pub const AGENT_HEADER: &str = "x-claude-code-agent-id";

/// How the CLI begins the message that asks for a conversation's summary.
const COMPACTION: &str = "CRITICAL: Respond with TEXT ONLY.";

/// One of a session's conversations with the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Thread {
    /// The conversation itself.
    Main,
    /// A subagent, by the id the CLI gave it in this process.
    Agent(String),
    /// Something on the side that nobody continues: titles, summaries, the reading of a web page.
    Side,
}

impl Thread {
    /// Whose request this is.
    #[must_use]
    pub fn of(headers: &HeaderMap, request: &Request) -> Self {
        let wants_format = request.output_config.as_ref().is_some_and(|config| config.format.is_some());
        let thinks = request.thinking.as_ref().is_some_and(|thinking| thinking.kind != "disabled");
        let only_text = request.tools.is_empty() && !thinks;
        if wants_format || only_text || is_compaction(request) {
            return Self::Side;
        }
        match headers.get(AGENT_HEADER).and_then(|id| id.to_str().ok()) {
            Some(id) if !id.is_empty() => Self::Agent(id.to_owned()),
            _ => Self::Main,
        }
    }

    /// Whether its calls are replayed.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        !matches!(self, Self::Side)
    }
}

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => f.write_str("main"),
            Self::Agent(id) => write!(f, "agent:{id}"),
            Self::Side => f.write_str("side"),
        }
    }
}

/// A thread's name that is neither `main`, `side` nor `agent:<id>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no thread: expected main, side or agent:<id>")]
pub struct UnknownThread(String);

impl FromStr for Thread {
    type Err = UnknownThread;
    fn from_str(text: &str) -> Result<Self, UnknownThread> {
        match text {
            "main" => Ok(Self::Main),
            "side" => Ok(Self::Side),
            _ => match text.strip_prefix("agent:") {
                Some(id) if !id.is_empty() => Ok(Self::Agent(id.to_owned())),
                _ => Err(UnknownThread(text.to_owned())),
            },
        }
    }
}

impl From<Thread> for String {
    fn from(thread: Thread) -> Self {
        thread.to_string()
    }
}

impl TryFrom<String> for Thread {
    type Error = UnknownThread;
    fn try_from(text: String) -> Result<Self, UnknownThread> {
        text.parse()
    }
}

/// Where in a conversation a request stands. The record of a turn is a tree of these: every response
/// hangs on the recorded response it followed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// What the conversation begins with: a digest of its first user text. A compaction begins a
    /// conversation anew, and a subagent's is its prompt.
    pub root: String,
    /// How many assistant messages the request held: a text counts as this response's only from there on.
    pub assistants: u32,
    /// The last response of the turn's record that the request contained.
    pub after: Option<CallId>,
}

impl Place {
    /// Before anything was answered.
    #[must_use]
    pub fn start(root: &str) -> Self {
        Self { root: root.to_owned(), assistants: 0, after: None }
    }
}

/// A thread and a place in it, as one line of text: for a record that keeps them in a single column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The thread; the line's first word.
    pub thread: Thread,
    /// The place.
    pub place: Place,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { root, assistants, after } = &self.place;
        write!(f, "{} {root} {assistants}", self.thread)?;
        after.iter().try_for_each(|after| write!(f, " {after}"))
    }
}

impl FromStr for Line {
    type Err = UnknownThread;
    fn from_str(text: &str) -> Result<Self, UnknownThread> {
        let unknown = || UnknownThread(text.to_owned());
        let mut words = text.split(' ');
        let thread = words.next().ok_or_else(unknown)?.parse()?;
        let root = words.next().ok_or_else(unknown)?.to_owned();
        let assistants = words.next().and_then(|word| word.parse().ok()).ok_or_else(unknown)?;
        let after = words.next().map(|word| word.parse().map_err(|_| unknown())).transpose()?;
        Ok(Self { thread, place: Place { root, assistants, after } })
    }
}

/// The digest that a conversation is recognised by.
///
/// White space around the words does not count: when the CLI puts "Continue from where you left off."
/// behind a message, it also puts a line end to the message's own text (2.1.330).
#[must_use]
pub fn root(request: &Request) -> String {
    let first = first_prompt(&request.merged()).unwrap_or_default();
    Digest::of_bytes(first.trim().as_bytes()).as_str().to_owned()
}

/// The first user text of a conversation that is not a reminder of the CLI's own.
#[must_use]
pub fn first_prompt(merged: &[Merged<'_>]) -> Option<String> {
    let user = merged.iter().filter(|message| message.role == Role::User);
    let mut texts = user.flat_map(|message| message.blocks.iter().filter_map(|block| block.as_text()));
    texts.find(|text| !text.trim_start().starts_with("<system-reminder>")).map(str::to_owned)
}

fn is_compaction(request: &Request) -> bool {
    let last = request.messages().iter().rev().find(|message| message.role == Role::User);
    let last_text = last.and_then(|message| message.content.0.iter().rev().find_map(|block| block.as_text()));
    last_text.is_some_and(|text| text.starts_with(COMPACTION))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn main_request() -> Value {
        json!({"model": "m", "max_tokens": 9, "thinking": {"type": "adaptive"}, "tools": [{"name": "Bash"}],
               "messages": [{"role": "user", "content": [
                   {"type": "text", "text": "<system-reminder>\nToday is…"}, {"type": "text", "text": "do it"}]}]})
    }

    #[rstest]
    #[case::main(json!({}), None, Thread::Main)]
    #[case::main_without_tools(json!({"tools": []}), None, Thread::Main)]
    #[case::main_without_thinking(json!({"thinking": null}), None, Thread::Main)]
    #[case::subagent(json!({}), Some("a1"), Thread::Agent("a1".into()))]
    #[case::title(json!({"tools": [], "thinking": null, "output_config": {"format": {"type": "json_schema"}}}), None, Thread::Side)]
    #[case::web_page(json!({"tools": [], "thinking": {"type": "disabled"}}), None, Thread::Side)]
    #[case::compaction(json!({"messages": [{"role": "user", "content": "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools."}]}), None, Thread::Side)]
    fn tells_threads_apart(#[case] change: Value, #[case] agent: Option<&str>, #[case] expected: Thread) {
        let mut request = main_request();
        for (key, value) in change.as_object().expect("object") {
            request[key] = value.clone();
        }
        let mut headers = HeaderMap::new();
        if let Some(agent) = agent {
            headers.insert(AGENT_HEADER, agent.parse().expect("header"));
        }
        let request = Request::read(request.to_string().as_bytes()).expect("request");
        let thread = Thread::of(&headers, &request);
        assert_eq!(thread, expected);
        assert_eq!(thread.to_string().parse(), Ok(expected));
    }

    #[test]
    fn a_line_says_everything() {
        let mut place = Place { root: "sha256:ab".into(), assistants: 3, after: None };
        let text = Line { thread: Thread::Main, place: place.clone() }.to_string();
        assert_eq!(text, "main sha256:ab 3");
        assert_eq!(text.parse(), Ok(Line { thread: Thread::Main, place: place.clone() }));
        place.after = Some(CallId(uuid::Uuid::from_u128(7)));
        let line = Line { thread: Thread::Agent("a1".into()), place };
        assert_eq!(line.to_string().parse(), Ok(line));
        assert!("main".parse::<Line>().is_err());
    }

    #[test]
    fn a_conversation_is_recognised_by_its_first_own_words() {
        let request = Request::read(main_request().to_string().as_bytes()).expect("request");
        assert_eq!(first_prompt(&request.merged()).as_deref(), Some("do it"));
    }
}
