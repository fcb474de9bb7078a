//! Files of a workspace, never one outside of it. What is in the workspace was put there by a
//! session that may be hostile or confused, and may change while we look.

use std::{
    fs::File,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path},
};

use rustix::fs::{Mode, OFlags, open, openat};

/// Opens a regular file below `root`. Each folder on the way is opened by itself, from the one
/// before, without following links: no link and no `..` leads out, not even one that is put there
/// while we walk.
pub(crate) fn open_inside(root: &Path, relative: &str) -> io::Result<(File, u64)> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::NotFound, why.to_owned());
    let mut names = Vec::new();
    for component in Path::new(relative).components() {
        match component {
            Component::Normal(name) if !name.as_bytes().contains(&0) => names.push(name),
            // `./` in front; the rest of such dots `components` leaves out by itself.
            Component::CurDir => {}
            _ => return Err(refused("the path leads out of the workspace")),
        }
    }
    let Some((last, folders)) = names.split_last() else {
        return Err(refused("the path names no file"));
    };
    let folder_flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = open(root, folder_flags, Mode::empty())?;
    for name in folders {
        folder = openat(&folder, *name, folder_flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    // Not blocking: a pipe put here would otherwise hold this thread until somebody writes to it.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(&folder, *last, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(refused("the path names no regular file"));
    }
    Ok((file, metadata.len()))
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn files_inside_are_opened_and_nothing_else_is() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path().join("workspace");
        std::fs::create_dir_all(root.join("a/b")).expect("folders");
        std::fs::write(root.join("a/b/c.txt"), "inside").expect("file");
        std::fs::write(dir.path().join("secret"), "outside").expect("file");
        symlink(dir.path().join("secret"), root.join("link")).expect("link");
        symlink(dir.path(), root.join("up")).expect("link");
        symlink("c.txt", root.join("a/b/sibling")).expect("link");
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), Mode::RWXU).expect("pipe");

        let (mut file, size) = open_inside(&root, "a/b/c.txt").expect("inside");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        assert_eq!((text.as_str(), size), ("inside", 6));
        open_inside(&root, "./a//b/./c.txt").expect("harmless spellings");

        for path in [
            "",
            ".",
            "a",
            "a/b",
            "missing",
            "../secret",
            "a/../../secret",
            "a/b/../b/c.txt",
            "/etc/passwd",
            "link",
            "up/secret",
            "a/b/sibling",
            "pipe",
            "a/b/c.txt\0",
        ] {
            open_inside(&root, path).expect_err(path);
        }
    }
}
