//! Tokens of users, for scripts.

use std::fmt;

use holdpoint_model::{Scopes, UnixMs, UserId};
use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::{By, Deed, Entry, SecretHash, Store, StoreError};

/// The id of a token; not the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct TokenId(pub Uuid);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for TokenId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// A token to create.
#[derive(Clone)]
pub struct NewToken {
    /// Whose.
    pub user: UserId,
    /// What they call it.
    pub name: String,
    /// The SHA-256 of the token.
    pub hash: SecretHash,
    /// What it may be used for, as far as its owner may.
    pub scopes: Scopes,
    /// Until when it is good; None for ever.
    pub expires_at: Option<UnixMs>,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken").field("user", &self.user).field("name", &self.name).finish_non_exhaustive()
    }
}

/// A token as its owner sees it in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// Whose.
    pub user: UserId,
    /// What they call it.
    pub name: String,
    /// What it may be used for, as far as its owner may.
    pub scopes: Scopes,
    /// When it was created.
    pub created_at: UnixMs,
    /// Until when it is good; None for ever.
    pub expires_at: Option<UnixMs>,
    /// When it was used last, give or take some minutes.
    pub used_at: Option<UnixMs>,
}

const COLUMNS: &str = "SELECT id, user, name, scopes, created_at, expires_at, used_at FROM tokens ";

impl Store {
    /// Creates a token.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such user, or not any more.
    pub async fn create_token(&self, token: NewToken, by: By) -> Result<Token, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                tx.active_user(token.user).await?;
                let NewToken { user, name, hash, scopes, expires_at } = token;
                let (id, created_at) = (TokenId(tx.fresh_id()), tx.now());
                let token = Token { id, user, name, scopes, created_at, expires_at, used_at: None };
                sqlx::query(
                    "INSERT INTO tokens (id, user, name, hash, scopes, created_at, expires_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )
                .bind(token.id.0)
                .bind(token.user.0)
                .bind(&token.name)
                .bind(hash.as_slice())
                .bind(token.scopes.to_string())
                .bind(token.created_at)
                .bind(token.expires_at)
                .execute(tx.writing().await?)
                .await?;
                let detail = format!("{} ({})", token.name, token.scopes);
                tx.audit(&by, Entry::new(Deed::TokenCreated, detail).to(user)).await?;
                Ok(token)
            })
        })
        .await
    }

    /// A token by its id.
    pub async fn token(&self, id: TokenId) -> Result<Option<Token>, StoreError> {
        let query = format!("{COLUMNS} WHERE id = ?1");
        let row =
            sqlx::query(sqlx::AssertSqlSafe(query)).bind(id.0).fetch_optional(&self.shared.readers).await?;
        row.as_ref().map(token_row).transpose()
    }

    /// A user's tokens, newest first.
    pub async fn tokens(&self, user: UserId) -> Result<Vec<Token>, StoreError> {
        let query = format!("{COLUMNS} WHERE user = ?1 ORDER BY created_at DESC, id DESC");
        let rows =
            sqlx::query(sqlx::AssertSqlSafe(query)).bind(user.0).fetch_all(&self.shared.readers).await?;
        rows.iter().map(token_row).collect()
    }

    /// Deletes a token; true if there was one.
    pub async fn delete_token(&self, id: TokenId, by: By) -> Result<bool, StoreError> {
        self.write_access(move |tx| {
            Box::pin(async move {
                let deleted = sqlx::query("DELETE FROM tokens WHERE id = ?1 RETURNING user, name")
                    .bind(id.0)
                    .fetch_optional(tx.writing().await?)
                    .await?;
                let Some(deleted) = deleted else { return Ok(false) };
                let entry = Entry::new(Deed::TokenRevoked, deleted.try_get::<String, _>(1)?);
                tx.audit(&by, entry.to(UserId(deleted.try_get(0)?))).await?;
                Ok(true)
            })
        })
        .await
    }
}

fn token_row(row: &SqliteRow) -> Result<Token, StoreError> {
    Ok(Token {
        id: TokenId(row.try_get(0)?),
        user: UserId(row.try_get(1)?),
        name: row.try_get(2)?,
        scopes: row.try_get::<&str, _>(3)?.parse().map_err(StoreError::Corrupt)?,
        created_at: row.try_get(4)?,
        expires_at: row.try_get(5)?,
        used_at: row.try_get(6)?,
    })
}
