//! What is wrong with what was filled in.

use std::collections::BTreeMap;

use super::{
    FieldErrors, FieldKind, FormField, Inputs, is_yes,
    scalar::{bound, is_on_step, scalar, step, whole},
};
use crate::hold::MAX_TEXT_BYTES;

/// What somebody filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// What was typed and chosen.
    pub inputs: Inputs,
    /// The names of the files, by field; under the empty name those of no field.
    pub files: BTreeMap<String, Vec<String>>,
}

/// What fits the form.
#[derive(Clone, Default, PartialEq)]
pub struct Checked {
    /// What was filled in, but for passwords. This goes into the log.
    pub inputs: Inputs,
    /// The passwords. They go neither into the log, nor into a message, nor into a page: a session finds
    /// each in a file.
    pub secrets: Inputs,
}

impl std::fmt::Debug for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checked").field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

/// Holds what was filled in against the form.
///
/// # Errors
/// What is wrong, for every field with which something is; never empty. No value of a password is in it.
pub fn validate(fields: &[FormField], given: &Given) -> Result<Checked, FieldErrors> {
    let mut errors = FieldErrors::new();
    let mut checked = Checked { inputs: given.inputs.clone(), secrets: Inputs::new() };
    for field in fields.iter().filter(|field| field.kind.has_value()) {
        let value = given.inputs.get(&field.name).map_or("", String::as_str);
        let files = given.files.get(&field.name).map_or(&[][..], Vec::as_slice);
        let outcome = match field.kind {
            FieldKind::Action => of_action(fields, &field.name, value),
            FieldKind::File => of_files(field, value, files),
            _ => of_value(field, value),
        };
        if let Err(what) = outcome {
            errors.insert(field.name.clone(), format!("“{}” {what}", field.title()));
        }
        if field.kind == FieldKind::Password
            && let Some(secret) = checked.inputs.remove(&field.name).filter(|secret| !secret.is_empty())
        {
            checked.secrets.insert(field.name.clone(), secret);
        }
    }
    unknown(fields, given, &mut errors);
    if errors.is_empty() { Ok(checked) } else { Err(errors) }
}

/// Names that the form does not have.
fn unknown(fields: &[FormField], given: &Given, errors: &mut FieldErrors) {
    let known: Vec<&FormField> = fields.iter().filter(|field| field.kind.has_value()).collect();
    let list = |of: &dyn Fn(&FormField) -> bool| {
        let names: Vec<&str> =
            known.iter().filter(|field| of(field)).map(|field| field.name.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    for name in given.inputs.keys() {
        if !known.iter().any(|field| &field.name == name) {
            let has = list(&|_| true);
            errors.insert(name.clone(), format!("there is no field `{name}`; this agent has: {has}"));
        }
    }
    let is_file = |field: &FormField| field.kind == FieldKind::File;
    for (name, files) in &given.files {
        let goes = name.is_empty() || known.iter().any(|field| is_file(field) && &field.name == name);
        if !goes && !files.is_empty() {
            let has = list(&is_file);
            errors.insert(name.clone(), format!("`{name}` is no field for files; this agent has: {has}"));
        }
    }
}

fn of_value(field: &FormField, value: &str) -> Result<(), String> {
    // Spaces at the ends of a password may be meant.
    let value = if field.kind == FieldKind::Password { value } else { value.trim() };
    if value.is_empty() {
        return if field.required { Err(missing(field.kind).to_owned()) } else { Ok(()) };
    }
    if value.len() > MAX_TEXT_BYTES {
        return Err(format!("is longer than {} KiB; attach it as a file instead", MAX_TEXT_BYTES / 1024));
    }
    match field.kind {
        FieldKind::Text | FieldKind::Password | FieldKind::Area => of_text(field, value),
        FieldKind::Number | FieldKind::Date | FieldKind::Time | FieldKind::DateTime => {
            of_scalar(field, value)
        }
        FieldKind::Checkbox => match is_yes(value) {
            Some(false) if field.required => Err(missing(field.kind).to_owned()),
            Some(_) => Ok(()),
            None => Err("must be yes or no".into()),
        },
        FieldKind::Select if !field.options.iter().any(|choice| choice.name() == value) => {
            let names: Vec<&str> = field.options.iter().map(super::Choice::name).collect();
            Err(format!("must be one of: {}", names.join(", ")))
        }
        _ => Ok(()),
    }
}

fn missing(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Checkbox => "must be checked",
        FieldKind::Select => "must be chosen",
        FieldKind::File => "needs a file",
        _ => "must be filled in",
    }
}

fn of_text(field: &FormField, value: &str) -> Result<(), String> {
    // As browsers count, so that what one lets through is not refused here.
    let length = value.encode_utf16().count();
    let characters = |number: u32| if number == 1 { "character" } else { "characters" };
    if let Some(least) = field.min_length
        && length < least as usize
    {
        return Err(format!("must have at least {least} {}", characters(least)));
    }
    if let Some(most) = field.max_length
        && length > most as usize
    {
        return Err(format!("may have at most {most} {}, and has {length}", characters(most)));
    }
    if let Some(pattern) = &field.pattern {
        let fits =
            whole(pattern).map_err(|why| format!("cannot be checked: its pattern is broken: {why}"))?;
        if !fits.is_match(value) {
            let hint = if field.placeholder.is_empty() { pattern } else { &field.placeholder };
            return Err(format!("must look like {hint}"));
        }
    }
    Ok(())
}

fn of_scalar(field: &FormField, value: &str) -> Result<(), String> {
    let kind = field.kind;
    let Some(point) = scalar(kind, value) else {
        return Err(match kind {
            FieldKind::Number => "must be a number".into(),
            FieldKind::Date => "must be a date, as in 2026-01-31".into(),
            FieldKind::Time => "must be a time, as in 08:30".into(),
            _ => "must be a date and a time, as in 2026-01-31T08:30".into(),
        });
    };
    let (least, greatest) = match kind {
        FieldKind::Number => ("at least", "at most"),
        _ => ("no earlier than", "no later than"),
    };
    if let Some(min) = &field.min
        && bound(kind, min).is_some_and(|min| point < min)
    {
        return Err(format!("must be {least} {min}"));
    }
    if let Some(max) = &field.max
        && bound(kind, max).is_some_and(|max| point > max)
    {
        return Err(format!("must be {greatest} {max}"));
    }
    let base = field.min.as_ref().and_then(|min| bound(kind, min)).unwrap_or_default();
    match field.step {
        Some(size) if size > 0.0 && !is_on_step(point, base, step(kind, size)) => {
            let unit = if kind == FieldKind::Number { "" } else { " seconds" };
            let from = field.min.as_ref().map_or_else(String::new, |min| format!(" from {min}"));
            Err(format!("must be in steps of {size}{unit}{from}"))
        }
        _ => Ok(()),
    }
}

fn of_files(field: &FormField, value: &str, files: &[String]) -> Result<(), String> {
    if !value.trim().is_empty() {
        return Err("takes files, not text; upload them and name the uploads".into());
    }
    if files.is_empty() {
        return if field.required { Err(missing(field.kind).to_owned()) } else { Ok(()) };
    }
    if files.len() > 1 && !field.takes_many() {
        return Err(format!("takes one file, and {} were given", files.len()));
    }
    Ok(())
}

/// Buttons of one name are one field: the one that was pressed gives its value, and none need be.
fn of_action(fields: &[FormField], name: &str, value: &str) -> Result<(), String> {
    let values: Vec<&str> = fields
        .iter()
        .filter(|field| field.kind == FieldKind::Action && field.name == name)
        .map(|field| field.value.as_str())
        .collect();
    if value.is_empty() || values.contains(&value) {
        Ok(())
    } else {
        Err(format!("must be one of: {}", values.join(", ")))
    }
}

impl std::fmt::Display for super::Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}
