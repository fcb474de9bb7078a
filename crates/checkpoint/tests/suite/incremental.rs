//! Only what changed is read, and only what is new is written.

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use holdpoint_checkpoint::{Matching, NoteKind, Tree};

use crate::support::*;

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn a_change_costs_what_changed() {
    let bench = Bench::new();
    let mut dice = Dice(7);
    for n in 0..50 {
        bench.put(&format!("src/{n}.txt"), dice.content(2_000));
    }
    bench.put("large.bin", dice.content(9 * MIB));
    let first = bench.take(1).await;
    assert_eq!((first.files_read, first.blobs_written), (51, 10), "one pack and nine chunks");

    bench.put("src/7.txt", "changed");
    let second = bench.take(2).await;
    assert_eq!((second.files_read, second.blobs_written), (1, 1));
    assert!(second.bytes_written < 100, "{second:?}");

    // The same content under another name and with another time: read, and known.
    fs::rename(bench.workspace().join("src/8.txt"), bench.workspace().join("src/eight.txt")).expect("rename");
    set_modified(&bench.workspace().join("src/9.txt"), std::time::UNIX_EPOCH);
    let third = bench.take(3).await;
    assert_eq!((third.files_read, third.blobs_written), (2, 0));

    // In the middle of a large file: that chunk alone.
    let mut large = fs::read(bench.workspace().join("large.bin")).expect("read");
    large[5 * MIB] ^= 1;
    bench.put("large.bin", &large);
    let fourth = bench.take(4).await;
    assert_eq!((fourth.files_read, fourth.blobs_written), (1, 1));
    assert_eq!(bench.picture(&fourth.manifest).await, read(&bench.workspace()));
    assert_eq!(bench.store.list(EXECUTION).await.expect("list").len(), 4);
}

#[tokio::test]
async fn another_conversation_that_starts_alike_stores_nothing_twice() {
    let bench = Bench::new();
    let mut dice = Dice(8);
    for n in 0..20 {
        bench.put(&format!("{n}"), dice.content(1_000));
    }
    bench.take(1).await;
    let workspace = bench.workspace();
    let mut other = facts(1);
    other.execution = "another".into();
    let tree = Tree { name: "workspace", path: &workspace, exclude: &[] };
    let taken = bench.store.take(&[tree], other).await.expect("take");
    assert_eq!((taken.files_read, taken.blobs_written), (20, 0));
    let mut executions = bench.store.executions().await.expect("executions");
    executions.sort();
    assert_eq!(executions, [EXECUTION, "another"]);
}

#[tokio::test]
async fn a_change_that_hides_in_the_clock_is_found() {
    let bench = Bench::with(&[("fresh", "one")]);
    let file = bench.workspace().join("fresh");
    let at = modified(&file);
    let workspace = bench.workspace();
    let mut just_now = facts(1);
    just_now.at_ms = now_ms();
    let tree = Tree { name: "workspace", path: &workspace, exclude: &[] };
    let first = bench.store.take(&[tree], just_now).await.expect("take").manifest;
    // Within the same tick of the file system's clock nothing but the content would differ.
    fs::write(&file, "two").expect("write");
    set_modified(&file, at);
    let to = [("workspace", workspace.as_path())];
    let found = bench.store.matches(&first, &to).await.expect("match");
    assert_eq!(found, Matching::Differs("workspace: fresh has other content".into()));
    let second = bench.take(2).await;
    assert_eq!((second.files_read, second.blobs_written), (1, 1));
    // And later, the time of the inode tells.
    fs::write(&file, "six").expect("write");
    set_modified(&file, at);
    assert_eq!(bench.take(3).await.files_read, 1);
    assert_eq!(bench.take(4).await.files_read, 0);
}

#[tokio::test]
async fn packs_that_are_mostly_dead_are_given_up_and_small_ones_are_joined() {
    let bench = Bench::new();
    let mut dice = Dice(9);
    for n in 0..10 {
        bench.put(&format!("{n}"), dice.content(10_000));
    }
    let first = bench.take(1).await.manifest;
    for n in 0..6 {
        bench.put(&format!("{n}"), dice.content(10_000));
    }
    let second = bench.take(2).await.manifest;
    assert!(second.blobs().is_superset(&first.blobs()), "four of ten still live there");
    let third = bench.take(3).await;
    assert_eq!((third.files_read, third.blobs_written), (4, 1));
    assert!(third.manifest.blobs().is_disjoint(&first.blobs()));

    let mut most = 0;
    for n in 0..80 {
        bench.put(&format!("one by one {n}"), dice.content(100));
        most = most.max(bench.take(4 + n).await.manifest.blobs().len());
    }
    assert!((20..=34).contains(&most), "{most}");
    let last = bench.store.newest(EXECUTION).await.expect("newest").expect("one");
    assert_eq!(bench.picture(&last).await, read(&bench.workspace()));
}

#[tokio::test]
async fn a_lost_blob_does_not_spoil_what_is_taken_later() {
    // Lost, cut short, and torn in a way that only reading it shows.
    type Damage = fn(&std::path::Path);
    let damage: [Damage; 3] = [
        |path| fs::remove_file(path).expect("remove"),
        |path| fs::write(path, "").expect("cut"),
        |path| {
            let mut bytes = fs::read(path).expect("read");
            *bytes.last_mut().expect("a byte") ^= 0xff;
            fs::write(path, bytes).expect("tear");
        },
    ];
    for (n, damage) in damage.into_iter().enumerate() {
        let bench = Bench::new();
        bench.put("a", Dice(1).content(MIB));
        bench.put("b", Dice(2).content(1_000));
        let first = bench.take(1).await.manifest;
        let blobs: HashSet<_> = bench.blobs().into_iter().collect();
        assert_eq!(blobs.len(), 2);
        blobs.iter().for_each(|path| damage(path));
        if n == 2 {
            assert_eq!(bench.store.verify(&first).await.expect("verify").len(), 2);
        }
        let second = bench.take(2).await.manifest;
        assert_eq!(bench.store.verify(&second).await.expect("verify"), vec![], "damage {n}");
        assert_eq!(bench.store.verify(&first).await.expect("verify"), vec![], "and the older one is mended");
    }
}

#[test]
fn files_that_will_not_hold_still_are_told() {
    let bench = Bench::new();
    bench.put("quiet", "quiet");
    bench.put("growing", Dice(1).content(4 * MIB));
    let stop = AtomicBool::new(false);
    let growing = bench.workspace().join("growing");
    let fleeting = bench.workspace().join("fleeting");
    let manifest = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::File::options().append(true).open(&growing).expect("open");
            while !stop.load(Ordering::Relaxed) {
                file.write_all(b"more").expect("append");
                fs::write(&fleeting, "here").expect("write");
                fs::remove_file(&fleeting).expect("remove");
            }
        });
        // On a busy machine the writer may be kept from writing during all three attempts.
        let changed = (1..200).map(|seq| block_on(bench.take(seq)).manifest).find(|manifest| {
            let (notes, _) = manifest.notes();
            assert!(notes.iter().all(|note| note.path != "quiet"), "{notes:?}");
            notes.iter().any(|note| note.path == "growing" && note.what == NoteKind::Changed)
        });
        stop.store(true, Ordering::Relaxed);
        changed.expect("a take that saw it change")
    });
    let picture = block_on(bench.picture(&manifest));
    let Node::File { content, .. } = &picture[b"growing".as_slice()] else { panic!("{picture:?}") };
    assert!(fs::read(&growing).expect("read").starts_with(content), "what is kept was there once");
    // And it is read again, once it rests.
    assert!(block_on(bench.take(1_000)).files_read >= 1);
    // Once more may what shared a pack with attempts that were given up.
    block_on(bench.take(1_001));
    assert_eq!(block_on(bench.take(1_002)).files_read, 0);
}

#[tokio::test]
async fn what_lies_too_deep_is_told() {
    let bench = Bench::with(&[("near", "x")]);
    let mut deep = bench.workspace();
    for _ in 0..11 {
        deep.push("d".repeat(250));
    }
    fs::create_dir_all(&deep).expect("deep");
    fs::write(deep.join("kept"), "x").expect("kept");
    // Deeper than any restore could go: by steps, since no path leads there.
    let mut folder =
        rustix::fs::open(&deep, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).expect("open");
    for _ in 0..3 {
        let name = "e".repeat(250);
        rustix::fs::mkdirat(&folder, &name, rustix::fs::Mode::RWXU).expect("step");
        folder = rustix::fs::openat(&folder, &name, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty())
            .expect("open");
    }
    let manifest = bench.take(1).await.manifest;
    let (notes, _) = manifest.notes();
    assert!(matches!(notes, [note] if note.what == NoteKind::TooDeep), "{notes:?}");
    assert_eq!(manifest.files(), 2);
    let to = bench.path("to");
    bench.store.restore(&manifest, &[("workspace", &to)]).await.expect("restore");
    assert_eq!(files_below(&to).len(), 2);
}
