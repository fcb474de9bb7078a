//! The pages of `/login` and `/logout`. The addresses are shared with clients of another API, which decides
//! who gets what (`compat/kodosumi/login.rs`).

use axum::response::{IntoResponse as _, Redirect, Response};
use axum_extra::extract::CookieJar;
use http::header;
use maud::{Markup, html};

use super::{PageError, form::FormData, layout::Page, safe_next};
use crate::{
    auth::{Via, Visitor, end_session, sign_in, start_session},
    problem::Problem,
    state::WebState,
};

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

pub(crate) fn page(visitor: Option<&Visitor>, next: &str) -> Response {
    let next = safe_next(next);
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

pub(crate) async fn submit(state: &WebState, via: &Via, form: &FormData) -> Result<Response, PageError> {
    let (name, next) = (form.get("name").trim(), safe_next(form.get("next")));
    match sign_in(state, via, name, form.get("password")).await {
        Ok(user) => {
            let cookie = start_session(state, via, user.id, &user.name).await?;
            Ok(([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response())
        }
        Err(problem) if problem.status.is_client_error() => Ok(show(next, name, Some(&problem))),
        Err(problem) => Err(problem.into()),
    }
}

pub(crate) async fn sign_out(state: &WebState, via: &Via, jar: &CookieJar) -> Result<Response, PageError> {
    let cookie = end_session(state, via, jar).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response())
}
