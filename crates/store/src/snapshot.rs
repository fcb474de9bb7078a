//! A copy of the data file as of one moment, made beside whoever writes it, and what is in such a copy.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use holdpoint_model::{ExecutionId, Incarnation};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use uuid::Uuid;

use crate::codec::{narrow, unsigned};
use crate::schema::{BUSY_TIMEOUT, OWNER_ONLY};
use crate::{OpenError, StoreError};

/// What is in a data file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The version of its schema.
    pub schema: i64,
    /// Executions by the name of their status; a status without any is absent.
    pub by_status: BTreeMap<String, u64>,
    /// Events in all logs.
    pub events: u64,
    /// Every execution; those that have a worker or need one come first.
    pub executions: Vec<ContentsExecution>,
}

/// An execution in a data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentsExecution {
    /// Which.
    pub id: ExecutionId,
    /// Its newest worker that the log knows; None where it has ended, so that there is no newer one.
    pub incarnation: Option<Incarnation>,
}

impl Contents {
    /// Executions that have not ended.
    #[must_use]
    pub fn going_on(&self) -> usize {
        self.executions.iter().filter(|execution| execution.incarnation.is_some()).count()
    }
}

/// Copies the data file at `from` to `to`, which must not exist, as of the moment this begins. Whoever
/// writes `from` goes on meanwhile: it is only read, and never waited for. The copy is for its owner alone,
/// and is not yet safe from a crash of the machine.
///
/// # Errors
/// As [`OpenError`] says, with the file in question.
pub async fn snapshot(from: &Path, to: &Path) -> Result<(), OpenError> {
    let database = |source| OpenError::Database { path: from.to_owned(), source };
    // SQLite takes an empty file for one that is not there, and leaves its mode as it is.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(OWNER_ONLY)
        .open(to)
        .map_err(|source| OpenError::Io { path: to.to_owned(), source })?;
    let mut conn = reader(from).await?;
    let target = to.to_string_lossy();
    sqlx::query("VACUUM INTO ?1").bind(&*target).execute(&mut conn).await.map_err(database)?;
    conn.close().await.map_err(database)
}

/// Looks into the data file at `path` without changing anything in it.
///
/// # Errors
/// [`OpenError::NewerSchema`] when a newer Holdpoint wrote it, or as it says.
pub async fn contents(path: &Path) -> Result<Contents, OpenError> {
    let mut conn = reader(path).await?;
    let known = crate::schema::known();
    let found = read(&mut conn, known)
        .await
        .map_err(|source| OpenError::Content { path: path.to_owned(), source })?;
    conn.close().await.map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
    found.map_err(|found| OpenError::NewerSchema { path: path.to_owned(), found, known })
}

/// A connection that can change nothing. The lock of the store is not asked for.
async fn reader(path: &Path) -> Result<SqliteConnection, OpenError> {
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    SqliteConnection::connect_with(&connect)
        .await
        .map_err(|source| OpenError::Database { path: path.to_owned(), source })
}

/// Err with the schema's version where it is newer than `known`: nothing else is read then.
async fn read(conn: &mut SqliteConnection, known: i64) -> Result<Result<Contents, i64>, StoreError> {
    let row =
        sqlx::query("SELECT coalesce(max(version), 0) FROM _sqlx_migrations").fetch_one(&mut *conn).await?;
    let schema = row.try_get(0)?;
    if schema > known {
        return Ok(Err(schema));
    }
    let mut by_status = BTreeMap::new();
    let rows =
        sqlx::query("SELECT status, count(*) FROM executions GROUP BY status").fetch_all(&mut *conn).await?;
    for row in rows {
        by_status.insert(row.try_get(0)?, unsigned("a count", row.try_get(1)?)?);
    }
    let events = sqlx::query("SELECT count(*) FROM events").fetch_one(&mut *conn).await?;
    let events = unsigned("a count", events.try_get(0)?)?;
    let rows = sqlx::query(
        "SELECT e.id, CASE WHEN e.ended_at IS NULL THEN json_extract(a.state, '$.incarnation') END
         FROM executions e LEFT JOIN aggregates a ON e.ended_at IS NULL AND a.execution = e.id
         ORDER BY e.attention DESC, e.id",
    )
    .fetch_all(&mut *conn)
    .await?;
    let executions = rows
        .iter()
        .map(|row| {
            Ok(ContentsExecution {
                id: ExecutionId(row.try_get::<Uuid, _>(0)?),
                incarnation: narrow("incarnation", row.try_get(1)?)?,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(Ok(Contents { schema, by_status, events, executions }))
}
