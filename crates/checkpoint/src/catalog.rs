//! Which checkpoints there are, and whether they are whole.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::{
    Checkpoints, Digest, Fault, FaultKind, Manifest, ManifestFault, ManifestId, ReadError, StoreError, blob,
    manifest::BlobEntry,
};

/// Where manifests are.
pub(crate) const MANIFESTS: &str = "manifests";

/// Blobs read at the same time: some six megabytes.
pub(crate) const GETS_AT_ONCE: usize = 3;

/// A checkpoint, as its key tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub id: ManifestId,
    /// How far the log was.
    pub seq: u64,
    /// The worker that was acting.
    pub incarnation: u32,
    /// When it was taken, in milliseconds since 1970.
    pub at_ms: u64,
    /// The manifest's size, in bytes.
    pub bytes: u64,
    pub(crate) key: String,
}

/// A checkpoint that was passed over.
#[derive(Debug)]
pub struct Skipped {
    /// Which.
    pub id: ManifestId,
    /// How far the log was: what lies between it and the one that is used may be missing.
    pub seq: u64,
    /// Why.
    pub why: Unusable,
}

/// Why a checkpoint cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Its manifest.
    #[error(transparent)]
    Manifest(ManifestFault),
    /// Its blobs.
    #[error("{} of its blobs are not whole, such as: {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
    Blobs(Vec<Fault>),
}

/// The newest checkpoint that is whole.
#[derive(Debug)]
pub struct Newest {
    /// It, if there is any.
    pub manifest: Option<Manifest>,
    /// Newer ones that are not, newest first.
    pub skipped: Vec<Skipped>,
}

/// The key of a manifest. The numbers have a fixed width, so that keys sort as checkpoints do.
pub(crate) fn key(manifest: &Manifest) -> String {
    format!(
        "{MANIFESTS}/{}/{:020}-{:010}-{:016}-{}.json",
        manifest.execution(),
        manifest.seq(),
        manifest.incarnation(),
        manifest.at_ms(),
        manifest.id().0.hex()
    )
}

fn listed(key: &str, bytes: u64) -> Option<Listed> {
    let name = key.rsplit('/').next()?.strip_suffix(".json")?;
    let mut parts = name.splitn(4, '-');
    let (seq, incarnation, at_ms) =
        (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let id = ManifestId(Digest::from_hex(parts.next()?)?);
    Some(Listed { id, seq, incarnation, at_ms, bytes, key: key.to_owned() })
}

/// The newest checkpoint whose manifest can be read, whatever its blobs are like.
pub(crate) async fn newest(store: &Checkpoints, execution: &str) -> Result<Option<Manifest>, StoreError> {
    for listed in store.list(execution).await?.iter().rev() {
        if let Ok(manifest) = store.open(execution, listed).await? {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}

impl Checkpoints {
    /// The executions that have checkpoints, in no order.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn executions(&self) -> Result<Vec<String>, StoreError> {
        self.backend.folders(MANIFESTS).await
    }

    /// The checkpoints of an execution, oldest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn list(&self, execution: &str) -> Result<Vec<Listed>, StoreError> {
        if !crate::manifest::is_name(execution) {
            return Ok(Vec::new());
        }
        let objects = self.backend.list(&format!("{MANIFESTS}/{execution}")).await?;
        let mut all: Vec<Listed> =
            objects.iter().filter_map(|object| listed(object.location.as_ref(), object.size)).collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(all)
    }

    /// A checkpoint's manifest.
    ///
    /// # Errors
    /// If there is none of that name, if it is torn or of another version, or if the store fails.
    pub async fn read(&self, execution: &str, id: ManifestId) -> Result<Manifest, ReadError> {
        let all = self.list(execution).await?;
        let listed = all.iter().find(|listed| listed.id == id).ok_or(ReadError::NotFound(id))?;
        self.open(execution, listed).await?.map_err(|fault| ReadError::Unusable { id, fault })
    }

    /// The newest checkpoint whose manifest can be read. Its blobs are not looked at: enough to ask
    /// whether the folders are as it says, and to have [`Checkpoints::restore`] try.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn newest(&self, execution: &str) -> Result<Option<Manifest>, StoreError> {
        newest(self, execution).await
    }

    /// The newest checkpoint of which every byte is there, read to be sure; and the newer ones that
    /// are not whole.
    ///
    /// # Errors
    /// If the store fails: an unreachable store makes no checkpoint torn.
    pub async fn newest_whole(&self, execution: &str) -> Result<Newest, StoreError> {
        let mut skipped = Vec::new();
        for listed in self.list(execution).await?.iter().rev() {
            let why = match self.open(execution, listed).await? {
                Err(fault) => Unusable::Manifest(fault),
                Ok(manifest) => match self.verify(&manifest).await? {
                    faults if faults.is_empty() => return Ok(Newest { manifest: Some(manifest), skipped }),
                    faults => Unusable::Blobs(faults),
                },
            };
            skipped.push(Skipped { id: listed.id, seq: listed.seq, why });
        }
        Ok(Newest { manifest: None, skipped })
    }

    /// Reads every blob of a checkpoint, and says which are not whole.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn verify(&self, manifest: &Manifest) -> Result<Vec<Fault>, StoreError> {
        let blobs = manifest.body().blobs.clone();
        futures::stream::iter(blobs)
            .map(|blob| async move {
                let loaded = self.load(blob).await?;
                Ok(loaded.err().map(|what| Fault { blob: blob.digest, what }))
            })
            .buffer_unordered(GETS_AT_ONCE)
            .try_filter_map(|fault| async move { Ok(fault) })
            .try_collect()
            .await
    }

    /// Forgets a checkpoint. What only it named goes with later sweeps. One that is not there is no
    /// error.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn delete(&self, execution: &str, id: ManifestId) -> Result<(), StoreError> {
        for listed in self.list(execution).await?.iter().filter(|listed| listed.id == id) {
            self.backend.delete(&listed.key).await?;
        }
        Ok(())
    }

    /// A blob's content, verified. The inner error is the blob's fault.
    pub(crate) async fn load(&self, blob: BlobEntry) -> Result<Result<Bytes, FaultKind>, StoreError> {
        let Some(stored) = blob::fetch(&self.backend, &blob.digest).await? else {
            return Ok(Err(FaultKind::Missing));
        };
        let decode = move || blob::decode(&stored, &blob.digest, blob.len as usize);
        let plain = tokio::task::spawn_blocking(decode).await?;
        if plain.is_err() {
            self.suspects.add(blob.digest);
        }
        Ok(plain)
    }

    /// Reads a manifest and holds it against its key. The inner error is the manifest's fault.
    pub(crate) async fn open(
        &self,
        execution: &str,
        listed: &Listed,
    ) -> Result<Result<Manifest, ManifestFault>, StoreError> {
        let Some(bytes) = self.backend.get(&listed.key).await? else {
            return Ok(Err(ManifestFault::Malformed("it was deleted just now".to_owned())));
        };
        let found = ManifestId(Digest::of(&bytes));
        if found != listed.id {
            return Ok(Err(ManifestFault::Torn(found)));
        }
        let parsed = tokio::task::spawn_blocking(move || Manifest::parse(&bytes)).await?;
        Ok(parsed.and_then(|manifest| {
            if manifest.execution() == execution && manifest.seq() == listed.seq {
                Ok(manifest)
            } else {
                Err(ManifestFault::Malformed("it is filed under another execution or moment".to_owned()))
            }
        }))
    }
}
