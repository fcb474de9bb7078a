//! Trees made by somebody who wants to be read elsewhere, or to keep us for ever.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use holdpoint_checkpoint::{Manifest, NoteKind, TakeError, Tree};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, mkdirat, mkfifoat, openat};

use crate::support::*;

const SECRET: &str = "only the host may read this";

/// Whether the content of a host's file got into a checkpoint.
async fn holds_the_secret(bench: &Bench, manifest: &Manifest) -> bool {
    let picture = bench.picture(manifest).await;
    picture.values().any(|node| matches!(node, Node::File { content, .. } if content == SECRET.as_bytes()))
}

#[tokio::test]
async fn a_file_without_end_is_left_out_and_told_and_a_hole_costs_nothing() {
    let bench = Bench::with(&[("near", "x")]);
    let holes = |name: &str, size: u64| {
        fs::File::create(bench.workspace().join(name)).expect("file").set_len(size).expect("length");
    };
    holes("endless", 1 << 42);
    holes("hole", 64 << 20);
    let taken = bench.take(1).await;
    let (notes, _) = taken.manifest.notes();
    assert!(
        matches!(notes, [note] if note.what == NoteKind::TooLarge && note.path == "endless"),
        "{notes:?}"
    );
    assert!(taken.bytes_written < 100_000, "{taken:?}");
    let to = bench.path("to");
    bench.store.restore(&taken.manifest, &[("workspace", &to)]).await.expect("restore");
    assert_eq!(files_below(&to).len(), 2);
    let hole = fs::metadata(to.join("hole")).expect("hole");
    assert_eq!(hole.len(), 64 << 20);
    assert!(hole.blocks() * 512 < 1 << 20, "a hole came back as {} bytes", hole.blocks() * 512);
}

#[tokio::test]
async fn one_content_of_many_names_is_stored_once() {
    let bench = Bench::new();
    bench.put("0", Dice(1).content(300_000));
    for n in 1..200 {
        fs::hard_link(bench.workspace().join("0"), bench.workspace().join(n.to_string())).expect("link");
    }
    let taken = bench.take(1).await;
    assert_eq!(taken.manifest.files(), 200);
    assert!(taken.bytes_written < 400_000, "{taken:?}");
}

#[tokio::test]
async fn more_than_a_manifest_may_hold_is_refused_early() {
    let bench = Bench::new();
    // 400 links of three kilobytes each in 100 folders do it: no file is needed.
    for folder in 0..100 {
        fs::create_dir(bench.workspace().join(folder.to_string())).expect("folder");
        for n in 0..400 {
            let at = bench.workspace().join(format!("{folder}/{n}"));
            symlink("x".repeat(4_000), at).expect("link");
        }
    }
    let workspace = bench.workspace();
    let trees = [Tree { name: "workspace", path: &workspace, exclude: &[] }];
    let refused = bench.store.take(&trees, facts(1)).await.expect_err("too many");
    assert!(matches!(refused, TakeError::TooMany), "{refused}");
    assert!(bench.manifests().is_empty());
}

#[tokio::test]
async fn two_hundred_thousand_pipes_are_counted() {
    let bench = Bench::with(&[("near", "x")]);
    for n in 0..200_000 {
        mkfifoat(CWD, bench.workspace().join(format!("{n}")), Mode::RWXU).expect("pipe");
    }
    let manifest = bench.take(1).await.manifest;
    assert_eq!((manifest.files(), manifest.notes().0.len()), (1, 0));
}

fn dig(root: &Path, levels: usize) {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, root, flags, Mode::empty()).expect("root");
    for _ in 0..levels {
        mkdirat(&at, "d", Mode::RWXU).expect("folder");
        at = openat(&at, "d", flags, Mode::empty()).expect("folder");
    }
}

#[tokio::test]
async fn five_thousand_levels_are_told_and_can_be_replaced() {
    let bench = Bench::with(&[("near", "x")]);
    dig(&bench.workspace(), 5_000);
    let manifest = bench.take(1).await.manifest;
    let (notes, _) = manifest.notes();
    assert!(matches!(notes, [note] if note.what == NoteKind::TooDeep), "{notes:?}");
    let workspace = bench.workspace();
    bench.store.restore(&manifest, &[("workspace", &workspace)]).await.expect("what was there goes");
    assert_eq!(files_below(&workspace).len(), 1);
    assert_eq!(
        fs::read_dir(workspace.parent().expect("parent"))
            .expect("dir")
            .flatten()
            .filter(|entry| { entry.file_name().to_string_lossy().starts_with(".workspace") })
            .count(),
        0,
        "nothing is left beside it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_places_while_it_is_read_brings_nothing_in() {
    let bench = Bench::with(&[("a/b/secret", "inside"), ("a/file", "inside"), ("holder/x", "y")]);
    let (tree, host) = (bench.workspace(), bench.path("host"));
    fs::create_dir(&host).expect("host");
    fs::write(host.join("secret"), SECRET).expect("secret");
    symlink(&host, tree.join("out")).expect("link");
    symlink(&host, tree.join("holder/b")).expect("link");
    symlink(host.join("secret"), tree.join("a/link")).expect("link");
    mkfifoat(CWD, tree.join("a/pipe"), Mode::RWXU).expect("pipe");
    let done = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let (done, tree) = (Arc::clone(&done), tree.clone());
        move || {
            while !done.load(Ordering::Relaxed) {
                for (one, other) in
                    [("a", "out"), ("a/b", "holder/b"), ("a/file", "a/link"), ("a/link", "a/pipe")]
                {
                    let (one, other) = (tree.join(one), tree.join(other));
                    let _ = rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
                }
            }
        }
    });
    for seq in 1..60 {
        let manifest = bench.take(seq).await.manifest;
        assert!(!holds_the_secret(&bench, &manifest).await, "{seq}");
    }
    done.store(true, Ordering::Relaxed);
    swapper.join().expect("swapper");
    assert_eq!(fs::read_to_string(host.join("secret")).expect("secret"), SECRET);
}

#[tokio::test]
async fn a_tree_that_is_a_link_is_not_read() {
    let bench = Bench::new();
    let (host, link) = (bench.path("host"), bench.path("link"));
    fs::create_dir(&host).expect("host");
    fs::write(host.join("secret"), SECRET).expect("secret");
    symlink(&host, &link).expect("link");
    let trees = [Tree { name: "workspace", path: &link, exclude: &[] }];
    bench.store.take(&trees, facts(1)).await.expect_err("a link");
    assert!(bench.blobs().is_empty());
}
