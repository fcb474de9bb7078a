//! The whole document.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{Group, Operation, places};
use crate::api;

const ABOUT: &str = "\
Everything that the panel and the terminal do, for scripts.

- **Signing in**: `Authorization: Bearer TOKEN`. `holdpoint token create` makes a token, and so does your account's \
page. What one may not see does not exist (404); what one sees and may not do is refused (403).
- **Lists** come in pages: `next` is where the following one begins, to be sent as `cursor` (`after`, where a list \
follows a log); it is null on the last.
- **Once**: a `POST` that takes an `Idempotency-Key` may be sent again with the same key and body, and happens once. \
Keys are each user's own, and good for as long as what they made is kept.
- **Problems** are `application/problem+json` (RFC 9457), with a stable `code`. Statuses and codes of each endpoint \
are listed; to come are only more codes.
- **Streams** are server-sent events. A conversation's log resumes with `Last-Event-ID`; all end when whoever listens \
may not see them any more.

The API grows: expect members and codes that you do not know. What is there stays.";

/// The document.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(whole);

fn whole() -> Value {
    let settings = SchemaSettings::draft2020_12();
    let mut requests = settings.clone().with(|settings| settings.inline_subschemas = true).into_generator();
    let mut responses = settings
        .for_serialize()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let mut paths = Map::new();
    for (method, path, endpoint) in api::routes().into_endpoints() {
        let mut operation = Operation::new(method.clone(), &mut requests, &mut responses);
        (endpoint.types)(&mut operation);
        let (path, parameters) = places::of(path);
        let method = method.as_str().to_ascii_lowercase();
        paths.entry(path).or_insert_with(|| json!({}))[method] = operation.finish(endpoint.doc, parameters);
    }
    let tags: Vec<Value> = Group::ALL
        .into_iter()
        .map(|group| json!({ "name": group.name(), "description": group.text() }))
        .collect();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": { "title": "Holdpoint", "version": "1", "description": ABOUT },
        "servers": [{ "url": "/" }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": responses.take_definitions(true),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "holdpoint_session_3370",
                    "description": "The panel's own session: `holdpoint_session_` and the port, over TLS with `__Host-` in front.",
                },
            },
        },
    });
    plain_words(&mut document);
    document
}

/// Descriptions come from the types' own comments: links into the code lead nowhere here.
fn plain_words(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                match value {
                    Value::String(text) if name == "description" => *text = without_links(text),
                    value => plain_words(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain_words),
        _ => {}
    }
}

/// ``[`Name`](crate::Name)`` and ``[`Name`]`` become `` `Name` ``.
fn without_links(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[`") {
        plain.push_str(before);
        let Some((name, after)) = after.split_once("`]") else {
            plain.push_str("[`");
            rest = after;
            continue;
        };
        plain.push_str(&format!("`{}`", name.rsplit("::").next().unwrap_or(name)));
        rest = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_into_the_code_become_words() {
        assert_eq!(without_links("See [`Self::SessionIdle`]."), "See `SessionIdle`.");
        assert_eq!(without_links("At most\n[`MAX`](crate::wire::MAX) [bytes]."), "At most\n`MAX` [bytes].");
        assert_eq!(without_links("a [`b"), "a [`b");
    }
}
