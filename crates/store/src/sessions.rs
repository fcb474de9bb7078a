//! Who is signed in: sessions of browsers, and whom a session or a token stands for.

use std::fmt;

use holdpoint_model::{Scopes, UnixMs, UserId};
use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::people::user;
use crate::{By, Deed, Entry, SecretHash, Store, StoreError, TokenId, User};

/// The id of a session, by which people end it; nobody signs in with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct SignInId(pub Uuid);

impl fmt::Display for SignInId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for SignInId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// A browser that signs in.
#[derive(Clone)]
pub struct NewSession {
    /// As whom.
    pub user: UserId,
    /// The SHA-256 of its cookie.
    pub hash: SecretHash,
    /// Until when it is good.
    pub expires_at: UnixMs,
    /// What it says that it is (`User-Agent`).
    pub browser: String,
}

impl fmt::Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSession").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A browser that is signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignIn {
    /// Its id.
    pub id: SignInId,
    /// As whom.
    pub user: UserId,
    /// When it signed in.
    pub created_at: UnixMs,
    /// Until when it is good.
    pub expires_at: UnixMs,
    /// What it said that it is; may be empty.
    pub browser: String,
    /// The address that it signed in from, where that was known.
    pub address: Option<String>,
    /// When it was used last, give or take some minutes.
    pub used_at: Option<UnixMs>,
}

/// With what somebody has shown who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A token.
    Token(TokenId),
    /// A session of a browser.
    Session(SignInId),
}

/// Whom a token or a session stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Who.
    pub user: User,
    /// With what.
    pub credential: Credential,
    /// What that may be used for.
    pub scopes: Scopes,
    /// When it was used last, give or take some minutes.
    pub used_at: Option<UnixMs>,
}

const OF_TOKEN: &str = "SELECT u.id, u.name, u.role, u.password_hash, u.created_at, u.deactivated_at,
     t.id, t.used_at, t.scopes FROM tokens t JOIN users u ON u.id = t.user
     WHERE (t.expires_at IS NULL OR t.expires_at > ?2) AND u.deactivated_at IS NULL AND ";

const OF_SESSION: &str = "SELECT u.id, u.name, u.role, u.password_hash, u.created_at, u.deactivated_at,
     s.id, s.used_at FROM sessions s JOIN users u ON u.id = s.user
     WHERE s.expires_at > ?2 AND u.deactivated_at IS NULL AND ";

impl Store {
    /// Whose token has this hash, if it is still good.
    pub async fn principal_by_token(&self, hash: SecretHash) -> Result<Option<Principal>, StoreError> {
        let now = self.shared.options.clock.now();
        self.principal(format!("{OF_TOKEN} t.hash = ?1"), hash.to_vec(), now).await
    }

    /// Whose session has this hash, if it is still good at `now`.
    pub async fn principal_by_session(
        &self,
        hash: SecretHash,
        now: UnixMs,
    ) -> Result<Option<Principal>, StoreError> {
        self.principal(format!("{OF_SESSION} s.hash = ?1"), hash.to_vec(), now).await
    }

    /// Whom this stands for now; None when it is not good any more.
    pub async fn principal_by_credential(
        &self,
        credential: Credential,
        now: UnixMs,
    ) -> Result<Option<Principal>, StoreError> {
        let (query, id) = match credential {
            Credential::Token(id) => (format!("{OF_TOKEN} t.id = ?1"), id.0),
            Credential::Session(id) => (format!("{OF_SESSION} s.id = ?1"), id.0),
        };
        self.principal(query, id.as_bytes().to_vec(), now).await
    }

    async fn principal(
        &self,
        query: String,
        key: Vec<u8>,
        now: UnixMs,
    ) -> Result<Option<Principal>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(key)
            .bind(now)
            .fetch_optional(&self.shared.readers)
            .await?;
        row.as_ref().map(principal).transpose()
    }

    /// Notes that this was used now.
    pub async fn used(&self, credential: Credential, now: UnixMs) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let (statement, id) = match credential {
                    Credential::Token(id) => ("UPDATE tokens SET used_at = ?2 WHERE id = ?1", id.0),
                    Credential::Session(id) => ("UPDATE sessions SET used_at = ?2 WHERE id = ?1", id.0),
                };
                sqlx::query(statement).bind(id).bind(now).execute(tx.writing().await?).await?;
                Ok(())
            })
        })
        .await
    }

    /// Creates a browser session. Also forgets those that are over.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such user, or not any more.
    pub async fn create_session(&self, session: NewSession, by: By) -> Result<SignInId, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                tx.active_user(session.user).await?;
                let (id, now) = (SignInId(tx.fresh_id()), tx.now());
                let conn = tx.writing().await?;
                sqlx::query("DELETE FROM sessions WHERE expires_at <= ?1")
                    .bind(now)
                    .execute(&mut *conn)
                    .await?;
                sqlx::query(
                    "INSERT INTO sessions (hash, user, created_at, expires_at, id, browser, address, used_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?3)",
                )
                .bind(session.hash.as_slice())
                .bind(session.user.0)
                .bind(now)
                .bind(session.expires_at)
                .bind(id.0)
                .bind(&session.browser)
                .bind(by.address.as_deref())
                .execute(conn)
                .await?;
                tx.audit(&by, Entry::new(Deed::SignedIn, session.browser).to(session.user)).await?;
                Ok(id)
            })
        })
        .await
    }

    /// A user's sessions that are still good at `now`, newest first.
    pub async fn sessions(&self, user: UserId, now: UnixMs) -> Result<Vec<SignIn>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, user, created_at, expires_at, browser, address, used_at FROM sessions
             WHERE user = ?1 AND expires_at > ?2 ORDER BY created_at DESC, id DESC",
        )
        .bind(user.0)
        .bind(now)
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter().map(sign_in).collect()
    }

    /// A session by its id.
    pub async fn session(&self, id: SignInId) -> Result<Option<SignIn>, StoreError> {
        let row = sqlx::query(
            "SELECT id, user, created_at, expires_at, browser, address, used_at FROM sessions WHERE id = ?1",
        )
        .bind(id.0)
        .fetch_optional(&self.shared.readers)
        .await?;
        row.as_ref().map(sign_in).transpose()
    }

    /// Ends a session, as who has it does by signing out; true if there was one.
    pub async fn delete_session(&self, hash: SecretHash, by: By) -> Result<bool, StoreError> {
        self.write_access(move |tx| {
            Box::pin(async move {
                let deleted = sqlx::query("DELETE FROM sessions WHERE hash = ?1 RETURNING user")
                    .bind(hash.as_slice())
                    .fetch_optional(tx.writing().await?)
                    .await?;
                let Some(deleted) = deleted else { return Ok(false) };
                let user = UserId(deleted.try_get(0)?);
                tx.audit(&by, Entry::new(Deed::SignedOut, "").to(user)).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Ends one session of a user, or all of them; how many there were.
    pub async fn end_sessions(
        &self,
        user: UserId,
        only: Option<SignInId>,
        by: By,
    ) -> Result<u64, StoreError> {
        self.write_access(move |tx| {
            Box::pin(async move {
                let ended = sqlx::query("DELETE FROM sessions WHERE user = ?1 AND (?2 IS NULL OR id = ?2)")
                    .bind(user.0)
                    .bind(only.map(|id| id.0))
                    .execute(tx.writing().await?)
                    .await?
                    .rows_affected();
                if ended > 0 {
                    let entry = Entry::new(Deed::SessionsEnded, ended.to_string());
                    tx.audit(&by, entry.to(user)).await?;
                }
                Ok(ended)
            })
        })
        .await
    }
}

fn principal(row: &SqliteRow) -> Result<Principal, StoreError> {
    let id: Uuid = row.try_get(6)?;
    let (credential, scopes) = if row.len() > 8 {
        let scopes = row.try_get::<&str, _>(8)?.parse().map_err(StoreError::Corrupt)?;
        (Credential::Token(TokenId(id)), scopes)
    } else {
        (Credential::Session(SignInId(id)), Scopes::all())
    };
    Ok(Principal { user: user(row)?, credential, scopes, used_at: row.try_get(7)? })
}

fn sign_in(row: &SqliteRow) -> Result<SignIn, StoreError> {
    Ok(SignIn {
        id: SignInId(row.try_get(0)?),
        user: UserId(row.try_get(1)?),
        created_at: row.try_get(2)?,
        expires_at: row.try_get(3)?,
        browser: row.try_get(4)?,
        address: row.try_get(5)?,
        used_at: row.try_get(6)?,
    })
}
