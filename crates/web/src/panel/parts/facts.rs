//! What stands around the rounds of a conversation: status, cost, actions, files, the end.

use holdpoint_model::{Execution, event::ResultFile, execution::Outcome};
use maud::{Markup, html};

use super::{View, count, dollars, moment, running_since, size, status, text};
use crate::{file_path, markdown, panel::timeline::Timeline, time};

/// Status, times, cost.
pub(in crate::panel) fn facts(timeline: &Timeline, execution: &Execution, view: &View<'_>) -> Markup {
    let totals = &execution.totals;
    let waited = timeline.waited_ms(view.now);
    html! {
        div #facts {
            (status(execution.status))
            dl.facts {
                div { dt { "Started" } dd { (moment(execution.created_at, view.now)) " by " (execution.owner.name) } }
                div {
                    dt { "Elapsed" }
                    dd {
                        @match execution.ended_at {
                            Some(ended) => (time::length(ended - execution.created_at)),
                            None => (running_since(execution.created_at, view.now)),
                        }
                    }
                }
                @if waited >= 1000 {
                    div {
                        dt { "Waited for people" }
                        dd #waited {
                            @match timeline.waiting_since() {
                                // Counts on by itself, as if all the waiting had begun that much earlier.
                                Some(_) => (running_since(view.now - waited, view.now)),
                                None => (time::length(waited)),
                            }
                        }
                    }
                }
                div { dt { "Cost" } dd #cost data-micros=(totals.cost_micros) { (dollars(totals.cost_micros)) } }
                div {
                    dt { "Tokens" }
                    dd #tokens title={ (count(totals.tokens.cache_read_input_tokens)) " read from and " (count(totals.tokens.cache_creation_input_tokens)) " written to the cache" } {
                        (count(totals.tokens.input_tokens + totals.tokens.cache_read_input_tokens + totals.tokens.cache_creation_input_tokens))
                        " in, " (count(totals.tokens.output_tokens)) " out"
                    }
                }
                @if view.is_operator {
                    @if let Some(release) = &execution.release {
                        div { dt { "Release" } dd data-fact="release" { a href={ "/releases/" (release.number) } { (release.number) } } }
                    }
                    div { dt { "Session" } dd { (execution.residency.as_str()) @if execution.incarnation > 0 { ", worker " (execution.incarnation) } } }
                }
            }
        }
    }
}

/// Who answers, where that is no model.
pub(in crate::panel) fn rehearsal() -> Markup {
    html! {
        p #rehearsal .banner {
            strong { "Rehearsal. " }
            "A script answers here instead of a model: nothing is generated, nothing is paid for."
        }
    }
}

/// That nothing is between sessions and the machine.
pub(in crate::panel) fn not_isolated() -> Markup {
    html! {
        p #not-isolated .banner {
            strong { "Not isolated. " }
            "Sessions run as processes of the operator's user and can read and change what that user can. Run only agents you trust."
        }
    }
}

/// Why nothing happens yet.
pub(in crate::panel) fn queue(reason: Option<&str>) -> Markup {
    html! {
        div #queue {
            @if let Some(reason) = reason { p.banner { (super::super::layout::capitalised(reason)) "." } }
        }
    }
}

/// What is going on right now, in a line.
pub(in crate::panel) fn activity(timeline: &Timeline, execution: &Execution) -> Markup {
    html! {
        p #activity .quiet role="status" {
            @if let Some(text) = timeline.activity(execution) { span.dots {} (text) }
        }
    }
}

/// Interrupt, finish, cancel.
pub(in crate::panel) fn actions(execution: &Execution, view: &View<'_>) -> Markup {
    let post = |what: &str| format!("/executions/{}/{what}", view.execution);
    html! {
        div #actions .row {
            @if view.may_steer && !execution.status.is_final() {
                @if execution.turn.is_some() {
                    form method="post" action=(post("interrupt")) data-send {
                        button type="submit" data-action="interrupt" disabled[execution.interrupt] {
                            @if execution.interrupt { "Interrupting…" } @else { "Interrupt" }
                        }
                    }
                }
                @if execution.has_started {
                    form method="post" action=(post("finish")) data-send {
                        button type="submit" data-action="finish" disabled[execution.finish.is_some()] {
                            @if execution.finish.is_some() { "Finishing after this turn…" } @else { "Finish" }
                        }
                    }
                }
                details.way data-part="cancel" {
                    summary.button { "Cancel…" }
                    form.stack method="post" action=(post("cancel")) data-send {
                        p { "This ends the conversation now, whatever the agent is doing. What it made stays." }
                        div.row { button.danger type="submit" data-action="cancel" { "End it now" } }
                    }
                }
                p.alert role="alert" hidden {}
            }
        }
    }
}

/// Result files.
pub(in crate::panel) fn files(files: &[ResultFile], omitted: u64, view: &View<'_>) -> Markup {
    html! {
        section #files {
            @if !files.is_empty() {
                h2 { "Files" }
                ul.files {
                    @for file in files {
                        li {
                            a href=(file_path(view.execution, &file.path)) download data-file=(file.path) { (text::visible(&file.path)) }
                            " " span.quiet { (size(file.size)) }
                        }
                    }
                }
                @if omitted > 0 { p.quiet { "and " (omitted) " more" } }
            }
        }
    }
}

/// What may be done without asking again.
pub(in crate::panel) fn grants(execution: &Execution) -> Markup {
    html! {
        section #grants {
            @if !execution.grants.is_empty() {
                h2 { "Allowed in this conversation" }
                ul.plain-list {
                    @for grant in &execution.grants {
                        li { code { (text::visible(&grant.rule.to_string())) } " " span.quiet { "by " (grant.by.name) } }
                    }
                }
            }
        }
    }
}

/// How it ended.
pub(in crate::panel) fn outcome(timeline: &Timeline, execution: &Execution, view: &View<'_>) -> Markup {
    html! {
        @match &execution.outcome {
            None => section #outcome {},
            Some(Outcome::Finished { result, structured }) => section #outcome .card data-outcome="finished" {
                h2 { "Finished" }
                @if let Some(ended) = execution.ended_at { p.quiet { (moment(ended, view.now)) } }
                // Mostly the result is what the agent said last, and stands above already.
                @if structured.is_none() && timeline.last_words() != result { div.prose { (markdown::render(result)) } }
                @if let Some(structured) = structured { pre.content { (text::visible(&text::pretty(structured))) } }
            },
            Some(Outcome::Failed { error }) => section #outcome .card .bad data-outcome="error" data-problem=(error.code) {
                h2 { "Failed: " (error.title) }
                @if !error.detail.is_empty() { pre.output.error { (text::visible(&error.detail)) } }
                @if !error.hint.is_empty() { div.prose { (markdown::render(&error.hint)) } }
                p.quiet { code { (error.code) } }
            },
            Some(Outcome::Cancelled { by }) => section #outcome .card data-outcome="cancelled" {
                h2 { "Cancelled" }
                p { "by " (by.name) @if let Some(ended) = execution.ended_at { " · " (moment(ended, view.now)) } }
            },
        }
    }
}
