//! Copying a checkpoint to another place: a backup, or a move from a folder to a bucket.

use futures::{StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

use crate::{
    Checkpoints, Fault, FaultKind, MAX_TAKE, Manifest, ReadError, StoreError, blob, catalog,
    manifest::BlobEntry, take::LOOKS_AT_ONCE,
};

/// What a copy cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Blobs that the other place did not have.
    pub blobs: u64,
    /// Their size as stored, in bytes.
    pub bytes: u64,
    /// Blobs that were there already.
    pub skipped: u64,
}

/// Why a checkpoint was not copied. The other place may hold some more blobs, and no manifest.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It is not whole here.
    #[error("the checkpoint is not whole: {0}")]
    NotWhole(#[from] Fault),
    /// Its manifest.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It took so long that what was there already may have been swept away since.
    #[error("it took longer than {} s", MAX_TAKE.as_secs())]
    TooSlow,
    /// One of the two places.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Checkpoints {
    /// Copies a checkpoint to another place under the same name: blobs first, each verified, the
    /// manifest last. What is there already is not sent.
    ///
    /// # Errors
    /// If it is not whole here, or one of the two places fails.
    pub async fn copy_to(&self, other: &Self, manifest: &Manifest) -> Result<Copied, CopyError> {
        let begun = Instant::now();
        let id = manifest.id();
        let key = catalog::key(manifest);
        let stored = self.backend.get(&key).await?.ok_or(ReadError::NotFound(id))?;
        let again = Manifest::parse(&stored).map_err(|fault| ReadError::Unusable { id, fault })?;
        if again.id() != id {
            let fault = crate::ManifestFault::Torn(again.id());
            return Err(ReadError::Unusable { id, fault }.into());
        }
        let blobs = manifest.body().blobs.clone();
        let copied = futures::stream::iter(blobs)
            .map(|blob| self.copy_blob(other, blob))
            .buffer_unordered(LOOKS_AT_ONCE.min(4))
            .try_fold(Copied::default(), |sum, one| async move {
                Ok(Copied {
                    blobs: sum.blobs + one.blobs,
                    bytes: sum.bytes + one.bytes,
                    skipped: sum.skipped + one.skipped,
                })
            })
            .await?;
        if begun.elapsed() > MAX_TAKE {
            return Err(CopyError::TooSlow);
        }
        other.backend.settle(manifest.blobs().iter().map(blob::key).collect()).await?;
        other.backend.put(&key, stored).await?;
        Ok(copied)
    }

    async fn copy_blob(&self, other: &Self, entry: BlobEntry) -> Result<Copied, CopyError> {
        let key = blob::key(&entry.digest);
        if other.backend.size(&key).await? == Some(entry.stored) {
            return Ok(Copied { skipped: 1, ..Copied::default() });
        }
        let fault = |what| Fault { blob: entry.digest, what };
        let stored =
            blob::fetch(&self.backend, &entry.digest).await?.ok_or_else(|| fault(FaultKind::Missing))?;
        let bytes = stored.len() as u64;
        let sent = stored.clone();
        let decoded = tokio::task::spawn_blocking(move || {
            blob::decode(&stored, &entry.digest, entry.len as usize).map(|_| ())
        });
        decoded.await.map_err(StoreError::from)?.map_err(fault)?;
        other.backend.put(&key, sent).await?;
        Ok(Copied { blobs: 1, bytes, skipped: 0 })
    }
}
