//! Removing a tree, whatever is in it.

use std::{
    ffi::CStr,
    io,
    os::fd::AsFd as _,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
};

use crate::{Folder, folder::by_descriptor, walk::kind};

/// Folders within folders that are gone into. What is deeper is moved up first: each level costs an open file
/// and a part of the stack, and a session can make more levels than there are of either.
const MAX_DEPTH: usize = 64;

/// How often a folder is gone through that is not empty afterwards. One whose depths were moved up needs a
/// pass for each [`MAX_DEPTH`] levels; somebody who makes files faster than they go must not keep us for ever.
const MAX_PASSES: usize = 100_000;

/// For names of what is moved up.
static MOVED: AtomicU64 = AtomicU64::new(0);

/// What the owner needs to change a folder.
const OPEN: Mode = Mode::RWXU;

/// Removes a folder with all that is in it, or whatever else has its name; links are removed, never followed,
/// and nothing outside is touched. Folders that their owner may not change are opened up for it. One that is
/// not there is no error. The path to it is trusted.
///
/// # Errors
/// If something cannot be removed. Part of the tree may be gone then.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::open(parent, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        Ok(stat) if kind(&stat) != FileType::Directory => {
            return gone(rustix::fs::unlinkat(&parent, name, AtFlags::empty()));
        }
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let c_name = std::ffi::CString::new(name.as_encoded_bytes())?;
    let top = opened_up(parent.as_fd(), &c_name)?;
    empty(&top, &top, 0)?;
    gone(rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR))
}

/// Removes what is in a folder.
fn empty(top: &Folder, folder: &Folder, depth: usize) -> io::Result<()> {
    for _ in 0..MAX_PASSES {
        let mut is_empty = true;
        // Not listed first: there may be more names than fit into memory.
        for entry in Dir::read_from(folder.fd())? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                is_empty = false;
                remove(top, folder, entry.file_name(), depth)?;
            }
        }
        if is_empty {
            return Ok(());
        }
    }
    Err(Errno::NOTEMPTY.into())
}

fn remove(top: &Folder, folder: &Folder, name: &CStr, depth: usize) -> io::Result<()> {
    let why = match rustix::fs::unlinkat(folder.fd(), name, AtFlags::empty()) {
        // Some systems say the one, some the other, of a folder.
        Err(why @ (Errno::ISDIR | Errno::PERM)) => why,
        other => return gone(other),
    };
    let inner = match opened_up(folder.fd(), name) {
        // A file that may not be removed.
        Err(Errno::NOTDIR) if why == Errno::PERM => return Err(why.into()),
        // It went, or something else has its name now: the next pass sees.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        other => other?,
    };
    if depth == MAX_DEPTH {
        let up = format!(".removed-{}-{}", std::process::id(), MOVED.fetch_add(1, Ordering::Relaxed));
        let moved = rustix::fs::renameat_with(folder.fd(), name, top.fd(), &*up, RenameFlags::NOREPLACE);
        return match moved {
            Ok(()) | Err(Errno::NOENT | Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        };
    }
    empty(top, &inner, depth + 1)?;
    match rustix::fs::unlinkat(folder.fd(), name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTDIR | Errno::NOTEMPTY) => Ok(()),
        other => gone(other),
    }
}

/// Opens a folder, and makes it one that its owner may change.
fn opened_up(parent: std::os::fd::BorrowedFd<'_>, name: &CStr) -> Result<Folder, Errno> {
    let folder = match Folder::in_open(parent, name) {
        Err(Errno::ACCESS) => {
            // Pinned, so that nothing else can be meant.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let pinned = rustix::fs::openat(parent, name, flags, Mode::empty())?;
            rustix::fs::chmod(by_descriptor(pinned.as_fd()), OPEN)?;
            Folder::in_open(parent, name)?
        }
        other => other?,
    };
    let mode = Mode::from_raw_mode(rustix::fs::fstat(folder.fd())?.st_mode);
    if !mode.contains(OPEN) {
        rustix::fs::fchmod(folder.fd(), OPEN)?;
    }
    Ok(folder)
}

fn gone(result: Result<(), Errno>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
