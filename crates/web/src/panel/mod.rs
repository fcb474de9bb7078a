//! The panel: pages for people. One page, one file; components that a page shares with its live
//! fragments are functions in `parts/`.
//!
//! Everything that can be read and answered works without a script: forms are posted, and the
//! answer is a redirect. With scripts, `form[data-send]` is sent in the background, and the
//! conversation page listens on `GET /executions/{id}/live`, a stream of `patch` events: HTML whose
//! top elements each have an id. An element whose id is on the page already takes its place;
//! another one is appended to the element named in its `data-into`. Patches are therefore safe to
//! apply twice.
//!
//! # What tests and user styles may rely on
//!
//! | where | what |
//! | --- | --- |
//! | `body[data-page]` | `login`, `welcome`, `home`, `start`, `list`, `analytics`, `inbox`, `several`, `conversation`, `events`, `replay`, `fork`, `session`, `share`, `files`, `operations`, `releases`, `release`, `account`, `people`, `user`, `audit`, `api`, `error` |
//! | sign-in | `form#login` with `name`, `password`; `form#welcome` with `name`, `password`, `again` |
//! | start | `a[data-agent=NAME]`; `form#start` with the form's fields, and `files` where none of them is for files; `button[data-action=start|start-as]`, `a[data-action=cancel]` |
//! | | `#field-NAME-error` says what is wrong with a field; `[data-upload=NAME] li[data-uploaded=UUID]` is a file that is uploaded for one |
//! | list | `[data-execution=UUID][data-status=…]`; `#list #more a[rel=next]` where there are older ones; `#empty` where there are none |
//! | analytics | `form#span` with `days`, or `from` and `to`, and `rehearsals`; `section[data-of=runs|errors|waits-by-kind|waits-by-person|agents|people]` with `svg[role=img]`, `details table`, `a[data-csv]` |
//! | inbox | the holds below; `#empty` where there are none; `#more a[rel=next]` where there are more; `form#inbox-filters` with `whose`, `kind`, `agent`, `due`, `show`; `button#notices` |
//! | | beside a hold: `[data-whose=UUID]`, `button[data-action=take|give-back|assign|snooze-1h|snooze-4h|snooze-1d|snooze-3d|snooze-nearly-due|wake]`, `details[data-part=assign] input[name=to]`, `details[data-part=snooze]` |
//! | several | `input[data-pick]`; `form#several` with `message`; `button[data-action=allow-several|deny-several|pick-all|pick-none]`; its page has `[data-decided=UUID][data-outcome=done|refused]` |
//! | conversation | `main[data-execution=UUID][data-status=…][data-connection=live|reconnecting|ended|off]` |
//! | | `#facts`, `#cost`, `#tokens`, `#queue`, `#rehearsal`, `#activity`, `#files a[data-file=PATH]`, `#outcome[data-outcome=finished|error|cancelled]` |
//! | | `button[data-action=interrupt|finish|cancel]`; the last is in `details[data-part=cancel]` |
//! | | operators: `#facts [data-fact=release]`; `#move details[data-part=move]` with `button[data-action=move]` where another release is current |
//! | | `a.permalink[href]`; the part of an event is `#e-SEQ`, `?at=SEQ` shows it however long ago it was |
//! | events | `[data-event=KIND]#e-SEQ`; `a[rel=prev|next]` |
//! | replay | `#controls [data-action=first|back|play|on|last]`, `#where`, `#rounds` as below |
//! | session | operators: `#session [data-fact=engine|memory]`, `[data-log=worker|cli|container]`; `details[data-part=exec]` around `form#exec` with `command`; `button[data-action=exec]`; its page has `#ran` with `.output` and `[data-end]` |
//! | rounds | `#rounds` with `.message[data-state=queued|sent|delivered]`, `.answer`, `.thinking`, `.tool[data-tool=NAME][data-call=ID][data-tool-state=…]`, `.note`, `.suggestion[data-suggestion=FILE]` |
//! | a tool's parts | `.args`, `.output`, `.diff .add`, `.diff .del` |
//! | streaming | `#live` holds what the model is writing |
//! | hold | `[data-hold=UUID][data-kind=reply|tool|question|plan][data-state=open|answered|…]`; a reply hold of the conversation page is `#composer-state` |
//! | in a hold | `button[data-action=allow|allow-conversation|allow-edited|deny|answer|reply]`; `details[data-part=edit] textarea[name=edited]`; `details[data-part=deny] textarea[name=message]`; questions `input[name=qN]`, `input[name=qN-other]`, `textarea[name=nN]` |
//! | | `[role=alert]` says why an answer was not taken; `.decision` who decided and how |
//! | files | `[data-execution=UUID] a[data-file=PATH]`; `#uploads [data-upload-id=UUID]`; `a[rel=next]` looks further back |
//! | operations | operators: `[data-figure=sessions|holds|calls|disk]`, `[data-worker=UUID]`, `[data-status-count=STATUS]`, `[data-fact=engine|due]` |
//! | | `#release-now` says which release is current |
//! | releases | operators: `[data-release=NUMBER][data-state=building|current|retired|failed|removed]`; `#empty` before the first one; a release's page has `#made-of [data-part=NAME]`, `#changes li`, `#steps [data-step=NAME]`, `a[data-verification]`, `details[data-part=activate] button[data-action=activate]` |
//! | sharing | `form#share` with `name`, `share`; `[data-shared=UUID]`; `button[data-action=unshare]` |
//! | people | `form#new-user` with `name`, `role`; `[data-user=UUID][data-active]`; `form#change` with `name`, `role`; `button[data-action=deactivate|activate|invite]`; `#secret` holds what is shown once |
//! | account | `form#password` with `old`, `password`, `again`; `form#new-token` with `name`, `scope`, `expires`; `[data-token=UUID]`, `[data-session=UUID]`; `button[data-action=revoke|end|end-all]` |
//! | api | `details#OPERATION[data-endpoint]` around a `form` with `[data-in=path|query|header|body]`, `[data-part=curl]`, `button[data-action=send|stop]`, `[data-part=answer][data-status]` with `[data-part=body]`; `#endpoint-filter` |
//! | audit | `[data-deed=KIND]`; `a[rel=next]` where there are more |
//! | composer | `form#composer-form` with `textarea[name=text]`, `input[name=files]`, `input[name=mode]`; `button[data-action=send]` |

mod analytics;
mod api;
mod conversation;
mod decision;
mod files;
pub(crate) mod form;
mod home;
mod inbox;
mod layout;
mod list;
pub(crate) mod login;
mod operations;
mod parts;
mod people;
mod pulse;
mod releases;
mod start;
mod timeline;
mod welcome;

use axum::{
    extract::DefaultBodyLimit,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Redirect, Response},
};

use crate::{
    auth::Caller,
    problem::Problem,
    routes::{Routes, get, post},
};

pub(crate) use layout::{bounce, error_page};
pub(crate) use login::login_url;
pub use welcome::INVITATION;

/// Every page, and what its forms post to.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .route("/", get(home::home))
        .route("/welcome", get(welcome::page).post(welcome::accept))
        .route("/agents/{name}", get(start::page).post(start::start))
        .route("/executions", get(list::page))
        .route("/inbox", get(inbox::page))
        .route("/analytics", get(analytics::page))
        .route("/analytics/{of}", get(analytics::csv))
        .route("/api", get(api::page))
        .route("/inbox/decide", post(inbox::decide_several))
        .route("/inbox/waiting", get(inbox::waiting))
        .route("/files", get(files::page))
        .route("/uploads/{id}/remove", post(files::remove))
        .route("/operations", get(operations::page))
        .route("/releases", get(releases::list))
        .route("/releases/{number}", get(releases::one))
        .route("/releases/{number}/activate", post(releases::activate))
        .route("/pulse", get(pulse::pulse))
        .route("/executions/{id}", get(conversation::page))
        .route("/executions/{id}/live", get(conversation::live))
        .route("/executions/{id}/messages", post(conversation::message))
        .route("/executions/{id}/interrupt", post(conversation::interrupt))
        .route("/executions/{id}/finish", post(conversation::finish))
        .route("/executions/{id}/cancel", post(conversation::cancel))
        .route("/executions/{id}/move", post(conversation::move_to))
        .route("/executions/{id}/fork", get(conversation::fork_page).post(conversation::fork))
        .route("/executions/{id}/events", get(conversation::events_page))
        .route("/executions/{id}/export.md", get(conversation::as_markdown))
        .route("/executions/{id}/export.html", get(conversation::as_html))
        .route("/executions/{id}/replay", get(conversation::replay_page))
        .route("/executions/{id}/session", get(conversation::session_page).post(conversation::exec))
        .route("/executions/{id}/share", get(conversation::share_page).post(conversation::share))
        .route("/account", get(people::own))
        .route("/account/password", post(people::password))
        .route("/people", get(people::list).post(people::create))
        .route("/people/audit", get(people::audit))
        .route("/people/{id}", get(people::one).post(people::change))
        .route("/people/{id}/link", post(people::link))
        .route("/people/{id}/tokens", post(people::make_token))
        .route("/people/{id}/tokens/revoke", post(people::revoke_token))
        .route("/people/{id}/sessions/end", post(people::end_sessions))
        .route("/holds/{id}", get(decision::find))
        .route("/holds/{id}/decision", post(decision::decide))
        .route("/holds/{id}/assign", post(inbox::assign))
        .route("/holds/{id}/snooze", post(inbox::snooze))
        // The form extractor counts bytes itself, and says so better.
        .around(|router| router.layer(DefaultBodyLimit::disable()))
}

/// A page's failure, as a page.
#[derive(Debug)]
pub(crate) struct PageError(Problem);

impl<E: Into<Problem>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl axum::response::IntoResponse for PageError {
    fn into_response(self) -> Response {
        error_page(None, &self.0)
    }
}

/// Whether our own script sent this form: it wants no page, only to know how it went.
fn is_script(headers: &HeaderMap) -> bool {
    headers.get("x-requested-with").is_some_and(|value| value == "holdpoint")
}

/// A form that is not even looked at: our script says why beside it, everybody else gets a page.
pub(crate) fn refuse(headers: &HeaderMap, problem: Problem) -> Response {
    if is_script(headers) { problem.into_response() } else { error_page(None, &problem) }
}

/// The answer to a form: where to go on, or why not.
fn answer_form(headers: &HeaderMap, caller: &Caller, done: Result<(), Problem>, back: &str) -> Response {
    match (done, is_script(headers)) {
        (Ok(()), true) => StatusCode::NO_CONTENT.into_response(),
        (Ok(()), false) => Redirect::to(back).into_response(),
        (Err(problem), true) => problem.into_response(),
        (Err(problem), false) => layout::error_page_back(Some(caller), &problem, back),
    }
}

/// An address of this panel to go on to, and of nowhere else.
pub(crate) fn safe_next(next: &str) -> &str {
    let is_ours = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains(['\\', '\r', '\n', '\t'])
        && next.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    if is_ours { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/inbox", "/inbox")]
    #[case("/executions/1?all=1#h-2", "/executions/1?all=1#h-2")]
    #[case("", "/")]
    #[case("inbox", "/")]
    #[case("https://evil.example", "/")]
    #[case("//evil.example", "/")]
    #[case("/\\evil.example", "/")]
    #[case("/\t/evil.example", "/")]
    #[case("/a\r\nSet-Cookie: x", "/")]
    #[case("javascript:alert(1)", "/")]
    fn only_our_own_pages_follow_a_sign_in(#[case] next: &str, #[case] expected: &str) {
        assert_eq!(safe_next(next), expected);
    }
}
