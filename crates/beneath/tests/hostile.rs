//! Everything that somebody who owns a tree can put in our way.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use holdpoint_beneath::{
    FileType, Folder, Found, MAX_DEPTH, Refused, Walk, is_the_trees_doing, kind, remove_tree, walk,
};
use proptest::prelude::*;
use rustix::fs::{CWD, Mode, RenameFlags, mkdirat, mkfifoat, mknodat, openat};

const SECRET: &str = "only the host may read this";

/// A tree in hostile hands, and beside it what it wants.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        fs::create_dir(dir.path().join("tree")).expect("tree");
        fs::create_dir(dir.path().join("host")).expect("host");
        fs::write(dir.path().join("host/secret"), SECRET).expect("secret");
        Self { dir }
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    fn host(&self) -> PathBuf {
        self.dir.path().join("host")
    }

    fn open(&self) -> Folder {
        Folder::open(&self.tree()).expect("tree")
    }

    /// Nothing of the host was changed, and nothing was added.
    fn assert_untouched(&self) {
        let names: Vec<_> =
            fs::read_dir(self.host()).expect("host").map(|entry| entry.expect("entry").file_name()).collect();
        assert_eq!(names, ["secret"]);
        assert_eq!(fs::read_to_string(self.host().join("secret")).expect("secret"), SECRET);
    }
}

fn seen(root: &Folder, max: usize) -> (Vec<PathBuf>, Vec<(PathBuf, String)>) {
    let (mut all, mut lost) = (Vec::new(), Vec::new());
    walk(root, max, &|_, _| true, &mut |path, found| {
        match found {
            Found::Lost(loss) => lost.push((path.to_owned(), format!("{loss:?}"))),
            _ => all.push(path.to_owned()),
        }
        Walk::Continue
    })
    .expect("walk");
    (all, lost)
}

#[test]
fn nothing_is_reached_through_a_link() {
    let world = World::new();
    let tree = world.tree();
    symlink(world.host().join("secret"), tree.join("file")).expect("link");
    symlink(world.host(), tree.join("folder")).expect("link");
    symlink("../host", tree.join("relative")).expect("link");
    symlink("/proc/self/root", tree.join("magic")).expect("link");
    symlink(world.host().join("new"), tree.join("dangling")).expect("link");
    let root = world.open();
    for path in
        ["file", "folder/secret", "relative/secret", "dangling", "../host/secret", "a/../../host/secret"]
    {
        let refused = root.file(path).expect_err(path);
        assert!(is_the_trees_doing(&refused), "{path}: {refused}");
        root.file_to_write(path).expect_err(path);
        root.read(path, 100).expect_err(path);
    }
    for path in ["folder", "relative", "magic", "..", "/", "file", "folder/x"] {
        root.folder(path).expect_err(path);
        root.make_folder(path).expect_err(path);
        root.names(10).expect("the root itself");
    }
    for path in ["folder/new", "relative/new", "dangling", "../host/new", "file"] {
        root.create_new(path).expect_err(path);
        root.file_to_write_or_new(path).expect_err(path);
    }
    root.replace("folder/new", b"x").expect_err("through a folder");
    root.rename("folder/secret", "mine").expect_err("out of a folder");
    root.rename("file", "folder/secret").expect_err("into a folder");
    root.remove_file("folder/secret").expect_err("in a folder");
    root.stat("folder/secret").expect_err("in a folder");
    world.assert_untouched();

    // In place of a link, not through it.
    root.replace("file", b"mine").expect("replaced");
    root.replace("dangling", b"mine").expect("replaced");
    assert_eq!(root.read("file", 4).expect("mine"), b"mine");
    assert_eq!(kind(&root.stat("folder").expect("link")), FileType::Symlink);
    assert_eq!(root.link("folder").expect("link"), world.host());
    world.assert_untouched();
    assert_eq!(fs::read_dir(&tree).expect("tree").count(), 5, "no drafts are left");

    symlink(&tree, world.dir.path().join("link")).expect("link");
    Folder::open(&world.dir.path().join("link")).expect_err("the root may not be a link");
    Folder::open(&world.dir.path().join("link/../tree")).expect("the way to it may have links");
}

#[test]
fn nothing_that_waits_or_acts_is_opened() {
    let world = World::new();
    let tree = world.tree();
    mkfifoat(CWD, tree.join("pipe"), Mode::RWXU).expect("pipe");
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).expect("socket");
    fs::create_dir(tree.join("folder")).expect("folder");
    let mut names = vec!["pipe", "socket", "folder"];
    // Only root may make one; /dev/zero.
    if mknodat(CWD, tree.join("device"), FileType::CharacterDevice, Mode::RWXU, rustix::fs::makedev(1, 5))
        .is_ok()
    {
        names.push("device");
    }
    let (root, begun) = (world.open(), Instant::now());
    for name in names {
        for refused in [
            root.file(name).map(drop),
            root.file_to_write(name).map(drop),
            root.file_to_write_or_new(name).map(drop),
            root.read(name, 10).map(drop),
        ] {
            let refused = refused.expect_err(name);
            let inner = refused.get_ref().and_then(|inner| inner.downcast_ref());
            assert_eq!(inner, Some(&Refused::NotAFile(name.into())), "{refused}");
        }
    }
    root.replace("pipe", b"x").expect("replaced");
    assert!(begun.elapsed() < Duration::from_secs(5), "it waited");
}

#[test]
fn a_file_of_two_names_is_read_and_never_written() {
    let world = World::new();
    fs::hard_link(world.host().join("secret"), world.tree().join("hard")).expect("hard link");
    let root = world.open();
    assert_eq!(root.read("hard", 100).expect("read"), SECRET.as_bytes());
    let refused = root.file_to_write("hard").expect_err("it has another name");
    assert!(refused.to_string().contains("other names"), "{refused}");
    root.file_to_write_or_new("hard").expect_err("it has another name");
    root.replace("hard", b"mine").expect("replaced");
    world.assert_untouched();
}

#[test]
fn what_is_read_has_a_limit() {
    let world = World::new();
    fs::File::create(world.tree().join("sparse")).expect("file").set_len(1 << 40).expect("length");
    let root = world.open();
    let refused = root.read("sparse", 1 << 20).expect_err("too large");
    assert_eq!(refused.to_string(), "`sparse` has more than 1048576 bytes");
    assert!(is_the_trees_doing(&refused));
    fs::write(world.tree().join("fits"), "12345").expect("file");
    assert_eq!(root.read("fits", 5).expect("fits"), b"12345");
    root.read("fits", 4).expect_err("one too many");
}

#[test]
fn names_are_any_bytes() {
    let world = World::new();
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe n\nl");
    let root = world.open();
    root.create_new(name).expect("file").write_all(b"x").expect("write");
    assert_eq!(root.read(name, 1).expect("read"), b"x");
    assert_eq!(seen(&root, 10).0, [Path::new(""), Path::new(name)]);
    assert_eq!(root.file("a\0b").expect_err("no name").kind(), std::io::ErrorKind::InvalidInput);
}

/// Makes a chain of folders, deeper than any path can say.
fn dig(root: &Path, levels: usize) {
    let open = |at: &dyn std::os::fd::AsFd, name: &str| {
        openat(at, name, rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC, Mode::empty())
    };
    let mut at = open(&CWD, root.to_str().expect("text")).expect("root");
    for _ in 0..levels {
        mkdirat(&at, "deep", Mode::RWXU).expect("folder");
        at = open(&at, "deep").expect("folder");
    }
    drop(
        openat(&at, "bottom", rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY, Mode::RUSR)
            .expect("file"),
    );
}

#[test]
fn five_thousand_levels_are_walked_so_far_and_removed_whole() {
    let world = World::new();
    dig(&world.tree(), 5_000);
    let (all, lost) = seen(&world.open(), usize::MAX);
    assert_eq!(all.len(), MAX_DEPTH + 1);
    assert!(matches!(&*lost, [(_, why)] if why == "TooDeep"), "{lost:?}");
    remove_tree(&world.tree()).expect("removed");
    assert!(!world.tree().exists());
    world.assert_untouched();
}

#[test]
fn two_hundred_thousand_entries_are_counted_so_far_and_removed_whole() {
    let world = World::new();
    let root = world.open();
    let sub = root.make_folder("many").expect("folder");
    for n in 0..200_000 {
        mkfifoat(CWD, world.tree().join(format!("many/{n}")), Mode::RWXU).expect("entry");
    }
    drop(sub);
    let (all, lost) = seen(&root, 1_000);
    assert_eq!(all.len(), 1_001, "the root, the folder, and what is left of the limit");
    assert!(matches!(&*lost, [(path, why)] if path == Path::new("many") && why == "TooMany"), "{lost:?}");
    assert_eq!(root.names(10).expect("names").0.len(), 1);
    remove_tree(&world.tree()).expect("removed");
    assert!(!world.tree().exists());
}

#[test]
fn removing_follows_nothing_and_opens_what_is_closed() {
    let world = World::new();
    let tree = world.tree();
    symlink(world.host(), tree.join("link")).expect("link");
    fs::hard_link(world.host().join("secret"), tree.join("hard")).expect("hard link");
    mkfifoat(CWD, tree.join("pipe"), Mode::RWXU).expect("pipe");
    fs::create_dir_all(tree.join("a/closed/inner")).expect("folders");
    fs::write(tree.join("a/closed/file"), "x").expect("file");
    for (path, mode) in [("a/closed/inner", 0o000), ("a/closed", 0o000), ("a", 0o500)] {
        let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(mode);
        fs::set_permissions(tree.join(path), mode).expect("mode");
    }
    remove_tree(&tree).expect("removed");
    assert!(!tree.exists());
    remove_tree(&tree).expect("gone is gone");
    remove_tree(&tree.join("nor/this")).expect("gone is gone");
    symlink(world.host(), &tree).expect("link");
    remove_tree(&tree).expect("the link alone");
    assert!(tree.symlink_metadata().is_err());
    world.assert_untouched();
}

/// Runs `work` while a folder, a link to the host, and a file change places without a pause.
fn under_fire(world: &World, work: impl Fn()) {
    let tree = world.tree();
    fs::create_dir_all(tree.join("a/b")).expect("folders");
    fs::write(tree.join("a/b/secret"), "inside").expect("file");
    symlink(world.host(), tree.join("out")).expect("link");
    fs::create_dir(tree.join("holder")).expect("folder");
    symlink(world.host(), tree.join("holder/b")).expect("link");
    symlink(world.host().join("secret"), tree.join("a/link")).expect("link");
    fs::write(tree.join("a/secret"), "inside").expect("file");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = |one: &str, other: &str| {
                let (one, other) = (tree.join(one), tree.join(other));
                let _ = rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
            };
            while !done.load(Ordering::Relaxed) {
                exchange("a", "out");
                exchange("a", "out");
                exchange("a/b", "holder/b");
                exchange("a/secret", "a/link");
                exchange("a/secret", "a/link");
                exchange("a/b", "holder/b");
            }
        });
        let until = Instant::now() + Duration::from_millis(700);
        while Instant::now() < until {
            work();
        }
        done.store(true, Ordering::Relaxed);
    });
    world.assert_untouched();
}

#[test]
fn what_changes_places_while_it_is_read_leads_nowhere() {
    let world = World::new();
    under_fire(&world, || {
        let root = world.open();
        for path in ["a/b/secret", "a/secret", "out/b/secret", "out/secret"] {
            if let Ok(content) = root.read(path, 1_000) {
                assert_eq!(content, b"inside", "{path}");
            }
        }
        walk(&root, 100, &|_, _| true, &mut |path, found| {
            if let Found::Other { folder, name, .. } = found
                && let Ok((mut file, _)) = folder.file(Path::new(name))
            {
                let mut text = String::new();
                file.read_to_string(&mut text).expect("text");
                assert_eq!(text, "inside", "{path:?}");
            }
            Walk::Continue
        })
        .expect("walk");
    });
}

#[test]
fn what_changes_places_while_it_is_written_leads_nowhere() {
    let world = World::new();
    under_fire(&world, || {
        let root = world.open();
        for path in ["a/b/new", "a/new", "out/new"] {
            let _ = root.create_new(path);
            let _ = root.replace(path, b"x");
            if let Ok(file) = root.file_to_write(path) {
                file.set_len(0).expect("cut");
            }
            let _ = root.remove_file(path);
        }
        let _ = root.make_folder("a/b/made/deeper");
        if let Ok(file) = root.file_to_write("a/link") {
            file.set_len(0).expect("cut");
        }
    });
}

#[test]
fn what_changes_places_while_it_is_removed_leads_nowhere() {
    let world = World::new();
    under_fire(&world, || {
        let _ = remove_tree(&world.tree().join("a"));
        let _ = world.open().make_folder("a/b");
        let _ = symlink(world.host(), world.tree().join("out"));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_path_leads_out(parts in prop::collection::vec(prop::sample::select(
        &["..", ".", "a", "link", "up", "/", "secret", "host", "tree", "\u{0}", "", "pipe"][..]), 0..8)) {
        let world = World::new();
        let tree = world.tree();
        fs::create_dir(tree.join("a")).expect("folder");
        symlink(world.host(), tree.join("a/link")).expect("link");
        symlink(world.host(), tree.join("link")).expect("link");
        symlink("..", tree.join("up")).expect("link");
        mkfifoat(CWD, tree.join("pipe"), Mode::RWXU).expect("pipe");
        let path = parts.join("/");
        let root = world.open();
        let _ = root.make_folder(&path);
        let _ = root.create_new(&path);
        let _ = root.replace(&path, b"x");
        let _ = root.rename(&path, "moved");
        let _ = root.remove_file(&path);
        if let Ok(content) = root.read(&path, 1_000) {
            prop_assert_ne!(content, SECRET.as_bytes());
        }
        world.assert_untouched();
        prop_assert!(fs::read_dir(world.dir.path()).expect("dir").count() == 2);
    }
}

#[test]
fn what_is_moved_takes_no_place_that_is_taken() {
    let world = World::new();
    let tree = world.open();
    let other = tree.make_folder("other").expect("folder");
    let inside = world.tree().join("other");
    tree.replace("file", b"content").expect("file");
    fs::write(inside.join("taken"), "before").expect("file");
    symlink("/nowhere/at/all", inside.join("dangling")).expect("link");
    symlink(world.host(), inside.join("link")).expect("link");
    for place in ["taken", "dangling", "link"] {
        let error = tree.move_new("file", &other, place).expect_err(place);
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{place}");
    }
    for place in ["link/file", "../file", "/file", "gone/file", ""] {
        tree.move_new("file", &other, place).expect_err(place);
    }
    assert_eq!(tree.read("file", 100).expect("still there"), b"content");
    tree.move_new("file", &other, "new").expect("moved");
    assert_eq!(fs::read(inside.join("new")).expect("there"), b"content");
    let again = tree.move_new("file", &other, "newer").expect_err("it is gone");
    assert_eq!(again.kind(), std::io::ErrorKind::NotFound);
    assert_eq!(fs::read(inside.join("taken")).expect("there"), b"before");
    world.assert_untouched();
}
