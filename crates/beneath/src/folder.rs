//! One open folder, and single files below it.

use std::{
    ffi::{CString, OsStr},
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt as _,
    },
    path::{Component, Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat},
    io::Errno,
};

use crate::{Refused, walk::kind};

/// How a folder is opened. Taken by its open parent, this is the one step in which nothing is followed.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How a file that was looked at is opened: a lease that somebody holds on it must not keep us waiting.
const FILE: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Names tried for a file beside another, and looks at one that comes and goes.
const MAX_TRIES: usize = 100;

/// For names of drafts, which must differ within this process.
static DRAFTS: AtomicU64 = AtomicU64::new(0);

/// An open folder. Paths given to it are relative, and stay below it.
#[derive(Debug)]
pub struct Folder(OwnedFd);

impl Folder {
    /// Opens the folder to begin with. The path to it is trusted, links and all; its last name is not, and
    /// may not be a link.
    ///
    /// # Errors
    /// If there is no folder of that name.
    pub fn open(path: &Path) -> io::Result<Self> {
        rustix::fs::open(path, FOLDER, Mode::empty())
            .map(Self)
            .map_err(|error| no_folder(error, path.as_os_str()))
    }

    /// Opens a folder below this one; `.` is this one again.
    ///
    /// # Errors
    /// If there is none, or a link is in the way.
    pub fn folder(&self, path: impl AsRef<Path>) -> io::Result<Self> {
        self.descend(&names(path.as_ref())?, false)
    }

    /// Opens a folder below this one; it and those above it are made where they are missing, for their owner
    /// alone.
    ///
    /// # Errors
    /// If something that is no folder is in the way, or one cannot be made.
    pub fn make_folder(&self, path: impl AsRef<Path>) -> io::Result<Self> {
        self.descend(&names(path.as_ref())?, true)
    }

    /// Opens a regular file to read, and says what it was then.
    ///
    /// # Errors
    /// If there is none, or a link is in the way.
    pub fn file(&self, path: impl AsRef<Path>) -> io::Result<(File, Stat)> {
        let (parent, name) = self.parent_of(path.as_ref())?;
        let (pinned, stat) = look(parent.at(self), &name)?;
        if kind(&stat) != FileType::RegularFile {
            return Err(Refused::NotAFile(lossy(&name)).into());
        }
        let file = File::from(reopen(&pinned, OFlags::RDONLY | FILE)?);
        let stat = rustix::fs::fstat(&file)?;
        Ok((file, stat))
    }

    /// Opens a regular file that is there and has this one name, to read and write.
    ///
    /// # Errors
    /// If there is none, or a link is in the way.
    pub fn file_to_write(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let (parent, name) = self.parent_of(path.as_ref())?;
        let (pinned, stat) = look(parent.at(self), &name)?;
        if kind(&stat) != FileType::RegularFile {
            return Err(Refused::NotAFile(lossy(&name)).into());
        }
        if stat.st_nlink > 1 {
            return Err(Refused::OtherNames(lossy(&name)).into());
        }
        Ok(reopen(&pinned, OFlags::RDWR | FILE)?.into())
    }

    /// The same, and makes it, for its owner alone, if it is not there.
    ///
    /// # Errors
    /// If something else is in the way, or it cannot be made.
    pub fn file_to_write_or_new(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        for _ in 0..MAX_TRIES {
            match self.file_to_write(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
            match self.create_new(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other,
            }
        }
        Err(Errno::BUSY.into())
    }

    /// The content of a regular file, if it has at most so many bytes.
    ///
    /// # Errors
    /// If there is none, a link is in the way, or it has more.
    pub fn read(&self, path: impl AsRef<Path>, max_bytes: u64) -> io::Result<Vec<u8>> {
        let path = path.as_ref();
        let (file, stat) = self.file(path)?;
        let too_large =
            || Refused::TooLarge { name: path.display().to_string(), max: max_bytes, unit: "bytes" };
        if u64::try_from(stat.st_size).is_ok_and(|size| size > max_bytes) {
            return Err(too_large().into());
        }
        // It may grow while it is read.
        let mut content = Vec::new();
        file.take(max_bytes.saturating_add(1)).read_to_end(&mut content)?;
        if content.len() as u64 > max_bytes {
            return Err(too_large().into());
        }
        Ok(content)
    }

    /// Makes a file, for its owner alone, where nothing is yet; also not a link to nowhere.
    ///
    /// # Errors
    /// If something is there (`AlreadyExists`), or it cannot be made.
    pub fn create_new(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let (parent, name) = self.parent_of(path.as_ref())?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | FILE;
        Ok(rustix::fs::openat(parent.at(self), &*name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Puts a file with this content, for its owner alone, in the place of whatever file or link has that
    /// name: whole or not at all, and durable.
    ///
    /// # Errors
    /// If a folder is there, or it cannot be written.
    pub fn replace(&self, path: impl AsRef<Path>, content: &[u8]) -> io::Result<()> {
        let (parent, name) = self.parent_of(path.as_ref())?;
        let folder = parent.folder(self)?;
        for _ in 0..MAX_TRIES {
            let draft = format!(".draft-{}-{}", std::process::id(), DRAFTS.fetch_add(1, Ordering::Relaxed));
            let mut file = match folder.create_new(&draft) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other?,
            };
            let written = file
                .write_all(content)
                .and_then(|()| file.sync_all())
                .and_then(|()| Ok(rustix::fs::renameat(&folder.0, &*draft, &folder.0, &*name)?));
            if written.is_err() {
                // The first error is the one to tell.
                let _ = folder.remove_file(&draft);
            }
            return written.and_then(|()| Ok(rustix::fs::fsync(&folder.0)?));
        }
        Err(Errno::BUSY.into())
    }

    /// Gives something below this folder another place below it. What was there and is no folder with
    /// content goes.
    ///
    /// # Errors
    /// If it is not there, or cannot be moved.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        let (from_parent, from) = self.parent_of(from.as_ref())?;
        let (to_parent, to) = self.parent_of(to.as_ref())?;
        Ok(rustix::fs::renameat(from_parent.at(self), &*from, to_parent.at(self), &*to)?)
    }

    /// Gives something below this folder a place below another one, on the same file system, where nothing is
    /// yet; also not a link to nowhere. Durable when it returns.
    ///
    /// # Errors
    /// If it is not there (`NotFound`), something is in the way (`AlreadyExists`), or it cannot be moved.
    pub fn move_new(&self, from: impl AsRef<Path>, other: &Self, to: impl AsRef<Path>) -> io::Result<()> {
        let (from_parent, from) = self.parent_of(from.as_ref())?;
        let (to_parent, to) = other.parent_of(to.as_ref())?;
        let (from_at, to_at) = (from_parent.at(self), to_parent.at(other));
        rustix::fs::renameat_with(from_at, &*from, to_at, &*to, RenameFlags::NOREPLACE)?;
        // Where it is first: a crash in between may leave it under both names, never under none.
        rustix::fs::fsync(to_at)?;
        Ok(rustix::fs::fsync(from_at)?)
    }

    /// Removes anything but a folder.
    ///
    /// # Errors
    /// If it is not there, or cannot be removed.
    pub fn remove_file(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let (parent, name) = self.parent_of(path.as_ref())?;
        Ok(rustix::fs::unlinkat(parent.at(self), &*name, AtFlags::empty())?)
    }

    /// What something is; of a link, what the link is.
    ///
    /// # Errors
    /// If it is not there, or a link is in the way.
    pub fn stat(&self, path: impl AsRef<Path>) -> io::Result<Stat> {
        let (parent, name) = self.parent_of(path.as_ref())?;
        Ok(rustix::fs::statat(parent.at(self), &*name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Where a link says that it leads.
    ///
    /// # Errors
    /// If there is nothing of that name, or it is no link (`InvalidInput`).
    pub fn link(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let (parent, name) = self.parent_of(path.as_ref())?;
        let target = rustix::fs::readlinkat(parent.at(self), &*name, Vec::new())?;
        Ok(std::ffi::OsString::from_vec(target.into_bytes()).into())
    }

    /// The names in this folder, in byte order: so many at most, and whether these are all.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn names(&self, max: usize) -> io::Result<(Vec<CString>, bool)> {
        let mut names = Vec::new();
        let mut all = true;
        for entry in Dir::read_from(&self.0)? {
            let name = entry?.file_name().to_owned();
            if matches!(name.as_bytes(), b"." | b"..") {
                continue;
            }
            if names.len() == max {
                all = false;
                break;
            }
            names.push(name);
        }
        names.sort_unstable();
        Ok((names, all))
    }

    /// What this folder itself is.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn stat_self(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.0)?)
    }

    /// The descriptor, for what single names are needed for.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Opens the folder of one name in an open folder.
    pub(crate) fn in_open(parent: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<Self, Errno> {
        rustix::fs::openat(parent, name, FOLDER, Mode::empty()).map(Self)
    }

    fn descend(&self, names: &[&OsStr], make: bool) -> io::Result<Self> {
        let mut at: Option<Self> = None;
        for name in names {
            let parent = at.as_ref().map_or(self.fd(), Self::fd);
            if make {
                match rustix::fs::mkdirat(parent, *name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            let next = rustix::fs::openat(parent, *name, FOLDER, Mode::empty());
            at = Some(Self(next.map_err(|error| no_folder(error, name))?));
        }
        match at {
            Some(folder) => Ok(folder),
            None => Ok(Self(rustix::fs::openat(&self.0, ".", FOLDER, Mode::empty())?)),
        }
    }

    fn parent_of<'a>(&self, path: &'a Path) -> io::Result<(Parent, std::borrow::Cow<'a, OsStr>)> {
        let names = names(path)?;
        let Some((name, above)) = names.split_last() else { return Err(Refused::NamesNothing.into()) };
        let parent =
            if above.is_empty() { Parent::Itself } else { Parent::Below(self.descend(above, false)?) };
        Ok((parent, (*name).into()))
    }
}

/// The folder that a path's last name is in.
enum Parent {
    Itself,
    Below(Folder),
}

impl Parent {
    fn at<'a>(&'a self, itself: &'a Folder) -> BorrowedFd<'a> {
        match self {
            Self::Itself => itself.fd(),
            Self::Below(folder) => folder.fd(),
        }
    }

    fn folder(self, itself: &Folder) -> io::Result<Folder> {
        match self {
            Self::Itself => itself.folder("."),
            Self::Below(folder) => Ok(folder),
        }
    }
}

/// Pins what has this name, without opening it, and looks at it.
fn look(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<(OwnedFd, Stat)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let pinned = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&pinned)?;
    Ok((pinned, stat))
}

/// Opens what is pinned, whatever has its name by now.
fn reopen(pinned: &OwnedFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open(by_descriptor(pinned.as_fd()), flags, Mode::empty())
}

/// A path to what a descriptor is of: the one link that is followed, and it is the system's.
pub(crate) fn by_descriptor(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// The names of a relative path that does not lead out.
fn names(path: &Path) -> io::Result<Vec<&OsStr>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            _ => return Err(Refused::LeadsOut.into()),
        }
    }
    Ok(names)
}

fn no_folder(error: Errno, name: &OsStr) -> io::Error {
    match error {
        Errno::NOTDIR | Errno::LOOP => Refused::NotAFolder(lossy(name)).into(),
        other => other.into(),
    }
}

fn lossy(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}
