//! `/people`: everybody there is, and somebody new.

use axum::{extract::State, response::Response};
use holdpoint_model::Role;
use holdpoint_store::User;
use maud::{Markup, html};

use super::{News, roles, shown};
use crate::{
    auth::{Caller, Visitor},
    limits,
    panel::{PageError, form::FormData},
    people,
    problem::Problem,
    state::WebState,
};

pub(crate) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
) -> Result<Response, PageError> {
    caller.check_administer()?;
    show(&state, &caller, "", &News::None).await
}

async fn show(state: &WebState, caller: &Caller, name: &str, news: &News<'_>) -> Result<Response, PageError> {
    let users = state.store().users().await?;
    let body = html! {
        main #main .wide {
            h1 { "People" }
            (news.show())
            ul.rows { @for user in &users { (row(user)) } }
            p { a href="/people/audit" { "What was done about people: the audit log" } }
            form #new-user .card .stack method="post" action="/people" {
                h2 { "Somebody new" }
                label {
                    span { "Name" }
                    input name="name" value=(name) autocomplete="off" autocapitalize="none" spellcheck="false"
                        maxlength=(limits::MAX_NAME_CHARS) required;
                }
                label { span { "Role" } (roles(Role::Asker)) }
                p.quiet { "You get a link to pass on, by which they choose a password. It is good once, for a day." }
                div.row { button.primary type="submit" data-action="create-user" { "Create" } }
            }
        }
    };
    shown(state, caller, ("people", "People"), news, &body).await
}

fn row(user: &User) -> Markup {
    html! {
        li.person-row data-user=(user.id) data-active=(user.is_active()) {
            a href={ "/people/" (user.id) } data-nav {
                strong { (user.name) }
                p.quiet {
                    (user.role)
                    @if !user.is_active() { " · deactivated" }
                    @else if user.password_hash.is_none() { " · no password" }
                }
            }
        }
    }
}

pub(crate) async fn create(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    form: FormData,
) -> Result<Response, PageError> {
    caller.check_administer()?;
    let name = form.get("name");
    let added = match form.get("role").parse::<Role>() {
        Ok(role) => people::add(&state, &caller, name, role).await,
        Err(error) => Err(Problem::invalid(error)),
    };
    match added {
        Ok((_, url)) => {
            let what = "Pass this link on to them; by it they choose a password.";
            show(&state, &caller, "", &News::Secret { what, secret: &url }).await
        }
        Err(problem) => show(&state, &caller, name, &News::Failed(&problem)).await,
    }
}
