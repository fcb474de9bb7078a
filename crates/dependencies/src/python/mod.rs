//! Python packages: the requirements of all repositories, each kept, as one list.

mod conflict;
mod fits;
mod option;
mod read;
mod requirement;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    option::Setting,
    read::{Given, Role},
    requirement::Wanted,
};
use crate::{
    place::{Asked, Note},
    report::{Conflict, Kind, Problem},
    repository::{CONSTRAINTS, Repository, in_order},
};

/// The most different lines about one package. Each is held against each other.
const MAX_LINES_OF_ONE: usize = 32;

/// The most packages that a note names.
const MAX_NAMED: usize = 5;

/// What is to be installed by pip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Python {
    settings: BTreeMap<Setting, Vec<Asked>>,
    entries: Vec<Entry>,
}

/// One line of what comes out: all that is asked of a package under one marker.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    role: Role,
    folded: String,
    name: String,
    extras: BTreeSet<String>,
    /// Versions as PEP 440 writes them, or one address.
    wanted: Lines,
    marker: String,
    hashes: BTreeSet<String>,
    asked: Vec<Asked>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Lines {
    Versions(BTreeSet<String>),
    Address(String),
}

impl Python {
    /// `requirements.txt` for pip; `None` if there is nothing to install.
    #[must_use]
    pub fn requirements(&self) -> Option<String> {
        let entries = self.rendered(Role::Wanted);
        if entries.is_empty() {
            return None;
        }
        let mut text: String = self.settings.keys().map(|setting| format!("{setting}\n")).collect();
        if self.constraints().is_some() {
            text.push_str(&format!("-c {CONSTRAINTS}\n"));
        }
        text.push_str(&entries);
        Some(text)
    }

    /// `constraints.txt`, which the other names; `None` if there are none.
    #[must_use]
    pub fn constraints(&self) -> Option<String> {
        Some(self.rendered(Role::Limited)).filter(|text| !text.is_empty())
    }

    fn rendered(&self, role: Role) -> String {
        self.entries.iter().filter(|entry| entry.role == role).map(|entry| format!("{entry}\n")).collect()
    }

    /// Who asked for each, by its name.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (String, &[Asked])> {
        self.entries.iter().map(|entry| (entry.name.clone(), entry.asked.as_slice()))
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let joined =
            |parts: &BTreeSet<String>| parts.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        f.write_str(&self.name)?;
        if !self.extras.is_empty() {
            write!(f, "[{}]", joined(&self.extras))?;
        }
        match &self.wanted {
            Lines::Versions(versions) => f.write_str(&joined(versions))?,
            Lines::Address(address) => write!(f, " @ {address}")?,
        }
        if !self.marker.is_empty() {
            write!(f, " ; {}", self.marker)?;
        }
        self.hashes.iter().try_for_each(|hash| write!(f, " --hash={hash}"))
    }
}

pub(crate) fn merge(
    repositories: &[Repository<'_>],
    problems: &mut Vec<Problem>,
    conflicts: &mut Vec<Conflict>,
    notes: &mut Vec<Note>,
) -> Python {
    let mut settings: BTreeMap<Setting, Vec<Asked>> = BTreeMap::new();
    let mut packages: BTreeMap<String, Vec<Given>> = BTreeMap::new();
    for repository in repositories {
        let listed = read::read(repository, problems);
        for (setting, asked) in listed.settings {
            settings.entry(setting).or_default().push(asked);
        }
        for given in listed.given {
            packages.entry(given.requirement.folded.clone()).or_default().push(given);
        }
    }
    one_index(&settings, repositories, conflicts);
    let mut entries = Vec::new();
    for (folded, given) in packages {
        let name = given.iter().map(|it| it.requirement.name.as_str()).min().unwrap_or(&folded).to_owned();
        let different = distinct(&given);
        if let Some(too_many) = different.get(MAX_LINES_OF_ONE) {
            problems.push(Problem {
                place: too_many.asked.place.clone(),
                what: format!("there are more than {MAX_LINES_OF_ONE} different lines about {name}"),
                instead: "write what they say into fewer lines".to_owned(),
            });
            continue;
        }
        conflict::find(&name, &different, repositories, conflicts);
        entries.extend(merged(&folded, &name, given));
    }
    some_without_hash(&entries, notes);
    Python { settings, entries }
}

/// pip wants a hash of every package as soon as one line has one.
fn some_without_hash(entries: &[Entry], notes: &mut Vec<Note>) {
    let hashed = entries.iter().find(|it| !it.hashes.is_empty());
    let bare = |it: &&Entry| {
        it.role == Role::Wanted
            && !entries.iter().any(|other| other.folded == it.folded && !other.hashes.is_empty())
    };
    let Some(hashed) = hashed.and_then(|it| it.asked.first()) else { return };
    let bare: Vec<&str> = entries.iter().filter(bare).map(|it| it.name.as_str()).take(MAX_NAMED).collect();
    if !bare.is_empty() {
        notes.push(Note {
            place: hashed.place.clone(),
            text: format!(
                "because of this hash, pip asks for one of every package; without are {}",
                bare.join(", ")
            ),
        });
    }
}

/// The lines without those that say the same as another.
fn distinct(given: &[Given]) -> Vec<&Given> {
    let mut seen = BTreeSet::new();
    let says = |it: &Given| {
        let wanted = match &it.requirement.wanted {
            Wanted::Versions(all) => all.iter().map(|one| format!("{one},")).collect(),
            Wanted::Address(address) => format!("@{address}"),
        };
        (wanted, it.requirement.marker.text.clone(), it.requirement.hashes.clone())
    };
    given.iter().filter(|it| seen.insert(says(it))).collect()
}

/// One entry for what lies under equal markers, an address and versions apart as pip wants them.
fn merged(folded: &str, name: &str, given: Vec<Given>) -> Vec<Entry> {
    // The shortest of equal markers, whichever repository it is in, and so the same in any order.
    let mut markers: Vec<_> = given.iter().map(|it| it.requirement.marker.clone()).collect();
    markers.sort_by(|a, b| (a.text.len(), &a.text).cmp(&(b.text.len(), &b.text)));
    markers.dedup_by(|a, b| a.text == b.text);
    let mut entries: BTreeMap<(Role, String, Option<String>), Entry> = BTreeMap::new();
    for Given { role, requirement, asked } in given {
        let same = markers.iter().find(|it| it.tree == requirement.marker.tree);
        let marker = same.map_or(&requirement.marker.text, |it| &it.text).clone();
        let (wanted, address) = match requirement.wanted {
            Wanted::Versions(all) => (Lines::Versions(all.iter().map(ToString::to_string).collect()), None),
            Wanted::Address(address) => (Lines::Address(address.clone()), Some(address)),
        };
        let key = (role, marker.clone(), address);
        let Some(entry) = entries.get_mut(&key) else {
            let (extras, hashes) = (requirement.extras, requirement.hashes);
            let (folded, name, asked) = (folded.to_owned(), name.to_owned(), vec![asked]);
            entries.insert(key, Entry { role, folded, name, extras, wanted, marker, hashes, asked });
            continue;
        };
        entry.extras.extend(requirement.extras);
        entry.hashes = common(&entry.hashes, &requirement.hashes);
        entry.asked.push(asked);
        if let (Lines::Versions(all), Lines::Versions(more)) = (&mut entry.wanted, wanted) {
            all.extend(more);
        }
    }
    entries.into_values().collect()
}

/// The files that both take. No hash at all takes any.
fn common(a: &BTreeSet<String>, b: &BTreeSet<String>) -> BTreeSet<String> {
    if a.is_empty() || b.is_empty() { a | b } else { a & b }
}

fn one_index(
    settings: &BTreeMap<Setting, Vec<Asked>>,
    repositories: &[Repository<'_>],
    conflicts: &mut Vec<Conflict>,
) {
    let indexes = settings.iter().filter(|(setting, _)| matches!(setting, Setting::Index(_)));
    let mut asked: Vec<Asked> = indexes.filter_map(|(_, asked)| asked.first().cloned()).collect();
    if asked.len() > 1 {
        in_order(&mut asked, repositories);
        conflicts.push(Conflict {
            kind: Kind::Python,
            name: "--index-url".to_owned(),
            why: "packages have one index".to_owned(),
            asked,
            remedy: "name the same one in both, or the second by --extra-index-url".to_owned(),
        });
    }
}
