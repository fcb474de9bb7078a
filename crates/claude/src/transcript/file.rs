//! A transcript as a file that the session may be changing.

use std::io;
use std::path::{Path, PathBuf};

use holdpoint_beneath::{FileType, Folder, Refused, kind};
use uuid::Uuid;

use super::Transcript;

/// A longer transcript is not read: it is held in memory whole.
pub const MAX_BYTES: u64 = 128 * 1024 * 1024;

/// One of more lines is not read either: a short line takes more memory than it has bytes.
pub const MAX_LINES: u64 = 1_000_000;

/// Folders in `projects` that are looked into; the CLI makes one for each working directory.
const MAX_PROJECTS: usize = 10_000;

/// Whatever has the name of a session's transcript, in its folder, which is open: nothing that happens to
/// the path afterwards leads elsewhere.
#[derive(Debug)]
pub struct TranscriptFile {
    folder: Folder,
    name: String,
    path: PathBuf,
}

/// The transcript of a session, whichever working directory it belongs to. A regular file goes before
/// anything else of that name, which is found too: [`TranscriptFile::read`] then says what is wrong.
pub fn find(config_dir: &Path, session: Uuid) -> Option<TranscriptFile> {
    let name = format!("{session}.jsonl");
    let projects = Folder::open(config_dir).and_then(|config| config.folder("projects")).ok()?;
    let mut other = None;
    for project in projects.names(MAX_PROJECTS).ok()?.0 {
        let project = project.to_string_lossy().into_owned();
        let Ok(folder) = projects.folder(&project) else { continue };
        let Ok(stat) = folder.stat(&name) else { continue };
        let path = config_dir.join("projects").join(project).join(&name);
        let found = TranscriptFile { folder, name: name.clone(), path };
        if kind(&stat) == FileType::RegularFile {
            return Some(found);
        }
        other.get_or_insert(found);
    }
    other
}

impl TranscriptFile {
    /// Where it was found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// When it is no regular file, is longer than [`MAX_BYTES`] or [`MAX_LINES`], or cannot be read.
    pub fn read(&self) -> io::Result<Transcript> {
        Ok(Transcript::parse(&self.bytes()?))
    }

    /// Makes it hold these entries of it alone: whole and durable, or as it was. Says whether it had to be
    /// changed.
    ///
    /// # Errors
    ///
    /// When it is no regular file, is not the one that the entries were read from, or cannot be written.
    pub fn save(&self, transcript: &Transcript) -> io::Result<bool> {
        let bytes = self.bytes()?;
        let lines = transcript.lines_of(&bytes)?;
        if lines == bytes {
            return Ok(false);
        }
        self.folder.replace(&self.name, &lines)?;
        Ok(true)
    }

    /// Gives it, whatever it is, another extension, so that it is the session's transcript no more.
    ///
    /// # Errors
    ///
    /// When it cannot be renamed.
    pub fn put_aside(&self, extension: &str) -> io::Result<()> {
        self.folder.rename(&self.name, Path::new(&self.name).with_extension(extension))
    }

    pub(super) fn bytes(&self) -> io::Result<Vec<u8>> {
        let bytes = self.folder.read(&self.name, MAX_BYTES)?;
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        if lines > MAX_LINES {
            return Err(Refused::TooLarge { name: self.name.clone(), max: MAX_LINES, unit: "lines" }.into());
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use holdpoint_beneath::is_the_trees_doing;
    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    const SESSION: Uuid = Uuid::from_u128(7);

    /// A home with a project, and beside it a file of the host that has the form of a transcript.
    fn world() -> (tempfile::TempDir, PathBuf, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("home/.claude");
        let project = config.join("projects/-work");
        fs::create_dir_all(&project).unwrap();
        let host = dir.path().join("host");
        fs::create_dir_all(host.join("projects/-work")).unwrap();
        let at = project.join(format!("{SESSION}.jsonl"));
        fs::write(host.join("projects/-work").join(at.file_name().unwrap()), "{\"type\":\"user\"}\n")
            .unwrap();
        (dir, config, at, host)
    }

    fn secret(host: &Path) -> PathBuf {
        host.join(format!("projects/-work/{SESSION}.jsonl"))
    }

    #[test]
    fn one_that_is_no_file_is_found_refused_and_put_aside() {
        let (_dir, config, at, host) = world();
        let link: fn(&Path, &Path) = |host, at| symlink(secret(host), at).unwrap();
        let pipe: fn(&Path, &Path) = |_, at| mkfifoat(CWD, at, Mode::RWXU).unwrap();
        let sparse: fn(&Path, &Path) = |_, at| fs::File::create(at).unwrap().set_len(1 << 40).unwrap();
        let lines: fn(&Path, &Path) = |_, at| fs::write(at, "\n".repeat(1_000_001)).unwrap();
        for (make, what, name) in [
            (link, "is no regular file", "link"),
            (pipe, "is no regular file", "pipe"),
            (sparse, "more than 134217728 bytes", "sparse"),
            (lines, "more than 1000000 lines", "lines"),
        ] {
            make(&host, &at);
            let found = find(&config, SESSION).unwrap();
            let refused = found.read().unwrap_err();
            assert!(refused.to_string().contains(what), "{name}: {refused}");
            assert!(is_the_trees_doing(&refused));
            if name == "link" || name == "pipe" {
                found.save(&Transcript::default()).unwrap_err();
            }
            found.put_aside(&format!("unusable-{name}")).unwrap();
            assert!(find(&config, SESSION).is_none());
        }
        assert_eq!(fs::metadata(secret(&host)).unwrap().len(), 16);
    }

    #[test]
    fn folders_in_place_of_which_there_are_links_are_not_there() {
        let (_dir, config, _, host) = world();
        let project = config.join("projects/-work");
        fs::remove_dir(&project).unwrap();
        symlink(host.join("projects/-work"), &project).unwrap();
        assert!(find(&config, SESSION).is_none(), "a project");
        fs::remove_dir_all(config.join("projects")).unwrap();
        symlink(host.join("projects"), config.join("projects")).unwrap();
        assert!(find(&config, SESSION).is_none(), "all projects");
        fs::remove_dir_all(&config).unwrap();
        symlink(&host, &config).unwrap();
        assert!(find(&config, SESSION).is_none(), "the configuration folder");
    }

    #[test]
    fn one_that_changes_places_after_it_was_found_is_not_followed() {
        let (_dir, config, at, host) = world();
        fs::write(&at, "{\"type\":\"user\"}\nmore").unwrap();
        let found = find(&config, SESSION).unwrap();
        let whole = found.read().unwrap();
        fs::remove_file(&at).unwrap();
        symlink(secret(&host), &at).unwrap();
        found.read().unwrap_err();
        found.save(&whole).unwrap_err();
        fs::remove_file(&at).unwrap();
        fs::hard_link(secret(&host), &at).unwrap();
        found.save(&Transcript::default()).expect("the name is given another file");
        fs::remove_file(&at).unwrap();
        fs::write(&at, "{}").unwrap();
        found.save(&whole).expect_err("it is another one");
        fs::write(&at, "{\"type\":\"user\"}\nmore").unwrap();
        // The folder itself goes, and a link takes its place: the open folder is still meant.
        let project = config.join("projects/-work");
        fs::rename(&project, config.join("away")).unwrap();
        symlink(host.join("projects/-work"), &project).unwrap();
        assert!(found.save(&whole).unwrap());
        assert!(!found.save(&whole).unwrap(), "nothing to change");
        assert_eq!(found.read().unwrap().entries.len(), 1);
        assert_eq!(fs::metadata(secret(&host)).unwrap().len(), 16);
        assert_eq!(fs::metadata(config.join("away").join(at.file_name().unwrap())).unwrap().len(), 16);
    }
}
