//! `/agents/{name}`: an agent's form, and starting it.

use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use holdpoint_control::{Content, NewExecution, NewFile, StartError, UploadError};
use holdpoint_model::{
    AgentDef, UploadId,
    form::{FieldErrors, FieldKind, FormField, GLOBAL, Inputs, UPLOAD_PREFIX},
};
use http::StatusCode;
use maud::{Markup, html};

use super::{
    PageError,
    form::FormData,
    home, inbox,
    layout::Page,
    parts::{
        self,
        element::{Kept, Shown, attach, buttons, element},
    },
};
use crate::{
    auth::{Caller, Visitor},
    body::{Path, check_count},
    markdown,
    problem::Problem,
    state::WebState,
};

/// The control for files of no field.
const ATTACH: &str = "files";

/// What the form shows.
#[derive(Default)]
struct Filled {
    /// Nothing of passwords.
    inputs: Inputs,
    kept: Vec<Kept>,
    errors: FieldErrors,
}

pub(super) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    caller.check_start()?;
    let agent = find(&state, &name)?;
    // A button's value is what it gives when it is pressed, and no beginning of anything.
    let fields = agent.fields().into_iter().filter(|field| field.kind != FieldKind::Action);
    let inputs = fields.map(|field| (field.name, field.value)).collect();
    show(&state, &caller, &name, &agent, &Filled { inputs, ..Filled::default() }).await
}

fn find(state: &WebState, name: &str) -> Result<AgentDef, Problem> {
    state.control.agents().get(name).cloned().ok_or_else(|| Problem::not_found("agent"))
}

async fn show(
    state: &WebState,
    caller: &Caller,
    name: &str,
    agent: &AgentDef,
    filled: &Filled,
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
                (elements(&agent.fields(), filled))
            }
        }
    });
    if !filled.errors.is_empty() {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(response)
}

fn elements(fields: &[FormField], filled: &Filled) -> Markup {
    let kept_for =
        |name: &str| -> Vec<Kept> { filled.kept.iter().filter(|kept| kept.field == name).cloned().collect() };
    // Where something is wrong the first of it is looked at, else the first field.
    let wrong = fields.iter().position(|field| filled.errors.contains_key(&field.name));
    let first = wrong.or_else(|| fields.iter().position(|field| field.kind.has_value()));
    html! {
        @if !fields.iter().any(|field| field.kind == FieldKind::Errors) { (alert(fields, &filled.errors)) }
        @for (n, field) in fields.iter().enumerate() {
            @if field.kind == FieldKind::Errors { (alert(fields, &filled.errors)) }
            (element(field, Shown {
                value: filled.inputs.get(&field.name).map_or("", String::as_str),
                error: filled.errors.get(&field.name).map(String::as_str),
                kept: &kept_for(&field.name),
                first: first == Some(n),
            }))
        }
        div.row {
            @if !fields.iter().any(|field| field.kind == FieldKind::File) { (attach(&kept_for(""))) }
            (buttons(fields))
        }
    }
}

/// What is wrong, all of it in one place: first what is no single field's fault.
fn alert(fields: &[FormField], errors: &FieldErrors) -> Markup {
    let of_field = |name: &str| fields.iter().any(|field| field.kind.has_value() && field.name == name);
    let (theirs, global): (Vec<_>, Vec<_>) = errors.iter().partition(|(name, _)| of_field(name));
    let all: Vec<&str> = global.into_iter().chain(theirs).map(|(_, why)| why.as_str()).collect();
    html! {
        @if !all.is_empty() { p.alert role="alert" { "Not started yet: " (all.join("; ")) "." } }
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
    let fields = agent.fields();
    let mut filled = Filled { inputs: inputs_of(&fields, &form), ..Filled::default() };
    uploads_of(&state, &caller, &fields, &mut form, &mut filled).await?;
    check_count(filled.kept.len())?;
    if filled.errors.is_empty() {
        let of = |kept: &Kept| NewFile { field: kept.field.clone(), content: Content::Uploaded(kept.id) };
        let new = NewExecution {
            agent: name.clone(),
            inputs: filled.inputs.clone(),
            files: filled.kept.iter().map(of).collect(),
            by: caller.actor(),
            idempotency: None,
        };
        match state.control.start(new).await {
            Ok(started) => {
                return Ok(Redirect::to(&format!("/executions/{}", started.execution.id)).into_response());
            }
            Err(StartError::Invalid(errors)) => filled.errors = errors,
            Err(error) => return Err(error.into()),
        }
    }
    show(&state, &caller, &name, &agent, &filled).await
}

fn inputs_of(fields: &[FormField], form: &FormData) -> Inputs {
    let typed = fields.iter().filter(|field| field.kind.has_value() && field.kind != FieldKind::File);
    typed
        .map(|field| (field.name.clone(), form.text(&field.name)))
        .filter(|(name, value)| {
            // A button that was not pressed says nothing.
            let is_button = fields.iter().any(|field| field.kind == FieldKind::Action && &field.name == name);
            !is_button || !value.is_empty()
        })
        .collect()
}

/// Everything that is uploaded for the form: what it names, and the files that it carries, which are kept as
/// uploads as well. So none has to be chosen again when something else in the form is wrong.
async fn uploads_of(
    state: &WebState,
    caller: &Caller,
    fields: &[FormField],
    form: &mut FormData,
    filled: &mut Filled,
) -> Result<(), Problem> {
    let named: Vec<(String, String)> =
        form.prefixed(UPLOAD_PREFIX).map(|(field, id)| (field.to_owned(), id.to_owned())).collect();
    for (field, id) in named {
        let found = match id.parse::<UploadId>() {
            Ok(id) => state.control.upload(caller.user, id).await,
            Err(_) => Err(UploadError::Unknown),
        };
        match found {
            Ok(upload) => filled.keep(field, upload),
            Err(UploadError::Unknown) => {
                let why = "an uploaded file is not there any more; choose it again";
                filled.errors.insert(key_of(&field), why.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    for (control, file) in form.take_named_files() {
        let is_field = fields.iter().any(|field| field.kind == FieldKind::File && field.name == control);
        let field = if control == ATTACH && !is_field { String::new() } else { control };
        match state.control.keep_as_upload(caller.user, file).await {
            Ok(upload) => filled.keep(field, upload),
            Err(error @ (UploadError::Io(_) | UploadError::Store(_))) => return Err(error.into()),
            Err(error) => {
                filled.errors.insert(key_of(&field), error.to_string());
            }
        }
    }
    Ok(())
}

fn key_of(field: &str) -> String {
    if field.is_empty() { GLOBAL.to_owned() } else { field.to_owned() }
}

impl Filled {
    fn keep(&mut self, field: String, upload: holdpoint_store::Upload) {
        self.kept.push(Kept { field, id: upload.id, name: upload.name, size_bytes: upload.size_bytes });
    }
}
