//! `kill -9` at the worst moments: nothing is lost, nothing runs twice, nothing is paid twice.

use std::time::{Duration, Instant};

use holdpoint_tests::{
    PATIENCE, Server, Setup, check_log, nonces, of_kind,
    processes::{self, Part},
};
use serde_json::{Value, json};

const SCRIPT: &str = r#"
title: kill tests
scenes:
  - name: one
    when: one ask
    turns:
      - - think: "Just one."
          text: "One."
          tool: Bash
          input: {command: "echo one >> @DIR@/nonces"}
        - text: "Finished."
  - name: three
    when: three asks
    turns:
      - - think: "Three of them."
          tools:
            - {tool: Bash, input: {command: "echo one >> @DIR@/nonces"}}
            - {tool: Bash, input: {command: "echo two >> @DIR@/nonces"}}
            - {tool: Bash, input: {command: "echo three >> @DIR@/nonces"}}
        - text: "Finished."
  - name: running
    when: running
    turns:
      - - tool: Bash
          input: {command: "echo begun >> @DIR@/nonces; tail -f /dev/null; echo ended >> @DIR@/nonces"}
        - text: "Finished."
  - name: question
    when: question
    turns:
      - - tool: AskUserQuestion
          input:
            questions:
              - {question: "Which?", header: W, multiSelect: false, options: [{label: A, description: a}, {label: B, description: b}]}
        - text: "Finished."
  - name: stream
    when: stream
    turns:
      - - text: "A long answer that comes slowly, word by word, so that there is time to end things while it is being written, and then some more of it."
          chunk: 4
          delay: 80
        - text: unreachable
"#;

fn kill_session(id: &str) {
    // The worker first: the kernel then ends the CLI, whatever we do.
    processes::kill(&processes::of(id, Part::Worker));
    processes::kill(&processes::of(id, Part::Session));
}

fn hold_id(hold: &Value) -> String {
    hold["id"].as_str().unwrap_or_default().to_owned()
}

/// After everything: the log is whole, each tool ran once, the upstream was asked so often.
async fn verify(server: &Server, id: &str, ran: &[&str], upstream: usize) -> anyhow::Result<Vec<Value>> {
    let events = server.export(id)?;
    check_log(&events).map_err(|error| anyhow::anyhow!("{error}\n{events:#?}"))?;
    assert_eq!(nonces(server, "nonces"), ran, "what really ran\n{}", server.story(id).await);
    let calls = server.upstream_calls(id)?;
    assert_eq!(calls.len(), upstream, "upstream calls: {calls:#?}\n{}", server.story(id).await);
    Ok(events)
}

#[tokio::test]
async fn worker_and_cli_killed_at_one_ask() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "one ask").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    kill_session(&id);
    server.until(&id, "the loss", |execution| execution["residency"] == "lost").await?;
    assert_eq!(server.execution(&id).await?["status"], "awaiting", "it waits as before");
    server.decide(&hold, json!({"action": "allow"})).await?;
    server.hold(&id, "reply", &[]).await?;
    let events = verify(&server, &id, &["one"], 2).await?;
    let asked = of_kind(&events, "hold_reasked");
    assert_eq!(asked.len(), 1, "the same ask came back under its own id");
    assert_eq!(asked[0]["data"]["hold"], hold["id"]);
    Ok(())
}

#[tokio::test]
async fn worker_and_cli_killed_at_the_first_of_three() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "three asks").await?;
    let first = server.hold(&id, "tool", &[]).await?;
    kill_session(&id);
    server.decide(&first, json!({"action": "allow"})).await?;
    let second = server.hold(&id, "tool", &[hold_id(&first)]).await?;
    server.decide(&second, json!({"action": "allow"})).await?;
    let third = server.hold(&id, "tool", &[hold_id(&first), hold_id(&second)]).await?;
    server.decide(&third, json!({"action": "allow"})).await?;
    server.hold(&id, "reply", &[]).await?;
    verify(&server, &id, &["one", "two", "three"], 2).await?;
    Ok(())
}

#[tokio::test]
async fn worker_and_cli_killed_at_the_second_of_three() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "three asks").await?;
    let first = server.hold(&id, "tool", &[]).await?;
    server.decide(&first, json!({"action": "allow"})).await?;
    let second = server.hold(&id, "tool", &[hold_id(&first)]).await?;
    kill_session(&id);
    server.decide(&second, json!({"action": "allow"})).await?;
    let third = server.hold(&id, "tool", &[hold_id(&first), hold_id(&second)]).await?;
    assert_eq!(third["subject"]["input"]["command"].as_str().map(|c| c.contains("three")), Some(true));
    server.decide(&third, json!({"action": "allow"})).await?;
    server.hold(&id, "reply", &[]).await?;
    verify(&server, &id, &["one", "two", "three"], 2).await?;
    Ok(())
}

#[tokio::test]
async fn worker_and_cli_killed_in_the_first_moments_of_an_ask() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    for (n, pause_ms) in [0, 20, 60, 100].into_iter().enumerate() {
        let id = server.ask("claude", "one ask").await?;
        let hold = server.hold(&id, "tool", &[]).await?;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        kill_session(&id);
        server.decide(&hold, json!({"action": "allow"})).await?;
        server.hold(&id, "reply", &[]).await?;
        verify(&server, &id, &vec!["one"; n + 1], 2).await?;
    }
    Ok(())
}

#[tokio::test]
async fn killed_at_a_question_the_answer_is_still_given() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "question").await?;
    let hold = server.hold(&id, "question", &[]).await?;
    kill_session(&id);
    server.decide(&hold, json!({"action": "answer", "answers": {"Which?": "B"}})).await?;
    server.hold(&id, "reply", &[]).await?;
    let events = verify(&server, &id, &[], 2).await?;
    assert!(of_kind(&events, "tool_result")[0]["data"]["content"].to_string().contains('B'));
    Ok(())
}

#[tokio::test]
async fn killed_while_a_tool_runs_it_is_not_run_again_unasked() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "running").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    server.decide(&hold, json!({"action": "allow"})).await?;
    let deadline = Instant::now() + PATIENCE;
    while nonces(&server, "nonces") != ["begun"] {
        anyhow::ensure!(Instant::now() < deadline, "the tool does not run\n{}", server.story(&id).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    kill_session(&id);
    let again = server.hold(&id, "tool", &[hold_id(&hold)]).await?;
    assert!(again["subject"]["caution"].as_str().is_some_and(|caution| caution.contains("may have run")));
    server.decide(&again, json!({"action": "deny", "message": "leave it"})).await?;
    server.hold(&id, "reply", &[]).await?;
    let events = verify(&server, &id, &["begun"], 2).await?;
    assert_eq!(of_kind(&events, "hold_indeterminate").len(), 1);
    Ok(())
}

#[tokio::test]
async fn worker_killed_while_the_model_speaks_goes_on_by_itself() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "stream").await?;
    server.until_told(&id, "message_delivered").await?;
    // Into the answer, which takes three seconds.
    tokio::time::sleep(Duration::from_millis(400)).await;
    kill_session(&id);
    server.hold(&id, "reply", &[]).await?;
    let events = verify(&server, &id, &[], 1).await?;
    assert_eq!(of_kind(&events, "worker_lost").len(), 1);
    assert_eq!(of_kind(&events, "turn_ended").len(), 1);
    Ok(())
}

#[tokio::test]
async fn control_plane_killed_at_a_pending_ask() -> anyhow::Result<()> {
    let mut server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "one ask").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    let worker = processes::of(&id, Part::Worker);
    server.kill()?;
    server.up().await?;
    server.decide(&hold, json!({"action": "allow"})).await?;
    server.hold(&id, "reply", &[]).await?;
    assert_eq!(processes::of(&id, Part::Worker), worker, "the worker was adopted, not replaced");
    let events = verify(&server, &id, &["one"], 2).await?;
    assert_eq!(of_kind(&events, "worker_starting").len(), 1);
    Ok(())
}

#[tokio::test]
async fn control_plane_killed_in_the_middle_of_a_stream() -> anyhow::Result<()> {
    let mut server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "stream").await?;
    server.until_told(&id, "message_delivered").await?;
    // Into the answer, which takes three seconds.
    tokio::time::sleep(Duration::from_millis(400)).await;
    let worker = processes::of(&id, Part::Worker);
    server.kill()?;
    server.up().await?;
    server.hold(&id, "reply", &[]).await?;
    assert_eq!(processes::of(&id, Part::Worker), worker, "the worker was adopted, not replaced");
    let events = server.export(&id)?;
    check_log(&events)?;
    assert_eq!(of_kind(&events, "turn_ended").len(), 1);
    assert_eq!(of_kind(&events, "worker_starting").len(), 1);
    let texts: Vec<_> = of_kind(&events, "assistant");
    assert_eq!(texts.len(), 1, "one whole answer, no halves: {texts:?}");
    Ok(())
}

#[tokio::test]
async fn everything_killed_at_once_and_started_again() -> anyhow::Result<()> {
    let mut server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "three asks").await?;
    let first = server.hold(&id, "tool", &[]).await?;
    server.decide(&first, json!({"action": "allow"})).await?;
    let second = server.hold(&id, "tool", &[hold_id(&first)]).await?;
    server.kill()?;
    kill_session(&id);
    server.up().await?;
    server.decide(&second, json!({"action": "allow"})).await?;
    let third = server.hold(&id, "tool", &[hold_id(&first), hold_id(&second)]).await?;
    server.decide(&third, json!({"action": "allow"})).await?;
    server.hold(&id, "reply", &[]).await?;
    verify(&server, &id, &["one", "two", "three"], 2).await?;
    Ok(())
}

fn transcript_of(server: &Server, id: &str) -> anyhow::Result<std::path::PathBuf> {
    let projects = server.data.join("executions").join(id).join("home/.claude/projects");
    let files = std::fs::read_dir(projects)?.flatten().flat_map(|folder| std::fs::read_dir(folder.path()));
    let mut paths = files.flatten().flatten().map(|file| file.path());
    let found = paths.find(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    found.ok_or_else(|| anyhow::anyhow!("no transcript"))
}

fn rows(path: &std::path::Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn write_rows(path: &std::path::Path, rows: &[Value]) -> anyhow::Result<()> {
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    Ok(std::fs::write(path, lines)?)
}

/// Waits until the session has its ask on disk, then ends it.
async fn kill_at_written_ask(server: &Server, id: &str) -> anyhow::Result<std::path::PathBuf> {
    let deadline = std::time::Instant::now() + holdpoint_tests::PATIENCE;
    loop {
        if let Ok(path) = transcript_of(server, id)
            && rows(&path)?.iter().any(|row| row["message"]["content"][0]["type"] == "tool_use")
        {
            kill_session(id);
            server.until(id, "the loss", |execution| execution["residency"] == "lost").await?;
            return Ok(path);
        }
        anyhow::ensure!(std::time::Instant::now() < deadline, "the ask is never written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the CLI leaves when it is killed before the model has answered its call for the rest of a turn: alone
/// it takes that for a turn that is over, and does nothing.
#[tokio::test]
async fn killed_behind_the_clis_own_words_the_turn_goes_on() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "one ask").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    let path = kill_at_written_ask(&server, &id).await?;
    let mut lines = rows(&path)?;
    let first = lines.iter().find(|row| row["type"] == "assistant").cloned().unwrap_or_default();
    let mut own = first.clone();
    own["type"] = json!("user");
    own["isMeta"] = json!(true);
    own["uuid"] = json!("00000000-0000-4000-8000-00000000c001");
    own["message"] =
        json!({"role": "user", "content": [{"type": "text", "text": "Continue from where you left off."}]});
    let mut failed = own.clone();
    failed["type"] = json!("system");
    failed["subtype"] = json!("api_error");
    failed["parentUuid"] = own["uuid"].clone();
    failed["uuid"] = json!("00000000-0000-4000-8000-00000000c002");
    lines.extend([own, failed]);
    write_rows(&path, &lines)?;
    // And the last line of all is torn.
    let mut text = std::fs::read_to_string(&path)?;
    text.push_str("{\"parentUuid\":\"0000");
    std::fs::write(&path, text)?;
    server.decide(&hold, json!({"action": "allow"})).await?;
    server.hold(&id, "reply", &[]).await?;
    let events = verify(&server, &id, &["one"], 2).await?;
    assert_eq!(of_kind(&events, "hold_reasked").len(), 1);
    assert!(of_kind(&events, "turn_ended").iter().all(|ended| ended["data"]["ok"] == true));
    Ok(())
}

/// An old note of a branch's end outweighs, for the CLI, everything that came later in another branch.
#[tokio::test]
async fn a_note_of_a_branch_that_was_left_misleads_nobody() -> anyhow::Result<()> {
    let script = format!("{SCRIPT}      - - text: \"It said {{{{last_result}}}}.\"\n");
    let script = script.replace("        - text: unreachable\n      - - text", "        - text: unreachable\n  - name: remember\n    when: remember\n    turns:\n      - - tool: Bash\n          input: {command: \"echo mark\"}\n        - text: \"Finished.\"\n      - - text");
    let server = Server::start(Setup::script(&script)).await?;
    let id = server.ask("claude", "remember").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    server.decide(&hold, json!({"action": "allow"})).await?;
    let reply = server.hold(&id, "reply", &[]).await?;
    kill_session(&id);
    server.until(&id, "the loss", |execution| execution["residency"] == "lost").await?;
    let path = transcript_of(&server, &id)?;
    let mut lines = rows(&path)?;
    let asked = lines.iter().position(|row| row["message"]["content"][0]["type"] == "tool_use");
    let asked = asked.ok_or_else(|| anyhow::anyhow!("no ask"))?;
    let mut left = lines[asked].clone();
    left["uuid"] = json!("00000000-0000-4000-8000-00000000b001");
    left["message"]["id"] = json!("msg_left");
    left["message"]["content"] = json!([{"type": "text", "text": "another branch"}]);
    let note = json!({"type": "last-prompt", "leafUuid": left["uuid"], "sessionId": left["sessionId"]});
    lines.retain(|row| row["type"] != "last-prompt");
    lines.splice(asked..asked, [left, note]);
    write_rows(&path, &lines)?;
    server.decide(&reply, json!({"action": "reply", "message": "what did it say?"})).await?;
    server.hold(&id, "reply", &[hold_id(&reply)]).await?;
    let events = server.export(&id)?;
    let said = of_kind(&events, "assistant");
    let last = said.last().map(|event| event["data"]["block"]["text"].to_string()).unwrap_or_default();
    assert!(
        last.contains("It said mark"),
        "it goes on in the branch that was left: {last}\n{}",
        server.story(&id).await
    );
    Ok(())
}
