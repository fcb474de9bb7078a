//! Entry forms: what a person fills in to start a conversation.
//!
//! * here — the definition, as it is written in `holdpoint.toml` and kept in the log;
//! * `check` — what is wrong with a definition;
//! * `validate` — what is wrong with what was filled in;
//! * `message` — the first message that is made of it;
//! * `elements` — the form as clients of Kodosumi's API know it.
//!
//! A password is never kept: see [`Checked::secrets`].

mod check;
mod elements;
mod message;
mod scalar;
mod validate;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use check::{Fault, check};
pub use elements::elements;
pub use message::message;
pub use validate::{Checked, Given, validate};

/// Values by the name of their field.
pub type Inputs = BTreeMap<String, String>;

/// What is wrong, by the name of the field, each a clause that begins with the field's label; [`GLOBAL`]
/// where it is no single field's fault.
pub type FieldErrors = BTreeMap<String, String>;

/// The key of errors that belong to no single field.
pub const GLOBAL: &str = "_global_";

/// In the panel's pages, what stands before the name of a field where uploads for it are named.
pub const UPLOAD_PREFIX: &str = "upload:";

/// Where a session finds its passwords: a folder in its HOME, with one file for each, named like the field.
pub const SECRETS_FOLDER: &str = ".holdpoint";

/// One element of an entry form: a field, a button, or something to read. Which keys have a meaning
/// depends on `type`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FormField {
    /// The key in `inputs`.
    pub name: String,
    /// Shown beside it; the name where absent.
    pub label: String,
    /// What kind of element.
    #[serde(rename = "type")]
    pub kind: FieldKind,
    /// Whether it must be filled in; of a checkbox, whether it must be checked.
    pub required: bool,
    /// What it starts with. What an `action` puts into `inputs`.
    pub value: String,
    /// Shown while empty.
    pub placeholder: String,
    /// What a select offers.
    pub options: Vec<Choice>,
    /// What there is to read: Markdown, HTML, the words on a button or beside a checkbox.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// A regular expression that the whole text must match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The fewest characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_length: Option<u32>,
    /// The most characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// The least number, or the earliest date (`"2026-01-31"`), time (`"08:00"`), date and time
    /// (`"2026-01-31T08:00"`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Bound>,
    /// The greatest number, or the latest date, time, date and time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Bound>,
    /// A number is a multiple of this, counted from `min`; of times, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
    /// How wide it is, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u16>,
    /// How high it is, in lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u16>,
    /// How wide it is, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cols: Option<u16>,
    /// Whether there may be more than one file.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub multiple: bool,
    /// Whether a whole folder is asked for, with all that is below it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub directory: bool,
}

/// What an element of a form is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// One line.
    #[default]
    Text,
    /// One line that is not shown and not kept; the session finds it in a file.
    Password,
    /// Several lines.
    #[serde(alias = "textarea")]
    Area,
    /// A number.
    Number,
    /// A day, `2026-01-31`.
    Date,
    /// A time of day, `08:00` or `08:00:30`.
    Time,
    /// A day and a time without a zone, `2026-01-31T08:00`.
    #[serde(rename = "datetime-local", alias = "datetime")]
    DateTime,
    /// Yes or no.
    #[serde(alias = "boolean")]
    Checkbox,
    /// One of `options`.
    Select,
    /// A file, several, or a folder.
    File,
    /// Something to read, in Markdown.
    Markdown,
    /// Something to read, in HTML; what could load or run something is left out.
    Html,
    /// Some space.
    Break,
    /// A rule.
    Hr,
    /// Where it is said what is wrong; on top where there is none.
    Errors,
    /// The button that starts.
    Submit,
    /// The button that leads back and starts nothing.
    Cancel,
    /// A button that starts, and whose `value` goes into `inputs` under its name.
    Action,
}

/// What a select offers: a word, or one with a label of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a word, or { name = \"…\", label = \"…\" }")]
pub enum Choice {
    /// What goes into `inputs`, and is shown.
    Name(String),
    /// What goes into `inputs`, and what is shown for it.
    Labelled(LabelledChoice),
}

/// What a select offers, with a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelledChoice {
    /// What goes into `inputs`.
    pub name: String,
    /// What is shown.
    pub label: String,
}

/// The end of a range: a number, or a date or time as text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number, or a date or time in quotes")]
pub enum Bound {
    /// Of numbers.
    Number(f64),
    /// Of dates and times.
    Text(String),
}

impl FieldKind {
    /// Whether its value goes into `inputs`; the others have no name.
    #[must_use]
    pub fn has_value(self) -> bool {
        !matches!(
            self,
            Self::Markdown | Self::Html | Self::Break | Self::Hr | Self::Errors | Self::Submit | Self::Cancel
        )
    }

    /// Whether it may be bounded by `min` and `max`.
    #[must_use]
    pub fn has_range(self) -> bool {
        matches!(self, Self::Number | Self::Date | Self::Time | Self::DateTime)
    }

    /// Its name in `holdpoint.toml`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Password => "password",
            Self::Area => "area",
            Self::Number => "number",
            Self::Date => "date",
            Self::Time => "time",
            Self::DateTime => "datetime-local",
            Self::Checkbox => "checkbox",
            Self::Select => "select",
            Self::File => "file",
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Break => "break",
            Self::Hr => "hr",
            Self::Errors => "errors",
            Self::Submit => "submit",
            Self::Cancel => "cancel",
            Self::Action => "action",
        }
    }
}

impl FormField {
    /// What it is called in front of people.
    #[must_use]
    pub fn title(&self) -> &str {
        if self.label.is_empty() { &self.name } else { &self.label }
    }

    /// Whether it may have more than one file.
    #[must_use]
    pub fn takes_many(&self) -> bool {
        self.multiple || self.directory
    }
}

impl Choice {
    /// What goes into `inputs`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Labelled(choice) => &choice.name,
        }
    }

    /// What is shown.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Labelled(choice) => &choice.label,
        }
    }
}

impl From<&str> for Choice {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

/// Whether the value of a checkbox says yes; None where it says neither.
#[must_use]
pub fn is_yes(value: &str) -> Option<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" | "1" => Some(true),
        "" | "no" | "off" | "false" | "0" => Some(false),
        _ => None,
    }
}
