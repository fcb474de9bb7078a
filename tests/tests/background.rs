//! Work beside and after a turn: subagents, messages into a running turn, and turns whose end was not
//! told. What is idle may be parked and loses nothing; what is not is left alone.

use holdpoint_tests::{
    PATIENCE, Server, Setup, check_log, nonces, of_kind,
    processes::{self, Part},
};
use serde_json::{Value, json};

const SCRIPT: &str = r#"
title: background tests
scenes:
  - name: errand
    when: "^errand"
    turns:
      - - tool: Bash
          input: {command: "echo errand >> @DIR@/nonces"}
        - text: "The errand is done."
  - name: foreground
    when: "^foreground"
    turns:
      - - text: "I send somebody."
          tool: Agent
          input: {description: An errand, subagent_type: general-purpose, prompt: "errand one"}
        - text: "All is done."
  - name: beside
    when: "^beside"
    turns:
      - - tool: Agent
          input: {description: An errand, subagent_type: general-purpose, prompt: "errand two", run_in_background: true}
        - text: "Somebody is on it."
        - text: "It has been done."
  - name: steered
    when: "^steered"
    turns:
      - - tool: Bash
          input: {command: "sleep 1; echo first >> @DIR@/nonces"}
        - tool: Bash
          input: {command: "echo second >> @DIR@/nonces"}
        - text: "Both are done."
  - name: plain
    when: "^plain"
    turns:
      - - tool: Bash
          input: {command: "echo once >> @DIR@/nonces"}
        - text: "That was it."
  - name: curious
    when: "^curious"
    turns:
      - - tool: Read
          input: {file_path: "inside.txt"}
        - tool: Read
          input: {file_path: "../run/1/spec.json"}
        - text: "I have seen enough."
"#;

const AGENTS: &str = r#"
[agents.quick]
linger = "0s"
[agents.quick-auto]
linger = "0s"
completion = "auto"
[agents.auto]
completion = "auto"
[agents.beside]
linger = "0s"
background = true
[agents.beside-auto]
background = true
completion = "auto"
"#;

async fn server() -> anyhow::Result<Server> {
    Server::start(Setup::script(SCRIPT).toml(AGENTS)).await
}

/// The session's own record.
fn transcript(server: &Server, id: &str) -> String {
    let projects = server.data.join("executions").join(id).join("home/.claude/projects");
    let folders = std::fs::read_dir(projects).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().flatten());
    files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect()
}

fn ids(holds: &[&Value]) -> Vec<String> {
    holds.iter().filter_map(|hold| hold["id"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_subagents_ask_is_parked_and_goes_on_with_its_subagent() -> anyhow::Result<()> {
    let server = server().await?;
    let id = server.ask("quick-auto", "foreground").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    assert_eq!(hold["subject"]["input"]["command"].as_str().map(|c| c.contains("errand")), Some(true));
    server.until(&id, "parked", |execution| execution["residency"] == "parked").await?;
    server.decide(&hold, json!({"action": "allow"})).await?;
    let done = server.until_status(&id, "finished").await?;
    assert_eq!(done["result"], "All is done.");
    check_log(&server.export(&id)?)?;
    assert_eq!(nonces(&server, "nonces"), ["errand"], "{}", server.story(&id).await);
    let calls = server.upstream_calls(&id)?;
    assert_eq!(calls.len(), 4, "two of the agent, two of its subagent: {calls:#?}");
    Ok(())
}

#[tokio::test]
async fn an_agent_is_not_done_before_its_background_work_is() -> anyhow::Result<()> {
    let server = server().await?;
    let id = server.ask("beside-auto", "beside").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    server.until(&id, "the end of the first turn", |execution| execution["usage"]["turns"] == 1).await?;
    assert_eq!(server.execution(&id).await?["status"], "awaiting", "a subagent still asks");
    server.decide(&hold, json!({"action": "allow"})).await?;
    let done = server.until_status(&id, "finished").await?;
    assert_eq!(done["result"], "It has been done.", "{}", server.story(&id).await);
    assert_eq!(nonces(&server, "nonces"), ["errand"]);
    check_log(&server.export(&id)?)
}

#[tokio::test]
async fn background_work_is_not_parked_and_its_loss_is_told() -> anyhow::Result<()> {
    let server = server().await?;
    let id = server.ask("beside", "beside").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    server.until(&id, "the end of the first turn", |execution| execution["usage"]["turns"] == 1).await?;
    // Long enough for several looks of the reconciler.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(server.execution(&id).await?["residency"], "warm", "parking would end the subagent");
    processes::kill(&processes::of(&id, Part::Worker));
    let reply = server.hold(&id, "reply", &[]).await?;
    assert!(reply["subject"]["caution"].as_str().is_some_and(|caution| caution.contains("background")));
    let path = format!("/v1/holds/{}/decision", hold["id"].as_str().unwrap_or_default());
    let (status, body) = server.post(&path, json!({"action": "allow"})).await?;
    assert_eq!(status, 409, "nobody asks for it any more: {body}");
    server.decide(&reply, json!({"action": "reply", "message": "go on"})).await?;
    server.until(&id, "another turn", |execution| execution["usage"]["turns"] == 2).await?;
    assert_eq!(nonces(&server, "nonces"), Vec::<String>::new());
    check_log(&server.export(&id)?)
}

#[tokio::test]
async fn a_message_into_a_running_turn_is_not_sent_again_after_parking() -> anyhow::Result<()> {
    let server = server().await?;
    let id = server.ask("quick", "steered").await?;
    let first = server.hold(&id, "tool", &[]).await?;
    server.decide(&first, json!({"action": "allow"})).await?;
    let (status, body) = server
        .post(&format!("/v1/executions/{id}/messages"), json!({"text": "hurry up", "mode": "steer"}))
        .await?;
    assert_eq!(status, 200, "{body}");
    let second = server.hold(&id, "tool", &ids(&[&first])).await?;
    server.until(&id, "parked", |execution| execution["residency"] == "parked").await?;
    server.decide(&second, json!({"action": "allow"})).await?;
    server.hold(&id, "reply", &[]).await?;
    let events = server.export(&id)?;
    check_log(&events)?;
    assert_eq!(nonces(&server, "nonces"), ["first", "second"]);
    assert_eq!(of_kind(&events, "hold_opened").len(), 3, "{}", server.story(&id).await);
    assert_eq!(of_kind(&events, "turn_ended").len(), 1, "{}", server.story(&id).await);
    assert_eq!(server.upstream_calls(&id)?.len(), 3);
    Ok(())
}

/// The worker stops taking notice while the session comes to its end; then it is killed, before it has
/// told anything of that end.
#[tokio::test]
async fn a_turn_whose_end_was_not_told_ends_once_more_without_the_model() -> anyhow::Result<()> {
    let server = server().await?;
    let id = server.ask("auto", "plain").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    server.decide(&hold, json!({"action": "allow"})).await?;
    let worker = processes::of(&id, Part::Worker);
    let deadline = std::time::Instant::now() + PATIENCE;
    // The tool has run; before the session's last words come, its worker goes deaf.
    while nonces(&server, "nonces").is_empty() && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    processes::pause(&worker);
    while !transcript(&server, &id).contains("That was it.") {
        assert!(std::time::Instant::now() < deadline, "the session does not come to its end");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    processes::kill(&worker);
    let done = server.until_status(&id, "finished").await?;
    assert_eq!(done["result"], "That was it.");
    let events = server.export(&id)?;
    check_log(&events)?;
    assert_eq!(of_kind(&events, "worker_lost").len(), 1, "{}", server.story(&id).await);
    assert_eq!(nonces(&server, "nonces"), ["once"], "{}", server.story(&id).await);
    assert_eq!(server.upstream_calls(&id)?.len(), 2, "the model was not asked again");
    Ok(())
}

#[tokio::test]
async fn reading_outside_the_working_directory_asks() -> anyhow::Result<()> {
    let server = server().await?;
    let id = server.ask("claude", "curious").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    assert_eq!(hold["subject"]["input"]["file_path"].as_str().map(|p| p.ends_with("spec.json")), Some(true));
    server.decide(&hold, json!({"action": "deny", "message": "that is not yours"})).await?;
    server.hold(&id, "reply", &[]).await?;
    let events = server.export(&id)?;
    check_log(&events)?;
    let started = of_kind(&events, "tool_started");
    assert_eq!(started.len(), 1, "reading inside is not asked for");
    assert!(!events.iter().any(|event| event.to_string().contains("worker_token")));
    Ok(())
}
