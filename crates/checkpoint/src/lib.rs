//! Checkpoints of a session's folders: what makes waiting free and crashes harmless.
//!
//! A checkpoint is a [`Manifest`] and the blobs it names. Blobs are content-addressed and written
//! first; the manifest, durable only when all of them are, is written last. So whatever ends a
//! process at any moment, every manifest in the store is whole, unless the store itself lost
//! something, and that is noticed: everything read is compared with its digest.
//!
//! ```text
//! manifests/<execution>/<seq>-<incarnation>-<time>-<digest>.json
//! blobs/sha256/<2 digits>/<62 digits>       up to 1 MiB each, compressed
//! condemned/<time>/<2 digits>/<62 digits>   named by no manifest, on their way out
//! ```
//!
//! The store is a folder, readable by its owner alone, or a bucket of an S3-compatible server.
//! This crate knows nothing of executions but a name for them, and no SQL.

mod backend;
mod blob;
mod catalog;
mod copy;
mod digest;
mod error;
mod index;
mod manifest;
mod matching;
mod path;
mod restore;
mod scan;
mod swap;
mod sweep;
mod take;
mod walk;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

pub use backend::S3Settings;
pub use catalog::{Listed, Newest, Skipped, Unusable};
pub use copy::{Copied, CopyError};
pub use digest::{Digest, ManifestId, NotADigest};
pub use error::{Fault, FaultKind, ManifestFault, OpenError, ReadError, RestoreError, StoreError, TakeError};
pub use manifest::{MANIFEST_VERSION, MAX_MANIFEST_BYTES, Manifest, Note, NoteKind};
pub use matching::Matching;
pub use restore::{Restored, RestoredNewest};
pub use swap::settle;
pub use sweep::{GRACE, Sweep, SweepError, Swept};
pub use take::{Facts, MAX_TAKE, Taken, Tree};

/// Checkpoints taken and restored at the same time, so that a crowd of them neither fills the memory
/// nor keeps the processors from everything else. The others wait.
const AT_ONCE: usize = 2;

/// Where [`Checkpoints::probe`] writes.
const PROBES: &str = "probes";

/// A place where checkpoints are kept. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    backend: backend::Backend,
    suspects: blob::Suspects,
    turns: Arc<Semaphore>,
}

impl Checkpoints {
    /// In a folder of this machine, which is made if it is missing and closed to everybody else.
    ///
    /// # Errors
    /// If the folder cannot be made or is not ours.
    pub fn local(root: &Path) -> Result<Self, OpenError> {
        Ok(Self::new(backend::Backend::local(root)?))
    }

    /// In a bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// If the settings do not fit together, or would send everything unencrypted to another machine.
    pub fn s3(settings: &S3Settings) -> Result<Self, OpenError> {
        Ok(Self::new(backend::Backend::s3(settings)?))
    }

    fn new(backend: backend::Backend) -> Self {
        Self { backend, suspects: blob::Suspects::default(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Writes, reads and deletes an object: whether checkpoints could be kept here at all.
    ///
    /// # Errors
    /// If any of it fails.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let key = format!("{PROBES}/{}", std::process::id());
        self.backend.put(&key, "probe".into()).await?;
        self.backend.get(&key).await?;
        self.backend.delete(&key).await
    }

    /// Waits for one of the few places.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.turns.acquire().await.ok()
    }
}
