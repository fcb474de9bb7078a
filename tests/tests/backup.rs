//! Backups while everything runs, restores that go on where they were, and deletion by rule.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use holdpoint_tests::{Server, Setup, check_log, nonces, of_kind};
use serde_json::{Value, json};

const SCRIPT: &str = r#"
title: backup tests
scenes:
  - name: ask
    when: one ask
    turns:
      - - text: "One."
          tool: Bash
          input: {command: "echo one >> @DIR@/nonces; echo made > made.txt"}
        - text: "Finished."
      - - text: "And on."
  - name: quick
    when: quick
    turns:
      - - text: "Quickly done."
  - name: stream
    when: stream
    turns:
      - - text: "A long answer that comes slowly, word by word, so that there is time to look at it while it is being written, and then some more of it."
          chunk: 2
          delay: 60
"#;

/// An agent that parks at once.
const PARKING: &str = "[agents.claude]\nlinger = \"0s\"\n";

/// Stops the server and moves its data folder out of the way.
fn move_away(server: &mut Server, name: &str) -> anyhow::Result<PathBuf> {
    server.run(&["down"])?;
    server.kill()?;
    let away = server.folder().join(name);
    fs::rename(&server.data, &away)?;
    Ok(away)
}

fn back_up(server: &Server) -> anyhow::Result<PathBuf> {
    let file = server.folder().join("backup.tar");
    server.run(&["backup", path(&file)])?;
    Ok(file)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// What a command says when it fails.
fn fails(server: &Server, args: &[&str]) -> anyhow::Result<String> {
    let output = server.command(args).output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(!output.status.success(), "{args:?} worked: {text}");
    Ok(text)
}

#[tokio::test]
async fn a_backup_made_while_it_runs_goes_on_after_a_restore() -> anyhow::Result<()> {
    let mut server = Server::start(Setup::script(SCRIPT).toml(PARKING)).await?;
    let over = server.ask("claude", "quick").await?;
    server.hold(&over, "reply", &[]).await?;
    server.post(&format!("/v1/executions/{over}/finish"), json!({})).await?;
    server.until_status(&over, "finished").await?;
    let parked = server.ask("claude", "one ask").await?;
    let hold = server.hold(&parked, "tool", &[]).await?;
    server.until(&parked, "the parking", |execution| execution["residency"] == "parked").await?;
    let streaming = server.ask("claude", "stream").await?;
    server.until(&streaming, "a session", |execution| execution["residency"] == "warm").await?;
    let before = server.export(&parked)?;

    let file = back_up(&server)?;
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    assert_eq!(server.execution(&streaming).await?["status"], "running", "nothing waited for it");
    let told = server.run(&["backup", "--check", path(&file)])?;
    assert!(told.contains("whole: 3 conversations (2 not over)"), "{told}");
    // By a pipe as well.
    let piped = server.command(&["backup", "-"]).output()?;
    let by_pipe = server.folder().join("piped.tar");
    fs::write(&by_pipe, piped.stdout)?;
    server.run(&["backup", "--check", path(&by_pipe)])?;

    let told = fails(&server, &["restore", path(&file)])?;
    assert!(told.contains("not empty"), "{told}");
    move_away(&mut server, "moved")?;
    let told = server.run(&["restore", path(&file)])?;
    assert!(told.contains("go on where they were"), "{told}");
    server.up().await?;

    assert_eq!(server.execution(&over).await?["status"], "finished");
    assert_eq!(server.execution(&parked).await?["status"], "awaiting");
    assert_eq!(server.export(&parked)?, before, "its log is what it was");
    server.decide(&hold, json!({"action": "allow"})).await?;
    server.hold(&parked, "reply", &[]).await?;
    assert_eq!(nonces(&server, "nonces"), ["one"], "{}", server.story(&parked).await);
    assert_eq!(fs::read_to_string(server.workspace(&parked).join("made.txt"))?, "made\n");
    server.hold(&streaming, "reply", &[]).await?;
    for id in [&over, &parked, &streaming] {
        check_log(&server.export(id)?)?;
    }
    let (status, _) = server.get("/v1/me").await?;
    assert_eq!(status, 200, "tokens are in it");
    Ok(())
}

/// A backup whose files are as late as they can be: the database is of before the answer, the files of after
/// all that it led to. `at_hold` says what is waited for before the backup.
async fn files_ahead(toml: &str, at_hold: &str) -> anyhow::Result<(Server, String, Value)> {
    let mut server = Server::start(Setup::script(SCRIPT).toml(toml)).await?;
    let id = server.ask("claude", "one ask").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    server.until(&id, at_hold, |execution| execution["residency"] == at_hold).await?;
    let file = back_up(&server)?;
    server.decide(&hold, json!({"action": "allow"})).await?;
    server.hold(&id, "reply", &[]).await?;
    let away = move_away(&mut server, "moved")?;
    server.run(&["restore", path(&file)])?;
    // As the copying would have found them, but for what a backup leaves out: later workers.
    let (own, later) = (server.data.join("executions").join(&id), away.join("executions").join(&id));
    let workers: Vec<_> = fs::read_dir(own.join("run"))?.flatten().map(|entry| entry.file_name()).collect();
    fs::remove_dir_all(&own)?;
    fs::rename(&later, &own)?;
    for entry in fs::read_dir(own.join("run"))?.flatten() {
        if !workers.contains(&entry.file_name()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    server.up().await?;
    Ok((server, id, hold))
}

#[tokio::test]
async fn what_a_journal_tells_beyond_the_database_is_taken_over() -> anyhow::Result<()> {
    let (server, id, hold) = files_ahead("", "warm").await?;
    server.hold(&id, "reply", &[]).await?;
    let events = server.export(&id)?;
    check_log(&events)?;
    assert_eq!(nonces(&server, "nonces"), ["one"], "it ran, and does not run again");
    assert_eq!(of_kind(&events, "tool_result").len(), 1);
    let (_, shown) = server.get(&format!("/v1/holds/{}", hold["id"].as_str().context("id")?)).await?;
    assert_eq!(shown["state"], "cancelled", "the answer itself was not in the backup: {shown:#}");
    Ok(())
}

#[tokio::test]
async fn a_transcript_beyond_the_database_goes_on() -> anyhow::Result<()> {
    let (server, id, hold) = files_ahead(PARKING, "parked").await?;
    assert_eq!(server.execution(&id).await?["status"], "awaiting");
    server.decide(&hold, json!({"action": "allow"})).await?;
    let reply = server.hold(&id, "reply", &[]).await?;
    check_log(&server.export(&id)?)?;
    assert_eq!(nonces(&server, "nonces"), ["one"], "it ran, and does not run again");
    server.decide(&reply, json!({"action": "reply", "message": "go on"})).await?;
    let first = reply["id"].as_str().context("id")?.to_owned();
    server.hold(&id, "reply", &[first]).await?;
    check_log(&server.export(&id)?)?;
    Ok(())
}

#[tokio::test]
async fn a_damaged_backup_is_named_and_not_used() -> anyhow::Result<()> {
    let mut server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "one ask").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    server.decide(&hold, json!({"action": "allow"})).await?;
    server.hold(&id, "reply", &[]).await?;
    let file = back_up(&server)?;
    let away = move_away(&mut server, "moved")?;
    let mut bytes = fs::read(&file)?;
    let at = bytes.windows(5).position(|window| window == b"made\n").context("the file in the backup")?;
    bytes[at] = b'M';
    fs::write(&file, bytes)?;
    for args in [["backup", "--check", path(&file)].as_slice(), &["restore", path(&file)]] {
        let told = fails(&server, args)?;
        assert!(told.contains(&format!("{id}/workspace/made.txt is not what was written")), "{told}");
    }
    assert!(!server.data.exists(), "nothing of it was used");
    // Without a control plane it works the same, and elsewhere it says what can go on where.
    fs::rename(away, &server.data)?;
    let file = back_up(&server)?;
    let elsewhere = server.folder().join("elsewhere");
    let restored = server.data.clone();
    server.data.clone_from(&elsewhere);
    let told = server.run(&["restore", path(&file)])?;
    assert!(told.contains("1 of them are not over") && told.contains("mount --bind"), "{told}");
    server.data = restored;
    Ok(())
}

#[tokio::test]
async fn what_was_kept_for_long_enough_is_deleted_with_its_files() -> anyhow::Result<()> {
    let agents = "[agents.brief]\nkeep = \"1s\"\n\n[agents.keeper]\n";
    let server = Server::start(Setup::script(SCRIPT).toml(agents)).await?;
    let mut ended = Vec::new();
    for agent in ["brief", "keeper"] {
        let id = server.ask(agent, "one ask").await?;
        let hold = server.hold(&id, "tool", &[]).await?;
        server.decide(&hold, json!({"action": "allow"})).await?;
        server.hold(&id, "reply", &[]).await?;
        server.post(&format!("/v1/executions/{id}/finish"), json!({})).await?;
        server.until_status(&id, "finished").await?;
        ended.push(id);
    }
    let going = server.ask("brief", "one ask").await?;
    server.hold(&going, "tool", &[]).await?;
    let [brief, keeper] = ended.as_slice() else { anyhow::bail!("two") };
    let folder = server.data.join("executions").join(brief);
    let short = &brief[brief.len() - 8..];
    let deadline = std::time::Instant::now() + holdpoint_tests::PATIENCE;
    let shown = loop {
        // Its worker has to be gone as well.
        let shown = server.run(&["retention"])?;
        if shown.contains(short) {
            break shown;
        }
        anyhow::ensure!(std::time::Instant::now() < deadline, "it never becomes old: {shown}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(shown.contains("1 conversations") && shown.contains("keep = \"1s\" of agent brief"), "{shown}");
    assert!(folder.is_dir(), "looking deletes nothing");
    let dry: Value = serde_json::from_str(&server.run(&["retention", "--dry-run", "--json"])?)?;
    assert_eq!(dry["items"].as_array().map(Vec::len), Some(1));
    assert!(dry["items"][0]["files_bytes"].as_u64() > Some(100), "{dry}");

    let deleted = server.run(&["retention", "--now"])?;
    assert!(deleted.contains(short) && deleted.contains("deleted"), "{deleted}");
    let (status, _) = server.get(&format!("/v1/executions/{brief}")).await?;
    assert_eq!((status, folder.exists()), (404, false));
    for id in [keeper, &going] {
        check_log(&server.export(id)?)?;
        assert!(server.data.join("executions").join(id).is_dir());
    }
    let log = server.run(&["retention", "--log"])?;
    assert!(log.contains(short), "{log}");
    let (_, list) = server.get("/v1/deletions").await?;
    let item = &list["items"][0];
    assert_eq!((&item["execution"], &item["by"]["name"]), (&json!(brief), &json!("operator")));
    assert!(item["files_deleted_at"].is_string() && item["holds"] == 2, "{item}");
    assert!(server.run(&["retention", "--now"])?.contains("Nothing was to be deleted"));
    Ok(())
}
