//! The API's document: made of the routes, complete, checked in. That answers are as it says is looked at with every
//! request of these tests (`support::documented`), and from outside by `tests/tests/api.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use holdpoint_model::Role;
use holdpoint_web::{openapi_document, routes};
use http::Request;
use serde_json::{Value, json};

use crate::support::World;

fn document() -> Value {
    serde_json::from_str(&openapi_document()).expect("JSON")
}

/// Each method and address of the document, with what it says.
fn operations(document: &Value) -> BTreeMap<(String, String), &Value> {
    let paths = document["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, methods)| methods.as_object().expect("methods").iter().map(move |it| (path, it)))
        .map(|(path, (method, operation))| ((method.to_ascii_uppercase(), path.clone()), operation))
        .collect()
}

#[test]
fn every_route_of_the_api_is_in_the_document_and_nothing_else() {
    let document = document();
    let described: BTreeSet<_> = operations(&document).into_keys().collect();
    let routed: BTreeSet<_> = routes()
        .into_iter()
        .filter(|(_, path)| path.starts_with("/v1/") || *path == "/health")
        .map(|(method, path)| (method.to_string(), path.replace("{*", "{")))
        .collect();
    assert_eq!(described, routed);
}

#[test]
fn the_checked_in_document_is_what_the_program_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == openapi_document(),
        "docs/openapi.json is old: holdpoint api schema > docs/openapi.json"
    );
}

#[test]
fn it_hangs_together() {
    let document = document();
    let mut ids = BTreeSet::new();
    for ((method, path), operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].as_str()), "{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
        let is_json = operation["requestBody"]["content"].get("application/json");
        assert!(is_json.is_none_or(|body| body["example"].is_object()), "{method} {path} has no example");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].as_str().is_some_and(|text| !text.is_empty()), "{parameter}");
        }
    }
    let mut references = BTreeSet::new();
    references_of(&document, &mut references);
    for reference in references {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

fn references_of(value: &Value, into: &mut BTreeSet<String>) {
    if let Some(reference) = value["$ref"].as_str() {
        into.insert(reference.to_owned());
    }
    match value {
        Value::Object(members) => members.values().for_each(|value| references_of(value, into)),
        Value::Array(items) => items.iter().for_each(|value| references_of(value, into)),
        _ => {}
    }
}

#[tokio::test]
async fn it_is_served_and_shown() {
    let world = World::new().await;
    let served = world.get("/v1/openapi.json", "").await.expect(200).json();
    assert_eq!(served, document());
    let (user, _) = world.user("ada", Role::Viewer).await;
    let page = world.page("/api", &world.cookie(user).await).await.expect(200);
    for operation in operations(&served).into_values() {
        let id = operation["operationId"].as_str().expect("an id");
        assert!(page.text().contains(&format!("data-endpoint=\"{id}\"")), "{id}");
    }
    assert!(page.text().contains("Authorization: Bearer $HOLDPOINT_TOKEN"));
    assert!(!page.text().contains(" style=") && !page.text().contains("onclick"));
}

/// Whatever is wrong, and however early: problem+json, with a code.
#[tokio::test]
async fn every_failure_is_a_problem() {
    let world = World::new().await;
    let (_, token) = world.user("ada", Role::Admin).await;
    let id = uuid::Uuid::now_v7();
    let request = |method: &str, path: String, media: &str, body: &str| {
        Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", media)
            .body(body.to_owned().into())
            .expect("request")
    };
    let json = "application/json";
    for (method, path, media, body, status, code) in [
        ("GET", "/v1/nothing".to_owned(), json, "", 404, "unknown_route"),
        ("GET", "/v1".to_owned(), json, "", 404, "unknown_route"),
        ("PUT", "/v1/me".to_owned(), json, "", 405, "method_not_allowed"),
        ("TRACE", "/health".to_owned(), json, "", 405, "method_not_allowed"),
        ("GET", "/v1/holds?status=%FF".to_owned(), json, "", 422, "invalid_request"),
        ("GET", "/v1/holds?limit=-1".to_owned(), json, "", 400, "invalid_query"),
        ("GET", "/v1/holds/%FF".to_owned(), json, "", 400, "invalid_path"),
        ("PUT", format!("/v1/uploads/{id}"), "application/octet-stream", "x", 400, "invalid_query"),
        ("POST", "/v1/links".to_owned(), "text/plain", "{}", 415, "unsupported_media_type"),
        ("POST", "/v1/links".to_owned(), json, "{", 400, "malformed_json"),
        ("POST", "/v1/links".to_owned(), json, "[]", 422, "invalid_request"),
        ("POST", "/v1/links".to_owned(), json, "", 400, "malformed_json"),
        ("PATCH", format!("/v1/users/{id}"), json, "{}", 404, "not_found"),
        ("DELETE", format!("/v1/tokens/{id}"), json, "", 404, "not_found"),
    ] {
        let shown = format!("{method} {path}");
        let answer = world.send(request(method, path, media, body)).await.expect(status);
        assert_eq!(answer.problem()["code"], code, "{shown}");
    }
    let huge = Request::post("/v1/links")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", json)
        .header("content-length", 1_u64 << 40)
        .body("{}".into())
        .expect("request");
    assert_eq!(world.send(huge).await.expect(413).problem()["code"], "too_large");
}

#[tokio::test]
async fn a_message_with_a_key_is_sent_once() {
    let world = World::new().await;
    let (user, token) = world.user("ada", Role::Asker).await;
    let owner = crate::support::person(user, "ada");
    let mut seed = crate::support::seed::Seed::create(&world.store, &owner, "Work", "Work").await;
    seed.work().await;
    let send = |text: &str| {
        let body = json!({"text": text, "files": [{"name": "a.txt", "content": "YQ=="}]});
        let request = Request::post(format!("/v1/executions/{}/messages", seed.id))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("idempotency-key", "once")
            .body(body.to_string().into())
            .expect("request");
        world.send(request)
    };
    let first = send("faster").await.expect(200).json();
    let again = send("faster").await.expect(200).json();
    assert_eq!(first["seq"], again["seq"], "nothing was added");
    let attached = std::fs::read_dir(world.control.workspace(seed.id).join("attachments")).expect("folder");
    assert_eq!(attached.count(), 1);
    assert_eq!(send("slower").await.expect(409).problem()["code"], "idempotency_mismatch");
}
