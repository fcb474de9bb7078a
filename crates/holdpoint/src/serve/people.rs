//! Who may come in at the first start: the operator at the terminal, and the first admin by a link.

use holdpoint_model::{Actor, Channel, Keep, Role, Scopes, UnixMs};
use holdpoint_store::{By, NewToken, Store, TokenId, User, UserChange};
use holdpoint_web::{fresh_secret, hash_token, limits};

use crate::client::types::{OPERATOR, TERMINAL, TokenItem};

/// What the link is for.
const LINK_PURPOSE: &str = "invitation";

/// How long a one-time link can be used.
pub(super) const LINK_MS: UnixMs = 24 * 3600 * 1000;

/// A fresh token for the terminal on this machine, and those of earlier starts, to be deleted once
/// the terminal can find the new one. None is used twice: after a control plane was killed, its token
/// may have been sent to whoever listens at its address now. A terminal that follows a conversation
/// reads the new one when it connects again.
pub(super) async fn terminal_token(store: &Store) -> anyhow::Result<(String, Vec<TokenId>)> {
    let user = match store.user_by_name(OPERATOR).await? {
        // Whoever has the machine comes in, whatever was done about people.
        Some(user) if user.role != Role::Admin || !user.is_active() => {
            let change = UserChange { role: Some(Role::Admin), active: Some(true), ..UserChange::default() };
            store.change_user(user.id, change, terminal()).await?
        }
        Some(user) => user,
        None => store.create_user(OPERATOR, Role::Admin, None).await?,
    };
    let older = store.tokens(user.id).await?;
    let older = older.into_iter().filter(|token| token.name == TERMINAL).map(|token| token.id).collect();
    let token = new_token(store, &user, TERMINAL, Scopes::all(), None).await?;
    Ok((token, older))
}

/// Every token, by user.
pub(super) async fn list_tokens(store: &Store) -> anyhow::Result<Vec<TokenItem>> {
    let mut all = Vec::new();
    for user in store.users().await? {
        all.extend(store.tokens(user.id).await?.into_iter().map(|token| TokenItem {
            id: token.id.to_string(),
            name: token.name,
            user: user.name.clone(),
            role: user.role.to_string(),
            scopes: token.scopes.to_string().split(' ').map(str::to_owned).collect(),
            created_at: Some(token.created_at),
            expires_at: token.expires_at,
            used_at: token.used_at,
        }));
    }
    Ok(all)
}

/// A token to make, for a user of a name, who is made if there is none.
#[derive(Clone, Debug)]
pub struct TokenWish {
    /// Whose it is, and what it is called.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// What it may be used for; all that the role may where None.
    pub scopes: Option<Scopes>,
    /// How long it is good; [`limits::TOKEN_MS`] where None.
    pub expires: Option<Keep>,
}

/// The terminal of this machine, while nothing else has the database.
pub(super) fn terminal() -> By {
    Actor { user: None, name: TERMINAL.to_owned(), channel: Channel::Terminal }.into()
}

/// A token for a user of this name, who is made if there is none.
pub(super) async fn make_token(store: &Store, wish: TokenWish, now: UnixMs) -> anyhow::Result<String> {
    let TokenWish { name, role, scopes, expires } = wish;
    let user = match store.user_by_name(&name).await? {
        Some(user) if user.role != role => {
            anyhow::bail!(
                "{name} is there already, as {}: use another name, or --role {}",
                user.role,
                user.role
            )
        }
        Some(user) => user,
        None => store.add_user(&name, role, None, terminal()).await?,
    };
    let scopes = scopes.unwrap_or_else(|| role.scopes());
    if let Some(scope) = scopes.beyond(&role.scopes()).first() {
        anyhow::bail!("{name} is {role}: a token of theirs cannot have the scope `{scope}`");
    }
    let expires_at = match expires {
        None => Some(now + limits::TOKEN_MS),
        Some(Keep::Forever) => None,
        Some(keep) => Some(now.saturating_add(keep.ms())),
    };
    new_token(store, &user, &name, scopes, expires_at).await
}

async fn new_token(
    store: &Store,
    user: &User,
    name: &str,
    scopes: Scopes,
    expires_at: Option<UnixMs>,
) -> anyhow::Result<String> {
    let token = fresh_secret()?;
    let new = NewToken { user: user.id, name: name.to_owned(), hash: hash_token(&token), scopes, expires_at };
    store.create_token(new, terminal()).await?;
    Ok(token)
}

/// A link that makes the first admin, as long as nobody can sign in.
pub(super) async fn first_link(store: &Store, base_url: &str, now: UnixMs) -> anyhow::Result<Option<String>> {
    if store.users().await?.iter().any(|user| user.password_hash.is_some()) {
        return Ok(None);
    }
    Ok(Some(make_link(store, base_url, now).await?))
}

/// A fresh one-time link.
pub(super) async fn make_link(store: &Store, base_url: &str, now: UnixMs) -> anyhow::Result<String> {
    let secret = fresh_secret()?;
    store.create_link(hash_token(&secret), LINK_PURPOSE, now + LINK_MS).await?;
    Ok(format!("{base_url}/welcome?token={secret}"))
}
