//! A disk that gets full: the data folder on a small tmpfs that this process alone sees.

use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

/// What is written at once: large first, then what is left.
const PIECES: [usize; 3] = [1 << 20, 1 << 12, 1];

/// A small disk of our own.
#[derive(Clone, Debug)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// The disk that is mounted at a folder.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Leaves not a byte free.
    ///
    /// # Errors
    /// When nothing can be made there at all.
    pub fn fill(&self) -> Result<()> {
        let mut file = fs::File::create(self.filler())?;
        for piece in PIECES {
            let zeros = vec![0; piece];
            while file.write_all(&zeros).is_ok() {}
        }
        Ok(())
    }

    /// Leaves about so much free.
    ///
    /// # Errors
    /// When there is less already.
    pub fn fill_but(&self, bytes: u64) -> Result<()> {
        let of = rustix::fs::statvfs(&self.folder)?;
        let free = of.f_bavail.saturating_mul(of.f_frsize);
        let mut file = fs::File::create(self.filler())?;
        let zeros = vec![0; PIECES[0]];
        for _ in 0..free.saturating_sub(bytes) / zeros.len() as u64 {
            file.write_all(&zeros)?;
        }
        Ok(())
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// When it was not taken.
    pub fn free(&self) -> Result<()> {
        fs::remove_file(self.filler()).context("the filler")
    }
}

/// Runs a program again in a mount namespace of its own, with a tmpfs of so many megabytes at `folder`.
/// Comes back only if that is not permitted here.
#[must_use]
pub fn enter(folder: &Path, megabytes: u32, program: &OsStr, args: &[&OsStr]) -> std::io::Error {
    let mut unshare = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare
        .args(["--mount", "--propagation", "private", "--", "sh", "-c"])
        .arg("mount -t tmpfs -o \"size=$0m,mode=700\" holdpoint-chaos \"$1\" && shift && exec \"$@\"")
        .arg(megabytes.to_string())
        .arg(folder)
        .arg(program)
        .args(args)
        .exec()
}
