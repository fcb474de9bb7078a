//! A configuration repository, as far as its dependencies go, and the one way to its files.

use std::{fmt, sync::Arc};

use crate::place::{Asked, Place};

/// The folder of the three files.
pub const FOLDER: &str = "dependencies";
/// Python packages, as pip reads them.
pub const REQUIREMENTS: &str = "requirements.txt";
/// What `requirements.txt` says by `-c`, where anything does.
pub const CONSTRAINTS: &str = "constraints.txt";
/// Packages of the npm registry.
pub const PACKAGE_JSON: &str = "package.json";
/// Debian's packages, one a line.
pub const SYSTEM_PACKAGES: &str = "system-packages.txt";

/// The most that a file may be: a thousand packages, each with the hashes of three files.
const MAX_FILE_BYTES: usize = 256 * 1024;

/// Gives the text of a file, by its path from the repository's folder: `Ok(None)` if there is no such file.
///
/// It is asked for paths that stay in the folder (no `..`, none from `/`). That no link leads out of it is
/// for whoever reads.
pub type Read<'a> = &'a dyn Fn(&str) -> Result<Option<String>, String>;

/// A configuration repository.
#[derive(Clone, Copy)]
pub struct Repository<'a> {
    /// What people call it: `master`, `project`.
    pub name: &'a str,
    /// The way to its files.
    pub read: Read<'a>,
}

impl fmt::Debug for Repository<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct File {
    repository: Arc<str>,
    path: Arc<str>,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn place(&self, line: usize) -> Place {
        Place { repository: Arc::clone(&self.repository), file: Arc::clone(&self.path), line }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

impl Repository<'_> {
    /// A place in one of its files.
    pub(crate) fn place(&self, path: &str, line: usize) -> Place {
        Place { repository: self.name.into(), file: path.into(), line }
    }

    /// The file, if it is there. In an error stands why not, and what to do.
    pub(crate) fn file(&self, path: &str) -> Result<Option<File>, (String, String)> {
        let text = (self.read)(path).map_err(|why| {
            (
                format!("failed to read {}: {}", crate::place::shown(path), crate::place::shown(&why)),
                "it is to be a text in UTF-8 that whoever merges may read".to_owned(),
            )
        })?;
        let Some(text) = text else { return Ok(None) };
        if text.len() > MAX_FILE_BYTES {
            return Err((
                format!("{} is larger than {} KiB", crate::place::shown(path), MAX_FILE_BYTES / 1024),
                "a list of packages is not that long; see what else is in it".to_owned(),
            ));
        }
        Ok(Some(File { repository: self.name.into(), path: path.into(), text }))
    }

    /// One of the three files, if it is there.
    pub(crate) fn listed(&self, name: &str) -> Result<Option<File>, crate::report::Problem> {
        let path = format!("{FOLDER}/{name}");
        self.file(&path).map_err(|(what, instead)| crate::report::Problem {
            place: self.place(&path, 1),
            what,
            instead,
        })
    }
}

/// Where `path` leads that stands in the file `from`; `None` if it leaves the repository.
pub(crate) fn beside(from: &str, path: &str) -> Option<String> {
    if path.starts_with(['/', '~']) || path.contains(['\\', ':']) {
        return None;
    }
    let mut way: Vec<&str> = from.split('/').collect();
    way.pop();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(way.pop()?),
            name => way.push(name),
        }
    }
    (!way.is_empty()).then(|| way.join("/"))
}

/// Puts lines in the order of the repositories, files and lines, in which people look for them.
pub(crate) fn in_order(asked: &mut [Asked], repositories: &[Repository<'_>]) {
    let rank = |place: &Place| repositories.iter().position(|it| *it.name == *place.repository);
    asked.sort_by(|a, b| (rank(&a.place), a).cmp(&(rank(&b.place), b)));
}
