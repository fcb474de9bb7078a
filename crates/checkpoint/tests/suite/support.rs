//! Trees as values: made from dice or by proptest, written to disk, read back, compared.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdpoint_checkpoint::{Checkpoints, Facts, Manifest, Taken, Tree};
use proptest::prelude::*;

/// A tree without its root, by path.
pub(crate) type Picture = BTreeMap<Vec<u8>, Node>;

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Folder { mode: u32 },
    File { mode: u32, content: Vec<u8> },
    Link(Vec<u8>),
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder { mode } => write!(f, "folder {mode:o}"),
            Self::File { mode, content } => {
                let start = &content[..content.len().min(8)];
                write!(f, "file {mode:o}, {} bytes, {start:02x?}", content.len())
            }
            Self::Link(to) => write!(f, "link to {}", String::from_utf8_lossy(to)),
        }
    }
}

/// Small, and the same from the same seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Half of it noise, half of it the same: as compressible as files are.
    pub(crate) fn content(&mut self, len: usize) -> Vec<u8> {
        let mut content = Vec::with_capacity(len + 16);
        while content.len() < len {
            content.extend(self.next().to_le_bytes());
            content.extend(b"the same");
        }
        content.truncate(len);
        content
    }
}

/// Writes a tree; the root must be there and empty.
pub(crate) fn write(root: &Path, picture: &Picture) {
    let at = |path: &[u8]| root.join(OsStr::from_bytes(path));
    for (path, node) in picture {
        match node {
            Node::Folder { .. } => fs::create_dir(at(path)).expect("folder"),
            Node::File { content, .. } => fs::write(at(path), content).expect("file"),
            Node::Link(to) => std::os::unix::fs::symlink(OsStr::from_bytes(to), at(path)).expect("link"),
        }
    }
    for (path, node) in picture.iter().rev() {
        if let Node::Folder { mode } | Node::File { mode, .. } = node {
            fs::set_permissions(at(path), fs::Permissions::from_mode(*mode)).expect("mode");
        }
    }
}

/// Reads a tree.
pub(crate) fn read(root: &Path) -> Picture {
    let mut picture = Picture::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).expect("read") {
            let path = folder.join(entry.expect("entry").file_name());
            let full = root.join(&path);
            let meta = fs::symlink_metadata(&full).expect("meta");
            let mode = meta.permissions().mode() & 0o777;
            let node = if meta.is_symlink() {
                Node::Link(fs::read_link(&full).expect("link").into_os_string().as_bytes().to_vec())
            } else if meta.is_dir() {
                folders.push(path.clone());
                Node::Folder { mode }
            } else {
                Node::File { mode, content: fs::read(&full).expect("content") }
            };
            picture.insert(path.into_os_string().as_bytes().to_vec(), node);
        }
    }
    picture
}

/// Trees with everything that a file system allows in names, and now and then a large file.
pub(crate) fn any_tree() -> impl Strategy<Value = Picture> {
    let byte = prop_oneof![4 => b'a'..=b'e', 1 => 1u8..=255].prop_map(|b| if b == b'/' { b'%' } else { b });
    let odd = prop::collection::vec(byte, 1..12);
    let name = prop_oneof![
        6 => odd,
        1 => "[\\PC&&[^/]]{1,20}".prop_map(String::into_bytes),
        1 => Just(vec![b'n'; 255]),
    ];
    let name = name.prop_filter("is itself or its parent", |name| name != b"." && name != b"..");
    let path = prop::collection::vec(name, 1..8);
    let size = prop_oneof![
        6 => Just(0usize),
        60 => 1usize..3_000,
        2 => (256usize << 10) - 1..(256 << 10) + 2,
        2 => (1usize << 20) - 1..(1 << 20) + 2,
        1 => (1usize << 20)..(3 << 20),
    ];
    let mode = prop::sample::select(vec![0o644, 0o755, 0o600, 0o400, 0o777, 0o664]);
    let folder_mode = prop::sample::select(vec![0o755, 0o700, 0o500, 0o777]);
    let node = prop_oneof![
        6 => (size, any::<u64>(), mode).prop_map(|(size, seed, mode)| Node::File { mode, content: Dice(seed).content(size) }),
        2 => folder_mode.prop_map(|mode| Node::Folder { mode }),
        1 => prop::collection::vec(1u8..=255, 1..40).prop_map(Node::Link),
        1 => prop::sample::select(vec!["/etc", "..", ".", "../../x", "/"]).prop_map(|to| Node::Link(to.into())),
    ];
    prop::collection::vec((path, node), 0..25).prop_map(|list| {
        let mut picture = Picture::new();
        'next: for (path, node) in list {
            for depth in 1..path.len() {
                let parent = path[..depth].join(&b'/');
                match picture.get(&parent) {
                    None => drop(picture.insert(parent, Node::Folder { mode: 0o755 })),
                    Some(Node::Folder { .. }) => {}
                    Some(_) => continue 'next,
                }
            }
            picture.entry(path.join(&b'/')).or_insert(node);
        }
        picture
    })
}

pub(crate) fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis()).expect("ms")
}

/// So far in the future that nothing on disk was changed just before it.
pub(crate) fn later_ms() -> u64 {
    now_ms() + 60_000
}

pub(crate) const EXECUTION: &str = "019a-execution";

pub(crate) fn facts(seq: u64) -> Facts {
    Facts {
        execution: EXECUTION.into(),
        incarnation: 1,
        seq,
        transcript: Some(format!("uuid-{seq}")),
        label: "hold".into(),
        at_ms: later_ms(),
    }
}

/// A store and one tree.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Checkpoints,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let store = Checkpoints::local(&dir.path().join("store")).expect("store");
        fs::create_dir(dir.path().join("workspace")).expect("workspace");
        Self { dir, store }
    }

    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let bench = Self::new();
        for (path, content) in files {
            bench.put(path, content);
        }
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.path("workspace")
    }

    pub(crate) fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.workspace().join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        fs::write(path, content).expect("write");
    }

    pub(crate) async fn take(&self, seq: u64) -> Taken {
        let workspace = self.workspace();
        let tree = Tree { name: "workspace", path: &workspace, exclude: &[] };
        self.store.take(&[tree], facts(seq)).await.expect("take")
    }

    /// What a checkpoint holds, by way of a folder of its own.
    pub(crate) async fn picture(&self, manifest: &Manifest) -> Picture {
        let to = self.path(&format!("restored-{}", manifest.seq()));
        self.store.restore(manifest, &[("workspace", &to)]).await.expect("restore");
        read(&to)
    }

    /// The stored file of each blob.
    pub(crate) fn blobs(&self) -> Vec<PathBuf> {
        files_below(&self.path("store/blobs"))
    }

    pub(crate) fn manifests(&self) -> Vec<PathBuf> {
        files_below(&self.path("store/manifests"))
    }
}

pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Gives a file the time it had, as a program may that wants to hide what it did.
pub(crate) fn set_modified(path: &Path, at: SystemTime) {
    fs::File::options().write(true).open(path).expect("open").set_modified(at).expect("time");
}

pub(crate) fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).expect("meta").modified().expect("time")
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime").block_on(future)
}

/// Does nothing for so long, without giving the moment away to a timer.
pub(crate) fn spin(duration: Duration) {
    let begun = std::time::Instant::now();
    while begun.elapsed() < duration {
        std::hint::spin_loop();
    }
}
