//! `/welcome?token=…`: a link that lets one person in, once.

use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use holdpoint_model::Role;
use holdpoint_store::{LinkUse, StoreError, User};
use http::{StatusCode, header};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    PageError,
    form::{FormData, ShortForm},
    layout::{Page, error_page},
    login::alert,
};
use crate::{
    auth::{Via, by, hash_password, hash_token, start_session},
    body::Query,
    limits,
    people::{FOR_USER, checked_name},
    problem::Problem,
    state::WebState,
};

/// The purpose of a link (`Store::create_link`) that makes an admin. `invitation:ROLE` makes a user
/// of that role.
pub const INVITATION: &str = "invitation";

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
    Ok(match whom(&state, link).await {
        Ok(whom) => show(&params.token, &whom, "", None),
        Err(problem) => error_page(None, &problem),
    })
}

/// Whom a link lets in.
enum Whom {
    /// Anybody, who becomes a user of this role.
    Anybody(Role),
    /// This user, who chooses a password.
    User(User),
}

fn show(token: &str, whom: &Whom, name: &str, failure: Option<&Problem>) -> Response {
    let page = Page { title: "Welcome", name: "welcome", caller: None, open_holds: None };
    let mut response = page.show(&form(token, whom, name, failure));
    if let Some(problem) = failure {
        *response.status_mut() = problem.status;
    }
    response
}

fn form(token: &str, whom: &Whom, name: &str, failure: Option<&Problem>) -> Markup {
    html! {
        main #main .narrow {
            form #welcome .card .stack method="post" action="/welcome" {
                h1 { "Welcome" }
                p { "Choose how you will sign in to this Holdpoint from now on." }
                (alert(failure))
                input type="hidden" name="token" value=(token);
                @match whom {
                    Whom::User(user) => {
                        p { "You sign in as " strong { (user.name) } "." }
                        // For password managers.
                        input type="text" name="name" value=(user.name) autocomplete="username" hidden;
                    }
                    Whom::Anybody(_) => label {
                        span { "Name" }
                        input name="name" value=(name) autocomplete="username" autocapitalize="none"
                            spellcheck="false" maxlength=(limits::MAX_NAME_CHARS) required autofocus;
                    }
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
                button.primary type="submit" data-action="welcome" {
                    @if matches!(whom, Whom::User(_)) { "Set password" } @else { "Create account" }
                }
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

/// Whom a link lets in, if it is good.
async fn whom(state: &WebState, link: LinkUse) -> Result<Whom, Problem> {
    let purpose = match link {
        LinkUse::Accepted { purpose } => purpose,
        LinkUse::Used => return Err(no_good("it was used before")),
        LinkUse::Expired => return Err(no_good("its time is over")),
        LinkUse::Unknown => return Err(no_good("it is not known here")),
    };
    let other = || no_good("it was made for something else");
    if let Some(id) = purpose.strip_prefix(FOR_USER) {
        let user = state.store().user(id.parse().map_err(|_| other())?).await?;
        return user.filter(User::is_active).map(Whom::User).ok_or_else(|| no_good("its user is not let in"));
    }
    let role = match purpose.strip_prefix(INVITATION) {
        Some("") => Some(Role::Admin),
        Some(rest) => rest.strip_prefix(':').and_then(|role| role.parse().ok()),
        None => None,
    };
    role.map(Whom::Anybody).ok_or_else(other)
}

pub(super) async fn accept(
    State(state): State<WebState>,
    via: Via,
    ShortForm(form): ShortForm,
) -> Result<Response, PageError> {
    let (token, name) = (form.get("token"), form.get("name").trim());
    let link = hash_token(token);
    // Without a link nobody learns which names are taken, or has us hash passwords.
    let known = whom(&state, state.store().look_at_link(link, state.now()).await?).await?;
    // Everything that the person can mend comes before the link is used up.
    let hash = match checked(&state, &known, name, &form).await {
        Ok(hash) => hash,
        Err(problem) => return Ok(show(token, &known, name, Some(&problem))),
    };
    let user = match whom(&state, state.store().consume_link(link, state.now()).await?).await? {
        Whom::User(user) => {
            state.store().set_password(user.id, Some(hash), by(&via, Some(user.id), &user.name)).await?;
            user
        }
        Whom::Anybody(role) => {
            match state.store().add_user(name, role, Some(hash), by(&via, None, name)).await {
                Ok(user) => user,
                // Somebody took the name in this very moment.
                Err(StoreError::Exists { .. }) => {
                    return Err(no_good("the name was taken a moment ago, and the link is used up").into());
                }
                Err(error) => return Err(error.into()),
            }
        }
    };
    tracing::info!(name = user.name, role = %user.role, "a user came in by a link");
    let cookie = start_session(&state, &via, user.id, &user.name).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response())
}

/// The hash of the chosen password, if the form can be taken.
async fn checked(state: &WebState, whom: &Whom, name: &str, form: &FormData) -> Result<String, Problem> {
    if matches!(whom, Whom::Anybody(_)) {
        checked_name(name)?;
        if state.store().user_by_name(name).await?.is_some() {
            return Err(Problem::invalid(format!("the name {name} is taken; choose another")));
        }
    }
    chosen_password(state, form).await
}

/// The hash of a password that a form has twice.
pub(super) async fn chosen_password(state: &WebState, form: &FormData) -> Result<String, Problem> {
    if form.get("password") != form.get("again") {
        return Err(Problem::invalid("the two passwords are not the same"));
    }
    let hash = hash_password(state, form.get("password").to_owned()).await;
    hash.map_err(|error| Problem::invalid(error.to_string()))
}
