//! `/executions/{id}/share`: with whom a conversation is shared.

use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use holdpoint_model::{Execution, Share};
use holdpoint_store::SharedWith;
use maud::{Markup, html};

use crate::{
    auth::{Act, Caller, Visitor, execution},
    body::Path,
    give_share,
    panel::{PageError, form::FormData, inbox, layout::Page, login::alert, parts::moment},
    problem::Problem,
    state::WebState,
    take_share,
};

pub(crate) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let known = execution(&state, &caller, &id, Act::Share).await?;
    show(&state, &caller, &known, "", None).await
}

async fn show(
    state: &WebState,
    caller: &Caller,
    known: &Execution,
    name: &str,
    failure: Option<&Problem>,
) -> Result<Response, PageError> {
    let shares = state.store().shares(known.id).await?;
    let open = inbox::count_for(state, caller).await?;
    let page = Page { title: "Share", name: "share", caller: Some(caller), open_holds: Some(open) };
    let mut response = page.show(&html! {
        main #main .narrow {
            p.eyebrow { a href={ "/executions/" (known.id) } { (known.title) } }
            h1 { "Share this conversation" }
            p { "Besides " (known.owner.name) ", whose it is, and those who see every conversation by their role." }
            form #share .card .stack method="post" {
                (alert(failure))
                label {
                    span { "Name of the person" }
                    input name="name" value=(name) autocomplete="off" autocapitalize="none" spellcheck="false"
                        required autofocus;
                }
                fieldset {
                    legend { "They may" }
                    (choice(Share::Look, "look at it, and at its files", true))
                    (choice(Share::Answer, "also answer what the agent asks", false))
                }
                div.row { button.primary type="submit" data-action="share" { "Share" } }
            }
            @if shares.is_empty() {
                p.quiet { "It is not shared with anybody." }
            } @else {
                h2 { "Shared with" }
                ul.rows { @for shared in &shares { (row(shared, state.now())) } }
            }
        }
    });
    if let Some(problem) = failure {
        *response.status_mut() = problem.status;
    }
    Ok(response)
}

fn choice(share: Share, words: &str, checked: bool) -> Markup {
    html! {
        label.check {
            input type="radio" name="share" value=(share.as_str()) checked[checked];
            span { (words) }
        }
    }
}

fn row(shared: &SharedWith, now: i64) -> Markup {
    let may = match shared.share {
        Share::Look => "may look",
        Share::Answer => "may look and answer",
    };
    html! {
        li.person-row data-shared=(shared.user) {
            div {
                strong { (shared.name) }
                p.quiet { (may) " · " (shared.shared_by.name) ", " (moment(shared.shared_at, now)) }
            }
            form method="post" {
                input type="hidden" name="take" value=(shared.user);
                button type="submit" data-action="unshare" aria-label={ "Take back from " (shared.name) } { "Take back" }
            }
        }
    }
}

/// Shares with somebody, or takes it back from the one in `take`.
pub(crate) async fn share(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    form: FormData,
) -> Result<Response, PageError> {
    let known = execution(&state, &caller, &id, Act::Share).await?;
    let back = format!("/executions/{}/share", known.id);
    if !form.get("take").is_empty() {
        take_share(&state, &caller, &id, form.get("take")).await?;
        return Ok(Redirect::to(&back).into_response());
    }
    let share: Share = form.get("share").parse().map_err(Problem::invalid)?;
    match give_share(&state, &caller, &id, form.get("name"), share).await {
        Ok(()) => Ok(Redirect::to(&back).into_response()),
        Err(problem) => show(&state, &caller, &known, form.get("name"), Some(&problem)).await,
    }
}
