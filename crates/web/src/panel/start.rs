//! `/agents/{name}`: an agent's form, and starting it.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use holdpoint_control::{NewExecution, StartError};
use holdpoint_model::{
    AgentDef,
    agent::{FieldKind, FormField},
};
use http::StatusCode;
use maud::{Markup, html};

use super::{
    PageError,
    form::FormData,
    home, inbox,
    layout::Page,
    parts::{self, hold::attach, text},
};
use crate::{
    auth::{Caller, Visitor},
    body::Path,
    markdown,
    problem::Problem,
    state::WebState,
};

type Inputs = BTreeMap<String, String>;

pub(super) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    caller.check_start()?;
    let agent = find(&state, &name)?;
    let inputs = agent.fields().into_iter().map(|field| (field.name, field.value)).collect();
    show(&state, &caller, &name, &agent, &inputs, &Inputs::new()).await
}

fn find(state: &WebState, name: &str) -> Result<AgentDef, Problem> {
    state.control.agents().get(name).cloned().ok_or_else(|| Problem::not_found("agent"))
}

async fn show(
    state: &WebState,
    caller: &Caller,
    name: &str,
    agent: &AgentDef,
    inputs: &Inputs,
    errors: &Inputs,
) -> Result<Response, PageError> {
    let open = inbox::count_for(state, caller).await?;
    let title = home::title(name, agent);
    let rehearsal = state.control.rehearsal() || agent.rehearsal.is_some();
    let page = Page { title, name: "start", caller: Some(caller), open_holds: Some(open) };
    let mut response = page.show(&html! {
        main #main .narrow {
            p.eyebrow { a href="/" { "Start" } }
            h1 { (title) }
            div.prose { (markdown::render(&agent.description)) }
            @if rehearsal { (parts::facts::rehearsal()) }
            form #start .card .stack method="post" enctype="multipart/form-data" action={ "/agents/" (crate::encode(name)) } {
                @if !errors.is_empty() {
                    p.alert role="alert" {
                        "Not started yet: " (errors.values().cloned().collect::<Vec<_>>().join("; ")) "."
                    }
                }
                @for (n, field) in agent.fields().iter().enumerate() {
                    (control(field, inputs.get(&field.name).map_or("", String::as_str), errors.get(&field.name), n == 0))
                }
                div.row {
                    (attach())
                    button.primary type="submit" data-action="start" { "Start" }
                }
            }
        }
    });
    if !errors.is_empty() {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(response)
}

fn control(field: &FormField, value: &str, error: Option<&String>, first: bool) -> Markup {
    let label = if field.label.is_empty() { &field.name } else { &field.label };
    let id = format!("field-{}", field.name);
    let invalid = error.map(|_| "true");
    let error_id = error.map(|_| format!("{id}-error"));
    html! {
        div.field {
            @match field.kind {
                FieldKind::Checkbox => label.check {
                    input id=(id) type="checkbox" name=(field.name) value="yes" checked[value == "yes" || value == "true"]
                        required[field.required] autofocus[first];
                    span { (label) }
                },
                kind => {
                    label for=(id) { (label) @if !field.required { span.quiet { " (optional)" } } }
                    @match kind {
                        FieldKind::Area => textarea id=(id) name=(field.name) rows=(text::rows(value, 5, 20))
                            placeholder=(field.placeholder) required[field.required] autofocus[first]
                            aria-invalid=[invalid] aria-describedby=[&error_id] { (text::area_value(value)) },
                        FieldKind::Select => select id=(id) name=(field.name) required[field.required] autofocus[first]
                            aria-invalid=[invalid] aria-describedby=[&error_id]
                        {
                            @if !field.required || value.is_empty() { option value="" { "—" } }
                            @for choice in &field.options { option value=(choice) selected[choice == value] { (choice) } }
                        },
                        kind => input id=(id) name=(field.name) value=(value) placeholder=(field.placeholder)
                            type=(if kind == FieldKind::Number { "number" } else { "text" })
                            step=[(kind == FieldKind::Number).then_some("any")]
                            required[field.required] autofocus[first]
                            aria-invalid=[invalid] aria-describedby=[&error_id];
                    }
                }
            }
            @if let Some(error) = error { p.field-error id=[&error_id] { (error) } }
        }
    }
}

pub(super) async fn start(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(name): Path<String>,
    mut form: FormData,
) -> Result<Response, PageError> {
    caller.check_start()?;
    let agent = find(&state, &name)?;
    let inputs: Inputs =
        agent.fields().into_iter().map(|field| (field.name.clone(), form.text(&field.name))).collect();
    let started = state
        .control
        .start(NewExecution {
            agent: name.clone(),
            inputs: inputs.clone(),
            files: std::mem::take(&mut form.files),
            by: caller.actor(),
            idempotency: None,
        })
        .await;
    match started {
        Ok(started) => Ok(Redirect::to(&format!("/executions/{}", started.execution.id)).into_response()),
        Err(StartError::Invalid(errors)) => show(&state, &caller, &name, &agent, &inputs, &errors).await,
        Err(error) => Err(error.into()),
    }
}
