//! What is a secret: by the name that it stands under, or by its shape.

use std::collections::{BTreeMap, BTreeSet};

use crate::expand;

/// Parts of names whose values are secrets.
const NAMES: [&str; 18] = [
    "KEY",
    "APIKEY",
    "TOKEN",
    "SECRET",
    "SECRETS",
    "PASSWORD",
    "PASSWD",
    "PASS",
    "PASSPHRASE",
    "PWD",
    "CREDENTIAL",
    "CREDENTIALS",
    "AUTH",
    "PAT",
    "DSN",
    "COOKIE",
    "PRIVATE",
    "BEARER",
];

/// How secrets begin that are known by it, and what they are. The longer of two that begin alike comes first.
const SHAPES: [(&str, &str); 23] = [
    ("sk-ant-", "an Anthropic API key"),
    ("sk-proj-", "an OpenAI key"),
    ("sk-lf-", "a Langfuse key"),
    ("pk-lf-", "a Langfuse key"),
    ("sk-", "an API key"),
    ("github_pat_", "a GitHub token"),
    ("ghp_", "a GitHub token"),
    ("gho_", "a GitHub token"),
    ("ghu_", "a GitHub token"),
    ("ghs_", "a GitHub token"),
    ("ghr_", "a GitHub token"),
    ("glpat-", "a GitLab token"),
    ("xoxb-", "a Slack token"),
    ("xoxp-", "a Slack token"),
    ("xapp-", "a Slack token"),
    ("AKIA", "an AWS access key"),
    ("AIza", "a Google API key"),
    ("hf_", "a Hugging Face token"),
    ("npm_", "an npm token"),
    ("pypi-", "a PyPI token"),
    ("dckr_pat_", "a Docker Hub token"),
    ("whsec_", "the secret of a webhook"),
    ("eyJ", "a signed token (JWT)"),
];

/// Those that nothing else begins like.
const SURE: [&str; 3] = ["sk-ant-", "ghp_", "github_pat_"];

/// The shortest that something of such a shape is: below it, it is a word that begins alike.
const SHORTEST: usize = 16;

/// The shortest value that is looked for everywhere. A shorter one would be found in ordinary words.
const SHORTEST_LEARNED: usize = 8;

/// Whether what stands under this name is a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let mut words = String::new();
    let mut before = 'A';
    for c in name.chars() {
        // `apiKey` has two parts, too.
        if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
            words.push('_');
        }
        words.push(c.to_ascii_uppercase());
        before = c;
    }
    words.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| NAMES.contains(&part))
        || words.replace(|c: char| !c.is_ascii_alphanumeric(), "").contains("CONNECTIONSTRING")
}

/// Whether a value under a secret's name says nothing secret: a switch, a small number, nothing.
pub(crate) fn is_plain(value: &str) -> bool {
    let value = value.trim();
    const PLAIN: [&str; 9] = ["", "true", "false", "yes", "no", "on", "off", "null", "none"];
    PLAIN.contains(&value.to_ascii_lowercase().as_str())
        || (value.len() <= 5 && value.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether somebody is still to put a value in the place of this one.
pub(crate) fn is_placeholder(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    lower.contains("...")
        || lower.contains('…')
        || (lower.starts_with('<') && lower.ends_with('>'))
        || ["your-", "your_", "changeme", "change-me", "replace-me", "placeholder", "xxxx"]
            .iter()
            .any(|word| lower.contains(word))
}

/// The secrets in a line that are known by their shape, with what each is.
pub(crate) fn shapes(line: &str) -> Vec<(&'static str, &str)> {
    let mut found = Vec::new();
    if line.contains("-----BEGIN") && line.contains("PRIVATE KEY") {
        found.push(("a private key", line.trim()));
    }
    for token in line.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.+/=~".contains(c))) {
        // What is assigned, without the name before it; base64 ends in `=`, which is no name's end.
        let body = token.trim_end_matches('=');
        let token = body.rfind('=').map_or(token, |at| &token[at + 1..]);
        let shape = SHAPES.iter().find(|(start, _)| token.starts_with(start));
        // Names such as `npm_config_registry` begin alike; what was drawn by chance has a digit.
        let is_drawn =
            token.bytes().any(|b| b.is_ascii_digit()) || SURE.iter().any(|start| token.starts_with(start));
        if let Some((_, what)) = shape.filter(|_| token.len() >= SHORTEST && is_drawn) {
            found.push((what, token));
        }
    }
    found.extend(in_addresses(line).into_iter().map(|secret| ("a user or password in an address", secret)));
    found
}

/// Names that stand before a token for nothing else than that something stands there.
const ACCOUNTS: [&str; 4] = ["git", "oauth2", "x-access-token", "x-token-auth"];

/// What stands before the `@` of addresses and is no variable: a user with a password, or a token alone.
fn in_addresses(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("://") {
        let scheme =
            line[..at].rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '+')).next().unwrap_or("");
        let rest = &line[at + 3..];
        let authority = rest
            .split(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\''))
            .next()
            .unwrap_or(rest);
        let Some((user, _)) = authority.rsplit_once('@') else { continue };
        // A token stands in either place.
        let (account, password) = user.split_once(':').unwrap_or((user, ""));
        // Over SSH the first is the name of an account, which is no secret.
        let account = if scheme.contains("ssh") || ACCOUNTS.contains(&account) { "" } else { account };
        found.extend(
            [account, password].into_iter().filter(|part| !part.is_empty() && !part.starts_with('$')),
        );
    }
    found
}

/// Secrets that were met, so that they are found wherever else they stand: by how they begin, since there may be
/// as many as lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known(BTreeMap<Start, BTreeSet<String>>);

/// The first bytes of a secret.
type Start = [u8; SHORTEST_LEARNED];

impl Known {
    /// Remembers a secret, and every line of it.
    pub(crate) fn learn(&mut self, value: &str) {
        // The name of a variable is none.
        let parts = expand::literals(value);
        for line in parts.iter().flat_map(|part| part.lines()).map(str::trim) {
            let is_name = line.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
            let is_word = line.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'-' | b'_' | b' '));
            let is_address = line.contains("://") && !line.contains(['@', '?']);
            let start = line.as_bytes().first_chunk().copied();
            if let Some(start) = start.filter(|_| !is_name && !is_word && !is_address && !is_plain(line)) {
                self.0.entry(start).or_default().insert(line.to_owned());
            }
        }
    }

    /// Remembers what is a secret in a text by its shape.
    pub(crate) fn learn_shapes(&mut self, text: &str) {
        for (_, secret) in text.lines().flat_map(shapes) {
            self.learn(secret);
        }
    }

    /// Whether one of them stands in this text, or something that has the shape of one.
    pub(crate) fn are_in(&self, text: &str) -> bool {
        !self.places(text).is_empty() || !shapes(text).is_empty()
    }

    /// The text without them.
    pub(crate) fn without(&self, text: &str) -> String {
        let (mut out, mut from) = (String::new(), 0);
        for (start, end) in self.places(text) {
            out.push_str(&text[from..start]);
            out.push_str(HIDDEN);
            from = end;
        }
        out.push_str(&text[from..]);
        let unknown: Vec<String> = shapes(&out).into_iter().map(|(_, secret)| secret.to_owned()).collect();
        unknown.iter().fold(out, |out, secret| out.replace(secret, HIDDEN))
    }

    /// Where they stand, from left to right; those that overlap are one.
    fn places(&self, text: &str) -> Vec<(usize, usize)> {
        let mut found: Vec<(usize, usize)> = Vec::new();
        for (at, start) in text.as_bytes().windows(SHORTEST_LEARNED).enumerate() {
            let Some(secrets) = self.0.get(start) else { continue };
            let here = secrets.iter().filter(|secret| text.as_bytes()[at..].starts_with(secret.as_bytes()));
            let Some(end) = here.map(|secret| at + secret.len()).max() else { continue };
            match found.last_mut().filter(|last| at < last.1) {
                Some(last) => last.1 = last.1.max(end),
                None => found.push((at, end)),
            }
        }
        found
    }
}

/// What stands in a secret's place.
const HIDDEN: &str = "(hidden)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        for name in [
            "ANTHROPIC_API_KEY",
            "GITHUB_TOKEN",
            "apiKey",
            "db.password",
            "X_AUTH",
            "Azure-Connection-String",
            "pwd",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in
            ["MONKEY_NAME", "MAX_TOKENS", "KEYBOARD", "AUTHOR", "GITHUB_USERNAME", "CLAUDE_MODEL", "PATH"]
        {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn shapes_of_secrets() {
        let found =
            |line: &'static str| shapes(line).into_iter().map(|(_, secret)| secret).collect::<Vec<_>>();
        assert_eq!(found("key: \"sk-ant-api03-abcdefgh\","), ["sk-ant-api03-abcdefgh"]);
        assert_eq!(found("A=ghp_0123456789abcdef"), ["ghp_0123456789abcdef"]);
        assert_eq!(found("RUN git clone https://x:hunter2hunter2@h/a"), ["x", "hunter2hunter2"]);
        assert_eq!(found("https://abcdef0123456789@github.com/o/r.git"), ["abcdef0123456789"]);
        for plain in [
            "git@github.com:o/r.git",
            "ssh://git@h/r",
            "https://${TOKEN}@h/r",
            "the sk-learn way",
            "mailto a@b.example",
            "https://h/a@b",
        ] {
            assert!(found(plain).is_empty(), "{plain}");
        }
    }

    #[test]
    fn what_was_learned_is_found_everywhere() {
        let mut known = Known::default();
        known.learn("S3cretS3cret");
        known.learn("S3cretS3cret-and-more");
        known.learn("secret-and-More-of-it");
        known.learn("true");
        known.learn("https://api.example.org");
        assert_eq!(
            known.without("a S3cretS3cret-and-more b true https://api.example.org"),
            "a (hidden) b true https://api.example.org"
        );
        assert_eq!(known.without("öS3cretS3cret-and-more, S3cretS3cret"), "ö(hidden), (hidden)");
        assert!(known.are_in("x=S3cretS3cret") && !known.are_in("nothing"));
    }
}
