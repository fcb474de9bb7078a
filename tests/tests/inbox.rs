//! The pages that people look at all day, in a real browser and by keyboard: an inbox of several, and a conversation
//! that is looked back at. Pictures are kept in the target folder, to be looked at.

use holdpoint_tests::{PATIENCE, Server, Setup, browser::Browser, check_log, of_kind};
use serde_json::{Value, json};

const SCRIPT: &str = r###"
scenes:
  - turns:
      - - think: "A file is wanted. I ask before I write it."
          text: "I write down what you told me."
          tool: Bash
          input: {command: "echo '{{prompt}}' > notes.txt && echo written", description: "Keep the note"}
        - text: "Done. It is in `notes.txt`:\n\n| what | where |\n| --- | --- |\n| the note | notes.txt |"
"###;

fn home(server: &Server) -> String {
    server.url.replace("127.0.0.1", "localhost")
}

async fn press(browser: &Browser, keys: &str) -> anyhow::Result<()> {
    for key in keys.chars() {
        browser.client.active_element().await?.send_keys(&key.to_string()).await?;
    }
    Ok(())
}

/// Waits until a script in the page says yes.
async fn until(browser: &Browser, what: &str, script: &str) -> anyhow::Result<()> {
    let deadline = std::time::Instant::now() + PATIENCE;
    while browser.client.execute(script, Vec::new()).await? != Value::Bool(true) {
        if std::time::Instant::now() > deadline {
            let shot = browser.shot("failed").await?;
            anyhow::bail!("{what} does not come; {}", shot.display());
        }
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    Ok(())
}

async fn whole(width: u32, height: u32, dark: bool, name: &str) -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let link = server.first_link.clone().ok_or_else(|| anyhow::anyhow!("no link:\n{}", server.output()))?;
    let browser = Browser::open(width, height, dark).await?;
    let shot = |step: &str| format!("{name}-{step}");
    browser.client.goto(&link).await?;
    browser.welcome().await?;
    let mut ids = Vec::new();
    for errand in ["Buy milk", "Water the plants", "Call the plumber about the kitchen sink"] {
        let id = server.ask("claude", errand).await?;
        server.hold(&id, "tool", &[]).await?;
        ids.push(id);
    }

    browser.client.goto(&format!("{}/inbox", home(&server))).await?;
    until(&browser, "the count in the title", "return document.title === '(3) Inbox · Holdpoint'").await?;
    browser.shot(&shot("20-inbox")).await?;

    // Two of three by keyboard alone: choose, select, to the bar, allow.
    press(&browser, "jxjx").await?;
    browser.see("#several button[data-action=allow-several]").await?;
    browser.shot(&shot("21-inbox-selected")).await?;
    press(&browser, "D").await?;
    browser.see("#several textarea").await?;
    browser.shot(&shot("22-inbox-deny-several")).await?;
    press(&browser, "\u{e00c}").await?;
    press(&browser, "A").await?;
    press(&browser, "\u{e007}").await?;
    browser.see("body[data-page=several]").await?;
    browser.read("2 allowed").await?;
    browser.shot(&shot("23-several")).await?;
    for id in &ids[..2] {
        server.hold(id, "reply", &[]).await?;
    }

    browser.client.goto(&format!("{}/inbox?kind=tool", home(&server))).await?;
    let card = browser.see("[data-hold][data-kind=tool]").await?;
    press(&browser, "jt").await?;
    browser.read("Yours").await?;
    press(&browser, "s").await?;
    browser.see("button[data-action=snooze-4h]").await?;
    browser.shot(&shot("24-inbox-snooze")).await?;
    browser.click("button[data-action=snooze-4h]").await?;
    browser.see("#empty").await?;
    drop(card);
    browser.client.goto(&format!("{}/inbox?show=snoozed", home(&server))).await?;
    browser.see("button[data-action=wake]").await?;
    browser.shot(&shot("25-inbox-snoozed")).await?;
    browser.click("button[data-action=wake]").await?;
    browser.see("#empty").await?;
    let (_, mine) = server.get("/v1/holds?kind=tool").await?;
    assert_eq!(mine["items"][0]["assigned_to"]["name"], "grace");

    // A browser that is asked to tells whoever looks elsewhere.
    browser.client.goto(&format!("{}/executions", home(&server))).await?;
    browser.client.goto(&format!("{}/inbox", home(&server))).await?;
    let pretend = "window.told = []; document.hasFocus = () => !window.away;
        window.Notification = class { static permission = 'granted';
            static requestPermission() { return Promise.resolve('granted'); }
            constructor(title, options) { window.told.push([title, options.body]); }
            addEventListener() {} close() {} };
        document.getElementById('notices').disabled = false";
    browser.client.execute(pretend, Vec::new()).await?;
    browser.click("button#notices").await?;
    browser.read("Stop notifying me here").await?;
    browser.client.execute("window.away = true; window.dispatchEvent(new Event('blur'))", Vec::new()).await?;
    let fourth = server.ask("claude", "Something private").await?;
    server.hold(&fourth, "tool", &[]).await?;
    until(&browser, "a notification", "return window.told.length > 0").await?;
    let told = browser.client.execute("return window.told", Vec::new()).await?;
    assert_eq!(told, json!([["Holdpoint", "Claude wants to run a command"]]));

    // Looking back.
    let place = format!("{}/executions/{}", home(&server), ids[0]);
    browser.client.goto(&place).await?;
    browser.read("Done. It is in").await?;
    browser.shot(&shot("26-conversation")).await?;
    let link =
        browser.client.find(fantoccini::Locator::Css(".answer .permalink")).await?.attr("href").await?;
    browser.client.goto(&format!("{}{}", home(&server), link.unwrap_or_default())).await?;
    browser.see(".answer:target").await?;
    browser.shot(&shot("27-permalink")).await?;
    browser.client.goto(&format!("{place}/replay")).await?;
    browser.see("button[data-action=play]").await?;
    browser.read("Step 1 of").await?;
    press(&browser, "\u{e014}\u{e014}\u{e014}").await?;
    browser.read("Step 4 of").await?;
    press(&browser, "\u{e012}").await?;
    browser.read("Step 3 of").await?;
    browser.shot(&shot("28-replay")).await?;
    press(&browser, " ").await?;
    until(&browser, "the end of the replay", "return !document.querySelector('a[data-action=on][href]')")
        .await?;
    browser.shot(&shot("29-replayed")).await?;
    browser.client.goto(&format!("{place}/events")).await?;
    browser.click("[data-event=hold_opened] summary").await?;
    browser.shot(&shot("30-events")).await?;

    browser.client.goto(&format!("{}/files?q=NOTES", home(&server))).await?;
    browser.see("a[data-file='notes.txt']").await?;
    browser.shot(&shot("31-files")).await?;
    browser.client.goto(&format!("{}/operations", home(&server))).await?;
    browser.see("[data-worker]").await?;
    browser.shot(&shot("32-operations")).await?;
    browser.close().await?;

    for (id, answered) in [(&ids[0], 1), (&ids[2], 0)] {
        let events = server.export(id)?;
        check_log(&events)?;
        let decided = of_kind(&events, "hold_answered");
        assert_eq!(decided.len(), answered);
        assert_eq!(of_kind(&events, "hold_assigned").len(), 1 - answered);
    }
    Ok(())
}

#[tokio::test]
async fn an_inbox_of_several_at_a_desk() -> anyhow::Result<()> {
    whole(1280, 900, false, "desk").await
}

#[tokio::test]
async fn an_inbox_of_several_on_a_phone_at_night() -> anyhow::Result<()> {
    whole(390, 844, true, "phone").await
}
