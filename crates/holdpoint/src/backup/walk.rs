//! What of a data folder belongs into a backup, and in which order.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use holdpoint_beneath::{FileType, Folder, Loss, Stat, Walk as Step, kind};
use holdpoint_store::{Contents, ContentsExecution};

use super::{EXECUTIONS, belongs};
use crate::data::DataDir;

/// The longest log of a worker that is kept: it is for looking into a failure soon after it.
const MAX_WORKER_LOG_BYTES: i64 = 1024 * 1024;

/// Files and folders of one conversation. Of one that has more, the rest is left out, and told.
const MAX_ENTRIES: usize = 1_000_000;

/// What is kept of the files of one conversation, and how much of that may be holes, which take no room where
/// they are and all of it in a backup. A file that does not fit into what is left is left out, and told: a
/// session can make files longer than any disk.
const MAX_BYTES: u64 = 64 * 1024 * 1024 * 1024;
const MAX_HOLE_BYTES: u64 = 1024 * 1024 * 1024;

/// Longer paths in the data folder could not be restored: the system takes 4 096 bytes, of which the folder
/// that it is restored to needs its share.
const MAX_PLACE_BYTES: usize = 3_000;

/// Something that belongs into the backup.
pub(super) struct Found<'a> {
    /// Where it is in the data folder.
    pub(super) place: &'a Path,
    /// What it is.
    pub(super) what: What<'a>,
}

/// What belongs into the backup.
pub(super) enum What<'a> {
    /// A folder; what is in it comes next.
    Folder(&'a Stat),
    /// A file or a link: its name in its open folder, and what it was a moment ago.
    Other { folder: &'a Folder, name: &'a OsStr, stat: &'a Stat },
    /// It, or part of it, is left out: why.
    LeftOut(String),
}

/// What is done with each.
type Visit<'a> = &'a mut dyn FnMut(Found<'_>) -> anyhow::Result<()>;

/// Visits everything but the database. Conversations with a worker come first, so that as little as can be
/// happens to their files after the database was copied; those that the copy does not know are left out.
///
/// Sessions may be at work in their folders: nothing there is followed, wherever it leads.
pub(super) fn walk(data: &DataDir, contents: &Contents, visit: Visit<'_>) -> anyhow::Result<()> {
    let root = Folder::open(&data.root().canonicalize()?)?;
    let executions = match root.folder(EXECUTIONS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        other => Some(other?),
    };
    if let Some(executions) = executions {
        let stat = executions.stat_self()?;
        visit(Found { place: Path::new(EXECUTIONS), what: What::Folder(&stat) })?;
        for ContentsExecution { id, incarnation } in &contents.executions {
            let name = id.to_string();
            match executions.folder(&name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => {
                    Tree::new(Path::new(EXECUTIONS).join(name), *incarnation).walk(&other?, visit)?;
                }
            }
        }
    }
    for name in root.names(MAX_ENTRIES)?.0 {
        let Ok(name) = name.to_str() else { continue };
        if !belongs(name) {
            continue;
        }
        let stat = match root.stat(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        match kind(&stat) {
            FileType::Directory => Tree::ours(name.into()).walk(&root.folder(name)?, visit)?,
            FileType::RegularFile => {
                let what = What::Other { folder: &root, name: name.as_ref(), stat: &stat };
                visit(Found { place: Path::new(name), what })?;
            }
            // Where a session may not have put a link, nothing of ours is one.
            _ => {}
        }
    }
    Ok(())
}

/// A folder of the data folder, and what is still kept of it.
struct Tree {
    place: PathBuf,
    /// The newest worker of this execution that the copy of the database knows. Numbers after it are given
    /// out again after a restore, and no two workers may have one journal.
    newest: Option<u32>,
    entries: usize,
    bytes: u64,
    hole_bytes: u64,
}

impl Tree {
    /// Of an execution, which its session can fill.
    fn new(place: PathBuf, newest: Option<u32>) -> Self {
        Self { place, newest, entries: MAX_ENTRIES, bytes: MAX_BYTES, hole_bytes: MAX_HOLE_BYTES }
    }

    /// Of this program.
    fn ours(place: PathBuf) -> Self {
        Self { place, newest: None, entries: usize::MAX, bytes: u64::MAX, hole_bytes: u64::MAX }
    }

    fn walk(mut self, root: &Folder, visit: Visit<'_>) -> anyhow::Result<()> {
        let mut done = Ok(());
        let (place, newest) = (self.place.clone(), self.newest);
        let below = |path: &Path| if path.as_os_str().is_empty() { place.clone() } else { place.join(path) };
        let wanted = |path: &Path, kind| is_wanted(&below(path), kind, newest);
        holdpoint_beneath::walk(root, self.entries, &wanted, &mut |path, found| {
            let place = below(path);
            let mut tell = |place: &Path, what| visit(Found { place, what });
            let (visited, next) = if place.as_os_str().len() > MAX_PLACE_BYTES {
                // It is too long to be told, too; the folder that it is in is not.
                let folder = place.parent().unwrap_or(&self.place);
                (tell(folder, What::LeftOut("there are paths below it that are too long".into())), Step::Skip)
            } else {
                match self.what(&place, found) {
                    Some(what) => (tell(&place, what), Step::Continue),
                    None => (Ok(()), Step::Continue),
                }
            };
            done = visited;
            if done.is_ok() { next } else { Step::Stop }
        })?;
        done
    }

    fn what<'a>(&mut self, place: &Path, found: holdpoint_beneath::Found<'a>) -> Option<What<'a>> {
        use holdpoint_beneath::Found;
        match found {
            Found::Folder(stat) => Some(What::Folder(stat)),
            // Files come and go while sessions run.
            Found::Lost(Loss::Vanished) => None,
            Found::Lost(Loss::Unreadable(error)) => Some(What::LeftOut(error.to_string())),
            Found::Lost(Loss::TooDeep) => Some(What::LeftOut("it lies too deep".into())),
            Found::Lost(Loss::TooMany) => {
                Some(What::LeftOut(format!("and what follows it: there are more than {MAX_ENTRIES} files")))
            }
            Found::Other { stat, .. } if is_long_log(place, stat) => None,
            Found::Other { folder, name, stat } if self.fits(stat) => {
                Some(What::Other { folder, name, stat })
            }
            Found::Other { .. } => {
                Some(What::LeftOut("it is larger than what is kept of a conversation".into()))
            }
        }
    }

    /// Whether a file fits into what is left, and takes it.
    fn fits(&mut self, stat: &Stat) -> bool {
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let holes =
            size.saturating_sub(u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(512));
        if kind(stat) != FileType::RegularFile {
            return true;
        }
        if size > self.bytes || holes > self.hole_bytes {
            return false;
        }
        self.bytes -= size;
        self.hole_bytes -= holes;
        true
    }
}

fn is_long_log(place: &Path, stat: &Stat) -> bool {
    matches!(*parts(place), [EXECUTIONS, _, "run", _, "worker.log"]) && stat.st_size > MAX_WORKER_LOG_BYTES
}

fn is_wanted(place: &Path, kind: FileType, newest: Option<u32>) -> bool {
    match kind {
        FileType::Symlink => super::may_be_link(place),
        FileType::RegularFile | FileType::Directory | FileType::Unknown => match *parts(place) {
            [EXECUTIONS, _, "run", number] => {
                !number.parse().is_ok_and(|number: u32| newest.is_some_and(|newest| number > newest))
            }
            _ => true,
        },
        _ => false,
    }
}

/// The first parts of a place, as far as places of ours go.
fn parts(place: &Path) -> Vec<&str> {
    place.components().map(|part| part.as_os_str().to_str().unwrap_or_default()).take(6).collect()
}
