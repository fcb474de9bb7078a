//! What a checkpoint is, as it is written down: which files there were, and in which blobs they are.

use std::{collections::HashMap, collections::HashSet, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    Digest, ManifestFault, ManifestId,
    path::{EntryPath, LinkTarget},
};

/// The version this program writes, and the only one it reads.
pub const MANIFEST_VERSION: u32 = 1;

/// A longer manifest is neither written nor read: some 400 000 files. One is held in memory whole.
pub const MAX_MANIFEST_BYTES: usize = 96 * 1024 * 1024;

/// No blob holds more. This bounds what one blob costs in memory, whatever a manifest says. Measured
/// with one, two and four megabytes: one is the fastest on a disk, and costs the least memory.
pub(crate) const MAX_BLOB_BYTES: usize = 1024 * 1024;

/// The bits of a mode that are kept. Not the set-id bits: a restore must never make a program that
/// runs as somebody else.
pub(crate) const MODE_BITS: u32 = 0o777;

/// A whole checkpoint on paper. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    id: ManifestId,
    body: Arc<Body>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    pub(crate) version: u32,
    pub(crate) execution: String,
    pub(crate) incarnation: u32,
    pub(crate) seq: u64,
    pub(crate) at_ms: u64,
    pub(crate) label: String,
    pub(crate) transcript: Option<String>,
    pub(crate) notes: Vec<Note>,
    pub(crate) more_notes: u64,
    pub(crate) left_out: u64,
    pub(crate) blobs: Vec<BlobEntry>,
    pub(crate) trees: Vec<TreeEntry>,
}

/// One blob. `stored` is its size in the store, so that one cut short is noticed without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlobEntry {
    pub(crate) digest: Digest,
    pub(crate) len: u32,
    pub(crate) stored: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TreeEntry {
    pub(crate) name: String,
    pub(crate) exclude: Vec<String>,
    /// Each folder before what is in it; the root, with an empty path, first.
    pub(crate) entries: Vec<Entry>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Entry {
    Folder { path: EntryPath, mode: u32 },
    Link { path: EntryPath, to: LinkTarget },
    File(FileEntry),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    pub(crate) path: EntryPath,
    pub(crate) mode: u32,
    pub(crate) size: u64,
    pub(crate) mtime_ns: i64,
    /// Absent if the file may have been changed after it was read without a trace in its times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen: Option<Seen>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) pieces: Vec<Piece>,
}

/// What else tells that a file is untouched: nobody can set these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seen {
    pub(crate) ctime_ns: i64,
    pub(crate) inode: u64,
}

/// Consecutive bytes of a file: where they are in which blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Piece {
    pub(crate) blob: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) at: u32,
    pub(crate) len: u32,
    /// Of these bytes, if they share their blob with others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<Digest>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Something that a checkpoint may lack, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// In which tree.
    pub tree: String,
    /// Below its root; bytes that are no UTF-8 as `%` and two hexadecimal digits.
    pub path: String,
    /// What happened.
    pub what: NoteKind,
}

/// Why a file may not be in a checkpoint as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// It was there when its folder was read, and then no more. It is left out.
    Vanished,
    /// It was written to at each attempt to read it. What was read last is kept.
    Changed,
    /// It may not be read, or the disk failed: the system's word. It is left out.
    Unreadable(String),
    /// Its path is too long, or too many folders deep, to be restored. It is left out.
    TooDeep,
    /// It is larger than what may still be read for this checkpoint. It is left out.
    TooLarge,
}

impl Entry {
    pub(crate) fn path(&self) -> &EntryPath {
        match self {
            Self::Folder { path, .. } | Self::Link { path, .. } => path,
            Self::File(file) => &file.path,
        }
    }
}

impl Body {
    /// The digest of a piece's bytes.
    pub(crate) fn digest_of(&self, piece: &Piece) -> Digest {
        piece.digest.unwrap_or(self.blobs[piece.blob as usize].digest)
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.trees.iter().flat_map(|tree| &tree.entries).filter_map(|entry| match entry {
            Entry::File(file) => Some(file),
            _ => None,
        })
    }
}

impl Manifest {
    /// From what is stored. Everything that a restore relies on is checked here: that no path leads
    /// out of its tree, that nothing lies below a link or a file, and that sizes add up.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestFault> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let malformed = |error: serde_json::Error| ManifestFault::Malformed(error.to_string());
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestFault::Malformed(format!("it is {} bytes long", bytes.len())));
        }
        let Versioned { version } = serde_json::from_slice(bytes).map_err(malformed)?;
        if version != MANIFEST_VERSION {
            return Err(ManifestFault::Version { found: version });
        }
        let body: Body = serde_json::from_slice(bytes).map_err(malformed)?;
        check(&body).map_err(ManifestFault::Malformed)?;
        Ok(Self { id: ManifestId(Digest::of(bytes)), body: Arc::new(body) })
    }

    /// Of what has just been taken, with the bytes to store.
    pub(crate) fn seal(body: Body) -> (Self, Vec<u8>) {
        // Nothing in it can fail to be written: no maps, no floats.
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        (Self { id: ManifestId(Digest::of(&bytes)), body: Arc::new(body) }, bytes)
    }

    pub(crate) fn body(&self) -> &Body {
        &self.body
    }

    pub(crate) fn tree(&self, name: &str) -> Option<&TreeEntry> {
        self.body.trees.iter().find(|tree| tree.name == name)
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> ManifestId {
        self.id
    }

    /// Whose it is.
    #[must_use]
    pub fn execution(&self) -> &str {
        &self.body.execution
    }

    /// The worker that was acting.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.body.incarnation
    }

    /// How far the log was.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.body.seq
    }

    /// When it was taken, in milliseconds since 1970, by the clock of whoever took it.
    #[must_use]
    pub fn at_ms(&self) -> u64 {
        self.body.at_ms
    }

    /// Why it was taken.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.body.label
    }

    /// The last entry of the transcript then.
    #[must_use]
    pub fn transcript(&self) -> Option<&str> {
        self.body.transcript.as_deref()
    }

    /// What may be missing in it; and how many more such notes there were than are kept.
    #[must_use]
    pub fn notes(&self) -> (&[Note], u64) {
        (&self.body.notes, self.body.more_notes)
    }

    /// Sockets, pipes and devices, which no checkpoint keeps.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.body.left_out
    }

    /// The names of its trees.
    pub fn trees(&self) -> impl Iterator<Item = &str> {
        self.body.trees.iter().map(|tree| tree.name.as_str())
    }

    /// How many regular files it holds.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.body.files().count() as u64
    }

    /// How many bytes those files have together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.body.files().map(|file| file.size).sum()
    }

    /// The blobs it needs, each once.
    #[must_use]
    pub fn blobs(&self) -> HashSet<Digest> {
        self.body.blobs.iter().map(|blob| blob.digest).collect()
    }
}

/// Whether a text can name an execution or a tree: it becomes part of a key.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn check(body: &Body) -> Result<(), String> {
    if !is_name(&body.execution) {
        return Err(format!("{:?} names no execution", body.execution));
    }
    if let Some(blob) = body.blobs.iter().find(|blob| blob.len == 0 || blob.len as usize > MAX_BLOB_BYTES) {
        return Err(format!("blob {} is said to hold {} bytes", blob.digest, blob.len));
    }
    let mut names = HashSet::new();
    for tree in &body.trees {
        if !is_name(&tree.name) || !names.insert(&tree.name) {
            return Err(format!("{:?} names no tree, or two", tree.name));
        }
        check_tree(body, tree).map_err(|why| format!("tree {}: {why}", tree.name))?;
    }
    let total = body.files().try_fold(0u64, |sum, file| sum.checked_add(file.size));
    total.map(|_| ()).ok_or_else(|| "its files are larger than any disk".to_owned())
}

fn check_tree(body: &Body, tree: &TreeEntry) -> Result<(), String> {
    let mut is_folder: HashMap<&EntryPath, bool> = HashMap::with_capacity(tree.entries.len());
    for entry in &tree.entries {
        let path = entry.path();
        match (path.parent(), entry) {
            (None, Entry::Folder { .. }) => {}
            (None, _) => return Err("its root is no folder".to_owned()),
            (Some(parent), _) if is_folder.get(&parent) == Some(&true) => {}
            (Some(_), _) => return Err(format!("{path} is in no folder that was named before")),
        }
        if is_folder.insert(path, matches!(entry, Entry::Folder { .. })).is_some() {
            return Err(format!("{path} is there twice"));
        }
        let mode = match entry {
            Entry::Folder { mode, .. } | Entry::File(FileEntry { mode, .. }) => *mode,
            Entry::Link { .. } => 0,
        };
        if mode & !MODE_BITS != 0 {
            return Err(format!("{path} has mode {mode:o}"));
        }
        if let Entry::File(file) = entry {
            check_pieces(body, file).map_err(|why| format!("{path} {why}"))?;
        }
    }
    if is_folder.is_empty() { Err("it has no root".to_owned()) } else { Ok(()) }
}

fn check_pieces(body: &Body, file: &FileEntry) -> Result<(), String> {
    let mut size = 0u64;
    for piece in &file.pieces {
        let Some(blob) = body.blobs.get(piece.blob as usize) else {
            return Err(format!("is in blob {}, and there is none", piece.blob));
        };
        let whole = piece.at == 0 && piece.len == blob.len;
        let fits = piece.len > 0 && piece.at.checked_add(piece.len).is_some_and(|end| end <= blob.len);
        if !fits || (piece.digest.is_none() && !whole) {
            return Err("has a piece that is not in its blob".to_owned());
        }
        size += u64::from(piece.len);
    }
    if size == file.size { Ok(()) } else { Err(format!("has {size} of its {} bytes", file.size)) }
}
