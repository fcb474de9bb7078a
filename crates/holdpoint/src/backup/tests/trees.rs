//! Backups while a session makes of its folders what it likes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, mkdirat, openat};

use super::*;

const SECRET: &str = "only the host may read this";

fn holds_the_secret(root: &Path) -> bool {
    tree(root).values().any(|(_, content)| content == SECRET.as_bytes())
}

#[tokio::test]
async fn what_has_no_end_is_left_out_and_told() {
    let world = World::new().await;
    let workspace = format!("executions/{}/workspace", world.going);
    world.put(&format!("{workspace}/kept"), b"text");
    let endless = fs::File::create(world.path(&format!("{workspace}/endless"))).expect("file");
    endless.set_len(1 << 42).expect("length");
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, world.path(&workspace), flags, Mode::empty()).expect("workspace");
    for _ in 0..5_000 {
        mkdirat(&at, "d", Mode::RWXU).expect("folder");
        at = openat(&at, "d", flags, Mode::empty()).expect("folder");
    }
    let written = world.back_up().await;
    let [deep, endless] = &*written.damaged else { panic!("{:?}", written.damaged) };
    assert!(deep.contains("too deep"), "{deep}");
    assert!(endless.contains("endless is left out: it is larger"), "{endless}");
    assert!(written.bytes < 10_000_000, "{}", written.bytes);
    world.restore_to("restored").await.expect("restored");
    assert!(world.dir.path().join("restored").join(workspace).join("kept").is_file());
    // So that the folder of this test can be removed: `remove_dir_all` takes an open file for each level.
    holdpoint_beneath::remove_tree(world.data.root()).expect("removed");
}

#[tokio::test]
async fn what_changes_places_while_it_is_read_brings_nothing_in() {
    let world = World::new().await;
    let workspace = world.path(&format!("executions/{}/workspace", world.going));
    let host = world.dir.path().join("host");
    fs::create_dir_all(host.join("deeper")).expect("host");
    fs::write(host.join("secret"), SECRET).expect("secret");
    fs::write(host.join("deeper/secret"), SECRET).expect("secret");
    fs::create_dir_all(workspace.join("a/deeper")).expect("folders");
    fs::write(workspace.join("a/secret"), "inside").expect("file");
    fs::write(workspace.join("a/deeper/secret"), "inside").expect("file");
    symlink(&host, workspace.join("out")).expect("link");
    symlink(host.join("secret"), workspace.join("a/link")).expect("link");
    let done = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let done = Arc::clone(&done);
        move || {
            while !done.load(Ordering::Relaxed) {
                for (one, other) in [("a", "out"), ("a/secret", "a/link")] {
                    let (one, other) = (workspace.join(one), workspace.join(other));
                    let _ = rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
                }
            }
        }
    });
    for n in 0..20 {
        world.back_up().await;
        let name = format!("restored-{n}");
        world.restore_to(&name).await.expect("restored");
        assert!(!holds_the_secret(&world.dir.path().join(name)), "{n}");
    }
    done.store(true, Ordering::Relaxed);
    swapper.join().expect("swapper");
    assert_eq!(fs::read_to_string(host.join("secret")).expect("secret"), SECRET);
}
