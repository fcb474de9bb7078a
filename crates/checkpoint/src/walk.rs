//! Going through a folder without ever leaving it, by the paths that a manifest writes.

use std::{io, os::unix::ffi::OsStrExt as _, path::Path};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use holdpoint_beneath::Folder;
pub(crate) use holdpoint_beneath::{Found, Loss, Walk, kind};

use crate::path::EntryPath;

/// Entries looked at in one tree, left-out folders not counted. More than a manifest has room for, and what
/// their names take in memory while they are gone through is bounded by it.
const MAX_ENTRIES: usize = 500_000;

/// Goes through everything below `root`, folders before their content, names in byte order.
/// An error means that the root itself cannot be read.
pub(crate) fn walk(
    root: &Path,
    exclude: &GlobSet,
    visit: &mut dyn FnMut(&EntryPath, Found<'_>) -> Walk,
) -> io::Result<()> {
    let root = Folder::open(root)?;
    let wanted = |path: &Path, _| !exclude.is_match(path);
    holdpoint_beneath::walk(&root, MAX_ENTRIES, &wanted, &mut |path, found| {
        if let Some(path) = entry_path(path) {
            return visit(&path, found);
        }
        // Told at the folder, since the path itself is too long to be told. One that is too long is not gone
        // into, so the folder above it is none.
        let folder = path.parent().and_then(entry_path).unwrap_or_else(EntryPath::root);
        match visit(&folder, Found::Lost(Loss::TooDeep)) {
            Walk::Continue => Walk::Skip,
            other => other,
        }
    })
}

fn entry_path(path: &Path) -> Option<EntryPath> {
    EntryPath::new(path.as_os_str().as_bytes().to_owned())
}

/// Patterns of what to leave out: matched against the path below the root and against each name,
/// where `*` also stands for `/`; a folder goes with all that is in it.
pub(crate) fn patterns(exclude: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in exclude {
        let pattern = pattern.trim_end_matches('/');
        set.add(GlobBuilder::new(pattern).backslash_escape(true).build()?);
        if !pattern.contains('/') {
            set.add(GlobBuilder::new(&format!("**/{pattern}")).backslash_escape(true).build()?);
        }
    }
    set.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_a_name_or_a_path() {
        let exclude = ["*.log", "node_modules/", "a/b", "we[i]rd", "sub/**/x"].map(str::to_owned);
        let set = patterns(&exclude).expect("patterns");
        for out in ["x.log", "deep/er/x.log", "node_modules", "a/node_modules", "a/b", "weird", "sub/1/2/x"] {
            assert!(set.is_match(out), "{out}");
        }
        for kept in ["log", "node_modules2", "b", "c/a/b", "x.logs"] {
            assert!(!set.is_match(kept), "{kept}");
        }
        assert!(patterns(&["[".to_owned()]).is_err());
    }
}
