//! Files that people upload before a conversation takes them: what is known of each. Their content is in the
//! data folder, and no business of this crate.

use holdpoint_model::{ExecutionId, UnixMs, UploadId, UserId};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::codec::{signed, unsigned};
use crate::writer::Tx;
use crate::{Store, StoreError};

/// The columns that [`upload`] reads, in this order.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, owner, name, size, received, created_at, changed_at, execution, place FROM uploads ",
            $rest
        )
    };
}

/// A file that is being uploaded, or is whole and waits for a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its id.
    pub id: UploadId,
    /// Whose.
    pub owner: UserId,
    /// Its name: a path relative to the folder that was chosen, or a bare name.
    pub name: String,
    /// How long it will be.
    pub size_bytes: u64,
    /// How much of it is on the disk for sure.
    pub received_bytes: u64,
    /// When it was begun.
    pub created_at: UnixMs,
    /// When something of it came last.
    pub changed_at: UnixMs,
    /// Where it goes, once a conversation has taken it.
    pub taken: Option<Taken>,
}

/// Where an upload goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The conversation.
    pub execution: ExecutionId,
    /// The path in its workspace.
    pub place: String,
}

impl Upload {
    /// Whether all of it has come.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.received_bytes == self.size_bytes
    }
}

/// An upload to begin.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// Its id.
    pub id: UploadId,
    /// Whose.
    pub owner: UserId,
    /// Its name.
    pub name: String,
    /// How long it will be.
    pub size_bytes: u64,
}

/// What one person may have uploaded and not yet used.
#[derive(Clone, Copy, Debug)]
pub struct UploadQuota {
    /// How many files.
    pub files: u64,
    /// How long all of them may be together.
    pub bytes: u64,
}

/// What became of an upload to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadBegun {
    /// It has begun.
    Begun(Upload),
    /// This person has too many.
    TooMany,
    /// This person's would be too long together; so long they are without it.
    TooLong {
        /// In bytes.
        open_bytes: u64,
    },
}

/// An upload that a new conversation takes, whole as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeUpload {
    /// Which.
    pub id: UploadId,
    /// Whose it has to be.
    pub owner: UserId,
    /// The path in the workspace.
    pub place: String,
}

impl Store {
    /// Begins an upload, if there is room for it in what its owner may have.
    pub async fn begin_upload(&self, new: NewUpload, quota: UploadQuota) -> Result<UploadBegun, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let row = sqlx::query(
                    "SELECT count(*), coalesce(sum(size), 0) FROM uploads
                     WHERE owner = ?1 AND execution IS NULL",
                )
                .bind(new.owner.0)
                .fetch_one(tx.reading())
                .await?;
                let open_bytes = unsigned("a size", row.try_get(1)?)?;
                if unsigned("a count", row.try_get(0)?)? >= quota.files {
                    return Ok(UploadBegun::TooMany);
                }
                if open_bytes.saturating_add(new.size_bytes) > quota.bytes {
                    return Ok(UploadBegun::TooLong { open_bytes });
                }
                let now = tx.now();
                sqlx::query(
                    "INSERT INTO uploads (id, owner, name, size, received, created_at, changed_at)
                     VALUES (?1, ?2, ?3, ?4, 0, ?5, ?5)",
                )
                .bind(new.id.0)
                .bind(new.owner.0)
                .bind(&new.name)
                .bind(signed(new.size_bytes))
                .bind(now)
                .execute(tx.writing().await?)
                .await?;
                Ok(UploadBegun::Begun(Upload {
                    id: new.id,
                    owner: new.owner,
                    name: new.name,
                    size_bytes: new.size_bytes,
                    received_bytes: 0,
                    created_at: now,
                    changed_at: now,
                    taken: None,
                }))
            })
        })
        .await
    }

    /// An upload, taken or not.
    pub async fn upload(&self, id: UploadId) -> Result<Option<Upload>, StoreError> {
        let row =
            sqlx::query(select!("WHERE id = ?1")).bind(id.0).fetch_optional(&self.shared.readers).await?;
        row.as_ref().map(upload).transpose()
    }

    /// What a person has uploaded, and no conversation has taken; the first begun first.
    pub async fn uploads(&self, owner: UserId) -> Result<Vec<Upload>, StoreError> {
        let rows = sqlx::query(select!("WHERE owner = ?1 AND execution IS NULL ORDER BY created_at, id"))
            .bind(owner.0)
            .fetch_all(&self.shared.readers)
            .await?;
        rows.iter().map(upload).collect()
    }

    /// Notes that so much of an upload is on the disk; never less than before. Without it, or once it is
    /// taken, nothing is noted.
    pub async fn upload_received(&self, id: UploadId, received_bytes: u64) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let now = tx.now();
                sqlx::query(
                    "UPDATE uploads SET received = max(received, ?2), changed_at = ?3
                     WHERE id = ?1 AND execution IS NULL",
                )
                .bind(id.0)
                .bind(signed(received_bytes))
                .bind(now)
                .execute(tx.writing().await?)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Forgets an upload that no conversation has taken. Whether there was one.
    pub async fn forget_upload(&self, id: UploadId) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let deleted = sqlx::query("DELETE FROM uploads WHERE id = ?1 AND execution IS NULL")
                    .bind(id.0)
                    .execute(tx.writing().await?)
                    .await?;
                Ok(deleted.rows_affected() > 0)
            })
        })
        .await
    }

    /// Forgets every upload of which nothing has come since then, and that no conversation has taken.
    pub async fn forget_uploads_before(&self, before: UnixMs) -> Result<Vec<UploadId>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let rows = sqlx::query(
                    "DELETE FROM uploads WHERE changed_at < ?1 AND execution IS NULL RETURNING id",
                )
                .bind(before)
                .fetch_all(tx.writing().await?)
                .await?;
                rows.iter().map(|row| Ok(UploadId(row.try_get::<Uuid, _>(0)?))).collect()
            })
        })
        .await
    }

    /// Uploads that conversations have taken, and whose files may not be there yet; those of one
    /// conversation, or all.
    pub async fn uploads_taken(&self, by: Option<ExecutionId>) -> Result<Vec<Upload>, StoreError> {
        let rows = sqlx::query(select!(
            "WHERE execution IS NOT NULL AND (?1 IS NULL OR execution = ?1) ORDER BY id"
        ))
        .bind(by.map(|id| id.0))
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter().map(upload).collect()
    }

    /// Notes that the file of a taken upload is where it goes.
    pub async fn upload_is_there(&self, id: UploadId) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                sqlx::query("DELETE FROM uploads WHERE id = ?1 AND execution IS NOT NULL")
                    .bind(id.0)
                    .execute(tx.writing().await?)
                    .await?;
                Ok(())
            })
        })
        .await
    }
}

/// Takes uploads for an execution, in the transaction that creates it: whoever else wants one comes too late.
pub(crate) async fn take(
    tx: &mut Tx,
    execution: ExecutionId,
    uploads: Vec<TakeUpload>,
) -> Result<(), StoreError> {
    for TakeUpload { id, owner, place } in uploads {
        let taken = sqlx::query(
            "UPDATE uploads SET execution = ?3, place = ?4
             WHERE id = ?1 AND owner = ?2 AND execution IS NULL AND received = size",
        )
        .bind(id.0)
        .bind(owner.0)
        .bind(execution.0)
        .bind(place)
        .execute(tx.writing().await?)
        .await?;
        if taken.rows_affected() == 0 {
            return Err(StoreError::Missing { what: "upload" });
        }
    }
    Ok(())
}

fn upload(row: &SqliteRow) -> Result<Upload, StoreError> {
    let taken = match (row.try_get::<Option<Uuid>, _>(7)?, row.try_get::<Option<String>, _>(8)?) {
        (Some(execution), Some(place)) => Some(Taken { execution: ExecutionId(execution), place }),
        (None, None) => None,
        _ => return Err(StoreError::Corrupt("an upload was taken by nobody, or to nowhere".into())),
    };
    Ok(Upload {
        id: UploadId(row.try_get::<Uuid, _>(0)?),
        owner: UserId(row.try_get::<Uuid, _>(1)?),
        name: row.try_get(2)?,
        size_bytes: unsigned("a size", row.try_get(3)?)?,
        received_bytes: unsigned("a size", row.try_get(4)?)?,
        created_at: row.try_get(5)?,
        changed_at: row.try_get(6)?,
        taken,
    })
}
