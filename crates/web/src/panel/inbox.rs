//! `/inbox`: everything that waits for this person, nearest deadline first.

use axum::{extract::State, response::Response};
use holdpoint_model::HoldKind;
use holdpoint_store::{HoldFilter, HoldRow};
use maud::{Markup, html};

use super::{
    PageError,
    layout::Page,
    parts::{
        View,
        hold::{hold, last_words},
        moment,
    },
};
use crate::{
    auth::{Act, Caller, Visitor},
    limits,
    problem::Problem,
    state::WebState,
};

/// The open holds that this person may answer, up to a page of them.
async fn waiting(state: &WebState, caller: &Caller) -> Result<Vec<HoldRow>, Problem> {
    let filter = HoldFilter { owner: caller.sees_only(), ..HoldFilter::open() };
    let mut rows = state.store().holds(&filter, limits::MAX_PAGE).await?;
    rows.retain(|row| caller.may(Act::Decide, &row.owner));
    Ok(rows)
}

/// How many there are.
pub(super) async fn count_for(state: &WebState, caller: &Caller) -> Result<usize, Problem> {
    if caller.role.may_decide(false) {
        let open = state.store().counts().await?.open_holds;
        return Ok(usize::try_from(open).unwrap_or(usize::MAX));
    }
    Ok(waiting(state, caller).await?.len())
}

pub(super) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
) -> Result<Response, PageError> {
    let rows = waiting(&state, &caller).await?;
    let now = state.now();
    let mut cards = Vec::with_capacity(rows.len());
    for row in rows.iter().take(limits::DEFAULT_PAGE as usize) {
        // Only a reply needs more than the hold itself: what it is a reply to.
        let last = match row.hold.kind {
            HoldKind::Reply => state
                .store()
                .execution(row.execution)
                .await?
                .and_then(|execution| execution.last_turn.as_ref().map(|turn| turn.text.clone())),
            _ => None,
        };
        cards.push(card(row, last.as_deref(), now));
    }
    let body = html! {
        main #main .narrow {
            h1 { "Inbox" }
            div #inbox data-refresh {
                @if cards.is_empty() {
                    div #empty .card .empty {
                        p { "Nothing waits for you." }
                        p.quiet { "Questions, approvals and replies that agents need appear here by themselves." }
                    }
                }
                @for card in &cards { (card) }
                @if rows.len() > cards.len() {
                    p #more .quiet { (rows.len() - cards.len()) " more come up as these are answered." }
                }
            }
        }
    };
    let page = Page { title: "Inbox", name: "inbox", caller: Some(&caller), open_holds: Some(rows.len()) };
    Ok(page.show(&body))
}

fn card(row: &HoldRow, last: Option<&str>, now: i64) -> Markup {
    let view = View {
        execution: row.execution,
        now,
        may_decide: true,
        may_steer: false,
        is_operator: false,
        back: "/inbox",
    };
    html! {
        article.inbox-item id={ "i-" (row.hold.id) } {
            header {
                a href={ "/executions/" (row.execution) "#h-" (row.hold.id) } { (row.title) }
                p.quiet { (row.agent) " · " (row.owner.name) " · asked " (moment(row.hold.opened_at, now)) }
            }
            @if let Some(last) = last { (last_words(last)) }
            (hold(&row.hold, row.decision.as_ref(), None, &view))
        }
    }
}
