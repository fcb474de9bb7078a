//! `holdpoint.toml` before it is a text.

use crate::{Place, secret::Known};

/// Keys and values with where they come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    /// At the top.
    pub(crate) top: Vec<Entry>,
    /// `[gateway]`
    pub(crate) gateway: Vec<Entry>,
    /// `[deploy]`
    pub(crate) deploy: Vec<Entry>,
    /// `[deploy.master]`
    pub(crate) master: Vec<Entry>,
    /// `[deploy.project]`
    pub(crate) project: Vec<Entry>,
    /// `[agents.NAME]`
    pub(crate) agents: Vec<Agent>,
}

/// An agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agent {
    /// Its name, which is a key of TOML as it is.
    pub(crate) name: String,
    /// What the table holds.
    pub(crate) entries: Vec<Entry>,
    /// `[agents.NAME.policy]`
    pub(crate) policy: Vec<Entry>,
    /// `[agents.NAME.container]`
    pub(crate) container: Vec<Entry>,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    key: String,
    /// As TOML.
    value: String,
    from: Option<Place>,
    /// A setting that a person has to want: it is written as a comment.
    is_offered: bool,
}

impl Entry {
    /// A text.
    pub(crate) fn text(key: &str, value: &str, from: Option<&Place>) -> Self {
        Self::toml(key, quoted(value), from)
    }

    /// A list of texts.
    pub(crate) fn list(key: &str, values: &[String], from: Option<&Place>) -> Self {
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        Self::toml(key, format!("[{}]", values.join(", ")), from)
    }

    /// A secret, by the name of its variable.
    pub(crate) fn secret(key: &str, variable: &str, from: Option<&Place>) -> Self {
        Self::toml(key, format!("{{ env = {} }}", quoted(variable)), from)
    }

    /// A value that is TOML already.
    pub(crate) fn toml(key: &str, value: String, from: Option<&Place>) -> Self {
        Self { key: key.to_owned(), value, from: from.cloned(), is_offered: false }
    }

    /// The same, as a comment to be commented in.
    pub(crate) fn offered(mut self) -> Self {
        self.is_offered = true;
        self
    }
}

/// A text as TOML has it.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl Draft {
    /// The text, and the keys that were left out because a secret stood in their values.
    pub(crate) fn render(&self, known: &Known) -> (String, Vec<String>) {
        let mut out = Text { text: String::new(), known, left_out: Vec::new() };
        out.text.push_str(
            "# Made by `holdpoint import`. Secrets are named here and set in the environment.\n# `holdpoint config example` shows what else there is; `holdpoint config check` checks this file.\n",
        );
        if !self.top.is_empty() {
            out.text.push('\n');
        }
        out.entries("", &self.top);
        out.table("gateway", &self.gateway);
        out.table("deploy", &self.deploy);
        out.table("deploy.master", &self.master);
        out.table("deploy.project", &self.project);
        for agent in &self.agents {
            let table = format!("agents.{}", agent.name);
            // Also one that says nothing is an agent.
            out.text.push_str(&format!("\n[{table}]\n"));
            out.entries(&table, &agent.entries);
            out.table(&format!("{table}.policy"), &agent.policy);
            out.table(&format!("{table}.container"), &agent.container);
        }
        (out.text, out.left_out)
    }
}

struct Text<'a> {
    text: String,
    known: &'a Known,
    left_out: Vec<String>,
}

impl Text<'_> {
    fn table(&mut self, name: &str, entries: &[Entry]) {
        if !entries.is_empty() {
            self.text.push_str(&format!("\n[{name}]\n"));
            self.entries(name, entries);
        }
    }

    fn entries(&mut self, table: &str, entries: &[Entry]) {
        for Entry { key, value, from, is_offered } in entries {
            let name = if table.is_empty() { key.clone() } else { format!("{table}.{key}") };
            // A value over lines would not be a comment any more, nor would it be looked through as one.
            if self.known.are_in(value) || value.contains('\n') {
                self.text.push_str(&format!("# {key}: left out\n"));
                self.left_out.push(name);
                continue;
            }
            let offered = if *is_offered { "# " } else { "" };
            let from = from.as_ref().map(|place| format!("   # {}", crate::shown::shown(&place.to_string())));
            let from = from.filter(|from| !self.known.are_in(from)).unwrap_or_default();
            self.text.push_str(&format!("{offered}{key} = {value}{from}\n"));
        }
    }
}
