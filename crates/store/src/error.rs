//! What can go wrong, as far as callers act on it differently.

use std::path::PathBuf;
use std::sync::Arc;

use holdpoint_model::{ExecutionId, Refusal};
use thiserror::Error;

/// Why a store could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process writes this data file.
    #[error(
        "open the data file {}: another holdpoint process uses it; stop that one first, or give this one another data folder",
        path.display()
    )]
    InUse {
        /// The data file.
        path: PathBuf,
    },
    /// A newer Holdpoint has written this data file.
    #[error(
        "open the data file {}: a newer Holdpoint wrote it (schema {found}, this one knows up to {known}); start the newer Holdpoint, or restore a backup made before it",
        path.display()
    )]
    NewerSchema {
        /// The data file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// The data file or its folder cannot be used.
    #[error("use the data file {}: {source}", path.display())]
    Io {
        /// The data file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The schema could not be brought up to date.
    #[error("bring the schema of {} up to date: {source}", path.display())]
    Migrate {
        /// The data file.
        path: PathBuf,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
    /// The database refused.
    #[error("open the database {}: {source}", path.display())]
    Database {
        /// The data file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// What it holds could not be read back.
    #[error("read the database {}: {source}", path.display())]
    Content {
        /// The data file.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
}

/// Why the store could not do something. After any of these nothing of the request is committed,
/// except where `Unsettled` says that this is not known.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// The database refused: disk full, I/O error, a broken constraint.
    #[error("use the database: {0}")]
    Database(Arc<sqlx::Error>),
    /// The commit failed; it may or may not have reached the disk. Look again before repeating.
    #[error("commit: {0}; whether it took effect is only known after reading again")]
    Unsettled(Arc<sqlx::Error>),
    /// Something stored cannot be understood.
    #[error("understand what is stored: {0}")]
    Corrupt(String),
    /// The same idempotency key came with another request before.
    #[error(
        "use the idempotency key {key:?} again: it was used for another request, which started {execution}"
    )]
    IdempotencyConflict {
        /// The key.
        key: String,
        /// What the first request with it started.
        execution: ExecutionId,
    },
    /// The name or id is taken.
    #[error("create {what}: it exists already")]
    Exists {
        /// What.
        what: &'static str,
    },
    /// No such row.
    #[error("find the {what}")]
    Missing {
        /// What.
        what: &'static str,
    },
    /// Nobody could administer any more.
    #[error("take away the last administrator who can sign in")]
    LastAdmin,
    /// The store was closed, or its writer is gone.
    #[error("use the store: it is closed")]
    Closed,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolClosed => Self::Closed,
            error => Self::Database(Arc::new(error)),
        }
    }
}

/// Why a command had no effect.
#[derive(Clone, Debug, Error)]
pub enum ApplyError {
    /// The execution's state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no such execution.
    #[error("there is no such execution")]
    UnknownExecution,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ApplyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
