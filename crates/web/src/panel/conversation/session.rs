//! `/executions/{id}/session`: looking into a session, for operators, and running a command beside it.

use std::time::Duration;

use axum::{extract::State, response::Response};
use holdpoint_control::{ExecBounds, NewExec, Piece};
use holdpoint_model::{Execution, ExecutionId};
use http::StatusCode;
use maud::{Markup, html};

use crate::{
    auth::{Act, Caller, Visitor, execution},
    body::Path,
    limits,
    panel::{
        PageError,
        form::FormData,
        inbox,
        layout::Page,
        parts::{
            inside::{self, Sight},
            text,
        },
    },
    problem::Problem,
    state::WebState,
};

/// What a command came to.
#[derive(Debug, Default)]
struct Ran {
    line: String,
    output: String,
    /// How it ended.
    end: String,
    went_well: bool,
}

/// What is seen, within the time that a page has.
pub(super) async fn look(state: &WebState, id: ExecutionId) -> Sight {
    let look = state.control.look_inside(id);
    match tokio::time::timeout(Duration::from_millis(limits::LOOK_MS), look).await {
        Ok(seen) => seen.map_err(|error| error.to_string()),
        Err(_) => Err("its engine does not say how it is doing".into()),
    }
}

pub(crate) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    caller.check_look_inside()?;
    let known = execution(&state, &caller, &id, Act::See).await?;
    show(&state, &caller, &known, None).await
}

pub(crate) async fn exec(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    form: FormData,
) -> Result<Response, PageError> {
    caller.check_look_inside()?;
    let known = execution(&state, &caller, &id, Act::See).await?;
    let line = form.text("command");
    let ran = run(&state, &caller, known.id, line).await?;
    show(&state, &caller, &known, Some(&ran)).await
}

async fn run(state: &WebState, caller: &Caller, id: ExecutionId, line: String) -> Result<Ran, Problem> {
    if line.trim().is_empty() {
        return Err(Problem::invalid("there is no command"));
    }
    let bounds = ExecBounds {
        output_bytes: limits::PAGE_EXEC_OUTPUT_BYTES,
        time: Duration::from_secs(limits::PAGE_EXEC_S),
    };
    let command = vec!["sh".to_owned(), "-c".to_owned(), line.clone()];
    let new = NewExec { command: command.clone(), stdin: None, by: caller.actor(), bounds };
    crate::audit_exec(state, caller, id, &command).await?;
    let mut executing = state.control.exec(id, new).await?;
    let (mut output, mut ran) = (Vec::new(), Ran { line, ..Ran::default() });
    "It has ended without a word.".clone_into(&mut ran.end);
    while let Some(piece) = executing.next().await {
        match piece {
            Piece::Out(bytes) | Piece::Err(bytes) => output.extend(bytes),
            Piece::Exit(code) => {
                ran.went_well = code == 0;
                ran.end = format!("Exit code {code}");
            }
            Piece::Stopped(why) => ran.end = super::super::layout::capitalised(&why),
        }
    }
    ran.output = String::from_utf8_lossy(&output).into_owned();
    Ok(ran)
}

async fn show(
    state: &WebState,
    caller: &Caller,
    known: &Execution,
    ran: Option<&Ran>,
) -> Result<Response, PageError> {
    let sight = look(state, known.id).await;
    let open = inbox::count_for(state, caller).await?;
    let page = Page { title: "Session", name: "session", caller: Some(caller), open_holds: Some(open) };
    let mut response = page.show(&html! {
        main #main .narrow data-execution=(known.id) {
            p.eyebrow { a href={ "/executions/" (known.id) } { (known.title) } }
            h1 { "Session" @if known.incarnation > 0 { ", worker " (known.incarnation) } }
            @if let Some(ran) = ran { (result(ran)) }
            @match &sight {
                Ok(worker) => {
                    section.card { (inside::command(known.id, ran.map_or("", |ran| &ran.line), true)) }
                    section.card.stack {
                        (inside::figures(worker, state.now()))
                        (inside::more(worker))
                    }
                }
                Err(why) => div.card.empty { p { (super::super::layout::capitalised(why)) "." } }
            }
            (inside::logs(known.id, &sight))
        }
    });
    if sight.is_err() && ran.is_some() {
        *response.status_mut() = StatusCode::CONFLICT;
    }
    Ok(response)
}

fn result(ran: &Ran) -> Markup {
    html! {
        section #ran .card .stack aria-label="What came of the command" {
            pre.command { (text::visible(&ran.line)) }
            @if ran.output.is_empty() { p.quiet { "It has written nothing." } }
            @else { pre.output { (text::visible(&ran.output)) } }
            p.alert[!ran.went_well].quiet[ran.went_well] role="status" data-end { (ran.end) }
        }
    }
}
