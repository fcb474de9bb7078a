//! The scripted upstream's own record: one JSON line for every call it was asked. Tests count here what
//! really reached the upstream, beside what the gateway says.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use holdpoint_model::{ExecutionId, Incarnation};
use serde::{Deserialize, Serialize};

use crate::thread::Thread;

/// One call that reached the script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1.
    pub call: u64,
    /// Whose session asked.
    pub execution: ExecutionId,
    /// Which incarnation.
    pub incarnation: Incarnation,
    /// Which of its conversations.
    pub thread: Thread,
    /// The script.
    pub script: String,
    /// The scene's name; empty for side calls and refusals.
    pub scene: String,
    /// The turn, from 1; 0 for side calls and refusals.
    pub turn: usize,
    /// The step in that turn, from 1; 0 for side calls and refusals.
    pub step: usize,
    /// What became of it: `answered`, `side`, `error <status>`, `cut`, `refused: <why>`.
    pub outcome: String,
    /// The message id issued, if any.
    pub message_id: Option<String>,
    /// The tool use ids issued.
    pub tool_use_ids: Vec<String>,
}

/// Where the entries go. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<Entry>,
    /// Entries written to the file and not kept in memory.
    written: u64,
    file: Option<File>,
}

impl Journal {
    /// A journal in memory.
    #[must_use]
    pub fn memory() -> Self {
        Self::default()
    }

    /// A journal that is appended to a file, a JSON object a line, and not kept in memory.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn file(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let inner = Inner { file: Some(file), ..Inner::default() };
        Ok(Self { inner: Arc::new(Mutex::new(inner)) })
    }

    /// The entries so far; none if they go to a file.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).entries.clone()
    }

    /// How many calls of the main loop and of subagents were answered with content.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.entries().iter().filter(|entry| entry.outcome == "answered").count()
    }

    pub(super) fn write(&self, mut entry: Entry) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        entry.call = inner.written + inner.entries.len() as u64 + 1;
        let Some(file) = &mut inner.file else {
            inner.entries.push(entry);
            return;
        };
        let line = serde_json::to_string(&entry).map(|line| line + "\n").unwrap_or_default();
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::warn!(%error, "the rehearsal's journal could not be written");
        }
        inner.written += 1;
    }
}
