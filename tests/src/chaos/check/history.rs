//! What the checker reads, and nothing more.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// One event, as `holdpoint export` prints it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Event {
    /// Its place in the log.
    pub seq: u64,
    /// Which worker told it, if one did.
    #[serde(default)]
    pub incarnation: Option<u64>,
    /// The worker's own number for it.
    #[serde(default)]
    pub worker_seq: Option<u64>,
    /// When, as text.
    #[serde(default)]
    pub at: String,
    /// What kind.
    pub kind: String,
    /// What.
    #[serde(default)]
    pub data: Value,
}

impl Event {
    /// A text of the event's data; empty where there is none.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.data[field].as_str().unwrap_or_default()
    }
}

/// Everything about one conversation.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// Its id.
    pub id: String,
    /// What the harness played in it.
    pub scene: String,
    /// How it ended.
    pub status: String,
    /// How it should have ended.
    pub expected_status: String,
    /// Its exported log.
    pub events: Vec<Event>,
    /// What the harness saw of it while it went on, in the order in which it came.
    pub seen: Vec<Event>,
    /// The numbers of the facts in each incarnation's journal.
    pub journals: BTreeMap<u64, Vec<u64>>,
    /// The texts of the user messages in the session's own transcript.
    pub transcript: Vec<String>,
    /// Processes that still run although it is over.
    pub processes_left: usize,
}

impl Recorded {
    /// The events of one kind.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Event> {
        self.events.iter().filter(move |event| event.kind == kind)
    }

    /// Whether the agent's policy lets our tool run again without asking.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        let created = self.of_kind("execution_created").next();
        let rules = created.map(|event| &event.data["definition"]["policy"]["repeatable"]);
        let mut rules = rules.and_then(Value::as_array).into_iter().flatten();
        rules.any(|rule| rule.as_str().is_some_and(|rule| rule.contains("/note ")))
    }
}

/// A line that a tool wrote when it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce {
    /// Whose workspace it ran in.
    pub execution: String,
    /// What is unique about the command.
    pub token: String,
    /// The rest of what it was told to write.
    pub label: String,
}

/// An answer that the harness gave, and what it was told.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Whose hold.
    pub execution: String,
    /// Which.
    pub hold: String,
    /// Who answered: the name of the account.
    pub by: String,
    /// What was sent.
    pub request: Value,
    /// The input that was shown.
    pub shown: Value,
    /// How often the very command had run already.
    pub ran_before: usize,
    /// What came back.
    pub outcome: Outcome,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Taken: committed, whatever happens now.
    Taken,
    /// Refused.
    Refused {
        /// The HTTP status.
        status: u16,
        /// Who had answered first, if that is why.
        answered_by: Option<String>,
    },
    /// The connection broke before an answer came: it may have been taken or not.
    Unknown,
}

/// A message that the harness sent, and what became of it.
#[derive(Clone, Debug)]
pub struct Said {
    /// To whom.
    pub execution: String,
    /// Its text, which is unlike any other.
    pub text: String,
    /// What came back.
    pub outcome: Outcome,
}

/// A call that reached the scripted model, from its own record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct UpstreamCall {
    /// Whose session asked.
    pub execution: String,
    /// Which of its conversations: `main`, `agent:…`, `side`.
    pub thread: String,
    /// The scene.
    pub scene: String,
    /// The turn in it.
    pub turn: usize,
    /// The step in that.
    pub step: usize,
    /// What became of it.
    pub outcome: String,
    /// The message that was issued.
    #[serde(default)]
    pub message_id: Option<String>,
    /// The calls in it.
    #[serde(default)]
    pub tool_use_ids: Vec<String>,
}

/// Everything that was recorded.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Every conversation.
    pub executions: Vec<Recorded>,
    /// What ran.
    pub nonces: Vec<Nonce>,
    /// What was asked of the model.
    pub upstream: Vec<UpstreamCall>,
    /// What was answered.
    pub answers: Vec<Answered>,
    /// What was said besides.
    pub said: Vec<Said>,
}

/// Token and label of a command that runs our tool: `…/note <before> <after> <token> <label>`.
#[must_use]
pub fn words_of(input: &Value) -> Option<(String, String)> {
    let command = input["command"].as_str()?;
    let mut words = command.split_whitespace();
    words.find(|word| word.ends_with("/note"))?;
    let mut words = words.skip(2);
    Some((words.next()?.to_owned(), words.next().unwrap_or_default().to_owned()))
}
