//! Where a person writes. Its text field stays as it is while the words around it follow the state.

use holdpoint_model::{Execution, Hold, HoldState};
use maud::{Markup, html};

use super::{View, hold::attach, moment};

/// The reply hold that is open.
fn open_reply(execution: &Execution) -> Option<&Hold> {
    execution.reply_hold().filter(|hold| hold.state == HoldState::Open)
}

/// Whether this person can write here at all, now or later.
fn may_write(execution: &Execution, view: &View<'_>) -> bool {
    !execution.status.is_final() && (view.may_steer || view.may_decide)
}

/// The whole composer, with its form.
pub(in crate::panel) fn composer(execution: &Execution, view: &View<'_>) -> Markup {
    html! {
        section #composer aria-label="Write to the agent" {
            @if execution.status.is_final() {
                p.quiet { "This conversation is over. " a href="/" { "Start a new one" } }
            } @else if may_write(execution, view) {
                form #composer-form .card .stack method="post" enctype="multipart/form-data" data-send data-clear
                    action={ "/executions/" (view.execution) "/messages" }
                {
                    input type="hidden" name="back" value=(view.back);
                    (state(execution, view))
                    textarea name="text" rows="3" required aria-labelledby="composer-label" data-reply data-draft=(view.execution) {}
                    div.row {
                        (attach())
                        button.primary type="submit" data-action="send" { "Send" }
                    }
                    p.alert role="alert" hidden {}
                }
            } @else {
                p.quiet { "You may look at this conversation, not write to it." }
            }
        }
    }
}

/// What a message would be now: a reply, or a word while the agent works.
pub(in crate::panel) fn state(execution: &Execution, view: &View<'_>) -> Markup {
    let reply = open_reply(execution);
    html! {
        div #composer-state .stack
            data-hold=[reply.map(|hold| hold.id)] data-kind=[reply.map(|_| "reply")] data-state=[reply.map(|_| "open")]
        {
            @if let Some(hold) = reply {
                input type="hidden" name="hold" value=(hold.id);
                div.ask {
                    strong #composer-label { "Your turn: reply to the agent" }
                    @if let Some(expires) = hold.expires_at {
                        span.quiet.expiry { "expires " (moment(expires, view.now)) }
                    }
                }
                @if let Some(caution) = &hold.subject.caution { p.caution { (caution) } }
            } @else {
                strong #composer-label {
                    @if execution.open_holds().next().is_some() { "The agent waits for the decision above. A message:" }
                    @else { "A message while the agent works" }
                }
                @if !view.may_steer {
                    p.quiet { "Only the owner or an operator can write now; you can answer what the agent asks." }
                } @else {
                    fieldset.choices {
                        legend.unseen { "When the agent gets it" }
                        label { input type="radio" name="mode" value="queue" checked; span { "After this turn" } }
                        label { input type="radio" name="mode" value="steer"; span { "Right now" } }
                    }
                }
            }
            @if !execution.messages.is_empty() {
                p.quiet { (execution.messages.len()) " waiting to be sent" }
            }
        }
    }
}
