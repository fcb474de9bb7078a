//! `overrides` of `package.json`: what npm is to take whatever a package asks for.

use std::{collections::BTreeSet, fmt};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::{
    json::Entries,
    spec::{self, Spec},
};
use crate::{address::Wrong, place::shown};

/// The most overrides one within the other.
const MAX_DEPTH: usize = 16;

/// What is said of one package, in the order in which it was written: npm takes the first that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Override {
    /// A range and its like; `$name` is what `name` is here.
    Spec(String),
    /// What holds below that package; `.` for itself.
    Below(Vec<(String, Override)>),
}

impl Override {
    /// What is said of the package itself.
    pub(super) fn itself(&self) -> Option<&str> {
        match self {
            Self::Spec(text) => Some(text),
            Self::Below(entries) => {
                entries.iter().find(|(name, _)| name == ".").and_then(|(_, it)| it.itself())
            }
        }
    }

    /// The same, with another word of the package itself.
    pub(super) fn saying(&self, text: &str) -> Self {
        match self {
            Self::Spec(_) => Self::Spec(text.to_owned()),
            Self::Below(entries) => {
                let said = |(name, it): &(String, Self)| {
                    (name.clone(), if name == "." { it.saying(text) } else { it.clone() })
                };
                Self::Below(entries.iter().map(said).collect())
            }
        }
    }

    /// The packages that `$name` points to, at any depth.
    pub(super) fn points_to(&self) -> Vec<&str> {
        match self {
            Self::Spec(text) => text.strip_prefix('$').into_iter().collect(),
            Self::Below(entries) => entries.iter().flat_map(|(_, it)| it.points_to()).collect(),
        }
    }
}

impl Serialize for Override {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Spec(text) => serializer.serialize_str(text),
            Self::Below(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (name, it) in entries {
                    map.serialize_entry(name, it)?;
                }
                map.end()
            }
        }
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(text) => write!(f, "\"{text}\""),
            Self::Below(_) => f.write_str("{ … }"),
        }
    }
}

/// Reads what stands beside `key`.
pub(super) fn parse(key: &str, value: &RawValue) -> Result<Override, Wrong> {
    check_key(key)?;
    value_of(key, value, MAX_DEPTH)
}

fn value_of(key: &str, value: &RawValue, depth: usize) -> Result<Override, Wrong> {
    if let Ok(text) = serde_json::from_str::<String>(value.get()) {
        let text = text.trim();
        match text.strip_prefix('$') {
            Some(name) => spec::check_name(name)?,
            None => drop(Spec::parse(text)?),
        }
        return Ok(Override::Spec(text.to_owned()));
    }
    let (Ok(Entries(entries)), Some(depth)) = (serde_json::from_str(value.get()), depth.checked_sub(1))
    else {
        return Err((
            format!("the override of `{}` is neither a text nor an object", shown(key)),
            format!("write a range, or an object of at most {MAX_DEPTH} levels"),
        ));
    };
    let mut seen = BTreeSet::new();
    let mut below = Vec::new();
    for (name, value) in entries {
        if name != "." {
            check_key(&name)?;
        }
        if !seen.insert(name.clone()) {
            return Err((
                format!("`{}` stands twice below the override of `{}`", shown(&name), shown(key)),
                "keep one of the two; JSON would keep the last".to_owned(),
            ));
        }
        let it = value_of(&name, value, depth)?;
        below.push((name, it));
    }
    Ok(Override::Below(below))
}

/// A name, and after `@` which versions of it.
fn check_key(key: &str) -> Result<(), Wrong> {
    let at = key.char_indices().skip(1).find(|(_, c)| *c == '@').map_or(key.len(), |(at, _)| at);
    let (name, versions) = key.split_at(at);
    spec::check_name(name)?;
    versions.strip_prefix('@').map_or(Ok(()), |versions| Spec::parse(versions).map(drop))
}
