//! One driver per session.

use std::fs::File;
use std::io::{self, Read, Seek, Write};

use holdpoint_beneath::Folder;
use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

/// More than a process id needs: the session may have written the file, too.
const MAX_HOLDER_BYTES: u64 = 32;

/// Holds a session for as long as it lives.
///
/// A lock of the system (`flock`), so it ends with the process that holds it, however that ends. The file
/// stays: removing it would let two holders lock two files of one name.
#[derive(Debug)]
pub(crate) struct SessionLock {
    _file: File,
}

/// Why a session is not ours.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another driver has it: this process, if it says so.
    InUse { holder: Option<u32> },
    /// The lock cannot be written.
    Unwritable(io::Error),
}

impl SessionLock {
    /// Takes the lock of a session in the driver's folder.
    pub(crate) fn take(driver: &Folder, session: Uuid) -> Result<Self, LockError> {
        let name = format!("{session}.lock");
        let mut file = driver.file_to_write_or_new(name).map_err(LockError::Unwritable)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            let _ = file.take(MAX_HOLDER_BYTES).read_to_string(&mut holder);
            return Err(LockError::InUse { holder: holder.trim().parse().ok() });
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(LockError::Unwritable)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_holder_is_told_about_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let driver = Folder::open(dir.path()).unwrap();
        let session = Uuid::new_v4();
        let first = SessionLock::take(&driver, session).unwrap();
        match SessionLock::take(&driver, session) {
            Err(LockError::InUse { holder }) => assert_eq!(holder, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(first);
        SessionLock::take(&driver, session).unwrap();
    }

    #[test]
    fn a_lock_that_leads_elsewhere_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (driver, host) = (dir.path().join("driver"), dir.path().join("host"));
        std::fs::create_dir(&driver).unwrap();
        std::fs::write(&host, "precious").unwrap();
        let (soft, hard, new) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        std::os::unix::fs::symlink(&host, driver.join(format!("{soft}.lock"))).unwrap();
        std::fs::hard_link(&host, driver.join(format!("{hard}.lock"))).unwrap();
        std::os::unix::fs::symlink(dir.path().join("new"), driver.join(format!("{new}.lock"))).unwrap();
        let folder = Folder::open(&driver).unwrap();
        for session in [soft, hard, new] {
            assert!(matches!(SessionLock::take(&folder, session), Err(LockError::Unwritable(_))));
        }
        assert_eq!(std::fs::read_to_string(&host).unwrap(), "precious");
        assert!(!dir.path().join("new").exists());
    }
}
