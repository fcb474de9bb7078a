//! How a session is doing, for operators: where it runs, what it uses, what it wrote, and a command beside it.

use holdpoint_control::{Instance, Usage};
use holdpoint_model::ExecutionId;
use maud::{Markup, html};

use super::{count, moment, text};
use crate::time;

/// What is seen, or why nothing is.
pub(in crate::panel) type Sight = Result<Instance, String>;

/// The part of the conversation's page.
pub(in crate::panel) fn section(id: ExecutionId, sight: &Sight, now: i64) -> Markup {
    html! {
        section #session {
            h2 { a href={ "/executions/" (id) "/session" } { "Session" } }
            @match sight {
                Ok(worker) => {
                    (figures(worker, now))
                    details.way data-part="exec" {
                        summary.button { "Run a command…" }
                        (command(id, "", false))
                    }
                }
                Err(why) => p.quiet { (super::super::layout::capitalised(why)) "." }
            }
            (logs(id, sight))
        }
    }
}

/// Where it runs and what it uses.
pub(in crate::panel) fn figures(worker: &Instance, now: i64) -> Markup {
    html! {
        dl.facts {
            div { dt { "Engine" } dd data-fact="engine" { (worker.engine) ", " (worker.state) } }
            @if let Some(at) = worker.started_at { div { dt { "Running" } dd { "since " (moment(at, now)) } } }
            @if let Some(container) = &worker.container {
                div { dt { "Container" } dd { code title=(container.name) { (short(&container.id)) } } }
                div { dt { "Image" } dd { code title=(container.image_digest) { (text::visible(&container.image)) } } }
            }
            div { dt { "Memory" } dd data-fact="memory" { (of(worker.memory, mebibytes)) } }
            div { dt { "Processes" } dd { (of(worker.processes, count)) } }
        }
    }
}

/// The rest of what is known.
pub(in crate::panel) fn more(worker: &Instance) -> Markup {
    let list = |pids: &[i32]| pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let milliseconds = i64::try_from(worker.cpu_ms).unwrap_or(i64::MAX);
    html! {
        dl.facts {
            div {
                dt { "Processor time" }
                dd { (time::length(milliseconds)) @if let Some(cpus) = worker.cpus { ", of " (cpus) " processors" } }
            }
            @if let Some(pid) = worker.worker_pid { div { dt { "Worker's process" } dd { (pid) } } }
            @if !worker.session_pids.is_empty() { div { dt { "Session's processes" } dd { (list(&worker.session_pids)) } } }
            @if let Some(container) = &worker.container {
                div { dt { "Name" } dd { code { (container.name) } } }
                div { dt { "Digest" } dd { code { (container.image_digest) } } }
                div { dt { "User inside" } dd { (container.user) } }
                div { dt { "Network" } dd { (container.network) } }
            }
        }
        @if let Some(container) = &worker.container {
            h2 { "What it sees of this machine" }
            ul.plain-list {
                @for mount in &container.mounts {
                    li {
                        code { (mount.target.display()) } " "
                        span.quiet { @if mount.read_only { "to read" } @else { "to read and write" } }
                    }
                }
            }
        }
    }
}

/// Where what was written can be read.
pub(in crate::panel) fn logs(id: ExecutionId, sight: &Sight) -> Markup {
    let has_container = sight.as_ref().is_ok_and(|worker| worker.container.is_some());
    html! {
        p.quiet {
            "Logs: "
            @for (of, name) in [("worker", "worker"), ("cli", "Claude CLI"), ("container", "container")] {
                @if of != "container" || has_container {
                    @if of != "worker" { " · " }
                    a href={ "/v1/executions/" (id) "/logs/" (of) } data-log=(of) { (name) }
                }
            }
        }
    }
}

/// A command to run.
pub(in crate::panel) fn command(id: ExecutionId, line: &str, focus: bool) -> Markup {
    html! {
        form #exec .stack method="post" action={ "/executions/" (id) "/session" } {
            div.field {
                label for="exec-command" { "Command" }
                input #exec-command .code type="text" name="command" value=(line) required autocomplete="off" autocapitalize="off" spellcheck="false" autofocus[focus];
                small.quiet { "It runs in a shell in the workspace, as what the session is. The conversation notes it with your name." }
            }
            div.row { button type="submit" data-action="exec" { "Run" } }
        }
    }
}

fn of(usage: Usage, say: impl Fn(u64) -> String) -> String {
    match usage.limit {
        Some(limit) => format!("{} of {}", say(usage.used), say(limit)),
        None => say(usage.used),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", count(bytes.div_ceil(1 << 20)))
}

/// As much of an id as the engine's own tools show.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
