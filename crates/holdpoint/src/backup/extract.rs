//! Putting the entries of a backup into an empty folder. Nothing is written through a link: links are made
//! when everything else is there.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::read::{About, Taker};

/// What an owner needs to work in a folder.
const OPEN: u32 = 0o700;

pub(super) struct Extract {
    root: PathBuf,
    links: Vec<(PathBuf, PathBuf)>,
    /// Folders that their owner may not work in, once they are filled.
    closed: Vec<(PathBuf, u32)>,
}

impl Extract {
    /// Into this folder, which is there and empty.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, links: Vec::new(), closed: Vec::new() }
    }

    /// Makes what had to wait, and brings everything to the disk.
    pub(super) fn finish(self) -> io::Result<()> {
        for (place, target) in &self.links {
            symlink(target, self.root.join(place))?;
        }
        // The innermost first: once a folder is closed, nothing below it can be reached.
        for (place, mode) in self.closed.iter().rev() {
            fs::set_permissions(self.root.join(place), Permissions::from_mode(*mode))?;
        }
        rustix::fs::syncfs(File::open(&self.root)?)?;
        Ok(())
    }
}

impl Taker for Extract {
    fn folder(&mut self, place: &Path, mode: u32) -> io::Result<()> {
        let path = self.root.join(place);
        DirBuilder::new().mode(OPEN).create(&path)?;
        if mode & OPEN == OPEN {
            fs::set_permissions(path, Permissions::from_mode(mode))
        } else {
            self.closed.push((place.to_owned(), mode));
            Ok(())
        }
    }

    fn file(&mut self, place: &Path, about: About, content: &mut dyn Read) -> io::Result<()> {
        let path = self.root.join(place);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        io::copy(content, &mut file)?;
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(about.modified))?;
        file.set_permissions(Permissions::from_mode(about.mode))
    }

    fn link(&mut self, place: &Path, target: &Path) -> io::Result<()> {
        self.links.push((place.to_owned(), target.to_owned()));
        Ok(())
    }
}
