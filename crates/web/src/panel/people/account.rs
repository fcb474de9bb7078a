//! `/account`: one's own password, tokens and sessions. The forms for tokens and sessions are on `/people/{id}`
//! too, and both are posted to `/people/{id}/…`.

use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use holdpoint_model::{Scopes, TokenScope};
use holdpoint_store::{Credential, SignIn, Token, User};
use http::{StatusCode, header};
use maud::{Markup, html};

use super::{News, shown, user};
use crate::{
    auth::{Caller, Guess, Via, Visitor, start_session, verify_password},
    body::Path,
    limits,
    panel::{
        PageError,
        form::FormData,
        parts::{moment, text},
        welcome::chosen_password,
    },
    people::{self, TokenWish},
    problem::Problem,
    state::WebState,
};

pub(crate) async fn own(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
) -> Result<Response, PageError> {
    let user = people::find(&state, &caller, "me").await?;
    show(&state, &caller, &user, &News::None).await
}

async fn show(
    state: &WebState,
    caller: &Caller,
    user: &User,
    news: &News<'_>,
) -> Result<Response, PageError> {
    let parts = parts(state, caller, user).await?;
    let body = html! {
        main #main .wide {
            h1 { "Your account" }
            (news.show())
            p { "You are " strong { (user.name) } ", " (user.role) "." }
            form #password .card .stack method="post" action="/account/password" {
                h2 { "Password" }
                input type="text" name="name" value=(user.name) autocomplete="username" hidden;
                label {
                    span { "Present password" }
                    input name="old" type="password" autocomplete="current-password" required;
                }
                label {
                    span { "New password" }
                    input name="password" type="password" autocomplete="new-password"
                        minlength=(limits::MIN_PASSWORD_CHARS) required;
                }
                label {
                    span { "New password again" }
                    input name="again" type="password" autocomplete="new-password" required;
                }
                p.quiet { "Every other browser that is signed in as you is signed out." }
                div.row { button.primary type="submit" data-action="password" { "Change password" } }
            }
            (parts)
        }
    };
    shown(state, caller, ("account", "Your account"), news, &body).await
}

/// Tokens and sessions of a user, for themselves and for administrators.
pub(super) async fn parts(state: &WebState, caller: &Caller, user: &User) -> Result<Markup, Problem> {
    let now = state.now();
    let tokens = state.store().tokens(user.id).await?;
    let sessions = state.store().sessions(user.id, now).await?;
    let at = format!("/people/{}", user.id);
    Ok(html! {
        section #tokens .stack {
            h2 { "Tokens" }
            p.quiet { "For scripts, and for the terminal on another machine." }
            @if !tokens.is_empty() {
                ul.rows { @for token in &tokens { (token_row(token, &at, now)) } }
            }
            @if user.is_active() { (new_token(user, &at)) }
        }
        section #sessions .stack {
            h2 { "Signed in" }
            @if sessions.is_empty() {
                p.quiet { "In no browser." }
            } @else {
                ul.rows {
                    @for session in &sessions {
                        (session_row(session, caller.credential == Credential::Session(session.id), &at, now))
                    }
                }
                form method="post" action={ (at) "/sessions/end" } {
                    button type="submit" data-action="end-all" { "Sign out everywhere" }
                }
            }
        }
    })
}

fn token_row(token: &Token, at: &str, now: i64) -> Markup {
    html! {
        li.person-row data-token=(token.id) {
            div {
                strong { (token.name) }
                p.quiet {
                    (token.scopes) " · made " (moment(token.created_at, now)) " · "
                    @match token.expires_at {
                        Some(end) if end <= now => "expired",
                        Some(end) => { "good until " (crate::time::rfc3339(end).chars().take(10).collect::<String>()) }
                        None => "good until it is taken back",
                    }
                    " · " (last_used(token.used_at, now))
                }
            }
            form method="post" action={ (at) "/tokens/revoke" } {
                input type="hidden" name="token" value=(token.id);
                button type="submit" data-action="revoke" aria-label={ "Take back the token " (token.name) } { "Take back" }
            }
        }
    }
}

fn last_used(used_at: Option<i64>, now: i64) -> Markup {
    html! {
        @match used_at {
            Some(used_at) => { "used " (moment(used_at, now)) }
            None => "never used",
        }
    }
}

fn new_token(user: &User, at: &str) -> Markup {
    let scopes = user.role.scopes();
    let words = |scope| match scope {
        TokenScope::Read => "look at conversations",
        TokenScope::Start => "start conversations, steer and share them",
        TokenScope::Decide => "answer what agents ask",
        TokenScope::Operate => "look inside of sessions, and at what concerns everybody's conversations",
        TokenScope::Admin => "look after people and their tokens",
    };
    html! {
        details.card {
            summary { "Make a token" }
            form #new-token .stack method="post" action={ (at) "/tokens" } {
                label {
                    span { "What it is for" }
                    input name="name" autocomplete="off" maxlength=(limits::MAX_NAME_CHARS) required;
                }
                fieldset {
                    legend { "It may" }
                    @for scope in TokenScope::ALL.into_iter().filter(|scope| scopes.has(*scope)) {
                        label.check {
                            input type="checkbox" name="scope" value=(scope) checked[scope == TokenScope::Read]
                                disabled[scope == TokenScope::Read];
                            span { (words(scope)) }
                        }
                    }
                }
                label {
                    span { "It is good for" }
                    select name="expires" {
                        option value="7d" { "7 days" }
                        option value="90d" selected { "90 days" }
                        option value="365d" { "a year" }
                        option value="forever" { "until it is taken back" }
                    }
                }
                div.row { button.primary type="submit" data-action="make-token" { "Make it" } }
            }
        }
    }
}

fn session_row(session: &SignIn, is_this: bool, at: &str, now: i64) -> Markup {
    html! {
        li.person-row data-session=(session.id) {
            div {
                strong {
                    @if session.browser.is_empty() { "A browser that does not say what it is" }
                    @else { (text::visible(&session.browser)) }
                }
                p.quiet {
                    @if is_this { "this browser · " }
                    "since " (moment(session.created_at, now))
                    @if let Some(address) = &session.address { " from " (address) }
                    " · " (last_used(session.used_at, now))
                }
            }
            form method="post" action={ (at) "/sessions/end" } {
                input type="hidden" name="session" value=(session.id);
                button type="submit" data-action="end" { "Sign out" }
            }
        }
    }
}

/// The page that a form was sent from.
async fn back(state: &WebState, caller: &Caller, who: &User, news: &News<'_>) -> Result<Response, PageError> {
    if who.id == caller.user {
        show(state, caller, who, news).await
    } else {
        user::show(state, caller, who, news).await
    }
}

fn address(caller: &Caller, who: &User) -> String {
    if who.id == caller.user { "/account".to_owned() } else { format!("/people/{}", who.id) }
}

pub(crate) async fn make_token(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    form: FormData,
) -> Result<Response, PageError> {
    let who = people::find(&state, &caller, &id).await?;
    let scopes = form.all("scope").collect::<Vec<_>>().join(" ").parse::<Scopes>();
    let wish = TokenWish {
        name: form.get("name").to_owned(),
        scopes: Some(scopes.map_err(Problem::invalid)?),
        expires: Some(form.get("expires").parse().map_err(Problem::invalid)?),
    };
    match people::make_token(&state, &caller, &who, wish).await {
        Ok((_, token)) => {
            let what = "This is the token. Whoever has it may do with it what you have chosen.";
            back(&state, &caller, &who, &News::Secret { what, secret: &token }).await
        }
        Err(problem) => back(&state, &caller, &who, &News::Failed(&problem)).await,
    }
}

pub(crate) async fn revoke_token(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    form: FormData,
) -> Result<Response, PageError> {
    let who = people::find(&state, &caller, &id).await?;
    people::revoke_token(&state, &caller, form.get("token")).await?;
    Ok(Redirect::to(&address(&caller, &who)).into_response())
}

pub(crate) async fn end_sessions(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    form: FormData,
) -> Result<Response, PageError> {
    let who = people::find(&state, &caller, &id).await?;
    let only = Some(form.get("session")).filter(|session| !session.is_empty());
    people::end_sessions(&state, &caller, &who, only).await?;
    Ok(Redirect::to(&address(&caller, &who)).into_response())
}

/// Changes one's own password. Guessing the present one is as slow as at the sign-in.
pub(crate) async fn password(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    via: Via,
    form: FormData,
) -> Result<Response, PageError> {
    let who = people::find(&state, &caller, "me").await?;
    match change_password(&state, &caller, &via, &who, &form).await {
        Ok(()) => {
            let cookie = start_session(&state, &via, who.id, &who.name).await?;
            Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/account")).into_response())
        }
        Err(problem) => show(&state, &caller, &who, &News::Failed(&problem)).await,
    }
}

async fn change_password(
    state: &WebState,
    caller: &Caller,
    via: &Via,
    who: &User,
    form: &FormData,
) -> Result<(), Problem> {
    let guess = Guess::new(&who.name, via.address().as_deref().unwrap_or("?"));
    crate::auth::count_guess(state, &guess)?;
    if !verify_password(state, form.get("old").to_owned(), who.password_hash.clone()).await? {
        let detail = "the present password is another one";
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "wrong_password",
            "the password is not changed",
            detail,
        ));
    }
    state.throttle.succeeded(&guess);
    let hash = chosen_password(state, form).await?;
    Ok(state.store().set_password(who.id, Some(hash), caller.by()).await?)
}
