//! One value in several places that is not the same in all of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Kind, Place, agent,
    apps::{IMAGE, PORT},
    facts::{Facts, From, Said},
    picture, secret,
    shown::shown,
    sources,
};

/// Finds them.
pub(crate) fn find(facts: &mut Facts) {
    let mut by_name: BTreeMap<String, Vec<Said>> = BTreeMap::new();
    for said in facts.said.iter().filter(|said| counts(said)) {
        by_name.entry(said.name.clone()).or_default().push(said.clone());
    }
    let app_of: Vec<String> = facts.apps.iter().map(|app| app.name.clone()).collect();
    for (name, all) in by_name {
        let is_one =
            name == IMAGE || name == PORT || sources::is_read_here(&name) || secret::is_secret_name(&name);
        // Two applications may have two values; one of them and `.env`, or one in two files, should not.
        let of = |said: &Said| match said.from {
            From::App(i) => app_of.get(i),
            _ => None,
        };
        let apps: BTreeSet<&String> = all.iter().filter_map(of).collect();
        if is_one || apps.is_empty() {
            compare(facts, &name, &all);
            continue;
        }
        for app in apps {
            let own = all.iter().filter(|said| of(said).is_none_or(|other| other == app));
            compare(facts, &name, &own.cloned().collect::<Vec<_>>());
        }
    }
}

/// Whether it says anything that could be compared.
fn counts(said: &Said) -> bool {
    let value = said.value.as_deref().map(str::trim);
    value.is_some_and(|value| !value.is_empty() && !secret::is_placeholder(value))
}

fn compare(facts: &mut Facts, name: &str, all: &[Said]) {
    let value = |said: &Said| said.value.clone().unwrap_or_default().trim().to_owned();
    let values: BTreeSet<String> = all.iter().map(value).collect();
    if values.len() < 2 {
        return;
    }
    let places: Vec<Place> = all.iter().map(|said| said.place.clone()).collect();
    if secret::is_secret_name(name) {
        let what =
            format!("`{}` has {} different values, and one variable has only one", shown(name), values.len());
        return facts.found(
            Kind::Differs,
            places,
            what,
            "find out which one is in use, and revoke the others",
        );
    }
    let each: Vec<String> = all
        .iter()
        .filter_map(|said| Some(format!("{} in {}", brief(name, &value(said))?, said.place)))
        .collect();
    let each = if each.len() == all.len() { format!(": {}", each.join(", ")) } else { String::new() };
    let (counts, next) = match name {
        IMAGE => (
            "only its registry is taken over",
            "compare with what runs; from now on holdpoint.lock alone has the digest",
        ),
        PORT => ("none is taken over", "the panel's port is `port` in holdpoint.toml"),
        _ if agent::OF_AN_AGENT.contains(&name) => ("the application's own counts", "see which one is meant"),
        _ if all.iter().any(|said| said.from == From::Env) => {
            ("the one of .env counts", "see which one is meant, and correct holdpoint.toml")
        }
        _ => ("the first one counts", "see which one is meant, and correct holdpoint.toml"),
    };
    let what = format!("`{}` has {} different values{each}; {counts}", shown(name), values.len());
    facts.found(Kind::Differs, places, what, next);
}

/// A value as short as it says something, where it is known to be no secret.
fn brief(name: &str, value: &str) -> Option<String> {
    if name == IMAGE {
        let picture = picture::parse(value)?;
        let digest = picture.digest.map(|digest| format!("@{}…", &digest[..19]));
        let tag = || {
            value
                .rsplit_once('/')
                .and_then(|(_, last)| last.split_once(':'))
                .map_or(String::new(), |(_, tag)| format!(":{}", shown(tag)))
        };
        return Some(format!("{}{}", picture.repository.rsplit('/').next()?, digest.unwrap_or_else(tag)));
    }
    let is_plain =
        value.len() <= 40 && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let is_known = name == PORT
        || agent::OF_AN_AGENT.contains(&name)
        || name.ends_with("_BRANCH")
        || name.ends_with("_REF");
    (is_plain && is_known).then(|| format!("`{value}`"))
}
