//! Going through a folder without ever leaving it: each step is taken from an open folder, and no
//! link is followed, even if one is put in the way meanwhile.

use std::{io, os::fd::OwnedFd, path::Path};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

use crate::path::EntryPath;

/// Folders within folders; each costs an open file while it is gone through. Deeper ones are left
/// out and told.
const MAX_DEPTH: usize = 200;

/// What was found at a path.
pub(crate) enum Found<'a> {
    /// A folder; what is in it comes next.
    Folder(&'a Stat),
    /// Anything else, by its name in its open folder.
    Other { folder: &'a OwnedFd, name: &'a std::ffi::CStr, stat: &'a Stat },
    /// Nothing that can be looked at.
    Lost(Loss),
}

/// Why something is not looked at.
pub(crate) enum Loss {
    /// It went away between two looks.
    Vanished,
    /// The system refused.
    Unreadable(io::Error),
    /// See [`MAX_DEPTH`] and `MAX_PATH_BYTES`.
    TooDeep,
}

impl From<rustix::io::Errno> for Loss {
    fn from(error: rustix::io::Errno) -> Self {
        match error {
            // A folder or file that became a link, or a folder that became a file.
            rustix::io::Errno::NOENT | rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => Self::Vanished,
            other => Self::Unreadable(other.into()),
        }
    }
}

/// What a visitor wants.
pub(crate) enum Walk {
    Continue,
    Stop,
}

/// Goes through everything below `root`, folders before their content, names in byte order.
/// An error means that the root itself cannot be read.
pub(crate) fn walk(
    root: &Path,
    exclude: &GlobSet,
    visit: &mut dyn FnMut(&EntryPath, Found<'_>) -> Walk,
) -> io::Result<()> {
    let folder = rustix::fs::open(root, FOLDER, Mode::empty())?;
    let names = names_in(&folder)?;
    let stat = rustix::fs::fstat(&folder)?;
    let path = EntryPath::root();
    if let Walk::Continue = visit(&path, Found::Folder(&stat)) {
        below(&folder, names, &path, 0, exclude, visit);
    }
    Ok(())
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn names_in(folder: &OwnedFd) -> rustix::io::Result<Vec<std::ffi::CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn below(
    folder: &OwnedFd,
    names: Vec<std::ffi::CString>,
    path: &EntryPath,
    depth: usize,
    exclude: &GlobSet,
    visit: &mut dyn FnMut(&EntryPath, Found<'_>) -> Walk,
) -> Walk {
    for name in names {
        let Some(path) = path.child(name.as_bytes()) else {
            // Told at the folder, since the path itself is too long to be told.
            if let Walk::Stop = visit(path, Found::Lost(Loss::TooDeep)) {
                return Walk::Stop;
            }
            continue;
        };
        if exclude.is_match(path.as_path()) {
            continue;
        }
        let went = match look(folder, &name) {
            Err(error) => visit(&path, Found::Lost(error.into())),
            Ok((stat, None)) => visit(&path, Found::Other { folder, name: &name, stat: &stat }),
            Ok(_) if depth == MAX_DEPTH => visit(&path, Found::Lost(Loss::TooDeep)),
            Ok((stat, Some((inner, names)))) => match visit(&path, Found::Folder(&stat)) {
                Walk::Continue => below(&inner, names, &path, depth + 1, exclude, visit),
                Walk::Stop => Walk::Stop,
            },
        };
        if let Walk::Stop = went {
            return Walk::Stop;
        }
    }
    Walk::Continue
}

type OpenFolder = (OwnedFd, Vec<std::ffi::CString>);

fn look(folder: &OwnedFd, name: &std::ffi::CStr) -> rustix::io::Result<(Stat, Option<OpenFolder>)> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if kind(&stat) != FileType::Directory {
        return Ok((stat, None));
    }
    let inner = rustix::fs::openat(folder, name, FOLDER, Mode::empty())?;
    let names = names_in(&inner)?;
    Ok((rustix::fs::fstat(&inner)?, Some((inner, names))))
}

/// What kind of thing it is.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
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
