//! A transcript as a session can go on from it.
//!
//! The CLI (2.1.330) does not look at its own file with suspicion. Seen:
//!
//! - What it cannot write, on a full disk, it drops without a word, and what it writes later hangs on rows
//!   that are not there. A resume then knows nothing of what came before them.
//! - Every resume of an interrupted turn branches off. `last-prompt` lines name the end of a branch, and an old
//!   one outweighs the newest row: a later resume goes on in a branch that was left long ago. Rows of such
//!   branches that share a message's id with the living one are mixed into what the model is shown.
//! - A turn that ends with the CLI's own "Continue from where you left off." (it was killed before the model
//!   answered), with the note of a failed call, or with a text is taken for complete, and nothing happens.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use serde_json::Value;
use uuid::Uuid;

use super::{Entry, Link, Transcript};

/// How messages begin that the CLI writes to itself when a turn was cut.
const TO_ITSELF: [&str; 2] =
    ["Continue from where you left off.", "Your response above was cut off mid-stream"];

impl Transcript {
    /// Leaves one chain: from the beginning to the newest row that hangs together with it. What was torn, what
    /// hangs on rows that were never written, branches that were left, and notes of where a branch ended go. Nothing
    /// is left of a conversation whose beginning was never written.
    pub fn straighten(&mut self) {
        self.entries.retain(|entry| entry.kind != "last-prompt");
        let rows = Rows::of(&self.entries);
        let keep = rows.whole.last().map(|newest| rows.chain_to(newest)).unwrap_or_default();
        self.keep(&keep);
    }

    /// Takes back what an interrupted turn seems to have ended with, so that it goes on. The turn's end is not
    /// known outside, so either it was never told or there was more to come. Without it the CLI asks the model
    /// again. Expects a straight transcript.
    pub fn reopen(&mut self) {
        let rows = Rows::of(&self.entries);
        let mut end = rows.whole.last().copied();
        while let Some(next) = end.and_then(|end| rows.before_closing(end)) {
            end = Some(next);
        }
        let Some(end) = end else { return };
        let keep = rows.chain_to(end);
        self.keep(&keep);
    }

    /// The bytes that hold these entries alone, of those that they were read from.
    pub(super) fn lines_of(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut lines = Vec::with_capacity(bytes.len());
        for entry in &self.entries {
            let (from, length) = (usize::try_from(entry.offset), usize::try_from(entry.length));
            let line = from.ok().zip(length.ok()).and_then(|(from, length)| bytes.get(from..from + length));
            let changed = || io::Error::other("the transcript has changed meanwhile");
            lines.extend_from_slice(line.ok_or_else(changed)?);
            if !lines.ends_with(b"\n") {
                lines.push(b'\n');
            }
        }
        Ok(lines)
    }

    fn keep(&mut self, rows: &HashSet<Uuid>) {
        self.entries.retain(|entry| !is_row(entry) || entry.uuid.is_some_and(|uuid| rows.contains(&uuid)));
    }
}

/// What hangs in the conversation's chain.
fn is_row(entry: &Entry) -> bool {
    entry.uuid.is_some() && entry.link.is_row && !entry.is_sidechain
}

pub(super) fn link(raw: &Value) -> Link {
    let id = |key: &str| raw[key].as_str().and_then(|id| id.parse().ok());
    let content = &raw["message"]["content"];
    let text = content.as_str().or_else(|| content[0]["text"].as_str()).unwrap_or_default();
    Link {
        is_row: raw.get("parentUuid").is_some(),
        // Behind a compaction the chain begins anew; what was before it is named all the same.
        before: id("parentUuid").or_else(|| id("logicalParentUuid")),
        is_boundary: raw["subtype"] == "compact_boundary",
        is_to_itself: raw["isMeta"] == true && TO_ITSELF.iter().any(|start| text.starts_with(start)),
    }
}

/// The rows that hang together with the beginning, in the order of the file.
struct Rows<'a> {
    by_id: HashMap<Uuid, &'a Entry>,
    whole: Vec<&'a Entry>,
}

impl<'a> Rows<'a> {
    fn of(entries: &'a [Entry]) -> Self {
        let mut rows = Self { by_id: HashMap::new(), whole: Vec::new() };
        for entry in entries.iter().filter(|entry| is_row(entry)) {
            let whole = entry.link.before.is_none_or(|before| rows.by_id.contains_key(&before));
            // One that says again what was there would lead the way round in circles.
            if let Some(uuid) = entry.uuid.filter(|uuid| whole && !rows.by_id.contains_key(uuid)) {
                rows.by_id.insert(uuid, entry);
                rows.whole.push(entry);
            }
        }
        rows
    }

    fn before(&self, entry: &Entry) -> Option<&'a Entry> {
        self.by_id.get(&entry.link.before?).copied()
    }

    /// What leads to this row, with the results of calls that run beside each other: each hangs on its own call.
    fn chain_to(&self, end: &'a Entry) -> HashSet<Uuid> {
        let mut chain = HashSet::new();
        self.add_way_to(end, &mut chain);
        for result in self.whole.iter().filter(|entry| !entry.tool_results.is_empty()) {
            let Some(call) = self.before(result).filter(|call| call.message_id.is_some()) else { continue };
            let mut of_message = Some(call);
            while let Some(block) = of_message.filter(|block| block.message_id == call.message_id) {
                if block.uuid.is_some_and(|uuid| chain.contains(&uuid)) {
                    self.add_way_to(result, &mut chain);
                    break;
                }
                of_message = self.before(block);
            }
        }
        // What was compacted is told of by its summary; how the rest hangs on it is the CLI's own affair.
        let compacted = self.whole.iter().rposition(|entry| entry.link.is_boundary).map_or(0, |at| at + 1);
        chain.extend(self.whole.iter().take(compacted).filter_map(|entry| entry.uuid));
        chain
    }

    fn add_way_to(&self, end: &'a Entry, chain: &mut HashSet<Uuid>) {
        let mut next = Some(end);
        while let Some((entry, uuid)) = next.and_then(|entry| Some((entry, entry.uuid?))) {
            if !chain.insert(uuid) {
                return;
            }
            next = self.before(entry);
        }
    }

    /// The row before what a turn seems to be closed by, if it is: a text, or a word of the CLI to itself.
    fn before_closing(&self, end: &'a Entry) -> Option<&'a Entry> {
        // What is beside the conversation closes nothing, and goes with what it follows.
        let mut last = end;
        while is_aside(last) {
            last = self.before(last)?;
        }
        if last.kind == "user" && last.link.is_to_itself {
            return self.before(last);
        }
        if last.kind != "assistant" {
            return None;
        }
        let mut first = last;
        loop {
            if !first.tool_uses.is_empty() {
                return None;
            }
            let before = self.before(first)?;
            if before.kind != "assistant" || before.message_id != last.message_id {
                return Some(before);
            }
            first = before;
        }
    }
}

fn is_aside(entry: &Entry) -> bool {
    match entry.kind.as_str() {
        "system" => !entry.link.is_boundary,
        "attachment" => entry.user_message.is_none(),
        _ => false,
    }
}

#[cfg(test)]
#[path = "mend_tests.rs"]
mod tests;
