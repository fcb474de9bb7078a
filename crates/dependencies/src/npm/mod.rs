//! npm packages: for each, the range in which all repositories' ranges agree.

mod interval;
mod json;
mod overrides;
mod range;
mod read;
mod spec;

use std::collections::{BTreeMap, BTreeSet};

use serde::ser::{Serialize, SerializeMap, Serializer};

use self::{
    overrides::Override,
    read::{Given, Section},
    spec::Spec,
};
use crate::{
    place::{Asked, Note},
    report::{Conflict, Kind, Problem},
    repository::{Repository, in_order},
};

/// What is to be installed by npm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Npm {
    packages: BTreeMap<String, Package>,
    overrides: Vec<(String, Override, Asked)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Package {
    section: Section,
    spec: String,
    asked: Vec<Asked>,
}

impl Npm {
    /// `package.json` for npm; `None` if there is nothing to install.
    #[must_use]
    pub fn package_json(&self) -> Option<String> {
        if self.packages.is_empty() {
            return None;
        }
        // What holds texts and objects alone always serialises.
        serde_json::to_string_pretty(self).ok().map(|text| text + "\n")
    }

    /// Who asked for each, by its name.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (String, &[Asked])> {
        let packages = self.packages.iter().map(|(name, package)| (name.clone(), package.asked.as_slice()));
        let overrides = self.overrides.iter();
        packages.chain(overrides.map(|(key, _, asked)| (key.clone(), std::slice::from_ref(asked))))
    }
}

impl Serialize for Npm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("private", &true)?;
        for section in Section::ALL {
            let these = self.packages.iter().filter(|(_, package)| package.section == section);
            let these: BTreeMap<_, _> = these.map(|(name, package)| (name, &package.spec)).collect();
            if !these.is_empty() {
                map.serialize_entry(section.field(), &these)?;
            }
        }
        if !self.overrides.is_empty() {
            let entries = self.overrides.iter().map(|(key, it, _)| (key.clone(), it.clone())).collect();
            map.serialize_entry("overrides", &Override::Below(entries))?;
        }
        map.end()
    }
}

/// What a repository says of a package, and the repository's rank.
struct Wish {
    rank: usize,
    given: Given,
}

/// What a repository says whatever a package asks for, and its rank.
struct Rule {
    rank: usize,
    key: String,
    says: Override,
    asked: Asked,
}

/// What wishes and rules of one package come to.
struct Settled {
    spec: Spec,
    asked: Vec<Asked>,
}

pub(crate) fn merge(
    repositories: &[Repository<'_>],
    problems: &mut Vec<Problem>,
    conflicts: &mut Vec<Conflict>,
    notes: &mut Vec<Note>,
) -> Npm {
    let mut wishes: BTreeMap<String, Vec<Wish>> = BTreeMap::new();
    let mut rules: Vec<Vec<Rule>> = Vec::new();
    for (rank, repository) in repositories.iter().enumerate() {
        let listed = read::read(repository, problems, notes);
        for given in listed.given {
            wishes.entry(given.name.clone()).or_default().push(Wish { rank, given });
        }
        let ranked = listed.overrides.into_iter();
        rules.push(ranked.map(|(key, says, asked)| Rule { rank, key, says, asked }).collect());
    }
    let rules = one_rule_each(rules, notes);
    for rule in &rules {
        for name in rule.says.points_to().into_iter().filter(|name| !wishes.contains_key(*name)) {
            problems.push(Problem {
                place: rule.asked.place.clone(),
                what: format!("`${name}` points to a package that no repository names"),
                instead: format!("write a range in its place, or `{name}` into `dependencies`"),
            });
        }
    }
    let by_key: BTreeMap<&str, &Rule> = rules.iter().map(|rule| (rule.key.as_str(), rule)).collect();
    let mut packages = BTreeMap::new();
    for (name, wishes_of_it) in &wishes {
        let rule = by_key.get(name.as_str()).copied();
        let Some(settled) = settle(name, wishes_of_it, rule, &wishes, repositories, conflicts, notes) else {
            continue;
        };
        let sections = wishes_of_it.iter().map(|wish| wish.given.section);
        let section = sections.min().unwrap_or(Section::Needed);
        packages.insert(name.clone(), Package { section, spec: settled.spec.text(), asked: settled.asked });
    }
    // npm refuses an override of a package that is also asked for, unless both say the same.
    let overrides = rules.into_iter().map(|rule| {
        let says = match packages.get(&rule.key) {
            Some(package) if rule.says.itself().is_some_and(|text| text != format!("${}", rule.key)) => {
                rule.says.saying(&package.spec)
            }
            _ => rule.says,
        };
        (rule.key, says, rule.asked)
    });
    Npm { overrides: overrides.collect(), packages }
}

/// The rules of all repositories, a later one's before an earlier one's and in place of it.
fn one_rule_each(rules: Vec<Vec<Rule>>, notes: &mut Vec<Note>) -> Vec<Rule> {
    let mut kept: Vec<Rule> = Vec::new();
    let mut at: BTreeMap<String, usize> = BTreeMap::new();
    for rule in rules.into_iter().rev().flatten() {
        match at.get(&rule.key).map(|&at| &kept[at]) {
            None => {
                at.insert(rule.key.clone(), kept.len());
                kept.push(rule);
            }
            Some(kept) if kept.says != rule.says => notes.push(Note {
                place: rule.asked.place,
                text: format!("the override of {} gives way to the one in {}", rule.key, kept.asked.place),
            }),
            Some(_) => {}
        }
    }
    kept
}

/// What all that is asked of a package comes to; a conflict if it comes to nothing.
fn settle(
    name: &str,
    wishes: &[Wish],
    rule: Option<&Rule>,
    all: &BTreeMap<String, Vec<Wish>>,
    repositories: &[Repository<'_>],
    conflicts: &mut Vec<Conflict>,
    notes: &mut Vec<Note>,
) -> Option<Settled> {
    let ruled = rule.and_then(|rule| Some((rule, spec_of(rule, rule.says.itself()?, all)?)));
    let mut asked: Vec<Asked> = wishes.iter().map(|wish| wish.given.asked.clone()).collect();
    asked.extend(ruled.iter().map(|(rule, _)| rule.asked.clone()));
    in_order(&mut asked, repositories);
    // A rule is there to be taken whatever its own repository and those before it ask for.
    let mut counting: Vec<(&Asked, &Spec)> = Vec::new();
    counting.extend(ruled.iter().map(|(rule, spec)| (&rule.asked, spec)));
    for Wish { rank, given } in wishes {
        match &ruled {
            Some((rule, spec)) if rule.rank >= *rank => {
                if spec.meet(&given.spec).is_none() {
                    notes.push(Note {
                        place: given.asked.place.clone(),
                        text: format!("{name} is {}, by the override in {}", spec.text(), rule.asked.place),
                    });
                }
            }
            _ => counting.push((&given.asked, &given.spec)),
        }
    }
    let ((_, first), further) = counting.split_first()?;
    let spec = further.iter().try_fold((*first).clone(), |met, (_, spec)| met.meet(spec));
    match spec {
        Some(spec) => Some(Settled { spec, asked }),
        None => {
            conflicts.extend(apart(name, &counting, repositories));
            None
        }
    }
}

/// What a rule says of its package, if that can be known.
fn spec_of(rule: &Rule, text: &str, all: &BTreeMap<String, Vec<Wish>>) -> Option<Spec> {
    let Some(name) = text.strip_prefix('$') else { return Spec::parse(text).ok() };
    // Its own repository's word, if it has one, and else the last one's.
    let wishes = all.get(name)?;
    let own = wishes.iter().find(|wish| wish.rank == rule.rank);
    own.or(wishes.last()).map(|wish| wish.given.spec.clone())
}

/// Each two that do not go together; all of them, if each two do.
fn apart(name: &str, lines: &[(&Asked, &Spec)], repositories: &[Repository<'_>]) -> Vec<Conflict> {
    let mut sets: BTreeSet<Vec<Asked>> = BTreeSet::new();
    let mut why = "no version is in both ranges";
    for (at, (asked, spec)) in lines.iter().enumerate() {
        for (other, other_spec) in &lines[at + 1..] {
            if spec.meet(other_spec).is_none() {
                if !matches!((spec, other_spec), (Spec::Range(_), Spec::Range(_))) {
                    why = "it cannot be both";
                }
                sets.insert(vec![(*asked).clone(), (*other).clone()]);
            }
        }
    }
    if sets.is_empty() {
        why = "no version is in all ranges, though each two of them have one in common";
        sets.insert(lines.iter().map(|(asked, _)| (*asked).clone()).collect());
    }
    let conflict = |mut asked: Vec<Asked>| {
        in_order(&mut asked, repositories);
        Conflict {
            kind: Kind::Npm,
            name: name.to_owned(),
            why: why.to_owned(),
            asked,
            remedy: format!(
                "change one of them, or let the project decide, with `\"overrides\": {{ \"{name}\": \"${name}\" }}` \
                 in its package.json"
            ),
        }
    };
    sets.into_iter().map(conflict).collect()
}
