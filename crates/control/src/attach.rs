//! Files that people attach: put into the workspace before the message that names them is committed.

use std::{
    collections::BTreeSet,
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

/// The longest path of an upload, in bytes, and the most names in it: it goes below a workspace's own path.
const MAX_PATH_BYTES: usize = 1_000;
const MAX_DEPTH: usize = 20;

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

/// Writes files to places that [`plan`] gave them, in a workspace that no session has seen.
pub(crate) fn write(workspace: &Path, files: &[(String, Bytes)]) -> io::Result<()> {
    let workspace = Folder::open(workspace)?;
    for (place, bytes) in files {
        workspace.make_folder(FOLDER)?;
        let mut file = workspace.create_new(place)?;
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    Ok(())
}

/// Paths in a workspace that no session has seen, for files of these names: one for each, none twice, and
/// none below another. Folders before a name are kept.
pub(crate) fn plan<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut taken = Places::default();
    names.into_iter().map(|name| taken.place(name)).collect()
}

#[derive(Default)]
struct Places {
    files: BTreeSet<String>,
    folders: BTreeSet<String>,
}

impl Places {
    fn place(&mut self, name: &str) -> String {
        let parts: Vec<String> = name.split('/').filter(|part| !part.is_empty()).map(safe_name).collect();
        let (file, folders) = parts.split_last().map_or(("file", &[][..]), |(file, rest)| (file, rest));
        let mut folder = FOLDER.to_owned();
        for part in folders {
            folder = self.free(&folder, part, |places, path| !places.files.contains(path));
            self.folders.insert(folder.clone());
        }
        let is_free =
            |places: &Self, path: &str| !places.files.contains(path) && !places.folders.contains(path);
        let path = self.free(&folder, file, is_free);
        self.files.insert(path.clone());
        path
    }

    fn free(&self, folder: &str, name: &str, is_free: impl Fn(&Self, &str) -> bool) -> String {
        let path = |name: String| format!("{folder}/{name}");
        let free = candidates(name).map(path).find(|path| is_free(self, path));
        free.unwrap_or_else(|| path(unique(name)))
    }
}

/// Whether a name may be an upload's: a bare name, or a path relative to the folder that was chosen.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.len() > MAX_PATH_BYTES {
        return Err(format!("the name of a file may have at most {MAX_PATH_BYTES} bytes"));
    }
    if name.contains('\\') || name.chars().any(char::is_control) {
        return Err(format!(
            "{name:?} cannot be the name of a file: it has backslashes or control characters"
        ));
    }
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() > MAX_DEPTH {
        return Err(format!("{name:?} has more than {MAX_DEPTH} folders; send an archive"));
    }
    match parts.iter().find(|part| part.is_empty() || matches!(**part, "." | "..")) {
        Some(_) => Err(format!(
            "{name:?} leads elsewhere: name the file, or its path below the folder that was chosen, as in \"docs/a.txt\""
        )),
        None => match parts.iter().find(|part| part.len() > MAX_NAME_BYTES) {
            Some(_) => Err(format!("each name of {name:?} may have at most {MAX_NAME_BYTES} bytes")),
            None => Ok(()),
        },
    }
}

/// A name, and it with a number.
fn candidates(name: &str) -> impl Iterator<Item = String> {
    let numbered = (2..=MAX_NUMBER).map(|n| marked(name, &n.to_string()));
    std::iter::once(name.to_owned()).chain(numbered)
}

/// It with what nothing else has.
fn unique(name: &str) -> String {
    marked(name, &Uuid::new_v4().to_string())
}

fn marked(name: &str, mark: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => format!("{stem}-{mark}.{extension}"),
        _ => format!("{name}-{mark}"),
    }
}

fn write_new(folder: &Folder, name: &str, bytes: &[u8]) -> io::Result<String> {
    for candidate in candidates(name).chain([unique(name)]) {
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

/// The last part of a path.
pub(crate) fn bare(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or_default()
}

/// The last part of a path, without anything that a shell or a file system could take for more.
pub(crate) fn safe_name(name: &str) -> String {
    let kept: String =
        bare(name).chars().filter(|c| !c.is_control()).map(|c| if c == ':' { '-' } else { c }).collect();
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
    fn places_are_planned_without_collisions() {
        let names = ["a.txt", "docs/a.txt", "a.txt", "docs", "docs/a.txt", "a.txt/b", "x/../y", "/z", ""];
        let expected = [
            "a.txt",
            "docs/a.txt",
            "a-2.txt",
            "docs-2",
            "docs/a-2.txt",
            "a-3.txt/b",
            "x/file/y",
            "z",
            "file",
        ];
        assert_eq!(plan(names), expected.map(|name| format!("attachments/{name}")));
    }

    #[test]
    fn names_of_uploads_lead_nowhere_else() {
        for name in ["a.txt", "docs/a b.txt", "Größe.pdf", "...", ".env", "a:b"] {
            check_name(name).expect(name);
        }
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        let deep = "a/".repeat(MAX_DEPTH) + "b";
        for name in ["", "..", ".", "../a", "a/../b", "/a", "a//b", "a/", "a\\b", "a\nb", "a\0", &long, &deep]
        {
            check_name(name).expect_err(name);
        }
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
