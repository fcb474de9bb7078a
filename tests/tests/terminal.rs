//! A whole conversation from the terminal.

use holdpoint_tests::{Server, Setup, check_log};
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

    let down = server.run(&["down"])?;
    assert!(down.contains("down"), "{down}");
    server.kill().ok();
    let again = server.run(&["down"])?;
    assert!(again.contains("not running"), "{again}");
    Ok(())
}

#[tokio::test]
async fn down_leaves_no_process_and_up_goes_on() -> anyhow::Result<()> {
    use holdpoint_tests::processes::{self, Part};
    let mut server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "begin").await?;
    let reply = server.hold(&id, "reply", &[]).await?;
    server.decide(&reply, serde_json::json!({"action": "reply", "message": "go"})).await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    // The control plane is killed, so that its workers are left behind; `down` ends them all the same.
    server.kill()?;
    server.run(&["down"])?;
    let left = [processes::of(&id, Part::Worker), processes::of(&id, Part::Session)].concat();
    assert_eq!(left, Vec::<u32>::new(), "processes were left behind");
    server.up().await?;
    server.decide(&hold, serde_json::json!({"action": "allow"})).await?;
    server.hold(&id, "tool", &[hold["id"].as_str().unwrap_or_default().into()]).await?;
    check_log(&server.export(&id)?)
}
