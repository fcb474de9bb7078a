//! One driver per session.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

use crate::error::SpawnError;
use crate::options::driver_dir;

/// Holds a session for as long as it lives.
///
/// A lock of the system (`flock`), so it ends with the process that holds it, however that ends. The file
/// stays: removing it would let two holders lock two files of one name.
#[derive(Debug)]
pub(crate) struct SessionLock {
    _file: File,
}

impl SessionLock {
    pub(crate) fn take(config_dir: &Path, session: Uuid) -> Result<Self, SpawnError> {
        let dir = driver_dir(config_dir);
        let path = dir.join(format!("{session}.lock"));
        let unwritable = |source: io::Error| SpawnError::ConfigDirUnwritable { path: dir.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(unwritable)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            return Err(SpawnError::SessionInUse { session, holder: holder.trim().parse().ok() });
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(unwritable)?;
        Ok(Self { _file: file })
    }
}

/// Writes a file that only this user can read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    // Anew, because the mode counts only when a file is made.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_holder_is_told_about_the_first() {
        let config = tempfile::tempdir().unwrap();
        fs::create_dir(driver_dir(config.path())).unwrap();
        let session = Uuid::new_v4();
        let first = SessionLock::take(config.path(), session).unwrap();
        match SessionLock::take(config.path(), session) {
            Err(SpawnError::SessionInUse { holder, .. }) => assert_eq!(holder, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(first);
        SessionLock::take(config.path(), session).unwrap();
    }
}
