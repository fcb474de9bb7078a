//! A hold in the inbox: whose conversation it is of, the hold itself, and what may be done with it beside answering.

use holdpoint_model::{EventBody, Hold, HoldKind, UnixMs, event::Block};
use holdpoint_store::HoldRow;
use maud::{Markup, html};
use serde_json::Value;

use crate::{
    auth::Caller,
    limits,
    panel::parts::{
        View,
        hold::{Asked, hold, last_words},
        moment, subject, text,
    },
    problem::Problem,
    state::WebState,
};

/// What a hold's card needs beside the hold itself.
#[derive(Debug, Default)]
pub(super) struct Context {
    /// What a reply would be a reply to.
    last_words: Option<String>,
    /// What the agent put into the call that the hold is about.
    call: Option<Value>,
    /// Until when whoever looks has put it off.
    snoozed_until: Option<UnixMs>,
}

impl Context {
    /// Those of a page, in its order; `snoozed` if it is of what was put off.
    pub(super) async fn of_all(
        state: &WebState,
        caller: &Caller,
        rows: &[HoldRow],
        snoozed: bool,
    ) -> Result<Vec<Self>, Problem> {
        let is_reply = |row: &&HoldRow| row.hold.kind == HoldKind::Reply;
        let replies: Vec<_> = rows.iter().filter(is_reply).map(|row| row.execution).collect();
        let executions = state.store().executions(&replies).await?;
        let mut contexts = Vec::with_capacity(rows.len());
        for row in rows {
            let mut context = Self::default();
            if snoozed {
                context.snoozed_until =
                    state.store().snoozed_until(caller.user, row.hold.id, state.now()).await?;
            }
            match row.hold.kind {
                HoldKind::Reply => {
                    let turn =
                        executions.get(&row.execution).and_then(|execution| execution.last_turn.as_ref());
                    context.last_words = turn.map(|turn| turn.text.clone());
                }
                HoldKind::Plan if subject::is_empty_plan(&row.hold.subject) => {
                    context.call = call_of(state, row).await?;
                }
                HoldKind::Plan | HoldKind::Tool | HoldKind::Question => {}
            }
            contexts.push(context);
        }
        Ok(contexts)
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

/// Whether a hold may be decided together with others: it is answered by yes or no, and nothing about it has to be
/// looked at twice.
pub(super) fn is_one_of_several(hold: &Hold) -> bool {
    hold.kind == HoldKind::Tool && hold.subject.caution.is_none()
}

pub(super) fn card(row: &HoldRow, context: &Context, caller: &Caller, back: &str, now: UnixMs) -> Markup {
    let (may_decide, may_steer, is_operator, past) = (true, false, false, false);
    let view = View { execution: row.execution, now, may_decide, may_steer, is_operator, past, back };
    html! {
        article.inbox-item id={ "i-" (row.hold.id) } {
            header {
                @if is_one_of_several(&row.hold) {
                    label.pick title="Select (x)" {
                        input type="checkbox" name="hold" value=(row.hold.id) form="several" data-pick;
                        span.unseen { "Select: " (row.title) }
                    }
                }
                div {
                    a href={ "/executions/" (row.execution) "#h-" (row.hold.id) } { (title(row)) }
                    p.quiet { (row.agent) " · " (row.owner.name) " · asked " (moment(row.hold.opened_at, now)) }
                }
            }
            @if let Some(last) = &context.last_words { (last_words(last)) }
            (hold(Asked { hold: &row.hold, last: row.decision.as_ref(), call: context.call.as_ref() }, None, &view))
            (beside(row, context, caller, &view))
        }
    }
}

pub(super) fn title(row: &HoldRow) -> Markup {
    html! { @if row.title.is_empty() { "Untitled" } @else { (text::visible(&row.title)) } }
}

/// Whose it is, and when it is seen again.
fn beside(row: &HoldRow, context: &Context, caller: &Caller, view: &View<'_>) -> Markup {
    let id = row.hold.id;
    html! {
        footer.beside {
            // Refreshed by itself: what is being written into the forms beside it stays.
            div.row id={ "whose-" (id) } data-refresh { (whose(row, caller, view)) }
            details.way data-part="assign" {
                summary.button.small data-action="open-assign" { "Assign…" }
                (form(row, "assign", view, &html! {
                    label {
                        span { "To whom?" }
                        input type="text" name="to" list="people" required autocomplete="off" autocapitalize="none" spellcheck="false";
                    }
                    div.row { button.primary name="action" value="assign" data-action="assign" { "Assign" } }
                }))
            }
            @match context.snoozed_until {
                Some(until) => div.row {
                    span.quiet { "back " (moment(until, view.now)) }
                    (form(row, "snooze", view, &html! {
                        button.small name="action" value="wake" data-action="wake" { "Show it now" }
                    }))
                },
                None => details.way data-part="snooze" {
                    summary.button.small data-action="open-snooze" { "Snooze…" }
                    (form(row, "snooze", view, &snooze(row, view.now)))
                },
            }
        }
    }
}

fn whose(row: &HoldRow, caller: &Caller, view: &View<'_>) -> Markup {
    let assigned = row.hold.assigned.as_ref();
    let is_mine = assigned.is_some_and(|assigned| assigned.user == caller.user);
    html! {
        span.quiet data-whose=[assigned.map(|assigned| assigned.user)] {
            @match assigned {
                Some(_) if is_mine => strong { "Yours" },
                Some(assigned) => { "With " strong { (text::visible(&assigned.name)) } },
                None => "Nobody’s yet",
            }
        }
        (form(row, "assign", view, &html! {
            @if is_mine {
                button.small name="action" value="nobody" data-action="give-back" { "Give it back" }
            } @else {
                button.small name="action" value="take" data-action="take" { "Take it" }
            }
        }))
    }
}

fn snooze(row: &HoldRow, now: UnixMs) -> Markup {
    let nearly_due = row.hold.expires_at.map(|at| at - limits::NEARLY_DUE_MS);
    html! {
        @if nearly_due.is_some_and(|at| at <= now) {
            p.quiet { "It is nearly due: answer it, or assign it to somebody who can." }
        } @else {
            p.quiet { "Out of your inbox alone, and back an hour before its end at the latest." }
            div.row {
                @for (value, words) in [("1h", "1 hour"), ("4h", "4 hours"), ("1d", "A day"), ("3d", "3 days")] {
                    button name="action" value=(value) data-action={ "snooze-" (value) } { (words) }
                }
                @if nearly_due.is_some() {
                    button name="action" value="nearly-due" data-action="snooze-nearly-due" { "Until it is nearly due" }
                }
            }
        }
    }
}

fn form(row: &HoldRow, what: &str, view: &View<'_>, body: &Markup) -> Markup {
    html! {
        form.stack method="post" action={ "/holds/" (row.hold.id) "/" (what) } data-send {
            input type="hidden" name="back" value=(view.back);
            (body)
            p.alert role="alert" hidden {}
        }
    }
}
