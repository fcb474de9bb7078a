//! A disk that is full to its last byte and has room again a moment later, under a store that stays open: whoever
//! tells again what was not acknowledged gets on, and nothing that was acknowledged is lost.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdpoint_model::ExecutionId;
use holdpoint_model::event::TurnResult;
use holdpoint_model::wire::Fact;
use holdpoint_store::{ApplyError, Store, StoreOptions};
use tokio::task::JoinHandle;

use crate::picture::assert_rebuild_is_live;
use crate::support::*;

/// Set for the run on the small disk: its folder.
const FOLDER: &str = "HOLDPOINT_STORE_SMALL_DISK";

/// Set to fill the disk more often than usual: stores that live through it, one after the other.
const STORES: &str = "HOLDPOINT_STORE_SMALL_DISK_STORES";
const USUAL_STORES: u64 = 2;

/// How often the disk fills under each.
const FILLS: u64 = 6;

const WORKERS: usize = 3;

/// How long anybody may take to get on once there is room again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the test below in a mount namespace of its own.
#[test]
fn everybody_gets_on_when_there_is_room_again() {
    let folder = tempfile::tempdir().expect("folder");
    let unshare = || {
        let mut unshare = Process::new("unshare");
        unshare.args(["--map-root-user", "--mount", "--propagation", "private", "--"]);
        unshare
    };
    if !unshare().arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("no mount namespace of our own here: not tested");
        return;
    }
    let status = unshare()
        .args(["sh", "-c", "mount -t tmpfs -o size=24m,mode=700 small-disk \"$0\" && exec \"$@\""])
        .arg(folder.path())
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", "small_disk::on_the_small_disk", "--ignored", "--nocapture"])
        .env(FOLDER, folder.path())
        .status()
        .expect("unshare");
    assert!(status.success(), "it failed on the small disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by everybody_gets_on_when_there_is_room_again"]
async fn on_the_small_disk() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let stores = std::env::var_os(STORES).and_then(|stores| stores.to_str()?.parse().ok());
    let stores: u64 = stores.unwrap_or(USUAL_STORES);
    for round in 0..stores {
        let place = tempfile::tempdir_in(&folder).expect("folder");
        let clock = TestClock::default();
        // Room for one: the others are read from the disk.
        let options = StoreOptions { cached_executions: 1, ..options(&clock) };
        let store = Store::open(&place.path().join("data.db"), options).await.expect("open");
        let mut workers = Vec::new();
        for n in 0..WORKERS {
            workers.push(Worker::start(&store, n).await);
        }
        for n in 0..FILLS {
            // Other moments each time, and not the same for all.
            tokio::time::sleep(Duration::from_millis((round * 13 + n * 29) % 80)).await;
            let filler = folder.join("filler");
            tokio::task::spawn_blocking(move || fill(&filler)).await.expect("fill");
            tokio::time::sleep(Duration::from_millis((round * 37 + n * 11) % 150)).await;
            std::fs::remove_file(folder.join("filler")).expect("the filler");
            all_get_on(&workers).await;
        }
        for worker in workers {
            worker.end(&store).await;
        }
        let mut bench = Bench { store, clock, folder: place };
        assert_rebuild_is_live(&mut bench).await;
        bench.store.close().await;
    }
}

/// Leaves not a byte free.
fn fill(filler: &Path) {
    let mut file = File::create(filler).expect("a name has room");
    for piece in [1 << 20, 1 << 12, 1] {
        let zeros = vec![0; piece];
        while file.write_all(&zeros).is_ok() {}
    }
}

/// Waits until each of them was acknowledged something new.
async fn all_get_on(workers: &[Worker]) {
    let before: Vec<u64> = workers.iter().map(Worker::acked).collect();
    let deadline = Instant::now() + PATIENCE;
    for (worker, before) in workers.iter().zip(before) {
        while worker.acked() <= before {
            assert!(!worker.task.is_finished(), "the worker of {} has failed", worker.id);
            assert!(Instant::now() < deadline, "the worker of {} does not get on from {before}", worker.id);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Tells what is not acknowledged, again and again, and more.
struct Worker {
    id: ExecutionId,
    acked: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Worker {
    async fn start(store: &Store, n: usize) -> Self {
        let id = start_warm(store, &format!("worker {n}")).await;
        let (acked, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let task = tokio::spawn(tell_until(store.clone(), id, Arc::clone(&acked), Arc::clone(&stop)));
        Self { id, acked, stop, task }
    }

    fn acked(&self) -> u64 {
        self.acked.load(Ordering::SeqCst)
    }

    async fn end(self, store: &Store) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.expect("the worker");
        let told: Vec<u64> = log(store, self.id).await.iter().filter_map(|event| event.worker_seq).collect();
        let last = self.acked.load(Ordering::SeqCst);
        assert_eq!(told, (1..=last).collect::<Vec<_>>(), "each once, up to the last that was acknowledged");
    }
}

async fn tell_until(store: Store, id: ExecutionId, acked: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    let mut last = known(&store, id).await.worker_seq;
    while !stop.load(Ordering::SeqCst) {
        last += 1;
        // As after each connection: what the log has is not told again. It never has less than was acknowledged.
        let has = known(&store, id).await.worker_seq;
        let before = acked.fetch_max(has, Ordering::SeqCst);
        assert!(has >= before, "{before} was acknowledged, and {has} is what the log has");
        last = last.max(has + 1);
        let facts = (has + 1..=last).map(|n| fact(id, n)).collect();
        match store.append_facts(id, 1, numbered(has + 1, facts)).await {
            Ok(applied) => _ = acked.fetch_max(applied.up_to, Ordering::SeqCst),
            Err(ApplyError::Store(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Every third ends a turn, which is to be found in the index.
fn fact(id: ExecutionId, n: u64) -> Fact {
    let text = format!("{n} {id} {}", "x".repeat(300));
    if n.is_multiple_of(3) { Fact::TurnEnded(TurnResult { text, ..turn_ended() }) } else { says(&text) }
}
