//! The variable parts of addresses: what each stands for.

use serde_json::{Value, json};

/// The parameters of an address as the router has it, in order, and the address as the document has it.
pub(super) fn of(path: &str) -> (String, Vec<Value>) {
    let mut parameters = Vec::new();
    let parts: Vec<String> = path
        .split('/')
        .map(|part| {
            let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
                return part.to_owned();
            };
            let name = name.trim_start_matches('*');
            let (text, schema) = meaning(path, name);
            parameters.push(
                json!({ "in": "path", "name": name, "required": true, "description": text, "schema": schema }),
            );
            format!("{{{name}}}")
        })
        .collect();
    (parts.join("/"), parameters)
}

fn meaning(path: &str, name: &str) -> (&'static str, Value) {
    let uuid = || json!({ "type": "string", "format": "uuid" });
    match name {
        "id" if path.starts_with("/v1/executions/") => ("The conversation's id.", uuid()),
        "id" if path.starts_with("/v1/holds/") => ("The hold's id.", uuid()),
        "id" if path.starts_with("/v1/uploads/") => ("The upload's id.", uuid()),
        "id" if path.starts_with("/v1/tokens/") => ("The token's id; not the token.", uuid()),
        "id" => (
            "The user's id, or `me` for whoever asks.",
            json!({ "anyOf": [{ "const": "me" }, { "type": "string", "format": "uuid" }] }),
        ),
        "user" => ("The id of the user with whom it is shared.", uuid()),
        "session" => ("The id of the session.", uuid()),
        "number" => {
            ("The release's number.", json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX }))
        }
        "of" => ("Whose log.", json!({ "enum": ["worker", "cli", "container"] })),
        _ => (
            "The file's path in the workspace; its slashes may stay as they are.",
            json!({ "type": "string", "minLength": 1 }),
        ),
    }
}
