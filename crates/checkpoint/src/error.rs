//! What can go wrong, by what a caller would do about it.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{Digest, ManifestId};

/// The place where checkpoints are kept, or the file system, did not do what was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The object store refused, or was not reached in time.
    #[error("failed to {what} `{key}`: {source}")]
    Object {
        /// The operation, as a verb.
        what: &'static str,
        /// The object.
        key: String,
        /// The store's own word.
        source: Box<object_store::Error>,
    },
    /// A file or folder of this machine.
    #[error("failed to {what} {path}: {source}")]
    File {
        /// The operation, as a verb.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's own word.
        source: io::Error,
    },
    /// The runtime is shutting down, or a task panicked.
    #[error("work in the background ended early: {0}")]
    Background(#[from] tokio::task::JoinError),
}

impl StoreError {
    /// Whether the file system is full: nothing is damaged, and room is what helps.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>()
                && matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// Shorthand for a closure that names what was done to a file.
pub(crate) fn file_error(
    what: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.into();
    move |source| StoreError::File { what, path, source }
}

/// Why a place for checkpoints could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Plain HTTP would show every transcript, and the request's signature, to the network.
    #[error("`{0}` is not on this machine, so it must be reached by https")]
    NotEncrypted(String),
    /// The endpoint is no URL.
    #[error("`{0}` is no URL")]
    NotAUrl(String),
    /// The object store's own settings do not fit together.
    #[error("failed to set up the object store: {0}")]
    Settings(#[source] Box<object_store::Error>),
    /// The folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why no checkpoint was taken. Whatever was there before still is.
#[derive(Debug, Error)]
pub enum TakeError {
    /// An execution or tree name is not letters, digits, `-`, `_` (1 to 64 of them), or a tree is given twice.
    #[error("`{0}` cannot name an execution or a tree here, or names two trees")]
    BadName(String),
    /// A pattern of what to leave out.
    #[error("`{pattern}` is no pattern: {why}")]
    BadPattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is more in the trees than a manifest may hold.
    #[error("there are too many files: their list may have {} bytes", crate::MAX_MANIFEST_BYTES)]
    TooMany,
    /// It took so long that what it built on may have been swept away since.
    #[error("it took longer than {} s", crate::MAX_TAKE.as_secs())]
    TooSlow,
    /// Reading the trees, or storing what they hold.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ManifestFault {
    /// Its bytes are not those it was named after.
    #[error("its bytes were changed or cut off: they make {0}")]
    Torn(ManifestId),
    /// It was written by another release. Newer: update this program.
    #[error("it is of version {found}; this program reads version {}", crate::MANIFEST_VERSION)]
    Version {
        /// The version it names.
        found: u32,
    },
    /// It is no manifest, or says something that cannot be.
    #[error("it is malformed: {0}")]
    Malformed(String),
}

/// Why a manifest was not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// There is none of that name.
    #[error("there is no checkpoint {0}")]
    NotFound(ManifestId),
    /// There is one, and it cannot be used.
    #[error("checkpoint {id} cannot be used: {fault}")]
    Unusable {
        /// Which.
        id: ManifestId,
        /// Why.
        fault: ManifestFault,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One blob that a manifest needs and that is not whole.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("blob {blob} {what}")]
pub struct Fault {
    /// Which.
    pub blob: Digest,
    /// How.
    pub what: FaultKind,
}

/// How a blob is not whole.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FaultKind {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// Its bytes are not those it was named after.
    #[error("is torn: {0}")]
    Torn(String),
}

/// Why nothing was restored. The destinations are what they were before.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The checkpoint holds no such tree, or a destination is given twice.
    #[error("the checkpoint holds no tree `{0}`, or it was asked for twice")]
    NoSuchTree(String),
    /// The destination is a link or a file, or in no folder.
    #[error("{0} is no folder, and cannot become one")]
    NotAFolder(PathBuf),
    /// Another set of destinations was being restored here and was cut short; settle that one first.
    #[error("an earlier restore of other folders was cut short here: {0}")]
    OtherRestore(PathBuf),
    /// The checkpoint is not whole.
    #[error("the checkpoint is not whole: {0}")]
    NotWhole(#[from] Fault),
    /// The store or the file system.
    #[error(transparent)]
    Store(#[from] StoreError),
}
