//! An error in the configuration: where it is, what is there, and what is expected.

use std::{ops::Range, path::Path};

use crate::failure::{Exit, Failure};

/// Keys that people write into the file because other tools want them there.
const SECRET_KEYS: [&str; 6] = ["api_key", "apikey", "key", "token", "auth_token", "anthropic_api_key"];

/// One error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong.
    pub message: String,
    /// Written beside the caret.
    pub label: String,
    /// What is expected, or what to do.
    pub help: String,
    /// Which bytes of the file.
    pub span: Range<usize>,
}

impl Diagnostic {
    /// An error at these bytes.
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { message: message.into(), label: String::new(), help: String::new(), span }
    }

    /// Written beside the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// What is expected, or what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// Out of what the parser says.
    #[must_use]
    pub fn of_parser(error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        let message = error.message();
        if let Some((key, expected)) = unknown(message, "unknown field `") {
            if SECRET_KEYS.contains(&key.to_lowercase().as_str()) {
                return Self::new(span, format!("`{key}` does not belong in a file"))
                    .label("remove this")
                    .help("keys are only read from the environment: export ANTHROPIC_API_KEY=…");
            }
            return Self::new(span, format!("there is no key `{key}` here"))
                .label(did_you_mean(&key, &expected))
                .help(one_of("keys", &expected));
        }
        if let Some((variant, expected)) = unknown(message, "unknown variant `") {
            return Self::new(span, format!("`{variant}` is not one of the choices"))
                .label(did_you_mean(&variant, &expected))
                .help(one_of("choices", &expected));
        }
        if let Some((found, expected)) =
            message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
        {
            if expected == "struct FromEnv" {
                return Self::new(span, "a secret does not belong in a file")
                    .label("expected { env = \"NAME\" }, and the secret in the environment under that name");
            }
            return Self::new(span, format!("{} does not fit here", in_words(found)))
                .label(format!("expected {}", in_words(expected)));
        }
        if let Some((found, expected)) =
            message.strip_prefix("invalid value: ").and_then(|rest| rest.split_once(", expected "))
        {
            return Self::new(span, format!("{} is out of range", in_words(found)))
                .label(format!("expected {}", in_words(expected)));
        }
        Self::new(span, message.lines().next().unwrap_or("this is not TOML"))
    }

    /// As people read it, with the line of `text` that it is about.
    #[must_use]
    pub fn render(&self, file: &Path, text: &str) -> String {
        let start = floor(text, self.span.start);
        let end = floor(text, self.span.end.max(start));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let number = text[..line_start].matches('\n').count() + 1;
        let before = &text[line_start..start];
        let width = text[start..end.min(line_end)].chars().count().max(1);
        let excerpt = text[line_start..line_end].trim_end_matches('\r');
        let gutter = " ".repeat(number.to_string().len());
        // A tab before the caret stays a tab, so that the caret stands below what it means.
        let indent: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let mut out = format!(
            "{}:{number}:{}: {}\n{gutter} |\n{number} | {excerpt}\n{gutter} | {indent}{}",
            file.display(),
            before.chars().count() + 1,
            self.message,
            "^".repeat(width),
        );
        if !self.label.is_empty() {
            out.push(' ');
            out.push_str(&self.label);
        }
        if !self.help.is_empty() {
            out.push_str(&format!("\n{gutter} = {}", self.help));
        }
        out
    }
}

/// All errors of a file, as one failure.
#[must_use]
pub fn failure(file: &Path, text: &str, diagnostics: &[Diagnostic]) -> Failure {
    let errors: Vec<String> = diagnostics.iter().map(|diagnostic| diagnostic.render(file, text)).collect();
    Failure::new("the configuration is wrong")
        .exit(Exit::Config)
        .why(errors.join("\n\n"))
        .next(format!("edit {}, then: holdpoint config check", file.display()))
}

/// The name in `message` and those that were expected, out of serde's sentence.
fn unknown(message: &str, start: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix(start)?;
    let (name, rest) = rest.split_once('`')?;
    // Every second piece between backticks is a name.
    let expected = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((name.to_owned(), expected))
}

/// "did you mean", if something is near enough.
#[must_use]
pub fn did_you_mean(name: &str, known: &[String]) -> String {
    nearest(name, known.iter().map(String::as_str))
        .map(|near| format!("did you mean `{near}`?"))
        .unwrap_or_default()
}

/// The known name that `name` was most likely meant to be.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&name.to_lowercase(), known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

fn one_of(what: &str, known: &[String]) -> String {
    if known.is_empty() {
        return String::new();
    }
    format!("{what} here: {}", known.join(", "))
}

/// serde's names of types, for people.
fn in_words(phrase: &str) -> String {
    match phrase {
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" | "u64" | "usize" => "a whole number, not negative".into(),
        "f64" => "a number".into(),
        "a sequence" => "a list, as in [\"a\", \"b\"]".into(),
        "a string" | "string" => "a text in quotes".into(),
        "path string" => "a path in quotes".into(),
        "a boolean" => "true or false".into(),
        "map" => "a table".into(),
        _ => match phrase.strip_prefix("struct ") {
            Some(_) => "a table".into(),
            None => phrase.replace("string \"", "the text \"").replace("integer `", "the number `"),
        },
    }
}

/// The nearest position at or before `at` where a character begins.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
