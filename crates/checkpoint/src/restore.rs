//! Bringing a checkpoint back: all of it beside the destinations, verified and durable, then in
//! their place in one step.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _},
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use rustix::fs::{Timespec, Timestamps};
use tokio::time::Instant;

use crate::{
    Checkpoints, Fault, Manifest, RestoreError, Skipped, StoreError, Unusable,
    catalog::GETS_AT_ONCE,
    error::file_error,
    manifest::{Entry, FileEntry},
    swap::{self, Place},
};

/// Files synced at the same time: a hundred one after the other take 300 ms, eight at a time 30 ms.
const SYNCS_AT_ONCE: usize = 8;

/// What was restored, and what it cost.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Regular files.
    pub files: u64,
    /// What is in them, in bytes.
    pub bytes: u64,
    /// Blobs that were read for it.
    pub blobs: u64,
    /// From the call to the end.
    pub elapsed: Duration,
}

/// The newest checkpoint that could be restored, and has been.
#[derive(Debug)]
pub struct RestoredNewest {
    /// It.
    pub manifest: Manifest,
    /// What it cost.
    pub restored: Restored,
    /// Newer ones that are not whole, newest first: what lies between may be missing.
    pub skipped: Vec<Skipped>,
}

/// Where the parts of one blob go.
struct Target {
    path: Arc<PathBuf>,
    offset: u64,
    at: usize,
    len: usize,
}

impl Checkpoints {
    /// Makes the destinations what they were: each names a tree of the checkpoint and where it goes.
    /// Trees that are not named are not restored. What a destination holds now is replaced whole;
    /// its parent must exist. One restore at a time may work at a destination, and nothing else.
    ///
    /// Whenever this does not return, [`crate::settle`] with the same destinations makes them the
    /// old or the new, all of them; so does another restore.
    ///
    /// # Errors
    /// If the checkpoint is not whole or the file system fails. The destinations are untouched then,
    /// unless what failed was their change of places: that is settled as above.
    pub async fn restore(
        &self,
        manifest: &Manifest,
        destinations: &[(&str, &Path)],
    ) -> Result<Restored, RestoreError> {
        let begun = Instant::now();
        let mut names = HashSet::new();
        for (name, _) in destinations {
            if manifest.tree(name).is_none() || !names.insert(name) {
                return Err(RestoreError::NoSuchTree((*name).to_owned()));
            }
        }
        let _turn = self.turn().await;
        let (whole, names, paths) = (manifest.clone(), owned_names(destinations), owned_paths(destinations));
        let (places, targets) = blocking(move || {
            let places: Result<Vec<Place>, _> = paths.iter().map(|path| Place::new(path)).collect();
            let places = places?;
            swap::settle_places(&places)?;
            let targets = stage(&whole, &names, &places)?;
            Ok((places, targets))
        })
        .await?;
        let blobs = targets.len() as u64;
        let filled = self.fill(manifest, targets).await;
        let (whole, names) = (manifest.clone(), owned_names(destinations));
        blocking(move || {
            let done = filled.and_then(|()| {
                finish(&whole, &names, &places)?;
                swap::commit(&places)
            });
            if done.is_err() {
                // Whatever went wrong, the destinations are what they were, or settled later.
                let _ = swap::settle_places(&places);
            }
            done
        })
        .await?;
        let files = || destinations.iter().filter_map(|(name, _)| manifest.tree(name)).flat_map(files_of);
        Ok(Restored {
            files: files().count() as u64,
            bytes: files().map(|file| file.size).sum(),
            blobs,
            elapsed: begun.elapsed(),
        })
    }

    /// Restores the newest checkpoint that is whole, and says which newer ones are not. Each blob is
    /// read once, unlike with [`Checkpoints::newest_whole`] and a restore after it.
    ///
    /// # Errors
    /// If the store or the file system fails. That there is no whole checkpoint is no error.
    pub async fn restore_newest(
        &self,
        execution: &str,
        destinations: &[(&str, &Path)],
    ) -> Result<Result<RestoredNewest, Vec<Skipped>>, RestoreError> {
        let mut skipped = Vec::new();
        for listed in self.list(execution).await?.iter().rev() {
            let why = match self.open(execution, listed).await? {
                Err(fault) => Unusable::Manifest(fault),
                Ok(manifest) => match self.restore(&manifest, destinations).await {
                    Ok(restored) => return Ok(Ok(RestoredNewest { manifest, restored, skipped })),
                    Err(RestoreError::NotWhole(fault)) => Unusable::Blobs(vec![fault]),
                    Err(other) => return Err(other),
                },
            };
            skipped.push(Skipped { id: listed.id, seq: listed.seq, why });
        }
        Ok(Err(skipped))
    }

    async fn fill(
        &self,
        manifest: &Manifest,
        targets: HashMap<u32, Vec<Target>>,
    ) -> Result<(), RestoreError> {
        futures::stream::iter(targets)
            .map(|(index, targets)| async move {
                let blob = manifest.body().blobs[index as usize];
                let plain = self.load(blob).await?.map_err(|what| Fault { blob: blob.digest, what })?;
                blocking(move || write_parts(&plain, &targets)).await
            })
            .buffer_unordered(GETS_AT_ONCE)
            .try_collect()
            .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RestoreError> + Send + 'static,
) -> Result<T, RestoreError> {
    tokio::task::spawn_blocking(work).await.map_err(StoreError::from)?
}

fn owned_names(destinations: &[(&str, &Path)]) -> Vec<String> {
    destinations.iter().map(|(name, _)| (*name).to_owned()).collect()
}

fn owned_paths(destinations: &[(&str, &Path)]) -> Vec<PathBuf> {
    destinations.iter().map(|(_, path)| (*path).to_owned()).collect()
}

fn files_of(tree: &crate::manifest::TreeEntry) -> impl Iterator<Item = &FileEntry> {
    tree.entries.iter().filter_map(|entry| match entry {
        Entry::File(file) => Some(file),
        _ => None,
    })
}

/// Makes folders, links and empty files, and says which parts of which blobs belong where. A
/// manifest names folders before what is in them, and nothing below anything else: so nothing here
/// goes through a link. Files are made new or not at all.
fn stage(
    manifest: &Manifest,
    names: &[String],
    places: &[Place],
) -> Result<HashMap<u32, Vec<Target>>, RestoreError> {
    let mut targets: HashMap<u32, Vec<Target>> = HashMap::new();
    for (name, place) in names.iter().zip(places) {
        let tree = manifest.tree(name).ok_or_else(|| RestoreError::NoSuchTree(name.clone()))?;
        for entry in &tree.entries {
            let path = entry.path().below(&place.staged);
            match entry {
                Entry::Folder { .. } => {
                    fs::DirBuilder::new().mode(0o700).create(&path).map_err(file_error("make", path))?;
                }
                Entry::Link { to, .. } => {
                    std::os::unix::fs::symlink(to.as_path(), &path).map_err(file_error("make", path))?;
                }
                Entry::File(file) => {
                    new_file(&path, file.size).map_err(file_error("make", path.clone()))?;
                    let path = Arc::new(path);
                    let mut offset = 0;
                    for piece in &file.pieces {
                        targets.entry(piece.blob).or_default().push(Target {
                            path: Arc::clone(&path),
                            offset,
                            at: piece.at as usize,
                            len: piece.len as usize,
                        });
                        offset += u64::from(piece.len);
                    }
                }
            }
        }
    }
    Ok(targets)
}

/// A file of one hole, for parts to be put into.
fn new_file(path: &Path, size: u64) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.set_len(size)
}

fn write_parts(plain: &Bytes, targets: &[Target]) -> Result<(), RestoreError> {
    for target in targets {
        let path = target.path.as_path();
        // What is nothing stays a hole: a file of holes may be longer than there is room on the disk.
        if plain[target.at..target.at + target.len].iter().all(|byte| *byte == 0) {
            continue;
        }
        let file = fs::OpenOptions::new().write(true).open(path);
        // In range: the manifest was checked, and the blob is as long as it says.
        let part = plain.slice(target.at..target.at + target.len);
        file.and_then(|file| file.write_all_at(&part, target.offset)).map_err(file_error("write", path))?;
    }
    Ok(())
}

/// Modes and times, and everything to disk. Folders last and from below: some may not be entered or
/// written to any more.
fn finish(manifest: &Manifest, names: &[String], places: &[Place]) -> Result<(), RestoreError> {
    for (name, place) in names.iter().zip(places) {
        let Some(tree) = manifest.tree(name) else { continue };
        let files: Vec<&FileEntry> = files_of(tree).collect();
        side_by_side(&files, |file| {
            let path = file.path.below(&place.staged);
            finish_file(file, &path).map_err(file_error("finish", path))
        })?;
        let folders = tree.entries.iter().rev().filter_map(|entry| match entry {
            Entry::Folder { path, mode } => Some((path.below(&place.staged), *mode)),
            _ => None,
        });
        let (open, closed): (Vec<_>, Vec<_>) = folders.partition(|(_, mode)| mode & 0o500 == 0o500);
        let finish =
            |(path, mode): &(PathBuf, u32)| finish_folder(path, *mode).map_err(file_error("finish", path));
        side_by_side(&open, finish)?;
        closed.iter().try_for_each(finish)?;
    }
    Ok(())
}

/// Does the same to each, some at a time. One after the other, a file system makes every sync wait
/// for the disk; side by side it gathers them.
fn side_by_side<T: Sync>(
    all: &[T],
    work: impl Fn(&T) -> Result<(), StoreError> + Sync,
) -> Result<(), StoreError> {
    let share = all.len().div_ceil(SYNCS_AT_ONCE).max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            all.chunks(share).map(|chunk| scope.spawn(|| chunk.iter().try_for_each(&work))).collect();
        // A panic in one of them goes on here.
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

fn finish_file(file: &FileEntry, path: &Path) -> io::Result<()> {
    let opened = fs::File::open(path)?;
    opened.set_permissions(fs::Permissions::from_mode(file.mode))?;
    let time = Timespec {
        tv_sec: file.mtime_ns.div_euclid(1_000_000_000),
        tv_nsec: file.mtime_ns.rem_euclid(1_000_000_000),
    };
    rustix::fs::futimens(&opened, &Timestamps { last_access: time, last_modification: time })?;
    opened.sync_all()
}

fn finish_folder(path: &Path, mode: u32) -> io::Result<()> {
    let folder = fs::File::open(path)?;
    folder.set_permissions(fs::Permissions::from_mode(mode))?;
    folder.sync_all()
}
