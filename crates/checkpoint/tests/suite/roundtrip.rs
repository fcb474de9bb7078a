//! What was taken comes back.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use holdpoint_checkpoint::{Matching, RestoreError, TakeError, Tree};
use proptest::prelude::*;

use crate::support::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back_equal(before in any_tree(), after in any_tree()) {
        block_on(async {
            let bench = Bench::new();
            write(&bench.workspace(), &before);
            let first = bench.take(1).await;
            prop_assert_eq!(first.manifest.notes(), (&[][..], 0));

            // Nothing changed: nothing is read or written but the manifest.
            let again = bench.take(2).await;
            prop_assert_eq!((again.files_read, again.blobs_written), (0, 0));

            // Another tree in its place, then back: in the same folder, over what is there.
            let (workspace, other) = (bench.workspace(), bench.path("other"));
            fs::create_dir(&other).expect("other");
            write(&other, &after);
            let tree = Tree { name: "workspace", path: &other, exclude: &[] };
            let second = bench.store.take(&[tree], facts(3)).await.expect("take").manifest;
            for (manifest, picture) in [(&second, &after), (&first.manifest, &before), (&again.manifest, &before)] {
                let to = [("workspace", workspace.as_path())];
                let restored = bench.store.restore(manifest, &to).await.expect("restore");
                prop_assert_eq!(&read(&workspace), picture);
                prop_assert_eq!(restored.bytes, manifest.bytes());
                prop_assert_eq!(bench.store.matches(manifest, &to).await.expect("match"), Matching::Same);
            }
            prop_assert_eq!(bench.store.verify(&second).await.expect("verify"), vec![]);
            let left: Vec<_> = fs::read_dir(bench.dir.path()).expect("read").collect();
            prop_assert_eq!(left.len(), 3, "{:?}", left);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn what_is_no_file_is_counted_and_no_link_is_followed() {
    let bench = Bench::with(&[("file", "x")]);
    let workspace = bench.workspace();
    let _socket = UnixListener::bind(workspace.join("socket")).expect("socket");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        workspace.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .expect("pipe");
    fs::create_dir(bench.path("outside")).expect("outside");
    fs::write(bench.path("outside/secret"), "secret").expect("secret");
    std::os::unix::fs::symlink(bench.path("outside"), workspace.join("way out")).expect("link");
    fs::hard_link(workspace.join("file"), workspace.join("same")).expect("hard link");

    let manifest = bench.take(1).await.manifest;
    assert_eq!((manifest.left_out(), manifest.files(), manifest.notes()), (2, 2, (&[][..], 0)));
    let picture = bench.picture(&manifest).await;
    let names: Vec<_> = picture.keys().map(|name| String::from_utf8_lossy(name)).collect();
    assert_eq!(names, ["file", "same", "way out"]);
    assert!(matches!(picture[b"way out".as_slice()], Node::Link(_)));
    // They make no difference either.
    let to = [("workspace", workspace.as_path())];
    assert_eq!(bench.store.matches(&manifest, &to).await.expect("match"), Matching::Same);
}

#[tokio::test]
async fn what_is_excluded_is_left_out_and_makes_no_difference() {
    let bench = Bench::with(&[
        ("a.txt", "a"),
        ("a.log", "l"),
        ("sub/b.log", "l"),
        ("node_modules/x/y", "y"),
        ("sub/c", "c"),
    ]);
    let exclude = ["*.log".to_owned(), "node_modules".to_owned()];
    let workspace = bench.workspace();
    let tree = Tree { name: "workspace", path: &workspace, exclude: &exclude };
    let manifest = bench.store.take(&[tree], facts(1)).await.expect("take").manifest;
    let picture = bench.picture(&manifest).await;
    assert_eq!(picture.into_keys().collect::<Vec<_>>(), [&b"a.txt"[..], b"sub", b"sub/c"]);
    let to = [("workspace", workspace.as_path())];
    bench.put("more.log", "new");
    assert_eq!(bench.store.matches(&manifest, &to).await.expect("match"), Matching::Same);
    bench.put("more", "new");
    let differs = bench.store.matches(&manifest, &to).await.expect("match");
    assert_eq!(differs, Matching::Differs("workspace: more is new".into()));
}

#[tokio::test]
async fn matching_sees_every_kind_of_change() {
    type Change = fn(&Path);
    let change: [(&str, Change); 6] = [
        ("sub/a is gone", |root| fs::remove_file(root.join("sub/a")).expect("remove")),
        ("b has 3 bytes, not 1", |root| fs::write(root.join("b"), "bbb").expect("write")),
        ("b has mode 755, not 644", |root| {
            fs::set_permissions(root.join("b"), fs::Permissions::from_mode(0o755)).expect("mode");
        }),
        ("link points elsewhere", |root| {
            fs::remove_file(root.join("link")).expect("remove");
            std::os::unix::fs::symlink("elsewhere", root.join("link")).expect("link");
        }),
        ("b has other content", |root| {
            let at = modified(&root.join("b"));
            fs::write(root.join("b"), "x").expect("write");
            set_modified(&root.join("b"), at);
        }),
        ("sub is of another kind", |root| {
            fs::remove_dir_all(root.join("sub")).expect("remove");
            fs::write(root.join("sub"), "").expect("write");
        }),
    ];
    for (expected, change) in change {
        let bench = Bench::with(&[("sub/a", "a"), ("b", "b")]);
        let workspace = bench.workspace();
        fs::set_permissions(workspace.join("b"), fs::Permissions::from_mode(0o644)).expect("mode");
        std::os::unix::fs::symlink("b", workspace.join("link")).expect("link");
        let manifest = bench.take(1).await.manifest;
        let to = [("workspace", workspace.as_path())];
        assert_eq!(bench.store.matches(&manifest, &to).await.expect("match"), Matching::Same);
        change(&workspace);
        let found = bench.store.matches(&manifest, &to).await.expect("match");
        assert_eq!(found, Matching::Differs(format!("workspace: {expected}")));
    }
    let bench = Bench::with(&[("a", "a")]);
    let manifest = bench.take(1).await.manifest;
    let nowhere = bench.path("nowhere");
    let found = bench.store.matches(&manifest, &[("workspace", &nowhere)]).await.expect("match");
    assert_eq!(found, Matching::Differs("workspace: it is not there".into()));
}

#[tokio::test]
async fn times_and_modes_come_back_and_nobody_else_can_read_the_store() {
    let bench = Bench::with(&[("run.sh", "#!/bin/sh"), ("sub/deep/x", "x")]);
    let script = bench.workspace().join("run.sh");
    // Set-id bits are the one thing that never comes back.
    fs::set_permissions(&script, fs::Permissions::from_mode(0o4755)).expect("mode");
    let at = modified(&script);
    let manifest = bench.take(1).await.manifest;
    let to = bench.path("to");
    bench.store.restore(&manifest, &[("workspace", &to)]).await.expect("restore");
    let meta = fs::metadata(to.join("run.sh")).expect("meta");
    assert_eq!((meta.mode() & 0o7777, meta.modified().expect("time")), (0o755, at));

    let mode = |path: &Path| fs::metadata(path).expect("meta").mode() & 0o777;
    assert_eq!(mode(&bench.path("store")), 0o700);
    for file in files_below(&bench.path("store")) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_place_can_be_tried_out() {
    let bench = Bench::new();
    bench.store.probe().await.expect("probe");
    assert!(files_below(&bench.path("store")).is_empty());
    fs::remove_dir_all(bench.path("store")).expect("remove");
    fs::write(bench.path("store"), "in the way").expect("write");
    bench.store.probe().await.expect_err("no folder any more");
}

#[tokio::test]
async fn several_trees_come_back_together_or_each_alone() {
    let bench = Bench::with(&[("file", "work")]);
    let (workspace, home) = (bench.workspace(), bench.path("home"));
    fs::create_dir(&home).expect("home");
    fs::write(home.join("file"), "home").expect("file");
    let trees = [
        Tree { name: "workspace", path: &workspace, exclude: &[] },
        Tree { name: "home", path: &home, exclude: &[] },
    ];
    let manifest = bench.store.take(&trees, facts(1)).await.expect("take").manifest;
    assert_eq!(manifest.trees().collect::<Vec<_>>(), ["workspace", "home"]);
    let (a, b) = (bench.path("a"), bench.path("b"));
    bench.store.restore(&manifest, &[("home", &a), ("workspace", &b)]).await.expect("restore");
    assert_eq!((read(&a), read(&b)), (read(&home), read(&workspace)));
    fs::remove_dir_all(&b).expect("remove");
    bench.store.restore(&manifest, &[("home", &b)]).await.expect("restore");
    assert_eq!(read(&b), read(&home));

    let unknown = bench.store.restore(&manifest, &[("cellar", &a)]).await;
    assert!(matches!(unknown, Err(RestoreError::NoSuchTree(name)) if name == "cellar"));
    let twice = bench.store.restore(&manifest, &[("home", &a), ("home", &b)]).await;
    assert!(matches!(twice, Err(RestoreError::NoSuchTree(_))));
}

#[tokio::test]
async fn refuses_what_it_cannot_do() {
    let bench = Bench::new();
    let workspace = bench.workspace();
    fn tree<'a>(name: &'a str, path: &'a Path, exclude: &'a [String]) -> Tree<'a> {
        Tree { name, path, exclude }
    }
    for bad in ["", "..", "a/b", "ä", &"x".repeat(65)] {
        let named = bench.store.take(&[tree(bad, &workspace, &[])], facts(1)).await;
        assert!(matches!(named, Err(TakeError::BadName(_))), "{bad}");
        let mut facts = facts(1);
        facts.execution = bad.to_owned();
        let owned = bench.store.take(&[tree("workspace", &workspace, &[])], facts).await;
        assert!(matches!(owned, Err(TakeError::BadName(_))), "{bad}");
        assert_eq!(bench.store.list(bad).await.expect("list"), []);
    }
    let pattern = ["[".to_owned()];
    let patterned = bench.store.take(&[tree("workspace", &workspace, &pattern)], facts(1)).await;
    assert!(matches!(patterned, Err(TakeError::BadPattern { pattern, .. }) if pattern == "["));
    let missing = bench.store.take(&[tree("workspace", &bench.path("missing"), &[])], facts(1)).await;
    assert!(matches!(missing, Err(TakeError::Store(_))));
    // A root that is a link leads who knows where.
    std::os::unix::fs::symlink("/etc", bench.path("link")).expect("link");
    let linked = bench.store.take(&[tree("workspace", &bench.path("link"), &[])], facts(1)).await;
    assert!(matches!(linked, Err(TakeError::Store(_))));
    assert!(bench.manifests().is_empty());
}
