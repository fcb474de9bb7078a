//! A copy of the data file as of one moment, made while it is written.

use std::os::unix::fs::PermissionsExt as _;

use holdpoint_model::Command;
use holdpoint_store::{ContentsExecution, OpenError, contents, known_schema, snapshot};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use crate::picture::{Picture, assert_rebuild_is_live};
use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_is_one_moment_of_a_log_that_goes_on() {
    let bench = Bench::new().await;
    let ids = [start_warm(&bench.store, "one").await, start_warm(&bench.store, "two").await];
    let writer = tokio::spawn({
        let store = bench.store.clone();
        async move {
            for n in 3..400 {
                for id in ids {
                    tell(&store, id, 1, n, vec![asks(&format!("call-{n}"))]).await;
                }
            }
        }
    });
    let mut copies = 0;
    while !writer.is_finished() || copies == 0 {
        copies += 1;
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("copy.db");
        snapshot(&bench.path(), &path).await.expect("snapshot");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let found = contents(&path).await.expect("contents");
        let store = open(&path, &bench.clock).await;
        let mut copy = Bench { store, clock: bench.clock.clone(), folder };
        let mut events = 0;
        for id in ids {
            let copied = log(&copy.store, id).await;
            let now = log(&bench.store, id).await;
            assert_eq!(copied, now[..copied.len()], "no other log than the one there is");
            events += copied.len() as u64;
        }
        assert_eq!(found.events, events);
        Picture::of(&copy.store).await.assert_consistent();
        copy.store.close().await;
        std::fs::rename(&path, copy.path()).expect("rename");
        copy.store = open(&copy.path(), &bench.clock).await;
        assert_rebuild_is_live(&mut copy).await;
    }
    writer.await.expect("the writer was never refused");
    assert!(copies > 0);
}

#[tokio::test]
async fn contents_are_told_with_what_has_a_worker_first() {
    let bench = Bench::new().await;
    let over = start(&bench.store, "over").await;
    bench.store.apply(over, Command::Cancel { by: person("ada") }).await.expect("cancel");
    let asking = start_warm(&bench.store, "asking").await;
    let parked = start_warm(&bench.store, "parked").await;
    tell_next(&bench.store, parked, vec![asks("a")]).await;
    let gone = Command::WorkerGone { incarnation: 1, how: holdpoint_model::command::Gone::Parked };
    bench.store.apply(parked, gone).await.expect("parked");
    // Beside the store that has the file, and without a trace in it.
    let found = contents(&bench.path()).await.expect("contents");
    assert_eq!((found.schema, found.going_on()), (known_schema(), 2));
    let by_status: Vec<(&str, u64)> = found.by_status.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    assert_eq!(by_status, [("awaiting", 1), ("cancelled", 1), ("running", 1)]);
    assert_eq!(
        found.executions,
        [
            ContentsExecution { id: asking, incarnation: Some(1) },
            ContentsExecution { id: over, incarnation: None },
            ContentsExecution { id: parked, incarnation: Some(1) },
        ]
    );
}

#[tokio::test]
async fn what_is_there_is_not_overwritten_and_what_is_newer_not_read() {
    let bench = Bench::new().await;
    start(&bench.store, "one").await;
    let path = bench.folder.path().join("copy.db");
    std::fs::write(&path, "something of somebody's").expect("file");
    let error = snapshot(&bench.path(), &path).await.expect_err("in the way");
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert_eq!(std::fs::read(&path).expect("read"), b"something of somebody's");
    let absent = snapshot(&bench.folder.path().join("absent.db"), &bench.folder.path().join("x")).await;
    assert!(absent.is_err());

    std::fs::remove_file(&path).expect("remove");
    snapshot(&bench.path(), &path).await.expect("snapshot");
    let options = SqliteConnectOptions::new().filename(&path);
    let mut conn = SqliteConnection::connect_with(&options).await.expect("connect");
    conn.execute("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, '', 1, x'00', 0)")
        .await
        .expect("spoil");
    conn.close().await.expect("close");
    let error = contents(&path).await.expect_err("newer");
    assert!(error.to_string().contains("a newer Holdpoint wrote it (schema 9999"), "{error}");
}
