//! Many who look on while much happens.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{FutureExt as _, StreamExt as _, future::try_join_all};
use holdpoint_model::{
    event::{AssistantBlock, Block},
    wire::Fact,
};
use holdpoint_tests::{Server, Setup, processes};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    SCRIPT, bare_fsync,
    place::{Socket, take_the_place, tell},
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
            let stream = server.stream(&id, from).await?;
            readers.push(tokio::spawn(look_on(stream, from, begun, each)));
        }
        writers.push((socket, seq));
    }
    let pid = server.pid().context("running")?;
    let written = try_join_all(
        writers
            .into_iter()
            .map(|(socket, seq)| tokio::spawn(write(socket, seq, begun, each)).map(|done| done?)),
    );
    let seen = try_join_all(readers.into_iter().map(|reader| reader.map(|done| done?)));
    let costs = async {
        tokio::time::sleep(SETTLED).await;
        let (settled, ticks) = (processes::rss_mib(pid)?, processes::cpu_ticks(pid)?);
        let rest = WATCHED - SETTLED - Duration::from_secs(2);
        tokio::time::sleep(rest).await;
        #[allow(clippy::cast_precision_loss)]
        let share = (processes::cpu_ticks(pid)? - ticks) as f64 / rest.as_secs_f64();
        anyhow::Ok((settled, processes::rss_mib(pid)?, share))
    };
    let looked = async { tokio::try_join!(seen, costs) };
    // Writers stay as long as somebody reads: none of them ends well.
    let (delays, (settled, after, share)) = tokio::select! {
        looked = looked => looked?,
        ended = written => { ended?; anyhow::bail!("nobody writes any more") }
    };
    let delays: Vec<_> = delays.into_iter().flatten().collect();
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
    // A tick is a hundredth of a second: ticks a second are percent of a core.
    row("the server's CPU meanwhile", &format!("{share:.0} % of a core"), "");
    row("beside it: 300 bytes written and fsynced", &spread(bare_fsync(&server, 500)?), "");
    Ok(())
}

/// Before the time at which an event was told, in its text.
const TOLD: &[u8] = b"told-at-us ";

/// Tells so many events evenly, each with the time when it was told.
///
/// It holds the connection until it is ended: what waits in one that is closed with acknowledgements unread is lost.
async fn write(socket: Socket, mut seq: u64, begun: Instant, count: u64) -> Result<()> {
    let (mut sink, mut answers) = socket.split();
    let telling = async {
        let mut ticks = interval(Duration::from_micros(1_000_000 * CONVERSATIONS / RATE));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for _ in 0..count {
            ticks.tick().await;
            seq += 1;
            let text = format!("told-at-us {} {}", begun.elapsed().as_micros(), "x".repeat(280));
            let block = AssistantBlock {
                message_id: "m".into(),
                block: Block::Text { text },
                parent_tool_use_id: None,
            };
            tell(&mut sink, seq, Fact::Assistant(block)).await?;
        }
        std::future::pending().await
    };
    // Acknowledgements are taken as they come, or the connection would fill up.
    let taking = async {
        while answers.next().await.transpose()?.is_some() {}
        anyhow::bail!("the connection ended")
    };
    tokio::select! { told = telling => told, ended = taking => ended }
}

/// How long after it was told each event came; an error when one is missing, doubled or out of order. It shares the
/// machine with the server, so it looks for two numbers in each event and reads no JSON.
async fn look_on(
    mut response: reqwest::Response,
    mut seen: u64,
    begun: Instant,
    count: u64,
) -> Result<Vec<Duration>> {
    let mut delays = Vec::new();
    let mut unread = Vec::new();
    while (delays.len() as u64) < count {
        let piece = response.chunk().await?.context("the stream ended")?;
        let now = begun.elapsed();
        unread.extend_from_slice(&piece);
        let mut read = 0;
        while let Some(length) = find(&unread[read..], b"\n\n") {
            let event = &unread[read..read + length];
            read += length + 2;
            let Some(seq) = number(event, b"id: ") else { continue };
            ensure!(seq == seen + 1, "event {seq} came after {seen}");
            seen = seq;
            delays.extend(number(event, TOLD).map(|told| now.saturating_sub(Duration::from_micros(told))));
        }
        unread.drain(..read);
    }
    Ok(delays)
}

/// The number that stands after a mark.
fn number(event: &[u8], mark: &[u8]) -> Option<u64> {
    let after = &event[find(event, mark)? + mark.len()..];
    let digits = after.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(after.len());
    std::str::from_utf8(&after[..digits]).ok()?.parse().ok()
}

/// Where these bytes are first.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
