//! The form as clients of Kodosumi's API know it.

use serde_json::{Value, json};

use super::{Bound, FieldKind, FormField, is_yes};

/// What a form without a button of its own ends with.
const START: &str = "Start";

/// The elements, each an object with `type` and the keys of that type; every key is there, `null` where
/// nothing was said. `clean` makes HTML harmless. A form without a button gets one.
#[must_use]
pub fn elements(fields: &[FormField], clean: &dyn Fn(&str) -> String) -> Vec<Value> {
    let mut elements: Vec<Value> = fields.iter().map(|field| element(field, clean)).collect();
    if !fields.iter().any(|field| matches!(field.kind, FieldKind::Submit | FieldKind::Action)) {
        elements.push(json!({ "type": "submit", "text": START }));
    }
    elements
}

fn element(field: &FormField, clean: &dyn Fn(&str) -> String) -> Value {
    let text = |default: &str| if field.text.is_empty() { default.to_owned() } else { field.text.clone() };
    match field.kind {
        FieldKind::Text => {
            with_keys(typed(field, "text"), json!({ "size": field.size, "pattern": field.pattern }))
        }
        FieldKind::Password => with_keys(
            typed(field, "password"),
            json!({
                "size": field.size,
                "pattern": field.pattern,
                "min_length": field.min_length,
                "max_length": field.max_length,
                "show_toggle": true,
            }),
        ),
        FieldKind::Number => with_keys(
            typed(field, "number"),
            json!({
                "size": field.size,
                "pattern": null,
                "min_value": bound(field.min.as_ref()),
                "max_value": bound(field.max.as_ref()),
                "step": field.step.map(number),
            }),
        ),
        FieldKind::Area => with_keys(
            typed(field, "textarea"),
            json!({ "rows": field.rows, "cols": field.cols, "max_length": field.max_length }),
        ),
        FieldKind::Date => with_keys(
            typed(field, "date"),
            json!({ "min_date": bound(field.min.as_ref()), "max_date": bound(field.max.as_ref()) }),
        ),
        FieldKind::Time => with_keys(
            typed(field, "time"),
            json!({
                "min_time": bound(field.min.as_ref()),
                "max_time": bound(field.max.as_ref()),
                "step": field.step.map(number),
            }),
        ),
        FieldKind::DateTime => with_keys(
            typed(field, "datetime-local"),
            json!({
                "min_datetime": bound(field.min.as_ref()),
                "max_datetime": bound(field.max.as_ref()),
                "step": field.step.map(number),
            }),
        ),
        FieldKind::Checkbox => json!({
            "type": "boolean",
            "name": field.name,
            "label": field.title(),
            "value": is_yes(&field.value).unwrap_or_default(),
            "option": or_null(&field.text),
        }),
        FieldKind::Select => select(field),
        FieldKind::File => json!({
            "type": "file",
            "name": field.name,
            "label": field.title(),
            "value": null,
            "required": field.required,
            "multiple": field.multiple,
            "directory": field.directory,
        }),
        FieldKind::Markdown => json!({ "type": "markdown", "text": field.text }),
        FieldKind::Html => json!({ "type": "html", "text": clean(&field.text) }),
        FieldKind::Break => json!({ "type": "break", "text": "<div class=\"space\"></div>" }),
        FieldKind::Hr => json!({ "type": "hr", "text": "<hr class=\"medium\"/>" }),
        FieldKind::Errors => json!({ "type": "errors" }),
        FieldKind::Submit => json!({ "type": "submit", "text": text(START) }),
        FieldKind::Cancel => json!({ "type": "cancel", "text": text("Cancel") }),
        FieldKind::Action => json!({
            "type": "action",
            "name": field.name,
            "value": field.value,
            "text": text(&field.value),
        }),
    }
}

fn typed(field: &FormField, kind: &str) -> Value {
    json!({
        "type": kind,
        "name": field.name,
        "label": field.title(),
        "value": or_null(&field.value),
        "required": field.required,
        "placeholder": or_null(&field.placeholder),
    })
}

fn select(field: &FormField) -> Value {
    let options: Vec<Value> = field
        .options
        .iter()
        .map(|choice| {
            json!({
                "type": "option",
                "name": choice.name(),
                "label": choice.label(),
                "value": choice.name() == field.value,
            })
        })
        .collect();
    json!({
        "type": "select",
        "name": field.name,
        "label": field.title(),
        "value": or_null(&field.value),
        "option": options,
        "error": null,
    })
}

fn with_keys(mut element: Value, keys: Value) -> Value {
    if let (Value::Object(element), Value::Object(keys)) = (&mut element, keys) {
        element.extend(keys);
    }
    element
}

fn or_null(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

fn bound(bound: Option<&Bound>) -> Value {
    match bound {
        None => Value::Null,
        Some(Bound::Number(value)) => number(*value),
        Some(Bound::Text(text)) => json!(text),
    }
}

/// Whole numbers without a point, as clients know them.
fn number(value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "whole and far inside the range of i64")]
    if value.fract() == 0.0 && value.abs() < 9e15 { json!(value as i64) } else { json!(value) }
}
