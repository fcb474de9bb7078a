//! One requirement: a name, extras, versions or an address, a marker, hashes.

use std::{collections::BTreeSet, str::FromStr};

use pep440_rs::{VersionSpecifier, VersionSpecifiers};
use pep508_rs::{ExtraName, MarkerTree, MarkerWarningKind, PackageName};

use crate::{
    address::{self, Wrong},
    place::shown,
};

/// The most comparisons in a marker. What it takes to hold two against each other can double with each.
const MAX_COMPARISONS: usize = 12;
/// The most brackets in a marker, which are read one within the other.
const MAX_BRACKETS: usize = 24;
/// The most versions and ranges of versions in a line.
const MAX_SPECIFIERS: usize = 16;
/// The longest number in a version. The libraries count one up from it, within 64 bits.
const MAX_DIGITS: usize = 15;

/// A requirement as it was written, in parts.
#[derive(Clone, Debug)]
pub(crate) struct Requirement {
    /// The name as it was written.
    pub(crate) name: String,
    /// By which it is the same package (PEP 503).
    pub(crate) folded: String,
    /// Folded as well.
    pub(crate) extras: BTreeSet<String>,
    pub(crate) wanted: Wanted,
    pub(crate) marker: Marker,
    /// `sha256:…`; empty if any file will do.
    pub(crate) hashes: BTreeSet<String>,
}

/// Which of a package's files will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Those of versions that meet all of these; none of these means any.
    Versions(Vec<VersionSpecifier>),
    /// The one at this address.
    Address(String),
}

/// When a requirement counts.
#[derive(Clone, Debug)]
pub(crate) struct Marker {
    /// As it was written; empty for always.
    pub(crate) text: String,
    pub(crate) tree: MarkerTree,
}

impl Marker {
    /// Whether there is an environment in which both count.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        !self.tree.is_disjoint(&other.tree)
    }

    /// Whether this one counts wherever the other does.
    pub(crate) fn holds_wherever(&self, other: &Self) -> bool {
        self.tree.negate().is_disjoint(&other.tree)
    }
}

/// Reads a requirement of a line without comment, hashes included.
///
/// The line's parts are told apart here, and read by the libraries of PEP 440 and PEP 508. The whole line is
/// not given to the latter: some malformed names end it in a panic, and it puts the values of this process's
/// environment into addresses.
pub(crate) fn parse(text: &str) -> Result<Requirement, Wrong> {
    if let Some(odd) = text.chars().find(|c| !c.is_ascii()) {
        return Err((
            format!("the character `{odd}` may stand in a comment only"),
            "write the requirement in plain letters; a look-alike of a letter is another letter".to_owned(),
        ));
    }
    let (text, hashes) = hashes(text)?;
    let name_ends = text.find(|c: char| !is_of_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_ends);
    if looks_local(text, name) {
        return Err(address::local(text));
    }
    if is_address(text) {
        return Err((
            format!("`{}` does not say which package is there", shown(text)),
            "write the package's name before the address: `name @ https://…`".to_owned(),
        ));
    }
    let folded = folded(name)
        .ok_or_else(|| not_a_name(name, "a package's name, such as `requests` or `requests>=2.28`"))?;
    let (extras, rest) = extras(rest.trim_start())?;
    let (wanted, marker) = match rest.strip_prefix('@') {
        Some(rest) => {
            let rest = rest.trim_start();
            let (address, rest) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
            if address.ends_with(';') {
                return Err((
                    "it cannot be told whether the `;` belongs to the address".to_owned(),
                    "put a space before the `;` of a marker".to_owned(),
                ));
            }
            if !address.contains("://") {
                return Err(address::local(address));
            }
            address::check(address)?;
            (Wanted::Address(address.to_owned()), rest.trim_start())
        }
        None => {
            let (versions, marker) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
            (Wanted::Versions(versions_of(versions)?), marker)
        }
    };
    Ok(Requirement { name: name.to_owned(), folded, extras, wanted, marker: self::marker(marker)?, hashes })
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// The name by which PEP 503 compares.
fn folded(name: &str) -> Option<String> {
    let ends = |at: Option<char>| at.is_some_and(|c| c.is_ascii_alphanumeric());
    if !ends(name.chars().next()) || !ends(name.chars().last()) || !name.chars().all(is_of_name) {
        return None;
    }
    PackageName::from_str(name).ok().map(|name| name.to_string())
}

fn not_a_name(name: &str, instead: &str) -> Wrong {
    let what = if name.is_empty() {
        "the line does not begin with a package's name".to_owned()
    } else {
        format!("`{}` is no name: it begins and ends with a letter or digit", shown(name))
    };
    (what, format!("write {instead}"))
}

/// What pip would look for on its own machine: a path, or the name of an archive.
fn looks_local(text: &str, name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let archive =
        [".whl", ".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz"].iter().any(|end| lower.ends_with(end));
    let first = text.split(|c: char| c.is_whitespace() || c == '@').next().unwrap_or(text);
    text.starts_with(['.', '/', '\\', '~'])
        || text.starts_with("file:")
        || archive
        || (first.contains(['/', '\\']) && !first.contains("://"))
}

fn is_address(text: &str) -> bool {
    let first = text.split_whitespace().next().unwrap_or(text);
    first.split_once("://").is_some_and(|(scheme, _)| !scheme.contains('@'))
}

fn extras(text: &str) -> Result<(BTreeSet<String>, &str), Wrong> {
    let Some(rest) = text.strip_prefix('[') else { return Ok((BTreeSet::new(), text)) };
    let Some((inner, rest)) = rest.split_once(']') else {
        return Err((
            "the `[` of the extras is not closed".to_owned(),
            "write extras as `name[one,two]`".to_owned(),
        ));
    };
    let mut extras = BTreeSet::new();
    if !inner.trim().is_empty() {
        for extra in inner.split(',').map(str::trim) {
            let valid = folded(extra).and_then(|_| ExtraName::from_str(extra).ok());
            let extra = valid.ok_or_else(|| not_a_name(extra, "extras as `name[one,two]`"))?;
            extras.insert(extra.to_string());
        }
    }
    Ok((extras, rest.trim_start()))
}

fn versions_of(text: &str) -> Result<Vec<VersionSpecifier>, Wrong> {
    let text = text.trim();
    let inner = match text.strip_prefix('(') {
        Some(rest) => rest.strip_suffix(')').ok_or_else(|| {
            (
                "the `(` of the versions is not closed".to_owned(),
                "write versions without brackets: `name>=2,<3`".to_owned(),
            )
        })?,
        None => text,
    };
    let inner = inner.trim().trim_end_matches(',');
    if inner.is_empty() {
        return Ok(Vec::new());
    }
    no_long_number(inner)?;
    if inner.split(',').nth(MAX_SPECIFIERS).is_some() {
        return Err((
            format!("the line has more than {MAX_SPECIFIERS} versions"),
            "leave out those that others make needless".to_owned(),
        ));
    }
    VersionSpecifiers::from_str(inner).map(|versions| versions.iter().cloned().collect()).map_err(|error| {
        let why = error.to_string();
        (
            format!("`{}`: {}", shown(inner), shown(why.lines().next().unwrap_or_default())),
            "write versions as PEP 440 has them: `>=2.28,<3`, `==2.28.*`, `~=2.28`".to_owned(),
        )
    })
}

fn no_long_number(text: &str) -> Result<(), Wrong> {
    if text.split(|c: char| !c.is_ascii_digit()).any(|number| number.len() > MAX_DIGITS) {
        return Err((
            format!("a number of more than {MAX_DIGITS} digits stands in it"),
            "write the version that the package's index shows".to_owned(),
        ));
    }
    Ok(())
}

fn marker(text: &str) -> Result<Marker, Wrong> {
    let text = text.trim();
    let Some(marker) = text.strip_prefix(';').map(str::trim) else {
        if text.is_empty() {
            return Ok(Marker { text: String::new(), tree: MarkerTree::TRUE });
        }
        return Err((
            format!("`{}` stands after the address", shown(text)),
            "write a marker after ` ; `, and nothing else after an address".to_owned(),
        ));
    };
    let instead =
        || "write it as PEP 508 has it: `; python_version >= '3.9' and sys_platform == 'linux'`".to_owned();
    // Each comparison has a text in quotes, or none of it counts.
    let comparisons = marker.matches(['\'', '"']).count() / 2;
    if comparisons > MAX_COMPARISONS || marker.matches('(').count() > MAX_BRACKETS {
        return Err((
            format!("the marker has more than {MAX_COMPARISONS} comparisons, or {MAX_BRACKETS} brackets"),
            "write several lines with shorter markers".to_owned(),
        ));
    }
    no_long_number(marker)?;
    let mut ignored = None;
    let mut reporter = |kind: MarkerWarningKind, why: String| {
        if kind != MarkerWarningKind::DeprecatedMarkerName {
            ignored.get_or_insert(why);
        }
    };
    let tree = MarkerTree::parse_reporter(marker, &mut reporter)
        // Not the error's `Display`, which repeats the marker on lines of its own.
        .map_err(|error| {
            (format!("the marker cannot be read: {}", shown(&error.message.to_string())), instead())
        })?;
    if let Some(why) = ignored {
        let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
        return Err((format!("a part of the marker would not count: {}", shown(&why)), instead()));
    }
    let text = marker.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Marker { text, tree })
}

/// Takes the options off a requirement's end, as pip does: from the first word that begins with `-`.
fn hashes(text: &str) -> Result<(&str, BTreeSet<String>), Wrong> {
    let begins = text.find(" -").or_else(|| text.find("\t-"));
    let Some(begins) = begins else { return Ok((text, BTreeSet::new())) };
    let (requirement, options) = text.split_at(begins);
    let mut hashes = BTreeSet::new();
    let mut words = options.split_whitespace();
    while let Some(word) = words.next() {
        let hash = match word.strip_prefix("--hash") {
            Some("") => words.next().unwrap_or_default(),
            Some(rest) if rest.starts_with('=') => &rest[1..],
            _ => {
                return Err((
                    format!("`{}` is an option that is not taken here", shown(word)),
                    "write `--hash=sha256:…` after a requirement, or nothing".to_owned(),
                ));
            }
        };
        hashes.insert(checked_hash(hash)?);
    }
    Ok((requirement.trim_end(), hashes))
}

fn checked_hash(hash: &str) -> Result<String, Wrong> {
    let (algorithm, digits) = hash.split_once(':').unwrap_or_default();
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => 0,
    };
    if length == 0 || digits.len() != length || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err((
            format!("`{}` is no hash", shown(hash)),
            "write `--hash=sha256:` and 64 hexadecimal digits, as `pip hash FILE` prints it".to_owned(),
        ));
    }
    Ok(hash.to_ascii_lowercase())
}
