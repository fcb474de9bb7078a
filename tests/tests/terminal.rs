//! A whole conversation from the terminal.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use holdpoint_tests::{
    PATIENCE, Server, Setup, check_log,
    processes::{self, Part},
};
use serde_json::Value;

const SCRIPT: &str = r#"
scenes:
  - turns:
      - - text: "What should I call it?"
      - - tool: Bash
          input: {command: "echo draft > notes.txt"}
        - tool: Bash
          input: {command: "rm -rf important"}
        - tool: AskUserQuestion
          input:
            questions:
              - {question: "Which colour?", header: Colour, multiSelect: false, options: [{label: Red, description: warm}, {label: Blue, description: cool}]}
        - tool: EnterPlanMode
          input: {}
        - tool: ExitPlanMode
          input: {plan: "1. Paint it."}
        - text: "Finished."
"#;

#[tokio::test]
async fn ask_answer_and_export() -> anyhow::Result<()> {
    let mut server = Server::start(Setup::script(SCRIPT)).await?;
    let started: Value = serde_json::from_str(&server.run(&["ask", "begin", "--json"])?)?;
    let id = started["id"].as_str().unwrap_or_default().to_owned();
    let mut seen = Vec::new();
    for (kind, answer) in [
        ("reply", &["--reply", "notes.txt"][..]),
        ("tool", &["--edit", r#"{"command": "echo edited > notes.txt"}"#]),
        ("tool", &["--deny", "keep it"]),
        ("question", &["--answer", "Which colour?=Green"]),
        ("plan", &["--allow"]),
    ] {
        let hold = server.hold(&id, kind, &seen).await?;
        let hold = hold["id"].as_str().unwrap_or_default().to_owned();
        let inbox = server.run(&["inbox"])?;
        assert!(inbox.contains(kind), "{inbox}");
        let mut args = vec!["answer", hold.as_str()];
        args.extend(answer);
        server.run(&args)?;
        // Too late, by whom it was answered is said.
        let late = server.command(&args).output()?;
        let words = String::from_utf8_lossy(&late.stderr).into_owned();
        assert!(!late.status.success() && words.contains("operator"), "{words}");
        seen.push(hold);
    }
    server.hold(&id, "reply", &seen).await?;
    server.run(&["finish", &id])?;
    server.until_status(&id, "finished").await?;
    assert_eq!(std::fs::read_to_string(server.workspace(&id).join("notes.txt"))?, "edited\n");
    let story = server.run(&["logs", &id])?;
    for part in ["What should I call it?", "echo", "keep it", "Green", "Finished."] {
        assert!(story.contains(part), "{part} is missing in:\n{story}");
    }
    assert!(server.run(&["files", &id])?.contains("notes.txt"));
    check_log(&server.export(&id)?)?;
    // Nobody reads: that is no error, and nothing is said about it.
    let mut export =
        server.command(&["export", &id]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    drop(export.stdout.take());
    let ended = export.wait_with_output()?;
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");

    let down = server.run(&["down"])?;
    assert!(down.contains("down"), "{down}");
    server.kill().ok();
    let again = server.run(&["down"])?;
    assert!(again.contains("not running"), "{again}");
    Ok(())
}

#[tokio::test]
async fn down_leaves_no_process_and_up_goes_on() -> anyhow::Result<()> {
    let mut server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "begin").await?;
    let reply = server.hold(&id, "reply", &[]).await?;
    server.decide(&reply, serde_json::json!({"action": "reply", "message": "go"})).await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    // The control plane is killed, so that its workers are left behind; `down` ends them all the same.
    server.kill()?;
    // A configuration that is wrong is no reason to leave them.
    let file = server.folder().join("holdpoint.toml");
    let config = std::fs::read_to_string(&file)?;
    std::fs::write(&file, "what is this")?;
    server.run(&["down"])?;
    std::fs::write(&file, config)?;
    let left = [processes::of(&id, Part::Worker), processes::of(&id, Part::Session)].concat();
    assert_eq!(left, Vec::<u32>::new(), "processes were left behind");
    server.up().await?;
    server.decide(&hold, serde_json::json!({"action": "allow"})).await?;
    server.hold(&id, "tool", &[hold["id"].as_str().unwrap_or_default().into()]).await?;
    check_log(&server.export(&id)?)
}

#[tokio::test]
async fn a_killed_control_planes_address_is_not_trusted() -> anyhow::Result<()> {
    let mut server = Server::start(Setup::script(SCRIPT)).await?;
    let control = |server: &Server| -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&std::fs::read(server.data.join("control.json"))?)?)
    };
    let before = control(&server)?;
    server.kill()?;
    assert_eq!(control(&server)?, before, "it had no time to take it back");
    let stranger = std::net::TcpListener::bind(server.url.trim_start_matches("http://"))?;
    stranger.set_nonblocking(true)?;
    let status = server.command(&["status"]).output()?;
    let words = String::from_utf8_lossy(&status.stderr).into_owned();
    assert_eq!(status.status.code(), Some(3), "{words}");
    assert!(words.contains("not running") && words.contains("holdpoint up"), "{words}");
    let nobody = stranger.accept().expect_err("the token was sent to a stranger");
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
    drop(stranger);
    server.up().await?;
    let after = control(&server)?;
    assert_ne!(before["token"], after["token"], "the token may be known to others");
    let old = before["token"].as_str();
    let (refused, _) = server.post_raw("/v1/executions", "{}".into(), old).await?;
    assert_eq!(refused, 401);
    let tokens: Value = serde_json::from_str(&server.run(&["token", "list", "--json"])?)?;
    let own = tokens["items"].as_array().into_iter().flatten().filter(|token| token["user"] == "operator");
    assert_eq!(own.count(), 1, "{tokens:#}");
    Ok(())
}

#[tokio::test]
async fn tokens_are_listed_and_taken_back() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let token = server.run(&["token", "create", "--name", "ci", "--role", "asker"])?;
    let token = token.trim();
    let list = server.run(&["token", "list"])?;
    assert!(list.contains("ci") && list.contains("asker") && !list.contains(token), "{list}");
    let status = server.run(&["status"])?;
    assert!(status.contains("a script (rehearsal)") && !status.contains('{'), "{status}");
    // Asked in the right way, it is refused for what it asks.
    let asked = async || -> anyhow::Result<u16> {
        Ok(server.post_raw("/v1/executions", "{}".into(), Some(token)).await?.0)
    };
    assert_ne!(asked().await?, 401);
    server.run(&["token", "revoke", "ci"])?;
    assert_eq!(asked().await?, 401);
    let again = server.command(&["token", "revoke", "ci"]).output()?;
    assert_eq!(again.status.code(), Some(4), "{again:?}");
    assert!(!server.run(&["token", "list"])?.contains("asker"));
    Ok(())
}

#[tokio::test]
async fn a_script_that_follows_is_told_how_it_ended() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "begin").await?;
    server.hold(&id, "reply", &[]).await?;
    let follow = server
        .command(&["logs", &id, "--follow", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    server.run(&["cancel", &id])?;
    let ended = follow.wait_with_output()?;
    assert_eq!(ended.status.code(), Some(6), "{ended:?}");
    for line in String::from_utf8(ended.stdout)?.lines() {
        let _: Value = serde_json::from_str(line).context(line.to_owned())?;
    }
    Ok(())
}

const SHORT: &str = r#"
scenes:
  - turns:
      - - text: "Hello there."
"#;

#[tokio::test]
async fn a_rehearsal_leaves_nothing_behind() -> anyhow::Result<()> {
    let toml = "[agents.auto]\ncompletion = \"auto\"\n";
    let server = Server::start(Setup::script(SHORT).toml(toml)).await?;
    let script = server.folder().join("script.yaml").display().to_string();
    let checked = server.run(&["rehearse", &script])?;
    assert!(checked.contains("can be played") && checked.contains("--prompt"), "{checked}");
    let checked = server.run(&["rehearse", &script, "--check"])?;
    assert!(checked.contains("can be played") && !checked.contains("--prompt"), "{checked}");

    // The conversation ends first.
    let play = ["rehearse", &script, "--json", "--prompt", "hi"];
    let ended = server.run(&[&play[..], &["--agent", "auto"]].concat())?;
    let first: Value = serde_json::from_str(ended.lines().next().context("an event")?)?;
    let id = first["execution"].as_str().context("an execution")?.to_owned();
    assert!(ended.contains("execution_finished"), "{ended}");
    assert_eq!(left(&id), Vec::<u32>::new(), "processes were left behind");

    // A signal comes first, as by Ctrl-C and by a service manager.
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let mut child = server.command(&play).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut id = String::new();
        for line in BufReader::new(child.stdout.take().context("stdout")?).lines() {
            let event: Value = serde_json::from_str(&line?)?;
            event["execution"].as_str().unwrap_or_default().clone_into(&mut id);
            if event["kind"] == "hold_opened" {
                break;
            }
        }
        assert_ne!(left(&id), Vec::<u32>::new(), "its session should wait here");
        let pid = i32::try_from(child.id())?;
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).context("pid")?, signal)?;
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait()?.is_none() {
            anyhow::ensure!(Instant::now() < deadline, "it does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(left(&id), Vec::<u32>::new(), "processes were left behind");
    }

    // It cannot even begin.
    let unknown = server.command(&[&play[..], &["--agent", "nobody"]].concat()).output()?;
    assert_eq!(unknown.status.code(), Some(4), "{unknown:?}");
    Ok(())
}

fn left(execution: &str) -> Vec<u32> {
    [processes::of(execution, Part::Worker), processes::of(execution, Part::Session)].concat()
}
