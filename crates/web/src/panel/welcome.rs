//! `/welcome?token=…`: a link that lets one person in, once.

use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use holdpoint_model::Role;
use holdpoint_store::{LinkUse, StoreError};
use http::{StatusCode, header};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    PageError,
    form::ShortForm,
    layout::{Page, error_page},
    login::alert,
};
use crate::{
    auth::{hash_password, hash_token, start_session},
    body::Query,
    limits,
    problem::Problem,
    state::WebState,
};

/// The purpose of a link (`Store::create_link`) that makes an admin. `invitation:ROLE` makes a user
/// of that role.
pub const INVITATION: &str = "invitation";

/// The longest name of a user, in characters.
const MAX_NAME_CHARS: usize = 60;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Params {
    #[serde(default)]
    token: String,
}

/// Shows the form. The link is not used by looking: mail scanners and chat previews look too.
pub(super) async fn page(
    State(state): State<WebState>,
    Query(params): Query<Params>,
) -> Result<Response, PageError> {
    if params.token.is_empty() {
        return Ok(error_page(None, &no_good("this link is not complete")));
    }
    let link = state.store().look_at_link(hash_token(&params.token), state.now()).await?;
    Ok(match role_of(link) {
        Ok(_) => show(&params.token, "", None),
        Err(problem) => error_page(None, &problem),
    })
}

fn show(token: &str, name: &str, failure: Option<&Problem>) -> Response {
    let page = Page { title: "Welcome", name: "welcome", caller: None, open_holds: None };
    let mut response = page.show(&form(token, name, failure));
    if let Some(problem) = failure {
        *response.status_mut() = problem.status;
    }
    response
}

fn form(token: &str, name: &str, failure: Option<&Problem>) -> Markup {
    html! {
        main #main .narrow {
            form #welcome .card .stack method="post" action="/welcome" {
                h1 { "Welcome" }
                p { "Choose how you will sign in to this Holdpoint from now on." }
                (alert(failure))
                input type="hidden" name="token" value=(token);
                label {
                    span { "Name" }
                    input name="name" value=(name) autocomplete="username" autocapitalize="none" spellcheck="false"
                        maxlength=(MAX_NAME_CHARS) required autofocus;
                }
                label {
                    span { "Password" }
                    input name="password" type="password" autocomplete="new-password"
                        minlength=(limits::MIN_PASSWORD_CHARS) required aria-describedby="password-hint";
                    small #password-hint { "At least " (limits::MIN_PASSWORD_CHARS) " characters; a few words are easy to remember." }
                }
                label {
                    span { "Password again" }
                    input name="again" type="password" autocomplete="new-password" required;
                }
                button.primary type="submit" data-action="welcome" { "Create account" }
            }
        }
    }
}

fn no_good(detail: &str) -> Problem {
    Problem::new(
        StatusCode::GONE,
        "link_no_good",
        "this link does not let anybody in",
        format!("{detail}; on the machine that runs Holdpoint, `holdpoint token link` prints a fresh one"),
    )
}

/// The role that a link gives, if it is good.
fn role_of(link: LinkUse) -> Result<Role, Problem> {
    let purpose = match link {
        LinkUse::Accepted { purpose } => purpose,
        LinkUse::Used => return Err(no_good("it was used before")),
        LinkUse::Expired => return Err(no_good("its time is over")),
        LinkUse::Unknown => return Err(no_good("it is not known here")),
    };
    let role = match purpose.strip_prefix(INVITATION) {
        Some("") => Some(Role::Admin),
        Some(rest) => rest.strip_prefix(':').and_then(|role| role.parse().ok()),
        None => None,
    };
    role.ok_or_else(|| no_good("it was made for something else"))
}

pub(super) async fn accept(
    State(state): State<WebState>,
    ShortForm(form): ShortForm,
) -> Result<Response, PageError> {
    let (token, name) = (form.get("token"), form.get("name").trim());
    let again = |problem: Problem| Ok(show(token, name, Some(&problem)));
    // Without a link nobody learns which names are taken, or has us hash passwords.
    role_of(state.store().look_at_link(hash_token(token), state.now()).await?)?;
    // Everything that the person can mend comes before the link is used up.
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        return again(Problem::invalid(format!("a name has 1 to {MAX_NAME_CHARS} characters")));
    }
    if form.get("password") != form.get("again") {
        return again(Problem::invalid("the two passwords are not the same"));
    }
    if state.store().user_by_name(name).await?.is_some() {
        return again(Problem::invalid(format!("the name {name} is taken; choose another")));
    }
    let hash = match hash_password(&state, form.get("password").to_owned()).await {
        Ok(hash) => hash,
        Err(error) => return again(Problem::invalid(error.to_string())),
    };
    let role = role_of(state.store().consume_link(hash_token(token), state.now()).await?)?;
    let user = match state.store().create_user(name, role, Some(hash)).await {
        Ok(user) => user,
        // Somebody took the name in this very moment.
        Err(StoreError::Exists { .. }) => {
            return Ok(error_page(
                None,
                &no_good("the name was taken a moment ago, and the link is used up"),
            ));
        }
        Err(error) => return Err(error.into()),
    };
    tracing::info!(name, %role, "a user came in by a link");
    let cookie = start_session(&state, user.id).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response())
}
