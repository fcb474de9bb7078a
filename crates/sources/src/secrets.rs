//! Secrets that stand in files as they are. A file of an image is read by whoever may pull it, and by the agent.

use std::sync::LazyLock;

use regex::Regex;

/// What secrets of well-known issuers look like, and what each is.
const KINDS: &[(&str, &str)] = &[
    ("an Anthropic key", r"sk-ant-[A-Za-z0-9_-]{20,}"),
    ("a GitHub token", r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{30,}"),
    ("a GitLab token", r"\bglpat-[A-Za-z0-9_-]{20,}"),
    ("an AWS key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("a Slack token", r"\bxox[abeoprs]-[A-Za-z0-9-]{20,}"),
    ("a Google key", r"\bAIza[0-9A-Za-z_-]{35}"),
    ("an npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("a private key", r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----"),
    ("a password in an address", r"\b[a-z][a-z0-9+.-]*://[^\s:/@$<{]+:[^\s:/@$<{]{6,}@"),
];

/// Words of those that are made up for a page of documentation.
const MADE_UP: &[&str] = &["example", "xxxx", "your", "placeholder", "0000000", "password@", "..."];

/// What is never configuration: files that programs keep secrets in.
const FILES: &[&str] = &[".credentials.json", ".env", "id_rsa", "id_ed25519", ".netrc", ".npmrc", ".pypirc"];

static PATTERNS: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    KINDS.iter().filter_map(|(kind, pattern)| Some((*kind, Regex::new(pattern).ok()?))).collect()
});

/// The secrets of a text, by line and by what they are. They themselves are not repeated.
pub(crate) fn find(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let kind = PATTERNS.iter().find(|(_, pattern)| pattern.find_iter(line).any(|it| real(it.as_str())));
        found.extend(kind.map(|(kind, _)| (number + 1, *kind)));
    }
    found
}

/// Whether a value of that name is a secret: `API_KEY` and the like, with something in it that is one.
pub(crate) fn is_one(name: &str, value: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let named = [
        "TOKEN",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "API_KEY",
        "APIKEY",
        "AUTH_KEY",
        "ACCESS_KEY",
        "PRIVATE_KEY",
    ];
    // A number is a limit (`MAX_OUTPUT_TOKENS`), a short word a switch.
    let says = value.len() >= 12 && !value.contains(char::is_whitespace) && !value.contains("${");
    let path = value.starts_with(['/', '~', '.']);
    named.iter().any(|end| name.ends_with(end)) && says && !path && real(value)
}

/// Whether programs keep secrets in a file of that name.
pub(crate) fn keeps_secrets(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| FILES.contains(&name))
}

fn real(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    !MADE_UP.iter().any(|word| value.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_one() {
        assert_eq!(PATTERNS.len(), KINDS.len());
    }

    #[test]
    fn secrets_are_found_by_line_and_examples_are_none() {
        let key = format!("sk-ant-api03-{}", "Ab1".repeat(10));
        let text = format!("# notes\nuse {key}\nhttps://me:hunter22@host/x\n");
        assert_eq!(find(&text), [(2, "an Anthropic key"), (3, "a password in an address")]);
        for fine in [
            "sk-ant-api03-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "AKIAIOSFODNN7EXAMPLE",
            "sk-ant-...",
            "https://host/a:b@c",
            "postgres://user:${PASSWORD}@host",
            "git@github.com:a/b.git",
        ] {
            assert_eq!(find(fine), [], "{fine}");
        }
    }

    #[test]
    fn names_tell_secrets_too() {
        assert!(is_one("MY_API_KEY", "d41d8cd98f00b204"));
        assert!(is_one("github_token", "d41d8cd98f00b204"));
        for (name, value) in [
            ("MAX_OUTPUT_TOKENS", "32000"),
            ("MY_API_KEY", "${MY_API_KEY}"),
            ("MY_API_KEY", ""),
            ("MY_PASSWORD", "/run/secrets/password"),
            ("MODEL", "claude-opus-4-5-20251101"),
            ("API_KEY", "your-key-goes-here"),
        ] {
            assert!(!is_one(name, value), "{name}={value}");
        }
        assert!(keeps_secrets(".claude/.credentials.json") && !keeps_secrets(".claude/settings.json"));
    }
}
