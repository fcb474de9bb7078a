//! The last checkpoint as an index: which files need not be read again, and which content is
//! stored already.

use std::collections::{HashMap, HashSet};

use rustix::fs::Stat;

use crate::{
    Digest, Manifest,
    manifest::{Body, Entry, FileEntry, Piece, Seen},
    path::EntryPath,
};

/// A blob of which less than this share is still named is given up: what lives in it is read and
/// stored again, so that what does not can go.
const LIVE_SHARE: f64 = 0.5;

/// Blobs smaller than this are packs that a small change made.
const SMALL_PACK_BYTES: u32 = 128 * 1024;

/// With more of them they are packed together again: four megabytes at most.
const MAX_SMALL_PACKS: usize = 32;

/// What the last checkpoint of an execution knows.
pub(crate) struct Index<'a> {
    body: &'a Body,
    usable: Vec<bool>,
    files: HashMap<(&'a str, &'a EntryPath), &'a FileEntry>,
    packed: HashMap<Digest, Piece>,
    whole: HashMap<Digest, u32>,
}

impl<'a> Index<'a> {
    /// `present` says of each blob whether it is in the store at its full size.
    pub(crate) fn new(manifest: &'a Manifest, present: &[bool]) -> Self {
        let body = manifest.body();
        let usable = usable(body, present);
        let is_usable = |piece: &Piece| usable[piece.blob as usize];
        let mut files = HashMap::new();
        let mut packed = HashMap::new();
        for tree in &body.trees {
            for entry in &tree.entries {
                let Entry::File(file) = entry else { continue };
                for piece in file.pieces.iter().filter(|piece| is_usable(piece)) {
                    if let Some(digest) = piece.digest {
                        packed.insert(digest, *piece);
                    }
                }
                if file.pieces.iter().all(is_usable) {
                    files.insert((tree.name.as_str(), &file.path), file);
                }
            }
        }
        let blobs = body.blobs.iter().zip(0..).filter(|(_, index)| usable[*index as usize]);
        let whole = blobs.map(|(blob, index)| (blob.digest, index)).collect();
        Self { body, usable, files, packed, whole }
    }

    /// The entry of a file that is certainly as it was.
    pub(crate) fn untouched(&self, tree: &str, path: &EntryPath, stat: &Stat) -> Option<&'a FileEntry> {
        let file = *self.files.get(&(tree, path))?;
        let same =
            file.size == size(stat) && file.mtime_ns == mtime_ns(stat) && file.seen == Some(seen(stat));
        same.then_some(file)
    }

    /// Where this content is, as part of a blob.
    pub(crate) fn packed(&self, digest: &Digest) -> Option<Piece> {
        self.packed.get(digest).copied()
    }

    /// The blob that holds just this.
    pub(crate) fn whole(&self, digest: &Digest) -> Option<u32> {
        self.whole.get(digest).copied().filter(|blob| self.usable[*blob as usize])
    }

    pub(crate) fn blob(&self, index: u32) -> crate::manifest::BlobEntry {
        self.body.blobs[index as usize]
    }
}

fn usable(body: &Body, present: &[bool]) -> Vec<bool> {
    let mut live: Vec<HashSet<(u32, u32)>> = vec![HashSet::new(); body.blobs.len()];
    for piece in body.files().flat_map(|file| &file.pieces) {
        live[piece.blob as usize].insert((piece.at, piece.len));
    }
    let is_small = |blob: &&crate::manifest::BlobEntry| blob.len < SMALL_PACK_BYTES;
    let repack = body.blobs.iter().filter(is_small).count() > MAX_SMALL_PACKS;
    let usable = body.blobs.iter().zip(&live).zip(present).map(|((blob, live), present)| {
        let living: u64 = live.iter().map(|(_, len)| u64::from(*len)).sum();
        #[allow(clippy::cast_precision_loss)] // at most a million
        let share = living as f64 / f64::from(blob.len);
        *present && share >= LIVE_SHARE && !(repack && is_small(&blob))
    });
    usable.collect()
}

#[allow(clippy::cast_sign_loss)] // no file has less than nothing
pub(crate) fn size(stat: &Stat) -> u64 {
    stat.st_size as u64
}

pub(crate) fn mtime_ns(stat: &Stat) -> i64 {
    nanoseconds(stat.st_mtime, stat.st_mtime_nsec)
}

pub(crate) fn seen(stat: &Stat) -> Seen {
    Seen { ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec), inode: stat.st_ino }
}

#[allow(clippy::cast_possible_wrap)] // less than a billion
fn nanoseconds(seconds: i64, rest: u64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest as i64)
}
