//! `/inbox`: everything that waits for this person, nearest deadline first.

mod act;
mod card;
mod filters;
mod news;
mod several;

use axum::{extract::State, response::Response};
use holdpoint_model::{Act, Standing, UnixMs};
use holdpoint_store::{HoldFilter, Snoozes};
use maud::{Markup, html};

use self::{
    card::{Context, card},
    filters::Filters,
};
use super::{PageError, layout::Page};
use crate::{
    auth::{Caller, Visitor},
    body::Query,
    hold_page, limits,
    problem::Problem,
    state::WebState,
};

pub(super) use act::{assign, snooze};
pub(super) use news::waiting;
pub(super) use several::decide as decide_several;

/// The open holds that this person may answer and has not put off: the list that the inbox is made of.
fn filter_for(caller: &Caller, now: UnixMs) -> HoldFilter {
    let snoozes = Some(Snoozes { user: caller.user, now, only: false });
    HoldFilter { only_for: caller.decides_only(), snoozes, ..HoldFilter::open() }
}

/// How many wait for this person; of one's own no more than a page of them are counted.
pub(super) async fn count_for(state: &WebState, caller: &Caller) -> Result<usize, Problem> {
    if !caller.decides() {
        return Ok(0);
    }
    let (store, now) = (state.store(), state.now());
    if caller.decides_only().is_none() {
        let open = store.open_holds().await?.saturating_sub(store.snoozed_holds(caller.user, now).await?);
        return Ok(usize::try_from(open).unwrap_or(usize::MAX));
    }
    let rows = store.holds(&filter_for(caller, now), limits::MAX_PAGE).await?;
    Ok(rows.len())
}

pub(super) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Query(filters): Query<Filters>,
) -> Result<Response, PageError> {
    let cursor = Some(filters.cursor.as_str()).filter(|cursor| !cursor.is_empty());
    let now = state.now();
    let filter = filters.filter(&caller, now)?;
    let (mut rows, next) = hold_page(&state, &filter, cursor, limits::DEFAULT_PAGE).await?;
    // Those who may only look have nothing that waits for them, on no page.
    if !caller.decides() {
        rows.clear();
    }
    let next = next.filter(|_| !rows.is_empty());
    let back = filters.address(cursor);
    let contexts = Context::of_all(&state, &caller, &rows, filters.shows_snoozed()).await?;
    let cards: Vec<Markup> =
        rows.iter().zip(&contexts).map(|(row, context)| card(row, context, &caller, &back, now)).collect();
    let open = count_for(&state, &caller).await?;
    let snoozed = if caller.decides() { state.store().snoozed_holds(caller.user, now).await? } else { 0 };
    let known = state.control.agents();
    let agents = known.keys().map(String::as_str);
    let body = html! {
        main #main .narrow .inbox {
            div.page-head {
                h1 { "Inbox" }
                // Shown by the script that can do it.
                button #notices .small type="button" hidden {}
            }
            @if open > 0 || snoozed > 0 || filters.restrict() { (filters.controls(agents)) }
            (people(&state, &caller).await?)
            div #inbox data-refresh {
                @if cards.is_empty() { (nothing(&filters, cursor.is_some())) }
                @for card in &cards { (card) }
                @if cursor.is_some() || next.is_some() {
                    nav #more .row aria-label="Pages" {
                        @if cursor.is_some() { a.button href=(filters.address(None)) { "To the first" } }
                        @if let Some(next) = &next { a.button rel="next" href=(filters.address(Some(next))) { "More" } }
                        @if open > cards.len() && !filters.restrict() { span.quiet { (open) " wait for you in all" } }
                    }
                }
                @if snoozed > 0 && !filters.shows_snoozed() {
                    p #snoozed .quiet { a href="/inbox?show=snoozed" { (snoozed) " snoozed" } }
                }
            }
            // Also where there is nothing yet: holds appear by themselves.
            (several::bar(&back))
        }
    };
    let page = Page { title: "Inbox", name: "inbox", caller: Some(&caller), open_holds: Some(open) };
    Ok(page.show(&body))
}

fn nothing(filters: &Filters, is_later: bool) -> Markup {
    html! {
        div #empty .card .empty {
            @if is_later {
                p { "Nothing more waits for you here." }
            } @else if filters.shows_snoozed() {
                p { "You have snoozed nothing like that." }
                p { a.button href="/inbox" { "To the inbox" } }
            } @else if filters.restrict() {
                p { "Nothing like that waits for you." }
                p { a.button href="/inbox" { "Show all" } }
            } @else {
                p { "Nothing waits for you." }
                p.quiet { "Questions, approvals and replies that agents need appear here by themselves." }
            }
        }
    }
}

/// Names to choose from: of those who may decide everything, for those who may themselves. Everybody else writes
/// the name of whom they share with.
async fn people(state: &WebState, caller: &Caller) -> Result<Markup, Problem> {
    let mut names = Vec::new();
    if caller.decides_only().is_none() {
        let users = state.store().users().await?;
        let decides = |role: holdpoint_model::Role| role.may(Act::Decide, Standing::Stranger);
        names.extend(
            users.into_iter().filter(|user| user.is_active() && decides(user.role)).map(|user| user.name),
        );
    }
    Ok(
        html! { datalist #people { @for name in names.iter().take(limits::NAMES) { option value=(name) {} } } },
    )
}
