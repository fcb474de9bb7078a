//! Form elements as JSON: `type` and its keys.

use holdpoint_model::{
    AgentDef,
    form::{self, FieldKind},
};
use serde_json::{Value, json};

use crate::markdown::clean_html;

/// The field that files are attached by, where an agent's form has none of that name.
pub(super) const FILES: &str = "files";

/// The entry form of an agent.
pub(super) fn of_agent(agent: &AgentDef) -> Vec<Value> {
    let fields = agent.fields();
    let has = |kind| fields.iter().any(|field| field.kind == kind);
    let mut elements = Vec::new();
    if !agent.description.is_empty() {
        elements.push(markdown(&agent.description));
    }
    if !has(FieldKind::Errors) {
        elements.push(errors());
    }
    elements.extend(form::elements(&fields, &clean_html));
    if !has(FieldKind::File) && !fields.iter().any(|field| field.name == FILES) {
        let is_button =
            |element: &Value| matches!(element["type"].as_str(), Some("submit" | "action" | "cancel"));
        let buttons = elements.iter().position(is_button).unwrap_or(elements.len());
        elements.insert(buttons, files());
    }
    if !has(FieldKind::Cancel) {
        elements.push(json!({ "type": "cancel", "text": "Cancel" }));
    }
    elements
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

    fn types(agent: &AgentDef) -> Vec<String> {
        let elements = of_agent(agent);
        elements.iter().filter_map(|element| element["type"].as_str().map(str::to_owned)).collect()
    }

    #[test]
    fn files_come_before_the_buttons_and_what_a_form_says_itself_is_not_said_twice() {
        let agent = |form: &str| -> AgentDef {
            serde_json::from_str(&format!(r#"{{"description": "What it *does*", "form": {form}}}"#))
                .expect("an agent")
        };
        let short = agent(r#"[{"name": "a"}]"#);
        assert_eq!(types(&short), ["markdown", "errors", "text", "file", "submit", "cancel"]);
        let own = agent(
            r#"[{"type": "errors"}, {"name": "f", "type": "file"}, {"type": "cancel"}, {"type": "submit", "text": "Go"}]"#,
        );
        assert_eq!(types(&own), ["markdown", "errors", "file", "cancel", "submit"]);
    }
}
