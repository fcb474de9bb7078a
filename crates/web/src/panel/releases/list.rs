//! `/releases`: all of them, newest first.

use axum::{extract::State, response::Response};
use holdpoint_model::UnixMs;
use maud::{Markup, html};

use super::image;
use crate::{
    auth::Visitor,
    panel::{
        PageError, inbox,
        layout::Page,
        parts::{moment, release, text},
    },
    releases::{self, Listed},
    state::WebState,
};

/// Changes that a line of the list names.
const CHANGES_SHOWN: usize = 4;

pub(crate) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
) -> Result<Response, PageError> {
    caller.check_operate()?;
    let all = releases::all(&state).await?;
    let open = inbox::count_for(&state, &caller).await?;
    let now = state.now();
    let body = html! {
        main #main .wide {
            p.eyebrow { a href="/operations" { "Operations" } }
            h1 { "Releases" }
            @if all.is_empty() {
                (nothing())
            } @else {
                p.quiet { "New conversations run on the current one. Those that go on keep the one that they were started on." }
                ul #releases .rows { @for listed in &all { (row(listed, now)) } }
            }
        }
    };
    let page = Page { title: "Releases", name: "releases", caller: Some(&caller), open_holds: Some(open) };
    Ok(page.show(&body))
}

fn nothing() -> Markup {
    html! {
        div #empty .card .empty {
            p { "Nothing was deployed yet: agents run as " code { "holdpoint.toml" } " had them when this server was started." }
            p.quiet {
                code { "holdpoint deploy" }
                " looks for what has changed in the configuration, its repositories, plugins and dependencies, shows what it would do, \
                 builds an image where one is needed, tries it out, and makes it current. Each time is a release, listed here; \
                 any earlier one can be made current again."
            }
        }
    }
}

fn row(listed: &Listed, now: UnixMs) -> Markup {
    let Listed { row, changes } = listed;
    let more = changes.len().saturating_sub(CHANGES_SHOWN);
    html! {
        li.conversation-row id={ "r-" (row.number) } data-release=(row.number) data-state=(row.state.as_str()) {
            a href={ "/releases/" (row.number) } data-nav {
                span.row { span.row-title { "Release " (row.number) } (release::state(row.state)) }
                span.row-changes {
                    @if changes.is_empty() { "Made of the same as before" }
                    @for (n, change) in changes.iter().take(CHANGES_SHOWN).enumerate() {
                        @if n > 0 { ", " }
                        (text::visible(&change.what))
                    }
                    @if more > 0 { ", and " (more) " more" }
                }
                span.row-about.quiet {
                    (moment(row.activated_at.unwrap_or(row.created_at), now)) " by " (row.by.name)
                    @if let Some(built) = &row.lock.image { " · image " (image(built)) }
                    @if row.going_on > 0 { " · " (release::going_on(row.going_on)) }
                }
            }
        }
    }
}
