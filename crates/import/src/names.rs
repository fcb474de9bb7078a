//! Variables that nothing was made of. They are told of, each with its places.

use std::collections::BTreeMap;

use crate::{
    Kind, Place,
    facts::{Facts, From},
    secret,
    shown::shown,
};

/// What variables of the replaced stack were for, by how their names begin.
const KNOWN: [(&str, &str); 9] = [
    ("RAY_", "there is no Ray to be set up"),
    ("KODO_ADMIN", "the first start of Holdpoint prints a link that makes the first admin"),
    ("KODO_SECRET", "Holdpoint makes its own, at its first start"),
    ("KODO_", "there is no Kodosumi to be set up"),
    ("UPLOAD_FILES", "what a conversation makes is always among its results"),
    ("ORB", "there is no virtual machine to be set up"),
    ("VM_", "there is no virtual machine to be set up"),
    ("HOME", "each session has a home of its own"),
    ("PATH", "the image has its own"),
];

/// Tells of all the rest.
pub(crate) fn the_rest(facts: &mut Facts) {
    let mut rest: BTreeMap<String, (Vec<Place>, bool)> = BTreeMap::new();
    for said in &facts.said {
        if !facts.is_used(&said.name) {
            let entry = rest.entry(said.name.clone()).or_default();
            entry.0.push(said.place.clone());
            entry.1 |= matches!(said.from, From::App(_));
        }
    }
    for (name, (places, is_of_an_app)) in rest {
        let shown_name = shown(&name);
        if let Some((_, why)) = KNOWN.iter().find(|(start, _)| name.starts_with(start)) {
            facts.found(Kind::NotTaken, places, format!("`{shown_name}`: {why}"), "");
        } else if is_of_an_app {
            let what = format!(
                "`{shown_name}` was in the agent's environment; holdpoint.toml puts no variables into sessions"
            );
            let next = if secret::is_secret_name(&name) {
                "what an agent may know it can give away: let a tool outside the session hold it, or ask for it with a `password` field"
            } else {
                "if a tool of the agent needs it, set it in `env` of .claude/settings.json of the project's configuration"
            };
            facts.found(Kind::ToDo, places, what, next);
        } else {
            let what = format!("`{shown_name}`: nothing in holdpoint.toml is made of it");
            facts.found(Kind::NotTaken, places, what, "see whether it matters");
        }
    }
}
