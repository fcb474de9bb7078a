//! The figures of the whole program, from a release build: `cargo xtask bench`.
//!
//! Real server, real sockets. Where a worker is measured, this program takes the place of one.

mod place;
mod streams;

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use holdpoint_model::{
    event::{AssistantBlock, Block},
    wire::{Down, Fact},
};
use holdpoint_tests::{Server, Setup, processes};
use serde_json::json;

use place::{next_frame, take_the_place, tell};

/// Starts measured.
const STARTS: usize = 10;
/// Streams open at rest, and for how long they are watched.
const STREAMS: usize = 20;
const REST: Duration = Duration::from_secs(20);
/// Events a second, and how many.
const RATE: u64 = 50;
const EVENTS: usize = 500;
/// Answers measured.
const ANSWERS: usize = 200;
/// Model calls measured.
const CALLS: usize = 200;

const SCRIPT: &str = "scenes:\n  - turns:\n      - - text: hello\n";

#[tokio::main]
async fn main() -> Result<()> {
    println!("| what | figure | aim |\n| --- | --- | --- |");
    // One of them alone, by its name.
    let only = std::env::args().nth(1);
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wanted("start") {
        cold_start().await?;
    }
    if wanted("rest") {
        at_rest().await?;
    }
    if wanted("worker") {
        as_a_worker().await?;
    }
    if wanted("streams") {
        streams::many().await?;
    }
    if wanted("gateway") {
        gateway("", "").await?;
        gateway(BUDGETS, ", with every budget and bound").await?;
    }
    Ok(())
}

/// Every budget that there is, and a line that nobody has to wait in.
const BUDGETS: &str = "[gateway]
concurrent_calls = 100
calls_per_minute = 100000
budget_per_person_per_day_usd = 1000.0
budget_per_person_per_month_usd = 1000.0
[agents.claude.limits]
budget_usd = 1000.0
budget_per_day_usd = 1000.0
budget_per_month_usd = 1000.0
";

fn row(what: &str, figure: &str, aim: &str) {
    println!("| {what} | {figure} | {aim} |");
}

async fn cold_start() -> Result<()> {
    let mut server = Server::start(Setup::script(SCRIPT)).await?;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        server.kill()?;
        let begun = Instant::now();
        server.up().await?;
        times.push(begun.elapsed());
    }
    let mut bare = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        std::process::Command::new(holdpoint_tests::holdpoint()?).arg("--version").output()?;
        bare.push(begun.elapsed());
    }
    row("cold start: process started → panel answers (looked for every 20 ms)", &spread(times), "< 300 ms");
    row("beside it: `holdpoint --version`", &spread(bare), "");
    Ok(())
}

async fn at_rest() -> Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "x").await?;
    server.hold(&id, "reply", &[]).await?;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(server.events(&id, 0).await?);
    }
    let pid = server.pid().context("running")?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = processes::cpu_ticks(pid)?;
    tokio::time::sleep(REST).await;
    #[allow(clippy::cast_precision_loss)]
    let share = (processes::cpu_ticks(pid)? - before) as f64 / REST.as_secs_f64();
    let rss_mib = processes::rss_mib(pid)?;
    row(
        &format!("at rest with {STREAMS} open streams: memory (RSS)"),
        &format!("{rss_mib:.1} MB"),
        "< 40 MB",
    );
    // A tick is a hundredth of a second: ticks a second are percent of a core.
    row(
        &format!("at rest with {STREAMS} open streams: CPU over {} s", REST.as_secs()),
        &format!("{share:.2} % of a core"),
        "< 0.5 %",
    );
    drop(streams);
    Ok(())
}

async fn as_a_worker() -> Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let (id, mut socket, mut seq, _) = take_the_place(&server).await?;
    let from = server.execution(&id).await?["seq"].as_u64().context("seq")?;
    let mut stream = server.events(&id, from).await?;
    let mut delays = Vec::new();
    for n in 0..EVENTS {
        seq += 1;
        let text = format!("{n} {}", "x".repeat(280));
        let block =
            AssistantBlock { message_id: "m".into(), block: Block::Text { text }, parent_tool_use_id: None };
        let told = Instant::now();
        tell(&mut socket, seq, Fact::Assistant(block)).await?;
        while stream.next().await.context("the stream ended")?["kind"] != "assistant" {}
        delays.push(told.elapsed());
        tokio::time::sleep(Duration::from_millis(1000 / RATE)).await;
    }
    row(
        &format!("event told by a worker → committed (fsync) → on SSE, {RATE}/s, 300 bytes"),
        &spread(delays),
        "p99 < 10 ms",
    );
    row("beside it: 300 bytes written and fsynced", &spread(bare_fsync(&server, EVENTS)?), "");

    let mut delays = Vec::new();
    let mut seen = vec![];
    for n in 0..ANSWERS {
        seq += 1;
        let asked = Fact::Asked {
            tool_use_id: format!("toolu_{n}"),
            tool: "Bash".into(),
            input: json!({"command": format!("echo {n} > x")}),
            place: None,
            description: None,
            agent_id: None,
        };
        tell(&mut socket, seq, asked).await?;
        let hold = server.hold(&id, "tool", &seen).await?;
        let hold_id = hold["id"].as_str().context("id")?.to_owned();
        let answered = Instant::now();
        let (decided, released) = tokio::join!(server.decide(&hold, json!({"action": "allow"})), async {
            loop {
                if let Down::Release(release) = next_frame(&mut socket).await? {
                    return anyhow::Ok((answered.elapsed(), release));
                }
            }
        });
        decided?;
        let (delay, release) = released?;
        ensure!(release.hold.to_string() == hold_id, "another hold was released");
        delays.push(delay);
        seen.push(hold_id);
    }
    row(
        "answer posted → decision and intent committed (two fsyncs) → at the worker",
        &spread(delays),
        "p95 < 20 ms",
    );
    row(
        "beside it: what the worker adds, one journal line fsynced",
        &spread(bare_fsync(&server, ANSWERS)?),
        "",
    );
    Ok(())
}

fn bare_fsync(server: &Server, times: usize) -> Result<Vec<Duration>> {
    let mut file = std::fs::File::create(server.data.join("bare"))?;
    let line = [b'x'; 300];
    (0..times)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&line)?;
            file.sync_data()?;
            Ok(begun.elapsed())
        })
        .collect()
}

/// An upstream that answers at once, straight and through the gateway, in turn.
async fn gateway(toml: &str, how: &str) -> Result<()> {
    let upstream = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = upstream.local_addr()?;
    std::thread::spawn(move || {
        for socket in upstream.incoming().flatten() {
            std::thread::spawn(move || serve_upstream(socket));
        }
    });
    let server = Server::start(
        Setup::default()
            .toml(toml)
            .env("ANTHROPIC_API_KEY", "sk-bench")
            .env("ANTHROPIC_BASE_URL", &format!("http://{address}")),
    )
    .await?;
    let (_, _socket, _, spec) = take_the_place(&server).await?;
    let client = reqwest::Client::builder().tcp_nodelay(true).build()?;
    let (mut straight, mut through) = (Vec::new(), Vec::new());
    for n in 0..CALLS + 20 {
        let body = json!({"model": "claude-opus-5-5", "max_tokens": 10, "stream": true, "tools": [{"name": "Bash"}],
            "messages": [{"role": "user", "content": format!("call {n} {}", "x".repeat(20_000))}]});
        for (url, times) in
            [(format!("http://{address}"), &mut straight), (spec.gateway_url.clone(), &mut through)]
        {
            let begun = Instant::now();
            let mut answer = client
                .post(format!("{url}/v1/messages?beta=true"))
                .header("x-api-key", &spec.gateway_token)
                .header("anthropic-version", "2023-06-01")
                .json(&body)
                .send()
                .await?
                .error_for_status()?;
            let first = answer.chunk().await?;
            ensure!(first.is_some(), "an empty answer");
            // The first calls open connections.
            if n >= 20 {
                times.push(begun.elapsed());
            }
            while answer.chunk().await?.is_some() {}
        }
    }
    row("model call straight to an upstream: first byte (20 kB request)", &spread(straight), "");
    let what = format!("the same through the gateway, token checked and call recorded{how}");
    row(&what, &spread(through), "adds < 2 ms");
    Ok(())
}

fn serve_upstream(mut socket: std::net::TcpStream) {
    let _ = socket.set_nodelay(true);
    let mut buffer = Vec::new();
    let mut chunk = [0; 65_536];
    loop {
        // One request: headers, then as many bytes as they say.
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            match socket.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(read) => buffer.extend_from_slice(&chunk[..read]),
            }
            continue;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|value| value.trim().parse::<usize>().ok())
            .unwrap_or(0);
        while buffer.len() < end + 4 + length {
            match socket.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(read) => buffer.extend_from_slice(&chunk[..read]),
            }
        }
        buffer.drain(..end + 4 + length);
        let events = [
            json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5-5", "content": [], "stop_reason": null, "usage": {"input_tokens": 1, "output_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}),
            json!({"type": "message_stop"}),
        ];
        let body: String = events
            .iter()
            .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default()))
            .collect();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if socket.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// p50, p95, p99 and the worst.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| {
        let index = (times.len() * share / 100).min(times.len().saturating_sub(1));
        times.get(index).map_or(0.0, Duration::as_secs_f64) * 1000.0
    };
    format!("p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms, worst {:.2} ms", at(50), at(95), at(99), at(100))
}
