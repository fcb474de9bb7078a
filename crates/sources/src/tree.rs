//! Files of somebody else's, put into a tree: with limits, and a note for whatever is left out.

use holdpoint_model::{
    problem::Problem,
    tree::{Tree, TreeFile},
};

/// The most files of one source. The largest marketplaces have a few thousand.
pub const MAX_FILES: usize = 20_000;
/// The most that one file may have, in bytes: configuration is text, with a picture or a font here and there.
pub const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;
/// The most that all files of one source have together, in bytes: they are in memory while an image is made.
pub const MAX_TREE_BYTES: u64 = 256 * 1024 * 1024;

/// Notes that are told one by one; of more, only the number is told.
const MAX_NOTES: usize = 30;

/// What a file begins with in whose place Git LFS keeps another.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";
/// The largest that such a file is, in bytes (its specification says less than 1024).
const MAX_LFS_BYTES: usize = 1024;

/// A tree in the making.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    tree: Tree,
    notes: Vec<String>,
    unsaid: usize,
    files: usize,
    bytes: u64,
}

impl Gathered {
    /// Takes a file into account before it is read; whether there is room for it.
    ///
    /// # Errors
    /// If there is not.
    pub(crate) fn expect(&mut self, of: &str, path: &str, bytes: u64) -> Result<(), Problem> {
        let what = || format!("failed to read the files of {of}");
        let next = "name a folder within it, or keep such files elsewhere: configuration is small";
        if bytes > MAX_FILE_BYTES {
            let (is, may) = (bytes >> 20, MAX_FILE_BYTES >> 20);
            let why = format!("{} has {is} MiB; a file may have {may}", shown(path));
            return Err(Problem::new(what(), why).next(next));
        }
        self.files += 1;
        self.bytes += bytes;
        if self.files > MAX_FILES {
            return Err(too_many(of));
        }
        if self.bytes > MAX_TREE_BYTES {
            let why = format!("together they have more than {} MiB", MAX_TREE_BYTES >> 20);
            return Err(Problem::new(what(), why).next(next));
        }
        Ok(())
    }

    /// Puts a file in that was expected, or a note.
    pub(crate) fn file(&mut self, path: &str, executable: bool, bytes: Vec<u8>) {
        if bytes.starts_with(LFS) && bytes.len() <= MAX_LFS_BYTES {
            self.left_out(
                path,
                "it is kept by Git LFS, which is not asked; keep it in the repository itself",
            );
            return;
        }
        if let Err(error) = self.tree.insert(path, TreeFile { bytes, executable }) {
            self.left_out(path, &error.to_string());
        }
    }

    /// Whether a path can be had at all; if not, there is a note.
    pub(crate) fn takes(&mut self, path: &[u8]) -> Option<String> {
        let Ok(path) = std::str::from_utf8(path) else {
            self.left_out(&String::from_utf8_lossy(path), "its name is not in UTF-8");
            return None;
        };
        if path.contains(char::is_control) {
            self.left_out(path, "its name has a control character in it");
            return None;
        }
        if path.split('/').any(|name| name.eq_ignore_ascii_case(".git")) {
            self.left_out(path, "no repository has files of that name in it");
            return None;
        }
        // Asked before it is read: a path that fits nowhere costs nothing.
        let fits = Tree::default().insert(path, TreeFile { bytes: Vec::new(), executable: false });
        if let Err(error) = fits {
            self.left_out(path, &error.to_string());
            return None;
        }
        Some(path.to_owned())
    }

    /// Notes that something is left out, and why.
    pub(crate) fn left_out(&mut self, path: &str, why: &str) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(format!("{} is left out: {why}", shown(path)));
        } else {
            self.unsaid += 1;
        }
    }

    /// What came of it.
    pub(crate) fn done(self) -> (Tree, Vec<String>) {
        let Self { tree, mut notes, unsaid, .. } = self;
        if unsaid > 0 {
            notes.push(format!("{unsaid} more are left out, for such reasons"));
        }
        (tree, notes)
    }
}

/// The problem of a source with too many files.
pub(crate) fn too_many(of: &str) -> Problem {
    Problem::new(format!("failed to read the files of {of}"), format!("it has more than {MAX_FILES}"))
        .next("name a folder within it, or keep such files elsewhere: configuration is small")
}

/// A path as it may stand in a message.
pub(crate) fn shown(path: &str) -> String {
    let mut text: String = path.chars().take(200).flat_map(char::escape_debug).collect();
    if path.chars().nth(200).is_some() {
        text.push('…');
    }
    format!("`{text}`")
}
