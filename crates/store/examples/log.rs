//! How fast events become durable, as rows of a Markdown table.
//!
//! `cargo run --release -p holdpoint-store --example log [-- FOLDER]`
//!
//! Every figure stands beside a bare loop of `write` and `fsync` in the same folder and the same run,
//! so that it says something about the store and not about the disk alone.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use holdpoint_model::event::{AssistantBlock, Block, Created, Level};
use holdpoint_model::wire::{Fact, NumberedFact};
use holdpoint_model::{Actor, AgentDef, Command, ExecutionId, SessionId};
use holdpoint_store::{Store, StoreOptions};
use uuid::Uuid;

const EXECUTIONS: usize = 10;
const FACTS_PER_BATCH: usize = 100;
const BATCHES_PER_EXECUTION: usize = 200;
const PAYLOAD_BYTES: usize = 300;
const SINGLE_APPLIES: usize = 1_000;
const HINTED_APPLIES: usize = 250;
const HINTED_PER_SECOND: u64 = 50;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = match std::env::args_os().nth(1) {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let path = folder.path().join("bench.db");
    let store = Store::open(&path, StoreOptions::default()).await?;
    let mut executions = Vec::new();
    for n in 0..EXECUTIONS {
        executions.push(warm(&store, n).await?);
    }

    let batches = batches(&store, &executions).await?;
    let singles = singles(&store, executions[0]).await?;
    let hints = hints(&store, executions[0]).await?;
    store.close().await;

    // As many bytes as a batch of facts carries, and as many as one small event.
    let bare_batch = bare_fsync(folder.path(), FACTS_PER_BATCH * PAYLOAD_BYTES, 200)?;
    let bare_single = bare_fsync(folder.path(), PAYLOAD_BYTES, 500)?;
    println!("| what (SQLite, WAL, synchronous=FULL) | figure | aim |\n| --- | --- | --- |");
    let batch = format!("batches of {FACTS_PER_BATCH} facts of {PAYLOAD_BYTES} bytes");
    println!(
        "| committed over {EXECUTIONS} executions at once, {batch} | {:.0} events/s | 20 000 events/s |",
        batches.per_second
    );
    println!("| a batch told → acknowledged, ten waiting at once | {} | |", batches.waits);
    println!(
        "| beside it: as many bytes as a batch, written and fsynced | {bare_batch} ({:.0} events/s) | |",
        FACTS_PER_BATCH as f64 * 1e3 / bare_batch.p50_ms
    );
    println!("| one command, one commit | {singles} | |");
    println!("| told → committed → read by who was hinted, {HINTED_PER_SECOND}/s | {hints} | |");
    println!("| beside it: {PAYLOAD_BYTES} bytes written and fsynced | {bare_single} | |");
    Ok(())
}

/// How fast batches went.
struct Batches {
    per_second: f64,
    waits: Waits,
}

/// How long things took, in milliseconds.
struct Waits {
    p50_ms: f64,
    p99_ms: f64,
    worst_ms: f64,
}

impl std::fmt::Display for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.2} ms, p99 {:.2} ms, worst {:.2} ms", self.p50_ms, self.p99_ms, self.worst_ms)
    }
}

/// An execution with a worker that is up.
async fn warm(store: &Store, n: usize) -> Result<ExecutionId, Failure> {
    let id = ExecutionId(Uuid::now_v7());
    let created = Created {
        agent: "claude".into(),
        definition: AgentDef::builtin(),
        title: format!("bench {n}"),
        owner: Actor::system("bench"),
        session: SessionId(Uuid::now_v7()),
        inputs: BTreeMap::new(),
        rehearsal: true,
        forked_from: None,
        release: None,
    };
    store.create(id, created, "go".into(), vec![], None).await?;
    store.apply(id, Command::StartWorker { engine: "process".into(), reason: "bench".into() }).await?;
    let ready = Fact::SessionReady { cli_version: "0".into(), resumed: false };
    store.append_facts(id, 1, vec![NumberedFact { seq: 1, at: 0, fact: ready }]).await?;
    Ok(id)
}

/// Ten workers, each telling its facts in batches, the next when the last is acked.
async fn batches(store: &Store, executions: &[ExecutionId]) -> Result<Batches, Failure> {
    let text = "x".repeat(PAYLOAD_BYTES);
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for &id in executions {
        let (store, text) = (store.clone(), text.clone());
        tasks.spawn(async move {
            let mut waits = Vec::with_capacity(BATCHES_PER_EXECUTION);
            let mut seq = 2;
            for _ in 0..BATCHES_PER_EXECUTION {
                let facts = (0..FACTS_PER_BATCH as u64)
                    .map(|n| NumberedFact {
                        seq: seq + n,
                        at: 0,
                        fact: Fact::Assistant(AssistantBlock {
                            message_id: "msg".into(),
                            block: Block::Text { text: text.clone() },
                            parent_tool_use_id: None,
                        }),
                    })
                    .collect();
                seq += FACTS_PER_BATCH as u64;
                let asked = Instant::now();
                store.append_facts(id, 1, facts).await?;
                waits.push(asked.elapsed());
            }
            Ok::<_, Failure>(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(done) = tasks.join_next().await {
        waits.extend(done??);
    }
    let took = begun.elapsed();
    let events = executions.len() * BATCHES_PER_EXECUTION * FACTS_PER_BATCH;
    Ok(Batches { per_second: events as f64 / took.as_secs_f64(), waits: percentiles(waits) })
}

/// One command after the other, each in a commit of its own.
async fn singles(store: &Store, id: ExecutionId) -> Result<Waits, Failure> {
    let mut waits = Vec::with_capacity(SINGLE_APPLIES);
    for _ in 0..SINGLE_APPLIES {
        let asked = Instant::now();
        store.apply(id, notice()).await?;
        waits.push(asked.elapsed());
    }
    Ok(percentiles(waits))
}

/// From the moment of asking to the moment at which a listener has read the committed event.
async fn hints(store: &Store, id: ExecutionId) -> Result<Waits, Failure> {
    let mut hints = store.hints();
    let mut every = tokio::time::interval(Duration::from_millis(1_000 / HINTED_PER_SECOND));
    let mut waits = Vec::with_capacity(HINTED_APPLIES);
    for _ in 0..HINTED_APPLIES {
        every.tick().await;
        let asked = Instant::now();
        let writer = store.clone();
        let applied = tokio::spawn(async move { writer.apply(id, notice()).await });
        let hint = hints.recv().await?;
        store.event(hint.execution, hint.seq).await?.ok_or("a hint came before its event")?;
        waits.push(asked.elapsed());
        applied.await??;
    }
    Ok(percentiles(waits))
}

fn notice() -> Command {
    Command::Notice { level: Level::Info, text: "x".repeat(PAYLOAD_BYTES) }
}

fn bare_fsync(folder: &Path, bytes: usize, times: usize) -> Result<Waits, Failure> {
    let mut file = std::fs::File::create(folder.join("bare"))?;
    let buffer = vec![b'x'; bytes];
    let mut waits = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Instant::now();
        file.write_all(&buffer)?;
        file.sync_data()?;
        waits.push(begun.elapsed());
    }
    Ok(percentiles(waits))
}

fn percentiles(mut waits: Vec<Duration>) -> Waits {
    waits.sort_unstable();
    let at = |part: f64| {
        let index = ((waits.len() as f64 * part) as usize).min(waits.len().saturating_sub(1));
        waits.get(index).map_or(0.0, |wait| (wait.as_secs_f64() * 1e6).round() / 1e3)
    };
    Waits { p50_ms: at(0.5), p99_ms: at(0.99), worst_ms: at(1.0) }
}
