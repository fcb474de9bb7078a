//! Requirements of one package that no file of it can meet.

use std::collections::BTreeSet;

use pep440_rs::VersionSpecifier;

use super::{fits, read::Given, requirement::Wanted};
use crate::{
    report::{Conflict, Kind},
    repository::{Repository, in_order},
};

/// Looks for what does not go together: single lines, then each two, and then all that count in one
/// environment, because three may leave nothing where each two leave something (`>=1`, `<=1`, `!=1`).
///
/// What may hold is no conflict: only what is proved to be impossible, in an environment that both markers
/// let in, is.
pub(crate) fn find(
    name: &str,
    given: &[&Given],
    repositories: &[Repository<'_>],
    conflicts: &mut Vec<Conflict>,
) {
    let mut tell = |impossible: Impossible, lines: &[&Given]| {
        let mut asked: Vec<_> = lines.iter().map(|it| it.asked.clone()).collect();
        in_order(&mut asked, repositories);
        let (why, remedy) = impossible.words(asked.len());
        let (kind, name, why, remedy) = (Kind::Python, name.to_owned(), why.to_owned(), remedy.to_owned());
        conflicts.push(Conflict { kind, name, why, asked, remedy });
    };
    let mut possible = Vec::new();
    for one in given {
        match impossible(&[one]) {
            Some(impossible) => tell(impossible, &[one]),
            None => possible.push(*one),
        }
    }
    // Most packages end here: nothing is in the way of everything at once, whatever the markers.
    if impossible(&possible).is_none() {
        return;
    }
    let mut pairs = false;
    for (at, one) in possible.iter().enumerate() {
        for other in &possible[at + 1..] {
            let Some(impossible) = impossible(&[one, other]) else { continue };
            if one.requirement.marker.meets(&other.requirement.marker) {
                tell(impossible, &[one, other]);
                pairs = true;
            }
        }
    }
    if let Some((impossible, lines)) = together(&possible).filter(|_| !pairs) {
        tell(impossible, &lines);
    }
}

/// What is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Impossible {
    Addresses,
    Versions,
    Hashes,
}

impl Impossible {
    /// Why lines do not go together, and what to do.
    fn words(self, lines: usize) -> (&'static str, &'static str) {
        match (self, lines) {
            (Self::Addresses, _) => (
                "the package is to come from different addresses",
                "name one address in all lines, or take the others out",
            ),
            (Self::Versions, 1) => ("no version meets this line", "change it so that a version does"),
            (Self::Versions, 2) => (
                "no version meets both lines",
                "change one of them so that a version meets both; in different environments, markers keep them apart",
            ),
            (Self::Versions, _) => (
                "no version meets all of these lines, though each two of them leave one",
                "change one of them so that a version meets all",
            ),
            (Self::Hashes, _) => (
                "no file has a hash that all lines take",
                "write the hashes of the same version into all, or into one line alone",
            ),
        }
    }
}

/// The fewest lines that count in one environment and do not go together.
fn together<'a>(given: &[&'a Given]) -> Option<(Impossible, Vec<&'a Given>)> {
    let mut environments = BTreeSet::new();
    for environment in given.iter().map(|it| &it.requirement.marker) {
        if !environments.insert(&environment.text) {
            continue;
        }
        let counting = |it: &&&Given| it.requirement.marker.holds_wherever(environment);
        let mut lines: Vec<&Given> = given.iter().filter(counting).copied().collect();
        let Some(why) = impossible(&lines) else { continue };
        let mut at = 0;
        while at < lines.len() {
            let without: Vec<_> = lines.iter().enumerate().filter(|it| it.0 != at).map(|it| *it.1).collect();
            if impossible(&without) == Some(why) { lines = without } else { at += 1 }
        }
        return Some((why, lines));
    }
    None
}

fn impossible(lines: &[&Given]) -> Option<Impossible> {
    let mut addresses = BTreeSet::new();
    let mut versions: Vec<VersionSpecifier> = Vec::new();
    let mut hashes: Option<BTreeSet<&String>> = None;
    for it in lines.iter().map(|it| &it.requirement) {
        match &it.wanted {
            Wanted::Address(address) => drop(addresses.insert(address)),
            Wanted::Versions(all) => versions.extend(all.iter().cloned()),
        }
        if !it.hashes.is_empty() {
            let these: BTreeSet<&String> = it.hashes.iter().collect();
            hashes = Some(hashes.map_or(these.clone(), |those| &those & &these));
        }
    }
    if addresses.len() > 1 {
        Some(Impossible::Addresses)
    } else if fits::none_meets_all(&versions) {
        Some(Impossible::Versions)
    } else {
        hashes.filter(BTreeSet::is_empty).map(|_| Impossible::Hashes)
    }
}
