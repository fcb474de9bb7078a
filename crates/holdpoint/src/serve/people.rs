//! Who may come in at the first start: the operator at the terminal, and the first admin by a link.

use holdpoint_model::{Role, UnixMs};
use holdpoint_store::{NewToken, Store};
use holdpoint_web::{fresh_secret, hash_token};

use crate::data::DataDir;

/// The user that the terminal on this machine acts as.
pub(super) const OPERATOR: &str = "operator";

/// What the link is for.
const LINK_PURPOSE: &str = "invitation";

/// How long a one-time link can be used.
pub(super) const LINK_MS: UnixMs = 24 * 3600 * 1000;

/// The token of the terminal on this machine. The one of the last start is used again as long as
/// it is good, so that a terminal which follows a conversation goes on after a restart.
pub(super) async fn operator_token(store: &Store, data: &DataDir) -> anyhow::Result<String> {
    if let Ok(Some(last)) = data.read_control()
        && store.principal_by_token(hash_token(&last.token)).await?.is_some()
    {
        return Ok(last.token);
    }
    make_token(store, OPERATOR, Role::Admin).await
}

/// A token for a user of this name, who is made if there is none.
pub(super) async fn make_token(store: &Store, name: &str, role: Role) -> anyhow::Result<String> {
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
            name: name.to_owned(),
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
