//! What of a data folder belongs into a backup, and in which order.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use holdpoint_store::{Contents, ContentsExecution};

use super::{EXECUTIONS, belongs};
use crate::data::DataDir;

/// The longest log of a worker that is kept: it is for looking into a failure soon after it.
const MAX_WORKER_LOG_BYTES: u64 = 1024 * 1024;

/// Something that belongs into the backup.
pub(super) struct Found<'a> {
    /// Where it is.
    pub(super) path: &'a Path,
    /// Where it is in the data folder.
    pub(super) place: &'a Path,
    /// Its metadata; not of what a link points to.
    pub(super) meta: &'a Metadata,
}

/// Visits everything but the database. Conversations with a worker come first, so that as little as can be
/// happens to their files after the database was copied; those that the copy does not know are left out.
pub(super) fn walk(
    data: &DataDir,
    contents: &Contents,
    visit: &mut impl FnMut(&Found<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut walk = Walk { root: data.root(), newest: None, visit };
    walk.entry(Path::new(EXECUTIONS), false)?;
    for ContentsExecution { id, incarnation } in &contents.executions {
        walk.newest = *incarnation;
        walk.entry(&Path::new(EXECUTIONS).join(id.to_string()), true)?;
    }
    walk.newest = None;
    let mut rest: Vec<_> = fs::read_dir(data.root())?.flatten().map(|entry| entry.file_name()).collect();
    rest.sort();
    for name in rest {
        if name.to_str().is_some_and(belongs) {
            walk.entry(Path::new(&name), true)?;
        }
    }
    Ok(())
}

struct Walk<'a, V> {
    root: &'a Path,
    /// The newest worker of this execution that the copy of the database knows. Numbers after it are given
    /// out again after a restore, and no two workers may have one journal.
    newest: Option<u32>,
    visit: &'a mut V,
}

impl<V: FnMut(&Found<'_>) -> anyhow::Result<()>> Walk<'_, V> {
    fn entry(&mut self, place: &Path, and_below: bool) -> anyhow::Result<()> {
        let path = self.root.join(place);
        let meta = match fs::symlink_metadata(&path) {
            Ok(meta) => meta,
            // Files come and go while sessions run.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if self.is_left_out(place, &meta) {
            return Ok(());
        }
        (self.visit)(&Found { path: &path, place, meta: &meta })?;
        if meta.is_dir() && and_below {
            let mut names: Vec<PathBuf> = fs::read_dir(&path)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.file_name().into())
                .collect();
            names.sort();
            for name in names {
                self.entry(&place.join(name), true)?;
            }
        }
        Ok(())
    }

    fn is_left_out(&self, place: &Path, meta: &Metadata) -> bool {
        let kind = meta.file_type();
        if kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device() {
            return true;
        }
        // Where a session may not have put a link, nothing of ours is one.
        if kind.is_symlink() && !super::may_be_link(place) {
            return true;
        }
        let parts: Vec<&str> = place.components().filter_map(|part| part.as_os_str().to_str()).collect();
        match parts.as_slice() {
            [EXECUTIONS, _, "run", number] => {
                number.parse().is_ok_and(|number: u32| self.newest.is_some_and(|newest| number > newest))
            }
            [EXECUTIONS, _, "run", _, "worker.log"] => meta.len() > MAX_WORKER_LOG_BYTES,
            _ => false,
        }
    }
}
