//! Everything below a folder, each step taken from an open one.

use std::{
    ffi::{CStr, CString, OsStr},
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Stat},
    io::Errno,
};

use crate::Folder;

/// Folders within folders; each costs an open file while it is gone through. Deeper ones are lost.
pub const MAX_DEPTH: usize = 200;

/// What was found at a path.
#[derive(Debug)]
pub enum Found<'a> {
    /// A folder; what is in it comes next.
    Folder(&'a Stat),
    /// Anything else: its name in its open folder, and what it was a moment ago.
    Other {
        /// The folder that it is in.
        folder: &'a Folder,
        /// Its name there.
        name: &'a OsStr,
        /// What it is; of a link, what the link is.
        stat: &'a Stat,
    },
    /// Nothing that can be looked at.
    Lost(Loss),
}

/// Why something is not looked at.
#[derive(Debug)]
pub enum Loss {
    /// It went away between two looks.
    Vanished,
    /// The system refused.
    Unreadable(io::Error),
    /// See [`MAX_DEPTH`].
    TooDeep,
    /// There are more entries than the caller wants. The walk ends with this.
    TooMany,
}

impl From<Errno> for Loss {
    fn from(error: Errno) -> Self {
        match error {
            // A folder or file that became a link, or a folder that became a file.
            Errno::NOENT | Errno::LOOP | Errno::NOTDIR => Self::Vanished,
            other => Self::Unreadable(other.into()),
        }
    }
}

impl From<io::Error> for Loss {
    fn from(error: io::Error) -> Self {
        let refused = error.get_ref().is_some_and(|inner| inner.is::<crate::Refused>());
        match Errno::from_io_error(&error) {
            Some(errno) => errno.into(),
            // What it is now, it was not when it was found.
            None if refused => Self::Vanished,
            None => Self::Unreadable(error),
        }
    }
}

/// What a visitor wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// The next one.
    Continue,
    /// The next one that is not in this folder.
    Skip,
    /// No more.
    Stop,
}

/// Goes through everything below `root`, folders before their content, names in byte order; the root itself
/// comes first, with an empty path. No link is followed, even if one is put in the way meanwhile.
///
/// What is not `wanted` is left out with all that is in it; of what is lost, the kind is unknown. After `max_entries` names the walk ends with
/// [`Loss::TooMany`]: so there is an end to what it costs, whatever somebody makes meanwhile.
///
/// # Errors
/// If the root itself cannot be read.
pub fn walk(
    root: &Folder,
    max_entries: usize,
    wanted: &dyn Fn(&Path, FileType) -> bool,
    visit: &mut dyn FnMut(&Path, Found<'_>) -> Walk,
) -> io::Result<()> {
    let (names, all) = root.names(max_entries)?;
    let stat = root.stat_self()?;
    let mut walker = Walker { left: max_entries - names.len(), wanted, visit };
    let path = PathBuf::new();
    if (walker.visit)(&path, Found::Folder(&stat)) == Walk::Continue {
        walker.below(root, Listing { names, all }, &path, 0);
    }
    Ok(())
}

struct Walker<'a> {
    left: usize,
    wanted: &'a dyn Fn(&Path, FileType) -> bool,
    visit: &'a mut dyn FnMut(&Path, Found<'_>) -> Walk,
}

struct Listing {
    names: Vec<CString>,
    all: bool,
}

impl Walker<'_> {
    fn below(&mut self, folder: &Folder, listing: Listing, path: &Path, depth: usize) -> Walk {
        for name in listing.names {
            let os_name = OsStr::from_bytes(name.as_bytes());
            let path = path.join(os_name);
            let stat = rustix::fs::statat(folder.fd(), &*name, AtFlags::SYMLINK_NOFOLLOW);
            if !(self.wanted)(&path, stat.as_ref().map_or(FileType::Unknown, kind)) {
                continue;
            }
            let looked = stat.map_err(Loss::from).and_then(|stat| self.look(folder, &name, stat, depth));
            let went = match looked {
                Err(loss) => (self.visit)(&path, Found::Lost(loss)),
                Ok((stat, None)) => (self.visit)(&path, Found::Other { folder, name: os_name, stat: &stat }),
                Ok((stat, Some((inner, listing)))) => match (self.visit)(&path, Found::Folder(&stat)) {
                    Walk::Continue => self.below(&inner, listing, &path, depth + 1),
                    other => other,
                },
            };
            if went == Walk::Stop {
                return Walk::Stop;
            }
        }
        if listing.all {
            return Walk::Continue;
        }
        (self.visit)(path, Found::Lost(Loss::TooMany));
        Walk::Stop
    }

    fn look(
        &mut self,
        folder: &Folder,
        name: &CStr,
        stat: Stat,
        depth: usize,
    ) -> Result<(Stat, Option<(Folder, Listing)>), Loss> {
        if kind(&stat) != FileType::Directory {
            return Ok((stat, None));
        }
        if depth == MAX_DEPTH {
            return Err(Loss::TooDeep);
        }
        let inner = Folder::in_open(folder.fd(), name)?;
        let (names, all) = inner.names(self.left)?;
        self.left -= names.len();
        Ok((inner.stat_self()?, Some((inner, Listing { names, all }))))
    }
}

/// What kind of thing it is.
#[must_use]
pub fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}
