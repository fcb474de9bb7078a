//! A conversation's model traffic, exported and played back by another server, with the real CLI.

use anyhow::Context as _;
use holdpoint_tests::{
    Server, Setup, check_log, of_kind,
    processes::{self, Part},
};
use serde_json::{Value, json};

const SCRIPT: &str = r#"
title: cassette tests
scenes:
  - name: agent
    when: look around
    turns:
      - - text: "I look."
          tool: Bash
          input: {command: "echo looked > looked.txt"}
        - text: "There is little here."
  - name: main
    turns:
      - - think: "A file, then."
          text: "I write it."
          tool: Bash
          input: {command: "echo draft > notes.txt"}
        - text: "Somebody else looks."
          tool: Agent
          input: {description: "look", prompt: "look around", subagent_type: "general-purpose"}
        - text: "Finished."
      - - text: "You are welcome."
"#;

/// The conversation, with an answer to the first ask and a reply; what was said.
async fn converse(server: &Server, allow: bool, reply: &str) -> anyhow::Result<(String, Vec<Value>)> {
    let id = server.ask("claude", "write the notes").await?;
    let mut seen = Vec::new();
    for ask in 0..2 {
        let hold = server.hold(&id, "tool", &seen).await?;
        let action = if allow || ask > 0 { "allow" } else { "deny" };
        server.decide(&hold, json!({"action": action})).await?;
        seen.push(hold["id"].as_str().unwrap_or_default().to_owned());
        if !allow {
            break;
        }
    }
    let hold = server.hold(&id, "reply", &[]).await?;
    if hold["subject"]["caution"].is_string() {
        return Ok((id, vec![hold["subject"]["caution"].clone()]));
    }
    server.decide(&hold, json!({"action": "reply", "message": reply})).await?;
    server.until(&id, "two turns", |execution| execution["usage"]["turns"] == 2).await?;
    server.hold(&id, "reply", &[hold["id"].as_str().unwrap_or_default().into()]).await?;
    let events = server.export(&id)?;
    check_log(&events)?;
    let blocks = of_kind(&events, "assistant").into_iter().map(|event| event["data"]["block"].clone());
    Ok((id, blocks.collect()))
}

#[tokio::test]
async fn the_same_conversation_has_the_same_outcome_from_its_cassette() -> anyhow::Result<()> {
    let first = Server::start(Setup::script(SCRIPT)).await?;
    let (id, recorded) = converse(&first, true, "thank you").await?;
    let file = first.folder().join("notes.cassette");
    let said = first.run(&["cassette", "export", &id, "-o", file.to_str().unwrap_or_default()])?;
    assert!(said.contains("6 model calls") && said.contains("--rehearse"), "{said}");
    let text = std::fs::read_to_string(&file)?;
    assert_eq!(text, first.run(&["cassette", "export", &id])?, "the same each time");
    for private in [id.as_str(), first.data.to_str().unwrap_or("?"), &first.token] {
        assert!(!text.contains(private), "{private} is on the cassette:\n{text}");
    }

    // The harness writes what it is given as the script; it is known by how it begins.
    let second = Server::start(Setup::script(&text)).await?;
    let (again, played) = converse(&second, true, "thank you").await?;
    assert_eq!(played, recorded);
    let file = std::fs::read_to_string(second.workspace(&again).join("notes.txt"))?;
    assert_eq!(file.trim(), "draft");
    assert_eq!(second.upstream_calls(&again)?.len(), 6);
    assert_eq!(second.execution(&again).await?["usage"]["cost_usd"], 0.0);

    // A refusal where the recorded person allowed it, and other words, are other conversations.
    let (_, denied) = converse(&second, false, "").await?;
    let said = denied[0].as_str().unwrap_or_default();
    assert!(
        said.contains("at call 2, it was expected that Bash (toolu_")
            && said.contains("succeeded, and it failed"),
        "{said}"
    );
    let id = second.ask("claude", "write the notes").await?;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let hold = second.hold(&id, "tool", &seen).await?;
        second.decide(&hold, json!({"action": "allow"})).await?;
        seen.push(hold["id"].as_str().unwrap_or_default().to_owned());
    }
    let hold = second.hold(&id, "reply", &[]).await?;
    second.decide(&hold, json!({"action": "reply", "message": "no, again"})).await?;
    let hold = second.hold(&id, "reply", &[hold["id"].as_str().unwrap_or_default().into()]).await?;
    let said = hold["subject"]["caution"].as_str().unwrap_or_default();
    assert!(said.contains("the person says “thank you”, and they said “no, again”"), "{said}");

    let checked = second.run(&[
        "rehearse",
        "--check",
        second.folder().join("script.yaml").to_str().unwrap_or_default(),
    ])?;
    assert!(checked.contains("6 model calls, recorded with the agent `claude`"), "{checked}");
    Ok(())
}

#[tokio::test]
async fn a_cassette_is_for_one_agent_where_only_that_one_has_it() -> anyhow::Result<()> {
    let first = Server::start(Setup::script(SCRIPT)).await?;
    let (id, recorded) = converse(&first, true, "thank you").await?;
    let file = first.folder().join("notes.cassette");
    first.run(&["cassette", "export", &id, "--output", file.to_str().unwrap_or_default()])?;
    let toml = format!("[agents.claude]\nrehearsal = {file:?}\n");
    let mut second = Server::start(Setup::script(SCRIPT).toml(&toml)).await?;
    let (_, played) = converse(&second, true, "thank you").await?;
    assert_eq!(played, recorded, "the script would have given other ids");

    // Where it is on the cassette is in the conversation itself: a kill changes nothing.
    let id = second.ask("claude", "write the notes").await?;
    let hold = second.hold(&id, "tool", &[]).await?;
    second.kill()?;
    for pid in processes::of(&id, Part::Worker) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("a process id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    }
    second.up().await?;
    second.decide(&hold, json!({"action": "allow"})).await?;
    let hold = second.hold(&id, "tool", &[hold["id"].as_str().unwrap_or_default().into()]).await?;
    second.decide(&hold, json!({"action": "allow"})).await?;
    let hold = second.hold(&id, "reply", &[]).await?;
    assert_eq!(hold["subject"]["caution"], Value::Null, "{hold:#}");
    let events = second.export(&id)?;
    check_log(&events)?;
    assert!(!of_kind(&events, "worker_lost").is_empty());
    let blocks: Vec<Value> =
        of_kind(&events, "assistant").into_iter().map(|event| event["data"]["block"].clone()).collect();
    assert_eq!(blocks, recorded[..recorded.len() - 1]);
    Ok(())
}
