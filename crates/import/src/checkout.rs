//! The files of a checkout that say something, read with bounds and without following links.

use std::{collections::BTreeMap, io, path::Path};

use holdpoint_beneath::{FileType, Folder, kind};

/// The longest file that is read, in bytes. Real ones have a few thousand.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// All files together, in bytes.
const MAX_ALL_BYTES: usize = 8 * 1024 * 1024;

/// The most files that are read.
const MAX_FILES: usize = 500;

/// The most names that are looked at in one folder.
const MAX_NAMES: usize = 1000;

/// How deep a folder is looked through.
const MAX_DEPTH: usize = 6;

/// Folders that are read with all that is in them.
const WHOLE: [&str; 4] = [".claude", "template_user", "dependencies", "build_configs"];

/// Folders of other people's code, or of none.
const PASSED_OVER: [&str; 5] = ["node_modules", ".venv", "venv", "__pycache__", "site-packages"];

/// Texts of a checkout, by their paths below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkout {
    /// What was read.
    pub files: BTreeMap<String, String>,
    /// What was not, and why.
    pub unread: Vec<Unread>,
}

/// A file that was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Its path.
    pub path: String,
    /// Why.
    pub why: Why,
}

/// Why a file was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is a link, which may lead anywhere, or no regular file.
    NotAFile,
    /// It is too long, or all of them together are.
    TooLong,
    /// It is no text.
    NotText,
    /// It may not be read.
    Refused,
    /// There are more than are looked at.
    TooMany,
}

impl Checkout {
    /// Whether anything is in it that could be moved over.
    #[must_use]
    pub fn is_one(&self) -> bool {
        let tells = |path: &str| {
            path == ".env" || path == "Dockerfile" || path.starts_with(".claude/") || is_serve_file(path)
        };
        self.files.keys().any(|path| tells(path)) || self.unread.iter().any(|unread| tells(&unread.path))
    }
}

/// Whether a path is one of the configuration files of Ray Serve.
pub(crate) fn is_serve_file(path: &str) -> bool {
    path.starts_with("data/config/") && (path.ends_with(".yaml") || path.ends_with(".yml"))
}

/// Reads what matters below a folder.
///
/// # Errors
/// If there is no such folder. What cannot be read in it is told, and is no error.
pub fn read(path: &Path) -> io::Result<Checkout> {
    // The path to it is the person's own, also if it is a link.
    let folder = Folder::open(&path.canonicalize()?)?;
    let mut reading = Reading { checkout: Checkout::default(), bytes: 0 };
    for file in [".env", "Dockerfile", "Containerfile"] {
        reading.file(&folder, file);
    }
    reading.folder(&folder, "data/config", 1, |name| name.ends_with(".yaml") || name.ends_with(".yml"));
    for whole in WHOLE {
        reading.folder(&folder, whole, MAX_DEPTH, |_| true);
    }
    // The entry forms are in Python files of packages at the top.
    if let Ok((names, _)) = folder.names(MAX_NAMES) {
        for name in names.iter().filter_map(|name| name.to_str().ok()) {
            if !name.starts_with('.') && !WHOLE.contains(&name) && name != "data" && is_folder(&folder, name)
            {
                reading.folder(&folder, name, 1, |name| name.ends_with(".py"));
            }
        }
    }
    Ok(reading.checkout)
}

struct Reading {
    checkout: Checkout,
    bytes: usize,
}

impl Reading {
    fn folder(&mut self, top: &Folder, path: &str, depth: usize, wanted: fn(&str) -> bool) {
        let folder = match top.folder(path) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(_) => return self.unread(path, Why::NotAFile),
        };
        let Ok((names, all)) = folder.names(MAX_NAMES) else { return self.unread(path, Why::Refused) };
        if !all {
            self.unread(path, Why::TooMany);
        }
        for name in names.iter().filter_map(|name| name.to_str().ok()) {
            let below = format!("{path}/{name}");
            if is_folder(&folder, name) {
                if depth > 1 && !PASSED_OVER.contains(&name) {
                    self.folder(top, &below, depth - 1, wanted);
                }
            } else if wanted(name) {
                self.file(top, &below);
            }
        }
    }

    fn file(&mut self, top: &Folder, path: &str) {
        let stat = match top.stat(path) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(_) => return self.unread(path, Why::Refused),
        };
        if kind(&stat) != FileType::RegularFile {
            return self.unread(path, Why::NotAFile);
        }
        if self.checkout.files.len() >= MAX_FILES {
            return self.unread(path, Why::TooMany);
        }
        if u64::try_from(stat.st_size).is_ok_and(|size| size > MAX_FILE_BYTES) {
            return self.unread(path, Why::TooLong);
        }
        let Ok(bytes) = top.read(path, MAX_FILE_BYTES) else { return self.unread(path, Why::Refused) };
        self.bytes += bytes.len();
        if self.bytes > MAX_ALL_BYTES {
            return self.unread(path, Why::TooLong);
        }
        match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => {
                self.checkout.files.insert(path.to_owned(), text);
            }
            _ => self.unread(path, Why::NotText),
        }
    }

    fn unread(&mut self, path: &str, why: Why) {
        if self.checkout.unread.len() < MAX_FILES {
            self.checkout.unread.push(Unread { path: path.to_owned(), why });
        }
    }
}

fn is_folder(folder: &Folder, name: &str) -> bool {
    folder.stat(name).is_ok_and(|stat| kind(&stat) == FileType::Directory)
}
