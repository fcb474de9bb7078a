//! What stands beside a package's name in `package.json`.

use super::range::Range;
use crate::{
    address::{self, Wrong},
    place::shown,
};

/// Where npm looks on the machine that it runs on.
const LOCAL: [&str; 4] = ["file:", "link:", "workspace:", "portal:"];
/// Short for a repository of a host that npm knows.
const HOSTED: [&str; 4] = ["github:", "gitlab:", "bitbucket:", "gist:"];

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Spec {
    /// Versions.
    Range(Range),
    /// A name that the package's owner gives to one version after another, such as `latest`.
    Tag(String),
    /// Another package under this name: its name, and which versions of it.
    Alias(String, Box<Spec>),
    /// A repository or an archive.
    Elsewhere(String),
}

impl Spec {
    /// Reads what may stand there.
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        let text = text.trim();
        if let Some(odd) = text.chars().find(|c| !c.is_ascii() || c.is_ascii_control()) {
            return Err((
                format!("the character `{}` may not stand in it", odd.escape_default()),
                "write a range of versions, such as `^1.2.0`".to_owned(),
            ));
        }
        if let Some(aliased) = text.strip_prefix("npm:") {
            return alias(aliased);
        }
        let starts_like_path = text.starts_with(['.', '/', '\\']) || text.starts_with("~/");
        if starts_like_path || LOCAL.iter().any(|local| text.starts_with(local)) {
            return Err(local(text));
        }
        if let Some(hosted) = HOSTED.iter().find_map(|host| text.strip_prefix(host)) {
            return hosted_at(hosted).map(|()| Self::Elsewhere(text.to_owned()));
        }
        if text.contains("://") {
            return address::check(text).map(|()| Self::Elsewhere(text.to_owned()));
        }
        if let Some(range) = Range::parse(text) {
            return Ok(Self::Range(range));
        }
        if text.contains('/') {
            return hosted_at(text).map(|()| Self::Elsewhere(text.to_owned()));
        }
        let of_tag = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(of_tag) {
            return Ok(Self::Tag(text.to_owned()));
        }
        Err((
            format!("`{}` is no range of versions, or one that no version is in", shown(text)),
            "write one as npm documents it: `^1.2.0`, `~1.2`, `>=1.2 <3`, `1.x || 2.x`".to_owned(),
        ))
    }

    /// As it is written in `package.json`.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Range(range) => range.text().to_owned(),
            Self::Tag(text) | Self::Elsewhere(text) => text.clone(),
            Self::Alias(name, spec) => format!("npm:{name}@{}", spec.text()),
        }
    }

    /// What meets both; `None` if it cannot be said that anything does.
    pub(crate) fn meet(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Range(a), Self::Range(b)) => a.meet(b).map(Self::Range),
            (Self::Alias(a, of_a), Self::Alias(b, of_b)) if a == b => {
                of_a.meet(of_b).map(|met| Self::Alias(a.clone(), Box::new(met)))
            }
            (Self::Alias(..), _) | (_, Self::Alias(..)) => None,
            (Self::Range(any), other) | (other, Self::Range(any)) => any.is_any().then(|| other.clone()),
            _ => (self.text() == other.text()).then(|| self.clone()),
        }
    }
}

fn alias(text: &str) -> Result<Spec, Wrong> {
    // The first `@` is a scope's.
    let at = text.char_indices().skip(1).find(|(_, c)| *c == '@').map_or(text.len(), |(at, _)| at);
    let (name, spec) = text.split_at(at);
    check_name(name)?;
    let spec = Spec::parse(spec.strip_prefix('@').unwrap_or(spec))?;
    match spec {
        Spec::Range(_) | Spec::Tag(_) => Ok(Spec::Alias(name.to_owned(), Box::new(spec))),
        _ => Err((
            format!("`npm:{}` names no package of the registry", shown(text)),
            "write `npm:name@range`".to_owned(),
        )),
    }
}

fn local(text: &str) -> Wrong {
    let (what, _) = address::local(text);
    (what, "publish the package, or name its repository: `git+https://host/owner/name#commit`".to_owned())
}

/// `owner/name`, with what is checked out of it after `#`.
fn hosted_at(text: &str) -> Result<(), Wrong> {
    let (repository, _) = text.split_once('#').unwrap_or((text, ""));
    let of_part = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let part = |it: &str| !it.is_empty() && !it.starts_with('.') && it.bytes().all(of_part);
    let fine = repository.split('/').all(part) && text.bytes().all(|b| b.is_ascii_graphic());
    if fine {
        return Ok(());
    }
    Err((
        format!("`{}` is no repository", shown(text)),
        "write `github:owner/name#commit`, or a whole address: `git+https://host/owner/name#commit`"
            .to_owned(),
    ))
}

/// What npm takes for a new package's name, and capitals, which older ones have.
pub(crate) fn check_name(name: &str) -> Result<(), Wrong> {
    let of_part = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let part = |it: &str| it.starts_with(|c: char| c.is_ascii_alphanumeric()) && it.bytes().all(of_part);
    let fine = match name.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/').is_some_and(|(scope, name)| part(scope) && part(name)),
        None => part(name),
    };
    if fine && name.len() <= 214 {
        return Ok(());
    }
    Err((
        format!("`{}` is no package's name", shown(name)),
        "write it as the registry shows it: `name` or `@scope/name`".to_owned(),
    ))
}
