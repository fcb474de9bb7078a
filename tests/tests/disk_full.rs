//! A full disk: nothing starts on it, nothing is lost to it, and everything goes on by itself afterwards. Each test
//! runs again in a mount namespace of its own, with the data folder on a small disk.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use holdpoint_tests::{Server, Setup, build_dir, chaos::Disk, check_log, of_kind};
use serde_json::json;

const SCRIPT: &str = r#"
title: full disk
scenes:
  - name: slow
    when: "^slow"
    turns:
      - - {text: "A first answer that comes slowly, word by word, so that the disk is full before it ends.", chunk: 4, delay: 60}
      - - {text: "You said {{prompt}}."}
"#;

const DISK_MB: u32 = 128;

/// Less than a session needs to be started, enough for the log.
const LITTLE: u64 = 8 << 20;

fn folder() -> Result<PathBuf> {
    Ok(build_dir()?.join("small-disk"))
}

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
        .status()?;
    ensure!(status.success(), "{test} failed on the small disk");
    Ok(())
}

async fn server(toml: &str) -> Result<(Server, Disk)> {
    let folder = folder()?;
    let mut setup = Setup::script(SCRIPT).toml(toml);
    setup.folder = Some(folder.clone());
    Ok((Server::start(setup).await?, Disk::at(&folder)))
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
    let (server, disk) = server("[agents.quick]\nlinger = \"0s\"\n").await?;
    let id = server.ask("quick", "slow two").await?;
    server.until(&id, "the message", |execution| execution["residency"] == "warm").await?;
    let deadline = std::time::Instant::now() + holdpoint_tests::PATIENCE;
    while of_kind(&server.export(&id)?, "message_delivered").is_empty() {
        ensure!(std::time::Instant::now() < deadline, "no message is delivered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    disk.fill()?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    disk.free()?;
    let hold = server.hold(&id, "reply", &[]).await?;
    server.until(&id, "parked", |execution| execution["residency"] == "parked").await?;
    server.decide(&hold, json!({"action": "reply", "message": "the second"})).await?;
    let first = hold["id"].as_str().context("an id")?.to_owned();
    server.hold(&id, "reply", &[first]).await?;
    let events = server.export(&id)?;
    check_log(&events).map_err(|error| anyhow::anyhow!("{error}\n{events:#?}"))?;
    for ended in of_kind(&events, "turn_ended") {
        assert_eq!(ended["data"]["ok"], true, "{ended:#}");
    }
    let said = of_kind(&events, "assistant");
    let answer = said.last().context("an answer")?["data"]["block"]["text"].to_string();
    assert!(answer.contains("You said the second"), "the first turn is known to the session: {answer}");
    Ok(())
}
