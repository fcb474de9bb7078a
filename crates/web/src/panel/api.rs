//! `/api`: the API's document as a page, and each endpoint to be tried: a form, what it answers, and the line that
//! does the same in a terminal. Without scripts it is a reference.

use axum::{extract::State, response::Response};
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::{PageError, inbox, layout::Page};
use crate::{
    auth::Visitor,
    markdown,
    openapi::{DOCUMENT, Group},
    state::WebState,
};

/// An endpoint of the document.
struct Endpoint<'a> {
    method: String,
    path: &'a str,
    operation: &'a Value,
}

pub(super) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
) -> Result<Response, PageError> {
    let open = inbox::count_for(&state, &caller).await?;
    let endpoints = endpoints();
    let groups = Group::ALL.map(|group| {
        (group, endpoints.iter().filter(|one| one.operation["tags"][0] == group.name()).collect::<Vec<_>>())
    });
    let body = html! {
        main #main .wide {
            h1 { "API" }
            div.prose { (markdown::render(text(&DOCUMENT["info"]["description"]))) }
            p.row {
                a.button href="/v1/openapi.json" { "The OpenAPI document" }
                a.button href="/account#tokens" { "Your tokens" }
            }
            p.banner #trying hidden { "What you send here is done, as you, in this Holdpoint." }
            input #endpoint-filter type="search" placeholder="Find an endpoint" aria-label="Find an endpoint" hidden;
            @for (group, endpoints) in &groups {
                section.endpoints {
                    h2 { (group.name()) }
                    p.quiet { (group.text()) }
                    @for endpoint in endpoints { (show(endpoint, &state.base_url)) }
                }
            }
        }
    };
    let page = Page { title: "API", name: "api", caller: Some(&caller), open_holds: Some(open) };
    Ok(page.show(&body))
}

/// All endpoints: by address, and at one address first what only looks.
fn endpoints() -> Vec<Endpoint<'static>> {
    const ORDER: [&str; 5] = ["get", "post", "put", "patch", "delete"];
    let paths = DOCUMENT["paths"].as_object().into_iter().flatten();
    paths
        .flat_map(|(path, methods)| {
            ORDER.into_iter().filter_map(|method| {
                let operation = methods.get(method)?;
                Some(Endpoint { method: method.to_ascii_uppercase(), path, operation })
            })
        })
        .collect()
}

fn show(endpoint: &Endpoint<'_>, base_url: &str) -> Markup {
    let Endpoint { method, path, operation } = endpoint;
    let id = text(&operation["operationId"]);
    let content = operation["requestBody"]["content"].as_object();
    let body = content.and_then(|content| content.iter().next());
    let is_open = operation["security"].as_array().is_some_and(Vec::is_empty);
    html! {
        details.card.endpoint #(id) data-endpoint=(id) {
            summary {
                span.method data-method=(method) { (method) }
                code.address { (path) }
                span.what { (text(&operation["summary"])) }
            }
            div.stack {
                @if let Some(about) = operation["description"].as_str() {
                    div.prose { (markdown::render(about)) }
                }
                p.quiet { (needs(operation, is_open)) }
                form.stack data-method=(method) data-path=(path) data-media=[body.map(|(media, _)| media)] data-open[is_open] data-stream[streams(operation)] {
                    @for parameter in operation["parameters"].as_array().into_iter().flatten() {
                        (parameter_field(id, parameter))
                    }
                    @if let Some((media, body)) = body { (body_field(id, media, body)) }
                    pre.command data-part="curl" aria-label="The same in a terminal" { (curl(endpoint, base_url, body)) }
                    div.row {
                        button.primary type="submit" data-action="send" hidden { "Send" }
                        button type="button" data-action="stop" hidden { "Stop" }
                    }
                    div data-part="answer" aria-live="polite" {}
                }
                (answers(operation))
            }
        }
    }
}

fn needs(operation: &Value, is_open: bool) -> Markup {
    let scope = operation["security"][0]["token"][0].as_str();
    html! {
        @if is_open { "For everybody." }
        @else if let Some(scope) = scope { "A token needs the scope " code { (scope) } "." }
        @else { "Any token will do, for what its owner sees." }
    }
}

fn parameter_field(endpoint: &str, parameter: &Value) -> Markup {
    let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
    let id = format!("{endpoint}-{name}");
    let required = parameter["required"] == true;
    let schema = &parameter["schema"];
    let choices = schema["enum"].as_array();
    html! {
        div.field {
            label for=(id) {
                code { (name) } " "
                span.quiet { (kind(schema)) @if place != "path" { ", " (place) } @if required && place != "path" { ", required" } }
            }
            @if let Some(choices) = choices {
                select #(id) name=(name) data-in=(place) required[required] {
                    @if !required { option value="" { "" } }
                    @for choice in choices { option { (text(choice)) } }
                }
            } @else {
                input #(id) name=(name) data-in=(place) required[required] autocomplete="off" spellcheck="false";
            }
            @if let Some(about) = parameter["description"].as_str().filter(|about| !about.is_empty()) {
                small.quiet { (markdown::render(about)) }
            }
        }
    }
}

fn body_field(endpoint: &str, media: &str, body: &Value) -> Markup {
    let id = format!("{endpoint}-body");
    let example = example(body);
    html! {
        div.field {
            label for=(id) { "Body " span.quiet { (media) } }
            textarea.code #(id) data-in="body" rows=(example.lines().count().clamp(2, 12)) spellcheck="false" { (example) }
            @if let Some(members) = body["schema"]["properties"].as_object() {
                details {
                    summary.quiet { "What may be in it" }
                    (members_of(members, &body["schema"]["required"]))
                }
            }
        }
    }
}

fn members_of(members: &Map<String, Value>, required: &Value) -> Markup {
    let is_required = |name: &str| required.as_array().is_some_and(|all| all.iter().any(|one| one == name));
    html! {
        dl.members {
            @for (name, schema) in members {
                dt { code { (name) } " " span.quiet { (kind(schema)) @if is_required(name) { ", required" } } }
                dd { @if let Some(about) = schema["description"].as_str() { (markdown::render(about)) } }
            }
        }
    }
}

fn answers(operation: &Value) -> Markup {
    html! {
        details {
            summary { "Answers" }
            dl.members {
                @for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
                    dt { code { (status) } " " span.quiet { (media_of(answer)) } }
                    dd { (markdown::render(text(&answer["description"]))) }
                }
            }
        }
    }
}

fn media_of(answer: &Value) -> String {
    let content = answer["content"].as_object().into_iter().flatten();
    content.map(|(media, _)| media.as_str()).collect::<Vec<_>>().join(" or ")
}

/// A schema in a few words.
fn kind(schema: &Value) -> String {
    if let Some(choices) = schema["enum"].as_array() {
        return choices.iter().map(text).collect::<Vec<_>>().join(" | ");
    }
    let of = |name: &str| match (name, text(&schema["format"])) {
        ("array", _) => format!("list of {}", kind(&schema["items"])),
        ("string", format @ ("uuid" | "date-time")) => format.to_owned(),
        (name, _) => name.to_owned(),
    };
    match &schema["type"] {
        Value::String(name) => of(name),
        Value::Array(names) => {
            names.iter().map(text).filter(|name| *name != "null").map(of).collect::<Vec<_>>().join(" or ")
        }
        _ => {
            let choices = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array());
            let kinds = choices
                .into_iter()
                .flatten()
                .filter(|choice| choice["type"] != "null")
                .map(|choice| choice["const"].as_str().map_or_else(|| kind(choice), str::to_owned));
            kinds.collect::<Vec<_>>().join(" or ")
        }
    }
}

fn example(body: &Value) -> String {
    body.get("example")
        .map(|example| serde_json::to_string_pretty(example).unwrap_or_default())
        .unwrap_or_default()
}

/// What does the same in a terminal; the page's script says it of what is filled in.
fn curl(endpoint: &Endpoint<'_>, base_url: &str, body: Option<(&String, &Value)>) -> String {
    let Endpoint { method, path, operation } = endpoint;
    let mut line = "curl".to_owned();
    if streams(operation) {
        line.push_str(" -N");
    }
    if method != "GET" {
        line.push_str(&format!(" -X {method}"));
    }
    if operation["security"].as_array().is_some_and(|ways| !ways.is_empty()) {
        line.push_str(" -H \"Authorization: Bearer $HOLDPOINT_TOKEN\"");
    }
    if let Some((media, body)) = body {
        let body = body.get("example").map(Value::to_string).unwrap_or_default().replace('\'', "'\\''");
        line.push_str(&format!(" -H 'Content-Type: {media}' --data-binary '{body}'"));
    }
    format!("{line} '{base_url}{path}'")
}

/// Whether the answer comes little by little.
fn streams(operation: &Value) -> bool {
    let media = media_of(&operation["responses"]["200"]);
    media.contains("event-stream") || media.contains("ndjson")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
