//! Debian's packages: a set, one a line, each with a version if it is pinned.

use std::collections::BTreeMap;

use crate::{
    lines::{self, Line},
    place::Asked,
    report::{Conflict, Kind, Problem},
    repository::{Repository, SYSTEM_PACKAGES, in_order},
};

/// What is to be installed by apt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    packages: BTreeMap<Name, Package>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    package: String,
    architecture: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Package {
    version: Option<String>,
    asked: Vec<Asked>,
}

impl System {
    /// The packages as apt takes them, `name[:arch][=version]`, sorted.
    ///
    /// Each is exactly a package's name. apt takes what is no package's name for a pattern, so whoever
    /// installs first asks whether there is such a package.
    #[must_use]
    pub fn packages(&self) -> Vec<String> {
        self.packages
            .iter()
            .map(|(name, package)| {
                let version = package.version.as_ref().map(|version| format!("={version}"));
                format!("{}{}", name.shown(), version.unwrap_or_default())
            })
            .collect()
    }

    /// Who asked for each, by its name.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (String, &[Asked])> {
        self.packages.iter().map(|(name, package)| (name.shown(), package.asked.as_slice()))
    }
}

impl Name {
    fn shown(&self) -> String {
        match &self.architecture {
            Some(architecture) => format!("{}:{architecture}", self.package),
            None => self.package.clone(),
        }
    }
}

pub(crate) fn merge(
    repositories: &[Repository<'_>],
    problems: &mut Vec<Problem>,
    conflicts: &mut Vec<Conflict>,
) -> System {
    let mut wanted: BTreeMap<Name, Vec<(Option<String>, Asked)>> = BTreeMap::new();
    for repository in repositories {
        let file = match repository.listed(SYSTEM_PACKAGES) {
            Ok(Some(file)) => file,
            Ok(None) => continue,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        for line in lines::lines(&file.text, false) {
            let taken = match line {
                Ok(Line { number, text }) => {
                    let place = file.place(number);
                    match parse(&text) {
                        Ok((name, version)) => Ok((name, version, Asked::new(place, &text))),
                        Err((what, instead)) => Err(Problem { place, what, instead }),
                    }
                }
                Err(unreadable) => Err(Problem {
                    place: file.place(unreadable.number),
                    what: unreadable.what,
                    instead: unreadable.instead.to_owned(),
                }),
            };
            match taken {
                Ok((name, version, asked)) => wanted.entry(name).or_default().push((version, asked)),
                Err(problem) => problems.push(problem),
            }
        }
    }
    let mut packages = BTreeMap::new();
    for (name, lines) in wanted {
        // One line for each version is enough to show that they differ.
        let mut pinned: BTreeMap<&str, &Asked> = BTreeMap::new();
        for (version, asked) in &lines {
            if let Some(version) = version {
                pinned.entry(version).or_insert(asked);
            }
        }
        if pinned.len() > 1 {
            let mut asked: Vec<Asked> = pinned.into_values().cloned().collect();
            in_order(&mut asked, repositories);
            conflicts.push(Conflict {
                kind: Kind::System,
                name: name.shown(),
                why: "a package is installed in one version".to_owned(),
                asked,
                remedy: "pin it to the same version in all lines, or in one alone".to_owned(),
            });
        }
        let version = lines.iter().find_map(|(version, _)| version.clone());
        let asked = lines.into_iter().map(|(_, asked)| asked).collect();
        packages.insert(name, Package { version, asked });
    }
    System { packages }
}

fn parse(text: &str) -> Result<(Name, Option<String>), (String, String)> {
    if text.contains("://") {
        return Err((
            format!("`{}` is an address", crate::place::shown(text)),
            "write the package's name; which archives there are is not for a repository to set".to_owned(),
        ));
    }
    if text.split_whitespace().nth(1).is_some() {
        return Err((
            format!("`{}` is more than a package's name", crate::place::shown(text)),
            "write one package a line: its name, or `name=version`".to_owned(),
        ));
    }
    let (named, version) = match text.split_once('=') {
        Some((named, version)) => (named, Some(version)),
        None => (text, None),
    };
    if let Some(version) = version {
        check_version(version)?;
    }
    let (package, architecture) = match named.split_once(':') {
        Some((package, architecture)) => (package, Some(architecture)),
        None => (named, None),
    };
    check_name(package)?;
    if let Some(architecture) = architecture {
        let of_letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if architecture.is_empty() || architecture.starts_with('-') || !architecture.chars().all(of_letters) {
            return Err((
                format!("`{}` is no architecture", crate::place::shown(architecture)),
                "write one of Debian's after the colon, such as `amd64` or `arm64`, or none".to_owned(),
            ));
        }
    }
    let name = Name { package: package.to_owned(), architecture: architecture.map(str::to_owned) };
    Ok((name, version.map(str::to_owned)))
}

/// <https://www.debian.org/doc/debian-policy/ch-controlfields.html#source>, and nothing that apt would take
/// for something else: `name-` removes a package, and `a.+` is every package with an `a` in its name.
fn check_name(name: &str) -> Result<(), (String, String)> {
    let wrong = |why: &str, instead: &str| {
        Err((format!("`{}` is no package's name: {why}", crate::place::shown(name)), instead.to_owned()))
    };
    if name.starts_with('-') {
        return wrong(
            "it would be an option of apt",
            "write names of packages only; options of apt are not for a repository to set",
        );
    }
    let of_release =
        name.split_once('/').filter(|(package, release)| !package.is_empty() && !release.contains('/'));
    if of_release.is_some() {
        return wrong(
            "`/` chooses another release of Debian",
            "write the name alone, or pin it with `name=version`",
        );
    }
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return wrong("Debian's names are in small letters", "write it in small letters");
    }
    let of_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if name.len() < 2 || !begins || !name.bytes().all(of_name) {
        return wrong(
            "a name is two or more small letters, digits, `+`, `-` and `.`, a letter or digit first",
            "write one package a line: its name, or `name=version`",
        );
    }
    if name.ends_with('-') || name.contains(".+") {
        return wrong("apt takes it for something else than a name", "write the package's whole name");
    }
    Ok(())
}

/// <https://www.debian.org/doc/debian-policy/ch-controlfields.html#version>
fn check_version(version: &str) -> Result<(), (String, String)> {
    let begins = version.bytes().next().is_some_and(|b| b.is_ascii_digit());
    if begins && version.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-~:".contains(&b)) {
        return Ok(());
    }
    Err((
        format!("`{}` is no version of a Debian package", crate::place::shown(version)),
        "write the whole version as `apt-cache policy NAME` shows it, such as `2:8.2.2434-3`".to_owned(),
    ))
}
