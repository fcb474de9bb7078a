//! Sessions in real containers, rootful and rootless: the whole conversation, kills, and what a session sees.

use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result};
use holdpoint_tests::{
    Server, Setup, check_log, of_kind,
    podman::{Kind, Podman},
    whole,
};
use rstest::rstest;
use serde_json::{Value, json};

/// What one command prints, in a session of its own.
const SCRIPT: &str = r#"
scenes:
  - name: look
    when: look
    turns:
      - - tool: Bash
          input: {command: "id -u; sed -n 's/^Cap[PEB].*:\t//p' /proc/self/status | sort -u; sed -n 's/^NoNewPrivs:\t//p' /proc/self/status; touch /outside 2>/dev/null || echo read-only; echo made > made.txt; mkdir -p deep/er"}
        - text: "Seen."
  - name: kill
    when: kill
    turns:
      - - tool: Bash
          input: {command: "echo ran >> ran.txt"}
        - text: "Finished: {{last_result}}"
"#;

async fn server(kind: Kind) -> Result<Server> {
    let script = format!("{SCRIPT}{}", whole::SCENE);
    Server::start(Setup::script(&script).podman(Podman::ready(kind)?)).await
}

/// The containers of a server.
fn containers(server: &Server, podman: &Podman) -> Result<Vec<String>> {
    let label = format!("label=io.holdpoint.data={}", server.data.display());
    let found = podman.run(&["ps", "--all", "--filter", &label, "--format", "{{.Names}}"])?;
    Ok(found.lines().map(str::to_owned).collect())
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn the_whole_conversation(#[case] kind: Kind) -> Result<()> {
    let server = server(kind).await?;
    let id = whole::conversation(&server).await?;
    let events = server.export(&id)?;
    assert_eq!(of_kind(&events, "worker_starting")[0]["data"]["engine"], "podman");
    assert_eq!(of_kind(&events, "worker_lost").len(), 0);
    server.until(&id, "the end of its worker", |execution| execution["residency"] == "absent").await.ok();
    assert_eq!(containers(&server, &Podman::ready(kind)?)?, Vec::<String>::new());
    Ok(())
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn a_session_is_nobody_and_its_files_are_the_operators(#[case] kind: Kind) -> Result<()> {
    let podman = Podman::ready(kind)?;
    let server = server(kind).await?;
    let id = server.ask("claude", "look").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    server.decide(&hold, json!({"action": "allow"})).await?;
    server.hold(&id, "reply", &[]).await?;
    let events = server.export(&id)?;
    let seen = of_kind(&events, "tool_result")[0]["data"]["content"].as_str().context("a result")?.to_owned();
    let lines: Vec<&str> = seen.lines().collect();
    assert_ne!(lines[0], "0", "the session is root");
    assert_eq!(lines[1..], ["0000000000000000", "1", "read-only"], "capabilities, no new privileges, root");
    let operator = podman.uid().unwrap_or_else(|| rustix::process::geteuid().as_raw());
    for file in ["made.txt", "deep", "deep/er"] {
        let owner = std::fs::symlink_metadata(server.workspace(&id).join(file))?.uid();
        assert_eq!(owner, operator, "{file} belongs to somebody else on the host");
    }
    Ok(())
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn a_killed_container_is_an_impolite_way_to_wait(#[case] kind: Kind) -> Result<()> {
    let podman = Podman::ready(kind)?;
    let server = server(kind).await?;
    let id = server.ask("claude", "kill").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    let names = containers(&server, &podman)?;
    assert_eq!(names.len(), 1, "one container per incarnation: {names:?}");
    podman.run(&["kill", "--signal", "KILL", &names[0]])?;
    server.until(&id, "the loss", |execution| execution["residency"] != "warm").await?;
    let hold = server.execution(&id).await.and(Ok(hold))?;
    server.decide(&hold, json!({"action": "allow"})).await?;
    server.hold(&id, "reply", &[]).await?;
    let ran = std::fs::read_to_string(server.workspace(&id).join("ran.txt"))?;
    assert_eq!(ran, "ran\n", "the tool ran once");
    let events = server.export(&id)?;
    check_log(&events)?;
    let lost: Vec<&Value> = of_kind(&events, "worker_lost");
    assert_eq!(lost.len(), 1, "{lost:?}");
    Ok(())
}

#[tokio::test]
async fn sessions_outlive_the_control_plane_and_the_podman_that_it_serves() -> Result<()> {
    let podman = Podman::ready(Kind::Rootful)?;
    let mut server = server(Kind::Rootful).await?;
    let id = server.ask("claude", "kill").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    let before = containers(&server, &podman)?;
    server.kill()?;
    server.up().await?;
    server.decide(&hold, json!({"action": "allow"})).await?;
    server.hold(&id, "reply", &[]).await?;
    assert_eq!(containers(&server, &podman)?, before, "the same container went on");
    assert_eq!(of_kind(&server.export(&id)?, "worker_lost").len(), 0);
    Ok(())
}
