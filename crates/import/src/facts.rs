//! What all files together say, before anything is made of it.

use std::collections::BTreeSet;

use crate::{
    Finding, Imported, Kind, Place,
    apps::App,
    draft::Draft,
    expand,
    secret::{self, Known},
    shown::shown,
};

/// The most findings of one kind that are told one by one.
const MAX_OF_A_KIND: usize = 100;

/// The most places of one finding.
const MAX_PLACES: usize = 20;

/// Where a value was said, which decides who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// `.env`
    Env,
    /// A Dockerfile's `ARG` or `ENV`.
    Dockerfile,
    /// The environment of an application, by its number.
    App(usize),
    /// What a file of Ray Serve says about its server.
    Serve,
}

/// A value under a name.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// The name.
    pub(crate) name: String,
    /// The value as it is written, without quotes.
    pub(crate) written: String,
    /// What it stands for; absent where nothing puts values in place of its variables.
    pub(crate) value: Option<String>,
    /// Where.
    pub(crate) place: Place,
    /// Who says it.
    pub(crate) from: From,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Every value.
    pub(crate) said: Vec<Said>,
    /// The applications, in their order.
    pub(crate) apps: Vec<App>,
    /// Secrets that were met.
    pub(crate) known: Known,
    /// Names that something was made of.
    used: BTreeSet<String>,
    findings: Vec<Finding>,
}

impl Facts {
    /// Adds a finding.
    pub(crate) fn found(
        &mut self,
        kind: Kind,
        places: Vec<Place>,
        what: impl Into<String>,
        next: impl Into<String>,
    ) {
        self.findings.push(Finding { kind, places, what: what.into(), next: next.into() });
    }

    /// Says that something was taken over.
    pub(crate) fn taken(&mut self, place: &Place, what: impl Into<String>) {
        self.found(Kind::Taken, vec![place.clone()], what, "");
    }

    /// Adds a value. `value` is what it stands for where that is known already.
    pub(crate) fn say(&mut self, name: &str, written: &str, value: Option<String>, place: Place, from: From) {
        if secret::is_secret_name(name) {
            self.known.learn(written);
            if let Some(value) = &value {
                self.known.learn(value);
            }
        }
        self.said.push(Said { name: name.to_owned(), written: written.to_owned(), value, place, from });
    }

    /// Every place where a name has a value, and marks it as understood.
    pub(crate) fn every(&mut self, name: &str) -> Vec<Said> {
        self.used.insert(name.to_owned());
        self.said
            .iter()
            .filter(|said| said.name == name && !said.written.trim().is_empty())
            .cloned()
            .collect()
    }

    /// The value of the first of these names that has one: of `.env`, else of whatever else says it.
    pub(crate) fn first(&mut self, names: &[&str]) -> Option<Said> {
        let all: Vec<Said> = names.iter().flat_map(|name| self.every(name)).collect();
        let usable = |said: &&Said| said.value.as_deref().is_some_and(|value| !value.trim().is_empty());
        // The last line of `.env` counts, as for a shell.
        let of_env = all.iter().rev().find(|said| said.from == From::Env && usable(said));
        of_env.or_else(|| all.iter().find(usable)).cloned()
    }

    /// Whether a variable of this name is set somewhere.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.said.iter().any(|said| said.name == name)
    }

    /// Whether something was made of this name.
    pub(crate) fn is_used(&self, name: &str) -> bool {
        self.used.contains(name)
    }

    /// Tells of each `${…}` that nothing expands.
    pub(crate) fn unexpanded(&mut self, key: &str, text: &str, place: &Place, reader: &str) {
        let names: BTreeSet<String> = expand::variables(text).iter().map(|v| v.name.to_owned()).collect();
        for name in names {
            let what = format!(
                "`${{{}}}` in `{}`: {reader}, so that it stays as it is written",
                shown(&name),
                shown(key)
            );
            let next = if secret::is_secret_name(key) || secret::is_secret_name(&name) {
                format!(
                    "in holdpoint.toml a secret is named, {{ env = \"{0}\" }}, and set in the environment: export {0}=…",
                    shown(&name)
                )
            } else {
                "write the value in its place; holdpoint.toml expands nothing either".to_owned()
            };
            self.found(Kind::Error, vec![place.clone()], what, next);
        }
    }

    /// Everything, in order, and without a secret.
    pub(crate) fn finish(mut self, draft: &Draft) -> Imported {
        let (toml, left_out) = draft.render(&self.known);
        for key in left_out {
            self.found(
                Kind::Danger,
                Vec::new(),
                format!("`{key}` was left out: its value holds a secret"),
                "write it into holdpoint.toml without the secret, which belongs into the environment",
            );
        }
        self.findings.sort();
        self.findings.dedup();
        // Shortened first: each is searched for every secret.
        let mut findings = Vec::new();
        for kind in Kind::ALL {
            let all = self.findings.iter().filter(|finding| finding.kind == kind);
            let count = all.clone().count();
            findings.extend(all.take(MAX_OF_A_KIND).map(|finding| self.without_secrets(finding)));
            if count > MAX_OF_A_KIND {
                let what = format!("…and {} more of this kind", count - MAX_OF_A_KIND);
                let next = "see to these, and run it again".to_owned();
                findings.push(Finding { kind, places: Vec::new(), what, next });
            }
        }
        Imported { toml, findings, agents: draft.agents.iter().map(|agent| agent.name.clone()).collect() }
    }

    fn without_secrets(&self, finding: &Finding) -> Finding {
        let place = |place: &Place| Place { file: self.known.without(&shown(&place.file)), line: place.line };
        Finding {
            kind: finding.kind,
            places: finding.places.iter().take(MAX_PLACES).map(place).collect(),
            what: self.known.without(&finding.what),
            next: self.known.without(&finding.next),
        }
    }
}
