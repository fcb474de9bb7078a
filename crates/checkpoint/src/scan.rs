//! Reads trees into pieces. Large files are cut into blobs of their own; everything smaller shares
//! blobs, because each blob costs a request or two syncs of the disk: a hundred small files as
//! blobs of their own take half a second to become durable, one pack of them some milliseconds.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::{self, Read as _},
    os::unix::ffi::OsStringExt as _,
    path::PathBuf,
};

use bytes::Bytes;
use globset::GlobSet;
use holdpoint_beneath::{FileType, Folder, Stat};
use tokio::sync::mpsc;

use crate::{
    Digest, MAX_MANIFEST_BYTES, Note, NoteKind,
    index::{self, Index},
    manifest::{BlobEntry, Entry, FileEntry, MAX_BLOB_BYTES, MODE_BITS, Piece, TreeEntry},
    path::{EntryPath, LinkTarget},
    walk::{self, Found, Loss, Walk},
};

/// Pieces smaller than this share a blob with others.
const PACKED_BELOW: usize = 256 * 1024;

/// A file that is written to while it is read is read this often.
const READ_ATTEMPTS: usize = 3;

/// A checkpoint keeps this many notes, and counts the rest.
const MAX_NOTES: usize = 200;

/// What is read for one checkpoint. A file that does not fit into what is left is left out and told: files
/// may be longer than any disk (holes), and one content may have any number of names (hard links).
const MAX_READ_BYTES: u64 = 64 * 1024 * 1024 * 1024;

/// What an entry and a piece take in a manifest, at the very least.
const ENTRY_BYTES: usize = 39;
const PIECE_BYTES: usize = 18;

/// As in git: a file changed so shortly before is read again next time, since a later change need
/// not show in its times. Two seconds is the coarsest clock of a file system in use.
const RACY_NS: i64 = 2_000_000_000;

/// A tree to read, with everything the background needs.
pub(crate) struct OwnedTree {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) exclude: Vec<String>,
    pub(crate) patterns: GlobSet,
}

/// A blob to store.
pub(crate) struct Pending {
    pub(crate) digest: Digest,
    pub(crate) plain: Bytes,
}

/// All that was found. `stored` of blobs that are not from the index is still to be filled in.
#[derive(Default)]
pub(crate) struct Scanned {
    pub(crate) trees: Vec<TreeEntry>,
    pub(crate) blobs: Vec<BlobEntry>,
    pub(crate) notes: Vec<Note>,
    pub(crate) more_notes: u64,
    pub(crate) left_out: u64,
    pub(crate) files: u64,
    pub(crate) files_read: u64,
    pub(crate) bytes_read: u64,
}

/// Why a scan ended early.
pub(crate) enum Ended {
    /// Nobody takes blobs any more: storing one failed, or the caller left.
    Unwanted,
    /// The root of a tree cannot be read.
    Root(PathBuf, io::Error),
    /// No manifest has room for all that there is.
    TooMany,
}

/// Reads all trees, handing out blobs as they fill. Blocks.
pub(crate) fn scan(
    trees: Vec<OwnedTree>,
    index: Option<Index<'_>>,
    at_ms: u64,
    out: mpsc::Sender<Pending>,
) -> Result<Scanned, Ended> {
    let at_ns = i64::try_from(at_ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
    let mut scan = Scan {
        index,
        racy_from_ns: at_ns.saturating_sub(RACY_NS),
        out,
        known: HashMap::new(),
        packed: HashMap::new(),
        pack: Vec::new(),
        open: 0,
        manifest_bytes: 0,
        result: Scanned::default(),
    };
    for tree in trees {
        scan.tree(tree)?;
    }
    Ok(scan.result)
}

struct Scan<'a> {
    index: Option<Index<'a>>,
    racy_from_ns: i64,
    out: mpsc::Sender<Pending>,
    /// Blobs of this checkpoint so far.
    known: HashMap<Digest, u32>,
    /// Pieces in packs of this checkpoint.
    packed: HashMap<Digest, Piece>,
    /// The open pack, and its place in the list.
    pack: Vec<u8>,
    open: u32,
    /// What the manifest takes so far, at the very least.
    manifest_bytes: usize,
    result: Scanned,
}

/// Why a file has no entry.
enum NoFile {
    Lost(Loss),
    /// It does not fit into what may still be read.
    TooLarge,
    Unwanted,
}

impl From<io::Error> for NoFile {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.into())
    }
}

impl Scan<'_> {
    fn tree(&mut self, tree: OwnedTree) -> Result<(), Ended> {
        let mut entries = Vec::new();
        let (mut wanted, mut fits) = (true, true);
        let walked = walk::walk(&tree.path, &tree.patterns, &mut |path, found| {
            match self.entry(&tree.name, path, found) {
                Ok(entry) => entries.extend(entry.inspect(|entry| self.count(entry))),
                Err(NoFile::Lost(Loss::TooMany)) => fits = false,
                Err(NoFile::Lost(loss)) => self.lost(&tree.name, path, loss),
                Err(NoFile::TooLarge) => self.note(&tree.name, path, NoteKind::TooLarge),
                Err(NoFile::Unwanted) => wanted = false,
            }
            fits = fits && self.manifest_bytes <= MAX_MANIFEST_BYTES;
            if wanted && fits { Walk::Continue } else { Walk::Stop }
        });
        walked.map_err(|error| Ended::Root(tree.path, error))?;
        if !fits {
            return Err(Ended::TooMany);
        }
        // Trees do not share packs: the same start in many conversations is then the same blob.
        if !wanted || self.flush().is_err() {
            return Err(Ended::Unwanted);
        }
        self.result.trees.push(TreeEntry { name: tree.name, exclude: tree.exclude, entries });
        Ok(())
    }

    /// So that more than a manifest has room for is never held in memory.
    fn count(&mut self, entry: &Entry) {
        let (pieces, more) = match entry {
            Entry::File(file) => (file.pieces.len(), 0),
            Entry::Link { to, .. } => (0, to.as_bytes().len()),
            Entry::Folder { .. } => (0, 0),
        };
        let path = entry.path().as_path().as_os_str().len();
        self.manifest_bytes += ENTRY_BYTES + path + more + pieces * PIECE_BYTES;
    }

    fn entry(&mut self, tree: &str, path: &EntryPath, found: Found<'_>) -> Result<Option<Entry>, NoFile> {
        match found {
            Found::Lost(loss) => Err(NoFile::Lost(loss)),
            Found::Folder(stat) => {
                Ok(Some(Entry::Folder { path: path.clone(), mode: stat.st_mode & MODE_BITS }))
            }
            Found::Other { folder, name, stat } => match walk::kind(stat) {
                FileType::RegularFile => {
                    let file = self.file(tree, path, folder, name, stat)?;
                    self.result.files += 1;
                    Ok(Some(Entry::File(file)))
                }
                FileType::Symlink => {
                    let target = folder.link(name)?.into_os_string().into_vec();
                    let to = LinkTarget::new(target).ok_or(NoFile::Lost(Loss::TooDeep))?;
                    Ok(Some(Entry::Link { path: path.clone(), to }))
                }
                _ => {
                    self.result.left_out += 1;
                    Ok(None)
                }
            },
        }
    }

    fn lost(&mut self, tree: &str, path: &EntryPath, loss: Loss) {
        self.note(
            tree,
            path,
            match loss {
                Loss::Vanished => NoteKind::Vanished,
                Loss::Unreadable(error) => NoteKind::Unreadable(error.to_string()),
                Loss::TooDeep | Loss::TooMany => NoteKind::TooDeep,
            },
        );
    }

    fn note(&mut self, tree: &str, path: &EntryPath, what: NoteKind) {
        if self.result.notes.len() < MAX_NOTES {
            self.result.notes.push(Note { tree: tree.to_owned(), path: path.to_string(), what });
        } else {
            self.result.more_notes += 1;
        }
    }

    fn file(
        &mut self,
        tree: &str,
        path: &EntryPath,
        folder: &Folder,
        name: &OsStr,
        stat: &Stat,
    ) -> Result<FileEntry, NoFile> {
        let untouched = self.index.as_ref().and_then(|index| index.untouched(tree, path, stat));
        if let Some(known) = untouched {
            return Ok(FileEntry {
                path: path.clone(),
                mode: stat.st_mode & MODE_BITS,
                size: known.size,
                mtime_ns: known.mtime_ns,
                seen: known.seen,
                pieces: known.pieces.iter().map(|piece| self.reused(*piece)).collect(),
            });
        }
        self.result.files_read += 1;
        let mut attempt = 1;
        loop {
            let (mut file, before) = folder.file(name)?;
            let pieces = self.read(&mut file, index::size(&before))?;
            let same = is_same(&before, &rustix::fs::fstat(&file).map_err(io::Error::from)?);
            if !same && attempt < READ_ATTEMPTS {
                attempt += 1;
                continue;
            }
            if !same {
                self.note(tree, path, NoteKind::Changed);
            }
            let (mtime_ns, seen) = (index::mtime_ns(&before), index::seen(&before));
            let settled = same && mtime_ns.max(seen.ctime_ns) < self.racy_from_ns;
            return Ok(FileEntry {
                path: path.clone(),
                mode: before.st_mode & MODE_BITS,
                size: pieces.iter().map(|piece| u64::from(piece.len)).sum(),
                mtime_ns,
                seen: settled.then_some(seen),
                pieces,
            });
        }
    }

    /// At most `size` bytes, so that a file which grows without end has one.
    fn read(&mut self, file: &mut File, size: u64) -> Result<Vec<Piece>, NoFile> {
        if size > MAX_READ_BYTES.saturating_sub(self.result.bytes_read) {
            return Err(NoFile::TooLarge);
        }
        let mut pieces = Vec::new();
        let mut left = size;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(MAX_BLOB_BYTES);
            let mut chunk = Vec::with_capacity(want);
            file.take(want as u64).read_to_end(&mut chunk)?;
            self.result.bytes_read += chunk.len() as u64;
            if chunk.is_empty() {
                break;
            }
            left -= chunk.len() as u64;
            pieces.push(if chunk.len() < PACKED_BELOW { self.pack(&chunk)? } else { self.store(chunk)? });
        }
        Ok(pieces)
    }

    /// A blob of its own, unless it is stored already.
    fn store(&mut self, chunk: Vec<u8>) -> Result<Piece, NoFile> {
        let (digest, len) = (Digest::of(&chunk), length(&chunk));
        let known = self.known.get(&digest).copied();
        let known = known.or_else(|| {
            let index = self.index.as_ref()?;
            let blob = index.blob(index.whole(&digest)?);
            Some(self.add(blob))
        });
        let blob = match known {
            Some(blob) => blob,
            None => {
                let blob = self.add(BlobEntry { digest, len, stored: 0 });
                self.send(digest, chunk)?;
                blob
            }
        };
        Ok(Piece { blob, at: 0, len, digest: None })
    }

    /// A part of a blob, unless it is stored already.
    fn pack(&mut self, content: &[u8]) -> Result<Piece, NoFile> {
        let (digest, len) = (Digest::of(content), length(content));
        if let Some(piece) = self.packed.get(&digest) {
            return Ok(*piece);
        }
        let stored = self.index.as_ref().and_then(|index| index.packed(&digest));
        if let Some(piece) = stored {
            return Ok(self.reused(piece));
        }
        if self.pack.len() + content.len() > MAX_BLOB_BYTES {
            self.flush()?;
        }
        if self.pack.is_empty() {
            // Only the full pack has a digest; until then its place in the list is kept.
            let pack = BlobEntry { digest: Digest::of(&[]), len: 0, stored: 0 };
            self.open = self.push(pack);
        }
        let piece = Piece { blob: self.open, at: length(&self.pack), len, digest: Some(digest) };
        self.pack.extend_from_slice(content);
        self.packed.insert(digest, piece);
        Ok(piece)
    }

    /// Hands the open pack out.
    fn flush(&mut self) -> Result<(), NoFile> {
        if self.pack.is_empty() {
            return Ok(());
        }
        let pack = std::mem::take(&mut self.pack);
        let digest = Digest::of(&pack);
        self.result.blobs[self.open as usize] = BlobEntry { digest, len: length(&pack), stored: 0 };
        self.known.entry(digest).or_insert(self.open);
        self.send(digest, pack)
    }

    fn reused(&mut self, piece: Piece) -> Piece {
        match &self.index {
            Some(index) => {
                let blob = index.blob(piece.blob);
                Piece { blob: self.add(blob), ..piece }
            }
            None => piece,
        }
    }

    /// The place of this blob in the list.
    fn add(&mut self, blob: BlobEntry) -> u32 {
        if let Some(index) = self.known.get(&blob.digest) {
            return *index;
        }
        let index = self.push(blob);
        self.known.insert(blob.digest, index);
        index
    }

    fn push(&mut self, blob: BlobEntry) -> u32 {
        self.result.blobs.push(blob);
        // Four gigabytes of blobs' names do not fit into a manifest.
        u32::try_from(self.result.blobs.len() - 1).unwrap_or(u32::MAX)
    }

    fn send(&self, digest: Digest, plain: Vec<u8>) -> Result<(), NoFile> {
        self.out.blocking_send(Pending { digest, plain: plain.into() }).map_err(|_| NoFile::Unwanted)
    }
}

/// Of at most a blob's worth of bytes.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn is_same(before: &Stat, after: &Stat) -> bool {
    index::size(before) == index::size(after)
        && index::mtime_ns(before) == index::mtime_ns(after)
        && index::seen(before) == index::seen(after)
}
