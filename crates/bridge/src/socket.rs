//! Unix sockets below folders with long names: the address of a socket has at most 107 bytes
//! (<https://man7.org/linux/man-pages/man7/unix.7.html>), a data folder's path may have more.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::{
    fd::{AsRawFd as _, OwnedFd},
    fs::{Mode, OFlags, open},
};
use tokio::net::{UnixListener, UnixStream};

/// Listens at `folder/name`, in place of what was there.
///
/// # Errors
/// When the folder is not there, or not ours to write.
pub fn bind(folder: &Path, name: &str) -> io::Result<UnixListener> {
    match std::fs::remove_file(folder.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (_kept, short) = short(folder, name)?;
    UnixListener::bind(short)
}

/// Connects to `folder/name`.
///
/// # Errors
/// When nobody listens there.
pub async fn connect(folder: &Path, name: &str) -> io::Result<UnixStream> {
    let (_kept, short) = short(folder, name)?;
    UnixStream::connect(short).await
}

/// A short path to the same place, good for as long as the descriptor is open.
fn short(folder: &Path, name: &str) -> io::Result<(OwnedFd, PathBuf)> {
    let folder = open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()));
    Ok((folder, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_path_is_no_obstacle() {
        let dir = tempfile::tempdir().expect("dir");
        let folder = dir.path().join("x".repeat(200));
        std::fs::create_dir(&folder).expect("folder");
        let listener = bind(&folder, "s.sock").expect("bind");
        let (there, here) = tokio::join!(connect(&folder, "s.sock"), listener.accept());
        assert!(there.is_ok() && here.is_ok());
        drop(listener);
        assert!(connect(&folder, "s.sock").await.is_err(), "nobody listens");
        bind(&folder, "s.sock").expect("in place of the old one");
    }
}
