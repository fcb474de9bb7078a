//! A full disk: nothing starts on it, nothing is lost to it, and everything goes on by itself afterwards. Each test
//! runs again in a mount namespace of its own, with the data folder on a small disk.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use holdpoint_tests::{Server, Setup, build_dir, chaos::Disk, check_log, of_kind};
use serde_json::{Value, json};

const SCRIPT: &str = r#"
title: full disk
scenes:
  - name: slow
    when: "^slow"
    turns:
      - - {text: "A first answer that comes slowly, word by word, so that the disk is full before it ends.", chunk: 4, delay: 60}
      - - {text: "You said {{prompt}}."}
"#;

/// Ends its worker as soon as everything waits for people.
const QUICK: &str = "[agents.quick]\nlinger = \"0s\"\n";

const DISK_MB: u32 = 128;

/// The moments of a turn at which the disk fills: the answer takes a second and a half, its end is looked for on
/// disk for two more.
const MOMENTS: u32 = 90;
const MOMENT: Duration = Duration::from_millis(40);

/// Less than a session needs to be started, enough for the log.
const LITTLE: u64 = 8 << 20;

fn folder() -> Result<PathBuf> {
    Ok(build_dir()?.join("small-disk"))
}

/// Set where the small disk is mounted.
const IS_THERE: &str = "HOLDPOINT_TEST_SMALL_DISK";

/// Runs a test that is ignored otherwise where the small disk is mounted.
fn on_a_small_disk(test: &str) -> Result<()> {
    let folder = folder()?;
    std::fs::create_dir_all(&folder)?;
    let mut unshare = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.args(["--mount", "--propagation", "private", "--"]);
    let permitted = Command::new(unshare.get_program()).args(unshare.get_args()).arg("true").status();
    if !permitted.is_ok_and(|status| status.success()) {
        eprintln!("no mount namespace of our own here: not tested");
        return Ok(());
    }
    let mount = "mount -t tmpfs -o \"size=$0m,mode=700\" small-disk \"$1\" && shift && exec \"$@\"";
    let status = unshare
        .args(["sh", "-c", mount, &DISK_MB.to_string()])
        .arg(&folder)
        .arg(std::env::current_exe()?)
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(IS_THERE, "yes")
        .status()?;
    ensure!(status.success(), "{test} failed on the small disk");
    Ok(())
}

async fn server(toml: &str) -> Result<(Server, Disk)> {
    ensure!(
        std::env::var_os(IS_THERE).is_some(),
        "it would fill the disk of this machine: run the test that runs it"
    );
    let folder = folder()?;
    let mut setup = Setup::script(SCRIPT).toml(toml);
    setup.folder = Some(folder.clone());
    Ok((Server::start(setup).await?, Disk::at(&folder)))
}

/// Whether nothing of a conversation runs: parked, or lost with nothing to do. Which of them a full disk leaves
/// depends on whether the worker could still write its journal; both go on from what is on the disk.
fn is_at_rest(execution: &Value) -> bool {
    matches!(execution["residency"].as_str(), Some("parked" | "lost"))
}

#[test]
fn a_session_waits_for_room() -> Result<()> {
    on_a_small_disk("a_session_waits_for_room_there")
}

#[tokio::test]
#[ignore = "run by a_session_waits_for_room"]
async fn a_session_waits_for_room_there() -> Result<()> {
    let (server, disk) = server("").await?;
    disk.fill_but(LITTLE)?;
    let id = server.ask("claude", "slow one").await?;
    server.until_told(&id, "notice").await?;
    // Time for another look or two, at which it must neither start nor be told again.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let events = server.export(&id)?;
    assert_eq!(of_kind(&events, "worker_starting").len(), 0, "{events:#?}");
    let notices = of_kind(&events, "notice");
    let told = notices.iter().filter(|event| event["data"]["text"].to_string().contains("waits for space"));
    assert_eq!(told.count(), 1, "people are told, once: {events:#?}");
    disk.free()?;
    server.hold(&id, "reply", &[]).await?;
    check_log(&server.export(&id)?).map_err(|error| anyhow::anyhow!(error))?;
    Ok(())
}

#[test]
fn a_turn_that_ends_on_a_full_disk_is_not_forgotten() -> Result<()> {
    on_a_small_disk("a_turn_that_ends_on_a_full_disk_is_not_forgotten_there")
}

#[tokio::test]
#[ignore = "run by a_turn_that_ends_on_a_full_disk_is_not_forgotten"]
async fn a_turn_that_ends_on_a_full_disk_is_not_forgotten_there() -> Result<()> {
    let (server, disk) = server(QUICK).await?;
    through_a_full_disk(&server, &disk, Duration::ZERO, Duration::from_secs(4)).await
}

#[test]
#[ignore = "takes minutes: `cargo test --workspace --test disk_full -- --ignored --exact a_disk_may_fill_at_any_moment`"]
fn a_disk_may_fill_at_any_moment() -> Result<()> {
    on_a_small_disk("a_disk_may_fill_at_any_moment_there")
}

#[tokio::test]
#[ignore = "run by a_disk_may_fill_at_any_moment"]
async fn a_disk_may_fill_at_any_moment_there() -> Result<()> {
    let (server, disk) = server(QUICK).await?;
    for step in 0..MOMENTS {
        let (after, full) = (MOMENT * step, Duration::from_millis(u64::from(300 + step * 677 % 4_000)));
        eprintln!("full after {after:?}, for {full:?}");
        through_a_full_disk(&server, &disk, after, full)
            .await
            .with_context(|| format!("{after:?}, {full:?}"))?;
    }
    Ok(())
}

/// A conversation whose disk is full from a moment of its first turn on, for a while; then its second turn.
async fn through_a_full_disk(server: &Server, disk: &Disk, after: Duration, full: Duration) -> Result<()> {
    let id = server.ask("quick", "slow two").await?;
    server.until_told(&id, "message_delivered").await?;
    tokio::time::sleep(after).await;
    disk.fill()?;
    tokio::time::sleep(full).await;
    disk.free()?;
    let hold = server.hold(&id, "reply", &[]).await?;
    server.until(&id, "no worker", is_at_rest).await?;
    server.decide(&hold, json!({"action": "reply", "message": "the second"})).await?;
    let first = hold["id"].as_str().context("an id")?.to_owned();
    server.hold(&id, "reply", &[first]).await?;
    let events = server.export(&id)?;
    check_log(&events).map_err(|error| anyhow::anyhow!("{error}\n{events:#?}"))?;
    for ended in of_kind(&events, "turn_ended") {
        ensure!(ended["data"]["ok"] == true, "{ended:#}");
    }
    let said = of_kind(&events, "assistant");
    let answer = said.last().context("an answer")?["data"]["block"]["text"].to_string();
    ensure!(answer.contains("You said the second"), "the first turn is not known to the session: {answer}");
    Ok(())
}

/// A worker's log is on the same disk. It is the first thing that a full one has no room for, and must not take
/// down the session with it.
#[tokio::test]
async fn a_worker_whose_log_cannot_be_written_goes_on() -> Result<()> {
    let server = Server::start(Setup::script(SCRIPT).toml(QUICK)).await?;
    let id = server.ask("quick", "slow three").await?;
    let hold = server.hold(&id, "reply", &[]).await?;
    let parked = server.until(&id, "parked", |execution| execution["residency"] == "parked").await?;
    let next = parked["incarnation"].as_u64().context("an incarnation")? + 1;
    let run = server.data.join("executions").join(&id).join("run").join(next.to_string());
    std::fs::create_dir_all(&run)?;
    std::os::unix::fs::symlink("/dev/full", run.join("worker.log"))?;
    server.decide(&hold, json!({"action": "reply", "message": "the second"})).await?;
    let first = hold["id"].as_str().context("an id")?.to_owned();
    server.hold(&id, "reply", &[first]).await?;
    let events = server.export(&id)?;
    assert!(of_kind(&events, "worker_lost").is_empty(), "{}", server.story(&id).await);
    assert_eq!(server.execution(&id).await?["incarnation"], next);
    Ok(())
}
