//! Blobs: up to one megabyte, named after what they hold, compressed where that pays.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use crate::{Digest, FaultKind, StoreError, backend::Backend, manifest::MAX_BLOB_BYTES};

/// Where blobs are.
pub(crate) const BLOBS: &str = "blobs/sha256";

/// Where a sweep puts blobs that no manifest names, before they go for good. Below it, a folder
/// named after the time of the sweep.
pub(crate) const CONDEMNED: &str = "condemned";

/// The first byte of a stored blob: how the rest is to be read.
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// Level 1 compresses text to a third, faster than a disk takes it; higher ones gain little.
const ZSTD_LEVEL: i32 = 1;

/// The key of a blob.
pub(crate) fn key(digest: &Digest) -> String {
    spread(BLOBS, digest)
}

/// The key of a blob that a sweep has put aside.
pub(crate) fn condemned_key(folder: &str, digest: &Digest) -> String {
    spread(&format!("{CONDEMNED}/{folder}"), digest)
}

/// 256 folders, so that none of them becomes slow.
fn spread(folder: &str, digest: &Digest) -> String {
    let hex = digest.hex();
    format!("{folder}/{}/{}", &hex[..2], &hex[2..])
}

/// The digest that a key names. The reverse of [`key`] and [`condemned_key`].
pub(crate) fn named_by(key: &str) -> Option<Digest> {
    let (folder, rest) = key.rsplit_once('/')?;
    let start = folder.rsplit('/').next()?;
    if start.len() != 2 {
        return None;
    }
    Digest::from_hex(&format!("{start}{rest}"))
}

/// As it is stored.
pub(crate) fn encode(plain: &[u8]) -> Bytes {
    let mut stored = vec![0; zstd::zstd_safe::compress_bound(plain.len()) + 1];
    match zstd::bulk::compress_to_buffer(plain, &mut stored[1..], ZSTD_LEVEL) {
        Ok(size) if size < plain.len() => {
            stored[0] = ZSTD;
            stored.truncate(size + 1);
        }
        _ => {
            stored.clear();
            stored.push(PLAIN);
            stored.extend_from_slice(plain);
        }
    }
    stored.shrink_to_fit();
    stored.into()
}

/// What was stored, if it still is what the name says. Never more than `len` bytes of memory.
pub(crate) fn decode(stored: &Bytes, digest: &Digest, len: usize) -> Result<Bytes, FaultKind> {
    let torn = |why: String| FaultKind::Torn(why);
    let plain = match stored.first() {
        Some(&PLAIN) => stored.slice(1..),
        Some(&ZSTD) => {
            let unpacked = zstd::bulk::decompress(&stored[1..], len.min(MAX_BLOB_BYTES));
            unpacked.map_err(|error| torn(error.to_string()))?.into()
        }
        _ => return Err(torn("it begins with no known mark".to_owned())),
    };
    let (found, size) = (Digest::of(&plain), plain.len());
    if found != *digest || size != len {
        return Err(torn(format!("it holds {size} bytes with the digest {found}")));
    }
    Ok(plain)
}

/// A blob as it is stored, wherever it is now.
pub(crate) async fn fetch(backend: &Backend, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
    let key = key(digest);
    if let Some(stored) = backend.get(&key).await? {
        return Ok(Some(stored));
    }
    // A sweep that ran beside a `take` may have put it aside before it saw the manifest.
    for folder in backend.folders(CONDEMNED).await? {
        if let Some(stored) = backend.get(&condemned_key(&folder, digest)).await? {
            return Ok(Some(stored));
        }
    }
    // Or a later sweep has just put it back.
    backend.get(&key).await
}

/// Blobs that were found torn, cut short or missing. A key's mere presence says nothing about them:
/// the next checkpoint that needs such content writes it again, and so mends the older ones too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suspects(Arc<Mutex<HashSet<Digest>>>);

impl Suspects {
    pub(crate) fn add(&self, digest: Digest) {
        self.set().insert(digest);
    }

    pub(crate) fn contain(&self, digest: &Digest) -> bool {
        self.set().contains(digest)
    }

    pub(crate) fn remove(&self, digest: &Digest) {
        self.set().remove(digest);
    }

    fn set(&self) -> std::sync::MutexGuard<'_, HashSet<Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_shrinks_and_noise_does_not_grow() {
        let text = "the same line again\n".repeat(1_000);
        assert!(encode(text.as_bytes()).len() < text.len() / 10);
        let noise: Vec<u8> = (0..100u32)
            .flat_map(|n| *Digest::of(&n.to_le_bytes()).hex().as_bytes().first_chunk::<8>().expect("hex"))
            .collect();
        assert!(encode(&noise).len() <= noise.len() + 1);
    }

    #[test]
    fn a_key_names_its_blob() {
        let digest = Digest::of(b"x");
        assert_eq!(named_by(&key(&digest)), Some(digest));
        assert_eq!(named_by(&condemned_key("0001", &digest)), Some(digest));
        assert_eq!(named_by("blobs/sha256/ab/cd"), None);
    }

    proptest! {
        #[test]
        fn comes_back_whole_or_not_at_all(plain in prop::collection::vec(any::<u8>(), 1..2_000), at: prop::sample::Index, flip in 1u8..) {
            let (digest, len) = (Digest::of(&plain), plain.len());
            let stored = encode(&plain);
            prop_assert_eq!(decode(&stored, &digest, len), Ok(plain.clone().into()));
            prop_assert!(decode(&stored, &digest, len + 1).is_err());
            let mut torn = stored.to_vec();
            torn[at.index(stored.len())] ^= flip;
            if let Ok(read) = decode(&torn.into(), &digest, len) {
                prop_assert_eq!(read, plain); // a bit that zstd does not look at
            }
            prop_assert!(decode(&stored.slice(..at.index(stored.len())), &digest, len).is_err());
        }
    }
}
