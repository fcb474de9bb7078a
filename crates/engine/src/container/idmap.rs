//! Folders of one user, seen by another: id-mapped mounts (Linux 5.12).
//!
//! Where Holdpoint runs as root, its files are root's, and a session must be anybody but root. An id-mapped
//! mount shows a folder as if its files belonged to another user, and what that user makes there belongs
//! to root outside: nothing is handed over with `chown`, nothing is opened with `chmod`.

use std::{
    fs,
    io::{self, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, Mode, OFlags, open},
    mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount},
};

/// How long a helper process has to enter its own user namespace. It takes a millisecond.
const NAMESPACE_WITHIN: Duration = Duration::from_secs(5);

/// A mapping: what belongs to `inside_disk` on disk belongs to `seen_as` in the mount, and nothing else exists.
#[derive(Debug)]
pub(super) struct Mapping {
    namespace: OwnedFd,
}

impl Mapping {
    /// Of this process's user and group to `seen_as`. Needs root.
    pub(super) fn own_to(seen_as: u32) -> io::Result<Self> {
        let mut helper = Helper::start()?;
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        helper.write("uid_map", uid, seen_as)?;
        helper.write("gid_map", gid, seen_as)?;
        let namespace = open(helper.file("ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { namespace })
    }

    /// Mounts `source` at `target`, which is made for it.
    pub(super) fn mount(&self, source: &Path, target: &Path) -> io::Result<()> {
        fs::create_dir_all(target)?;
        let tree = open_tree(CWD, source, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
        system::set_mapping(&tree, &self.namespace)?;
        move_mount(&tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        Ok(())
    }
}

/// Takes away what is mounted in the folders of `parent`, and the folders. Files in what was mounted are never
/// touched: a folder that is not empty stays.
pub(super) fn unmount_all(parent: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let target: PathBuf = entry?.path();
        // Not a mount any more, or never one: then there is only the folder.
        let _ = unmount(&target, UnmountFlags::DETACH);
        fs::remove_dir(&target)?;
    }
    fs::remove_dir(parent)
}

/// A process that does nothing, in a user namespace of its own: the kernel takes mappings from there.
struct Helper(Child);

impl Helper {
    fn start() -> io::Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--user", "--", "sleep", "60"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let helper = Self(command.spawn()?);
        let own = fs::read_link("/proc/self/ns/user")?;
        let deadline = Instant::now() + NAMESPACE_WITHIN;
        while fs::read_link(helper.file("ns/user"))? == own {
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no user namespace could be made"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(helper)
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0.id()))
    }

    /// In an id-mapped mount the first number is the one on disk, the second the one that is seen.
    fn write(&mut self, map: &str, on_disk: u32, seen_as: u32) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).open(self.file(map))?;
        file.write_all(format!("{on_disk} {seen_as} 1\n").as_bytes())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The one system call that no library of ours offers.
#[allow(unsafe_code)]
mod system {
    use std::os::fd::AsRawFd as _;

    use super::{OwnedFd, io};

    /// `mount_setattr(2)` with `MOUNT_ATTR_IDMAP`, `…_NOSUID` and `…_NODEV`.
    pub(super) fn set_mapping(tree: &OwnedFd, namespace: &OwnedFd) -> io::Result<()> {
        let attributes = libc::mount_attr {
            attr_set: libc::MOUNT_ATTR_IDMAP | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
            attr_clr: 0,
            propagation: 0,
            userns_fd: u64::try_from(namespace.as_raw_fd()).unwrap_or(u64::MAX),
        };
        // SAFETY: the path is a string that ends in a zero, the structure lives through the call and its size
        // is the one that is passed; the kernel keeps neither.
        let done = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                tree.as_raw_fd(),
                c"".as_ptr(),
                libc::AT_EMPTY_PATH,
                &raw const attributes,
                size_of::<libc::mount_attr>(),
            )
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_folder_is_seen_as_anothers_and_taken_away_again() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not tried: only root can make id-mapped mounts");
            return;
        }
        let dir = tempfile::tempdir().expect("dir");
        let (source, parent) = (dir.path().join("files"), dir.path().join("mounts"));
        fs::create_dir(&source).expect("folder");
        fs::write(source.join("a"), "1").expect("file");
        let mapping = Mapping::own_to(1_879_048_200).expect("mapping");
        mapping.mount(&source, &parent.join("0")).expect("mount");
        let seen = fs::metadata(parent.join("0/a")).expect("file");
        assert_eq!((seen.uid(), seen.gid()), (1_879_048_200, 1_879_048_200));
        assert_eq!(fs::metadata(source.join("a")).expect("file").uid(), 0);
        unmount_all(&parent).expect("unmount");
        assert!(!parent.exists());
        assert!(source.join("a").exists(), "what was mounted is not touched");
        unmount_all(&parent).expect("again is no error");
    }
}
