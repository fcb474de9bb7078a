//! What waiting costs: a thousand, ten thousand, a hundred thousand parked conversations.
//!
//! The log of most of them is written straight into the store, as workers would have told it; those that
//! are answered are real ones, with the real CLI.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use holdpoint_model::{
    Actor, AgentDef, Channel, ExecutionId, SessionId,
    command::Gone,
    event::{AssistantBlock, Block, Created},
    wire::{Fact, NumberedFact},
};
use holdpoint_store::{Store, StoreOptions};
use holdpoint_tests::{Server, Setup, processes};
use serde_json::{Value, json};
use uuid::Uuid;

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// Parked conversations written at once while seeding.
const SEEDED_AT_ONCE: usize = 256;
/// How often a page is asked for, and how long the server is watched at rest.
const LOOKS: usize = 50;
const REST: Duration = Duration::from_secs(10);
/// Hundredths of a second in two seconds that count as being at rest.
const QUIET_TICKS: u64 = 10;
/// Real conversations answered at each size.
const ANSWERS: usize = 5;
/// Bytes in the workspace of a real conversation: beside every size, and to see what size costs.
const SMALL: u64 = 1_000;
const LARGE: [u64; 2] = [1_000_000, 100_000_000];

const SCRIPT: &str = r#"
scenes:
  - turns:
      - - tool: Bash
          input: {command: "head -c {{prompt}} /dev/zero > ballast"}
        - tool: Bash
          input: {command: "echo gone on"}
        - text: done
"#;

#[tokio::main]
async fn main() -> Result<()> {
    let ballast = |bytes: u64| format!("\"Bash(head -c {bytes} /dev/zero > ballast)\"");
    let allowed = [SMALL].into_iter().chain(LARGE).map(ballast).collect::<Vec<_>>().join(", ");
    let agents = format!("[agents.quick]\nlinger = \"0s\"\n[agents.quick.policy]\nallow = [{allowed}]\n");
    let mut server = Server::start(Setup::script(SCRIPT).toml(&agents)).await?;
    println!(
        "| parked | memory (RSS) | CPU at rest | inbox API | list API | inbox page | list page | answer → session up | → tool ran |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut there = 0;
    for size in SIZES {
        server.run(&["down"])?;
        server.kill().ok();
        seed(&server.data.join("holdpoint.db"), size - there).await?;
        there = size;
        server.up().await?;
        measure(&server, size).await?;
    }
    println!();
    println!("| beside it, in the same run | figure |\n| --- | --- |");
    for bytes in LARGE {
        let (up, ran) = answers(&server, bytes).await?;
        println!("| {} MB workspace: answer → session up | {} |", bytes / 1_000_000, spread(up));
        println!("| {} MB workspace: answer → tool ran | {} |", bytes / 1_000_000, spread(ran));
    }
    println!(
        "| the CLI's own resume of such a session: spawn → `initialize` answered | {} |",
        spread(own_resume(&server).await?)
    );
    Ok(())
}

/// Writes parked conversations: created, worked on, waiting at an approval.
async fn seed(database: &Path, count: usize) -> Result<()> {
    let store = Arc::new(Store::open(database, StoreOptions::default()).await?);
    let bar = indicatif::ProgressBar::new(count as u64);
    let mut work =
        stream::iter(0..count).map(|n| parked(Arc::clone(&store), n)).buffer_unordered(SEEDED_AT_ONCE);
    while let Some(done) = work.next().await {
        done?;
        bar.inc(1);
    }
    drop(work);
    bar.finish_and_clear();
    store.close().await;
    Ok(())
}

async fn parked(store: Arc<Store>, n: usize) -> Result<()> {
    let id = ExecutionId(Uuid::now_v7());
    let owner = Actor { user: None, name: format!("person {}", n % 50), channel: Channel::Api };
    let created = Created {
        agent: "quick".into(),
        definition: AgentDef::builtin(),
        title: format!("Conversation {n} about something that takes a few words to say"),
        owner,
        session: SessionId(Uuid::new_v4()),
        inputs: std::collections::BTreeMap::new(),
        rehearsal: true,
        forked_from: None,
        release: None,
    };
    let created = store.create(id, created, "Do it".into(), Vec::new(), None).await?;
    let holdpoint_store::CreateOutcome::New(state) = created else { anyhow::bail!("not new") };
    let message = state.messages[0].message.id;
    let apply = |command| store.apply(id, command);
    apply(holdpoint_model::Command::StartWorker { engine: "process".into(), reason: "seed".into() }).await?;
    let facts = [
        Fact::SessionReady { cli_version: "2.1.330".into(), resumed: false },
        Fact::MessageDelivered { message },
        Fact::Assistant(AssistantBlock {
            message_id: "msg".into(),
            block: Block::Text { text: "I would like to run a command, if you let me. ".repeat(6) },
            parent_tool_use_id: None,
        }),
        Fact::Asked {
            tool_use_id: "toolu_1".into(),
            tool: "Bash".into(),
            input: json!({"command": format!("make target-{n}")}),
            place: None,
            description: None,
            agent_id: None,
        },
    ];
    // The first fact has to be there before a message may be sent.
    let numbered = |from: u64, facts: &[Fact]| -> Vec<NumberedFact> {
        (from..).zip(facts).map(|(seq, fact)| NumberedFact { seq, at: 0, fact: fact.clone() }).collect()
    };
    store.append_facts(id, 1, numbered(1, &facts[..1])).await?;
    apply(holdpoint_model::Command::BeginMessage { message, incarnation: 1 }).await?;
    store.append_facts(id, 1, numbered(2, &facts[1..])).await?;
    apply(holdpoint_model::Command::WorkerGone { incarnation: 1, how: Gone::Parked }).await?;
    Ok(())
}

async fn measure(server: &Server, size: usize) -> Result<()> {
    let pid = server.pid().context("running")?;
    // What was written behind its back it has to catch up with first.
    let mut before = processes::cpu_ticks(pid)?;
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = processes::cpu_ticks(pid)?;
        if now - before <= QUIET_TICKS {
            break;
        }
        before = now;
    }
    let before = processes::cpu_ticks(pid)?;
    tokio::time::sleep(REST).await;
    #[allow(clippy::cast_precision_loss)]
    let cpu = (processes::cpu_ticks(pid)? - before) as f64 / REST.as_secs_f64();
    let memory = processes::rss_mib(pid)?;
    let mut pages = Vec::new();
    for path in ["/v1/holds?status=open&limit=50", "/v1/executions?limit=50", "/inbox", "/executions"] {
        let mut times = Vec::new();
        for _ in 0..LOOKS {
            let begun = Instant::now();
            let (status, _) = server.get(path).await?;
            ensure!(status == 200, "{path}: {status}");
            times.push(begun.elapsed());
        }
        pages.push(short(times));
    }
    let (up, ran) = answers(server, SMALL).await?;
    println!(
        "| {size} | {memory:.1} MB | {cpu:.2} % | {} | {} | {} | {} | {} | {} |",
        pages[0],
        pages[1],
        pages[2],
        pages[3],
        short(up),
        short(ran)
    );
    Ok(())
}

/// Real conversations, parked at an approval, answered: until their session is up, until the tool ran.
async fn answers(server: &Server, workspace_bytes: u64) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let (mut up, mut ran) = (Vec::new(), Vec::new());
    for _ in 0..ANSWERS {
        let id = server.ask("quick", &workspace_bytes.to_string()).await?;
        let hold = server.hold(&id, "tool", &[]).await?;
        server.until(&id, "parked", |execution| execution["residency"] == "parked").await?;
        let from = server.execution(&id).await?["seq"].as_u64().context("seq")?;
        let mut events = server.events(&id, from).await?;
        let begun = Instant::now();
        server.decide(&hold, json!({"action": "allow"})).await?;
        until(&mut events, "worker_ready").await?;
        up.push(begun.elapsed());
        until(&mut events, "tool_result").await?;
        ran.push(begun.elapsed());
        server.hold(&id, "reply", &[]).await?;
        server.post(&format!("/v1/executions/{id}/finish"), json!({})).await?;
    }
    Ok((up, ran))
}

async fn until(events: &mut (impl futures::Stream<Item = Value> + Unpin), kind: &str) -> Result<()> {
    while events.next().await.context("the stream ended")?["kind"] != kind {}
    Ok(())
}

/// The CLI alone, resuming a session that was parked, from its start to its first answer.
async fn own_resume(server: &Server) -> Result<Vec<Duration>> {
    let id = server.ask("quick", &SMALL.to_string()).await?;
    server.hold(&id, "tool", &[]).await?;
    server.until(&id, "parked", |execution| execution["residency"] == "parked").await?;
    let folder = server.data.join("executions").join(&id);
    let session = std::fs::read_to_string(folder.join("run/1/spec.json"))?;
    let session = serde_json::from_str::<Value>(&session)?["session"].as_str().context("session")?.to_owned();
    let mut times = Vec::new();
    for _ in 0..ANSWERS {
        let begun = Instant::now();
        let mut cli = Command::new(holdpoint_tests::claude()?)
            .args(["-p", "--output-format", "stream-json", "--verbose", "--input-format", "stream-json"])
            .args(["--permission-prompt-tool", "stdio", "--strict-mcp-config"])
            .arg(format!("--resume={session}"))
            .current_dir(folder.join("workspace"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", folder.join("home"))
            .env("CLAUDE_CONFIG_DIR", folder.join("home/.claude"))
            .env("ANTHROPIC_API_KEY", "none")
            .env("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let ask = json!({"type": "control_request", "request_id": "1", "request": {"subtype": "initialize"}});
        writeln!(cli.stdin.as_mut().context("stdin")?, "{ask}")?;
        for line in BufReader::new(cli.stdout.take().context("stdout")?).lines() {
            if serde_json::from_str::<Value>(&line?)?["type"] == "control_response" {
                break;
            }
        }
        times.push(begun.elapsed());
        cli.kill()?;
        cli.wait()?;
    }
    Ok(times)
}

fn at(times: &mut [Duration], share: usize) -> f64 {
    times.sort_unstable();
    let index = (times.len() * share / 100).min(times.len().saturating_sub(1));
    times.get(index).map_or(0.0, Duration::as_secs_f64) * 1000.0
}

fn short(mut times: Vec<Duration>) -> String {
    format!("p50 {:.1}, p95 {:.1} ms", at(&mut times, 50), at(&mut times, 95))
}

fn spread(mut times: Vec<Duration>) -> String {
    format!("p50 {:.0} ms, worst {:.0} ms", at(&mut times, 50), at(&mut times, 100))
}
