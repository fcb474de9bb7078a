//! What a container costs a session at its start: `cargo xtask bench`.
//!
//! In turn, so that a busy moment meets all of them: a session as a process, a session in a container with the
//! image present, `podman run true` with the same bounds, and `true`.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use holdpoint_model::image::base_name;
use holdpoint_tests::{
    Server, Setup, of_kind,
    podman::{Kind, Podman},
};
use jiff::Timestamp;
use serde_json::Value;

/// Starts of each kind.
const STARTS: usize = 15;

const SCRIPT: &str = "scenes:\n  - turns:\n      - - text: hello\n";

/// Nobody waits for a session that has ended.
const AGENT: &str = "[agents.auto]\ncompletion = \"auto\"\n";

/// What sessions are started with, as far as it takes time.
const BOUNDS: [&str; 16] = [
    "run",
    "--rm",
    "--network=none",
    "--read-only",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--tmpfs=/tmp:size=256m",
    "--tmpfs=/var/tmp:size=64m",
    "--memory=1g",
    "--memory-swap=1g",
    "--pids-limit=512",
    "--cpus=1",
    "--shm-size=64m",
    "--ulimit=core=0",
    // Named, because Podman's own come instead of the configured ones where any is: more than may be had.
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=4096:4096",
];

#[tokio::main]
async fn main() -> Result<()> {
    println!("| what | figure | aim |\n| --- | --- | --- |");
    for kind in [Kind::Rootful, Kind::Rootless] {
        measure(kind).await?;
    }
    Ok(())
}

async fn measure(kind: Kind) -> Result<()> {
    let podman = Podman::ready(kind)?;
    let setup = || Setup::script(SCRIPT).toml(AGENT);
    let process = Server::start(setup()).await?;
    let container = Server::start(setup().podman(podman.clone())).await?;
    let image = base_name("0.1.0", "2.1.330");
    let (mut processes, mut containers, mut runs, mut bare) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=STARTS {
        processes.push(session(&process).await?);
        containers.push(session(&container).await?);
        runs.push(timed(|| run_true(&podman, &image))?);
        bare.push(timed(|| Ok(Command::new("true").status().map(drop)?))?);
    }
    // The first of each finds cold caches.
    let [process, container, run, bare] =
        [processes, containers, runs, bare].map(|times| median(times[1..].to_vec()));
    let name = format!("{kind:?}").to_lowercase();
    let row = |what: &str, figure: String, aim: &str| println!("| {name}: {what} | {figure} | {aim} |");
    let shown = |time: Duration| format!("{} ms", time.as_millis());
    row("session as a process: worker starting → session ready, median", shown(process), "");
    row("session in a container, image present", shown(container), "");
    row("`podman run true`, the same bounds", shown(run), "");
    row("`true`", format!("{:.1} ms", bare.as_secs_f64() * 1e3), "");
    let (adds, run_adds) = (container.saturating_sub(process), run.saturating_sub(bare));
    let ratio = adds.as_secs_f64() / run_adds.as_secs_f64();
    let figure = format!("{} against {}: {ratio:.2} ×", shown(adds), shown(run_adds));
    row("what the container adds, against what `podman run true` adds", figure, "< 1.3 ×");
    Ok(())
}

/// From the moment at which a worker is to be started to that at which its session is up, as the log has it.
async fn session(server: &Server) -> Result<Duration> {
    let id = server.ask("auto", "x").await?;
    server.until_status(&id, "finished").await?;
    let events = server.export(&id)?;
    let at = |kind: &str| -> Result<Timestamp> {
        let event: &Value = of_kind(&events, kind).first().copied().with_context(|| format!("no {kind}"))?;
        Ok(event["at"].as_str().context("a time")?.parse()?)
    };
    let took = at("worker_ready")?.duration_since(at("worker_starting")?);
    // One after the other: the end of one is not to meet the start of the next.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(took.try_into()?)
}

fn timed(action: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let begun = Instant::now();
    action()?;
    Ok(begun.elapsed())
}

fn run_true(podman: &Podman, image: &str) -> Result<()> {
    let mut command = Command::new("podman");
    command.args(BOUNDS);
    if podman.kind() == Kind::Rootless {
        command.arg("--userns=keep-id");
    } else {
        command.arg("--user=1879048200");
    }
    podman.applies_to(command.args([image, "true"]));
    let status = command.stdin(Stdio::null()).stderr(Stdio::null()).status()?;
    anyhow::ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
