//! Files that people attach: put into the workspace before the message that names them is committed.

use std::{
    io::{self, Write as _},
    path::Path,
};

use bytes::Bytes;
use holdpoint_beneath::Folder;
use uuid::Uuid;

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

/// The longest name kept, in bytes: file systems take 255, and a number needs its share.
const MAX_NAME_BYTES: usize = 200;

/// Numbers tried for a name that is taken; then it gets one that cannot be.
const MAX_NUMBER: usize = 100;

/// Writes the files and returns their paths relative to the workspace. A name that is taken gets
/// a number; nothing is overwritten.
///
/// A session may put a link in the folder's place at any moment: no file leaves the workspace.
pub(crate) fn place(workspace: &Path, files: &[Attachment]) -> io::Result<Vec<String>> {
    let folder = Folder::open(workspace)?.make_folder(FOLDER)?;
    let mut placed = Vec::new();
    for file in files {
        let name = safe_name(&file.name);
        placed.push(format!("{FOLDER}/{}", write_new(&folder, &name, &file.bytes)?));
    }
    Ok(placed)
}

fn write_new(folder: &Folder, name: &str, bytes: &[u8]) -> io::Result<String> {
    let numbers = (2..=MAX_NUMBER).map(|n| n.to_string());
    let marks = numbers.chain([Uuid::new_v4().to_string()]).map(|mark| match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => format!("{stem}-{mark}.{extension}"),
        _ => format!("{name}-{mark}"),
    });
    for candidate in std::iter::once(name.to_owned()).chain(marks) {
        match folder.create_new(&candidate) {
            Ok(mut file) => {
                file.write_all(bytes)?;
                file.sync_all()?;
                return Ok(candidate);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The last part of a path, without anything that a shell or a file system could take for more.
fn safe_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String =
        last.chars().filter(|c| !c.is_control()).map(|c| if c == ':' { '-' } else { c }).collect();
    let kept = kept[..kept.floor_char_boundary(MAX_NAME_BYTES)].trim().trim_start_matches('.');
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

    #[test]
    fn a_session_that_takes_every_name_is_no_hindrance() {
        let dir = tempfile::tempdir().expect("dir");
        let folder = dir.path().join(FOLDER);
        std::fs::create_dir(&folder).expect("folder");
        for n in 0..=MAX_NUMBER {
            let name = if n < 2 { "a.txt".to_owned() } else { format!("a-{n}.txt") };
            let _ = std::os::unix::fs::symlink("/nowhere/at/all", folder.join(name));
        }
        let placed = place(dir.path(), &[file("a.txt"), file(&"\u{1f980}".repeat(120))]).expect("placed");
        assert!(placed.iter().all(|path| dir.path().join(path).is_file()), "{placed:?}");
    }
}
