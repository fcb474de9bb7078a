//! The first message, made of what was filled in.

use super::{FieldKind, FormField, Inputs, SECRETS_FOLDER};

/// The first message: `template` with `{{field}}` for the fields; without a template the only field, or all
/// fields with their labels. Empty where nothing was filled in.
///
/// A password is not in it: its place is taken by the path of the file that holds it.
#[must_use]
pub fn message(fields: &[FormField], template: &str, inputs: &Inputs) -> String {
    let value_of = |field: &FormField| match field.kind {
        FieldKind::Password => format!("~/{SECRETS_FOLDER}/{}", field.name),
        _ => inputs.get(&field.name).map_or("", |value| value.trim()).to_owned(),
    };
    if !template.is_empty() {
        return fill(template, |name| {
            fields.iter().find(|field| field.kind.has_value() && field.name == name).map(value_of)
        });
    }
    let mut told: Vec<&FormField> = Vec::new();
    for field in fields.iter().filter(|field| field.kind.has_value() && field.kind != FieldKind::Password) {
        // Several buttons of one name are one field.
        if !told.iter().any(|other| other.name == field.name) {
            told.push(field);
        }
    }
    if let [only] = told.as_slice() {
        return value_of(only);
    }
    let filled = told.into_iter().filter(|field| !value_of(field).is_empty());
    let lines: Vec<String> = filled.map(|field| format!("{}: {}", field.title(), value_of(field))).collect();
    lines.join("\n")
}

/// Puts values in place of `{{name}}`, in one pass: what a person wrote is not looked at again.
fn fill(template: &str, value_of: impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        match after.split_once("}}").and_then(|(name, tail)| Some((value_of(name)?, tail))) {
            Some((value, tail)) => {
                filled.push_str(&value);
                rest = tail;
            }
            None => {
                filled.push_str("{{");
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}
