//! `/people/audit`: what was done about who may do what.

use axum::{extract::State, response::Response};
use holdpoint_store::{Audited, Deed};
use maud::{Markup, html};
use serde::Deserialize;

use super::{News, shown};
use crate::{
    audit_page,
    auth::Visitor,
    body::Query,
    limits,
    panel::{
        PageError,
        parts::{moment, text},
    },
    problem::Problem,
    state::WebState,
};

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Params {
    #[serde(default)]
    kind: String,
    cursor: Option<u64>,
}

pub(crate) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Query(params): Query<Params>,
) -> Result<Response, PageError> {
    caller.check_administer()?;
    let kind = Some(params.kind.as_str()).filter(|kind| !kind.is_empty());
    let kind = kind.map(|kind| kind.parse::<Deed>()).transpose().map_err(Problem::invalid)?;
    let (lines, next) = audit_page(&state, kind, params.cursor, limits::DEFAULT_PAGE).await?;
    let body = html! {
        main #main .wide {
            p.eyebrow { a href="/people" { "People" } }
            h1 { "Audit log" }
            form.filters method="get" action="/people/audit" role="search" {
                select name="kind" aria-label="Kind" {
                    option value="" { "Everything" }
                    @for deed in Deed::ALL {
                        option value=(deed.as_str()) selected[Some(deed) == kind] { (words(deed)) }
                    }
                }
                button type="submit" { "Filter" }
            }
            @if lines.is_empty() {
                div #empty .card .empty { p { "Nothing of that has happened." } }
            } @else {
                ul.rows { @for line in &lines { (row(line, state.now())) } }
            }
            @if let Some(next) = next {
                p { a.button rel="next" href={ "/people/audit?kind=" (params.kind) "&cursor=" (next) } { "Earlier" } }
            }
        }
    };
    shown(&state, &caller, ("audit", "Audit log"), &News::None, &body).await
}

fn words(deed: Deed) -> &'static str {
    match deed {
        Deed::SignedIn => "signed in",
        Deed::SignInFailed => "failed to sign in",
        Deed::SignedOut => "signed out",
        Deed::SessionsEnded => "ended sessions",
        Deed::PasswordSet => "set a password",
        Deed::UserCreated => "created a user",
        Deed::UserRenamed => "renamed a user",
        Deed::RoleChanged => "changed a role",
        Deed::UserDeactivated => "deactivated a user",
        Deed::UserActivated => "activated a user",
        Deed::LinkCreated => "made a link",
        Deed::TokenCreated => "made a token",
        Deed::TokenRevoked => "took a token back",
        Deed::Shared => "shared a conversation",
        Deed::Unshared => "took a conversation back",
        Deed::Deleted => "deleted conversations",
        Deed::Exec => "ran a command beside a session",
        Deed::Deployed => "deployed",
    }
}

fn row(line: &Audited, now: i64) -> Markup {
    let to_another = line.subject.is_some() && line.subject != line.by.user;
    html! {
        li.person-row data-deed=(line.kind.as_str()) {
            div {
                p {
                    strong { (text::visible(&line.by.name)) } " " (words(line.kind))
                    @if let Some(name) = line.subject_name.as_ref().filter(|_| to_another) { " (" (name) ")" }
                    @if let Some(execution) = line.execution { " " a href={ "/executions/" (execution) } { "of this conversation" } }
                }
                @if !line.detail.is_empty() { p.quiet { (text::visible(&line.detail)) } }
                p.quiet {
                    (moment(line.at, now))
                    @if let Some(address) = &line.address { " from " (address) }
                }
            }
        }
    }
}
