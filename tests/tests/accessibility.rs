//! Every page as axe-core sees it, in a real browser: at desk and phone width, by day and at night.
//!
//! A serious or critical fault on any of them fails. What axe-core cannot decide by itself is for people to look at.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use holdpoint_model::{
    AgentDef, Digest, Lock,
    lock::{LOCK_VERSION, PluginLock, SourceLock, policy_digest, settings_digest},
};
use holdpoint_tests::{Server, Setup, axe_core, browser::Browser};
use serde_json::{Value, json};

const SCRIPT: &str = r###"
scenes:
  - when: "a tool"
    turns:
      - - text: "First:\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n```sh\necho draft\n```"
          tool: Bash
          input: {command: "echo draft > notes.txt"}
  - when: "an edit"
    turns:
      - - tool: Write
          input: {file_path: "notes.txt", content: "one\ntwo\n"}
  - when: "a question"
    turns:
      - - tool: AskUserQuestion
          input:
            questions:
              - question: "Which colour?"
                header: Colour
                multiSelect: false
                options: [{label: Red, description: warm}, {label: Blue, description: cool}]
              - question: "Which sizes?"
                header: Sizes
                multiSelect: true
                options: [{label: Small, description: little}, {label: Large, description: much}]
  - when: "a plan"
    turns:
      - - tool: EnterPlanMode
          input: {}
        - tool: Write
          input: {file_path: "{{plan_file}}", content: "## Plan\n\n1. Sketch\n2. Print\n\n- [ ] later"}
        - tool: ExitPlanMode
          input: {}
  - when: "a package"
    turns:
      - - text: "I read the tables."
          tool: mcp__holdpoint__suggest_dependency
          input: {name: pandas, kind: python, purpose: "Reading tables with many rows", workaround: "The csv module, row by row"}
        - text: "Done, slowly."
  - when: "a reply"
    turns:
      - - text: "What **next**?"
"###;

const FORM: &str = r##"
[agents.every]
title = "Every kind of field"
description = "To look at"
prompt = "{{title}} a reply"
form = [
    { type = "markdown", text = "# Welcome *here*" },
    { type = "html", text = "<b>bold</b> <a href='https://example.org'>a link</a>" },
    { type = "break" },
    { type = "hr" },
    { type = "errors" },
    { name = "title", label = "Title", required = true, pattern = "[a-z ]+", placeholder = "small letters" },
    { name = "key", label = "Key", type = "password", min_length = 4 },
    { name = "count", label = "Count", type = "number", min = 0, max = 9, step = 1 },
    { name = "notes", label = "Notes", type = "area", max_length = 500, rows = 3 },
    { name = "day", label = "Day", type = "date" },
    { name = "at", label = "At", type = "time" },
    { name = "when", label = "When", type = "datetime-local" },
    { name = "agree", label = "Agree", type = "checkbox", text = "I do" },
    { name = "where", label = "Where", type = "select", options = ["here", { name = "there", label = "Over there" }] },
    { name = "papers", label = "Papers", type = "file", multiple = true },
    { name = "folder", label = "Folder", type = "file", directory = true },
    { type = "submit", text = "Go" },
    { type = "cancel", text = "Back" },
    { type = "action", name = "how", value = "slowly", text = "Go slowly" },
]
"##;

/// Trying a release out: a session comes up and runs one command.
const VERIFIED_WITHIN: Duration = Duration::from_secs(120);

/// How often is asked how that goes.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Runs axe-core in the page and calls back with what it found.
const RUN: &str = "
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ['violations']}).then(
    found => done({violations: found.violations.map(fault => ({
        id: fault.id, impact: fault.impact, help: fault.help,
        at: fault.nodes.slice(0, 5).map(node => node.target.join(' ') + ': ' + node.failureSummary),
    }))}),
    error => done({failed: String(error)}),
);";

/// What is wrong with the page that is shown, one line for each fault.
async fn faults(browser: &Browser, axe: &str) -> anyhow::Result<Vec<String>> {
    browser.client.execute(axe, vec![]).await?;
    let found = browser.client.execute_async(RUN, vec![]).await?;
    let violations = found["violations"].as_array().with_context(|| format!("axe-core: {found}"))?;
    let grave = violations.iter().filter(|fault| {
        let impact = fault["impact"].as_str().unwrap_or_default();
        impact == "serious" || impact == "critical"
    });
    Ok(grave.map(|fault| format!("{} ({}): {:#}", fault["id"], fault["help"], fault["at"])).collect())
}

/// What a release of these agents is made of.
fn lock(agents: &BTreeMap<String, AgentDef>, revision: &str) -> Lock {
    let of = |name: &str, revision: &str| SourceLock {
        from: format!("https://git.example.org/team/{name}.git"),
        reference: Some("main".into()),
        folder: None,
        revision: revision.repeat(40),
    };
    Lock {
        version: LOCK_VERSION,
        holdpoint: "0.1.0".into(),
        claude_cli: "2.1.330".into(),
        settings: settings_digest(agents),
        policy: policy_digest(agents),
        base: None,
        dependencies: Some(Digest::of_bytes(b"requests")),
        configuration: Some(Digest::of_bytes(revision.as_bytes())),
        image: None,
        sources: [("master", "7"), ("project", revision)]
            .map(|(name, it)| (name.into(), of(name, it)))
            .into(),
        plugins: vec![PluginLock {
            marketplace: "tools".into(),
            plugin: Some("review".into()),
            from: "https://git.example.org/tools".into(),
            revision: revision.repeat(40),
        }],
    }
}

fn ok((status, answer): (u16, Value)) -> anyhow::Result<Value> {
    ensure!(status == 200, "{status}: {answer}");
    Ok(answer)
}

async fn begin(server: &Server, lock: &Lock) -> anyhow::Result<u64> {
    let begun = ok(server.post("/v1/releases", json!({"lock": lock})).await?)?;
    begun["number"].as_u64().context("a number")
}

/// Begins a release, tries it out, and makes it current.
async fn deploy(server: &Server, lock: &Lock) -> anyhow::Result<()> {
    let number = begin(server, lock).await?;
    let deadline = Instant::now() + VERIFIED_WITHIN;
    loop {
        let seen = ok(server.post(&format!("/v1/releases/{number}/verify"), json!({})).await?)?;
        match seen["state"].as_str() {
            Some("running") if Instant::now() < deadline => tokio::time::sleep(LOOK_EVERY).await,
            Some("passed") => break,
            _ => bail!("release {number} was tried out: {seen}"),
        }
    }
    ok(server.post(&format!("/v1/releases/{number}/activate"), json!({})).await?)?;
    Ok(())
}

/// A server with a conversation at each kind of hold and one that is over, and all pages: what they are called in
/// pictures, and their addresses.
async fn with_everything() -> anyhow::Result<(Server, Vec<(String, String)>)> {
    let server = Server::start(Setup::script(SCRIPT).toml(FORM)).await?;
    // These two are older than any release.
    let before = server.ask("claude", "a reply").await?;
    server.hold(&before, "reply", &[]).await?;
    let inputs = json!({"title": "form", "where": "here"});
    let (status, form) = server.post("/v1/executions", json!({"agent": "every", "inputs": inputs})).await?;
    ensure!(status == 201, "{status}: {form}");
    let mut agents = BTreeMap::new();
    for id in [&before, form["id"].as_str().context("an id")?] {
        let created = &server.export(id)?[0]["data"];
        let definition = serde_json::from_value::<AgentDef>(created["definition"].clone())?;
        agents.insert(created["agent"].as_str().context("an agent")?.to_owned(), definition);
    }
    for revision in ["1", "2"] {
        deploy(&server, &lock(&agents, revision)).await?;
    }
    begin(&server, &lock(&agents, "3")).await?;
    let why =
        json!({"why": "dependencies/requirements.txt:3: there is no requests that is >=2.28 and <2.27"});
    ok(server.post("/v1/releases/3/fail", why).await?)?;
    let mut pages: Vec<(String, String)> = [
        ("home", "/"),
        ("start", "/agents/claude"),
        ("form", "/agents/every"),
        ("list", "/executions"),
        ("list-nothing", "/executions?q=nothing"),
        ("inbox", "/inbox"),
        ("account", "/account"),
        ("people", "/people"),
        ("audit", "/people/audit"),
        ("analytics", "/analytics?rehearsals=1"),
        ("files", "/files"),
        ("operations", "/operations"),
        ("releases", "/releases"),
        ("release-earlier", "/releases/1"),
        ("release-current", "/releases/2"),
        ("release-failed", "/releases/3"),
        ("api", "/api"),
        ("unknown", "/nowhere"),
    ]
    .map(|(name, page)| (name.to_owned(), page.to_owned()))
    .into();
    pages.push(("older".to_owned(), format!("/executions/{before}")));
    for (ask, kind) in [
        ("a package", "reply"),
        ("a tool", "tool"),
        ("an edit", "tool"),
        ("a question", "question"),
        ("a plan", "plan"),
        ("a reply", "reply"),
    ] {
        let id = server.ask("claude", ask).await?;
        server.hold(&id, kind, &[]).await?;
        pages.push((ask.replace(' ', "-"), format!("/executions/{id}")));
    }
    let over = server.ask("claude", "a tool").await?;
    let hold = server.hold(&over, "tool", &[]).await?;
    server.decide(&hold, json!({"action": "allow"})).await?;
    server.hold(&over, "reply", &[]).await?;
    let (status, answer) = server.post(&format!("/v1/executions/{over}/finish"), json!({})).await?;
    ensure!(status < 300, "{status}: {answer}");
    server.until_status(&over, "finished").await?;
    for (name, of) in [
        ("finished", ""),
        ("fork", "/fork"),
        ("session", "/session"),
        ("share", "/share"),
        ("events", "/events"),
        ("replay", "/replay"),
    ] {
        pages.push((name.to_owned(), format!("/executions/{over}{of}")));
    }
    let (_, people) = server.get("/v1/users").await?;
    let people: Option<&Value> = people["items"].as_array().and_then(|people| people.first());
    let one = people.and_then(|one| one["id"].as_str()).context("a user")?;
    pages.push(("person".to_owned(), format!("/people/{one}")));
    Ok((server, pages))
}

#[tokio::test]
async fn no_page_has_a_serious_fault() -> anyhow::Result<()> {
    let axe = std::fs::read_to_string(axe_core()?)?;
    let (server, pages) = with_everything().await?;
    // Cookies are for one name, and the link has this one.
    let home = server.url.replace("127.0.0.1", "localhost");
    let link = server.first_link.clone().context("no link")?;
    let mut wrong = Vec::new();
    for (width, height, dark) in [(1280, 900, false), (1280, 900, true), (390, 844, false), (390, 844, true)]
    {
        let browser = Browser::open(width, height, dark).await?;
        let mut look = async |page: &str| -> anyhow::Result<()> {
            for fault in faults(&browser, &axe).await? {
                wrong.push(format!("{page} at {width} px{}: {fault}", if dark { ", dark" } else { "" }));
            }
            Ok(())
        };
        browser.client.goto(&format!("{home}/login")).await?;
        look("/login").await?;
        if width == 1280 && !dark {
            browser.client.goto(&link).await?;
            look("/welcome").await?;
            browser.welcome().await?;
        } else {
            browser.fill("form#login [name=name]", "grace").await?;
            browser.fill("form#login [name=password]", "a long enough password").await?;
            browser.click("form#login button[type=submit]").await?;
            browser.see("body[data-page=home]").await?;
        }
        for (name, page) in &pages {
            browser.client.goto(&format!("{home}{page}")).await?;
            browser.see("main").await?;
            look(page).await?;
            let (size, light) =
                (if width > 1000 { "desk" } else { "phone" }, if dark { "dark" } else { "light" });
            browser.shot(&format!("page-{name}-{size}-{light}")).await?;
        }
        browser.close().await?;
    }
    ensure!(wrong.is_empty(), "{} serious faults:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}
