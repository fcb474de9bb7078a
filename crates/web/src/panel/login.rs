//! `/login`, `/logout`.

use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use axum_extra::extract::CookieJar;
use holdpoint_store::{Deed, Entry, User};
use http::{StatusCode, header};
use maud::{Markup, html};
use serde::Deserialize;

use super::{PageError, form::ShortForm, layout::Page, safe_next};
use crate::{
    auth::{Guess, Via, Visitor, by, end_session, start_session, verify_password},
    body::Query,
    limits,
    problem::Problem,
    state::WebState,
    time,
};

#[derive(Debug, Default, Deserialize)]
pub(super) struct Params {
    #[serde(default)]
    next: String,
}

/// Where signing in goes on to `next`.
pub(crate) fn login_url(next: &str) -> String {
    let next: String = safe_next(next)
        .bytes()
        .map(|byte| match byte {
            b'%' | b'&' | b'#' | b'+' | b'?' | b'=' => format!("%{byte:02X}"),
            byte => char::from(byte).to_string(),
        })
        .collect();
    if next == "/" { "/login".to_owned() } else { format!("/login?next={next}") }
}

pub(super) async fn page(visitor: Option<Visitor>, Query(params): Query<Params>) -> Response {
    let next = safe_next(&params.next);
    if visitor.is_some() {
        return Redirect::to(next).into_response();
    }
    show(next, "", None)
}

fn show(next: &str, name: &str, failure: Option<&Problem>) -> Response {
    let page = Page { title: "Sign in", name: "login", caller: None, open_holds: None };
    let mut response = page.show(&html! {
        main #main .narrow {
            form #login .card .stack method="post" action="/login" {
                h1 { "Sign in" }
                (alert(failure))
                input type="hidden" name="next" value=(next);
                label {
                    span { "Name" }
                    input name="name" value=(name) autocomplete="username" autocapitalize="none" spellcheck="false"
                        required autofocus[name.is_empty()];
                }
                label {
                    span { "Password" }
                    input name="password" type="password" autocomplete="current-password" required
                        autofocus[!name.is_empty()];
                }
                button.primary type="submit" data-action="sign-in" { "Sign in" }
                p.quiet {
                    "No account yet, or the password is lost? On the machine that runs Holdpoint, "
                    code { "holdpoint token link" } " prints a link that lets you in once."
                }
            }
        }
    });
    if let Some(problem) = failure {
        *response.status_mut() = problem.status;
        problem.apply_headers(&mut response);
    }
    response
}

/// Why a form was not taken, above its fields.
pub(super) fn alert(failure: Option<&Problem>) -> Markup {
    html! {
        @if let Some(problem) = failure {
            p.alert role="alert" data-problem=(problem.code) { (super::layout::capitalised(&problem.detail)) "." }
        }
    }
}

pub(super) async fn sign_in(
    State(state): State<WebState>,
    via: Via,
    ShortForm(form): ShortForm,
) -> Result<Response, PageError> {
    let (name, next) = (form.get("name").trim(), safe_next(form.get("next")));
    let guess = Guess::new(name, via.address().as_deref().unwrap_or("?"));
    // Counted before it is known, so that many tries at the same time do not slip through.
    if let Err(problem) = count(&state, &guess) {
        return Ok(show(next, name, Some(&problem)));
    }
    // Whoever is deactivated has no password any more that fits.
    let user = state.store().user_by_name(name).await?.filter(User::is_active);
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    let fits = verify_password(&state, form.get("password").to_owned(), hash).await?;
    let Some(user) = user.filter(|_| fits) else {
        tracing::info!(name, "a sign-in failed");
        note_failure(&state, &via, name).await?;
        let problem = Problem::new(
            StatusCode::UNAUTHORIZED,
            "wrong_password",
            "not signed in",
            "name and password do not belong together",
        );
        return Ok(show(next, name, Some(&problem)));
    };
    state.throttle.succeeded(&guess);
    let cookie = start_session(&state, &via, user.id, &user.name).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response())
}

/// Counts a try, or says for how long none is looked at.
pub(super) fn count(state: &WebState, guess: &Guess) -> Result<(), Problem> {
    state.throttle.count(guess, state.now()).map_err(|wait_s| {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_tries",
            "too many tries",
            format!(
                "too many wrong passwords came from where you are; try again in {}",
                time::length(wait_s * 1000)
            ),
        )
        .header(header::RETRY_AFTER, &wait_s.to_string())
    })
}

/// Writes it into the audit log, as long as that is not what somebody is after.
async fn note_failure(state: &WebState, via: &Via, name: &str) -> Result<(), Problem> {
    if !state.throttle.may_audit(state.now()) {
        return Ok(());
    }
    let name: String = name.chars().take(limits::SIGN_IN_NAME_CHARS).collect();
    let entry = Entry::new(Deed::SignInFailed, via.browser.clone());
    Ok(state.store().audit(by(via, None, &name), entry).await?)
}

pub(super) async fn sign_out(
    State(state): State<WebState>,
    via: Via,
    jar: CookieJar,
    _: ShortForm,
) -> Result<Response, PageError> {
    let cookie = end_session(&state, &via, &jar).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response())
}
