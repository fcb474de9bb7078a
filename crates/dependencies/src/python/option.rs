//! Lines of `requirements.txt` that begin with `-`: includes, and where packages are looked for.

use crate::{
    address::{self, Wrong},
    place::shown,
};

/// Where packages are looked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setting {
    /// The index: one for all.
    Index(String),
    /// An index besides.
    ExtraIndex(String),
    /// A page with links to packages.
    Links(String),
}

/// What such a line says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// `-r`: a file with more requirements.
    Include(&'a str),
    /// `-c`: a file with constraints.
    Constrain(&'a str),
    Setting(Setting),
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Index(at) => write!(f, "--index-url {at}"),
            Self::ExtraIndex(at) => write!(f, "--extra-index-url {at}"),
            Self::Links(at) => write!(f, "--find-links {at}"),
        }
    }
}

pub(crate) fn parse(text: &str) -> Result<Line<'_>, Wrong> {
    let (name, value) = split(text);
    match name {
        "-r" | "--requirement" => file(name, value).map(Line::Include),
        "-c" | "--constraint" => file(name, value).map(Line::Constrain),
        "-i" | "--index-url" | "--pypi-url" => index(name, value).map(Setting::Index).map(Line::Setting),
        "--extra-index-url" => index(name, value).map(Setting::ExtraIndex).map(Line::Setting),
        "-f" | "--find-links" => index(name, value).map(Setting::Links).map(Line::Setting),
        "-e" | "--editable" => Err(editable(value)),
        "--trusted-host" => Err((
            "`--trusted-host` turns off the check that the host is who it says".to_owned(),
            "give the index a certificate that the image knows, and take this line out".to_owned(),
        )),
        "--pre" => Err((
            "`--pre` would let in pre-releases of every package".to_owned(),
            "name one in the requirement that is to have it, such as `name>=2.0rc1`".to_owned(),
        )),
        _ => Err((
            format!("`{}` is an option that is not taken here", shown(name)),
            "take it out; -r, -c, --index-url, --extra-index-url and --find-links are taken".to_owned(),
        )),
    }
}

/// The option and its value, which a space or `=` parts; nothing need part the short ones from theirs.
fn split(text: &str) -> (&str, &str) {
    let ends = match text.strip_prefix("--") {
        Some(_) => text.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(text.len()),
        None => text.char_indices().nth(2).map_or(text.len(), |(at, _)| at),
    };
    let (name, value) = text.split_at(ends);
    let value = value.trim_start();
    (name, unquoted(value.strip_prefix('=').unwrap_or(value).trim()))
}

fn unquoted(value: &str) -> &str {
    let within = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(value)
}

fn file<'a>(name: &str, value: &'a str) -> Result<&'a str, Wrong> {
    if value.contains("://") {
        return Err((
            format!("`{name}` names an address, and what stands there can be another thing tomorrow"),
            "put the file into the repository, and name it by its path".to_owned(),
        ));
    }
    one(name, value)
}

fn index(name: &str, value: &str) -> Result<String, Wrong> {
    let value = one(name, value)?;
    if !value.contains("://") {
        return Err(address::local(value));
    }
    address::check(value)?;
    Ok(value.trim_end_matches('/').to_owned())
}

fn one<'a>(name: &str, value: &'a str) -> Result<&'a str, Wrong> {
    if value.is_empty() || value.split_whitespace().nth(1).is_some() {
        return Err((
            format!("`{name}` takes one value"),
            "write one option a line, and its value after it".to_owned(),
        ));
    }
    Ok(value)
}

fn editable(value: &str) -> Wrong {
    if value.contains("://") && !value.starts_with("file:") {
        return (
            "an editable install is for whoever changes the package".to_owned(),
            "write `name @ git+https://host/owner/name@commit`".to_owned(),
        );
    }
    address::local(value)
}
