//! One repository's `package.json`, as far as it says what is installed.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{
    json::{Entries, Text},
    overrides::{self, Override},
    spec::{self, Spec},
};
use crate::{
    address::Wrong,
    lines::without_mark,
    place::{Asked, Note, Place, shown},
    report::Problem,
    repository::{File, PACKAGE_JSON, Repository},
};

/// Fields that say nothing about what is installed.
const WITHOUT_EFFECT: [&str; 13] = [
    "$schema",
    "author",
    "bugs",
    "contributors",
    "description",
    "homepage",
    "keywords",
    "license",
    "name",
    "private",
    "repository",
    "type",
    "version",
];

/// Where in `package.json` a package stands. The first in which it does is the one that it comes out in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    /// Installed.
    Needed,
    /// Installed as well, by npm 7 and later.
    Peer,
    /// Installed if it can be.
    Optional,
    /// Installed unless npm is told to leave it out.
    Development,
}

impl Section {
    pub(crate) const ALL: [Self; 4] = [Self::Needed, Self::Peer, Self::Optional, Self::Development];

    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Needed => "dependencies",
            Self::Peer => "peerDependencies",
            Self::Optional => "optionalDependencies",
            Self::Development => "devDependencies",
        }
    }
}

/// A package, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) name: String,
    pub(crate) section: Section,
    pub(crate) spec: Spec,
    pub(crate) asked: Asked,
}

/// What one `package.json` says.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) given: Vec<Given>,
    pub(crate) overrides: Vec<(String, Override, Asked)>,
}

pub(crate) fn read(
    repository: &Repository<'_>,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<Note>,
) -> Listed {
    let file = match repository.listed(PACKAGE_JSON) {
        Ok(Some(file)) => file,
        Ok(None) => return Listed::default(),
        Err(problem) => {
            problems.push(problem);
            return Listed::default();
        }
    };
    let text = without_mark(&file.text);
    let mut reader =
        Reader { file: &file, text: Text::new(text), problems, notes, listed: Listed::default() };
    match serde_json::from_str::<Entries<'_>>(text) {
        Ok(entries) => reader.fields(entries),
        Err(error) => {
            let place = file.place(error.line().max(1));
            // The library ends its words with the place, which is said already but for the column.
            let why = error.to_string();
            let why = why.split(" at line ").next().unwrap_or(&why);
            reader.problem(
                place,
                (
                    format!("it is no JSON object: {}, in column {}", shown(why), error.column()),
                    "look at that line and the one before it: often a comma is missing, or one too many"
                        .to_owned(),
                ),
            );
        }
    }
    reader.listed
}

struct Reader<'a> {
    file: &'a File,
    text: Text<'a>,
    problems: &'a mut Vec<Problem>,
    notes: &'a mut Vec<Note>,
    listed: Listed,
}

impl<'a> Reader<'a> {
    fn place(&self, value: &RawValue) -> Place {
        self.file.place(self.text.line(value))
    }

    fn problem(&mut self, place: Place, (what, instead): Wrong) {
        self.problems.push(Problem { place, what, instead });
    }

    fn fields(&mut self, entries: Entries<'a>) {
        for (name, value) in self.once_each(entries) {
            if let Some(section) = Section::ALL.into_iter().find(|section| section.field() == name) {
                for (package, value) in self.object(&name, value) {
                    self.package(section, package, value);
                }
            } else if name == "overrides" {
                for (key, value) in self.object(&name, value) {
                    self.overridden(key, value);
                }
            } else if !WITHOUT_EFFECT.contains(&name.as_str()) {
                let text = format!("`{}` is not taken over: only packages and `overrides` are", shown(&name));
                let place = self.place(value);
                self.notes.push(Note { place, text });
            }
        }
    }

    /// The entries of a field, or a problem.
    fn object(&mut self, name: &str, value: &'a RawValue) -> Vec<(String, &'a RawValue)> {
        match serde_json::from_str::<Entries<'a>>(value.get()) {
            Ok(entries) => self.once_each(entries),
            Err(_) => {
                let place = self.place(value);
                let what = format!("`{name}` is no object");
                self.problem(
                    place,
                    (what, format!("write it as `\"{name}\": {{ \"package\": \"^1.2.0\" }}`")),
                );
                Vec::new()
            }
        }
    }

    fn once_each(&mut self, entries: Entries<'a>) -> Vec<(String, &'a RawValue)> {
        let mut seen: BTreeMap<String, &RawValue> = BTreeMap::new();
        let mut once = Vec::new();
        for (name, value) in entries.0 {
            if let Some(first) = seen.get(&name) {
                let (place, line) = (self.place(value), self.text.line(first));
                let what = format!("`{}` stands here for the second time, after line {line}", shown(&name));
                self.problem(place, (what, "keep one of the two; JSON would keep the last".to_owned()));
            } else {
                seen.insert(name.clone(), value);
                once.push((name, value));
            }
        }
        once
    }

    fn package(&mut self, section: Section, name: String, value: &'a RawValue) {
        let place = self.place(value);
        let spec = spec::check_name(&name).and_then(|()| {
            let text: String = serde_json::from_str(value.get()).map_err(|_| {
                (
                    format!("what `{name}` is to be is no text"),
                    "write a range, such as `\"^1.2.0\"`".to_owned(),
                )
            })?;
            Spec::parse(&text)
        });
        match spec {
            Ok(spec) => {
                let asked = Asked::new(place, &format!("\"{name}\": \"{}\"", spec.text()));
                self.listed.given.push(Given { name, section, spec, asked });
            }
            Err(wrong) => self.problem(place, wrong),
        }
    }

    fn overridden(&mut self, key: String, value: &'a RawValue) {
        let place = self.place(value);
        match overrides::parse(&key, value) {
            Ok(it) => {
                let asked = Asked::new(place, &format!("overrides: \"{key}\": {it}"));
                self.listed.overrides.push((key, it, asked));
            }
            Err(wrong) => self.problem(place, wrong),
        }
    }
}
