//! A repository's `.claude/settings.json`, as far as an image depends on it.

use std::collections::BTreeMap;

use holdpoint_model::problem::Problem;
use serde_json::{Map, Value};

use crate::secrets;

/// Where the settings are in a repository.
pub(crate) const SETTINGS: &str = ".claude/settings.json";

/// What a shell or the CLI reads by rules of its own: `${…}` in it is not ours to judge.
const SHELL: &[&str] = &[
    "hooks",
    "permissions",
    "statusLine",
    "subagentStatusLine",
    "fileSuggestion",
    "mcpServers",
    "headersHelper",
    "apiKeyHelper",
    "otelHeadersHelper",
    "awsAuthRefresh",
    "awsCredentialExport",
    "gcpAuthRefresh",
];

/// The settings of one repository.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// By name, what the settings say of each marketplace, and where.
    pub(crate) marketplaces: BTreeMap<String, (Value, usize)>,
    /// By `plugin@marketplace`, whether it is wanted, and where that stands.
    pub(crate) plugins: BTreeMap<String, (bool, usize)>,
}

/// A place in the settings of a repository.
pub(crate) fn place(repository: &str, line: usize) -> String {
    format!("{repository}: {SETTINGS}:{line}")
}

/// Reads them.
///
/// # Errors
/// All that is wrong with them.
pub(crate) fn read(repository: &str, bytes: &[u8]) -> Result<Settings, Vec<Problem>> {
    let what = || format!("failed to read the settings of {repository}");
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        vec![Problem::new(what(), format!("{}: it is not in UTF-8", place(repository, line)))]
    })?;
    // What some editors begin a file with.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let all: Value = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let why = format!("{}:{column}: it is no JSON: {error}", place(repository, line));
        vec![
            Problem::new(what(), why)
                .next("jq . .claude/settings.json (comments and a comma at the end are no JSON)"),
        ]
    })?;
    let Value::Object(all) = all else {
        return Err(vec![Problem::new(
            what(),
            format!("{}: it is to be an object {{…}}", place(repository, 1)),
        )]);
    };
    let mut problems = Vec::new();
    let mut wrong = |line: usize, why: String| {
        problems.push(Problem::new(what(), format!("{}: {why}", place(repository, line))));
    };
    let mut settings = Settings::default();
    let object = |key: &str| match all.get(key) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map.clone()),
        Some(_) => Err((line_of_key(text, key), format!("`{key}` is to be an object {{…}}"))),
    };
    match object("extraKnownMarketplaces") {
        Ok(map) => {
            settings.marketplaces.extend(map.into_iter().map(|(name, value)| {
                let line = line_of_key(text, &name);
                (name, (value, line))
            }));
        }
        Err((line, why)) => wrong(line, why),
    }
    match object("enabledPlugins") {
        Ok(map) => {
            for (name, value) in map {
                let line = line_of_key(text, &name);
                match value {
                    Value::Bool(wanted) => drop(settings.plugins.insert(name, (wanted, line))),
                    // Versions that are wanted of it; which one it is, the marketplace's commit says.
                    Value::Array(_) => drop(settings.plugins.insert(name, (true, line))),
                    _ => wrong(line, format!("`{name}` in `enabledPlugins` is to be true or false")),
                }
            }
        }
        Err((line, why)) => wrong(line, why),
    }
    for (name, value) in &all {
        if !SHELL.contains(&name.as_str()) {
            unexpanded(text, name, value, &mut wrong);
        }
    }
    if let Some(Value::Object(env)) = all.get("env") {
        for (name, value) in env {
            if let Value::String(value) = value
                && secrets::is_one(name, value)
                && secrets::find(value).is_empty()
            {
                let why =
                    format!("the value of `{name}` in `env` looks like a secret, which the image would keep");
                wrong(line_of_key(text, name), why);
            }
        }
    }
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// Finds `${NAME}` where it would stay as it is.
fn unexpanded(text: &str, path: &str, value: &Value, wrong: &mut dyn FnMut(usize, String)) {
    match value {
        Value::String(value) => {
            let Some(reference) = reference(value) else { return };
            let line = text.lines().position(|line| line.contains(reference)).map_or(1, |at| at + 1);
            wrong(
                line,
                format!(
                    "`{reference}` in `{path}` stays as it is: nothing expands variables in these settings"
                ),
            );
        }
        Value::Array(values) => values.iter().for_each(|value| unexpanded(text, path, value, wrong)),
        Value::Object(map) => {
            for (name, value) in map {
                if !SHELL.contains(&name.as_str()) {
                    unexpanded(text, &format!("{path}.{name}"), value, wrong);
                }
            }
        }
        _ => {}
    }
}

/// The first `${NAME}` or `${NAME:-…}` of a text.
fn reference(value: &str) -> Option<&str> {
    let start = value.find("${")?;
    let end = start + value[start..].find('}')? + 1;
    let name = value[start + 2..end - 1].split(':').next().unwrap_or_default();
    let fits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    fits.then(|| &value[start..end])
}

/// The line that a key stands in, by its first mention before a colon; where it is written with escapes, the first.
pub(crate) fn line_of_key(text: &str, key: &str) -> usize {
    let quoted = Value::String(key.to_owned()).to_string();
    let mut from = 0;
    while let Some(at) = text[from..].find(&quoted) {
        let (start, end) = (from + at, from + at + quoted.len());
        if text[end..].trim_start().starts_with(':') {
            return 1 + text[..start].matches('\n').count();
        }
        from = end;
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        read("master", text.as_bytes()).err().unwrap_or_default().into_iter().map(|it| it.why).collect()
    }

    #[test]
    fn what_is_wrong_is_named_by_line() {
        for (text, place, word) in [
            ("{\n  \"a\": 1,\n}", ":3:1: ", "no JSON"),
            ("[]", ":1: ", "object"),
            ("{\n\"enabledPlugins\": []}", ":2: ", "`enabledPlugins` is to be an object"),
            ("{\"enabledPlugins\": {\n\"a@b\": \"yes\"}}", ":2: ", "true or false"),
            ("{\"env\": {\n\n\"X\": \"${HOME}/x\"}}", ":3: ", "`${HOME}` in `env.X` stays as it is"),
            ("{\"model\": \"${MODEL:-opus}\"}", ":1: ", "`${MODEL:-opus}`"),
            ("{\"env\": {\n\"MY_API_KEY\": \"d41d8cd98f00b204\"}}", ":2: ", "looks like a secret"),
        ] {
            let all = problems(text);
            assert_eq!(all.len(), 1, "{text}: {all:?}");
            assert!(all[0].starts_with("master: .claude/settings.json") && all[0].contains(place), "{all:?}");
            assert!(all[0].contains(word), "{all:?}");
            assert!(!all[0].contains("d41d8cd9"), "{all:?}");
        }
    }

    #[test]
    fn what_a_shell_reads_is_the_shells() {
        let text = r#"{"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "${CLAUDE_PROJECT_DIR}/x"}]}]},
            "permissions": {"allow": ["Bash(echo ${X})"]}, "apiKeyHelper": "echo ${KEY}", "env": {"A": "$5 {x}"}}"#;
        assert_eq!(problems(text), [""; 0]);
    }

    #[test]
    fn nothing_is_something_too() {
        let settings =
            read("master", b"\xef\xbb\xbf{\"enabledPlugins\": {\"a@b\": false, \"c@b\": [\"^1\"]}}")
                .expect("fits");
        assert_eq!(settings.plugins["a@b"], (false, 1));
        assert!(settings.plugins["c@b"].0);
        assert!(read("master", b"\xff").is_err());
    }

    proptest::proptest! {
        #[test]
        fn whatever_they_hold_it_is_settings_or_problems_with_a_place(
            key in "(env|hooks|enabledPlugins|extraKnownMarketplaces|x)",
            value in "[\\PC\n]{0,40}",
            raw in proptest::collection::vec(proptest::num::u8::ANY, 0..60),
        ) {
            let object = serde_json::json!({ &key: { &value: &value } }).to_string();
            for bytes in [object.into_bytes(), format!("{{\"{key}\": {value}}}").into_bytes(), raw] {
                for problem in read("master", &bytes).err().unwrap_or_default() {
                    assert!(problem.why.starts_with("master: .claude/settings.json:"), "{problem}");
                }
            }
        }
    }
}
