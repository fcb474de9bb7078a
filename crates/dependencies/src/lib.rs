//! Merging the dependencies of configuration repositories: of a *master*, which several agents share, and of a
//! *project* over it.
//!
//! Each may have a folder `dependencies/` with a `requirements.txt`, a `package.json` and a `system-packages.txt`.
//! [`merge`] makes one set of them, or says why there is none: every line that cannot be taken and every two
//! that do not go together, all at once and by file and line, before anything is built.
//!
//! - Python by PEP 440 and PEP 508: nothing is dropped. Every version that meets what comes out meets what went
//!   in, and a conflict is one that is proved ([`Python`]).
//! - npm by its own ranges: what comes out is in all of them, unless `overrides` say otherwise ([`Npm`]).
//! - System packages: a set ([`System`]).
//!
//! Nothing here reads a file, asks an index or knows which versions there are. Files come through a
//! [`Repository`]'s `read`, by paths that stay in the repository. They are somebody else's: whatever they hold is
//! a merged set or a [`Refused`], in a time that their length limits.
//!
//! The decisions are in `docs/decisions/0022`.

mod address;
mod lines;
mod npm;
mod place;
mod python;
mod report;
mod repository;
mod system;

pub use npm::Npm;
pub use place::{Asked, Note, Place};
pub use python::Python;
pub use report::{Conflict, Kind, Problem, Refused};
pub use repository::{CONSTRAINTS, FOLDER, PACKAGE_JSON, REQUIREMENTS, Read, Repository, SYSTEM_PACKAGES};
pub use system::System;

/// What all repositories together ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Python packages.
    pub python: Python,
    /// npm packages.
    pub npm: Npm,
    /// System packages.
    pub system: System,
    /// What whoever merges should know.
    pub notes: Vec<Note>,
}

/// A package of a merged set, and every line that asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// What kind of package it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The lines, in the order of the repositories; those that an override sets aside are among them.
    pub asked: &'a [Asked],
}

impl Merged {
    /// Whether nothing is to be installed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files().is_empty()
    }

    /// The files to install from, by their names; those that would be empty are left out.
    #[must_use]
    pub fn files(&self) -> Vec<(&'static str, String)> {
        let system = self.system.packages().iter().map(|line| format!("{line}\n")).collect::<String>();
        let files = [
            (SYSTEM_PACKAGES, Some(system).filter(|text| !text.is_empty())),
            (REQUIREMENTS, self.python.requirements()),
            (CONSTRAINTS, self.python.constraints()),
            (PACKAGE_JSON, self.npm.package_json()),
        ];
        files.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
    }

    /// A text that two sets have in common exactly if the same is installed from them, for a digest of what an
    /// image is made of. Where something was asked for is no part of it.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut text = "holdpoint dependencies 1\n".to_owned();
        for (name, file) in self.files() {
            // With its length, so that no file's end can be taken for another's beginning.
            text.push_str(&format!("{name} {}\n{file}", file.len()));
        }
        text
    }

    /// Which lines ask for each package.
    #[must_use]
    pub fn origins(&self) -> Vec<Origin<'_>> {
        let of = |kind| move |(name, asked)| Origin { kind, name, asked };
        let system = self.system.asked().map(of(Kind::System));
        let python = self.python.asked().map(of(Kind::Python));
        system.chain(python).chain(self.npm.asked().map(of(Kind::Npm))).collect()
    }
}

/// Merges the dependencies of repositories, each over those before it: `[master, project]`.
///
/// # Errors
/// Lines that cannot be taken, or that do not go together: all of them.
pub fn merge(repositories: &[Repository<'_>]) -> Result<Merged, Refused> {
    let mut refused = Refused::default();
    let mut notes = Vec::new();
    let Refused { problems, conflicts } = &mut refused;
    let system = system::merge(repositories, problems, conflicts);
    let python = python::merge(repositories, problems, conflicts, &mut notes);
    let npm = npm::merge(repositories, problems, conflicts, &mut notes);
    if problems.is_empty() && conflicts.is_empty() {
        Ok(Merged { python, npm, system, notes })
    } else {
        Err(refused)
    }
}
