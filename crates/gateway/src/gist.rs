//! What is new in a request, reduced to what matters: kept with each call, so that a cassette
//! can tell whether another conversation still is the same.

use serde::{Deserialize, Serialize};

use crate::{
    cassette::without_place,
    rehearsal::persons_words,
    thread::{self, Thread},
    wire::{Request, Role},
};

/// Characters of a conversation's first words that it is known by.
const BEGINNING_CHARS: usize = 200;

/// How the CLI begins a conversation that it has summarised. What follows names paths, and is different
/// each time.
const CONTINUED: &str = "This session is being continued from a previous conversation";

/// What is new in a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gist {
    /// How its conversation began.
    pub begins: String,
    /// What people said since the last answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<String>,
    /// The results of tools since then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<Outcome>,
}

/// How a tool's use went. What it returned is left out: times and paths are different each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which use.
    pub tool_use: String,
    /// Whether it failed, or was refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

impl Gist {
    /// Of a request of a session whose folder is `place`.
    #[must_use]
    pub fn of(thread: &Thread, request: &Request, place: &str) -> Self {
        let merged = request.merged();
        let first = thread::first_prompt(&merged).unwrap_or_default();
        let first = if first.trim().starts_with(CONTINUED) { CONTINUED } else { first.trim() };
        let first = without_place(first, place);
        let mut gist = Self { begins: first.chars().take(BEGINNING_CHARS).collect(), ..Self::default() };
        let Some(last) = merged.last().filter(|last| last.role == Role::User && thread.is_replayed()) else {
            return gist;
        };
        for block in &last.blocks {
            if let Some(tool_use) = block.as_tool_result() {
                let failed = block.is_error.unwrap_or_default();
                gist.results.push(Outcome { tool_use: tool_use.to_owned(), failed });
            }
            gist.said.extend(persons_words(block).map(|words| without_place(words.trim(), place)));
        }
        gist
    }
}
