//! What is wrong with a form's definition.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    FieldKind, FormField, GLOBAL, Given, Inputs, UPLOAD_PREFIX, is_yes,
    scalar::{bound, whole},
    validate::validate,
};

/// The longest name of a field, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// Something that is wrong with a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which element, counted from 0.
    pub field: usize,
    /// At which of its keys.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: String,
}

/// Everything that is wrong with a form, from its top to its end.
#[must_use]
pub fn check(fields: &[FormField]) -> Vec<Fault> {
    let mut seen: BTreeMap<&str, bool> = BTreeMap::new();
    let mut faults = Vec::new();
    for (i, field) in fields.iter().enumerate() {
        let mut found = Found { field: i, faults: &mut faults };
        found.foreign_keys(field);
        if !field.kind.has_value() {
            continue;
        }
        found.name(field);
        // Buttons share a name: the one that is pressed gives it its value.
        let is_action = field.kind == FieldKind::Action;
        let earlier = seen.insert(&field.name, is_action);
        if earlier.is_some_and(|earlier| !(earlier && is_action)) && !field.name.is_empty() {
            found.add(
                "name",
                format!("two fields are called `{}`", field.name),
                "expected a name of its own",
            );
        }
        found.bounds(field);
        found.choices(field);
        found.pattern(field);
        found.default(field);
    }
    faults
}

struct Found<'a> {
    field: usize,
    faults: &'a mut Vec<Fault>,
}

impl Found<'_> {
    fn add(&mut self, key: &'static str, message: impl Into<String>, hint: impl Into<String>) {
        self.faults.push(Fault { field: self.field, key, message: message.into(), hint: hint.into() });
    }

    /// Keys that say nothing about an element of this kind.
    fn foreign_keys(&mut self, field: &FormField) {
        use FieldKind as K;
        let kind = field.kind;
        let typed =
            matches!(kind, K::Text | K::Password | K::Number | K::Area | K::Date | K::Time | K::DateTime);
        let has_text =
            matches!(kind, K::Markdown | K::Html | K::Submit | K::Cancel | K::Action | K::Checkbox);
        let answered = kind.has_value() && kind != K::Action;
        let keys = [
            ("name", !field.name.is_empty(), kind.has_value()),
            ("label", !field.label.is_empty(), answered),
            ("required", field.required, answered),
            ("value", !field.value.is_empty(), kind.has_value() && kind != K::File),
            ("placeholder", !field.placeholder.is_empty(), typed),
            ("options", !field.options.is_empty(), kind == K::Select),
            ("text", !field.text.is_empty(), has_text),
            ("pattern", field.pattern.is_some(), matches!(kind, K::Text | K::Password)),
            ("min_length", field.min_length.is_some(), matches!(kind, K::Text | K::Password | K::Area)),
            ("max_length", field.max_length.is_some(), matches!(kind, K::Text | K::Password | K::Area)),
            ("min", field.min.is_some(), kind.has_range()),
            ("max", field.max.is_some(), kind.has_range()),
            ("step", field.step.is_some(), kind.has_range() && kind != K::Date),
            ("size", field.size.is_some(), matches!(kind, K::Text | K::Password | K::Number)),
            ("rows", field.rows.is_some(), kind == K::Area),
            ("cols", field.cols.is_some(), kind == K::Area),
            ("multiple", field.multiple, kind == K::File),
            ("directory", field.directory, kind == K::File),
        ];
        for (key, is_set, has_meaning) in keys {
            if is_set && !has_meaning {
                let message = format!("`{key}` has no meaning in a form's `{}`", kind.as_str());
                self.add(key, message, "leave it out, or change `type`");
            }
        }
        if matches!(kind, K::Markdown | K::Html) && field.text.trim().is_empty() {
            self.add("type", "there is nothing to read", "add text = \"…\" to this element");
        }
    }

    fn name(&mut self, field: &FormField) {
        let name = field.name.as_str();
        let fits = |c: char| !c.is_control() && !matches!(c, '{' | '}');
        let is_file_name = |name: &str| name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
        if name.trim().is_empty() {
            self.add("name", "a field needs a name", "the key in `inputs`");
        } else if name.len() > MAX_NAME_BYTES {
            self.add("name", "this name is too long", format!("expected up to {MAX_NAME_BYTES} bytes"));
        } else if name == GLOBAL {
            self.add("name", format!("`{GLOBAL}` names errors of the whole form"), "expected another name");
        } else if !name.chars().all(fits) || name.starts_with(UPLOAD_PREFIX) {
            self.add(
                "name",
                format!("{name:?} cannot be the name of a field"),
                format!("expected no braces, and no `{UPLOAD_PREFIX}` at its start"),
            );
        } else if field.kind == FieldKind::Password && !is_file_name(name) {
            let hint = "expected letters, digits, - and _: the session finds it in a file of this name";
            self.add("name", format!("{name:?} cannot be the name of a password"), hint);
        }
    }

    fn bounds(&mut self, field: &FormField) {
        if let (Some(least), Some(most)) = (field.min_length, field.max_length)
            && least > most
        {
            self.add(
                "min_length",
                format!("nothing has at least {least} and at most {most} characters"),
                "expected no more than max_length",
            );
        }
        let shape = match field.kind {
            FieldKind::Number => "expected a number",
            FieldKind::Date => "expected a date, as in \"2026-01-31\"",
            FieldKind::Time => "expected a time, as in \"08:30\"",
            _ => "expected a date and a time, as in \"2026-01-31T08:30\"",
        };
        let ends = [("min", &field.min), ("max", &field.max)].map(|(key, end)| {
            let end = end.as_ref()?;
            let point = bound(field.kind, end);
            if point.is_none() && field.kind.has_range() {
                self.add(key, format!("`{end}` bounds no {}", field.kind.as_str()), shape);
            }
            Some((point?, end))
        });
        if let [Some((least, min)), Some((most, max))] = ends
            && least > most
        {
            self.add(
                "min",
                format!("nothing is at least {min} and at most {max}"),
                "expected no more than max",
            );
        }
        if field.step.is_some_and(|step| !step.is_finite() || step <= 0.0) {
            self.add("step", "a step must be more than nothing", "expected a number above 0");
        }
        for (key, size) in [("size", field.size), ("rows", field.rows), ("cols", field.cols)] {
            if size == Some(0) {
                self.add(key, "with no width or height nothing can be seen", "expected 1 or more");
            }
        }
    }

    fn choices(&mut self, field: &FormField) {
        if field.kind != FieldKind::Select {
            return;
        }
        if field.options.is_empty() {
            self.add(
                "type",
                "a select needs something to select",
                "add options = [\"…\", \"…\"] to this field",
            );
        }
        let mut seen = BTreeSet::new();
        for choice in &field.options {
            if choice.name().is_empty() {
                self.add(
                    "options",
                    "an option needs a name",
                    "leave `required` out, and nothing need be chosen",
                );
            } else if choice.name() != choice.name().trim() {
                self.add(
                    "options",
                    format!("{:?} begins or ends with a space", choice.name()),
                    "expected none there",
                );
            } else if !seen.insert(choice.name()) {
                self.add(
                    "options",
                    format!("two options are called `{}`", choice.name()),
                    "expected a name of its own",
                );
            }
        }
    }

    fn pattern(&mut self, field: &FormField) {
        if let Some(Err(why)) = field.pattern.as_deref().map(whole) {
            self.add("pattern", format!("this is no regular expression: {why}"), "expected as in \"[a-z]+\"");
        }
    }

    fn default(&mut self, field: &FormField) {
        if field.kind == FieldKind::Action {
            if field.value.is_empty() {
                self.add("name", "an action needs a value", "add value = \"…\", which goes into `inputs`");
            }
            return;
        }
        if field.value.is_empty() || field.kind == FieldKind::File {
            return;
        }
        if field.kind == FieldKind::Password {
            // It would be in the configuration, in the log of every conversation, and in the page.
            self.add("value", "a password cannot be given beforehand", "leave it out");
            return;
        }
        if field.kind == FieldKind::Checkbox && is_yes(&field.value).is_some() {
            return;
        }
        let given =
            Given { inputs: Inputs::from([(field.name.clone(), field.value.clone())]), ..Given::default() };
        if let Err(errors) = validate(std::slice::from_ref(field), &given) {
            let why = errors.into_values().collect::<Vec<_>>().join("; ");
            self.add("value", format!("it starts with what it refuses: {why}"), "expected a value that fits");
        }
    }
}
