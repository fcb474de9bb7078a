//! `requirements.txt` with all that it includes, line by line.

use std::collections::BTreeSet;

use super::{
    option::{self, Setting},
    requirement::{self, Requirement},
};
use crate::{
    address::Wrong,
    lines,
    place::Asked,
    report::Problem,
    repository::{File, REQUIREMENTS, Repository, beside},
};

/// The most files that one `requirements.txt` may bring along, each way that leads to one counted.
const MAX_INCLUDED: usize = 64;
/// The most files one within the other.
const MAX_DEPTH: usize = 8;

/// The most requirements of one repository, those of included files counted.
const MAX_REQUIREMENTS: usize = 4096;

/// What a line does with what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// It is installed.
    Wanted,
    /// If anything wants it, then in these versions: a line of a constraints file.
    Limited,
}

/// A requirement, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) role: Role,
    pub(crate) requirement: Requirement,
    pub(crate) asked: Asked,
}

/// What the files of one repository say.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) given: Vec<Given>,
    pub(crate) settings: Vec<(Setting, Asked)>,
}

/// Reads a repository's requirements.
pub(crate) fn read(repository: &Repository<'_>, problems: &mut Vec<Problem>) -> Listed {
    let mut reader =
        Reader { repository, problems, listed: Listed::default(), seen: BTreeSet::new(), within: Vec::new() };
    match repository.listed(REQUIREMENTS) {
        Ok(Some(file)) => reader.file(&file, Role::Wanted),
        Ok(None) => {}
        Err(problem) => reader.problems.push(problem),
    }
    reader.listed
}

struct Reader<'a> {
    repository: &'a Repository<'a>,
    problems: &'a mut Vec<Problem>,
    listed: Listed,
    /// What was read already, so that a file that two include counts once.
    seen: BTreeSet<(String, Role)>,
    /// The files that led here.
    within: Vec<String>,
}

impl Reader<'_> {
    fn file(&mut self, file: &File, role: Role) {
        self.seen.insert((file.path().to_owned(), role));
        self.within.push(file.path().to_owned());
        for line in lines::lines(&file.text, true) {
            if self.listed.given.len() >= MAX_REQUIREMENTS {
                self.problems.push(Problem {
                    place: file.place(1),
                    what: format!(
                        "there are more than {MAX_REQUIREMENTS} requirements, this file's among them"
                    ),
                    instead: "see what wrote them; pip needs those alone that others do not bring along"
                        .to_owned(),
                });
                break;
            }
            let (number, done) = match line {
                Ok(line) => (line.number, self.line(file, role, &line)),
                Err(it) => (it.number, Err((it.what, it.instead.to_owned()))),
            };
            if let Err((what, instead)) = done {
                self.problems.push(Problem { place: file.place(number), what, instead });
            }
        }
        self.within.pop();
    }

    fn line(&mut self, file: &File, role: Role, line: &lines::Line) -> Result<(), Wrong> {
        let asked = || Asked::new(file.place(line.number), &line.text);
        if !line.text.starts_with('-') {
            let requirement = requirement::parse(&line.text)?;
            if role == Role::Limited && !requirement.extras.is_empty() {
                return Err((
                    "a constraint says in which version, and cannot ask for extras".to_owned(),
                    format!("write `{}` without the brackets", requirement.name),
                ));
            }
            self.listed.given.push(Given { role, requirement, asked: asked() });
            return Ok(());
        }
        match option::parse(&line.text)? {
            option::Line::Setting(setting) => {
                self.listed.settings.push((setting, asked()));
                Ok(())
            }
            option::Line::Include(_) if role == Role::Limited => Err((
                "a file of constraints includes requirements".to_owned(),
                "include other constraints with `-c`, and requirements from `requirements.txt`".to_owned(),
            )),
            option::Line::Include(path) => self.include(file, path, Role::Wanted),
            option::Line::Constrain(path) => self.include(file, path, Role::Limited),
        }
    }

    fn include(&mut self, from: &File, path: &str, role: Role) -> Result<(), Wrong> {
        let shown = crate::place::shown(path);
        let Some(path) = beside(from.path(), path) else {
            return Err((
                format!("`{shown}` is not in the repository"),
                "name a file of the repository, by a path from this file's folder".to_owned(),
            ));
        };
        if self.within.contains(&path) {
            return Err((
                format!("`{shown}` includes itself, by way of {}", self.within.join(", ")),
                "take one of these lines out".to_owned(),
            ));
        }
        if self.seen.contains(&(path.clone(), role)) {
            return Ok(());
        }
        if self.within.len() >= MAX_DEPTH || self.seen.len() >= MAX_INCLUDED {
            return Err((
                format!("more than {MAX_INCLUDED} files are included, or {MAX_DEPTH} one within the other"),
                "write them into fewer files".to_owned(),
            ));
        }
        let Some(file) = self.repository.file(&path)? else {
            return Err((
                format!("there is no file `{}` in the repository", crate::place::shown(&path)),
                "add it, or take this line out".to_owned(),
            ));
        };
        self.file(&file, role);
        Ok(())
    }
}
