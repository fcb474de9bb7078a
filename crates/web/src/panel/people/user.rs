//! `/people/{id}`: one person: their name and role, whether they are let in, and what they sign in with.

use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use holdpoint_store::{User, UserChange};
use maud::{Markup, html};

use super::{News, account, roles, shown};
use crate::{
    auth::{Caller, Visitor},
    body::Path,
    limits,
    panel::{PageError, form::FormData, parts::moment},
    people,
    problem::Problem,
    state::WebState,
};

pub(crate) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    caller.check_administer()?;
    let user = people::find(&state, &caller, &id).await?;
    show(&state, &caller, &user, &News::None).await
}

pub(super) async fn show(
    state: &WebState,
    caller: &Caller,
    user: &User,
    news: &News<'_>,
) -> Result<Response, PageError> {
    let parts = account::parts(state, caller, user).await?;
    let body = html! {
        main #main .wide data-user=(user.id) data-active=(user.is_active()) {
            p.eyebrow { a href="/people" { "People" } }
            h1 { (user.name) }
            (news.show())
            (about(user, state.now()))
            (parts)
        }
    };
    shown(state, caller, ("user", &user.name), news, &body).await
}

fn about(user: &User, now: i64) -> Markup {
    let at = format!("/people/{}", user.id);
    html! {
        form #change .card .stack method="post" action=(at) {
            label {
                span { "Name" }
                input name="name" value=(user.name) autocomplete="off" autocapitalize="none" spellcheck="false"
                    maxlength=(limits::MAX_NAME_CHARS) required;
            }
            label { span { "Role" } (roles(user.role)) }
            div.row { button.primary type="submit" data-action="change" { "Save" } }
        }
        section.card.stack {
            @match user.deactivated_at {
                Some(at_ms) => {
                    p { "Deactivated " (moment(at_ms, now)) ": not let in, with no session and no token." }
                    form method="post" action=(at) {
                        input type="hidden" name="active" value="yes";
                        button type="submit" data-action="activate" { "Let in again" }
                    }
                }
                None => {
                    p.quiet {
                        @if user.password_hash.is_some() { "A fresh link lets them choose another password." }
                        @else { "There is no password yet: a link lets them choose one." }
                    }
                    div.row {
                        form method="post" action={ (at) "/link" } {
                            button type="submit" data-action="invite" { "Make a link" }
                        }
                        form method="post" action=(at) {
                            input type="hidden" name="active" value="no";
                            button.danger type="submit" data-action="deactivate" { "Deactivate" }
                        }
                    }
                    p.quiet { "Whoever is deactivated is out at once, on every device; their conversations stay." }
                }
            }
        }
    }
}

/// Takes the fields that are there: name and role, or whether they are let in.
pub(crate) async fn change(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    form: FormData,
) -> Result<Response, PageError> {
    caller.check_administer()?;
    let user = people::find(&state, &caller, &id).await?;
    let given = |name: &str| Some(form.get(name)).filter(|text| !text.is_empty());
    let change = UserChange {
        name: given("name").map(str::to_owned),
        role: given("role").map(str::parse).transpose().map_err(Problem::invalid)?,
        active: given("active").map(|active| active == "yes"),
    };
    match people::change(&state, &caller, &user, change).await {
        Ok(user) => Ok(Redirect::to(&format!("/people/{}", user.id)).into_response()),
        Err(problem) => show(&state, &caller, &user, &News::Failed(&problem)).await,
    }
}

/// Makes a link by which they choose a password.
pub(crate) async fn link(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    _: FormData,
) -> Result<Response, PageError> {
    caller.check_administer()?;
    let user = people::find(&state, &caller, &id).await?;
    match people::invite(&state, &caller, &user).await {
        Ok(url) => {
            let what = "Pass this link on to them; by it they choose a password. It is good once, for a day.";
            show(&state, &caller, &user, &News::Secret { what, secret: &url }).await
        }
        Err(problem) => show(&state, &caller, &user, &News::Failed(&problem)).await,
    }
}
