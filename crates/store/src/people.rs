//! Users, tokens, sessions, links.

use std::fmt;

use holdpoint_model::{Role, UnixMs, UserId};
use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::codec::unsigned;
use crate::{Store, StoreError};

/// A SHA-256: all that is stored of a token, a session cookie or a link.
pub type SecretHash = [u8; 32];

/// A person or service that signs in.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their name; unique, whatever the case.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The hash of their password in its own notation (`$argon2id$…`), if they have one.
    pub password_hash: Option<String>,
    /// When they were created.
    pub created_at: UnixMs,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("role", &self.role)
            .field("has_password", &self.password_hash.is_some())
            .finish_non_exhaustive()
    }
}

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
    /// When it was created.
    pub created_at: UnixMs,
    /// Until when it is good; None for ever.
    pub expires_at: Option<UnixMs>,
}

/// What became of the use of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkUse {
    /// It was good, and is not any more.
    Accepted {
        /// What it was made for.
        purpose: String,
    },
    /// It was used before.
    Used,
    /// Its time was over.
    Expired,
    /// There is no such link.
    Unknown,
}

impl Store {
    /// Creates a user.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the name is taken.
    pub async fn create_user(
        &self,
        name: &str,
        role: Role,
        password_hash: Option<String>,
    ) -> Result<User, StoreError> {
        let name = name.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                let user =
                    User { id: UserId(tx.fresh_id()), name, role, password_hash, created_at: tx.now() };
                let created = sqlx::query(
                    "INSERT INTO users (id, name, role, password_hash, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO NOTHING",
                )
                .bind(user.id.0)
                .bind(&user.name)
                .bind(user.role.as_str())
                .bind(&user.password_hash)
                .bind(user.created_at)
                .execute(tx.writing().await?)
                .await?;
                if created.rows_affected() == 0 {
                    return Err(StoreError::Exists { what: "user of that name" });
                }
                Ok(user)
            })
        })
        .await
    }

    /// A user by id.
    pub async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let row = sqlx::query("SELECT id, name, role, password_hash, created_at FROM users WHERE id = ?1")
            .bind(id.0)
            .fetch_optional(&self.shared.readers)
            .await?;
        row.as_ref().map(user).transpose()
    }

    /// A user by name, whatever the case.
    pub async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError> {
        let row = sqlx::query("SELECT id, name, role, password_hash, created_at FROM users WHERE name = ?1")
            .bind(name)
            .fetch_optional(&self.shared.readers)
            .await?;
        row.as_ref().map(user).transpose()
    }

    /// All users, by name.
    pub async fn users(&self) -> Result<Vec<User>, StoreError> {
        let rows = sqlx::query("SELECT id, name, role, password_hash, created_at FROM users ORDER BY name")
            .fetch_all(&self.shared.readers)
            .await?;
        rows.iter().map(user).collect()
    }

    /// How many users there are.
    pub async fn count_users(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT count(*) FROM users").fetch_one(&self.shared.readers).await?;
        unsigned("a count", row.try_get(0)?)
    }

    /// Sets or takes away a password, and ends every session of that user: whoever knew the old one
    /// is out.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such user.
    pub async fn set_password(&self, user: UserId, password_hash: Option<String>) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let conn = tx.writing().await?;
                let updated = sqlx::query("UPDATE users SET password_hash = ?2 WHERE id = ?1")
                    .bind(user.0)
                    .bind(password_hash)
                    .execute(&mut *conn)
                    .await?;
                if updated.rows_affected() == 0 {
                    return Err(StoreError::Missing { what: "user" });
                }
                sqlx::query("DELETE FROM sessions WHERE user = ?1").bind(user.0).execute(conn).await?;
                Ok(())
            })
        })
        .await
    }

    /// Creates a token.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such user.
    pub async fn create_token(&self, token: NewToken) -> Result<Token, StoreError> {
        self.must_have_user(token.user).await?;
        self.write(move |tx| {
            Box::pin(async move {
                let NewToken { user, name, hash, expires_at } = token;
                let token =
                    Token { id: TokenId(tx.fresh_id()), user, name, created_at: tx.now(), expires_at };
                sqlx::query(
                    "INSERT INTO tokens (id, user, name, hash, created_at, expires_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )
                .bind(token.id.0)
                .bind(token.user.0)
                .bind(&token.name)
                .bind(hash.as_slice())
                .bind(token.created_at)
                .bind(token.expires_at)
                .execute(tx.writing().await?)
                .await?;
                Ok(token)
            })
        })
        .await
    }

    /// The user whose token has this hash, if it is still good.
    pub async fn principal_by_token(&self, hash: SecretHash) -> Result<Option<User>, StoreError> {
        let row = sqlx::query(
            "SELECT u.id, u.name, u.role, u.password_hash, u.created_at
             FROM tokens t JOIN users u ON u.id = t.user
             WHERE t.hash = ?1 AND (t.expires_at IS NULL OR t.expires_at > ?2)",
        )
        .bind(hash.as_slice())
        .bind(self.shared.options.clock.now())
        .fetch_optional(&self.shared.readers)
        .await?;
        row.as_ref().map(user).transpose()
    }

    /// A user's tokens, newest first.
    pub async fn tokens(&self, user: UserId) -> Result<Vec<Token>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, user, name, created_at, expires_at FROM tokens WHERE user = ?1
             ORDER BY created_at DESC, id DESC",
        )
        .bind(user.0)
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Token {
                    id: TokenId(row.try_get(0)?),
                    user: UserId(row.try_get(1)?),
                    name: row.try_get(2)?,
                    created_at: row.try_get(3)?,
                    expires_at: row.try_get(4)?,
                })
            })
            .collect()
    }

    /// Deletes a token; true if there was one.
    pub async fn delete_token(&self, id: TokenId) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let deleted = sqlx::query("DELETE FROM tokens WHERE id = ?1")
                    .bind(id.0)
                    .execute(tx.writing().await?)
                    .await?;
                Ok(deleted.rows_affected() > 0)
            })
        })
        .await
    }

    /// Creates a browser session. Also forgets those that are over.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such user.
    pub async fn create_session(
        &self,
        user: UserId,
        hash: SecretHash,
        expires_at: UnixMs,
    ) -> Result<(), StoreError> {
        self.must_have_user(user).await?;
        self.write(move |tx| {
            Box::pin(async move {
                let now = tx.now();
                let conn = tx.writing().await?;
                sqlx::query("DELETE FROM sessions WHERE expires_at <= ?1")
                    .bind(now)
                    .execute(&mut *conn)
                    .await?;
                sqlx::query(
                    "INSERT INTO sessions (hash, user, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)",
                )
                .bind(hash.as_slice())
                .bind(user.0)
                .bind(now)
                .bind(expires_at)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// The user whose session has this hash, if it is still good at `now`.
    pub async fn principal_by_session(
        &self,
        hash: SecretHash,
        now: UnixMs,
    ) -> Result<Option<User>, StoreError> {
        let row = sqlx::query(
            "SELECT u.id, u.name, u.role, u.password_hash, u.created_at
             FROM sessions s JOIN users u ON u.id = s.user WHERE s.hash = ?1 AND s.expires_at > ?2",
        )
        .bind(hash.as_slice())
        .bind(now)
        .fetch_optional(&self.shared.readers)
        .await?;
        row.as_ref().map(user).transpose()
    }

    /// Ends a session; true if there was one.
    pub async fn delete_session(&self, hash: SecretHash) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let deleted = sqlx::query("DELETE FROM sessions WHERE hash = ?1")
                    .bind(hash.as_slice())
                    .execute(tx.writing().await?)
                    .await?;
                Ok(deleted.rows_affected() > 0)
            })
        })
        .await
    }

    /// Creates a link that is good once. Also forgets those that were over a day ago.
    pub async fn create_link(
        &self,
        hash: SecretHash,
        purpose: &str,
        expires_at: UnixMs,
    ) -> Result<(), StoreError> {
        let purpose = purpose.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                let now = tx.now();
                let conn = tx.writing().await?;
                sqlx::query("DELETE FROM links WHERE expires_at <= ?1")
                    .bind(now.saturating_sub(LINKS_KEPT_MS))
                    .execute(&mut *conn)
                    .await?;
                sqlx::query(
                    "INSERT INTO links (hash, purpose, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)",
                )
                .bind(hash.as_slice())
                .bind(purpose)
                .bind(now)
                .bind(expires_at)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Uses a link. Of any number of uses, exactly one is [`LinkUse::Accepted`].
    pub async fn consume_link(&self, hash: SecretHash, now: UnixMs) -> Result<LinkUse, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let row = sqlx::query("SELECT purpose, expires_at, consumed_at FROM links WHERE hash = ?1")
                    .bind(hash.as_slice())
                    .fetch_optional(tx.reading())
                    .await?;
                let Some(row) = row else { return Ok(LinkUse::Unknown) };
                if row.try_get::<Option<UnixMs>, _>(2)?.is_some() {
                    return Ok(LinkUse::Used);
                }
                if row.try_get::<UnixMs, _>(1)? <= now {
                    return Ok(LinkUse::Expired);
                }
                sqlx::query("UPDATE links SET consumed_at = ?2 WHERE hash = ?1")
                    .bind(hash.as_slice())
                    .bind(now)
                    .execute(tx.writing().await?)
                    .await?;
                Ok(LinkUse::Accepted { purpose: row.try_get(0)? })
            })
        })
        .await
    }

    /// Users are never deleted, so what is seen here stays true until the write.
    async fn must_have_user(&self, id: UserId) -> Result<(), StoreError> {
        self.user(id).await?.map(|_| ()).ok_or(StoreError::Missing { what: "user" })
    }
}

/// How long a link that is over still says why it is not good.
const LINKS_KEPT_MS: UnixMs = 24 * 3600 * 1000;

fn user(row: &SqliteRow) -> Result<User, StoreError> {
    Ok(User {
        id: UserId(row.try_get(0)?),
        name: row.try_get(1)?,
        role: row.try_get::<&str, _>(2)?.parse().map_err(StoreError::Corrupt)?,
        password_hash: row.try_get(3)?,
        created_at: row.try_get(4)?,
    })
}
