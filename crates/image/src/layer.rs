//! A layer: a tree of files that is always written as the same bytes.
//!
//! Entries are sorted by path, carry numbers and no names for owners, no times later than the image's,
//! no extended attributes, and no mode that gives a program another user's rights. Layers are not
//! compressed: they go over a socket of this machine, and no compressor's version can change a digest.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write},
    path::{Path, PathBuf},
};

use holdpoint_model::digest::hex;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// Permissions and the sticky bit: set-user-id and set-group-id never get into an image.
const MODE_MASK: u32 = 0o1777;

/// A tree of files, by path without a slash at either end.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    entries: BTreeMap<String, Entry>,
}

/// One file, folder or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) node: Node,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// In seconds since 1970.
    pub(crate) mtime: u64,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Folder,
    File(Content),
    /// A symbolic link to this.
    Symlink(String),
    /// Another name of the file at this path.
    Hardlink(String),
}

/// Where a file's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Bytes(Vec<u8>),
    Part { file: PathBuf, offset: u64, len: u64 },
}

/// A stretch of bytes, by what identifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digested {
    /// SHA-256, in hexadecimal.
    pub sha256: String,
    /// In bytes.
    pub size: u64,
}

impl Entry {
    /// A file of root that all may read.
    pub(crate) fn file(content: Content, mode: u32, mtime: u64) -> Self {
        Self { node: Node::File(content), mode, uid: 0, gid: 0, mtime }
    }
}

impl Content {
    /// All of a file on this machine.
    pub(crate) fn of_file(file: &Path) -> io::Result<Self> {
        let len = std::fs::metadata(file)?.len();
        Ok(Self::Part { file: file.to_owned(), offset: 0, len })
    }

    pub(crate) fn read(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::Part { file, offset, len } => {
                let mut bytes = Vec::new();
                part(file, *offset, *len)?.read_to_end(&mut bytes)?;
                Ok(bytes)
            }
        }
    }
}

impl Layer {
    /// Puts an entry at a path, in place of what was there.
    pub(crate) fn put(&mut self, path: impl Into<String>, entry: Entry) {
        self.entries.insert(path.into(), entry);
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Sets all times that are later to this one, in seconds since 1970.
    pub(crate) fn no_later_than(&mut self, time: u64) {
        for entry in self.entries.values_mut() {
            entry.mtime = entry.mtime.min(time);
        }
    }

    /// Makes the first name of each file in order the file, and its other names the links: a link may
    /// only come after what it links to.
    pub(crate) fn settle_hardlinks(&mut self) {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (path, entry) in &self.entries {
            if let Node::Hardlink(target) = &entry.node {
                names.entry(target.clone()).or_default().push(path.clone());
            }
        }
        for (target, mut paths) in names {
            let Some(entry) = self.entries.get(&target).cloned() else { continue };
            paths.push(target);
            paths.sort();
            let first = paths.remove(0);
            for path in paths {
                self.put(path, Entry { node: Node::Hardlink(first.clone()), ..entry.clone() });
            }
            self.put(first, entry);
        }
    }

    /// Writes it as a tar archive.
    pub(crate) fn write(&self, to: impl Write) -> io::Result<()> {
        let mut tar = Builder::new(to);
        for (path, entry) in &self.entries {
            let mut header = header(entry);
            match &entry.node {
                Node::Folder => tar.append_data(&mut header, format!("{path}/"), io::empty())?,
                Node::File(Content::Bytes(bytes)) => tar.append_data(&mut header, path, bytes.as_slice())?,
                Node::File(Content::Part { file, offset, len }) => {
                    tar.append_data(&mut header, path, whole(part(file, *offset, *len)?, file, *len))?;
                }
                Node::Symlink(to) | Node::Hardlink(to) => tar.append_link(&mut header, path, to)?,
            }
        }
        tar.into_inner()?.flush()
    }

    /// What it is written as, written nowhere.
    pub(crate) fn digest(&self) -> io::Result<Digested> {
        let mut hashing = Hashing::new(io::sink());
        self.write(&mut hashing)?;
        Ok(hashing.done())
    }
}

fn header(entry: &Entry) -> Header {
    let mut header = Header::new_gnu();
    let (kind, size) = match &entry.node {
        Node::Folder => (EntryType::Directory, 0),
        Node::File(Content::Bytes(bytes)) => (EntryType::Regular, bytes.len() as u64),
        Node::File(Content::Part { len, .. }) => (EntryType::Regular, *len),
        Node::Symlink(_) => (EntryType::Symlink, 0),
        Node::Hardlink(_) => (EntryType::Link, 0),
    };
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(entry.mode & MODE_MASK);
    header.set_uid(entry.uid.into());
    header.set_gid(entry.gid.into());
    header.set_mtime(entry.mtime);
    header
}

fn part(file: &Path, offset: u64, len: u64) -> io::Result<io::Take<File>> {
    let mut open = File::open(file)?;
    open.seek(SeekFrom::Start(offset))?;
    Ok(open.take(len))
}

/// Fails where a file has become shorter since its size was written into the header.
fn whole<R: io::Read>(inner: R, file: &Path, len: u64) -> impl io::Read + use<R> {
    struct Whole<R> {
        inner: R,
        left: u64,
        file: PathBuf,
    }
    impl<R: io::Read> io::Read for Whole<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.inner.read(buffer)?;
            self.left -= read as u64;
            if read == 0 && self.left > 0 && !buffer.is_empty() {
                return Err(io::Error::other(format!("{} changed while it was read", self.file.display())));
            }
            Ok(read)
        }
    }
    Whole { inner, left: len, file: file.to_owned() }
}

/// Passes bytes on, and digests and counts them.
pub(crate) struct Hashing<W> {
    inner: W,
    hasher: Sha256,
    size: u64,
}

impl<W: Write> Hashing<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), size: 0 }
    }

    pub(crate) fn done(self) -> Digested {
        Digested { sha256: hex(&self.hasher.finalize()), size: self.size }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The digest of all of a file on this machine.
///
/// # Errors
/// When it cannot be read.
pub fn digest_file(file: &Path) -> io::Result<Digested> {
    let mut hashing = Hashing::new(io::sink());
    // In large pieces: files of hundreds of megabytes pass through here.
    io::copy(&mut io::BufReader::with_capacity(1 << 20, File::open(file)?), &mut hashing)?;
    Ok(hashing.done())
}

/// The digest of bytes.
pub(crate) fn digest_bytes(bytes: &[u8]) -> Digested {
    Digested { sha256: hex(&Sha256::digest(bytes)), size: bytes.len() as u64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Entry {
        Entry::file(Content::Bytes(text.into()), 0o644, 7)
    }

    fn bytes(layer: &Layer) -> Vec<u8> {
        let mut bytes = Vec::new();
        layer.write(&mut bytes).expect("written");
        bytes
    }

    proptest! {
        #[test]
        fn the_same_tree_is_the_same_bytes_in_whatever_order_it_was_put_together(
            mut files in prop::collection::btree_map("[a-z]{1,3}(/[a-z]{1,80}){0,2}", "[a-z]{0,600}", 1..12)
                .prop_map(|files| files.into_iter().collect::<Vec<_>>()),
            turn in 0_usize..12,
        ) {
            let mut first = Layer::default();
            files.iter().for_each(|(path, content)| first.put(path, text(content)));
            let turn = turn % files.len();
            files.rotate_left(turn);
            let mut second = Layer::default();
            files.iter().for_each(|(path, content)| second.put(path, text(content)));
            let written = bytes(&first);
            prop_assert_eq!(&written, &bytes(&second));
            prop_assert_eq!(first.digest().expect("digest"), digest_bytes(&written));
        }
    }

    #[test]
    fn no_program_keeps_the_rights_of_another_user() {
        let mut layer = Layer::default();
        layer.put("su", Entry { mode: 0o6755, ..text("x") });
        layer.put("tmp", Entry { node: Node::Folder, mode: 0o41777, ..text("") });
        let written = bytes(&layer);
        let mut archive = tar::Archive::new(written.as_slice());
        let modes: Vec<_> =
            archive.entries().expect("tar").map(|entry| entry.expect("entry").header().mode()).collect();
        assert_eq!(modes.into_iter().collect::<io::Result<Vec<_>>>().expect("modes"), [0o755, 0o1777]);
    }

    #[test]
    fn the_first_name_of_a_file_is_the_file() {
        let mut layer = Layer::default();
        layer.put("b", text("x"));
        layer.put("a", Entry { node: Node::Hardlink("b".into()), ..text("") });
        layer.put("c", Entry { node: Node::Hardlink("b".into()), ..text("") });
        layer.settle_hardlinks();
        assert_eq!(layer.get("a").map(|entry| &entry.node), Some(&text("x").node));
        for link in ["b", "c"] {
            let node = layer.get(link).map(|entry| entry.node.clone());
            assert_eq!(node, Some(Node::Hardlink("a".into())), "{link}");
        }
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("file");
        std::fs::write(&file, "12345").expect("file");
        let mut layer = Layer::default();
        layer.put("file", Entry::file(Content::of_file(&file).expect("content"), 0o644, 0));
        std::fs::write(&file, "123").expect("file");
        let error = layer.digest().expect_err("must fail").to_string();
        assert!(error.contains("changed while it was read"), "{error}");
    }
}
