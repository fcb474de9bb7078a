//! `/inbox`: everything that waits for this person, nearest deadline first.

use axum::{extract::State, response::Response};
use holdpoint_model::{EventBody, HoldKind, event::Block};
use holdpoint_store::{HoldFilter, HoldRow};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::{
    PageError,
    layout::Page,
    parts::{
        View,
        hold::{Asked, hold, last_words},
        moment, subject,
    },
};
use crate::{
    auth::{Caller, Visitor},
    body::Query,
    encode, hold_page, limits,
    problem::Problem,
    state::WebState,
};

#[derive(Debug, Default, Deserialize)]
pub(super) struct Params {
    #[serde(default)]
    cursor: String,
}

/// The open holds that this person may answer: the list that the inbox is made of.
fn filter_for(caller: &Caller) -> HoldFilter {
    HoldFilter { only_for: caller.decides_only(), ..HoldFilter::open() }
}

/// How many wait for this person; of one's own no more than a page of them are counted.
pub(super) async fn count_for(state: &WebState, caller: &Caller) -> Result<usize, Problem> {
    if !caller.decides() {
        return Ok(0);
    }
    if caller.decides_only().is_none() {
        let open = state.store().open_holds().await?;
        return Ok(usize::try_from(open).unwrap_or(usize::MAX));
    }
    let rows = state.store().holds(&filter_for(caller), limits::MAX_PAGE).await?;
    Ok(rows.len())
}

pub(super) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Query(params): Query<Params>,
) -> Result<Response, PageError> {
    let cursor = Some(params.cursor.as_str()).filter(|cursor| !cursor.is_empty());
    let (mut rows, next) = hold_page(&state, &filter_for(&caller), cursor, limits::DEFAULT_PAGE).await?;
    // Those who may only look have nothing that waits for them, on no page.
    if !caller.decides() {
        rows.clear();
    }
    let next = next.filter(|_| !rows.is_empty());
    let back = address(cursor);
    let now = state.now();
    let mut cards = Vec::with_capacity(rows.len());
    for row in &rows {
        let context = Context::of(&state, row).await?;
        cards.push(card(row, &context, &back, now));
    }
    let open = count_for(&state, &caller).await?;
    let body = html! {
        main #main .narrow {
            h1 { "Inbox" }
            div #inbox data-refresh {
                @if cards.is_empty() {
                    div #empty .card .empty {
                        @if cursor.is_some() {
                            p { "Nothing more waits for you here." }
                        } @else {
                            p { "Nothing waits for you." }
                            p.quiet { "Questions, approvals and replies that agents need appear here by themselves." }
                        }
                    }
                }
                @for card in &cards { (card) }
                @if cursor.is_some() || next.is_some() {
                    nav #more .row aria-label="Pages" {
                        @if cursor.is_some() { a.button href="/inbox" { "To the first" } }
                        @if let Some(next) = &next { a.button rel="next" href=(address(Some(next))) { "More" } }
                        @if open > cards.len() { span.quiet { (open) " wait for you in all" } }
                    }
                }
            }
        }
    };
    let page = Page { title: "Inbox", name: "inbox", caller: Some(&caller), open_holds: Some(open) };
    Ok(page.show(&body))
}

/// The address of a page of the inbox.
fn address(cursor: Option<&str>) -> String {
    cursor.map_or_else(|| "/inbox".to_owned(), |cursor| format!("/inbox?cursor={}", encode(cursor)))
}

/// What a hold's card needs beside the hold itself.
#[derive(Debug, Default)]
struct Context {
    /// What a reply would be a reply to.
    last_words: Option<String>,
    /// What the agent put into the call that the hold is about.
    call: Option<Value>,
}

impl Context {
    async fn of(state: &WebState, row: &HoldRow) -> Result<Self, Problem> {
        let mut context = Self::default();
        match row.hold.kind {
            HoldKind::Reply => {
                let execution = state.store().execution(row.execution).await?;
                context.last_words = execution
                    .and_then(|execution| execution.last_turn.as_ref().map(|turn| turn.text.clone()));
            }
            HoldKind::Plan if subject::is_empty_plan(&row.hold.subject) => {
                context.call = call_of(state, row).await?;
            }
            HoldKind::Plan | HoldKind::Tool | HoldKind::Question => {}
        }
        Ok(context)
    }
}

/// The input of the call that a hold is about, as the model wrote it: from the log of its turn.
async fn call_of(state: &WebState, row: &HoldRow) -> Result<Option<Value>, Problem> {
    let (store, call) = (state.store(), row.hold.subject.tool_use_id.as_deref());
    let Some(execution) = store.execution(row.execution).await? else { return Ok(None) };
    let mut after = execution.turn.as_ref().map_or(0, |turn| turn.began_after);
    loop {
        let page = store.events_of_kind(row.execution, &["assistant"], after, limits::EVENTS_PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        after = last.seq;
        for event in page {
            if let EventBody::Assistant(block) = event.body
                && let Block::ToolUse { id, input, .. } = block.block
                && Some(id.as_str()) == call
            {
                return Ok(Some(input));
            }
        }
    }
}

fn card(row: &HoldRow, context: &Context, back: &str, now: i64) -> Markup {
    let view =
        View { execution: row.execution, now, may_decide: true, may_steer: false, is_operator: false, back };
    html! {
        article.inbox-item id={ "i-" (row.hold.id) } {
            header {
                a href={ "/executions/" (row.execution) "#h-" (row.hold.id) } { (row.title) }
                p.quiet { (row.agent) " · " (row.owner.name) " · asked " (moment(row.hold.opened_at, now)) }
            }
            @if let Some(last) = &context.last_words { (last_words(last)) }
            (hold(Asked { hold: &row.hold, last: row.decision.as_ref(), call: context.call.as_ref() }, None, &view))
        }
    }
}
