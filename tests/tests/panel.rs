//! A whole conversation in a real browser, at desk and at phone width. Pictures are kept in the
//! target folder, to be looked at.

use holdpoint_tests::{PATIENCE, Server, Setup, browser::Browser, check_log, of_kind};

const SCRIPT: &str = r###"
scenes:
  - turns:
      - - text: "Hello! I will write a small file, ask about it, and then propose a plan.\n\nWhat should I **call** the file?"
      - - think: "They want notes. A draft first, then ask before anything else."
          text: "I begin with a draft."
          tool: Bash
          input: {command: "echo draft > notes.txt"}
        - text: "Now I would clean up."
          tool: Bash
          input: {command: "rm -rf old-notes"}
        - text: "Two questions before I go on."
          tool: AskUserQuestion
          input:
            questions:
              - question: "Which colour?"
                header: Colour
                multiSelect: false
                options: [{label: Red, description: warm and loud}, {label: Blue, description: cool and quiet}]
              - question: "Which sizes?"
                header: Sizes
                multiSelect: true
                options: [{label: Small, description: fits a pocket}, {label: Large, description: fits a wall}]
        - tool: EnterPlanMode
          input: {}
        - tool: Write
          input:
            file_path: "{{plan_file}}"
            content: "## Plan\n\n1. Sketch it in the chosen colour.\n2. Print it in both sizes.\n\n| step | time |\n| --- | --- |\n| sketch | 1 h |\n| print | 2 h |"
        - tool: ExitPlanMode
          input: {}
        - text: "All done. The notes are in `notes.txt`:\n\n| what | where |\n| --- | --- |\n| notes | notes.txt |"
"###;

async fn open(selector: &str, browser: &Browser) -> anyhow::Result<()> {
    // A summary opens its part of the form; it may be open already.
    browser.click(&format!("{selector} > summary")).await
}

/// The server by the name that the link has: cookies are for one name.
fn home(server: &Server) -> String {
    server.url.replace("127.0.0.1", "localhost")
}

async fn whole(width: u32, height: u32, dark: bool, name: &str) -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let link = server.first_link.clone().ok_or_else(|| anyhow::anyhow!("no link:\n{}", server.output()))?;
    let browser = Browser::open(width, height, dark).await?;
    let shot = |step: &str| format!("{name}-{step}");

    browser.client.goto(&link).await?;
    browser.see("body[data-page=welcome]").await?;
    browser.shot(&shot("01-welcome")).await?;
    browser.welcome().await?;
    browser.shot(&shot("02-home")).await?;

    browser.click("a[data-agent=claude]").await?;
    browser.fill("form#start [name=prompt]", "Make some notes, please.").await?;
    browser.shot(&shot("03-start")).await?;
    browser.click("button[data-action=start]").await?;
    browser.see("body[data-page=conversation]").await?;

    browser.see("[data-kind=reply][data-state=open]").await?;
    browser.shot(&shot("04-reply")).await?;
    browser.fill("#composer-form textarea[name=text]", "Call it notes.txt").await?;
    browser.click("#composer-form button[data-action=send]").await?;

    let tool = "[data-hold][data-kind=tool][data-state=open]";
    browser.see(tool).await?;
    browser.read("echo draft").await?;
    browser.shot(&shot("05-tool")).await?;
    open(&format!("{tool} details[data-part=edit]"), &browser).await?;
    browser.fill(&format!("{tool} textarea[name=edited]"), "echo edited in the browser > notes.txt").await?;
    browser.shot(&shot("06-edit")).await?;
    browser.click(&format!("{tool} button[data-action=allow-edited]")).await?;

    browser.read("rm -rf old-notes").await?;
    browser.see(tool).await?;
    open(&format!("{tool} details[data-part=deny]"), &browser).await?;
    browser
        .fill(&format!("{tool} details[data-part=deny] textarea[name=message]"), "Keep the old notes.")
        .await?;
    browser.click(&format!("{tool} button[data-action=deny]")).await?;

    let question = "[data-hold][data-kind=question][data-state=open]";
    browser.see(question).await?;
    browser.shot(&shot("07-question")).await?;
    browser.click(&format!("{question} input[name=q0][value=Blue]")).await?;
    browser.click(&format!("{question} input[name=q1][value=Large]")).await?;
    browser.click(&format!("{question} button[data-action=answer]")).await?;

    let plan = "[data-hold][data-kind=plan][data-state=open]";
    browser.see(plan).await?;
    // Rendered, in the card itself.
    let rendered = browser.see(&format!("{plan} .plan")).await?;
    let text = rendered.text().await?;
    assert!(text.contains("Sketch it in the chosen colour.") && !text.contains("##"), "{text}");
    browser.see(&format!("{plan} .plan table")).await?;
    browser.shot(&shot("08-plan")).await?;
    browser.click(&format!("{plan} button[data-action=allow]")).await?;

    browser.read("All done.").await?;
    browser.see("[data-kind=reply][data-state=open]").await?;
    browser.shot(&shot("09-done")).await?;
    browser.click("button[data-action=finish]").await?;
    browser.see("#outcome[data-outcome=finished]").await?;
    browser.shot(&shot("10-finished")).await?;

    browser.client.goto(&format!("{}/inbox", home(&server))).await?;
    browser.see("body[data-page=inbox]").await?;
    browser.shot(&shot("11-inbox-empty")).await?;
    browser.client.goto(&format!("{}/executions", home(&server))).await?;
    browser.see("[data-execution][data-status=finished]").await?;
    browser.shot(&shot("12-list")).await?;
    browser.close().await?;

    let (_, list) = server.get("/v1/executions").await?;
    let id = list["items"][0]["id"].as_str().unwrap_or_default().to_owned();
    assert_eq!(std::fs::read_to_string(server.workspace(&id).join("notes.txt"))?, "edited in the browser\n");
    let events = server.export(&id)?;
    check_log(&events)?;
    let answered = of_kind(&events, "hold_answered");
    assert_eq!(answered.len(), 5);
    assert!(answered.iter().all(|event| event["data"]["decision"]["by"]["name"] == "grace"));
    assert!(answered.iter().all(|event| event["data"]["decision"]["by"]["channel"] == "browser"));
    Ok(())
}

#[tokio::test]
async fn a_conversation_at_a_desk() -> anyhow::Result<()> {
    whole(1280, 900, false, "desk").await
}

#[tokio::test]
async fn a_conversation_on_a_phone_at_night() -> anyhow::Result<()> {
    whole(390, 844, true, "phone").await
}

#[tokio::test]
async fn the_page_goes_on_by_itself_after_a_restart() -> anyhow::Result<()> {
    let mut server = Server::start(Setup::script(SCRIPT)).await?;
    let link = server.first_link.clone().ok_or_else(|| anyhow::anyhow!("no link"))?;
    let browser = Browser::open(1280, 900, false).await?;
    browser.client.goto(&link).await?;
    browser.welcome().await?;
    let id = server.ask("claude", "begin").await?;
    let reply = server.hold(&id, "reply", &[]).await?;
    browser.client.goto(&format!("{}/executions/{id}", home(&server))).await?;
    browser.see("main[data-connection=live]").await?;
    server.kill()?;
    browser.see("main[data-connection=reconnecting]").await?;
    // Said a moment later: a short break is not worth a word.
    browser.see("#connection").await?;
    browser.shot("reconnecting").await?;
    server.up().await?;
    server.decide(&reply, serde_json::json!({"action": "reply", "message": "from elsewhere"})).await?;
    // Nobody touched the page.
    browser.see("[data-hold][data-kind=tool][data-state=open]").await?;
    browser.see("main[data-connection=live]").await?;
    browser.close().await
}

#[tokio::test]
async fn a_conversation_branches_off_in_the_browser() -> anyhow::Result<()> {
    let agents = "[agents.quick]\ntitle = \"Quick\"\nlinger = \"0s\"\n";
    let script =
        "scenes:\n  - turns:\n      - - text: \"One: {{prompt}}\"\n      - - text: \"Two: {{prompt}}\"\n";
    let server = Server::start(Setup::script(script).toml(agents)).await?;
    let link = server.first_link.clone().ok_or_else(|| anyhow::anyhow!("no link"))?;
    let id = server.ask("quick", "begin").await?;
    let reply = server.hold(&id, "reply", &[]).await?;
    let points = |least: usize| {
        let (server, id, path) = (&server, id.clone(), format!("/v1/executions/{id}/checkpoints"));
        async move {
            let deadline = std::time::Instant::now() + PATIENCE;
            while std::time::Instant::now() < deadline {
                let (_, body) = server.get(&path).await?;
                if body["items"].as_array().is_some_and(|items| items.len() >= least) {
                    return Ok(());
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            anyhow::bail!("no checkpoint:\n{}", server.story(&id).await)
        }
    };
    points(1).await?;
    server.decide(&reply, serde_json::json!({"action": "reply", "message": "this way"})).await?;
    server.until(&id, "two turns", |execution| execution["usage"]["turns"] == 2).await?;
    points(2).await?;

    let browser = Browser::open(390, 844, true).await?;
    browser.client.goto(&link).await?;
    browser.welcome().await?;
    browser.client.goto(&format!("{}/executions/{id}", home(&server))).await?;
    browser.click(&format!("a[href='/executions/{id}/fork']")).await?;
    browser.see("body[data-page=fork]").await?;
    browser.read("One: begin").await?;
    browser.click("form#fork label.option:first-of-type").await?;
    browser.fill("form#fork [name=message]", "that way").await?;
    browser.shot("phone-13-fork").await?;
    browser.click("button[data-action=fork]").await?;
    browser.see("body[data-page=conversation]").await?;
    browser.read("Two: that way").await?;
    browser.read("Goes on from an earlier point of another conversation").await?;
    browser.shot("phone-14-forked").await?;
    browser.close().await
}
