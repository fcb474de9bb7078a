//! What a worker that is gone left behind, read in one order: its journal, then the session's
//! transcript, then the log (invariant 7).

use std::{io, path::Path};

use holdpoint_beneath::is_the_trees_doing;
use holdpoint_claude::transcript::{self, Transcript};
use holdpoint_engine::WorkerId;
use holdpoint_model::{
    Execution,
    event::ToolResult,
    wire::{Fact, JOURNAL_FILE, JournalLine, MAX_TOOL_RESULT_BYTES, NumberedFact, read_journal},
};
use holdpoint_store::{ApplyError, StoreError};
use thiserror::Error;
use tracing::{info, warn};
use uuid::Uuid;

use crate::{Inner, Layout, commands::blocking};

/// Why what a worker left could not be brought in. Nothing may be concluded from its absence then.
#[derive(Debug, Error)]
pub(crate) enum LeftBehind {
    #[error("failed to read what a worker left behind: {0}")]
    Unreadable(io::Error),
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl From<StoreError> for LeftBehind {
    fn from(error: StoreError) -> Self {
        Self::Apply(error.into())
    }
}

impl Inner {
    /// Brings into the log what the worker had journaled and what the transcript shows, as facts
    /// of that incarnation. Safe to repeat: facts carry their numbers.
    pub(crate) async fn take_over_remains(&self, state: &Execution) -> Result<(), LeftBehind> {
        let id = WorkerId { execution: state.id, incarnation: state.incarnation };
        let journal = self.options.layout.run(id.execution, id.incarnation).join(JOURNAL_FILE);
        // A journal that cannot be read is not an empty one: it may say that an answer was written.
        let text = blocking(move || read_lossy(&journal)).await.map_err(LeftBehind::Unreadable)?;
        let facts: Vec<NumberedFact> = read_journal(&text)
            .into_iter()
            .filter_map(|line| match line {
                JournalLine::Fact(fact) if fact.seq > state.worker_seq => Some(fact),
                _ => None,
            })
            .collect();
        let mut last = state.worker_seq;
        if !facts.is_empty() {
            info!(worker = %id, facts = facts.len(), "taking over facts from the journal of a worker that is gone");
            last = self.options.store.append_facts(id.execution, id.incarnation, facts).await?.up_to;
        }
        let Some(now) = self.options.store.execution(id.execution).await? else { return Ok(()) };
        let found = self.results_on_disk(&now).await.map_err(LeftBehind::Unreadable)?;
        if !found.is_empty() {
            info!(worker = %id, facts = found.len(), "taking over results from the transcript");
            let at = self.now();
            let facts =
                found.into_iter().zip(last + 1..).map(|(fact, seq)| NumberedFact { seq, at, fact }).collect();
            self.options.store.append_facts(id.execution, id.incarnation, facts).await?;
        }
        Ok(())
    }

    /// Results and messages that the session has on disk and the log does not have.
    async fn results_on_disk(&self, state: &Execution) -> io::Result<Vec<Fact>> {
        let home = self.options.layout.home(state.id);
        let config = Layout::claude_config(&home);
        let state = state.clone();
        blocking(move || {
            let Some(transcript) = transcript_of(&config, state.session.0)? else { return Ok(Vec::new()) };
            let mut facts = Vec::new();
            for pending in state.messages.iter().filter(|pending| pending.sent_to.is_some()) {
                if transcript.contains_user_message(pending.message.id.0) {
                    facts.push(Fact::MessageDelivered { message: pending.message.id });
                }
            }
            let Some(turn) = &state.turn else { return Ok(facts) };
            for result in transcript.entries.iter().flat_map(|entry| &entry.tool_results) {
                let unknown =
                    turn.tools.get(&result.tool_use_id).is_some_and(|call| call.result_seq.is_none());
                let text = result.text();
                if unknown && !is_made_up(&text) {
                    let (content, truncated) = cut(&text, MAX_TOOL_RESULT_BYTES);
                    facts.push(Fact::ToolResult(ToolResult {
                        tool_use_id: result.tool_use_id.clone(),
                        is_error: result.is_error,
                        content,
                        truncated,
                        patch: None,
                        from_transcript: true,
                    }));
                }
            }
            Ok(facts)
        })
        .await
    }
}

impl Inner {
    /// Whether the session's transcript holds what it waits for: its asks, or the end of its turn
    /// (invariant 10). What cannot be read is not there.
    pub(crate) async fn is_on_disk(&self, state: &Execution) -> bool {
        let config = Layout::claude_config(&self.options.layout.home(state.id));
        let session = state.session.0;
        // A subagent's asks are in a transcript of its own.
        let asked: Vec<String> = state
            .open_holds()
            .filter(|hold| hold.subject.agent_id.is_none())
            .filter_map(|hold| hold.subject.tool_use_id.clone())
            .collect();
        let at_rest = state.turn.is_none();
        let found = blocking(move || {
            let Some(transcript) = transcript_of(&config, session)? else { return Ok(false) };
            let has_asked = asked.iter().all(|call| transcript.contains_tool_use(call));
            Ok(has_asked && (!at_rest || transcript.closing_answer().is_some()) && !transcript.torn)
        });
        found.await.unwrap_or(false)
    }
}

/// The transcript of a session. One that the session has made into something that is not read (a link, a
/// pipe, a file without end) is as good as none; an error is the machine's.
pub(crate) fn transcript_of(config_dir: &Path, session: Uuid) -> io::Result<Option<Transcript>> {
    let Some(file) = transcript::find(config_dir, session) else { return Ok(None) };
    match file.read() {
        Ok(transcript) => Ok(Some(transcript)),
        Err(error) if is_the_trees_doing(&error) => {
            warn!(path = %file.path().display(), %error, "a transcript is not read; going on as if there were none");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What the CLI writes for a call whose outcome it does not know either.
fn is_made_up(content: &str) -> bool {
    content.contains("outcome is unknown") || content.contains("stream closed")
}

/// The text, at most so many bytes of it, and whether it was cut.
fn cut(text: &str, max_bytes: usize) -> (String, bool) {
    if text.len() <= max_bytes {
        return (text.to_owned(), false);
    }
    (text[..text.floor_char_boundary(max_bytes)].to_owned(), true)
}

fn read_lossy(path: &Path) -> io::Result<String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_transcript_that_leads_elsewhere_is_none() {
        let dir = tempfile::tempdir().expect("dir");
        let (config, session) = (dir.path().join(".claude"), Uuid::from_u128(1));
        let project = config.join("projects/-work");
        fs::create_dir_all(&project).expect("folders");
        let at = project.join(format!("{session}.jsonl"));
        let host = dir.path().join("host");
        fs::write(&host, "{\"type\":\"user\"}\n").expect("file");
        let read = || transcript_of(&config, session).expect("no error of the machine");
        assert!(read().is_none(), "there is none");
        symlink(&host, &at).expect("link");
        assert!(read().is_none(), "a link");
        fs::remove_file(&at).expect("remove");
        rustix::fs::mkfifoat(rustix::fs::CWD, &at, rustix::fs::Mode::RWXU).expect("pipe");
        assert!(read().is_none(), "a pipe");
        fs::remove_file(&at).expect("remove");
        fs::File::create(&at).expect("file").set_len(1 << 40).expect("length");
        assert!(read().is_none(), "without end");
        fs::copy(&host, &at).expect("file");
        assert_eq!(read().map(|transcript| transcript.entries.len()), Some(1));
    }
}
