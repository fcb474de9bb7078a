//! Opening the data file: who may use it, its connections, its schema.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};

use crate::{OpenError, StoreOptions};

/// The schema, step by step. A step that was ever released is never edited: add another.
static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// How long a connection waits for another's lock. Only a reader that meets a checkpoint ever does.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Only the owner reads conversations and secrets' hashes.
pub(crate) const OWNER_ONLY: u32 = 0o600;

/// The newest schema that this program knows.
#[must_use]
pub fn known() -> i64 {
    MIGRATOR.iter().map(|step| step.version).max().unwrap_or_default()
}

/// The open connections to a data file.
pub(crate) struct Opened {
    pub(crate) conn: SqliteConnection,
    pub(crate) connect: SqliteConnectOptions,
    pub(crate) readers: SqlitePool,
    pub(crate) lock: File,
}

/// Opens the data file for this process alone and brings its schema up to date.
pub(crate) async fn open(path: &Path, options: &StoreOptions) -> Result<Opened, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let database = |source| OpenError::Database { path: path.to_owned(), source };
    let lock = lock(path)?;
    owner_only(path).map_err(io)?;

    let connect = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(64)
        .disable_statement_logging();
    let connect = match options.max_pages {
        Some(pages) => connect.pragma("max_page_count", pages.to_string()),
        None => connect,
    };
    let mut conn = SqliteConnection::connect_with(&connect).await.map_err(database)?;
    refuse_newer(path, &mut conn).await?;
    MIGRATOR.run(&mut conn).await.map_err(|source| OpenError::Migrate { path: path.to_owned(), source })?;
    let readers = SqlitePoolOptions::new()
        .max_connections(options.readers.max(1))
        .connect_with(connect.clone().pragma("query_only", "ON"))
        .await
        .map_err(database)?;
    Ok(Opened { conn, connect, readers, lock })
}

/// Takes the lock beside the data file. The system gives it back when this process ends, however it does.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(OWNER_ONLY)
        .open(PathBuf::from(name))
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// Creates the data file for its owner alone, or makes an existing one so; SQLite gives the files
/// beside it the same mode.
fn owner_only(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(OWNER_ONLY).open(path)?;
    if file.metadata()?.permissions().mode() & 0o777 != OWNER_ONLY {
        file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
    }
    Ok(())
}

async fn refuse_newer(path: &Path, conn: &mut SqliteConnection) -> Result<(), OpenError> {
    let database = |source| OpenError::Database { path: path.to_owned(), source };
    let known = known();
    let migrated =
        sqlx::query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'")
            .fetch_optional(&mut *conn)
            .await
            .map_err(database)?;
    if migrated.is_none() {
        return Ok(());
    }
    let row = sqlx::query("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(conn)
        .await
        .map_err(database)?;
    let found: i64 = row.try_get(0).map_err(database)?;
    if found > known {
        return Err(OpenError::NewerSchema { path: path.to_owned(), found, known });
    }
    Ok(())
}
