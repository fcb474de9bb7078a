//! Putting restored folders in the place of old ones, all of them or none.
//!
//! What is new is made beside each destination, in `.<name>.restoring`. Once all of it is durable, a
//! journal in the first destination's parent says so, and only then folders change places. Killed
//! before the journal, the old ones are still there; killed after it, [`settle`] finishes.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use holdpoint_beneath::remove_tree;
use rustix::fs::{CWD, RenameFlags};
use serde::{Deserialize, Serialize};

use crate::{RestoreError, error::file_error, path};

/// One destination, and what belongs to it while it is restored.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) destination: PathBuf,
    pub(crate) parent: PathBuf,
    /// What is to be in its place; afterwards, what was.
    pub(crate) staged: PathBuf,
    /// What was in its place, where folders cannot change places in one step.
    aside: PathBuf,
    journal: PathBuf,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Journaled {
    destination: String,
    /// Of the new folder, so that it is known wherever it is.
    inode: u64,
}

impl Place {
    /// Refuses what is there and is no folder: a link would be written through.
    pub(crate) fn new(destination: &Path) -> Result<Self, RestoreError> {
        let no_folder = || RestoreError::NotAFolder(destination.to_owned());
        let (Some(parent), Some(name)) = (destination.parent(), destination.file_name()) else {
            return Err(no_folder());
        };
        match fs::symlink_metadata(destination) {
            Ok(meta) if !meta.is_dir() => return Err(no_folder()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file_error("look at", destination)(error).into());
            }
            _ => {}
        }
        // A parent that is a link would be another folder after it was changed.
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let parent = parent.canonicalize().map_err(file_error("find", parent))?;
        let beside = |what: &str| {
            let mut beside = std::ffi::OsString::from(".");
            beside.push(name);
            beside.push(what);
            parent.join(beside)
        };
        Ok(Self {
            destination: parent.join(name),
            staged: beside(".restoring"),
            aside: beside(".replaced"),
            journal: beside(".restore.json"),
            parent,
        })
    }

    /// Whether a restore came so far that it will be finished, and no further. It may also be of
    /// other folders: only the first destination's journal is looked at.
    pub(crate) fn is_under_way(&self) -> bool {
        self.journal.exists()
    }

    fn key(&self) -> String {
        path::encode(self.destination.as_os_str().as_bytes())
    }
}

/// Finishes a restore that was cut short, or removes what it left. Safe to repeat; quick if there is
/// nothing to do. The destinations must be those of that restore. Blocks.
///
/// # Errors
/// If a destination is no folder, others were being restored here, or the file system fails.
pub fn settle(destinations: &[&Path]) -> Result<(), RestoreError> {
    let places: Result<Vec<Place>, _> = destinations.iter().map(|path| Place::new(path)).collect();
    settle_places(&places?)
}

pub(crate) fn settle_places(places: &[Place]) -> Result<(), RestoreError> {
    for place in places {
        let text = match fs::read(&place.journal) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(file_error("read", &place.journal)(error).into()),
        };
        let other = || RestoreError::OtherRestore(place.journal.clone());
        let journaled: Vec<Journaled> = serde_json::from_slice(&text).map_err(|_| other())?;
        // What it names is compared with what was asked for: a journal decides nothing by itself.
        let mut pairs = Vec::new();
        for line in &journaled {
            let place = places.iter().find(|place| place.key() == line.destination).ok_or_else(other)?;
            pairs.push((place, line.inode));
        }
        if pairs.len() != places.len() {
            return Err(other());
        }
        swap(&pairs, &place.journal)?;
    }
    for place in places {
        // Nothing was decided, so what is at hand is what it was.
        if fs::symlink_metadata(&place.destination).is_err() && place.aside.is_dir() {
            fs::rename(&place.aside, &place.destination).map_err(file_error("bring back", &place.aside))?;
        }
        for left in [&place.staged, &place.aside] {
            remove_tree(left).map_err(file_error("remove", left))?;
        }
        let draft = draft(&place.journal);
        if draft.exists() {
            fs::remove_file(&draft).map_err(file_error("remove", draft))?;
        }
    }
    Ok(())
}

/// Puts everything that is staged, and durable, in its place. From the journal on it is decided.
pub(crate) fn commit(places: &[Place]) -> Result<(), RestoreError> {
    let Some(first) = places.first() else { return Ok(()) };
    let mut pairs = Vec::new();
    for place in places {
        let meta = fs::symlink_metadata(&place.staged).map_err(file_error("find", &place.staged))?;
        pairs.push((place, meta.ino()));
    }
    let journaled: Vec<Journaled> =
        pairs.iter().map(|(place, inode)| Journaled { destination: place.key(), inode: *inode }).collect();
    write_journal(&first.journal, &first.parent, &journaled).map_err(file_error("write", &first.journal))?;
    swap(&pairs, &first.journal)?;
    for place in places {
        for old in [&place.staged, &place.aside] {
            remove_tree(old).map_err(file_error("remove", old))?;
        }
    }
    Ok(())
}

fn write_journal(journal: &Path, parent: &Path, lines: &[Journaled]) -> io::Result<()> {
    let draft = draft(journal);
    let mut file = fs::File::create(&draft)?;
    io::Write::write_all(&mut file, &serde_json::to_vec(lines)?)?;
    file.sync_all()?;
    fs::rename(&draft, journal)?;
    sync_folder(parent)
}

/// A journal that is not whole yet.
fn draft(journal: &Path) -> PathBuf {
    journal.with_extension("json~")
}

fn swap(pairs: &[(&Place, u64)], journal: &Path) -> Result<(), RestoreError> {
    for (place, inode) in pairs {
        swap_one(place, *inode, true).map_err(file_error("replace", &place.destination))?;
        sync_folder(&place.parent).map_err(file_error("sync", &place.parent))?;
    }
    fs::remove_file(journal).map_err(file_error("remove", journal))?;
    Ok(())
}

/// Safe to repeat after any of its steps.
fn swap_one(place: &Place, inode: u64, in_one_step: bool) -> io::Result<()> {
    let is_new = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.ino() == inode);
    if is_new(&place.destination) {
        return Ok(());
    }
    if !is_new(&place.staged) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "what was restored is gone"));
    }
    if fs::symlink_metadata(&place.destination).is_err() {
        return fs::rename(&place.staged, &place.destination);
    }
    if in_one_step {
        let exchanged =
            rustix::fs::renameat_with(CWD, &place.staged, CWD, &place.destination, RenameFlags::EXCHANGE);
        match exchanged {
            // Some network file systems cannot.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {}
            done => return done.map_err(io::Error::from),
        }
    }
    remove_tree(&place.aside)?;
    fs::rename(&place.destination, &place.aside)?;
    fs::rename(&place.staged, &place.destination)
}

pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: &Path, content: &str) -> u64 {
        fs::create_dir(path).expect("folder");
        fs::write(path.join("is"), content).expect("file");
        fs::metadata(path).expect("meta").ino()
    }

    fn content(path: &Path) -> String {
        fs::read_to_string(path.join("is")).expect("content")
    }

    /// Two destinations, old and staged, in every state that a kill can leave.
    #[test]
    fn settles_to_old_or_new_from_every_step() {
        // How far it came: nothing but staged, journal, first in place, both in place.
        for (step, in_one_step) in (0..4).flat_map(|step| [(step, true), (step, false)]) {
            let dir = tempfile::tempdir().expect("dir");
            let paths = [dir.path().join("a"), dir.path().join("b")];
            let places: Vec<Place> = paths
                .iter()
                .map(|path| {
                    folder(path, "old");
                    Place::new(path).expect("place")
                })
                .collect();
            let inodes: Vec<u64> = places.iter().map(|place| folder(&place.staged, "new")).collect();
            let lines: Vec<Journaled> = places
                .iter()
                .zip(&inodes)
                .map(|(place, inode)| Journaled { destination: place.key(), inode: *inode })
                .collect();
            if step > 0 {
                write_journal(&places[0].journal, &places[0].parent, &lines).expect("journal");
            }
            for (place, inode) in places.iter().zip(&inodes).take(step.max(1) - 1) {
                swap_one(place, *inode, in_one_step).expect("swap");
            }
            let both: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
            settle(&both).expect("settle");
            settle(&both).expect("again");
            let expected = if step == 0 { "old" } else { "new" };
            assert_eq!([content(&paths[0]), content(&paths[1])], [expected; 2], "step {step} {in_one_step}");
            assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 2, "step {step} leaves nothing");
        }
    }

    #[test]
    fn between_two_renames_neither_is_lost() {
        for decided in [true, false] {
            let dir = tempfile::tempdir().expect("dir");
            let path = dir.path().join("a");
            folder(&path, "old");
            let place = Place::new(&path).expect("place");
            let inode = folder(&place.staged, "new");
            let line = Journaled { destination: place.key(), inode };
            if decided {
                write_journal(&place.journal, &place.parent, &[line]).expect("journal");
            }
            fs::rename(&path, &place.aside).expect("rename");
            settle(&[&path]).expect("settle");
            assert_eq!(content(&path), if decided { "new" } else { "old" });
            assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
        }
    }

    #[test]
    fn a_journal_of_other_folders_is_not_followed() {
        let dir = tempfile::tempdir().expect("dir");
        let (path, other) = (dir.path().join("a"), dir.path().join("b"));
        let place = Place::new(&path).expect("place");
        folder(&path, "mine");
        let inode = folder(&other, "other");
        let line = Journaled { destination: Place::new(&other).expect("place").key(), inode };
        write_journal(&place.journal, &place.parent, &[line]).expect("journal");
        assert!(matches!(settle(&[&path]), Err(RestoreError::OtherRestore(_))));
        assert_eq!((content(&path), content(&other)), ("mine".into(), "other".into()));
    }

    #[test]
    fn a_link_is_no_destination() {
        let dir = tempfile::tempdir().expect("dir");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/", &link).expect("link");
        assert!(matches!(Place::new(&link), Err(RestoreError::NotAFolder(_))));
        assert!(matches!(Place::new(Path::new("/")), Err(RestoreError::NotAFolder(_))));
    }
}
