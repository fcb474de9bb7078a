//! Copies: whole, under the same name, and nothing sent twice.

use std::fs;

use holdpoint_checkpoint::{Checkpoints, Copied, CopyError};

use crate::support::*;

#[tokio::test]
async fn a_copy_is_the_same_checkpoint_elsewhere() {
    let bench = Bench::with(&[("a", "1"), ("b", "2")]);
    let first = bench.take(1).await.manifest;
    bench.put("c", "3");
    let second = bench.take(2).await.manifest;
    let backup = Checkpoints::local(&bench.path("backup")).expect("backup");
    let copied = bench.store.copy_to(&backup, &first).await.expect("copy");
    assert_eq!((copied.blobs, copied.skipped), (1, 0));
    let copied = bench.store.copy_to(&backup, &second).await.expect("copy");
    assert_eq!((copied.blobs, copied.skipped), (1, 1));
    let again = bench.store.copy_to(&backup, &second).await.expect("copy");
    assert_eq!(again, Copied { blobs: 0, bytes: 0, skipped: 2 });

    fs::remove_dir_all(bench.path("store")).expect("lost");
    let newest = backup.newest_whole(EXECUTION).await.expect("newest").manifest.expect("whole");
    assert_eq!(newest, second);
    let to = bench.path("to");
    backup.restore(&newest, &[("workspace", &to)]).await.expect("restore");
    assert_eq!(read(&to), read(&bench.workspace()));
}

#[tokio::test]
async fn what_is_not_whole_is_not_copied() {
    let bench = Bench::with(&[("a", "1")]);
    let manifest = bench.take(1).await.manifest;
    fs::write(bench.blobs().remove(0), "torn").expect("tear");
    let backup = Checkpoints::local(&bench.path("backup")).expect("backup");
    let copied = bench.store.copy_to(&backup, &manifest).await;
    assert!(matches!(copied, Err(CopyError::NotWhole(_))), "{copied:?}");
    assert_eq!(backup.executions().await.expect("executions"), Vec::<String>::new());
}
