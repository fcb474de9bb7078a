//! Users, and links that let people in.

use std::fmt;

use holdpoint_model::{Actor, Role, UnixMs, UserId};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::codec::unsigned;
use crate::writer::Tx;
use crate::{By, Deed, Entry, Store, StoreError};

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
    /// Since when they are not let in; None for those who are.
    pub deactivated_at: Option<UnixMs>,
}

impl User {
    /// Whether they are let in.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.deactivated_at.is_none()
    }

    fn is_admin(&self) -> bool {
        self.is_active() && self.role == Role::Admin
    }
}

/// What to change about a user; None leaves it.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// The name.
    pub name: Option<String>,
    /// The role.
    pub role: Option<Role>,
    /// Whether they are let in.
    pub active: Option<bool>,
}

const COLUMNS: &str = "SELECT id, name, role, password_hash, created_at, deactivated_at FROM users ";

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
    /// Creates a user whom nobody in particular has asked for.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the name is taken.
    pub async fn create_user(
        &self,
        name: &str,
        role: Role,
        password_hash: Option<String>,
    ) -> Result<User, StoreError> {
        self.add_user(name, role, password_hash, Actor::system("setup").into()).await
    }

    /// Creates a user.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the name is taken.
    pub async fn add_user(
        &self,
        name: &str,
        role: Role,
        password_hash: Option<String>,
        by: By,
    ) -> Result<User, StoreError> {
        let name = name.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                let (id, created_at) = (UserId(tx.fresh_id()), tx.now());
                let user = User { id, name, role, password_hash, created_at, deactivated_at: None };
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
                let entry = Entry::new(Deed::UserCreated, format!("{}, {role}", user.name));
                tx.audit(&by, entry.to(user.id)).await?;
                Ok(user)
            })
        })
        .await
    }

    /// A user by id.
    pub async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = ?1")))
            .bind(id.0)
            .fetch_optional(&self.shared.readers)
            .await?;
        row.as_ref().map(user).transpose()
    }

    /// A user by name, whatever the case.
    pub async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE name = ?1")))
            .bind(name)
            .fetch_optional(&self.shared.readers)
            .await?;
        row.as_ref().map(user).transpose()
    }

    /// All users, by name.
    pub async fn users(&self) -> Result<Vec<User>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} ORDER BY name")))
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
    pub async fn set_password(
        &self,
        user: UserId,
        password_hash: Option<String>,
        by: By,
    ) -> Result<(), StoreError> {
        self.write_access(move |tx| {
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
                tx.audit(&by, Entry::new(Deed::PasswordSet, "").to(user)).await
            })
        })
        .await
    }

    /// Renames a user, changes their role, or lets them in no longer or again. Whoever is let in no longer
    /// has no session and no token from then on.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such user, [`StoreError::Exists`] when the name is taken,
    /// [`StoreError::LastAdmin`] when nobody could administer any more.
    pub async fn change_user(&self, id: UserId, change: UserChange, by: By) -> Result<User, StoreError> {
        self.write_access(move |tx| {
            Box::pin(async move {
                let before = tx.user(id).await?.ok_or(StoreError::Missing { what: "user" })?;
                let mut after = before.clone();
                let now = tx.now();
                if let Some(name) = change.name {
                    after.name = name;
                }
                after.role = change.role.unwrap_or(after.role);
                match change.active {
                    Some(false) => after.deactivated_at = Some(after.deactivated_at.unwrap_or(now)),
                    Some(true) => after.deactivated_at = None,
                    None => {}
                }
                if before.is_admin() && !after.is_admin() && tx.is_last_admin(&before).await? {
                    return Err(StoreError::LastAdmin);
                }
                tx.write_user(&before, &after).await?;
                for entry in changes(&before, &after) {
                    tx.audit(&by, entry.to(id)).await?;
                }
                Ok(after)
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
}

impl Tx {
    pub(crate) async fn user(&mut self, id: UserId) -> Result<Option<User>, StoreError> {
        let query = format!("{COLUMNS} WHERE id = ?1");
        let row = sqlx::query(sqlx::AssertSqlSafe(query)).bind(id.0).fetch_optional(self.reading()).await?;
        row.as_ref().map(user).transpose()
    }

    /// A user who may still come in.
    pub(crate) async fn active_user(&mut self, id: UserId) -> Result<User, StoreError> {
        let user = self.user(id).await?.filter(User::is_active);
        user.ok_or(StoreError::Missing { what: "user" })
    }

    /// Whether nobody else could administer: with a password, if this one has a password.
    async fn is_last_admin(&mut self, admin: &User) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND deactivated_at IS NULL
                AND id <> ?1 AND (password_hash IS NOT NULL OR NOT ?2))",
        )
        .bind(admin.id.0)
        .bind(admin.password_hash.is_some())
        .fetch_one(self.reading())
        .await?;
        Ok(!row.try_get::<bool, _>(0)?)
    }

    async fn write_user(&mut self, before: &User, after: &User) -> Result<(), StoreError> {
        let conn = self.writing().await?;
        let taken = sqlx::query("SELECT 1 FROM users WHERE name = ?1 AND id <> ?2")
            .bind(&after.name)
            .bind(after.id.0)
            .fetch_optional(&mut *conn)
            .await?;
        if taken.is_some() {
            return Err(StoreError::Exists { what: "user of that name" });
        }
        sqlx::query("UPDATE users SET name = ?2, role = ?3, deactivated_at = ?4 WHERE id = ?1")
            .bind(after.id.0)
            .bind(&after.name)
            .bind(after.role.as_str())
            .bind(after.deactivated_at)
            .execute(&mut *conn)
            .await?;
        if before.is_active() && !after.is_active() {
            for statement in ["DELETE FROM sessions WHERE user = ?1", "DELETE FROM tokens WHERE user = ?1"] {
                sqlx::query(statement).bind(after.id.0).execute(&mut *conn).await?;
            }
        }
        Ok(())
    }
}

/// What a change of a user comes to, for the audit log.
fn changes(before: &User, after: &User) -> Vec<Entry> {
    let mut entries = Vec::new();
    if before.name != after.name {
        entries.push(Entry::new(Deed::UserRenamed, format!("{} → {}", before.name, after.name)));
    }
    if before.role != after.role {
        entries.push(Entry::new(Deed::RoleChanged, format!("{} → {}", before.role, after.role)));
    }
    match (before.is_active(), after.is_active()) {
        (true, false) => entries.push(Entry::new(Deed::UserDeactivated, "")),
        (false, true) => entries.push(Entry::new(Deed::UserActivated, "")),
        (true, true) | (false, false) => {}
    }
    entries
}

/// How long a link that is over still says why it is not good.
const LINKS_KEPT_MS: UnixMs = 24 * 3600 * 1000;

/// Of the columns `id, name, role, password_hash, created_at, deactivated_at`, in this order.
pub(crate) fn user(row: &SqliteRow) -> Result<User, StoreError> {
    Ok(User {
        id: UserId(row.try_get(0)?),
        name: row.try_get(1)?,
        role: row.try_get::<&str, _>(2)?.parse().map_err(StoreError::Corrupt)?,
        password_hash: row.try_get(3)?,
        created_at: row.try_get(4)?,
        deactivated_at: row.try_get(5)?,
    })
}
