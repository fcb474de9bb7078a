//! Why a notice was not sent, and whether another try can help.

use std::time::Duration;

use thiserror::Error;

/// Why a channel cannot be set up. Secrets are not part of the message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// Not an address of a server.
    #[error("use the address: it is not http://… or https://…")]
    Url,
    /// The signing secret has another form.
    #[error("use the signing secret: {0}")]
    Secret(&'static str),
    /// The token cannot be sent.
    #[error("use the token: it holds characters that no HTTP header may hold (a line end, perhaps)")]
    Token,
    /// The HTTP client could not be made.
    #[error("set up the HTTP client: {0}")]
    Client(String),
}

/// Whether another try can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It would fail in the same way.
    Never,
    /// It may work, though not before this has passed, where the other side said so.
    Later(Option<Duration>),
}

/// Why a notice was not sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// No connection, or it broke.
    #[error("reach {host}: {why}")]
    Unreachable {
        /// Where.
        host: String,
        /// In words.
        why: String,
    },
    /// No answer in time; the notice may have arrived all the same.
    #[error("get an answer from {host} in time")]
    TimedOut {
        /// Where.
        host: String,
    },
    /// The address leads elsewhere.
    #[error(
        "deliver to {host}: it answered {status}, and redirects are not followed; write the address that it leads to"
    )]
    Redirected {
        /// Where.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// The other side did not take it.
    #[error("deliver to {host}: it answered {status}")]
    Refused {
        /// Where.
        host: String,
        /// The HTTP status.
        status: u16,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
        /// The beginning of its answer, on one line; for the operator who looks, and no log.
        answer: String,
    },
}

impl SendError {
    /// Whether another try can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => Retry::Later(None),
            Self::Refused { status: 408 | 429 | 500.., retry_after, .. } => Retry::Later(*retry_after),
            Self::Refused { .. } | Self::Redirected { .. } => Retry::Never,
        }
    }
}
