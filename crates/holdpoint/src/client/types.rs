//! What the API answers, as far as the terminal shows it. What is missing is empty: an older or
//! newer control plane is still of use.

use holdpoint_model::{
    EventBody, HoldKind, Incarnation, Seq, UnixMs,
    hold::{Assignee, Question},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// One execution.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Execution {
    /// Its id.
    pub id: String,
    /// The agent.
    pub agent: String,
    /// For lists.
    pub title: String,
    /// `starting`, `running`, `awaiting`, `finished`, `error`, `cancelled`.
    pub status: String,
    /// When it was created.
    #[serde(deserialize_with = "time")]
    pub created_at: Option<UnixMs>,
    /// When it last changed.
    #[serde(deserialize_with = "time")]
    pub updated_at: Option<UnixMs>,
}

impl Execution {
    /// Whether it is over.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.status.as_str(), "finished" | "error" | "cancelled")
    }
}

/// One hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct HoldItem {
    /// Its id.
    pub id: String,
    /// Whose.
    pub execution: String,
    /// The agent.
    pub agent: String,
    /// The conversation's title.
    pub title: String,
    /// What kind of answer it needs.
    pub kind: Option<HoldKind>,
    /// Where it stands.
    pub state: String,
    /// When it was opened.
    #[serde(deserialize_with = "time")]
    pub opened_at: Option<UnixMs>,
    /// When it expires.
    #[serde(deserialize_with = "time")]
    pub expires_at: Option<UnixMs>,
    /// Whose it is, if somebody said so.
    pub assigned_to: Option<Assignee>,
    /// What is asked.
    pub subject: SubjectItem,
}

impl HoldItem {
    /// The questions of a `question` hold.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        self.subject
            .input
            .get("questions")
            .and_then(Value::as_array)
            .map(|list| list.iter().filter_map(|q| serde_json::from_value(q.clone()).ok()).collect())
            .unwrap_or_default()
    }
}

/// What is asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SubjectItem {
    /// The tool; empty for a reply.
    pub tool: String,
    /// Its arguments.
    pub input: Value,
    /// What a decision is bound to.
    pub digest: String,
    /// The CLI's line about it.
    pub description: Option<String>,
    /// What "for this conversation" would allow.
    pub grant: Option<String>,
    /// Why a person has to look although something was decided before.
    pub caution: Option<String>,
}

/// A session that runs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct WorkerItem {
    /// Whose.
    pub execution: String,
    /// The agent.
    pub agent: String,
    /// Where its worker stands.
    pub residency: String,
    /// The worker's number.
    pub incarnation: u32,
    /// What its engine says; None where that knows nothing of it.
    pub worker: Option<InstanceItem>,
}

/// What is seen of a worker.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct InstanceItem {
    /// Whose.
    pub execution: String,
    /// Its number.
    pub incarnation: u32,
    /// Where it runs.
    pub engine: String,
    /// The engine's word.
    pub state: String,
    /// Since when.
    #[serde(deserialize_with = "time")]
    pub started_at: Option<UnixMs>,
    /// Its process.
    pub worker_pid: Option<i64>,
    /// Its session's.
    pub session_pids: Vec<i64>,
    /// Memory in bytes.
    pub memory_bytes: UsageItem,
    /// Processes and threads.
    pub processes: UsageItem,
    /// Processor time in milliseconds.
    pub cpu_ms: u64,
    /// Processors.
    pub cpus: Option<f64>,
    /// What is around the session.
    pub container: Option<ContainerItem>,
}

/// How much of something is used.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct UsageItem {
    /// Now.
    pub used: u64,
    /// At most.
    pub limit: Option<u64>,
}

impl UsageItem {
    /// In words.
    pub(crate) fn said(self, say: impl Fn(u64) -> String) -> String {
        match self.limit {
            Some(limit) => format!("{} of {}", say(self.used), say(limit)),
            None => say(self.used),
        }
    }
}

/// A session's container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ContainerItem {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// The image's digest.
    pub image_digest: String,
    /// The user inside.
    pub user: String,
    /// Its network.
    pub network: String,
    /// What it sees of the machine.
    pub mounts: Vec<MountItem>,
}

/// A folder of the machine in a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MountItem {
    /// Where it is.
    pub source: String,
    /// Where the container has it.
    pub target: String,
    /// Whether it may not be written to.
    pub read_only: bool,
}

/// The user that the terminal on this machine acts as.
pub const OPERATOR: &str = "operator";

/// What that user's token is called. Tokens that people make are called as their user is.
pub const TERMINAL: &str = "terminal";

/// A token, without the token itself.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TokenItem {
    /// Its id.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Who acts with it.
    pub user: String,
    /// What they may do.
    pub role: String,
    /// What the token may be used for, as far as they may.
    pub scopes: Vec<String>,
    /// When it was made.
    #[serde(deserialize_with = "time", serialize_with = "rfc3339")]
    pub created_at: Option<UnixMs>,
    /// Until when it is good; for ever where absent.
    #[serde(deserialize_with = "time", serialize_with = "rfc3339")]
    pub expires_at: Option<UnixMs>,
    /// When it was used last.
    #[serde(deserialize_with = "time", serialize_with = "rfc3339")]
    pub used_at: Option<UnixMs>,
}

/// A person or service that signs in.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct UserItem {
    /// Their id.
    pub id: String,
    /// What they are called.
    pub name: String,
    /// What they may do.
    pub role: String,
    /// Whether they are let in.
    pub active: bool,
    /// Whether they can sign in to the panel.
    pub has_password: bool,
    /// When they were created.
    #[serde(deserialize_with = "time", serialize_with = "rfc3339")]
    pub created_at: Option<UnixMs>,
}

impl TokenItem {
    /// Whether the terminal on this machine signs in with it.
    #[must_use]
    pub fn is_terminals(&self) -> bool {
        self.user == OPERATOR && self.name == TERMINAL
    }
}

/// One event of a log, as the stream has it.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEvent {
    /// Its place.
    pub seq: Seq,
    /// When.
    pub at: UnixMs,
    /// Which worker told it.
    pub incarnation: Option<Incarnation>,
    /// What happened; None where this program has no word for it.
    pub body: Option<EventBody>,
    /// As it came.
    pub raw: Value,
}

impl LogEvent {
    /// Out of the JSON of the stream.
    #[must_use]
    pub fn new(raw: Value) -> Self {
        Self {
            seq: raw["seq"].as_u64().unwrap_or_default(),
            at: instant(&raw["at"]).unwrap_or_default(),
            incarnation: raw["incarnation"].as_u64().and_then(|n| u32::try_from(n).ok()),
            body: serde_json::from_value(raw.clone()).ok(),
            raw,
        }
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UnixMs>, D::Error> {
    Ok(instant(&Value::deserialize(deserializer)?))
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn rfc3339<S: Serializer>(at: &Option<UnixMs>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(holdpoint_web::time::rfc3339).serialize(serializer)
}

/// Milliseconds since the epoch, or RFC 3339.
fn instant(value: &Value) -> Option<UnixMs> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond),
        _ => None,
    }
}

/// The items of a page.
#[must_use]
pub fn items<T: for<'de> Deserialize<'de>>(page: &Value) -> Vec<T> {
    page["items"]
        .as_array()
        .map(|items| items.iter().filter_map(|item| serde_json::from_value(item.clone()).ok()).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_of_an_unknown_kind_is_kept_as_it_came() {
        let raw = json!({"seq": 3, "at": 5, "kind": "from_the_future", "data": {"x": 1}});
        let event = LogEvent::new(raw.clone());
        assert_eq!((event.seq, event.body, event.raw), (3, None, raw));
        let known = json!({"seq": 4, "at": "1970-01-01T00:00:00.005Z", "kind": "notice", "data": {"level": "info", "text": "t"}});
        let event = LogEvent::new(known);
        assert_eq!(event.at, 5);
        assert!(matches!(event.body, Some(EventBody::Notice { .. })));
    }

    #[test]
    fn a_hold_reads_with_what_is_missing_left_out() {
        let hold: HoldItem =
            serde_json::from_value(json!({"id": "h", "kind": "tool", "subject": {"tool": "Bash"}}))
                .expect("lenient");
        assert_eq!((hold.kind, hold.subject.tool.as_str()), (Some(HoldKind::Tool), "Bash"));
    }
}
