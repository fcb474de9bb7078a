//! Wrong input gets a clear answer and loses nothing.

use holdpoint_tests::{Server, Setup, check_log, free_port};
use serde_json::{Value, json};

const SCRIPT: &str = r##"
scenes:
  - name: hostile
    when: hostile
    turns:
      - - text: "<script>alert(1)</script> <img src=x onerror=alert(2)> [click](javascript:alert(3))\n\n**bold** [click](javascript:alert(4))"
  - turns:
      - - tool: Bash
          input: {command: "ln -s /etc/passwd link.txt; echo fine > fine.txt; mkdir -p .claude && echo kept > .claude/kept.md"}
        - text: done
"##;

fn code(body: &Value) -> &str {
    body["code"].as_str().unwrap_or("no code")
}

#[tokio::test]
async fn wrong_requests_are_answered_clearly_and_change_nothing() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let (status, body) =
        server.post("/v1/executions", json!({"agent": "nobody", "inputs": {"prompt": "x"}})).await?;
    assert!(
        matches!(status, 404 | 422) && body.to_string().contains("claude"),
        "the known agents are named: {status} {body}"
    );
    let (status, body) = server.post_raw("/v1/executions", "{not json".into(), None).await?;
    assert_eq!(status, 400, "{body}");
    let (status, body) =
        server.post("/v1/executions", json!({"agent": "claude", "inputs": {"prompt": " "}})).await?;
    assert_eq!(status, 422, "{body}");
    let huge = "x".repeat(2 * 1024 * 1024);
    let (status, body) =
        server.post("/v1/executions", json!({"agent": "claude", "inputs": {"prompt": huge}})).await?;
    assert!(matches!(status, 413 | 422) && body.to_string().contains("file"), "{status} {body}");
    let (status, body) = server.post_raw("/v1/executions", "{}".into(), Some("wrong")).await?;
    assert_eq!(status, 401, "{body}");
    let unknown = "/v1/holds/01900000-0000-7000-8000-000000000000/decision";
    let (status, body) = server.post(unknown, json!({"action": "allow"})).await?;
    assert_eq!((status, code(&body)), (404, "not_found"), "{body}");
    let (status, body) = server.get("/v1/executions").await?;
    assert_eq!((status, body["items"].as_array().map(Vec::len)), (200, Some(0)), "nothing was started");
    Ok(())
}

#[tokio::test]
async fn an_expired_hold_is_gone_and_the_session_is_told() -> anyhow::Result<()> {
    let toml = "[agents.hasty]\n[agents.hasty.limits]\nhold = \"5s\"\n";
    let server = Server::start(Setup::script(SCRIPT).toml(toml)).await?;
    let id = server.ask("hasty", "anything").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    server.until_told(&id, "hold_expired").await?;
    let path = format!("/v1/holds/{}/decision", hold["id"].as_str().unwrap_or_default());
    let (status, body) = server.post(&path, json!({"action": "allow"})).await?;
    assert_eq!(status, 410, "{body}");
    server.until_status(&id, "finished").await?;
    assert!(!server.workspace(&id).join("fine.txt").exists(), "an expiry is never a decision to allow");
    check_log(&server.export(&id)?)
}

#[tokio::test]
async fn paths_out_of_the_workspace_lead_nowhere() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "anything").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    server.decide(&hold, json!({"action": "allow"})).await?;
    server.hold(&id, "reply", &[]).await?;
    for path in
        ["link.txt", "..%2f..%2fsecret", "%2e%2e/%2e%2e/holdpoint.db", "%2fetc%2fpasswd", "nothing.txt"]
    {
        let (status, body) = server.get(&format!("/v1/executions/{id}/files/{path}")).await?;
        assert!(matches!(status, 400 | 404), "{path}: {status} {body}");
        assert!(!body.to_string().contains("root:"), "{path} leaked");
    }
    // What the agent keeps for itself is there, and is no file of the conversation.
    assert!(server.workspace(&id).join(".claude/kept.md").exists());
    let (status, body) = server.get(&format!("/v1/executions/{id}/files/.claude/kept.md")).await?;
    assert_eq!((status, code(&body)), (404, "no_such_file"), "{body}");
    let (status, body) = server.get("/v1/executions/%FF").await?;
    assert_eq!((status, code(&body)), (400, "invalid_path"), "{body}");
    let (_, list) = server.get(&format!("/v1/executions/{id}/files")).await?;
    let listed: Vec<&str> =
        list["items"].as_array().into_iter().flatten().filter_map(|file| file["path"].as_str()).collect();
    assert_eq!(listed, ["fine.txt"]);
    let (status, body) = server.get(&format!("/v1/executions/{id}/files/fine.txt")).await?;
    assert_eq!((status, body), (200, json!("fine\n")));
    Ok(())
}

#[tokio::test]
async fn hostile_text_stays_text() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "hostile").await?;
    server.hold(&id, "reply", &[]).await?;
    let page = reqwest::Client::new()
        .get(format!("{}/executions/{id}", server.url))
        .bearer_auth(&server.token)
        .send()
        .await?;
    let policy = page.headers()["content-security-policy"].to_str()?.to_owned();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let html = page.text().await?.to_lowercase();
    assert!(html.contains("<strong>bold</strong>"), "Markdown is rendered");
    for live in ["<script>alert", "onerror=alert(2)>", "href=\"javascript:"] {
        assert!(!html.contains(live), "{live} is on the page");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_start_says_what_to_type() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let fails = |args: &[&str]| -> anyhow::Result<String> {
        let output = server.command(args).output()?;
        anyhow::ensure!(!output.status.success(), "{args:?} must fail");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let twice = fails(&["up", "--no-open", "--port", &free_port()?.to_string()])?;
    assert!(twice.contains("running already") && twice.contains("holdpoint down"), "{twice}");

    let toml = server.folder().join("holdpoint.toml");
    let good = std::fs::read_to_string(&toml)?;
    std::fs::write(&toml, "port = \"many\"\n")?;
    let malformed = fails(&["config", "check"])?;
    assert!(malformed.contains("holdpoint.toml:1") && malformed.contains("port"), "{malformed}");
    std::fs::write(&toml, "[agents.x]\ntitel = \"typo\"\n")?;
    let unknown = fails(&["config", "check"])?;
    assert!(unknown.contains("titel") && unknown.contains("title"), "{unknown}");
    std::fs::write(&toml, good)?;

    let unknown = fails(&["ask", "hello", "--agent", "nobody"])?;
    assert!(unknown.contains("nobody") && unknown.contains("claude"), "{unknown}");

    let elsewhere = |args: &[&str]| -> anyhow::Result<String> {
        let output = std::process::Command::new(holdpoint_tests::holdpoint()?).args(args).output()?;
        anyhow::ensure!(!output.status.success(), "{args:?} must fail");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let other = server.folder().join("other").display().to_string();
    let port = server.url.rsplit(':').next().unwrap_or_default().to_owned();
    let taken = elsewhere(&["up", "--no-open", "--data", &other, "--port", &port])?;
    assert!(taken.contains("taken by process") && taken.contains("--port"), "{taken}");
    let file = server.folder().join("script.yaml").join("data").display().to_string();
    let unwritable = elsewhere(&["up", "--no-open", "--data", &file, "--port", "0"])?;
    assert!(unwritable.contains("data folder") && unwritable.contains("--data"), "{unwritable}");
    let missing = server.folder().join("missing.toml");
    std::fs::write(&missing, "[claude]\ncli = \"/nowhere/claude\"\n")?;
    let missing = elsewhere(&[
        "up",
        "--no-open",
        "--data",
        &other,
        "--port",
        "0",
        "--config",
        &missing.display().to_string(),
    ])?;
    assert!(missing.contains("/nowhere/claude"), "{missing}");
    Ok(())
}

#[tokio::test]
async fn a_data_folder_that_was_moved_under_a_conversation_is_refused() -> anyhow::Result<()> {
    let mut server = Server::start(Setup::script(SCRIPT)).await?;
    let id = server.ask("claude", "anything").await?;
    server.hold(&id, "tool", &[]).await?;
    server.run(&["down"])?;
    server.kill()?;
    let (before, here) = (server.data.clone(), server.folder().join("moved"));
    std::fs::rename(&before, &here)?;
    server.data.clone_from(&here);
    let output = server.command(&["up", "--no-open", "--port", "0"]).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("was at") && text.contains("mv "), "{text}");
    std::fs::rename(&here, &before)?;
    server.data = before;
    server.up().await?;
    server.until_status(&id, "awaiting").await?;
    Ok(())
}
