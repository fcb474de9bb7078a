//! Who may come in at the first start: the operator at the terminal, and the first admin by a link.

use holdpoint_model::{Role, UnixMs};
use holdpoint_store::{NewToken, Store, TokenId};
use holdpoint_web::{fresh_secret, hash_token};

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
    let older = match store.user_by_name(OPERATOR).await? {
        Some(user) => store.tokens(user.id).await?,
        None => Vec::new(),
    };
    let older = older.into_iter().filter(|token| token.name == TERMINAL).map(|token| token.id).collect();
    Ok((new_token(store, OPERATOR, TERMINAL, Role::Admin).await?, older))
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
            created_at: Some(token.created_at),
            expires_at: token.expires_at,
        }));
    }
    Ok(all)
}

/// A token for a user of this name, who is made if there is none.
pub(super) async fn make_token(store: &Store, name: &str, role: Role) -> anyhow::Result<String> {
    new_token(store, name, name, role).await
}

async fn new_token(store: &Store, name: &str, called: &str, role: Role) -> anyhow::Result<String> {
    let user = match store.user_by_name(name).await? {
        Some(user) if user.role != role => {
            anyhow::bail!(
                "{name} is there already, as {}: use another name, or --role {}",
                user.role,
                user.role
            )
        }
        Some(user) => user,
        None => store.create_user(name, role, None).await?,
    };
    let token = fresh_secret()?;
    store
        .create_token(NewToken {
            user: user.id,
            name: called.to_owned(),
            hash: hash_token(&token),
            expires_at: None,
        })
        .await?;
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
