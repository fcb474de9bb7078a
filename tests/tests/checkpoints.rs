//! Checkpoints: what was put by is enough to go on, and to go on differently.

use std::{path::Path, time::Duration};

use holdpoint_tests::{PATIENCE, Server, Setup, check_log, nonces, of_kind};
use serde_json::{Value, json};

const SCRIPT: &str = r#"
title: checkpoint tests
scenes:
  - name: notes
    when: "^notes"
    turns:
      - - tool: Bash
          input: {command: "echo first > notes.txt"}
        - text: "The notes are begun. Say more."
      - - tool: Bash
          input: {command: "echo {{prompt}} >> notes.txt; pwd >> notes.txt; echo {{prompt}} >> @DIR@/nonces"}
        - text: "Noted: {{prompt}}"
      - - text: "Nothing more."
"#;

const AGENTS: &str = r#"
[agents.free]
linger = "0s"
[agents.free.policy]
allow = ["Bash"]
[agents.asking]
linger = "0s"
"#;

async fn server() -> anyhow::Result<Server> {
    Server::start(Setup::script(SCRIPT).toml(AGENTS)).await
}

/// Parked, with everything up to now put by.
async fn put_by(server: &Server, id: &str) -> anyhow::Result<Value> {
    server.until(id, "parked", |execution| execution["residency"] == "parked").await?;
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let events = server.export(id)?;
        if let Some(last) = events.last().filter(|event| event["kind"] == "checkpoint_taken") {
            return Ok(last.clone());
        }
        anyhow::ensure!(std::time::Instant::now() < deadline, "no checkpoint:\n{}", server.story(id).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn notes(server: &Server, id: &str) -> String {
    std::fs::read_to_string(server.workspace(id).join("notes.txt")).unwrap_or_default()
}

#[tokio::test]
async fn a_conversation_goes_on_although_its_files_are_gone() -> anyhow::Result<()> {
    let server = server().await?;
    let id = server.ask("asking", "notes").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    let checkpoint = put_by(&server, &id).await?;
    assert_eq!(checkpoint["data"]["at_rest"], false, "a tool call waits");
    let folder = server.data.join("executions").join(&id);
    for gone in ["workspace", "home"] {
        std::fs::remove_dir_all(folder.join(gone))?;
    }
    server.decide(&hold, json!({"action": "allow"})).await?;
    server.hold(&id, "reply", &[]).await?;
    assert_eq!(notes(&server, &id), "first\n");
    let events = server.export(&id)?;
    check_log(&events)?;
    let told =
        of_kind(&events, "notice").iter().any(|event| event["data"]["text"].to_string().contains("restored"));
    assert!(told, "{}", server.story(&id).await);
    assert_eq!(
        of_kind(&events, "hold_reasked").len(),
        1,
        "the same ask came back: {}",
        server.story(&id).await
    );
    assert_eq!(server.upstream_calls(&id)?.len(), 2, "the model was not asked again");
    Ok(())
}

#[tokio::test]
async fn a_damaged_checkpoint_is_passed_over_and_said_so() -> anyhow::Result<()> {
    let server = server().await?;
    let id = server.ask("free", "notes").await?;
    let reply = server.hold(&id, "reply", &[]).await?;
    put_by(&server, &id).await?;
    server.decide(&reply, json!({"action": "reply", "message": "second"})).await?;
    let seen = vec![reply["id"].as_str().unwrap_or_default().to_owned()];
    let reply = server.hold(&id, "reply", &seen).await?;
    let newest = put_by(&server, &id).await?;
    // The newest manifest is torn, and the files are gone.
    let name = newest["data"]["id"].as_str().unwrap_or_default().trim_start_matches("sha256:").to_owned();
    let manifests = server.data.join("checkpoints/manifests").join(&id);
    let manifest = std::fs::read_dir(&manifests)?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().contains(&name))
        .ok_or_else(|| anyhow::anyhow!("no manifest {name}"))?;
    let text = std::fs::read(manifest.path())?;
    std::fs::write(manifest.path(), &text[..text.len() / 2])?;
    let folder = server.data.join("executions").join(&id);
    for gone in ["workspace", "home"] {
        std::fs::remove_dir_all(folder.join(gone))?;
    }
    server.decide(&reply, json!({"action": "reply", "message": "third"})).await?;
    server.until(&id, "the third turn", |execution| execution["usage"]["turns"] == 3).await?;
    assert_eq!(notes(&server, &id).lines().next(), Some("first"));
    let events = server.export(&id)?;
    check_log(&events)?;
    let told =
        of_kind(&events, "notice").iter().any(|event| event["data"]["text"].to_string().contains("damaged"));
    assert!(told, "{}", server.story(&id).await);
    Ok(())
}

#[tokio::test]
async fn another_conversation_branches_off_with_its_own_files() -> anyhow::Result<()> {
    let server = server().await?;
    let id = server.ask("free", "notes").await?;
    let reply = server.hold(&id, "reply", &[]).await?;
    put_by(&server, &id).await?;
    let (status, points) = server.get(&format!("/v1/executions/{id}/checkpoints")).await?;
    assert_eq!(status, 200);
    let point = points["items"].as_array().and_then(|items| items.last()).cloned().unwrap_or_default();
    server.decide(&reply, json!({"action": "reply", "message": "one way"})).await?;
    server.until(&id, "the second turn", |execution| execution["usage"]["turns"] == 2).await?;

    let path = format!("/v1/executions/{id}/fork");
    let body = json!({"seq": point["seq"], "message": "the other way"});
    let (status, fork) = server.post(&path, body).await?;
    assert_eq!(status, 201, "{fork}");
    let fork = fork["id"].as_str().unwrap_or_default().to_owned();
    server.until(&fork, "its turn", |execution| execution["usage"]["turns"] == 1).await?;

    let (old, new) = (notes(&server, &id), notes(&server, &fork));
    let workspace = |id: &str| server.workspace(id).display().to_string();
    assert_eq!(old.lines().collect::<Vec<_>>(), ["first", "one way", &workspace(&id)]);
    assert_eq!(new.lines().collect::<Vec<_>>(), ["first", "the other way", &workspace(&fork)]);
    assert_eq!(nonces(&server, "nonces"), ["one way", "the other way"]);
    let events = server.export(&fork)?;
    check_log(&events)?;
    assert_eq!(events[0]["data"]["forked_from"]["execution"], id.as_str());
    let text = of_kind(&events, "assistant").iter().map(|event| event.to_string()).collect::<String>();
    assert!(text.contains("Noted: the other way"), "the model knows what came before: {text}");
    // Nothing in the new session speaks of the old places.
    assert_eq!(mentions(&server.data.join("executions").join(&fork).join("home/.claude/projects"), &id), 0);

    let (status, body) = server.post(&path, json!({"seq": 1, "message": "x"})).await?;
    assert_eq!((status, body["code"].as_str()), (422, Some("no_checkpoint")), "{body}");
    let (status, body) = server.post(&path, json!({"message": " "})).await?;
    assert_eq!(status, 422, "{body}");
    Ok(())
}

fn mentions(folder: &Path, word: &str) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.path() {
            path if path.is_dir() => mentions(&path, word),
            path => std::fs::read_to_string(path).unwrap_or_default().matches(word).count(),
        })
        .sum()
}
