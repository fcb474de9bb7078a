//! Making a data folder of a backup.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use holdpoint_store::contents;

use super::{DATABASE, Manifest, Stop, extract::Extract, read::read};
use crate::{
    data::{DataDir, create_private, describe},
    failure::Failure,
    left,
    term::Term,
};

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What the backup said of itself.
    pub manifest: Manifest,
    /// Files in it.
    pub files: u64,
    /// Where the data folder is now.
    pub root: PathBuf,
}

impl Restored {
    /// Whether conversations that are not over can go on where the data folder is now.
    #[must_use]
    pub fn can_go_on(&self) -> bool {
        self.manifest.going_on == 0 || self.manifest.data == self.root
    }
}

/// Makes the data folder `data`, which is absent or empty, of the backup in `file`. All of it is checked
/// before any of it is there.
///
/// # Errors
/// When it cannot be restored; nothing is there then that was not there before.
pub async fn restore(file: &Path, data: &DataDir, term: Term, stop: Stop) -> anyhow::Result<Restored> {
    is_free(data)?;
    let parent = data.root().parent().context("the data folder cannot be the root of the file system")?;
    let failed = |error: io::Error| {
        Failure::new(format!("failed to write beside the data folder {}", data.root().display()))
            .why(describe(&error))
            .next("holdpoint --data DIR restore FILE     (another folder)")
    };
    create_private(parent).map_err(failed)?;
    let parent = parent.canonicalize().map_err(failed)?;
    let name = data.root().file_name().context("the data folder has no name")?;
    let scratch =
        tempfile::Builder::new().prefix(".holdpoint-restore-").tempdir_in(&parent).map_err(failed)?;
    let inside = scratch.path().join("data");
    create_private(&inside).map_err(failed)?;

    let (from, to) = (file.to_owned(), inside.clone());
    let checked = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let mut extract = Extract::new(to);
        let checked = read(&from, &mut extract, "restoring", term, stop)?;
        extract.finish()?;
        Ok(checked)
    })
    .await??;
    // What the backup says of itself is one thing, what is in its database another.
    contents(&inside.join(DATABASE)).await?;
    nothing_runs(&inside)?;
    // Opening the database has left files beside it which the next one makes again.
    let root = parent.join(name);
    fs::rename(&inside, &root).map_err(failed)?;
    File::open(&parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
    Ok(Restored { manifest: checked.manifest, files: checked.files, root })
}

/// A data folder is not written over: what is in it may be all there is.
fn is_free(data: &DataDir) -> Result<(), Failure> {
    let root = data.root().display();
    let why = match fs::symlink_metadata(data.root()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => describe(&error),
        Ok(meta) if !meta.is_dir() => "something that is not a folder is in the way".to_owned(),
        Ok(_) => match fs::read_dir(data.root()).map(|mut entries| entries.next().is_none()) {
            Ok(true) => return Ok(()),
            Ok(false) => "it is not empty, and a backup is only restored into a folder that is".to_owned(),
            Err(error) => describe(&error),
        },
    };
    Err(Failure::new(format!("nothing can be restored to {root}"))
        .why(why)
        .next("holdpoint down")
        .next(format!("mv {root} {root}.before     (keeps what is there)")))
}

/// Workers of these conversations that still run here would be taken for those that come next.
fn nothing_runs(inside: &Path) -> Result<(), Failure> {
    let left = left::of(&DataDir::at(inside.to_owned()));
    if left.is_empty() {
        return Ok(());
    }
    let pids: Vec<String> = left.iter().map(|left| left.pid.to_string()).collect();
    Err(Failure::new("conversations of this backup still run on this machine")
        .why("they go on working from a data folder that is gone, and cannot go on a second time beside that")
        .next(format!("kill -9 {}", pids.join(" ")))
        .next("holdpoint restore FILE"))
}
