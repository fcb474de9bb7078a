//! What an agents' image gives every session to begin with: the user's settings, and the project's.
//!
//! Laid out again at each start, so that a conversation which was moved to another release gets that one's. What
//! the session has changed or removed since stays as the session has it: a record beside it says what was laid out.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use holdpoint_model::{
    Digest,
    release::{IMAGE_PROJECT, IMAGE_USER},
};

/// Where it is recorded what was laid out, below the session's home.
const RECORD: &str = ".holdpoint/laid-out.json";

/// The folder that is laid out.
const FOLDER: &str = ".claude";

/// Lays out what the image has, if it has anything, in the session's home and workspace.
///
/// # Errors
/// When something of it cannot be read or written.
pub(super) fn lay_out(home: &Path, workspace: &Path) -> io::Result<()> {
    from(&[(Path::new(IMAGE_USER), home), (Path::new(IMAGE_PROJECT), workspace)], &home.join(RECORD))
}

fn from(pairs: &[(&Path, &Path)], record: &Path) -> io::Result<()> {
    let mut laid_out: BTreeMap<PathBuf, Digest> = match fs::read(record) {
        // One that the session has spoilt is as good as none: then nothing of its own is replaced.
        Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error),
    };
    let before = laid_out.clone();
    for (image, own) in pairs {
        let mut wanted = BTreeMap::new();
        files(&image.join(FOLDER), &own.join(FOLDER), &mut wanted)?;
        let gone =
            before.keys().filter(|path| path.starts_with(own.join(FOLDER)) && !wanted.contains_key(*path));
        for path in gone {
            if is_as(path, &before[path]) {
                fs::remove_file(path)?;
            }
            laid_out.remove(path);
        }
        for (path, source) in wanted {
            let content = fs::read(&source)?;
            let digest = Digest::of_bytes(&content);
            let is_ours = match before.get(&path) {
                Some(known) if *known == digest => continue,
                Some(known) => is_as(&path, known),
                None => path.symlink_metadata().is_err(),
            };
            if is_ours {
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder)?;
                }
                fs::write(&path, content)?;
                fs::set_permissions(&path, own_mode(&source)?)?;
                laid_out.insert(path, digest);
            }
        }
    }
    if laid_out == before {
        return Ok(());
    }
    if let Some(folder) = record.parent() {
        fs::create_dir_all(folder)?;
    }
    // Whole or not at all: half a record would be none.
    let written = record.with_extension("new");
    fs::write(&written, serde_json::to_vec(&laid_out)?)?;
    fs::rename(written, record)
}

/// Every file below a folder of the image, by where it goes. Links do not come along.
fn files(image: &Path, own: &Path, found: &mut BTreeMap<PathBuf, PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(image) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, own.join(entry.file_name()));
        if kind.is_dir() {
            files(&entry.path(), &to, found)?;
        } else if kind.is_file() {
            found.insert(to, entry.path());
        }
    }
    Ok(())
}

/// Whether a file is what was laid out there.
fn is_as(path: &Path, laid_out: &Digest) -> bool {
    let is_file = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
    is_file && fs::read(path).is_ok_and(|content| Digest::of_bytes(&content) == *laid_out)
}

/// The mode of a file in the image, with its owner able to change it.
fn own_mode(source: &Path) -> io::Result<fs::Permissions> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(source)?.permissions().mode();
    Ok(fs::Permissions::from_mode((mode & 0o777) | 0o600))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        dir: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().expect("dir") }
        }

        fn image(&self, path: &str, text: Option<&str>) {
            let path = self.dir.path().join("image").join(FOLDER).join(path);
            match text {
                Some(text) => {
                    fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
                    fs::write(path, text).expect("written");
                }
                None => fs::remove_file(path).expect("removed"),
            }
        }

        fn own(&self, path: &str) -> PathBuf {
            self.dir.path().join("own").join(FOLDER).join(path)
        }

        fn lay_out(&self) {
            let (image, own) = (self.dir.path().join("image"), self.dir.path().join("own"));
            from(&[(&image, &own)], &own.join(RECORD)).expect("laid out");
        }

        fn read(&self, path: &str) -> Option<String> {
            fs::read_to_string(self.own(path)).ok()
        }
    }

    #[test]
    fn what_is_new_comes_and_what_the_session_made_stays() {
        let bench = Bench::new();
        bench.lay_out();
        for name in ["settings.json", "CLAUDE.md", "skills/a/SKILL.md", "gone.md", "changed.md"] {
            bench.image(name, Some("one"));
        }
        bench.lay_out();
        assert_eq!(bench.read("skills/a/SKILL.md").as_deref(), Some("one"));
        fs::write(bench.own("changed.md"), "mine").expect("written");
        fs::remove_file(bench.own("CLAUDE.md")).expect("removed");
        fs::write(bench.own("new.md"), "mine").expect("written");
        bench.lay_out();
        assert_eq!(bench.read("CLAUDE.md"), None, "what the session removed stays away");

        // Another release.
        for name in ["settings.json", "changed.md", "new.md"] {
            bench.image(name, Some("two"));
        }
        bench.image("gone.md", None);
        bench.lay_out();
        let found = ["settings.json", "changed.md", "new.md", "gone.md"].map(|name| bench.read(name));
        assert_eq!(found, [Some("two".into()), Some("mine".into()), Some("mine".into()), None]);
    }

    #[test]
    fn a_link_that_the_session_made_is_not_written_through() {
        let bench = Bench::new();
        bench.image("settings.json", Some("one"));
        let elsewhere = bench.dir.path().join("elsewhere");
        fs::write(&elsewhere, "mine").expect("written");
        fs::create_dir_all(bench.own("")).expect("folder");
        std::os::unix::fs::symlink(&elsewhere, bench.own("settings.json")).expect("link");
        bench.lay_out();
        assert_eq!(fs::read_to_string(elsewhere).expect("read"), "mine");
    }
}
