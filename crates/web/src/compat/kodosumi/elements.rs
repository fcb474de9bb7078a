//! Form elements as JSON: `type` and its keys.

use holdpoint_model::{
    AgentDef,
    agent::{FieldKind, FormField},
};
use serde_json::{Value, json};

/// The field that files are attached by, where an agent's form has none of that name.
pub(super) const FILES: &str = "files";

/// The entry form of an agent.
pub(super) fn of_agent(agent: &AgentDef) -> Vec<Value> {
    let mut elements = Vec::new();
    if !agent.description.is_empty() {
        elements.push(markdown(&agent.description));
    }
    elements.push(errors());
    let fields = agent.fields();
    elements.extend(fields.iter().map(of_field));
    if !fields.iter().any(|field| field.name == FILES) {
        elements.push(files());
    }
    elements.push(submit("Start"));
    elements.push(json!({ "type": "cancel", "text": "Cancel" }));
    elements
}

/// One field.
fn of_field(field: &FormField) -> Value {
    let (name, value) = (field.name.as_str(), none_if_empty(&field.value));
    let label = if field.label.is_empty() { name } else { &field.label };
    let (required, placeholder) = (field.required, none_if_empty(&field.placeholder));
    match field.kind {
        FieldKind::Text => json!({
            "type": "text", "name": name, "label": label, "value": value, "required": required,
            "placeholder": placeholder, "size": null, "pattern": null,
        }),
        FieldKind::Area => json!({
            "type": "textarea", "name": name, "label": label, "value": value, "required": required,
            "placeholder": placeholder, "rows": 5, "cols": null, "max_length": null,
        }),
        FieldKind::Number => json!({
            "type": "number", "name": name, "label": label, "value": value, "required": required,
            "placeholder": placeholder, "size": null, "pattern": null, "min_value": null, "max_value": null,
            "step": null,
        }),
        FieldKind::Checkbox => boolean(name, label, matches!(field.value.as_str(), "yes" | "true"), label),
        FieldKind::Select => {
            let choices: Vec<(&str, &str)> =
                field.options.iter().map(|option| (option.as_str(), option.as_str())).collect();
            select(name, label, value, &choices)
        }
    }
}

fn none_if_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

pub(super) fn markdown(text: &str) -> Value {
    json!({ "type": "markdown", "text": text })
}

pub(super) fn errors() -> Value {
    json!({ "type": "errors" })
}

pub(super) fn text(name: &str, label: &str, placeholder: Option<&str>) -> Value {
    json!({
        "type": "text", "name": name, "label": label, "value": null, "required": false,
        "placeholder": placeholder, "size": null, "pattern": null,
    })
}

pub(super) fn area(name: &str, label: &str, value: Option<&str>, required: bool) -> Value {
    json!({
        "type": "textarea", "name": name, "label": label, "value": value, "required": required,
        "placeholder": null, "rows": 5, "cols": null, "max_length": null,
    })
}

pub(super) fn boolean(name: &str, label: &str, value: bool, option: &str) -> Value {
    json!({ "type": "boolean", "name": name, "label": label, "value": value, "option": option })
}

/// `choices`: what is sent, and how it reads.
pub(super) fn select(name: &str, label: &str, value: Option<&str>, choices: &[(&str, &str)]) -> Value {
    let options: Vec<Value> = choices
        .iter()
        .map(|(choice, label)| {
            json!({ "type": "option", "name": choice, "label": label, "value": Some(*choice) == value })
        })
        .collect();
    json!({
        "type": "select", "name": name, "label": label, "value": value, "option": options, "error": null,
    })
}

pub(super) fn files() -> Value {
    json!({
        "type": "file", "name": FILES, "label": "Files", "value": null, "required": false, "multiple": true,
        "directory": false,
    })
}

pub(super) fn submit(text: &str) -> Value {
    json!({ "type": "submit", "text": text })
}

pub(super) fn action(name: &str, value: &str, text: &str) -> Value {
    json!({ "type": "action", "name": name, "value": value, "text": text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(elements: &[Value]) -> Vec<&str> {
        elements.iter().filter_map(|element| element["type"].as_str()).collect()
    }

    #[test]
    fn every_kind_has_its_element() {
        let field = |kind, value: &str| FormField {
            name: "f".into(),
            label: String::new(),
            kind,
            required: true,
            value: value.into(),
            placeholder: String::new(),
            options: vec!["a".into(), "b".into()],
        };
        let agent = AgentDef {
            description: "What it *does*".into(),
            form: vec![
                field(FieldKind::Text, "x"),
                field(FieldKind::Area, ""),
                field(FieldKind::Number, "1"),
                field(FieldKind::Checkbox, "yes"),
                field(FieldKind::Select, "b"),
            ],
            ..AgentDef::default()
        };
        let elements = of_agent(&agent);
        assert_eq!(
            names(&elements),
            [
                "markdown", "errors", "text", "textarea", "number", "boolean", "select", "file", "submit",
                "cancel"
            ]
        );
        assert_eq!(elements[2]["label"], "f", "the name where there is no label");
        assert_eq!(elements[3]["value"], Value::Null);
        assert_eq!(elements[5]["value"], true);
        assert_eq!(elements[6]["option"][1]["value"], true);
    }
}
