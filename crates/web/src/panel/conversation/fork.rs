//! `/executions/{id}/fork`: going on from an earlier point, in a new conversation.

use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use holdpoint_control::{ForkError, NewFork};
use holdpoint_model::{Execution, Seq, event::EventBody};
use http::StatusCode;
use maud::html;

use crate::{
    auth::{Act, Caller, Visitor, execution},
    body::Path,
    panel::{
        PageError,
        form::FormData,
        inbox,
        layout::Page,
        parts::{moment, text},
    },
    state::WebState,
};

/// Ends of turns looked at; earlier ones are reached over the API.
const MAX_TURNS: u32 = 500;

/// A point to go on from.
struct Point {
    /// The checkpoint's event.
    seq: Seq,
    /// When the turn before it ended, and with which words.
    at: i64,
    said: String,
}

/// The form.
pub(crate) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let known = execution(&state, &caller, &id, Act::See).await?;
    caller.check_start()?;
    show(&state, &caller, &known, None, "", None).await
}

async fn points(state: &WebState, known: &Execution) -> Result<Vec<Point>, PageError> {
    let turns = state.store().events_of_kind(known.id, &["turn_ended"], 0, MAX_TURNS).await?;
    let found = state.control.branching_points(known.id).await?;
    let mut points: Vec<Point> = Vec::new();
    for (seq, checkpoint) in found {
        let last = turns.iter().rev().find(|turn| turn.seq <= checkpoint.at);
        let Some((turn, EventBody::TurnEnded(result))) = last.map(|turn| (turn, &turn.body)) else {
            continue;
        };
        // One checkpoint for each turn is enough to choose from: the last.
        points.retain(|point| point.at != turn.at);
        points.push(Point { seq, at: turn.at, said: result.text.clone() });
    }
    Ok(points)
}

async fn show(
    state: &WebState,
    caller: &Caller,
    known: &Execution,
    chosen: Option<Seq>,
    message: &str,
    error: Option<&str>,
) -> Result<Response, PageError> {
    let points = points(state, known).await?;
    let chosen = chosen.or(points.last().map(|point| point.seq));
    let open = inbox::count_for(state, caller).await?;
    let page = Page {
        title: "Go on from an earlier point",
        name: "fork",
        caller: Some(caller),
        open_holds: Some(open),
    };
    let mut response = page.show(&html! {
        main #main .narrow {
            p.eyebrow { a href={ "/executions/" (known.id) } { (known.title) } }
            h1 { "Go on from an earlier point" }
            p { "A new conversation begins where a turn of this one was over, with the files as they were then. This one stays as it is." }
            @if points.is_empty() {
                div.card.empty {
                    p { "There is no point to go on from yet." }
                    p.quiet { "The first is where the agent has finished a turn." }
                }
            } @else {
                form #fork .card .stack method="post" action={ "/executions/" (known.id) "/fork" } {
                    @if let Some(error) = error { p.alert role="alert" { (error) } }
                    fieldset.question {
                        legend { "Go on after" }
                        @for (n, point) in points.iter().enumerate() {
                            label.option {
                                input type="radio" name="seq" value=(point.seq) checked[Some(point.seq) == chosen] required;
                                span {
                                    strong { "Turn " (n + 1) ", " (moment(point.at, state.now())) }
                                    small { (text::visible(&first_words(&point.said))) }
                                }
                            }
                        }
                    }
                    div.field {
                        label for="fork-message" { "What to say there" }
                        textarea #fork-message name="message" rows="5" required autofocus { (text::area_value(message)) }
                    }
                    div.row { button.primary type="submit" data-action="fork" { "Start" } }
                }
            }
        }
    });
    if error.is_some() {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(response)
}

fn first_words(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut short: String = line.chars().take(120).collect();
    if short.len() < text.trim().len() {
        short.push('…');
    }
    short
}

/// Starts it.
pub(crate) async fn start(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    form: FormData,
) -> Result<Response, PageError> {
    let known = execution(&state, &caller, &id, Act::See).await?;
    caller.check_start()?;
    let (seq, message) = (form.get("seq").parse().ok(), form.text("message"));
    let new =
        NewFork { from: known.id, seq, message: message.clone(), by: caller.actor(), idempotency: None };
    match state.control.fork(new).await {
        Ok(started) => Ok(Redirect::to(&format!("/executions/{}", started.execution.id)).into_response()),
        Err(error @ (ForkError::Empty | ForkError::NotThere { .. } | ForkError::Damaged(_))) => {
            show(&state, &caller, &known, seq, &message, Some(&format!("Not started: {error}."))).await
        }
        Err(error) => Err(error.into()),
    }
}
