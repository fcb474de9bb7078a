//! Files that people attach: put into the workspace before the message that names them is committed.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::OwnedFd,
    path::Path,
};

use bytes::Bytes;
use rustix::{
    fs::{Mode, OFlags, mkdirat, open, openat},
    io::Errno,
};

/// A file that a person attached.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Its name, without folders.
    pub name: String,
    /// Its content.
    pub bytes: Bytes,
}

/// The folder in the workspace where attachments go.
pub(crate) const FOLDER: &str = "attachments";

const FOLDER_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The longest name kept, in characters.
const MAX_NAME_CHARS: usize = 120;

/// Writes the files and returns their paths relative to the workspace. A name that is taken gets
/// a number; nothing is overwritten.
pub(crate) fn place(workspace: &Path, files: &[Attachment]) -> io::Result<Vec<String>> {
    // A session may put a link in the folder's place at any moment: each step is opened from the
    // one before, without following links, so that no file leaves the workspace.
    let workspace = open(workspace, FOLDER_FLAGS, Mode::empty())?;
    match mkdirat(&workspace, FOLDER, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let folder = openat(&workspace, FOLDER, FOLDER_FLAGS | OFlags::NOFOLLOW, Mode::empty())?;
    let mut placed = Vec::new();
    for file in files {
        let name = safe_name(&file.name);
        placed.push(format!("{FOLDER}/{}", write_new(&folder, &name, &file.bytes)?));
    }
    Ok(placed)
}

fn write_new(folder: &OwnedFd, name: &str, bytes: &[u8]) -> io::Result<String> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for n in 1.. {
        let candidate = match (n, name.rsplit_once('.')) {
            (1, _) => name.to_owned(),
            (n, Some((stem, extension))) if !stem.is_empty() => format!("{stem}-{n}.{extension}"),
            (n, _) => format!("{name}-{n}"),
        };
        match openat(folder, candidate.as_str(), flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => {
                let mut file = File::from(file);
                file.write_all(bytes)?;
                file.sync_all()?;
                return Ok(candidate);
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::other("no free name"))
}

/// The last part of a path, without anything that a shell or a file system could take for more.
fn safe_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last
        .chars()
        .filter(|c| !c.is_control())
        .map(|c| if c == ':' { '-' } else { c })
        .take(MAX_NAME_CHARS)
        .collect();
    let kept = kept.trim().trim_start_matches('.');
    if kept.is_empty() { "file".to_owned() } else { kept.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> Attachment {
        Attachment { name: name.into(), bytes: Bytes::from_static(b"x") }
    }

    #[test]
    fn names_stay_in_the_folder_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().expect("dir");
        let names = ["a.txt", "a.txt", "../../etc/passwd", "..", "C:\\x\\y.md", ".bashrc", "a\u{0}b\n", ""];
        let placed = place(dir.path(), &names.map(file)).expect("placed");
        assert_eq!(
            placed,
            ["a.txt", "a-2.txt", "passwd", "file", "y.md", "bashrc", "ab", "file-2"]
                .map(|name| format!("attachments/{name}"))
        );
        let inside = std::fs::read_dir(dir.path().join(FOLDER)).expect("folder").count();
        assert_eq!(inside, names.len());
    }

    #[test]
    fn a_link_in_place_of_the_folder_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        std::os::unix::fs::symlink("/tmp", dir.path().join(FOLDER)).expect("link");
        place(dir.path(), &[file("a")]).expect_err("must not follow the link");
    }
}
