//! Whether any version at all can meet several specifiers: a proof that none does, or nothing.

use pep440_rs::{Operator, Version, VersionSpecifier};
use version_ranges::Ranges;

/// Whether it is proved that no version meets all of them.
///
/// Versions lie densely here: between any two there is another. So `>1.0,<1.0.post1` counts as possible, and
/// what counts as impossible is.
///
/// PEP 440 ignores the local part of a version (`+cu118`) where a specifier has none. So local parts are of
/// no account, unless a specifier wants one: then that very version is all there can be, and is tried.
pub(crate) fn none_meets_all(specifiers: &[VersionSpecifier]) -> bool {
    if let Some(only) = specifiers.iter().find_map(only_one) {
        return !specifiers.iter().all(|specifier| is_met(specifier, only));
    }
    let public = specifiers.iter().filter(|specifier| !specifier.version().is_local());
    let mut ranges: Vec<Ranges<Version>> = public.map(versions).collect();
    // Two by two: each `!=` splits a range, and one after the other would go through all splits each time.
    while ranges.len() > 1 {
        let both =
            |two: &[Ranges<Version>]| two.iter().fold(Ranges::full(), |all, one| all.intersection(one));
        ranges = ranges.chunks(2).map(both).collect();
    }
    ranges.first().is_some_and(Ranges::is_empty)
}

/// The versions that meet a specifier without a local part, and perhaps some more.
fn versions(specifier: &VersionSpecifier) -> Ranges<Version> {
    let version = specifier.version();
    match specifier.operator() {
        // The library (0.7.3) leaves 1.0 out of `<1.0.post1`, and 1.0.post2.dev1 out of `>1.0.post1`.
        Operator::LessThan if version.is_post() => Ranges::strictly_lower_than(version.clone()),
        Operator::GreaterThan if version.is_post() => Ranges::strictly_higher_than(version.clone()),
        _ => Ranges::from(specifier.clone()),
    }
}

/// The version that alone can meet the specifier.
fn only_one(specifier: &VersionSpecifier) -> Option<&Version> {
    let version = specifier.version();
    match specifier.operator() {
        Operator::ExactEqual => Some(version),
        Operator::Equal if version.is_local() => Some(version),
        _ => None,
    }
}

fn is_met(specifier: &VersionSpecifier, version: &Version) -> bool {
    if specifier.version().is_local() {
        // Only `==`, `===` and `!=` take a local part.
        return (specifier.version() == version) != (*specifier.operator() == Operator::NotEqual);
    }
    if *specifier.operator() == Operator::ExactEqual {
        return specifier.version() == version;
    }
    versions(specifier).contains(&version.clone().without_local())
}
