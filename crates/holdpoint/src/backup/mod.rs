//! Backups of a data folder: one tar file with the database as of one moment, the signing secret, and the
//! files of every conversation that the database knows.
//!
//! The first entry says what it is, the last has the SHA-256 of every file and of all bytes before it. What
//! a backup leaves out can be had again (the Claude CLI), or belongs to a process (locks, sockets).

mod extract;
mod read;
mod restore;
mod sums;
#[cfg(test)]
mod tests;
mod walk;
mod write;

use std::{
    collections::BTreeMap,
    io,
    path::{Component, Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use holdpoint_store::Contents;
use serde::{Deserialize, Serialize};

pub use read::{Checked, check};
pub use restore::{Restored, restore};
pub use write::{Destination, Written, write};

/// The first entry.
const MANIFEST: &str = "holdpoint-backup.json";

/// The last entry.
const SUMS: &str = "holdpoint-backup.sha256";

/// The folder of the archive that becomes the data folder.
const DATA: &str = "data";

/// The database in it.
const DATABASE: &str = "holdpoint.db";

/// The folder of all executions in it.
const EXECUTIONS: &str = "executions";

/// What this program writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// What a backup is, as its first entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the archive's form.
    pub format: u32,
    /// Which Holdpoint made it.
    pub holdpoint: String,
    /// The version of the database's schema.
    pub schema: i64,
    /// Where the data folder was: conversations that are not over go on only there.
    pub data: PathBuf,
    /// When the database was copied, RFC 3339.
    pub made_at: String,
    /// Executions by the name of their status.
    pub executions: BTreeMap<String, u64>,
    /// Executions that were not over.
    pub going_on: usize,
    /// Events in all logs.
    pub events: u64,
}

impl Manifest {
    fn new(contents: &Contents, data: &Path) -> Self {
        Self {
            format: FORMAT,
            holdpoint: env!("CARGO_PKG_VERSION").to_owned(),
            schema: contents.schema,
            data: data.to_owned(),
            made_at: jiff::Timestamp::now().to_string(),
            executions: contents.by_status.clone(),
            going_on: contents.going_on(),
            events: contents.events,
        }
    }

    /// Executions in it.
    #[must_use]
    pub fn conversations(&self) -> u64 {
        self.executions.values().sum()
    }
}

/// Told from outside that nobody wants the result any more.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends what is going on at its next read or write.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(io::Error::other("it was stopped")) } else { Ok(()) }
    }
}

/// Whether something at the top of the data folder belongs into a backup. `executions` and the database
/// come in by themselves.
fn belongs(name: &str) -> bool {
    let is_process_own = matches!(name, "control.json" | "lock");
    let can_be_made_again = matches!(name, "cli" | "cache");
    // Temporary names begin with a dot; beside the database are its lock and write-ahead log.
    !is_process_own
        && !can_be_made_again
        && !name.starts_with('.')
        && !name.starts_with(DATABASE)
        && name != EXECUTIONS
}

/// Where links may be: what a session has made of its workspace and home is as it was, wherever they point.
/// Nothing is ever read or written through one.
fn may_be_link(path: &Path) -> bool {
    let parts: Vec<&str> = path.components().filter_map(|part| part.as_os_str().to_str()).take(3).collect();
    path.components().count() > 3 && matches!(parts.as_slice(), [EXECUTIONS, _, "workspace" | "home"])
}

/// The place in the data folder that an entry of the archive is for; None for that folder itself.
fn place(entry: &Path) -> Result<Option<PathBuf>, &'static str> {
    let mut place = PathBuf::new();
    for part in entry.components() {
        match part {
            Component::Normal(part) => place.push(part),
            Component::ParentDir | Component::CurDir => return Err("leads out of the data folder"),
            Component::RootDir | Component::Prefix(_) => return Err("is an absolute path"),
        }
    }
    let Ok(place) = place.strip_prefix(DATA) else { return Err("is not in the folder of the data") };
    let Some(top) = place.components().next() else { return Ok(None) };
    let Some(top) = top.as_os_str().to_str() else { return Err("is nothing that a backup has") };
    if belongs(top) || top == EXECUTIONS || place == Path::new(DATABASE) {
        Ok(Some(place.to_owned()))
    } else {
        Err("is nothing that a backup has")
    }
}
