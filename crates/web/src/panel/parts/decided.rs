//! What became of a hold: who decided, when, how.

use holdpoint_model::{Answer, Channel, Hold, HoldState, hold::Decision};
use maud::{Markup, html};

use super::{View, moment, subject, text};
use crate::markdown;

/// The line (or lines) about a hold that is not open any more.
pub(in crate::panel) fn decided(hold: &Hold, last: Option<&Decision>, view: &View<'_>) -> Markup {
    html! {
        @match (&hold.state, hold.state.decision().or(last)) {
            (HoldState::Expired { .. }, _) => p.decision data-outcome="expired" {
                strong { "Expired" } " before anybody answered. The agent was told so."
            },
            (HoldState::Superseded { .. }, None) => p.decision data-outcome="superseded" {
                strong { "Not asked any more" } ": the agent asked for something else instead."
            },
            (HoldState::Cancelled { reason }, None) => p.decision data-outcome="cancelled" {
                strong { "Not needed any more" } ": " (reason) "."
            },
            (state, Some(decision)) => (by_somebody(hold, state, decision, view)),
            (state, None) => p.decision { (state.as_str()) },
        }
    }
}

fn by_somebody(hold: &Hold, state: &HoldState, decision: &Decision, view: &View<'_>) -> Markup {
    let outcome = match &decision.answer {
        Answer::Allow { .. } => "allowed",
        Answer::Deny { .. } => "denied",
        Answer::Reply { .. } | Answer::Answers { .. } => "answered",
    };
    let by_rule = decision.by.channel == Channel::System;
    html! {
        div.decision data-outcome=(outcome) data-by=[by_rule.then_some("rule")] {
            p {
                strong { (words(hold, &decision.answer)) }
                @match (by_rule, decision.by.name.as_str()) {
                    (true, "grant") => " by a rule allowed in this conversation",
                    (true, "policy") => " by the agent’s policy",
                    _ => { " by " span.who { (decision.by.name) } },
                }
                @if !by_rule && decision.grant.is_some() {
                    @if let Some(rule) = &hold.subject.grant {
                        ", and from now on in this conversation: " code { (rule.to_string()) }
                    }
                }
                " · " (moment(decision.at, view.now))
                (fate(state))
            }
            (content(hold, &decision.answer))
        }
    }
}

fn words(hold: &Hold, answer: &Answer) -> &'static str {
    use holdpoint_model::HoldKind::{Plan, Question};
    match (answer, hold.kind) {
        (Answer::Allow { input: Some(_) }, Plan) => "Approved with changes",
        (Answer::Allow { .. }, Plan) => "Approved",
        (Answer::Allow { input: Some(_) }, _) => "Allowed with changes",
        (Answer::Allow { .. }, _) => "Allowed",
        (Answer::Deny { .. }, Plan) => "Sent back",
        (Answer::Deny { .. }, Question) => "Skipped",
        (Answer::Deny { .. }, _) => "Denied",
        (Answer::Reply { .. }, _) => "Replied",
        (Answer::Answers { .. }, _) => "Answered",
    }
}

/// Where the decision is on its way.
fn fate(state: &HoldState) -> Markup {
    html! {
        @match state {
            HoldState::Answered { .. } => span.quiet { " · waits to be handed to the agent" },
            HoldState::Releasing { .. } => span.quiet { " · being handed to the agent" },
            HoldState::Indeterminate { .. } => span.warn { " · the worker was lost before the result came back; it is asked again below" },
            HoldState::Cancelled { reason } => span.warn { " · not handed over: " (reason) },
            HoldState::Superseded { .. } => span.warn { " · not handed over: the agent asked for something else instead" },
            _ => {},
        }
    }
}

fn content(hold: &Hold, answer: &Answer) -> Markup {
    html! {
        @match answer {
            Answer::Allow { input: Some(input) } => {
                details { summary { "What it was changed to" } (subject::arguments(&hold.subject.tool, input)) }
            }
            Answer::Deny { message } => blockquote.said { (markdown::render_typed(message)) },
            Answer::Reply { text, files } => {
                blockquote.said { (markdown::render_typed(text)) }
                @for file in files { p.path { (file) } }
            }
            Answer::Answers { answers, notes } => {
                dl.answers {
                    @for (question, answer) in answers {
                        dt { (text::visible(question)) }
                        dd {
                            (text::visible(answer))
                            @if let Some(note) = notes.get(question) { p.quiet { (text::visible(note)) } }
                        }
                    }
                }
            }
            Answer::Allow { input: None } => {},
        }
    }
}
