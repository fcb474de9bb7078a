//! The audit log: what was done about who may do what. It is only ever appended to, in the commit of what
//! it tells of.

use holdpoint_model::{Actor, ExecutionId, UnixMs, UserId};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _};
use uuid::Uuid;

use crate::codec::{actor, signed, to_json, unsigned};
use crate::writer::Tx;
use crate::{Store, StoreError};

/// Who does something about who may do what, and from where.
#[derive(Clone, Debug)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// The address that it came from, where that is known.
    pub address: Option<String>,
}

impl From<Actor> for By {
    fn from(actor: Actor) -> Self {
        Self { actor, address: None }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Deed {
    SignedIn,
    SignInFailed,
    SignedOut,
    SessionsEnded,
    PasswordSet,
    UserCreated,
    UserRenamed,
    RoleChanged,
    UserDeactivated,
    UserActivated,
    LinkCreated,
    TokenCreated,
    TokenRevoked,
    Shared,
    Unshared,
    Deleted,
    Exec,
    Deployed,
}

impl Deed {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::SignedIn,
        Self::SignInFailed,
        Self::SignedOut,
        Self::SessionsEnded,
        Self::PasswordSet,
        Self::UserCreated,
        Self::UserRenamed,
        Self::RoleChanged,
        Self::UserDeactivated,
        Self::UserActivated,
        Self::LinkCreated,
        Self::TokenCreated,
        Self::TokenRevoked,
        Self::Shared,
        Self::Unshared,
        Self::Deleted,
        Self::Exec,
        Self::Deployed,
    ];

    /// The name as stored and sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignedIn => "signed_in",
            Self::SignInFailed => "sign_in_failed",
            Self::SignedOut => "signed_out",
            Self::SessionsEnded => "sessions_ended",
            Self::PasswordSet => "password_set",
            Self::UserCreated => "user_created",
            Self::UserRenamed => "user_renamed",
            Self::RoleChanged => "role_changed",
            Self::UserDeactivated => "user_deactivated",
            Self::UserActivated => "user_activated",
            Self::LinkCreated => "link_created",
            Self::TokenCreated => "token_created",
            Self::TokenRevoked => "token_revoked",
            Self::Shared => "shared",
            Self::Unshared => "unshared",
            Self::Deleted => "deleted",
            Self::Exec => "exec",
            Self::Deployed => "deployed",
        }
    }
}

impl std::str::FromStr for Deed {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|deed| deed.as_str() == text).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|deed| deed.as_str()).collect();
            format!("unknown kind {text:?}: one of {}", known.join(", "))
        })
    }
}

/// A line to write.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What was done.
    pub deed: Deed,
    /// To whom, if to somebody.
    pub subject: Option<UserId>,
    /// About which conversation, if about one.
    pub execution: Option<ExecutionId>,
    /// More, for people.
    pub detail: String,
}

impl Entry {
    /// About nobody and nothing in particular.
    #[must_use]
    pub fn new(deed: Deed, detail: impl Into<String>) -> Self {
        Self { deed, subject: None, execution: None, detail: detail.into() }
    }

    /// Done to this person.
    #[must_use]
    pub fn to(self, subject: UserId) -> Self {
        Self { subject: Some(subject), ..self }
    }

    /// About this conversation.
    #[must_use]
    pub fn about(self, execution: ExecutionId) -> Self {
        Self { execution: Some(execution), ..self }
    }
}

/// A line as it was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audited {
    /// Its number; later ones are higher.
    pub id: u64,
    /// When.
    pub at: UnixMs,
    /// What was done.
    pub kind: Deed,
    /// Who did it, as they were called then.
    pub by: Actor,
    /// To whom, if to somebody.
    pub subject: Option<UserId>,
    /// How they are called now.
    pub subject_name: Option<String>,
    /// About which conversation, if about one.
    pub execution: Option<ExecutionId>,
    /// More, for people.
    pub detail: String,
    /// The address that it came from, where that is known.
    pub address: Option<String>,
}

impl Store {
    /// Writes a line about something that is not in this store.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn audit(&self, by: By, entry: Entry) -> Result<(), StoreError> {
        self.write(move |tx| Box::pin(async move { tx.audit(&by, entry).await })).await
    }

    /// The lines before a number, latest first; of one kind only, where one is named.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn audited(
        &self,
        kind: Option<Deed>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Audited>, StoreError> {
        let mut query = QueryBuilder::new(
            "SELECT a.id, a.at, a.kind, a.actor, a.subject, u.name, a.execution, a.detail, a.address
             FROM audit a LEFT JOIN users u ON u.id = a.subject WHERE 1",
        );
        if let Some(kind) = kind {
            query.push(" AND a.kind = ").push_bind(kind.as_str());
        }
        if let Some(before) = before {
            query.push(" AND a.id < ").push_bind(signed(before));
        }
        query.push(" ORDER BY a.id DESC LIMIT ").push_bind(limit);
        let rows = query.build().fetch_all(&self.shared.readers).await?;
        rows.iter().map(audited).collect()
    }
}

impl Tx {
    /// Writes a line in this transaction.
    pub(crate) async fn audit(&mut self, by: &By, entry: Entry) -> Result<(), StoreError> {
        let now = self.now();
        sqlx::query(
            "INSERT INTO audit (at, kind, actor, subject, execution, detail, address)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .bind(now)
        .bind(entry.deed.as_str())
        .bind(to_json(&by.actor)?)
        .bind(entry.subject.map(|user| user.0))
        .bind(entry.execution.map(|execution| execution.0))
        .bind(entry.detail)
        .bind(by.address.as_deref())
        .execute(self.writing().await?)
        .await?;
        Ok(())
    }
}

fn audited(row: &SqliteRow) -> Result<Audited, StoreError> {
    Ok(Audited {
        id: unsigned("an id", row.try_get(0)?)?,
        at: row.try_get(1)?,
        kind: row.try_get::<&str, _>(2)?.parse().map_err(StoreError::Corrupt)?,
        by: actor(row.try_get(3)?)?,
        subject: row.try_get::<Option<Uuid>, _>(4)?.map(UserId),
        subject_name: row.try_get(5)?,
        execution: row.try_get::<Option<Uuid>, _>(6)?.map(ExecutionId),
        detail: row.try_get(7)?,
        address: row.try_get(8)?,
    })
}
