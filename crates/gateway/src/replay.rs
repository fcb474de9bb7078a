//! Decides whether a request is answered from the record. Pure: no I/O, no clock, no memory.
//!
//! The record of a turn is a tree: every response hangs on the recorded response that its request
//! contained last. A request is answered by the child of the last response *it* contains that was not
//! yet delivered to its incarnation. That one rule covers a retry after a cut delivery, a resume after a
//! kill at the first, second or third ask, and a session that has to begin again because its transcript
//! never reached the disk; and with nothing left in the record it leads to the model.
//!
//! A response with tool uses is contained when their results are. If only some are, the rest of it is
//! what comes next: those tool uses alone, under their own ids, behind the response's thinking.

use std::collections::{HashMap, HashSet};

use holdpoint_model::{CallId, Digest, Incarnation};
use serde_json::{Value, json};

use crate::{
    record::{Footprint, RecordedCall},
    thread::{Place, Thread},
    wire::{Merged, Role},
};

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Answer with this part of a recorded response.
    Replay {
        /// Whose response.
        call: CallId,
        /// How much of it.
        part: Part,
    },
    /// Call the model; this is the place to record its answer at.
    Upstream(Place),
}

/// How much of a recorded response is replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Everything: the session knows nothing of it.
    Whole,
    /// These tool uses, and the thinking that the API wants before them.
    ToolUses(Vec<String>),
}

/// Who asks, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The thread.
    pub thread: &'a Thread,
    /// The incarnation.
    pub incarnation: Incarnation,
    /// The digest of the conversation's beginning, [`crate::thread::root`].
    pub root: &'a str,
    /// The request's messages.
    pub merged: &'a [Merged<'a>],
    /// Responses that are being delivered, in this incarnation, to another thread. Two subagents with
    /// one prompt cannot be told apart otherwise.
    pub taken: &'a HashSet<CallId>,
}

/// Finds the answer to a request in the record of its turn, in the order of completion.
#[must_use]
pub fn plan(asking: Asking<'_>, record: &[RecordedCall]) -> Plan {
    let marks = Marks::of(asking.merged);
    let mut place = Place { root: asking.root.to_owned(), assistants: marks.assistants, after: None };
    if !asking.thread.is_replayed() {
        return Plan::Upstream(place);
    }
    let record = relevant(asking, record);

    let mut contained: HashMap<CallId, u32> = HashMap::new();
    let mut last: Option<&RecordedCall> = None;
    for call in &record {
        if let Some(at) = marks.find(call, marks.earliest(call, &contained)) {
            contained.insert(call.id, at);
            last = Some(call);
        }
    }
    place.after = last.map(|call| call.id);

    let free = |call: &RecordedCall| {
        !call.delivered_to.contains(&asking.incarnation) && !asking.taken.contains(&call.id)
    };
    if let Some(last) = last {
        let open = marks.unanswered(&last.footprint);
        if !open.is_empty() && free(last) {
            return Plan::Replay { call: last.id, part: Part::ToolUses(open) };
        }
    }
    let mut next: Vec<&RecordedCall> =
        record.iter().copied().filter(|call| call.place.after == place.after && free(call)).collect();
    // Of two subagents with one prompt, the one that had come to its end is not the one that goes on.
    next.sort_by_key(|call| is_finished(call, &record));
    match next.first() {
        None => Plan::Upstream(place),
        Some(call) => {
            let known = marks.find_texts(call, marks.earliest(call, &contained)).is_some();
            let all = &call.footprint.tool_uses;
            let part = if known && !all.is_empty() { Part::ToolUses(all.clone()) } else { Part::Whole };
            Plan::Replay { call: call.id, part }
        }
    }
}

/// The calls of the same conversation.
fn relevant<'a>(asking: Asking<'_>, record: &'a [RecordedCall]) -> Vec<&'a RecordedCall> {
    // Subagents that an earlier process ran for an earlier response of the main loop are done with: a
    // subagent of now was started by the last one.
    let last_main = record.iter().rposition(|call| call.thread == Thread::Main);
    let of_this = |(index, call): &(usize, &RecordedCall)| match (asking.thread, &call.thread) {
        (Thread::Main, Thread::Main) => true,
        (Thread::Agent(_), Thread::Agent(_)) => {
            call.incarnation == asking.incarnation || last_main.is_none_or(|last| *index > last)
        }
        _ => false,
    };
    let all = record.iter().enumerate().filter(of_this).map(|(_, call)| call);
    all.filter(|call| call.place.root == asking.root).collect()
}

/// Whether the conversation that goes on from `call` ended with a response without tool uses.
fn is_finished(call: &RecordedCall, record: &[&RecordedCall]) -> bool {
    let mut end = call;
    while let Some(next) = record.iter().rev().find(|next| next.place.after == Some(end.id)) {
        // A response follows one that was recorded before it, so this ends; a record that says
        // otherwise is not followed.
        if next.id == call.id || next.id == end.id {
            break;
        }
        end = next;
    }
    end.footprint.tool_uses.is_empty()
}

/// The marks of responses that a request contains, each with the number of the last assistant message
/// that has it.
#[derive(Debug, Default)]
struct Marks {
    assistants: u32,
    tool_uses: HashMap<String, u32>,
    results: HashSet<String>,
    signatures: HashMap<String, u32>,
    texts: HashMap<String, u32>,
}

impl Marks {
    fn of(merged: &[Merged<'_>]) -> Self {
        let mut marks = Self::default();
        for message in merged {
            if message.role != Role::Assistant {
                let results = message.blocks.iter().filter_map(|block| block.as_tool_result());
                marks.results.extend(results.map(str::to_owned));
                continue;
            }
            let at = marks.assistants;
            for block in &message.blocks {
                let signature = block.signature.as_deref().and_then(mark);
                marks.tool_uses.extend(block.as_tool_use().map(|id| (id.to_owned(), at)));
                marks.texts.extend(block.as_text().and_then(mark).map(|text| (text, at)));
                marks.signatures.extend(signature.map(|signature| (signature, at)));
            }
            marks.assistants += 1;
        }
        marks
    }

    /// The first assistant message that could be this response: behind the one it followed. It is not
    /// at the place it was recorded for, once a response before it was replayed in parts.
    fn earliest(&self, call: &RecordedCall, contained: &HashMap<CallId, u32>) -> Option<u32> {
        match call.place.after {
            None => Some(call.place.assistants),
            Some(after) => contained.get(&after).map(|at| at + 1),
        }
    }

    /// The last assistant message with anything that can only be of this response.
    fn find(&self, call: &RecordedCall, earliest: Option<u32>) -> Option<u32> {
        let Footprint { tool_uses, signatures, .. } = &call.footprint;
        let by_signature = signatures.iter().filter_map(|signature| self.signatures.get(signature));
        let by_tool_use = tool_uses.iter().filter_map(|id| self.tool_uses.get(id));
        let found = by_signature.chain(by_tool_use).max().copied();
        // A text is no id: it counts only where this response would stand, and if it has nothing better.
        let by_texts = || if tool_uses.is_empty() { self.find_texts(call, earliest) } else { None };
        found.or_else(by_texts)
    }

    /// The last assistant message with the response's texts, if all of them are there.
    fn find_texts(&self, call: &RecordedCall, earliest: Option<u32>) -> Option<u32> {
        let at = |text| {
            self.texts.get(text).copied().filter(|at| earliest.is_some_and(|earliest| *at >= earliest))
        };
        let all: Option<Vec<u32>> = call.footprint.texts.iter().map(at).collect();
        all?.into_iter().max()
    }

    fn unanswered(&self, footprint: &Footprint) -> Vec<String> {
        footprint.tool_uses.iter().filter(|id| !self.results.contains(*id)).cloned().collect()
    }
}

/// The digest that a text or signature is recognised by; none for a blank one.
pub(crate) fn mark(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| Digest::of_bytes(text.as_bytes()).as_str().to_owned())
}

/// The marks of a whole response.
#[must_use]
pub fn footprint(response: &Value) -> Footprint {
    let mut footprint = Footprint::default();
    for block in response["content"].as_array().into_iter().flatten() {
        match block["type"].as_str() {
            Some("tool_use") => footprint.tool_uses.extend(block["id"].as_str().map(str::to_owned)),
            Some("text") => footprint.texts.extend(block["text"].as_str().and_then(mark)),
            Some("thinking") => footprint.signatures.extend(block["signature"].as_str().and_then(mark)),
            _ => {}
        }
    }
    footprint
}

/// The response as it is replayed.
///
/// A part gets a message id of its own, `<id>_r<incarnation>`: the CLI merges assistant messages that
/// share an id, and would put the part where the rest of it stands. A whole replay keeps the id, so
/// that whoever follows the session sees that it is the same message again.
#[must_use]
pub fn cut(response: &Value, part: &Part, incarnation: Incarnation) -> Value {
    let mut message = response.clone();
    let Part::ToolUses(open) = part else { return message };
    if let Some(content) = message["content"].as_array_mut() {
        content.retain(|block| match block["type"].as_str() {
            Some("thinking" | "redacted_thinking") => true,
            Some("tool_use") => block["id"].as_str().is_some_and(|id| open.iter().any(|open| open == id)),
            _ => false,
        });
    }
    let id = message["id"].as_str().unwrap_or("msg_unknown");
    message["id"] = json!(format!("{id}_r{incarnation}"));
    message["stop_reason"] = json!("tool_use");
    message["stop_sequence"] = Value::Null;
    message
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
