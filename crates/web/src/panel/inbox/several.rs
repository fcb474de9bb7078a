//! `POST /inbox/decide`: several holds at once. Each is decided by itself, and the first answer wins at each.

use axum::{extract::State, response::Response};
use holdpoint_control::Control;
use holdpoint_model::{DecisionRequest, HoldId};
use holdpoint_store::HoldRow;
use maud::{Markup, html};

use super::card::{is_one_of_several, title};
use crate::{
    auth::{Act, Caller, Visitor, hold},
    limits,
    panel::{
        PageError,
        form::FormData,
        layout::{Page, capitalised},
        parts::{subject, text},
        safe_next,
    },
    problem::Problem,
    state::WebState,
};

/// The bar that appears once something is selected. The selected check boxes belong to its form, wherever they are.
pub(super) fn bar(back: &str) -> Markup {
    html! {
        form #several .card method="post" action="/inbox/decide" {
            input type="hidden" name="back" value=(back);
            p { strong.chosen {} " selected" }
            div.answers-row {
                button.primary name="action" value="allow" data-action="allow-several" { "Allow them" }
                details.way data-part="deny-several" {
                    summary.button { "Deny them…" }
                    div.stack {
                        label {
                            span { "Why? Each agent reads this." }
                            textarea name="message" rows="2" {}
                        }
                        div.row { button.danger name="action" value="deny" data-action="deny-several" { "Deny them" } }
                    }
                }
                button type="button" data-action="pick-all" hidden { "Select all here" }
                button type="reset" data-action="pick-none" { "Select none" }
            }
        }
    }
}

/// What became of one of them.
struct Fate {
    id: String,
    row: Option<HoldRow>,
    outcome: Result<(), Problem>,
}

pub(in crate::panel) async fn decide(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    form: FormData,
) -> Result<Response, PageError> {
    let action = form.get("action");
    if !matches!(action, "allow" | "deny") {
        return Err(Problem::invalid(
            "several holds are allowed or denied; anything else is done one by one",
        )
        .into());
    }
    let mut ids: Vec<&str> = form.all("hold").collect();
    ids.dedup();
    if ids.is_empty() {
        return Err(Problem::invalid("nothing is selected; select holds in the inbox first").into());
    }
    if ids.len() > limits::MAX_PAGE as usize {
        let most = limits::MAX_PAGE;
        return Err(
            Problem::invalid(format!("at most {most} holds are decided at once; select fewer")).into()
        );
    }
    let message = Some(form.text("message")).filter(|message| action == "deny" && !message.trim().is_empty());
    let mut fates = Vec::with_capacity(ids.len());
    for id in ids {
        let request = DecisionRequest {
            action: action.to_owned(),
            message: message.clone(),
            ..DecisionRequest::default()
        };
        fates.push(one(&state, &caller, id, request).await);
    }
    let open = super::count_for(&state, &caller).await?;
    let body = report(&fates, action == "allow", safe_next(form.get("back")));
    let page =
        Page { title: "Several at once", name: "several", caller: Some(&caller), open_holds: Some(open) };
    Ok(page.show(&body))
}

async fn one(state: &WebState, caller: &Caller, id: &str, request: DecisionRequest) -> Fate {
    match hold(state, caller, id, Act::Decide).await {
        Err(problem) => Fate { id: id.to_owned(), row: None, outcome: Err(problem) },
        Ok(row) if !is_one_of_several(&row.hold) => Fate {
            id: id.to_owned(),
            row: Some(row),
            outcome: Err(Problem::invalid("it has to be looked at by itself")),
        },
        Ok(row) => {
            let outcome = decided(&state.control, row.hold.id, request, caller).await;
            Fate { id: id.to_owned(), row: Some(row), outcome }
        }
    }
}

async fn decided(
    control: &Control,
    hold: HoldId,
    request: DecisionRequest,
    caller: &Caller,
) -> Result<(), Problem> {
    Ok(control.decide(hold, request, caller.actor()).await.map(drop)?)
}

fn report(fates: &[Fate], allowed: bool, back: &str) -> Markup {
    let done = fates.iter().filter(|fate| fate.outcome.is_ok()).count();
    let not = fates.len() - done;
    html! {
        main #main .narrow {
            h1 {
                (done) @if allowed { " allowed" } @else { " denied" }
                @if not > 0 { ", " (not) " not" }
            }
            ul.rows {
                @for fate in fates {
                    li.person-row data-decided=(fate.id) data-outcome=(if fate.outcome.is_ok() { "done" } else { "refused" }) {
                        div {
                            @match &fate.row {
                                Some(row) => {
                                    p {
                                        strong { (subject::name(&row.hold.subject.tool)) } " "
                                        code { (text::visible(&subject::summary(&row.hold.subject.tool, &row.hold.subject.input))) }
                                    }
                                    p.quiet { a href={ "/executions/" (row.execution) "#h-" (row.hold.id) } { (title(row)) } }
                                }
                                None => p { "A hold that is not there" },
                            }
                        }
                        @match &fate.outcome {
                            Ok(()) => span.chip data-status="finished" { @if allowed { "Allowed" } @else { "Denied" } },
                            Err(problem) => span.warn { (capitalised(&problem.detail)) "." },
                        }
                    }
                }
            }
            p { a.button.primary href=(back) autofocus { "To the inbox" } }
        }
    }
}
