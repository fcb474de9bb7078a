//! What the session made in its workspace: looked for at the end of each turn, because files that
//! a shell command changed are reported by nobody.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
};

use holdpoint_beneath::{FileType, Folder, Found, Walk, walk};
use holdpoint_model::{Digest, event::ResultFile, exclude::is_excluded};

/// Files listed at most; more are counted.
const MAX_FILES: usize = 1_000;

/// Files and folders looked at in one walk at most, so that a runaway build does not hold a turn up.
const MAX_WALKED: usize = 100_000;

/// Files with a longer path are counted and not listed: with [`MAX_FILES`] this bounds a list to a megabyte.
const MAX_PATH_BYTES: usize = 1_024;

/// Larger files are listed without a digest.
const MAX_DIGEST_BYTES: u64 = 16 * 1024 * 1024;

/// What is read for digests in one walk. Files beyond it get theirs at the end of later turns.
const MAX_DIGESTED_BYTES: u64 = 256 * 1024 * 1024;

/// Folders that are no results: what was put in, and what tools keep for themselves.
const LEFT_OUT: [&str; 8] =
    [".claude", "attachments", ".git", "node_modules", "target", "__pycache__", ".venv", ".cache"];

/// By what a file is known to be as it was: size and time of its last change.
type Stamp = (u64, i64, u64);

/// Finds the result files, remembering digests of files that have not changed.
#[derive(Debug)]
pub(crate) struct Collector {
    root: PathBuf,
    exclude: Vec<String>,
    digests: HashMap<String, (Stamp, Digest)>,
    last: Option<(Vec<ResultFile>, u64)>,
}

impl Collector {
    pub(crate) fn new(root: PathBuf, exclude: Vec<String>) -> Self {
        Self { root, exclude, digests: HashMap::new(), last: None }
    }

    /// The files as they are now and how many were left out, if that is news. The session may still be at
    /// work, and links and pipes are none of its results.
    pub(crate) fn collect(&mut self) -> io::Result<Option<(Vec<ResultFile>, u64)>> {
        let root = Folder::open(&self.root)?;
        let (files, omitted) = self.find(&root)?;
        let mut left = MAX_DIGESTED_BYTES;
        let mut digests = HashMap::new();
        let mut listed = Vec::new();
        for (path, stamp) in files {
            let digest = self.digest(&root, &path, stamp, &mut left);
            if let Some(digest) = &digest {
                digests.insert(path.clone(), (stamp, digest.clone()));
            }
            listed.push(ResultFile { digest, path, size: stamp.0 });
        }
        self.digests = digests;
        let now = (listed, omitted);
        let nothing_yet = self.last.is_none() && now.0.is_empty();
        if nothing_yet || self.last.as_ref() == Some(&now) {
            return Ok(None);
        }
        self.last = Some(now.clone());
        Ok(Some(now))
    }

    /// The first files by their path, and how many more there are.
    fn find(&self, root: &Folder) -> io::Result<(BTreeMap<String, Stamp>, u64)> {
        let (mut files, mut omitted) = (BTreeMap::new(), 0);
        walk(root, MAX_WALKED, &is_wanted, &mut |path, found| {
            let Found::Other { stat, .. } = found else { return Walk::Continue };
            match path.to_str() {
                Some(path) if is_excluded(&self.exclude, path) => {}
                Some(path) if path.len() <= MAX_PATH_BYTES => {
                    let size = u64::try_from(stat.st_size).unwrap_or_default();
                    files.insert(path.to_owned(), (size, stat.st_mtime, stat.st_mtime_nsec));
                    if files.len() > MAX_FILES {
                        files.pop_last();
                        omitted += 1;
                    }
                }
                // Events and addresses are text.
                _ => omitted += 1,
            }
            Walk::Continue
        })?;
        Ok((files, omitted))
    }

    fn digest(&self, root: &Folder, path: &str, stamp: Stamp, left: &mut u64) -> Option<Digest> {
        if let Some((known, digest)) = self.digests.get(path)
            && *known == stamp
        {
            return Some(digest.clone());
        }
        let content = root.read(path, MAX_DIGEST_BYTES.min(*left)).ok()?;
        *left -= content.len() as u64;
        Some(Digest::of_bytes(&content))
    }
}

fn is_wanted(path: &Path, kind: FileType) -> bool {
    match kind {
        FileType::RegularFile => true,
        FileType::Directory => !path.file_name().is_some_and(|name| LEFT_OUT.iter().any(|out| name == *out)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::ffi::OsStrExt as _};

    use super::*;

    #[test]
    fn finds_what_was_made_and_tells_only_news() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        let mut collector = Collector::new(root.to_owned(), vec!["*.log".into(), "private".into()]);
        assert_eq!(collector.collect().expect("collect"), None, "an empty workspace is no news");
        for path in [
            "a.txt",
            "sub/b.txt",
            "x.log",
            "private/c",
            ".git/config",
            "attachments/in",
            ".claude/settings.json",
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            fs::write(path, "1").expect("file");
        }
        std::os::unix::fs::symlink("/etc/passwd", root.join("link")).expect("link");
        let (files, omitted) = collector.collect().expect("collect").expect("news");
        let names: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!((names, omitted), (vec!["a.txt", "sub/b.txt"], 0));
        assert_eq!(collector.collect().expect("collect"), None, "the same again is no news");
        fs::write(root.join("a.txt"), "22").expect("file");
        let (changed, _) = collector.collect().expect("collect").expect("news");
        assert_ne!(changed[0].digest, files[0].digest);
        fs::remove_file(root.join("a.txt")).expect("remove");
        fs::remove_file(root.join("sub/b.txt")).expect("remove");
        let (none, _) = collector.collect().expect("collect").expect("that all are gone is news");
        assert!(none.is_empty());
    }

    #[test]
    fn what_a_hostile_session_makes_is_no_result() {
        let dir = tempfile::tempdir().expect("dir");
        let (root, host) = (dir.path().join("work"), dir.path().join("host"));
        fs::create_dir_all(root.join("sub")).expect("folder");
        fs::create_dir(&host).expect("folder");
        fs::write(host.join("secret"), "secret").expect("file");
        fs::write(root.join("sub/kept"), "1").expect("file");
        std::os::unix::fs::symlink(host.join("secret"), root.join("file")).expect("link");
        std::os::unix::fs::symlink(&host, root.join("folder")).expect("link");
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), rustix::fs::Mode::RWXU).expect("pipe");
        fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xff")), "1").expect("file");
        fs::File::create(root.join("sparse")).expect("file").set_len(1 << 40).expect("length");
        let long = root.join("l".repeat(200)).join("m".repeat(200)).join("n".repeat(200));
        let long = long.join("o".repeat(200)).join("p".repeat(250));
        fs::create_dir_all(&long).expect("folders");
        fs::write(long.join("file"), "1").expect("file");
        let mut collector = Collector::new(root.clone(), Vec::new());
        let (files, omitted) = collector.collect().expect("collect").expect("news");
        let found: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.digest.is_some())).collect();
        assert_eq!((found, omitted), (vec![("sparse", false), ("sub/kept", true)], 2));

        fs::remove_dir_all(&root).expect("remove");
        std::os::unix::fs::symlink(&host, &root).expect("link");
        collector.collect().expect_err("the workspace itself became a link");
    }

    #[test]
    fn more_files_than_are_listed_are_counted() {
        let dir = tempfile::tempdir().expect("dir");
        for n in 0..MAX_FILES + 500 {
            fs::write(dir.path().join(format!("{n:05}")), "").expect("file");
        }
        let mut collector = Collector::new(dir.path().to_owned(), Vec::new());
        let (files, omitted) = collector.collect().expect("collect").expect("news");
        assert_eq!((files.len(), omitted), (MAX_FILES, 500));
        assert_eq!(files.last().map(|file| file.path.as_str()), Some("00999"));
        assert_eq!(collector.digests.len(), MAX_FILES);
    }
}
