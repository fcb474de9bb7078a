//! Opening a data file: who may, and what is said to those who may not.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use holdpoint_store::{OpenError, Store};
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use crate::support::*;

async fn refused(path: &Path) -> OpenError {
    Store::open(path, options(&TestClock::default())).await.expect_err("it may not be opened")
}

/// Without the folder, which is another in each run.
fn message(error: &OpenError, folder: &Path) -> String {
    error.to_string().replace(&folder.display().to_string(), "FOLDER")
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("metadata").permissions().mode() & 0o777
}

#[tokio::test]
async fn the_files_are_for_their_owner_alone() {
    let mut bench = Bench::new().await;
    start(&bench.store, "private").await;
    let files: Vec<_> = std::fs::read_dir(bench.folder.path())
        .expect("folder")
        .map(|entry| entry.expect("entry").path())
        .collect();
    assert!(files.len() >= 3, "the data file, its lock, the write-ahead log: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    // Also where somebody had opened it to others.
    bench.store.close().await;
    std::fs::set_permissions(bench.path(), std::fs::Permissions::from_mode(0o644)).expect("chmod");
    bench.reopen().await;
    assert_eq!(mode(&bench.path()), 0o600);
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_is_done() {
    let bench = Bench::new().await;
    let id = start(&bench.store, "first").await;
    let error = refused(&bench.path()).await;
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    insta::assert_snapshot!(
        message(&error, bench.folder.path()),
        @"open the data file FOLDER/data.db: another holdpoint process uses it; stop that one first, or give this one another data folder"
    );
    // Having been refused has not taken the lock away.
    assert!(matches!(refused(&bench.path()).await, OpenError::InUse { .. }));
    bench.store.apply(id, notice("the first is not disturbed")).await.expect("notice");
    bench.store.close().await;
    let second = open(&bench.path(), &bench.clock).await;
    assert_eq!(log(&second, id).await.len(), 3);
    second.close().await;
}

/// A store that is dropped rather than closed gives its file back too, once its writer has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_store_gives_its_file_back() {
    let Bench { store, clock, folder } = Bench::new().await;
    let path = folder.path().join("data.db");
    let id = start(&store, "dropped").await;
    drop(store);
    let again = loop {
        match Store::open(&path, options(&clock)).await {
            Ok(store) => break store,
            Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(log(&again, id).await.len(), 2);
    again.close().await;
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("data.db");
    let text = "Dear diary, this is not a database. ".repeat(40);
    std::fs::write(&path, &text).expect("write");
    let error = refused(&path).await;
    assert!(matches!(error, OpenError::Database { .. }), "{error:?}");
    insta::assert_snapshot!(
        message(&error, folder.path()),
        @"open the database FOLDER/data.db: error returned from database: (code: 26) file is not a database"
    );
    assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
    // Nothing keeps it locked: with another file in its place it opens.
    std::fs::remove_file(&path).expect("remove");
    open(&path, &TestClock::default()).await.close().await;
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_refused_and_left_as_it_is() {
    let bench = Bench::new().await;
    start(&bench.store, "from the future").await;
    bench.store.close().await;
    let url = format!("sqlite:{}", bench.path().display());
    let mut conn = SqliteConnection::connect(&url).await.expect("connect");
    conn.execute(
        "CREATE TABLE of_the_future (x INTEGER);
         INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
            VALUES (9999, 'of the future', 1, x'00', 0);",
    )
    .await
    .expect("a step further");
    conn.close().await.expect("close");
    let before = std::fs::read(bench.path()).expect("read");
    let error = refused(&bench.path()).await;
    let OpenError::NewerSchema { found: 9999, known, .. } = error else { panic!("{error:?}") };
    insta::assert_snapshot!(
        message(&error, bench.folder.path()).replace(&format!("up to {known}"), "up to KNOWN"),
        @"open the data file FOLDER/data.db: a newer Holdpoint wrote it (schema 9999, this one knows up to KNOWN); start the newer Holdpoint, or restore a backup made before it"
    );
    assert!(std::fs::read(bench.path()).expect("read") == before, "the file was changed");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    let error = refused(&folder.path().join("no/such/folder/data.db")).await;
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
    insta::assert_snapshot!(
        message(&error, folder.path()),
        @"use the data file FOLDER/no/such/folder/data.db: No such file or directory (os error 2)"
    );
}
