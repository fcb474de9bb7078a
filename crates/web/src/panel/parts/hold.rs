//! A hold: what is asked, and the forms that answer it. The same in the inbox and in the conversation.

use holdpoint_model::{Hold, HoldKind, HoldState, hold::Decision};
use maud::{Markup, html};
use serde_json::Value;

use super::{View, decided::decided, moment, question, subject, text};
use crate::markdown;

/// A hold, with what is known about it beside.
#[derive(Clone, Copy, Debug)]
pub(in crate::panel) struct Asked<'a> {
    pub(in crate::panel) hold: &'a Hold,
    /// The last decision, also where the present state does not carry it.
    pub(in crate::panel) last: Option<&'a Decision>,
    /// What the agent itself put into the call, where that may differ from what is asked.
    pub(in crate::panel) call: Option<&'a Value>,
}

/// A hold in whatever state. `into` names the element that it belongs into.
pub(in crate::panel) fn hold(asked: Asked<'_>, into: Option<&str>, view: &View<'_>) -> Markup {
    let Asked { hold, last, call } = asked;
    let is_open = hold.state == HoldState::Open;
    html! {
        section id={ "h-" (hold.id) } .hold .card[is_open]
            data-hold=(hold.id) data-kind=(hold.kind.as_str()) data-state=(hold.state.as_str())
            data-into=[into] data-nav[is_open] tabindex="-1" aria-labelledby=[is_open.then(|| format!("h-{}-title", hold.id))]
        {
            @if is_open { (open(hold, call, view)) } @else { (decided(hold, last, view)) }
        }
    }
}

fn open(hold: &Hold, call: Option<&Value>, view: &View<'_>) -> Markup {
    html! {
        header.ask {
            h3 id={ "h-" (hold.id) "-title" } { (title(hold)) }
            // The inbox says whose it is beside the hold, where it is changed.
            @let assigned = hold.assigned.as_ref().filter(|_| view.is_conversation());
            @if assigned.is_some() || hold.expires_at.is_some() {
                p.quiet.expiry {
                    @if let Some(assigned) = assigned { "with " (text::visible(&assigned.name)) }
                    @if assigned.is_some() && hold.expires_at.is_some() { " · " }
                    @if let Some(expires) = hold.expires_at { "expires " (moment(expires, view.now)) }
                }
            }
        }
        @if let Some(caution) = &hold.subject.caution {
            p.caution { strong { "Look twice. " } (caution) }
        }
        @if let Some(description) = &hold.subject.description {
            p.quiet { (text::visible(description)) }
        }
        @match hold.kind {
            HoldKind::Plan if subject::is_empty_plan(&hold.subject) => div.subject { (plan_of_call(hold, call, view)) },
            HoldKind::Tool | HoldKind::Plan => div.subject { (subject::arguments(&hold.subject.tool, &hold.subject.input)) },
            HoldKind::Question | HoldKind::Reply => {},
        }
        @if view.may_decide {
            @match hold.kind {
                HoldKind::Tool => (tool_forms(hold, view)),
                HoldKind::Plan => (plan_forms(hold, call, view)),
                HoldKind::Question => (question_forms(hold, view)),
                HoldKind::Reply => (reply_form(hold, view)),
            }
        } @else {
            @if hold.kind == HoldKind::Question { (questions_to_read(hold)) }
            @if !view.past { p.quiet { "Somebody else has to answer this: you may look only." } }
        }
        p.alert role="alert" hidden {}
    }
}

/// What the agent wrote into its call, where the ask came without a plan: the CLI asks with nothing
/// when no plan file was written.
fn plan_of_call(hold: &Hold, call: Option<&Value>, view: &View<'_>) -> Markup {
    let says_something = |input: &&Value| input.as_object().is_some_and(|input| !input.is_empty());
    let asked = Some(&hold.subject.input).filter(says_something);
    let wrote = call.filter(says_something).filter(|call| Some(*call) != asked);
    let has_plan = wrote.is_some_and(|call| call.get("plan").is_some_and(Value::is_string));
    let call_id = hold.subject.tool_use_id.as_deref().unwrap_or_default();
    html! {
        @if let Some(call) = wrote { (subject::arguments(&hold.subject.tool, call)) }
        @if !has_plan {
            p.quiet {
                "The agent gave no plan text; read "
                @if view.is_conversation() { "what it wrote above." }
                @else { a href={ "/executions/" (view.execution) "#t-" (call_id) } { "what it wrote in the conversation" } "." }
            }
        }
        @if let Some(asked) = asked { (subject::arguments(&hold.subject.tool, asked)) }
    }
}

fn title(hold: &Hold) -> Markup {
    html! {
        @match hold.kind {
            HoldKind::Tool => { "The agent wants to " (subject::deed(&hold.subject.tool)) },
            HoldKind::Plan => "The agent proposes a plan",
            HoldKind::Question => "The agent has a question",
            HoldKind::Reply => "The agent is done for now and waits for your reply",
        }
    }
}

/// A form that answers this hold; `body` has its fields and buttons.
fn form(hold: &Hold, view: &View<'_>, class: &str, body: &Markup) -> Markup {
    html! {
        form class=(class) method="post" action={ "/holds/" (hold.id) "/decision" } enctype="multipart/form-data" data-send {
            input type="hidden" name="digest" value=(hold.subject.digest);
            input type="hidden" name="back" value=(view.back);
            (body)
        }
    }
}

fn tool_forms(hold: &Hold, view: &View<'_>) -> Markup {
    html! {
        div.answers-row {
            (form(hold, view, "row", &html! {
                button.primary name="action" value="allow" data-action="allow" { "Allow once" }
                @if let Some(rule) = &hold.subject.grant {
                    button name="action" value="allow-conversation" data-action="allow-conversation" {
                        "Always allow " code { (rule.to_string()) }
                        small { "in this conversation" }
                    }
                }
            }))
            (edit_form(hold, subject::editable(&hold.subject.tool, &hold.subject.input), view, "Edit, then allow", "Allow with these changes"))
            (deny_form(hold, view, "Deny", "Why? The agent reads this.", "Deny"))
        }
    }
}

fn plan_forms(hold: &Hold, call: Option<&Value>, view: &View<'_>) -> Markup {
    // Where the ask came without a plan, a person's text goes in as one.
    let editable = if subject::is_empty_plan(&hold.subject) {
        let wrote = call.and_then(|call| call.get("plan")).and_then(Value::as_str);
        ("plan", wrote.unwrap_or_default().to_owned())
    } else {
        subject::editable(&hold.subject.tool, &hold.subject.input)
    };
    html! {
        div.answers-row {
            (form(hold, view, "row", &html! {
                button.primary name="action" value="allow" data-action="allow" { "Approve the plan" }
            }))
            (edit_form(hold, editable, view, "Change it, then approve", "Approve with these changes"))
            (deny_form(hold, view, "Send back", "What should be different?", "Send back"))
        }
    }
}

fn edit_form(
    hold: &Hold,
    (key, value): (&'static str, String),
    view: &View<'_>,
    label: &str,
    send: &str,
) -> Markup {
    let what = match key {
        "command" => "The command",
        "content" => "The content of the file",
        "new_string" => "The new text",
        "plan" => "The plan, in Markdown",
        _ => "The arguments, as JSON",
    };
    html! {
        details.way data-part="edit" {
            summary.button data-action="edit" { (label) }
            (form(hold, view, "stack", &html! {
                input type="hidden" name="edit" value=(key);
                label {
                    span { (what) }
                    textarea.code name="edited" rows=(text::rows(&value, 3, 20)) spellcheck="false" {
                        (text::area_value(&value))
                    }
                }
                div.row { button.primary name="action" value="allow-edited" data-action="allow-edited" { (send) } }
            }))
        }
    }
}

fn deny_form(hold: &Hold, view: &View<'_>, label: &str, why: &str, send: &str) -> Markup {
    html! {
        details.way data-part="deny" {
            summary.button data-action="open-deny" { (label) }
            (form(hold, view, "stack", &html! {
                label {
                    span { (why) }
                    textarea name="message" rows="3" {}
                }
                div.row { button.danger name="action" value="deny" data-action="deny" { (send) } }
            }))
        }
    }
}

fn question_forms(hold: &Hold, view: &View<'_>) -> Markup {
    form(
        hold,
        view,
        "stack",
        &html! {
            (question::fields(hold))
            div.answers-row {
                button.primary name="action" value="answer" data-action="answer" { "Answer" }
                // In the same form, so that skipping stands beside answering.
                details.way data-part="deny" {
                    summary.button data-action="open-deny" { "Skip" }
                    div.stack {
                        label {
                            span { "Why? The agent reads this." }
                            textarea name="message" rows="3" {}
                        }
                        div.row { button.danger name="action" value="deny" data-action="deny" { "Skip the questions" } }
                    }
                }
            }
        },
    )
}

fn questions_to_read(hold: &Hold) -> Markup {
    html! {
        @for question in hold.questions() {
            p { strong { (text::visible(&question.question)) } }
            ul { @for choice in &question.options { li { (text::visible(&choice.label)) } } }
        }
    }
}

fn reply_form(hold: &Hold, view: &View<'_>) -> Markup {
    form(
        hold,
        view,
        "stack",
        &html! {
            label {
                span { "Your reply" }
                textarea name="message" rows="3" required data-reply {}
            }
            div.row {
                (attach())
                button.primary name="action" value="reply" data-action="reply" { "Send" }
            }
        },
    )
}

/// A control for files.
pub(in crate::panel) fn attach() -> Markup {
    html! {
        label.attach {
            span { "Attach files" }
            input type="file" name="files" multiple;
        }
    }
}

/// The end of what the agent said, for a reply hold in the inbox.
pub(in crate::panel) fn last_words(text: &str) -> Markup {
    html! { @if !text.is_empty() { div.prose.clipped { (markdown::render(text)) } } }
}
