//! `/releases/{number}`: what one release is made of, what was done for it, and making it current again.

use axum::{extract::State, response::Response};
use holdpoint_model::{
    Lock, ReleaseNumber, ReleaseState, UnixMs,
    lock::{Change, short},
};
use holdpoint_store::{ReleaseRow, ReleaseStep};
use http::HeaderMap;
use maud::{Markup, html};

use crate::{
    auth::Visitor,
    body::Path,
    panel::{
        PageError, answer_form,
        form::FormData,
        inbox,
        layout::{Page, capitalised},
        parts::{moment, release, text},
    },
    releases::{self, Listed},
    state::WebState,
};

pub(crate) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(number): Path<String>,
) -> Result<Response, PageError> {
    caller.check_operate()?;
    let Listed { row, changes } = releases::find(&state, &number).await?;
    let steps = state.store().release_steps(row.number).await?;
    let current = state.control.release().map(|release| release.number);
    let open = inbox::count_for(&state, &caller).await?;
    let now = state.now();
    let title = format!("Release {}", row.number);
    let body = html! {
        main #main .wide data-release=(row.number) data-state=(row.state.as_str()) {
            p.eyebrow { a href="/operations" { "Operations" } " · " a href="/releases" { "Releases" } }
            div.row { h1 { (title) } (release::state(row.state)) }
            (standing(&row, current, now))
            section.two {
                div { h2 { "What changed" } (differences(&changes)) }
                div { h2 { "What was done" } (done(&steps, &row, now)) }
            }
            section.stack {
                h2 { "What it is made of" }
                (made_of(&row))
            }
        }
    };
    let page = Page { title: &title, name: "release", caller: Some(&caller), open_holds: Some(open) };
    Ok(page.show(&body))
}

/// Where it is on its way, what that means, and what can be done about it.
fn standing(row: &ReleaseRow, current: Option<ReleaseNumber>, now: UnixMs) -> Markup {
    html! {
        section.card.stack {
            p {
                @match row.state {
                    ReleaseState::Building => "It is being built or tried out. Nothing runs on it yet. To go on where it was left, deploy again.",
                    ReleaseState::Current => "New conversations run on it.",
                    ReleaseState::Retired => "It was current, and can be again.",
                    ReleaseState::Failed => "It never became current, and nothing runs on it.",
                    ReleaseState::Removed => "Its image is gone: it cannot be current again. Deploy what it was made of to have it back.",
                }
                @if matches!(row.state, ReleaseState::Current | ReleaseState::Retired) || row.going_on > 0 {
                    " " (capitalised(&release::going_on(row.going_on))) "."
                }
            }
            @if let Some(problem) = &row.problem { pre.output.error { (text::visible(problem)) } }
            p.quiet {
                "Begun " (moment(row.created_at, now)) " by " (row.by.name)
                @if let Some(at) = row.activated_at { ", last made current " (moment(at, now)) }
                "."
            }
            @if row.state == ReleaseState::Retired {
                details.way data-part="activate" {
                    summary.button { "Make current…" }
                    form.stack method="post" action={ "/releases/" (row.number) "/activate" } {
                        p {
                            "New conversations run on release " (row.number) " from then on"
                            @if let Some(current) = current { ", and no longer on release " (current) }
                            ". Those that go on keep theirs. It can be undone in the same way."
                        }
                        div.row { button.primary type="submit" data-action="activate" { "Make release " (row.number) " current" } }
                    }
                }
            }
        }
    }
}

fn differences(changes: &[Change]) -> Markup {
    html! {
        @if changes.is_empty() {
            p #changes .card .quiet { "Nothing: it is made of the same as the release before." }
        } @else {
            ul #changes .rows {
                @for change in changes {
                    li.step { p { (text::visible(&change.to_string())) } span.quiet { (change.effort.as_str()) } }
                }
            }
        }
    }
}

fn done(steps: &[ReleaseStep], row: &ReleaseRow, now: UnixMs) -> Markup {
    html! {
        ol #steps .rows {
            @for step in steps {
                li.step data-step=(step.step) {
                    p {
                        @match step.step.as_str() {
                            "begun" => { "Begun " (step.detail) },
                            "image" => { "Image " code title=(step.detail) { (text::visible(&short(&step.detail))) } },
                            "verification" => { "Tried out in " a href={ "/executions/" (step.detail) } data-verification[row.verification.is_some_and(|id| id.to_string() == step.detail)] { "a conversation" } },
                            "current" => { "Made current " (step.detail) },
                            "failed" => { "Failed: " (text::visible(&step.detail)) },
                            "removed" => "Its image was given up",
                            other => { (other) " " (text::visible(&step.detail)) },
                        }
                    }
                    span.quiet { (moment(step.at, now)) }
                }
            }
        }
    }
}

fn made_of(row: &ReleaseRow) -> Markup {
    let lock = &row.lock;
    let part = |name: &str, words: &str, value: Markup| {
        html! { div data-part=(name) { dt { (words) } dd { (value) } } }
    };
    let digest = |whole: &str| html! { code title=(whole) { (text::visible(&short(whole))) } };
    let names: Vec<&str> = row.agents.keys().map(String::as_str).collect();
    html! {
        dl #made-of .facts .card {
            (part("agents", "Agents", html! { (text::visible(&names.join(", "))) }))
            (part("settings", "What they are and do", digest(lock.settings.as_str())))
            (part("policy", "What they may do", digest(lock.policy.as_str())))
            (part("holdpoint", "Holdpoint", html! { (text::visible(&lock.holdpoint)) }))
            (part("claude-cli", "Claude CLI", html! { (text::visible(&lock.claude_cli)) }))
            @match &lock.image {
                Some(image) => {
                    (part("image", "Image", digest(&image.id)))
                    @if let Some(reference) = &image.reference { (part("reference", "In the registry", digest(reference))) }
                }
                None => (part("image", "Image", html! { span.quiet { "none of its own" } })),
            }
            @if let Some(base) = &lock.base { (part("base", "Base image", digest(base))) }
            @if let Some(it) = &lock.dependencies { (part("dependencies", "Dependencies", digest(it.as_str()))) }
            @if let Some(it) = &lock.configuration { (part("configuration", "Configuration", digest(it.as_str()))) }
            (sources(lock))
            @for plugin in &lock.plugins {
                (part("plugin", &capitalised(&plugin.title()), digest(&plugin.revision)))
            }
        }
    }
}

fn sources(lock: &Lock) -> Markup {
    html! {
        @for (name, source) in &lock.sources {
            div data-part=(name) {
                dt { (capitalised(name)) " repository" }
                dd {
                    (text::visible(&source.place())) " "
                    code title=(source.revision) { (text::visible(&short(&source.revision))) }
                }
            }
        }
    }
}

/// Makes it what new conversations run on.
pub(crate) async fn activate(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(number): Path<String>,
    headers: HeaderMap,
    _: FormData,
) -> Result<Response, PageError> {
    let done = async {
        caller.check_operate()?;
        state.control.activate(releases::number(&number)?, caller.by()).await?;
        Ok(())
    };
    // Only a number goes into a header again.
    let back =
        releases::number(&number).map_or_else(|_| "/releases".into(), |number| format!("/releases/{number}"));
    Ok(answer_form(&headers, &caller, done.await, &back))
}
