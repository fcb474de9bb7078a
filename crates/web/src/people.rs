//! What the API and the panel do about users, their tokens and their sessions.

use holdpoint_model::{Keep, Role, Scopes, UserId};
use holdpoint_store::{Deed, Entry, NewToken, SignInId, StoreError, Token, TokenId, User, UserChange};
use http::StatusCode;
use serde_json::json;

use crate::{
    auth::{Caller, fresh_secret, hash_token},
    limits,
    problem::Problem,
    state::WebState,
};

/// The purpose of a link that lets a known user choose a password: `user:UUID`.
pub(crate) const FOR_USER: &str = "user:";

/// A name as it is kept.
pub(crate) fn checked_name(name: &str) -> Result<&str, Problem> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > limits::MAX_NAME_CHARS || name.chars().any(char::is_control)
    {
        return Err(Problem::invalid(format!("a name has 1 to {} characters", limits::MAX_NAME_CHARS)));
    }
    Ok(name)
}

/// The user that an address names; `me` for whoever asks. Who may not look after them does not learn whether
/// there are any.
pub(crate) async fn find(state: &WebState, caller: &Caller, id: &str) -> Result<User, Problem> {
    let missing = || Problem::not_found("user");
    let id = if id == "me" { Some(caller.user) } else { id.parse::<UserId>().ok() };
    caller.check_account_of(id.unwrap_or(UserId(uuid::Uuid::nil())))?;
    state.store().user(id.ok_or_else(missing)?).await?.ok_or_else(missing)
}

/// A new user, and the link by which they choose their password.
pub(crate) async fn add(
    state: &WebState,
    caller: &Caller,
    name: &str,
    role: Role,
) -> Result<(User, String), Problem> {
    caller.check_administer()?;
    let name = checked_name(name)?;
    let user = state.store().add_user(name, role, None, caller.by()).await.map_err(|e| refused(e, name))?;
    let url = invite(state, caller, &user).await?;
    Ok((user, url))
}

/// A link, good once, by which a user chooses a password: their first, or another.
pub(crate) async fn invite(state: &WebState, caller: &Caller, user: &User) -> Result<String, Problem> {
    caller.check_administer()?;
    if !user.is_active() {
        return Err(deactivated(user));
    }
    let secret = fresh_secret().map_err(|error| Problem::internal("make a link", &error))?;
    state.store().audit(caller.by(), Entry::new(Deed::LinkCreated, "").to(user.id)).await?;
    let purpose = format!("{FOR_USER}{}", user.id);
    state.store().create_link(hash_token(&secret), &purpose, state.now() + limits::LINK_MS).await?;
    Ok(format!("{}/welcome?token={secret}", state.base_url))
}

/// Renames a user, changes their role, or lets them in no longer or again.
pub(crate) async fn change(
    state: &WebState,
    caller: &Caller,
    user: &User,
    change: UserChange,
) -> Result<User, Problem> {
    caller.check_administer()?;
    let name = change.name.as_deref().map(checked_name).transpose()?.map(str::to_owned);
    let tried = name.clone().unwrap_or_default();
    let change = UserChange { name, ..change };
    state.store().change_user(user.id, change, caller.by()).await.map_err(|error| refused(error, &tried))
}

/// A token to make.
#[derive(Debug)]
pub(crate) struct TokenWish {
    pub(crate) name: String,
    /// All that its owner may do where nothing is said.
    pub(crate) scopes: Option<Scopes>,
    /// [`limits::TOKEN_MS`] where nothing is said.
    pub(crate) expires: Option<Keep>,
}

/// A token of a user, and the token itself, which is stored nowhere.
pub(crate) async fn make_token(
    state: &WebState,
    caller: &Caller,
    user: &User,
    wish: TokenWish,
) -> Result<(Token, String), Problem> {
    caller.check_account_of(user.id)?;
    if !user.is_active() {
        return Err(deactivated(user));
    }
    let name = checked_name(&wish.name)?.to_owned();
    let allowed = user.role.scopes();
    let scopes = wish.scopes.unwrap_or_else(|| allowed.clone());
    let beyond = scopes.beyond(&allowed);
    if let Some(first) = beyond.first() {
        let detail =
            format!("{} is {}: a token of theirs cannot have the scope `{first}`", user.name, user.role);
        return Err(Problem::invalid(detail).with("beyond", json!(beyond)));
    }
    let expires_at = match wish.expires {
        None => Some(state.now() + limits::TOKEN_MS),
        Some(Keep::Forever) => None,
        Some(keep) => Some(state.now().saturating_add(keep.ms())),
    };
    let token = fresh_secret().map_err(|error| Problem::internal("make a token", &error))?;
    let new = NewToken { user: user.id, name, hash: hash_token(&token), scopes, expires_at };
    Ok((state.store().create_token(new, caller.by()).await?, token))
}

/// Takes a token back. Who may not look after its owner does not learn whether there is one.
pub(crate) async fn revoke_token(state: &WebState, caller: &Caller, id: &str) -> Result<(), Problem> {
    let missing = || Problem::not_found("token");
    let id: TokenId = id.parse().map_err(|_| missing())?;
    let token = state.store().token(id).await?;
    let owner = token.map_or(UserId(uuid::Uuid::nil()), |token| token.user);
    caller.check_account_of(owner).map_err(
        |problem| {
            if caller.role.may_administer() { problem } else { missing() }
        },
    )?;
    if state.store().delete_token(id, caller.by()).await? { Ok(()) } else { Err(missing()) }
}

/// Ends one session of a user, or all of them.
pub(crate) async fn end_sessions(
    state: &WebState,
    caller: &Caller,
    user: &User,
    only: Option<&str>,
) -> Result<u64, Problem> {
    caller.check_account_of(user.id)?;
    let missing = || Problem::not_found("session");
    let only = only.map(str::parse::<SignInId>).transpose().map_err(|_| missing())?;
    let ended = state.store().end_sessions(user.id, only, caller.by()).await?;
    if ended == 0 && only.is_some() { Err(missing()) } else { Ok(ended) }
}

fn deactivated(user: &User) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "deactivated",
        "this user is not let in",
        format!("{} is deactivated; activate them first", user.name),
    )
}

fn refused(error: StoreError, name: &str) -> Problem {
    match error {
        StoreError::Exists { .. } => Problem::new(
            StatusCode::CONFLICT,
            "name_taken",
            "this name is taken",
            format!("there is a user called {name} already, perhaps deactivated; take another name"),
        ),
        StoreError::LastAdmin => Problem::new(
            StatusCode::CONFLICT,
            "last_admin",
            "this is the last administrator",
            "nobody could look after people any more; make somebody else an admin first",
        ),
        error => error.into(),
    }
}
