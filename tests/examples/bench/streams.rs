//! Many who look on while much happens.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{FutureExt as _, StreamExt as _, future::try_join_all};
use holdpoint_model::{
    event::{AssistantBlock, Block},
    wire::Fact,
};
use holdpoint_tests::{Server, Setup, processes};
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    SCRIPT, bare_fsync,
    place::{Socket, next_frame, take_the_place, tell},
    row, spread,
};

/// Conversations that are written to at once, and how many look on at each: 200 streams.
const CONVERSATIONS: u64 = 10;
const ONLOOKERS: usize = 20;
/// Events a second, of all conversations together, and for how long.
const RATE: u64 = 1000;
const WATCHED: Duration = Duration::from_secs(60);
/// When memory is looked at first: buffers and caches have grown to their size.
const SETTLED: Duration = Duration::from_secs(20);

/// How far behind each stream is, and what it costs the server's memory.
pub(crate) async fn many() -> Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let begun = Instant::now();
    let each = RATE / CONVERSATIONS * WATCHED.as_secs();
    let mut writers = Vec::new();
    let mut readers = Vec::new();
    for _ in 0..CONVERSATIONS {
        let (id, socket, seq, _) = take_the_place(&server).await?;
        let from = server.execution(&id).await?["seq"].as_u64().context("seq")?;
        for _ in 0..ONLOOKERS {
            let stream = server.events(&id, from).await?;
            readers.push(tokio::spawn(look_on(stream, begun, each)));
        }
        writers.push((socket, seq));
    }
    let pid = server.pid().context("running")?;
    let written = try_join_all(
        writers
            .into_iter()
            .map(|(socket, seq)| tokio::spawn(write(socket, seq, begun, each)).map(|done| done?)),
    );
    let memory = async {
        tokio::time::sleep(SETTLED).await;
        let settled = processes::rss_mib(pid)?;
        tokio::time::sleep(WATCHED - SETTLED - Duration::from_secs(2)).await;
        anyhow::Ok((settled, processes::rss_mib(pid)?))
    };
    let (_, (settled, after)) = tokio::try_join!(written, memory)?;
    let mut delays = Vec::new();
    for reader in readers {
        delays.extend(reader.await??);
    }
    let streams = CONVERSATIONS * ONLOOKERS as u64;
    ensure!(delays.len() as u64 == streams / CONVERSATIONS * each * CONVERSATIONS, "a stream missed events");
    row(
        &format!("{streams} open streams, {RATE} events/s for {} s: told → on SSE", WATCHED.as_secs()),
        &spread(delays),
        "worst < 250 ms",
    );
    row(
        &format!("the server's memory (RSS) after {} s and at the end", SETTLED.as_secs()),
        &format!("{settled:.1} MB, {after:.1} MB"),
        "flat",
    );
    row("beside it: 300 bytes written and fsynced", &spread(bare_fsync(&server, 500)?), "");
    Ok(())
}

/// Tells so many events evenly, each with the time when it was told.
async fn write(mut socket: Socket, mut seq: u64, begun: Instant, count: u64) -> Result<()> {
    let mut ticks = interval(Duration::from_micros(1_000_000 * CONVERSATIONS / RATE));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for _ in 0..count {
        ticks.tick().await;
        // Acknowledgements are taken as they come, or the connection would fill up.
        while let Some(frame) = next_frame(&mut socket).now_or_never() {
            frame?;
        }
        seq += 1;
        let text = format!("{} {}", begun.elapsed().as_micros(), "x".repeat(280));
        let block =
            AssistantBlock { message_id: "m".into(), block: Block::Text { text }, parent_tool_use_id: None };
        tell(&mut socket, seq, Fact::Assistant(block)).await?;
    }
    Ok(())
}

/// How long after it was told each event came.
async fn look_on(
    mut stream: holdpoint_tests::EventStream,
    begun: Instant,
    count: u64,
) -> Result<Vec<Duration>> {
    let mut delays = Vec::new();
    while (delays.len() as u64) < count {
        let event = stream.next().await.context("the stream ended")?;
        if event["kind"] == "assistant"
            && let Some(told) = told_at(&event)
        {
            delays.push(begun.elapsed().saturating_sub(told));
        }
    }
    Ok(delays)
}

fn told_at(event: &Value) -> Option<Duration> {
    let text = event["data"]["block"]["text"].as_str().or_else(|| event["data"]["text"].as_str())?;
    text.split(' ').next()?.parse().ok().map(Duration::from_micros)
}
