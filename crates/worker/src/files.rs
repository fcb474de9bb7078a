//! What the session made in its workspace: looked for at the end of each turn, because files that
//! a shell command changed are reported by nobody.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use holdpoint_model::{Digest, event::ResultFile};

/// Files listed at most; more are counted.
const MAX_FILES: usize = 1_000;

/// Files looked at in one walk at most, so that a runaway build does not hold a turn up.
const MAX_WALKED: usize = 100_000;

/// Larger files are listed without a digest.
const MAX_DIGEST_BYTES: u64 = 16 * 1024 * 1024;

/// Folders that are no results: what was put in, and what tools keep for themselves.
const LEFT_OUT: [&str; 8] =
    [".claude", "attachments", ".git", "node_modules", "target", "__pycache__", ".venv", ".cache"];

/// Finds the result files, remembering digests of files that have not changed.
#[derive(Debug)]
pub(crate) struct Collector {
    root: PathBuf,
    exclude: Vec<String>,
    digests: HashMap<PathBuf, (u64, SystemTime, Digest)>,
    last: Option<(Vec<ResultFile>, u64)>,
}

impl Collector {
    pub(crate) fn new(root: PathBuf, exclude: Vec<String>) -> Self {
        Self { root, exclude, digests: HashMap::new(), last: None }
    }

    /// The files as they are now and how many were left out, if that is news.
    pub(crate) fn collect(&mut self) -> io::Result<Option<(Vec<ResultFile>, u64)>> {
        let mut found = Vec::new();
        let mut walked = 0;
        walk(&self.root, &mut found, &mut walked)?;
        let mut files: Vec<(String, PathBuf, u64, SystemTime)> = found
            .into_iter()
            .filter_map(|(path, size, modified)| {
                let relative = path.strip_prefix(&self.root).ok()?.to_str()?.to_owned();
                (!self.is_excluded(&relative)).then_some((relative, path, size, modified))
            })
            .collect();
        files.sort_by(|a, b| a.0.cmp(&b.0));
        let omitted = files.len().saturating_sub(MAX_FILES);
        files.truncate(MAX_FILES);
        let listed: Vec<ResultFile> = files
            .into_iter()
            .map(|(relative, path, size, modified)| ResultFile {
                digest: self.digest(path, size, modified),
                path: relative,
                size,
            })
            .collect();
        let now = (listed, u64::try_from(omitted).unwrap_or(u64::MAX));
        let nothing_yet = self.last.is_none() && now.0.is_empty();
        if nothing_yet || self.last.as_ref() == Some(&now) {
            return Ok(None);
        }
        self.last = Some(now.clone());
        Ok(Some(now))
    }

    fn is_excluded(&self, relative: &str) -> bool {
        let name = relative.rsplit('/').next().unwrap_or(relative);
        self.exclude.iter().any(|pattern| {
            let pattern = pattern.trim_end_matches('/');
            glob(pattern, relative) || glob(pattern, name) || relative.starts_with(&format!("{pattern}/"))
        })
    }

    fn digest(&mut self, path: PathBuf, size: u64, modified: SystemTime) -> Option<Digest> {
        if size > MAX_DIGEST_BYTES {
            return None;
        }
        if let Some((known_size, known_time, digest)) = self.digests.get(&path)
            && (*known_size, *known_time) == (size, modified)
        {
            return Some(digest.clone());
        }
        let digest = Digest::of_bytes(&fs::read(&path).ok()?);
        self.digests.insert(path, (size, modified, digest.clone()));
        Some(digest)
    }
}

/// Plain files only: a link could lead anywhere.
fn walk(folder: &Path, found: &mut Vec<(PathBuf, u64, SystemTime)>, walked: &mut usize) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        *walked += 1;
        if *walked > MAX_WALKED {
            return Ok(());
        }
        // A file may vanish while we look: a background command may still be at work.
        let Ok(entry) = entry else { continue };
        let Ok(meta) = fs::symlink_metadata(entry.path()) else { continue };
        if meta.is_dir() {
            if !entry.file_name().to_str().is_some_and(|name| LEFT_OUT.contains(&name)) {
                let _ = walk(&entry.path(), found, walked);
            }
        } else if meta.is_file() {
            found.push((entry.path(), meta.len(), meta.modified().unwrap_or(SystemTime::UNIX_EPOCH)));
        }
    }
    Ok(())
}

/// `*` matches any run of characters.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len()).any(|at| rest.is_char_boundary(at) && glob(tail, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
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
}
