//! Files of a folder of this machine, without following a link in it.

use std::{
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use holdpoint_beneath::{FileType, Folder, Found, Loss, Walk, kind, walk};
use holdpoint_model::{problem::Problem, tree::Tree};

use crate::tree::{Gathered, MAX_FILE_BYTES, MAX_FILES, too_many};

/// What is never configuration, and large where it is.
const LEFT_OUT: &[&str] = &[".git", "node_modules", ".venv", "__pycache__", ".DS_Store"];

/// Names below a folder that are looked at: files, and the folders that they are in.
const MAX_ENTRIES: usize = 4 * MAX_FILES;

/// Reads a folder, and what is left out of it.
pub(crate) fn read(path: &Path, within: Option<&str>) -> Result<(Tree, Vec<String>), Problem> {
    let whole = within.map_or_else(|| path.to_owned(), |within| path.join(within));
    let what = || format!("failed to read the folder {}", whole.display());
    let opened = open(path, within).map_err(|error| {
        let problem = Problem::new(what(), &error);
        match error.kind() {
            io::ErrorKind::NotFound => problem.next(format!("ls -la {}", path.display())),
            io::ErrorKind::PermissionDenied => problem.next(format!("ls -ld {}", whole.display())),
            _ => problem,
        }
    })?;
    let of = whole.display().to_string();
    let mut gathered = Gathered::default();
    let mut failed: Option<Problem> = None;
    let wanted = |path: &Path, _: FileType| {
        path.file_name().and_then(|name| name.to_str()).is_none_or(|name| !LEFT_OUT.contains(&name))
    };
    let mut visit = |path: &Path, found: Found<'_>| match entry(&mut gathered, &of, path, found) {
        Ok(()) => Walk::Continue,
        Err(problem) => {
            failed = Some(problem);
            Walk::Stop
        }
    };
    walk(&opened, MAX_ENTRIES, &wanted, &mut visit).map_err(|error| Problem::new(what(), error))?;
    match failed {
        Some(problem) => Err(problem),
        None => Ok(gathered.done()),
    }
}

fn open(path: &Path, within: Option<&str>) -> io::Result<Folder> {
    // The path to it is the user's own, and may end in a link.
    let real: PathBuf = std::fs::canonicalize(path)?;
    let folder = Folder::open(&real)?;
    match within {
        Some(within) => folder.folder(within),
        None => Ok(folder),
    }
}

fn entry(gathered: &mut Gathered, of: &str, path: &Path, found: Found<'_>) -> Result<(), Problem> {
    let failed = |error: &dyn std::fmt::Display| {
        Problem::new(format!("failed to read {of}/{}", path.display()), error).next(format!("ls -la {of}"))
    };
    match found {
        Found::Folder(_) => Ok(()),
        Found::Lost(Loss::TooMany) => Err(too_many(of)),
        Found::Lost(Loss::TooDeep) => Err(failed(&"its folders are too many, one in another")),
        // As good as never there.
        Found::Lost(Loss::Vanished) => Ok(()),
        Found::Lost(Loss::Unreadable(error)) => Err(failed(&error)),
        Found::Other { folder, name, stat } => {
            let Some(path) = gathered.takes(path.as_os_str().as_bytes()) else { return Ok(()) };
            match kind(stat) {
                FileType::RegularFile => {}
                FileType::Symlink => {
                    gathered.left_out(&path, "it is a link, and none is followed; put the file itself there");
                    return Ok(());
                }
                _ => {
                    gathered.left_out(&path, "it is neither a file nor a folder");
                    return Ok(());
                }
            }
            gathered.expect(of, &path, u64::try_from(stat.st_size).unwrap_or(u64::MAX))?;
            let bytes = folder.read(name, MAX_FILE_BYTES).map_err(|error| failed(&error))?;
            gathered.file(&path, stat.st_mode & 0o111 != 0, bytes);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn no_link_is_followed_and_what_is_left_out_is_said() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path().join("it");
        fs::create_dir_all(root.join("a/.git")).expect("folder");
        fs::write(root.join("a/.git/config"), "x").expect("file");
        fs::write(root.join("a/b"), "x").expect("file");
        fs::write(dir.path().join("secret"), "hunter2").expect("file");
        std::os::unix::fs::symlink("../secret", root.join("link")).expect("link");
        std::os::unix::fs::symlink(dir.path(), root.join("folder")).expect("link");
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).expect("socket");
        let (tree, notes) = read(&root, None).expect("reads");
        assert_eq!(tree.iter().map(|(path, _)| path).collect::<Vec<_>>(), ["a/b"]);
        assert_eq!(notes.len(), 3, "{notes:?}");
        let (within, _) = read(&root, Some("a")).expect("reads");
        assert_eq!(within.iter().map(|(path, _)| path).collect::<Vec<_>>(), ["b"]);
        assert!(read(&root, Some("folder")).is_err(), "a link out of it");
        assert!(read(&root.join("none"), None).expect_err("none").next[0].starts_with("ls"));
    }

    #[test]
    fn too_much_is_refused_before_it_is_read() {
        let dir = tempfile::tempdir().expect("dir");
        let file = fs::File::create(dir.path().join("big")).expect("file");
        file.set_len(MAX_FILE_BYTES + 1).expect("length");
        let problem = read(dir.path(), None).expect_err("too large");
        assert!(problem.why.contains("`big` has 32 MiB"), "{problem}");
    }
}
