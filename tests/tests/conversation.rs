//! Whole conversations with the real CLI, over the API.

use std::path::Path;

use holdpoint_tests::{Server, Setup, check_log, nonces, of_kind, processes, whole};
use serde_json::{Value, json};

const SCRIPT: &str = r#"
title: conversation tests
scenes:
  - name: grant
    when: grant
    turns:
      - - tools:
            - {tool: Bash, input: {command: "touch a.txt"}}
            - {tool: Bash, input: {command: "touch b.txt"}}
            - {tool: Bash, input: {command: "touch c.txt; touch d.txt"}}
        - text: done
  - name: policy
    when: policy
    turns:
      - - tool: Bash
          input: {command: "echo allowed >> @DIR@/nonces"}
        - tool: Bash
          input: {command: "curl http://127.0.0.1:9/"}
        - text: done
  - name: slow
    when: slow
    turns:
      - - tool: Bash
          input: {command: "tail -f /dev/null; echo late >> @DIR@/nonces"}
        - text: never
  - name: chatty
    when: chatty
    turns:
      - - text: "This is a long answer, and it comes slowly, so that there is time to write something while it is written."
          chunk: 4
          delay: 60
      - - text: "second: {{prompt}}"
      - - text: "third: {{prompt}}"
  - name: files
    when: files
    turns:
      - - tool: Read
          input: {file_path: "attachments/in.txt"}
        - text: "Read."
  - name: key
    when: key
    turns:
      - - error: 401
  - name: hello
    turns:
      - - text: "Hello."
"#;

fn texts(events: &[Value]) -> Vec<String> {
    of_kind(events, "assistant")
        .iter()
        .filter_map(|event| event["data"]["block"]["text"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn a_reply_an_edit_a_denial_a_question_and_a_plan() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(&format!("scenes:\n{}", whole::SCENE))).await?;
    whole::conversation(&server).await.map(drop)
}

#[tokio::test]
async fn a_grant_covers_its_kind_and_nothing_chained() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "grant").await?;
    let first = server.hold(&id, "tool", &[]).await?;
    assert_eq!(first["subject"]["grant"], "Bash(touch *)");
    server.decide(&first, json!({"action": "allow", "scope": "conversation"})).await?;
    // b.txt is covered; the chained command is not and asks.
    let third = server.hold(&id, "tool", &[first["id"].as_str().unwrap_or_default().into()]).await?;
    assert_eq!(third["subject"]["input"]["command"], "touch c.txt; touch d.txt");
    server.decide(&third, json!({"action": "deny"})).await?;
    server.hold(&id, "reply", &[]).await?;
    let made: Vec<bool> =
        ["a.txt", "b.txt", "c.txt"].map(|file| server.workspace(&id).join(file).exists()).to_vec();
    assert_eq!(made, [true, true, false]);
    let events = server.export(&id)?;
    check_log(&events)?;
    let by_grant: Vec<_> = of_kind(&events, "hold_answered")
        .into_iter()
        .filter(|e| e["data"]["decision"]["by"]["name"] == "grant")
        .collect();
    assert_eq!(by_grant.len(), 1);
    assert_eq!(of_kind(&events, "grant_added")[0]["data"]["by"]["name"], "Tess");
    Ok(())
}

#[tokio::test]
async fn policy_allows_and_refuses_without_a_person() -> anyhow::Result<()> {
    let toml = r#"
[agents.strict]
title = "Strict"
completion = "auto"
[agents.strict.policy]
allow = ["Bash(echo allowed >> *)", "Bash"]
refuse = ["Bash(curl *)"]
"#;
    let server = Server::start(Setup::script(SCRIPT).toml(toml)).await?;
    let id = server.ask("strict", "policy").await?;
    let done = server.until_status(&id, "finished").await?;
    assert_eq!(done["result"], "done");
    assert_eq!(nonces(&server, "nonces"), ["allowed"]);
    let events = server.export(&id)?;
    check_log(&events)?;
    let by: Vec<_> =
        of_kind(&events, "hold_answered").iter().map(|e| e["data"]["decision"]["action"].clone()).collect();
    assert_eq!(by.len(), 2, "{by:?}");
    let refusal =
        of_kind(&events, "tool_result")[1]["data"]["content"].as_str().unwrap_or_default().to_owned();
    assert!(refusal.contains("policy") && refusal.contains("Bash(curl *)"), "{refusal}");
    Ok(())
}

#[tokio::test]
async fn interrupting_a_running_command_ends_it_and_the_conversation_goes_on() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "slow").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    server.decide(&hold, json!({"action": "allow"})).await?;
    wait_for(|| !sleepers(&id).is_empty()).await;
    let (status, body) = server.post(&format!("/v1/executions/{id}/interrupt"), json!({})).await?;
    assert_eq!(status, 200, "{body}");
    server.hold(&id, "reply", &[]).await?;
    wait_for(|| sleepers(&id).is_empty()).await;
    assert!(sleepers(&id).is_empty(), "the interrupted command still runs");
    assert_eq!(nonces(&server, "nonces"), Vec::<String>::new());
    let (status, _) = server.post(&format!("/v1/executions/{id}/interrupt"), json!({})).await?;
    assert_eq!(status, 409, "nothing runs any more");
    Ok(())
}

#[tokio::test]
async fn cancelling_ends_every_process_and_every_hold() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "slow").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    server.decide(&hold, json!({"action": "allow"})).await?;
    wait_for(|| !sleepers(&id).is_empty()).await;
    let (status, body) = server.post(&format!("/v1/executions/{id}/cancel"), json!({})).await?;
    assert_eq!(status, 200, "{body}");
    let execution = server.execution(&id).await?;
    assert_eq!(execution["status"], "cancelled");
    let all = || {
        [processes::of(&id, processes::Part::Worker), processes::of(&id, processes::Part::Session)].concat()
    };
    wait_for(|| all().is_empty()).await;
    assert_eq!(all(), Vec::<u32>::new(), "processes were left behind");
    let (status, _) =
        server.post(&format!("/v1/executions/{id}/messages"), json!({"text": "hello?"})).await?;
    assert_eq!(status, 409);
    check_log(&server.export(&id)?)
}

#[tokio::test]
async fn replies_while_working_wait_or_steer_and_each_is_answered_once() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "chatty").await?;
    server.until(&id, "a running turn", |execution| execution["status"] == "running").await?;
    for (text, mode) in [("first in line", "queue"), ("second in line", "queue")] {
        let (status, body) = server
            .post(&format!("/v1/executions/{id}/messages"), json!({"text": text, "mode": mode}))
            .await?;
        assert_eq!(status, 200, "{body}");
    }
    server.until(&id, "three turns", |execution| execution["usage"]["turns"] == 3).await?;
    let events = server.export(&id)?;
    check_log(&events)?;
    let texts = texts(&events);
    assert_eq!(
        texts[1..],
        ["second: first in line".to_owned(), "third: second in line".to_owned()],
        "{texts:?}"
    );
    assert_eq!(of_kind(&events, "message_delivered").len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_steering_message_reaches_the_running_session() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "chatty").await?;
    server.until(&id, "a running turn", |execution| execution["status"] == "running").await?;
    let (status, body) = server
        .post(&format!("/v1/executions/{id}/messages"), json!({"text": "hurry", "mode": "steer"}))
        .await?;
    assert_eq!(status, 200, "{body}");
    server.hold(&id, "reply", &[]).await?;
    let events = server.export(&id)?;
    check_log(&events)?;
    let order: Vec<&str> = events
        .iter()
        .filter_map(|event| event["kind"].as_str())
        .filter(|kind| matches!(*kind, "message_intent" | "turn_ended"))
        .collect();
    assert_eq!(
        order[..3],
        ["message_intent", "message_intent", "turn_ended"],
        "it was sent before the turn ended"
    );
    assert_eq!(of_kind(&events, "message_delivered").len(), 2);
    Ok(())
}

#[tokio::test]
async fn attached_files_are_in_the_workspace_and_are_no_results() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let body = json!({
        "agent": "claude",
        "inputs": {"prompt": "files"},
        // "hello"
        "files": [{"name": "../in.txt", "content": "aGVsbG8="}],
    });
    let (status, started) = server.post("/v1/executions", body).await?;
    assert_eq!(status, 201, "{started}");
    let id = started["id"].as_str().unwrap_or_default().to_owned();
    let reply = server.hold(&id, "reply", &[]).await?;
    let file = server.workspace(&id).join("attachments/in.txt");
    assert_eq!(std::fs::read_to_string(&file)?, "hello");
    assert!(!Path::new(&server.workspace(&id).join("../in.txt")).exists());
    let events = server.export(&id)?;
    assert!(of_kind(&events, "tool_result")[0]["data"]["content"].to_string().contains("hello"));
    assert_eq!(of_kind(&events, "files_collected").len(), 0);
    // With a reply, too.
    let decision =
        json!({"action": "reply", "message": "more", "files": [{"name": "in.txt", "content": "aGVsbG8="}]});
    server.decide(&reply, decision).await?;
    wait_for(|| server.workspace(&id).join("attachments/in-2.txt").exists()).await;
    assert!(server.workspace(&id).join("attachments/in-2.txt").exists());
    Ok(())
}

#[tokio::test]
async fn an_invalid_key_stops_at_once_and_says_what_to_do() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "key").await?;
    let done = server.until_status(&id, "error").await?;
    assert_eq!(done["error"]["code"], "invalid_key");
    assert!(done["error"]["hint"].as_str().is_some_and(|hint| hint.contains("ANTHROPIC_API_KEY")));
    let calls = server.upstream_calls(&id)?;
    assert!(calls.len() <= 2, "no retries are paid: {} calls", calls.len());
    Ok(())
}

#[tokio::test]
async fn more_conversations_than_places_wait_with_a_reason() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT).top("max_sessions = 1")).await?;
    let first = server.ask("claude", "slow").await?;
    let hold = server.hold(&first, "tool", &[]).await?;
    server.decide(&hold, json!({"action": "allow"})).await?;
    let second = server.ask("claude", "hello").await?;
    let waiting = server.until(&second, "the reason", |execution| execution["queue"].is_string()).await?;
    assert!(
        waiting["queue"].as_str().is_some_and(|reason| reason.contains("1 of 1")),
        "{}",
        waiting["queue"]
    );
    server.post(&format!("/v1/executions/{first}/cancel"), json!({})).await?;
    server.hold(&second, "reply", &[]).await?;
    Ok(())
}

#[tokio::test]
async fn a_conversation_that_lingers_parks_and_goes_on_at_the_answer() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT).toml("[agents.quick]\nlinger = \"0s\"\n")).await?;
    let id = server.ask("quick", "grant").await?;
    let all = || {
        [processes::of(&id, processes::Part::Worker), processes::of(&id, processes::Part::Session)].concat()
    };
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..3 {
        let hold = server.hold(&id, "tool", &seen).await?;
        seen.push(hold["id"].as_str().unwrap_or_default().to_owned());
        server.until(&id, "parked", |execution| execution["residency"] == "parked").await?;
        assert_eq!(all(), Vec::<u32>::new(), "a parked conversation has no process");
        server.decide(&hold, json!({"action": "allow"})).await?;
    }
    server.hold(&id, "reply", &[]).await?;
    let events = server.export(&id)?;
    check_log(&events)?;
    assert_eq!(of_kind(&events, "hold_opened").len(), 4, "{}", server.story(&id).await);
    assert_eq!(server.upstream_calls(&id)?.len(), 2, "every call reached the upstream once");
    Ok(())
}

fn sleepers(id: &str) -> Vec<u32> {
    processes::of(id, processes::Part::Session)
        .into_iter()
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(b"tail\0")
        })
        .collect()
}

async fn wait_for(condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + holdpoint_tests::PATIENCE;
    while !condition() && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
