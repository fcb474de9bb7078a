//! The CLI's own record of a session.
//!
//! `<config dir>/projects/<working directory>/<session id>.jsonl`, one JSON object a line, appended to while
//! the session runs. A host reads it after a crash, to see what had happened; the last line may be torn.
//!
//! The configuration folder is the session's to change, while we look, into whatever it likes. So a transcript
//! is a [`TranscriptFile`]: reached from the configuration folder name by name, through no link.

mod branch;
mod file;
mod mend;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use uuid::Uuid;

pub use branch::branch;
pub use file::{MAX_BYTES, MAX_LINES, TranscriptFile, find};

use crate::event::ToolResult;

/// Where the transcript of a session is: the working directory's real path names the folder, every character
/// that is no ASCII letter or digit replaced by `-`.
///
/// The CLI shortens very long folder names; [`find`] finds those too.
pub fn path(config_dir: &Path, cwd: &Path, session: Uuid) -> PathBuf {
    let real = fs::canonicalize(cwd).unwrap_or_else(|_| cwd.to_owned());
    let folder: String = real
        .to_string_lossy()
        .chars()
        // JavaScript counts a character outside the basic plane as two.
        .flat_map(|c| std::iter::repeat_n(if c.is_ascii_alphanumeric() { c } else { '-' }, c.len_utf16()))
        .collect();
    config_dir.join("projects").join(folder).join(format!("{session}.jsonl"))
}

/// Longer lines are skipped: none that the CLI (2.1.330) writes comes near, and one that is made to be
/// expensive takes ten times its length in memory.
const MAX_LINE_BYTES: usize = 32 * 1024 * 1024;

/// What a transcript holds.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    /// The entries, in the order of the file.
    pub entries: Vec<Entry>,
    /// The file ends inside a line: the CLI died while writing, or is writing now.
    pub torn: bool,
}

/// One line of a transcript.
#[derive(Debug, Clone)]
pub struct Entry {
    /// `user`, `assistant`, `system`, `queue-operation`, ….
    pub kind: String,
    /// The entry's id; bookkeeping entries have none. For a user message it is the uuid it was sent with.
    pub uuid: Option<Uuid>,
    /// The entry before it in its branch.
    pub parent: Option<Uuid>,
    /// The API's id of an assistant message; its blocks are entries of their own.
    pub message_id: Option<String>,
    /// The uuid that a user message in it was sent with: its own id, or, for a message that reached a
    /// running turn, the one that its attachment names (seen with 2.1.330).
    pub user_message: Option<Uuid>,
    /// Where its line begins, in bytes from the start of the file.
    pub offset: u64,
    /// How long its line is, in bytes.
    pub length: u64,
    /// It belongs to a subagent.
    pub is_sidechain: bool,
    /// Tool calls in it: id and name.
    pub tool_uses: Vec<(String, String)>,
    /// Tool results in it; their content is text alone.
    pub tool_results: Vec<ToolResult>,
    link: Link,
}

/// How an entry hangs together with others.
#[derive(Debug, Clone, Copy, Default)]
struct Link {
    /// It hangs in a chain.
    is_row: bool,
    /// The row before it, also where a compaction stands between the two.
    before: Option<Uuid>,
    /// Here the conversation was compacted.
    is_boundary: bool,
    /// The CLI said it to itself.
    is_to_itself: bool,
}

impl Transcript {
    /// Reads the bytes of a transcript. Lines that are no JSON are skipped, as a torn last one.
    pub fn parse(bytes: &[u8]) -> Self {
        let torn = !bytes.is_empty() && !bytes.ends_with(b"\n");
        let mut entries = Vec::new();
        let mut offset = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if line.len() <= MAX_LINE_BYTES
                && let Ok(raw) = serde_json::from_slice(line)
            {
                entries.push(Entry::read(&raw, offset, line.len() as u64));
            }
            offset += line.len() as u64;
        }
        Self { entries, torn }
    }

    /// The id of the last entry that has one: what a checkpoint compares.
    pub fn last_uuid(&self) -> Option<Uuid> {
        self.entries.iter().rev().find_map(|entry| entry.uuid)
    }

    /// Whether an entry with this id is there.
    pub fn contains(&self, uuid: Uuid) -> bool {
        self.entries.iter().any(|entry| entry.uuid == Some(uuid))
    }

    /// Whether a user message with this uuid arrived.
    pub fn contains_user_message(&self, uuid: Uuid) -> bool {
        self.entries.iter().any(|entry| entry.user_message == Some(uuid))
    }

    /// Where the answer begins that the session ends with, if it ends with one that calls no tool; in
    /// bytes from the start of the file.
    ///
    /// Resumed from there, the CLI (2.1.330) takes the turn for complete and does nothing, although its
    /// `result` may never have been told, or the answer's tool calls never written. Without that answer
    /// it asks the model again.
    pub fn closing_answer(&self) -> Option<u64> {
        let spoken = |entry: &&Entry| {
            !entry.is_sidechain
                && (entry.kind == "assistant" || entry.kind == "user" || entry.user_message.is_some())
        };
        let last = self.entries.iter().rev().find(spoken).filter(|last| last.kind == "assistant")?;
        let of_it = |entry: &&Entry| entry.kind == "assistant" && entry.message_id == last.message_id;
        let calls = self.entries.iter().filter(of_it).any(|entry| !entry.tool_uses.is_empty());
        self.entries.iter().find(of_it).filter(|_| !calls).map(|first| first.offset)
    }

    /// Whether the model's call with this id is there.
    pub fn contains_tool_use(&self, tool_use_id: &str) -> bool {
        self.entries.iter().any(|entry| entry.tool_uses.iter().any(|(id, _)| id == tool_use_id))
    }

    /// The result of a tool call, if there is one.
    pub fn tool_result(&self, tool_use_id: &str) -> Option<&ToolResult> {
        self.entries
            .iter()
            .flat_map(|entry| &entry.tool_results)
            .find(|result| result.tool_use_id == tool_use_id)
    }

    /// The tool calls without a result, in order: id and name.
    pub fn open_tool_uses(&self) -> Vec<(&str, &str)> {
        let uses = self.entries.iter().flat_map(|entry| &entry.tool_uses);
        uses.filter(|(id, _)| self.tool_result(id).is_none())
            .map(|(id, name)| (id.as_str(), name.as_str()))
            .collect()
    }
}

impl Entry {
    fn read(raw: &Value, offset: u64, length: u64) -> Self {
        let uuid = |key: &str| raw[key].as_str().and_then(|id| id.parse().ok());
        let blocks = raw["message"]["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let absorbed = &raw["attachment"];
        let user_message = match raw["type"].as_str() {
            Some("user") => uuid("uuid"),
            Some("attachment") if absorbed["type"] == "queued_command" => {
                absorbed["source_uuid"].as_str().and_then(|id| id.parse().ok())
            }
            _ => None,
        };
        Self {
            kind: text(&raw["type"]).unwrap_or_default(),
            user_message,
            offset,
            length,
            uuid: uuid("uuid"),
            parent: uuid("parentUuid"),
            message_id: text(&raw["message"]["id"]),
            is_sidechain: raw["isSidechain"].as_bool().unwrap_or(false),
            tool_uses: blocks
                .iter()
                .filter(|block| block["type"] == "tool_use")
                .filter_map(|block| Some((text(&block["id"])?, text(&block["name"])?)))
                .collect(),
            tool_results: blocks
                .iter()
                .filter(|block| block["type"] == "tool_result")
                .filter_map(|block| ToolResult::from_block(block.as_object()?))
                .map(|result| ToolResult { content: result.text().into(), ..result })
                .collect(),
            link: mend::link(raw),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &str = "11111111-1111-4111-8111-111111111111";

    fn sample() -> Transcript {
        let lines = [
            r#"{"type":"queue-operation","operation":"enqueue"}"#.to_owned(),
            format!(r#"{{"type":"user","uuid":"{SENT}","parentUuid":null,"message":{{"role":"user","content":"hi"}}}}"#),
            r#"{"type":"assistant","uuid":"22222222-2222-4222-8222-222222222222","message":{"id":"msg_1","content":[{"type":"tool_use","id":"t1","name":"Bash","input":{}}]}}"#.to_owned(),
            r#"{"type":"assistant","uuid":"33333333-3333-4333-8333-333333333333","message":{"id":"msg_1","content":[{"type":"tool_use","id":"t2","name":"Bash","input":{}}]}}"#.to_owned(),
            r#"{"type":"user","uuid":"44444444-4444-4444-8444-444444444444","message":{"content":[{"type":"tool_result","tool_use_id":"t1","content":"ok"}]}}"#.to_owned(),
            r#"{"type":"assistant","uuid":"5555"#.to_owned(),
        ];
        Transcript::parse(lines.join("\n").as_bytes())
    }

    #[test]
    fn a_torn_last_line_is_told_and_skipped() {
        let transcript = sample();
        assert!(transcript.torn);
        assert_eq!(transcript.entries.len(), 5);
        assert_eq!(transcript.last_uuid().unwrap().to_string(), "44444444-4444-4444-8444-444444444444");
    }

    #[test]
    fn open_calls_are_those_without_a_result() {
        let transcript = sample();
        assert_eq!(transcript.open_tool_uses(), [("t2", "Bash")]);
        assert_eq!(transcript.tool_result("t1").unwrap().text(), "ok");
        assert!(transcript.contains_user_message(SENT.parse().unwrap()));
        assert!(!transcript.contains_user_message("22222222-2222-4222-8222-222222222222".parse().unwrap()));
    }

    #[test]
    fn a_message_that_reached_a_running_turn_is_one() {
        let line = format!(
            r#"{{"type":"attachment","uuid":"22222222-2222-4222-8222-222222222222","attachment":{{"type":"queued_command","prompt":"x","source_uuid":"{SENT}"}}}}"#
        );
        let transcript = Transcript::parse(line.as_bytes());
        assert!(transcript.contains_user_message(SENT.parse().unwrap()));
        assert!(!transcript.contains_user_message("22222222-2222-4222-8222-222222222222".parse().unwrap()));
    }

    #[test]
    fn a_closing_answer_is_one_without_calls() {
        let user = format!(r#"{{"type":"user","uuid":"{SENT}","message":{{"content":"hi"}}}}"#);
        let block = |id: &str, block: &str| {
            format!(r#"{{"type":"assistant","message":{{"id":"{id}","content":[{block}]}}}}"#)
        };
        let (text, call) =
            (r#"{"type":"text","text":"x"}"#, r#"{"type":"tool_use","id":"t1","name":"Bash","input":{}}"#);
        let note = r#"{"type":"last-prompt"}"#.to_owned();
        let closing =
            |lines: &[String]| Transcript::parse((lines.join("\n") + "\n").as_bytes()).closing_answer();
        let first = user.len() as u64 + 1;
        assert_eq!(closing(&[user.clone(), block("m", text), block("m", text), note.clone()]), Some(first));
        assert_eq!(closing(&[user.clone(), block("m", text), block("m", call), note.clone()]), None);
        assert_eq!(closing(&[user.clone(), block("m", call), block("m", text)]), None);
        assert_eq!(closing(&[user.clone(), block("m", text), user.clone()]), None);
        assert_eq!(closing(&[user, note]), None);
    }

    #[test]
    fn the_folder_is_named_by_the_working_directory() {
        let session: Uuid = SENT.parse().unwrap();
        let path = path(Path::new("/c"), Path::new("/no/such.dir/ö_🦀1"), session);
        assert_eq!(path, Path::new("/c/projects/-no-such-dir-----1").join(format!("{session}.jsonl")));
    }
}
