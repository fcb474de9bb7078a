//! Files of a configuration: what is read from repositories and written into images. In memory, since they are few and
//! small, and nothing on disk can then be another file when it is used than when it was looked at.

use std::{collections::BTreeMap, fmt};

use thiserror::Error;

use crate::Digest;

/// The longest path, in bytes. What image layers (ustar) take without extensions.
pub const MAX_PATH_BYTES: usize = 240;

/// A file: what is in it, and whether it may be run. Links, devices and set-user-id bits do not come along.
#[derive(Clone, PartialEq, Eq)]
pub struct TreeFile {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether it may be run.
    pub executable: bool,
}

/// Files by their paths below one folder: parts joined by `/`, none of them empty, `.` or `..`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    files: BTreeMap<String, TreeFile>,
}

/// Why a file cannot be in a tree.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TreeError {
    /// The path leads out, or is none.
    #[error("{0:?} is no path below a folder")]
    Path(String),
    /// The path is too long.
    #[error("the path {0:?} is longer than {MAX_PATH_BYTES} bytes")]
    Long(String),
    /// Something is a file and a folder at once.
    #[error("{0:?} is a file and a folder at once")]
    Both(String),
}

impl fmt::Debug for TreeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeFile")
            .field("bytes", &self.bytes.len())
            .field("executable", &self.executable)
            .finish()
    }
}

impl Tree {
    /// Puts a file into it, in the place of one of the same path.
    ///
    /// # Errors
    /// When no file can be there.
    pub fn insert(&mut self, path: &str, file: TreeFile) -> Result<(), TreeError> {
        let fits =
            |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\0', '\\']);
        if !path.split('/').all(fits) {
            return Err(TreeError::Path(path.to_owned()));
        }
        if path.len() > MAX_PATH_BYTES {
            return Err(TreeError::Long(path.to_owned()));
        }
        let above = path.match_indices('/').map(|(end, _)| &path[..end]);
        if let Some(file) = above.into_iter().find(|folder| self.files.contains_key(*folder)) {
            return Err(TreeError::Both(file.to_owned()));
        }
        if self.below(path).next().is_some() {
            return Err(TreeError::Both(path.to_owned()));
        }
        self.files.insert(path.to_owned(), file);
        Ok(())
    }

    /// The file at a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&TreeFile> {
        self.files.get(path)
    }

    /// All files, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &TreeFile)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// The files below a folder, with their paths from there on.
    pub fn below<'a>(&'a self, folder: &str) -> impl Iterator<Item = (&'a str, &'a TreeFile)> {
        let prefix = format!("{folder}/");
        let start = prefix.clone();
        let from = self.files.range(start..);
        from.map_while(move |(path, file)| Some((path.strip_prefix(&prefix)?, file)))
    }

    /// That folder as a tree of its own.
    #[must_use]
    pub fn folder(&self, folder: &str) -> Self {
        let files = self.below(folder).map(|(path, file)| (path.to_owned(), file.clone()));
        Self { files: files.collect() }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// How many files there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// A digest that two trees have in common exactly if they hold the same files.
    #[must_use]
    pub fn digest(&self) -> Digest {
        // Each path with its length: it may hold anything, line breaks too.
        let lines = self.files.iter().map(|(path, file)| {
            let kind = if file.executable { "x" } else { "-" };
            format!("{} {kind} {} {path}\n", Digest::of_bytes(&file.bytes), path.len())
        });
        Digest::of_bytes(lines.collect::<String>().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> TreeFile {
        TreeFile { bytes: text.into(), executable: false }
    }

    #[test]
    fn no_path_leads_out_and_nothing_is_both_file_and_folder() {
        let mut tree = Tree::default();
        for bad in ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "a\0b", "a\\b"] {
            assert_eq!(tree.insert(bad, file("x")), Err(TreeError::Path(bad.to_owned())), "{bad:?}");
        }
        let long = "x/".repeat(MAX_PATH_BYTES) + "y";
        assert!(matches!(tree.insert(&long, file("x")), Err(TreeError::Long(_))));
        tree.insert("a/b", file("x")).expect("fits");
        assert_eq!(tree.insert("a/b/c", file("x")), Err(TreeError::Both("a/b".into())));
        assert_eq!(tree.insert("a", file("x")), Err(TreeError::Both("a".into())));
        tree.insert("a/b", file("again")).expect("in its place");
        tree.insert("ab/c", file("x")).expect("fits");
        assert_eq!(tree.folder("a").len(), 1);
        assert_eq!(tree.folder("a").get("b"), Some(&file("again")));
    }

    #[test]
    fn digests_tell_apart_what_differs() {
        let of = |files: &[(&str, &str)]| {
            let mut tree = Tree::default();
            for (path, text) in files {
                tree.insert(path, file(text)).expect("fits");
            }
            tree.digest()
        };
        assert_eq!(of(&[("a", "1"), ("b", "2")]), of(&[("b", "2"), ("a", "1")]));
        assert_ne!(of(&[("a", "1"), ("b", "2")]), of(&[("a", "12"), ("b", "")]));
        assert_ne!(of(&[("ab", "c")]), of(&[("a", "bc")]));
    }
}
