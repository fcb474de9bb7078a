//! `kill -9` at any moment: of whoever takes, and of whoever restores.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use holdpoint_checkpoint::{Checkpoints, Tree, settle};

use crate::support::*;

/// Set for the process that is killed: its folder.
const FOLDER: &str = "HOLDPOINT_CHECKPOINT_KILL_FOLDER";

/// Set to repeat a run: the seed that it printed.
const SEED: &str = "HOLDPOINT_CHECKPOINT_KILL_SEED";

const KILLS: u64 = 12;

fn seed() -> u64 {
    let given = std::env::var_os(SEED).and_then(|seed| seed.to_str()?.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()).wrapping_mul(now_ms()));
    println!("{SEED}={seed}");
    seed
}

/// The tree at a step: most of it as at the step before.
fn tree(which: u64, step: u64) -> Picture {
    let mut picture = Picture::new();
    let mut file = |name: String, seed: u64, len: usize| {
        picture.insert(name.into_bytes(), Node::File { mode: 0o644, content: Dice(seed).content(len) });
    };
    for n in 0..12 {
        file(format!("file {n}"), which + n * 1_000 + (step + n) / 6, 3_000);
    }
    file("large".to_owned(), which + step / 3, (1 << 20) + 5_000);
    file(format!("only in {step}"), step, 10);
    picture.insert(b"folder".to_vec(), Node::Folder { mode: 0o755 });
    picture.insert(b"folder/link".to_vec(), Node::Link(format!("../file {}", step % 12).into_bytes()));
    picture
}

/// Replaces what is in a folder.
fn make(root: &Path, picture: &Picture) {
    let _ = fs::remove_dir_all(root);
    fs::create_dir_all(root).expect("root");
    write(root, picture);
}

/// Ends with the test, however that ends.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a victim until it has said `done` so often and a moment more; returns the last number it told.
fn run_and_kill(name: &str, folder: &Path, lines: u64, delay: Duration) -> u64 {
    let mut victim = Victim(
        Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", name, "--nocapture", "--ignored"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the victim"),
    );
    let mut out = BufReader::new(victim.0.stdout.take().expect("its output"));
    let (mut last, mut told) = (0, 0);
    let mut killer = None;
    let mut line = String::new();
    loop {
        line.clear();
        if out.read_line(&mut line).expect("a line") == 0 {
            break;
        }
        // The kill may have cut the last line off.
        if let Some((_, number)) = line.split_once("done ").filter(|_| line.ends_with('\n')) {
            last = number.trim_end().parse().expect("a number");
            told += 1;
        }
        if told >= lines && killer.is_none() {
            let pid = rustix::process::Pid::from_child(&victim.0);
            // Beside the reading, so that it is not always the moment after a line.
            killer = Some(thread::spawn(move || {
                spin(delay);
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }));
        }
    }
    let killer = killer.unwrap_or_else(|| panic!("{name} ended by itself after {told} lines"));
    killer.join().expect("killer");
    last
}

#[test]
fn killed_while_taking_the_last_told_or_a_later_one_is_whole() {
    let mut dice = Dice(seed());
    let bench = Bench::new();
    let mut told = 0;
    for kill in 0..KILLS {
        let (lines, delay) = (1 + dice.below(2), Duration::from_micros(dice.below(120_000)));
        told = told.max(run_and_kill("kill::the_one_who_takes", bench.dir.path(), lines, delay));
        block_on(async {
            let newest = bench.store.newest_whole(EXECUTION).await.expect("newest");
            assert!(newest.skipped.is_empty(), "kill {kill}: {:?}", newest.skipped);
            let manifest = newest.manifest.expect("one is whole");
            assert!(manifest.seq() >= told, "kill {kill}: {} was told, {} is there", told, manifest.seq());
            assert_eq!(manifest.notes(), (&[][..], 0));
            assert_eq!(bench.picture(&manifest).await, tree(0, manifest.seq()), "kill {kill}");
            told = manifest.seq();
        });
    }
    assert!(told >= KILLS, "it got on: {told}");
}

/// Takes one checkpoint after another, until it is killed.
#[test]
#[ignore = "started, and killed, by another test"]
fn the_one_who_takes() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("started by another test"));
    let store = Checkpoints::local(&folder.join("store")).expect("store");
    let workspace = folder.join("workspace");
    block_on(async {
        let newest = store.newest(EXECUTION).await.expect("newest");
        for step in newest.map_or(0, |manifest| manifest.seq()) + 1.. {
            make(&workspace, &tree(0, step));
            let workspace = Tree { name: "workspace", path: &workspace, exclude: &[] };
            store.take(&[workspace], facts(step)).await.expect("take");
            println!("done {step}");
        }
    });
}

#[test]
fn killed_while_restoring_all_folders_are_old_or_all_are_new() {
    let mut dice = Dice(seed());
    let bench = Bench::new();
    let (work, home) = (bench.path("to/work"), bench.path("to/home"));
    block_on(async {
        for step in [1, 2] {
            let (a, b) = (bench.path("a"), bench.path("b"));
            make(&a, &tree(10, step));
            make(&b, &tree(20, step));
            let trees = [
                Tree { name: "work", path: &a, exclude: &[] },
                Tree { name: "home", path: &b, exclude: &[] },
            ];
            bench.store.take(&trees, facts(step)).await.expect("take");
        }
    });
    fs::create_dir(bench.path("to")).expect("to");
    let mut seen = [0, 0];
    for kill in 0..KILLS {
        let (lines, delay) = (1 + dice.below(2), Duration::from_micros(dice.below(150_000)));
        run_and_kill("kill::the_one_who_restores", bench.dir.path(), lines, delay);
        // Each by itself is whole even before anything is settled.
        for (path, which) in [(&work, 10), (&home, 20)] {
            let found = read(path);
            assert!([1, 2].iter().any(|step| found == tree(which, *step)), "kill {kill}: {}", path.display());
        }
        settle(&[&work, &home]).expect("settle");
        let found = (read(&work), read(&home));
        let step = [1, 2].into_iter().find(|step| found == (tree(10, *step), tree(20, *step)));
        let step = step.unwrap_or_else(|| panic!("kill {kill}: one is old and one is new"));
        seen[step as usize - 1] += 1;
        let left: Vec<_> =
            fs::read_dir(bench.path("to")).expect("read").map(|e| e.expect("entry").file_name()).collect();
        assert_eq!(left.len(), 2, "kill {kill} left {left:?}");
    }
    println!("the first was there {} times, the second {}", seen[0], seen[1]);
}

/// Restores one checkpoint over the other, until it is killed.
#[test]
#[ignore = "started, and killed, by another test"]
fn the_one_who_restores() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("started by another test"));
    let store = Checkpoints::local(&folder.join("store")).expect("store");
    let (work, home) = (folder.join("to/work"), folder.join("to/home"));
    block_on(async {
        let all = store.list(EXECUTION).await.expect("list");
        for (step, listed) in (1..).zip(all.iter().cycle()) {
            let manifest = store.read(EXECUTION, listed.id).await.expect("read");
            store.restore(&manifest, &[("work", &work), ("home", &home)]).await.expect("restore");
            println!("done {step}");
        }
    });
}
