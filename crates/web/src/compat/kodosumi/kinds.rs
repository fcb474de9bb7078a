//! Events of the log as events of that API, in the order that its clients meet them: starting, inputs, meta,
//! running, upload, …, final, finished. Pure.

use std::collections::{BTreeMap, HashMap};

use holdpoint_model::{
    Event, EventBody, HoldId, HoldKind, UnixMs,
    event::{AssistantBlock, Block, Level, Message, ToolResult},
    hold::{Answer, Subject},
};
use serde_json::{Value, json};

use super::run;

/// Events that one of the log may become, so that ids are the same at every reading.
const IDS_PER_EVENT: u64 = 10;

/// One event of that API.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    /// Grows, and is the same at every reading.
    pub(super) id: u64,
    /// When.
    pub(super) at: UnixMs,
    /// The event's name.
    pub(super) kind: &'static str,
    /// As it is sent raw: JSON, or a text.
    pub(super) payload: String,
}

/// What cannot be told from the log alone.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The `meta` of this execution.
    pub(super) meta: Value,
    /// Attached files by path: bytes, and when they were changed.
    pub(super) sizes: BTreeMap<String, (u64, f64)>,
}

/// Reads a log from its beginning.
#[derive(Debug, Default)]
pub(super) struct Teller {
    is_running: bool,
    /// Files of the first message: told when it runs.
    attached: Vec<String>,
    /// Locks without a lease.
    open: HashMap<HoldId, HoldKind>,
}

type Said = Vec<(&'static str, String)>;

impl Teller {
    /// What the next event of the log becomes.
    pub(super) fn tell(&mut self, event: &Event, facts: &Facts) -> Vec<Told> {
        let said = self.say(event, facts);
        let ids = event.seq * IDS_PER_EVENT..;
        ids.zip(said).map(|(id, (kind, payload))| Told { id, at: event.at, kind, payload }).collect()
    }

    fn say(&mut self, event: &Event, facts: &Facts) -> Said {
        match &event.body {
            EventBody::ExecutionCreated(created) => vec![
                ("status", "starting".into()),
                ("inputs", json!({ "dict": created.inputs }).to_string()),
                ("meta", facts.meta.to_string()),
            ],
            EventBody::WorkerReady { .. } => self.running(facts),
            EventBody::MessageQueued(message) => self.message(message, facts),
            EventBody::Assistant(block) => assistant(block),
            EventBody::ToolResult(result) => vec![tool_result(result)],
            EventBody::HoldOpened { hold, hold_kind, subject, expires_at, .. } => {
                self.open.insert(*hold, *hold_kind);
                vec![("lock", lock(*hold, *hold_kind, subject, *expires_at))]
            }
            EventBody::HoldAnswered { hold, decision } => self.lease(*hold, answer(&decision.answer)),
            EventBody::HoldExpired { hold } => self.lease(*hold, json!({ "action": "expired" })),
            EventBody::HoldCancelled { hold, reason } => {
                self.lease(*hold, json!({ "action": "cancelled", "reason": reason }))
            }
            EventBody::HoldSuperseded { hold, .. } => self.lease(*hold, json!({ "action": "superseded" })),
            EventBody::WorkerLost { reason, .. } => vec![("stderr", reason.clone())],
            EventBody::ApiRetry { error, .. } => {
                vec![("debug", format!("the model call is tried again: {error}"))]
            }
            EventBody::Notice { level: Level::Info, text } => vec![("debug", text.clone())],
            EventBody::Notice { level: Level::Warning, text } => vec![("stderr", text.clone())],
            EventBody::TurnEnded(turn) if !turn.ok => {
                vec![("stderr", format!("the turn ended as {}: {}", turn.reason, turn.text))]
            }
            EventBody::ExecutionFinished { result, structured, .. } => vec![
                ("final", run::result(result, structured.as_ref()).to_string()),
                ("status", "finished".into()),
            ],
            EventBody::ExecutionFailed { error } => {
                vec![("error", run::described(error)), ("status", "error".into())]
            }
            EventBody::ExecutionCancelled { by } => {
                vec![("error", format!("{} ended it", by.name)), ("status", "error".into())]
            }
            _ => Vec::new(),
        }
    }

    fn running(&mut self, facts: &Facts) -> Said {
        if std::mem::replace(&mut self.is_running, true) {
            return Vec::new();
        }
        let mut said = vec![("status", "running".to_owned())];
        said.extend(upload(&std::mem::take(&mut self.attached), facts));
        said
    }

    fn message(&mut self, message: &Message, facts: &Facts) -> Said {
        if self.is_running {
            return upload(&message.files, facts).into_iter().collect();
        }
        self.attached.extend(message.files.iter().cloned());
        Vec::new()
    }

    /// The end of a lock, once: what was answered may still be cancelled.
    fn lease(&mut self, hold: HoldId, result: Value) -> Said {
        let Some(kind) = self.open.remove(&hold) else { return Vec::new() };
        let lease = json!({ "dict": { "name": kind.as_str(), "lid": hold, "result": result } });
        vec![("lease", lease.to_string())]
    }
}

fn upload(files: &[String], facts: &Facts) -> Option<(&'static str, String)> {
    if files.is_empty() {
        return None;
    }
    let files: Vec<Value> = files
        .iter()
        .map(|path| {
            let (size, last_modified) = facts.sizes.get(path).copied().unwrap_or_default();
            json!({ "path": super::files::shown_in(path), "size": size, "last_modified": last_modified })
        })
        .collect();
    Some(("upload", json!({ "Upload": { "files": files } }).to_string()))
}

fn assistant(said: &AssistantBlock) -> Said {
    // A subagent's words are not the answer.
    let is_main = said.parent_tool_use_id.is_none();
    match &said.block {
        Block::Text { text } if is_main => {
            vec![("result", json!({ "Markdown": { "body": text } }).to_string())]
        }
        Block::Text { text } | Block::Thinking { thinking: text } => vec![("debug", text.clone())],
        Block::ToolUse { id, name, input } => {
            vec![("action", json!({ "dict": { "tool": name, "id": id, "input": input } }).to_string())]
        }
        Block::Other { .. } => Vec::new(),
    }
}

fn tool_result(result: &ToolResult) -> (&'static str, String) {
    (if result.is_error { "stderr" } else { "stdout" }, result.content.clone())
}

fn lock(hold: HoldId, kind: HoldKind, subject: &Subject, expires_at: Option<UnixMs>) -> String {
    let data = json!({
        "kind": kind.as_str(),
        "tool": subject.tool,
        "input": subject.input,
        "description": subject.description,
    });
    let expires = expires_at.map(run::seconds);
    json!({ "dict": { "name": kind.as_str(), "lid": hold, "data": data, "expires": expires } }).to_string()
}

/// A decision as a lock's result.
pub(super) fn answer(answer: &Answer) -> Value {
    json!(answer)
}

#[cfg(test)]
mod tests {
    use holdpoint_model::{Actor, ExecutionId, MessageId, event::SendMode};
    use uuid::Uuid;

    use super::*;

    fn event(seq: u64, body: EventBody) -> Event {
        let execution = ExecutionId(Uuid::nil());
        Event { execution, seq, at: 1_500, incarnation: None, worker_seq: None, body }
    }

    fn ready(incarnation: u32) -> EventBody {
        EventBody::WorkerReady { incarnation, cli_version: "2".into(), resumed: incarnation > 1 }
    }

    fn message(file: &str) -> EventBody {
        EventBody::MessageQueued(Message {
            id: MessageId(Uuid::nil()),
            text: "x".into(),
            files: vec![file.into()],
            mode: SendMode::Queue,
            by: Actor::system("test"),
            hold: None,
        })
    }

    #[test]
    fn a_run_is_told_in_order_and_runs_once() {
        let facts = Facts {
            meta: json!({ "dict": {} }),
            sizes: BTreeMap::from([("attachments/a.txt".to_owned(), (12, 1.5))]),
        };
        let mut teller = Teller::default();
        let log = [
            message("attachments/a.txt"),
            ready(1),
            EventBody::WorkerLost { incarnation: 1, reason: "killed".into(), problem: None },
            ready(2),
            message("attachments/b.txt"),
            EventBody::ExecutionFinished {
                by: Actor::system("test"),
                result: "done".into(),
                structured: None,
            },
        ];
        let told: Vec<Told> =
            (2_u64..).zip(log).flat_map(|(seq, body)| teller.tell(&event(seq, body), &facts)).collect();
        let kinds: Vec<&str> = told.iter().map(|told| told.kind).collect();
        assert_eq!(kinds, ["status", "upload", "stderr", "upload", "final", "status"]);
        assert!(told.iter().all(|told| told.at == 1_500));
        assert!(told.is_sorted_by(|a, b| a.id < b.id), "{told:?}");
        assert_eq!(
            serde_json::from_str::<Value>(&told[1].payload).expect("json"),
            json!({"Upload": {"files": [{"path": "in/a.txt", "size": 12, "last_modified": 1.5}]}})
        );
        assert_eq!(told[4].payload, r#"{"Markdown":{"body":"done"}}"#);
    }

    #[test]
    fn what_a_person_ended_is_an_error_there() {
        let by = Actor { name: "Ada".into(), ..Actor::system("x") };
        let told = Teller::default().tell(&event(9, EventBody::ExecutionCancelled { by }), &Facts::default());
        let said: Vec<(&str, &str)> = told.iter().map(|told| (told.kind, told.payload.as_str())).collect();
        assert_eq!(said, [("error", "Ada ended it"), ("status", "error")]);
    }
}
