//! What can go wrong, by what the caller was doing.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use crate::frame::ControlRefusal;

/// Why a session could not be started. Found before the CLI runs, except for [`Start`](Self::Start).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// There is no such program.
    #[error("find the Claude CLI at {}", path.display())]
    CliMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It is there, but it cannot be run.
    #[error("run {}: it is no executable file", path.display())]
    CliNotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// There is no such working directory.
    #[error("work in {}: it is no directory", path.display())]
    CwdMissing {
        /// The directory.
        path: PathBuf,
    },
    /// The config directory, or a folder in it, cannot be written. The CLI would run, keep no transcript and
    /// say nothing.
    #[error("write to the config directory at {}: {source}", path.display())]
    ConfigDirUnwritable {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no transcript to resume from.
    #[error("resume session {session}: there is no transcript of it under {}", projects.display())]
    UnknownSession {
        /// The session.
        session: Uuid,
        /// The folder that was searched.
        projects: PathBuf,
    },
    /// There is a transcript under this id already, and the CLI would refuse to begin another.
    #[error("begin session {session}: there is a transcript of it at {}", transcript.display())]
    SessionExists {
        /// The session.
        session: Uuid,
        /// Its transcript.
        transcript: PathBuf,
    },
    /// Another driver works on this session. Two processes on one session branch it, and one side's turn is
    /// lost.
    #[error("take session {session}: process {} has it", holder.map_or("unknown".to_owned(), |pid| pid.to_string()))]
    SessionInUse {
        /// The session.
        session: Uuid,
        /// The driver that holds it, as far as it said.
        holder: Option<u32>,
    },
    /// The process could not be started.
    #[error("start {}: {source}", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// An option cannot be written as JSON.
    #[error("write the options as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Why a message or an answer was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The CLI is gone, or its stdin was closed.
    #[error("the session has ended")]
    Closed,
    /// It cannot be written as JSON.
    #[error("not representable as JSON: {0}")]
    Json(String),
}

impl From<serde_json::Error> for SendError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.to_string())
    }
}

/// Why a control request brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// It was not delivered, or the CLI ended before it replied.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The CLI said no.
    #[error("the CLI refused {subtype}: {}", refusal.message)]
    Refused {
        /// What was asked.
        subtype: String,
        /// What it said.
        refusal: ControlRefusal,
    },
    /// The CLI said nothing.
    #[error("no reply to {subtype} within {} s", after.as_secs())]
    Timeout {
        /// What was asked.
        subtype: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The reply has another shape than expected.
    #[error("could not read the reply to {subtype}: {reason}")]
    Shape {
        /// What was asked.
        subtype: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why the CLI's version could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The program could not be run.
    #[error("run {}: {source}", path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It did not end in time.
    #[error("read the version of {}: no answer within {} s", path.display(), after.as_secs())]
    Timeout {
        /// The program.
        path: PathBuf,
        /// How long it was waited for.
        after: Duration,
    },
    /// It is something else.
    #[error("read the version of {}: it says {output:?}", path.display())]
    Unreadable {
        /// The program.
        path: PathBuf,
        /// What it wrote.
        output: String,
    },
}
