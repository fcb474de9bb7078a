//! Sweeping takes what nothing names, and never what something names or is about to.

use std::fs;
use std::time::Duration;

use holdpoint_checkpoint::{GRACE, Sweep, SweepError, Swept, Tree};

use crate::support::*;

fn grace_ms() -> u64 {
    u64::try_from(GRACE.as_millis()).expect("ms")
}

/// Everything in the store is older than the grace period by then.
fn then_ms() -> u64 {
    now_ms() + grace_ms() + 60_000
}

#[tokio::test]
async fn what_nothing_names_goes_in_two_steps() {
    let bench = Bench::with(&[("a", "first")]);
    let first = bench.take(1).await.manifest;
    bench.put("a", Dice(1).content(50_000));
    let second = bench.take(2).await.manifest;
    let all = bench.blobs();
    bench.store.delete(EXECUTION, second.id()).await.expect("delete");
    bench.store.delete(EXECUTION, second.id()).await.expect("again");

    let young = bench.store.sweep(now_ms(), Sweep::Now).await.expect("sweep");
    assert_eq!(young, Swept { manifests: 1, live: 1, ..Swept::default() }, "it may belong to one under way");

    let then = then_ms();
    let would = bench.store.sweep(then, Sweep::DryRun).await.expect("sweep");
    assert_eq!((would.condemned, would.condemned_bytes > 20_000, would.destroyed), (1, true, 0));
    assert_eq!(bench.blobs(), all, "a dry run does nothing");
    assert_eq!(bench.store.sweep(then, Sweep::Now).await.expect("sweep"), would);
    assert_eq!(bench.blobs().len(), 1);
    assert_eq!(files_below(&bench.path("store/condemned")).len(), 1);

    let soon = bench.store.sweep(then + grace_ms() - 1, Sweep::Now).await.expect("sweep");
    assert_eq!((soon.condemned, soon.destroyed), (0, 0));
    let late = then + grace_ms();
    let would = bench.store.sweep(late, Sweep::DryRun).await.expect("sweep");
    assert_eq!((would.destroyed, would.destroyed_bytes), (1, all_but(&all, &bench)));
    assert_eq!(bench.store.sweep(late, Sweep::Now).await.expect("sweep"), would);
    assert!(files_below(&bench.path("store/condemned")).is_empty());
    assert_eq!(bench.store.verify(&first).await.expect("verify"), vec![]);
}

/// The size of what is in the condemned folder.
fn all_but(all: &[std::path::PathBuf], bench: &Bench) -> u64 {
    assert_eq!(all.len(), 2);
    files_below(&bench.path("store/condemned"))
        .iter()
        .map(|path| fs::metadata(path).expect("meta").len())
        .sum()
}

#[tokio::test]
async fn a_checkpoint_that_a_sweep_did_not_see_stays_whole() {
    let bench = Bench::with(&[("a", "old content")]);
    let manifest = bench.take(1).await.manifest;
    // As if it were still being taken: its blobs are there, its manifest is not.
    let path = bench.manifests().remove(0);
    let bytes = fs::read(&path).expect("read");
    fs::remove_file(&path).expect("hide");
    let then = then_ms();
    assert_eq!(bench.store.sweep(then, Sweep::Now).await.expect("sweep").condemned, 1);
    assert!(bench.blobs().is_empty());
    fs::write(&path, bytes).expect("done");

    assert_eq!(bench.store.verify(&manifest).await.expect("verify"), vec![], "it is read where it is");
    assert_eq!(bench.picture(&manifest).await, read(&bench.workspace()));
    let next = bench.store.sweep(then + grace_ms(), Sweep::Now).await.expect("sweep");
    assert_eq!((next.put_back, next.destroyed), (1, 0));
    assert_eq!(bench.blobs().len(), 1);
    assert_eq!(bench.store.verify(&manifest).await.expect("verify"), vec![]);
}

#[tokio::test]
async fn content_that_comes_back_after_it_was_condemned_is_stored_anew() {
    let bench = Bench::with(&[("a", "content")]);
    let first = bench.take(1).await.manifest;
    bench.store.delete(EXECUTION, first.id()).await.expect("delete");
    let then = then_ms();
    bench.store.sweep(then, Sweep::Now).await.expect("sweep");
    let taken = bench.take(2).await;
    assert_eq!(taken.blobs_written, 1);
    let swept = bench.store.sweep(then + grace_ms(), Sweep::Now).await.expect("sweep");
    assert_eq!((swept.put_back, swept.destroyed), (1, 0));
    assert_eq!(bench.store.verify(&taken.manifest).await.expect("verify"), vec![]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweeps_beside_takes_harm_none_of_them() {
    let bench = Bench::new();
    let then = then_ms();
    let takes = async {
        let mut dice = Dice(3);
        for seq in 1..40 {
            // Few contents, so that what one deletes another needs again.
            for name in ["a", "b", "c"] {
                bench.put(name, format!("content {}", dice.below(4)));
            }
            let manifest = bench.take(seq).await.manifest;
            if dice.below(2) == 0 {
                bench.store.delete(EXECUTION, manifest.id()).await.expect("delete");
            }
        }
    };
    let sweeper = bench.store.clone();
    let sweeping = tokio::spawn(async move {
        loop {
            sweeper.sweep(then, Sweep::Now).await.expect("sweep");
        }
    });
    takes.await;
    sweeping.abort();
    let _ = sweeping.await;
    let kept = bench.store.list(EXECUTION).await.expect("list");
    assert!(kept.len() > 5);
    for round in 0..2 {
        for listed in &kept {
            let manifest = bench.store.read(EXECUTION, listed.id).await.expect("read");
            assert_eq!(bench.store.verify(&manifest).await.expect("verify"), vec![], "round {round}");
        }
        bench.store.sweep(then + grace_ms(), Sweep::Now).await.expect("sweep");
    }
}

#[tokio::test]
async fn nothing_goes_while_there_is_a_checkpoint_of_another_version() {
    let bench = Bench::with(&[("a", "content")]);
    let manifest = bench.take(1).await.manifest;
    let old = bench.manifests().remove(0);
    let text = fs::read_to_string(&old).expect("read").replace("\"version\":1", "\"version\":7");
    let id = crate::hostile::plant(&bench, 1, &text);
    bench.store.delete(EXECUTION, manifest.id()).await.expect("delete");
    let swept = bench.store.sweep(then_ms(), Sweep::Now).await;
    assert!(matches!(swept, Err(SweepError::OtherVersion(found)) if found == id), "{swept:?}");
    assert_eq!(bench.blobs().len(), 1);
}

#[tokio::test]
async fn half_written_files_of_killed_processes_go() {
    let bench = Bench::with(&[("a", "content")]);
    bench.take(1).await;
    let blob = bench.blobs().remove(0);
    let stray = blob.with_file_name(format!("{}#1", blob.file_name().expect("name").to_string_lossy()));
    let next_day = then_ms() + 24 * 60 * 60 * 1_000;
    fs::write(&stray, "half").expect("stray");
    assert_eq!(bench.store.sweep(then_ms(), Sweep::Now).await.expect("sweep").strays, 0);
    assert_eq!(bench.store.sweep(next_day, Sweep::DryRun).await.expect("sweep").strays, 1);
    assert!(stray.exists());
    assert_eq!(bench.store.sweep(next_day, Sweep::Now).await.expect("sweep").strays, 1);
    assert!(!stray.exists() && blob.exists());
}

#[tokio::test]
async fn takes_of_many_executions_share_the_store() {
    let bench = Bench::with(&[("a", "content")]);
    let workspace = bench.workspace();
    let takes = (0..10).map(|n| {
        let mut facts = facts(1);
        facts.execution = format!("execution-{n}");
        let workspace = &workspace;
        let store = &bench.store;
        async move { store.take(&[Tree { name: "workspace", path: workspace, exclude: &[] }], facts).await }
    });
    let taken: Vec<_> = tokio::time::timeout(Duration::from_secs(60), futures::future::try_join_all(takes))
        .await
        .expect("in time")
        .expect("takes");
    assert_eq!(bench.blobs().len(), 1);
    for taken in taken {
        assert_eq!(bench.store.verify(&taken.manifest).await.expect("verify"), vec![]);
    }
}
