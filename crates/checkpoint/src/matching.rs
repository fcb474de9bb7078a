//! Whether folders are what a checkpoint says, without restoring it.

use std::{
    collections::HashMap,
    ffi::OsStr,
    io::{self, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use holdpoint_beneath::{FileType, Folder, Stat};

use crate::{
    Checkpoints, Digest, Manifest, RestoreError, StoreError,
    error::file_error,
    index,
    manifest::{Entry, FileEntry, MODE_BITS, TreeEntry},
    path::EntryPath,
    swap::Place,
    walk::{self, Found, Loss, Walk},
};

/// Whether folders are what a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matching {
    /// All of it, and nothing else: there is nothing to restore.
    Same,
    /// The first difference found.
    Differs(String),
}

impl Checkpoints {
    /// Whether the destinations are this checkpoint already, by a look at every file's size, times
    /// and mode. Content is read only of files whose times could hide a change: those written just
    /// before the checkpoint was taken, and those that were moved here or restored since.
    ///
    /// What the checkpoint left out by pattern is left out here, too.
    ///
    /// # Errors
    /// If the checkpoint has no such tree, or a folder cannot be looked at. A missing one differs.
    pub async fn matches(
        &self,
        manifest: &Manifest,
        destinations: &[(&str, &Path)],
    ) -> Result<Matching, RestoreError> {
        let manifest = manifest.clone();
        let destinations: Vec<(String, PathBuf)> =
            destinations.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect();
        let compared = tokio::task::spawn_blocking(move || {
            for (name, path) in &destinations {
                let tree = manifest.tree(name).ok_or_else(|| RestoreError::NoSuchTree(name.clone()))?;
                if Place::new(path)?.is_under_way() {
                    return Ok(Matching::Differs(format!("a restore of {name} was cut short")));
                }
                if let Some(why) = differs(&manifest, tree, path)? {
                    return Ok(Matching::Differs(format!("{name}: {why}")));
                }
            }
            Ok(Matching::Same)
        });
        compared.await.map_err(StoreError::from)?
    }
}

fn differs(manifest: &Manifest, tree: &TreeEntry, root: &Path) -> Result<Option<String>, RestoreError> {
    let Ok(patterns) = walk::patterns(&tree.exclude) else {
        return Ok(Some("it was taken with patterns that this program does not know".to_owned()));
    };
    let mut expected: HashMap<&EntryPath, &Entry> =
        tree.entries.iter().map(|entry| (entry.path(), entry)).collect();
    let mut why = None;
    let walked = walk::walk(root, &patterns, &mut |path, found| {
        why = match expected.remove(path) {
            None if is_left_out(&found) => None,
            None => Some(format!("{path} is new")),
            Some(entry) => difference(manifest, entry, found).map(|what| format!("{path} {what}")),
        };
        if why.is_some() { Walk::Stop } else { Walk::Continue }
    });
    match walked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Some("it is not there".to_owned()));
        }
        other => other.map_err(file_error("read", root))?,
    }
    Ok(why.or_else(|| expected.keys().min().map(|path| format!("{path} is gone"))))
}

/// What no checkpoint keeps makes no difference.
fn is_left_out(found: &Found<'_>) -> bool {
    let kept = [FileType::RegularFile, FileType::Symlink];
    matches!(found, Found::Other { stat, .. } if !kept.contains(&walk::kind(stat)))
}

fn difference(manifest: &Manifest, entry: &Entry, found: Found<'_>) -> Option<String> {
    match (entry, found) {
        (Entry::Folder { mode, .. }, Found::Folder(stat)) => other_mode(*mode, stat),
        (Entry::Link { to, .. }, Found::Other { folder, name, .. }) => match folder.link(name) {
            Ok(target) if target.as_os_str().as_bytes() == to.as_bytes() => None,
            _ => Some("points elsewhere".to_owned()),
        },
        (Entry::File(file), Found::Other { folder, name, stat }) => {
            if walk::kind(stat) != FileType::RegularFile {
                return Some("is no file any more".to_owned());
            }
            if index::size(stat) != file.size {
                return Some(format!("has {} bytes, not {}", index::size(stat), file.size));
            }
            if index::mtime_ns(stat) != file.mtime_ns {
                return Some("was modified".to_owned());
            }
            let untouched = file.seen == Some(index::seen(stat));
            other_mode(file.mode, stat).or_else(|| {
                let same = untouched || has_content(manifest, file, folder, name).unwrap_or(false);
                (!same).then(|| "has other content".to_owned())
            })
        }
        (_, Found::Lost(Loss::Unreadable(error))) => Some(format!("cannot be read: {error}")),
        _ => Some("is of another kind".to_owned()),
    }
}

fn other_mode(expected: u32, stat: &Stat) -> Option<String> {
    let found = stat.st_mode & MODE_BITS;
    (found != expected).then(|| format!("has mode {found:o}, not {expected:o}"))
}

fn has_content(manifest: &Manifest, file: &FileEntry, folder: &Folder, name: &OsStr) -> io::Result<bool> {
    let (opened, _) = folder.file(name)?;
    let mut part = Vec::new();
    for piece in &file.pieces {
        part.clear();
        (&opened).take(u64::from(piece.len)).read_to_end(&mut part)?;
        if Digest::of(&part) != manifest.body().digest_of(piece) {
            return Ok(false);
        }
    }
    Ok(true)
}
