//! Holds every answer of the API that a test gets against the API's document: status, media type, and the codes of
//! problems.

use std::sync::LazyLock;

use http::{Method, header};
use serde_json::Value;

use super::Answer;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&holdpoint_web::openapi_document()).expect("JSON"));

/// What the document says of an endpoint; None where there is none.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let fits = |template: &str| {
        let (mut wanted, mut parts) = (template.split('/'), path.split('/'));
        loop {
            match (wanted.next(), parts.next()) {
                (None, None) => return true,
                // The rest of a file's path.
                (Some("{path}"), Some(_)) => return true,
                (Some(wanted), Some(part)) if wanted == part || wanted.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    // What is written out fits before what stands for anything.
    let found =
        paths.iter().filter(|(template, _)| fits(template)).min_by_key(|it| it.0.matches('{').count())?;
    let method = if method == Method::HEAD { "get".to_owned() } else { method.as_str().to_ascii_lowercase() };
    found.1.get(&method)
}

#[track_caller]
pub(super) fn check(method: &Method, path: &str, answer: &Answer) {
    if !path.starts_with("/v1/") && path != "/health" {
        return;
    }
    let Some(operation) = operation(method, path) else { return };
    let shown = format!("{method} {path} answers {}", answer.status);
    let said = &operation["responses"][answer.status.as_str()];
    assert!(said.is_object(), "{shown}, which the document does not have: {}", answer.text());
    let media = answer.header(header::CONTENT_TYPE).split(';').next().unwrap_or_default();
    let content = said["content"].as_object();
    if media.is_empty() {
        assert!(content.is_none(), "{shown} without a body");
        return;
    }
    let body = content.and_then(|content| content.get(media));
    let body = body.unwrap_or_else(|| panic!("{shown} as {media:?}, which the document does not have"));
    if media == "application/problem+json" {
        let code = &answer.json()["code"];
        let codes = body["schema"]["properties"]["code"]["enum"].as_array().expect("codes");
        assert!(codes.contains(code), "{shown} with {code}, which the document does not have");
    }
}
