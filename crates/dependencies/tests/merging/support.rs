//! Repositories in memory.

use std::collections::BTreeMap;

use holdpoint_dependencies::{Merged, Refused, Repository, merge};

/// Files by their paths from the repository's folder.
pub(crate) type Files = BTreeMap<String, String>;

/// The files of a repository that has these in `dependencies/`.
pub(crate) fn files<const N: usize>(files: [(&str, &str); N]) -> Files {
    files.into_iter().map(|(name, text)| (format!("dependencies/{name}"), text.to_owned())).collect()
}

/// Merges a project's files over a master's.
pub(crate) fn merged(master: &Files, project: &Files) -> Result<Merged, Refused> {
    let of_master = |path: &str| Ok(master.get(path).cloned());
    let of_project = |path: &str| Ok(project.get(path).cloned());
    merge(&[
        Repository { name: "master", read: &of_master },
        Repository { name: "project", read: &of_project },
    ])
}

/// What came out, as files of a repository.
pub(crate) fn as_files(merged: &Merged) -> Files {
    merged.files().into_iter().map(|(name, text)| (format!("dependencies/{name}"), text)).collect()
}
