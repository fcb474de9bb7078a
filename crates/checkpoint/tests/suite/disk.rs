//! A full disk: a small file system in a mount namespace of a child.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use holdpoint_checkpoint::{Checkpoints, RestoreError, TakeError, Tree};

use crate::support::*;

/// Set for the child: a folder with room for three megabytes, and one with enough.
const SMALL: &str = "HOLDPOINT_CHECKPOINT_SMALL_FOLDER";
const LARGE: &str = "HOLDPOINT_CHECKPOINT_LARGE_FOLDER";

#[test]
fn a_full_disk_harms_nothing_that_was_there() {
    let possible = Command::new("unshare").args(["-rm", "true"]).output();
    if !possible.as_ref().is_ok_and(|output| output.status.success()) {
        println!("not run: this system makes no mount namespace for us: `unshare -rm true`: {possible:?}");
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let (small, large) = (dir.path().join("small"), dir.path().join("large"));
    fs::create_dir(&small).expect("small");
    fs::create_dir(&large).expect("large");
    let script = format!(
        r#"mount -t tmpfs -o size=3m none "${SMALL}" && exec "$0" --exact disk::the_one_without_room --ignored --nocapture"#
    );
    let status = Command::new("unshare")
        .args(["-rm", "sh", "-c", &script])
        .arg(std::env::current_exe().expect("this test"))
        .env(SMALL, &small)
        .env(LARGE, &large)
        .status()
        .expect("unshare");
    assert!(status.success(), "{status}");
}

#[test]
#[ignore = "started by another test, in a namespace of its own"]
fn the_one_without_room() {
    let folder = |name| PathBuf::from(std::env::var_os(name).expect("started by another test"));
    let (small, large) = (folder(SMALL), folder(LARGE));
    let workspace = large.join("workspace");
    fs::create_dir(&workspace).expect("workspace");
    fs::write(workspace.join("a"), "small").expect("write");
    let trees = [Tree { name: "workspace", path: &workspace, exclude: &[] }];
    block_on(async {
        let store = Checkpoints::local(&small.join("store")).expect("store");
        store.take(&trees, facts(1)).await.expect("there is room");
        fs::write(workspace.join("b"), Dice(1).content(9 << 20)).expect("write");
        for _ in 0..3 {
            let full = store.take(&trees, facts(2)).await;
            assert!(matches!(&full, Err(TakeError::Store(error)) if error.is_disk_full()), "{full:?}");
        }
        let newest = store.newest_whole(EXECUTION).await.expect("newest");
        assert_eq!((newest.manifest.map(|found| found.seq()), newest.skipped.len()), (Some(1), 0));
        let half = files_below(&small).iter().filter(|path| path.to_string_lossy().contains('#')).count();
        assert_eq!(half, 0, "nothing half written takes up room");

        // Nor does a restore that does not fit touch what is there.
        let elsewhere = Checkpoints::local(&large.join("store")).expect("store");
        let manifest = elsewhere.take(&trees, facts(3)).await.expect("there is room").manifest;
        let to = small.join("to");
        fs::create_dir(&to).expect("to");
        fs::write(to.join("kept"), "kept").expect("kept");
        let full = elsewhere.restore(&manifest, &[("workspace", &to)]).await;
        assert!(matches!(&full, Err(RestoreError::Store(error)) if error.is_disk_full()), "{full:?}");
        assert_eq!(fs::read_to_string(to.join("kept")).expect("kept"), "kept");
        assert_eq!(fs::read_dir(&small).expect("read").count(), 2, "nothing is left beside it");

        // With room again it goes on.
        fs::remove_file(workspace.join("b")).expect("remove");
        fs::write(workspace.join("a"), "other").expect("write");
        let next = store.take(&trees, facts(4)).await.expect("there is room").manifest;
        assert_eq!(store.verify(&next).await.expect("verify"), vec![]);
    });
}
