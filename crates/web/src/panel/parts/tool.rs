//! A tool call: folded, with its arguments, the holds about it, and its result.

use holdpoint_model::event::ToolResult;
use maud::{Markup, html};
use serde_json::Value;

use super::{
    View, diff,
    hold::{Asked, hold},
    permalink, subject, text,
};
use crate::{
    markdown,
    panel::timeline::{HoldEntry, ToolItem},
};

/// How a call stands, for `data-tool-state`.
fn state(tool: &ToolItem) -> (&'static str, &'static str) {
    if let Some(result) = &tool.result {
        return if result.is_error { ("error", "failed") } else { ("done", "done") };
    }
    let is_open = |entry: &HoldEntry| entry.hold.state == holdpoint_model::HoldState::Open;
    if tool.holds.iter().any(is_open) {
        ("asks", "waits for you")
    } else if tool.ended {
        ("stopped", "did not run")
    } else {
        ("running", "running")
    }
}

/// The whole call. `children` is what a subagent of it did.
pub(in crate::panel) fn tool(tool: &ToolItem, into: &str, children: &Markup, view: &View<'_>) -> Markup {
    html! {
        article.tool id={ "t-" (tool.id) } data-into=(into) data-tool=(tool.name) data-call=(tool.id) {
            (permalink(view, tool.seq, Some("e")))
            details {
                (head(tool))
                div.inside {
                    div.args { (subject::arguments(&tool.name, &tool.input)) }
                    (result(tool))
                }
            }
            div.holds id={ "t-" (tool.id) "-holds" } {
                @for entry in &tool.holds { (tool_hold(tool, entry, view)) }
            }
            div.sub id={ "sub-" (tool.id) } { (children) }
        }
    }
}

/// The line that is always seen; replaced as the call goes on.
pub(in crate::panel) fn head(tool: &ToolItem) -> Markup {
    let (state, words) = state(tool);
    html! {
        summary id={ "t-" (tool.id) "-head" } data-tool-state=(state) {
            span.tool-name { (subject::name(&tool.name)) }
            span.tool-what { (text::visible(&subject::summary(&tool.name, &tool.input))) }
            span.tool-state { (words) }
        }
    }
}

/// One hold about the call.
pub(in crate::panel) fn tool_hold(tool: &ToolItem, entry: &HoldEntry, view: &View<'_>) -> Markup {
    let asked = Asked { hold: &entry.hold, last: entry.decision.as_ref(), call: Some(&tool.input) };
    hold(asked, Some(&format!("t-{}-holds", tool.id)), view)
}

/// The result, once there is one.
pub(in crate::panel) fn result(tool: &ToolItem) -> Markup {
    html! {
        div.result id={ "t-" (tool.id) "-result" } {
            @if let Some(result) = &tool.result { (output(&tool.name, result)) }
        }
    }
}

fn output(tool: &str, result: &ToolResult) -> Markup {
    let patch = result.patch.as_ref().and_then(diff::patch);
    html! {
        @if result.from_transcript { p.quiet { "Found in the transcript after the worker was lost." } }
        @if let Some(patch) = &patch { (patch) }
        @if result.content.trim().is_empty() {
            @if patch.is_none() { p.quiet { "No output." } }
        } @else if patch.is_some() && !result.is_error {
            // What the model read of it says no more than the patch.
        } @else if matches!(tool, "Agent" | "Task") && !result.is_error {
            div.output.prose { (markdown::render(&result.content)) }
        } @else {
            pre.output.error[result.is_error] { (text::visible(&result.content)) }
        }
        @if result.truncated { p.quiet { "Cut: the agent read all of it." } }
    }
}

/// A block of a kind that has no picture of its own.
pub(in crate::panel) fn raw(value: &Value) -> Markup {
    html! { details.note { summary { "Something else" } pre { (text::visible(&text::pretty(value))) } } }
}
