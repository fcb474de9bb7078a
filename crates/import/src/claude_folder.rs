//! `.claude/`: its permissions, and secrets in its settings.

use holdpoint_model::Rule;

use crate::{
    Checkout, Kind, Place,
    draft::Entry,
    facts::Facts,
    secret,
    shown::shown,
    yaml::{self, Node},
};

/// The settings that the checkout has.
const SETTINGS: &str = ".claude/settings.json";

/// The most rules of one kind that are taken over.
const MAX_RULES: usize = 200;

/// Whether a file is one of the CLI's settings, where secrets stand under their names.
pub(crate) fn is_settings(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.contains(".claude/")
        && matches!(name, "settings.json" | "settings.local.json" | ".mcp.json" | "mcp.json")
}

/// Tells of secrets under their names.
pub(crate) fn secrets(facts: &mut Facts, path: &str, text: &str) {
    let Ok(node) = yaml::parse_json(text) else {
        let what = "this is no JSON, so that it was not looked through; the Claude CLI passes it over, too";
        return facts.found(Kind::ToDo, vec![Place::file(path)], what, "put it right, and run it again");
    };
    let mut found = Vec::new();
    node.each("", &mut |key, value, line| {
        // `key` alone is a key of the keyboard there.
        let counts =
            secret::is_secret_name(key) && !key.eq_ignore_ascii_case("key") && !value.starts_with('$');
        if counts && !secret::is_plain(value) && !secret::is_placeholder(value) {
            found.push((key.to_owned(), value.to_owned(), line));
        }
    });
    for (key, value, line) in found {
        facts.known.learn(&value);
        // What is known by its shape is told of anyway.
        if secret::shapes(&value).is_empty() {
            let what = format!("the secret of `{}` stands here literally", shown(&key));
            let next = "every session reads this file: make a new one where it came from, and keep it out of the folder";
            facts.found(Kind::Danger, vec![Place::line(path, line)], what, next);
        }
    }
}

/// The permissions, as a policy. What may run without asking is only offered: nobody is asked any more afterwards.
pub(crate) fn rules(checkout: &Checkout, facts: &mut Facts) -> Vec<Entry> {
    let Some(node) = checkout.files.get(SETTINGS).and_then(|text| yaml::parse_json(text).ok()) else {
        return Vec::new();
    };
    let Some(permissions) = node.get("permissions") else { return Vec::new() };
    let mut policy = Vec::new();
    for (theirs, ours) in [("deny", "refuse"), ("ask", "ask"), ("allow", "allow")] {
        let Some(list) = permissions.get(theirs) else { continue };
        let (rules, place) = (translate(facts, list), Place::line(SETTINGS, list.line));
        if rules.is_empty() {
            continue;
        }
        if ours == "allow" {
            policy.push(Entry::list(ours, &rules, Some(&place)).offered());
            facts.found(
                Kind::ToDo,
                vec![place],
                "what ran without asking is written as a comment: until it is commented in, each of these asks a person",
                "look through `# allow = […]` in holdpoint.toml, and comment in what may run unseen",
            );
        } else {
            policy.push(Entry::list(ours, &rules, Some(&place)));
            facts.taken(&place, format!("`{theirs}` of its permissions, as `{ours}` of each agent's policy"));
        }
    }
    policy
}

fn translate(facts: &mut Facts, list: &Node) -> Vec<String> {
    let mut rules = Vec::new();
    for item in list.items().iter().take(MAX_RULES) {
        let text = item.text().unwrap_or_default();
        match rule(text) {
            Some(rule) => rules.push(rule),
            None => facts.found(
                Kind::ToDo,
                vec![Place::line(SETTINGS, item.line)],
                format!("the rule `{}` says something that a policy says in other words", shown(text)),
                "write it into the agent's [policy], as in \"Bash(git status*)\" or \"Read(./docs/*)\"",
            ),
        }
    }
    rules
}

/// The CLI's rule in a policy's words.
fn rule(text: &str) -> Option<String> {
    let rule = match text.split_once('(') {
        None => text.to_owned(),
        Some((tool, rest)) => {
            let argument = rest.strip_suffix(')')?;
            match tool {
                "Bash" => match argument.strip_suffix(":*") {
                    Some(start) => format!("Bash({start}*)"),
                    None => text.to_owned(),
                },
                "Read" | "Edit" | "Write" if argument.starts_with("./") => text.to_owned(),
                "WebFetch" => format!("WebFetch(https://{}/*)", argument.strip_prefix("domain:")?),
                _ => return None,
            }
        }
    };
    rule.parse::<Rule>().ok().map(|rule| rule.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_in_other_words() {
        let cases = [
            ("WebSearch", Some("WebSearch")),
            ("Bash(git add:*)", Some("Bash(git add*)")),
            ("Bash(ls)", Some("Bash(ls)")),
            ("Read(./.env)", Some("Read(./.env)")),
            ("Read(~/.ssh/**)", None),
            ("WebFetch(domain:example.org)", Some("WebFetch(https://example.org/*)")),
            ("SlashCommand(/cc-deploy)", None),
            ("mcp__server__tool", Some("mcp__server__tool")),
            ("Bash(git", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(rule(text).as_deref(), expected, "{text}");
        }
    }
}
