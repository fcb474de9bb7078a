//! Entry forms with every kind of element, and files that come in chunks.

use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, ensure};
use holdpoint_model::{Actor, AgentDef, Channel, ExecutionId, SessionId, UploadId, UserId, event::Created};
use holdpoint_store::{CreateOutcome, Store, StoreOptions, TakeUpload};
use holdpoint_tests::{Server, Setup, browser::Browser, of_kind};
use reqwest::Method;
use serde_json::{Value, json};

const SCRIPT: &str = "scenes:\n  - turns:\n      - - text: \"Understood.\"\n";

const FORM: &str = r##"
[agents.every]
title = "Every kind"
prompt = "{{title}} {{count}} {{day}} {{at}} {{when}} {{agree}} {{where}} {{how}} {{papers}} {{key}} {{notes}}"
form = [
    { type = "markdown", text = "# Welcome *here*" },
    { type = "html", text = "<b>bold</b><script>alert(1)</script><img src=x onerror=alert(2)>" },
    { type = "break" },
    { type = "hr" },
    { type = "errors" },
    { name = "title", label = "Title", required = true, pattern = "[a-z]+", placeholder = "small letters", size = 20 },
    { name = "key", label = "Key", type = "password", min_length = 4 },
    { name = "count", label = "Count", type = "number", min = 0, max = 9, step = 1 },
    { name = "notes", label = "Notes", type = "area", max_length = 500, rows = 3, cols = 40 },
    { name = "day", label = "Day", type = "date", min = "2020-01-01", max = "2030-01-01" },
    { name = "at", label = "At", type = "time", min = "08:00", max = "18:00" },
    { name = "when", label = "When", type = "datetime-local", min = "2020-01-01T00:00" },
    { name = "agree", label = "Agree", type = "checkbox", text = "I do" },
    { name = "where", label = "Where", type = "select", options = ["here", { name = "there", label = "Over there" }] },
    { name = "papers", label = "Papers", type = "file", multiple = true },
    { type = "submit", text = "Go" },
    { type = "cancel", text = "Back" },
    { type = "action", name = "how", value = "slowly", text = "Go slowly" },
]
"##;

/// A request with any body, as status, headers and JSON.
async fn call(
    server: &Server,
    method: Method,
    path: &str,
    body: impl Into<reqwest::Body>,
) -> anyhow::Result<(u16, reqwest::header::HeaderMap, Value)> {
    let request = reqwest::Client::new().request(method, format!("{}{path}", server.url));
    let answer = request.bearer_auth(&server.token).body(body).send().await?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Ok((status, headers, serde_json::from_str(&answer.text().await?).unwrap_or_default()))
}

async fn begin(server: &Server, name: &str, size: u64) -> anyhow::Result<String> {
    let (status, upload) = server.post("/v1/uploads", json!({"name": name, "size": size})).await?;
    ensure!(status == 201, "{status}: {upload}");
    Ok(upload["id"].as_str().context("an id")?.to_owned())
}

async fn put(server: &Server, id: &str, offset: u64, bytes: &str) -> anyhow::Result<(u16, Value)> {
    let path = format!("/v1/uploads/{id}?offset={offset}");
    let (status, _, body) = call(server, Method::PUT, &path, bytes.to_owned()).await?;
    Ok((status, body))
}

/// A whole upload.
async fn uploaded(server: &Server, name: &str, content: &str) -> anyhow::Result<String> {
    let id = begin(server, name, content.len() as u64).await?;
    let (status, body) = put(server, &id, 0, content).await?;
    ensure!(status == 200 && body["complete"] == true, "{status}: {body}");
    Ok(id)
}

async fn start(server: &Server, body: Value) -> anyhow::Result<(u16, Value)> {
    server.post("/v1/executions", body).await
}

fn id_of(body: &Value) -> anyhow::Result<String> {
    Ok(body["id"].as_str().with_context(|| format!("no id in {body}"))?.to_owned())
}

#[tokio::test]
async fn every_kind_goes_in_and_every_mistake_comes_back() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT).toml(FORM)).await?;
    let wrong = json!({"title": "No!", "key": "abc", "count": "10", "notes": "x".repeat(501), "day": "2031-01-01",
        "at": "07:59", "when": "2019-12-31T23:59", "agree": "maybe", "where": "nowhere", "how": "fast",
        "papers": "/etc/passwd", "ghost": "boo"});
    let fields: Vec<String> = wrong.as_object().context("fields")?.keys().cloned().collect();
    let (status, problem) = start(&server, json!({"agent": "every", "inputs": wrong})).await?;
    assert_eq!(status, 422, "{problem}");
    let complained: Vec<&String> = problem["errors"].as_object().context("errors")?.keys().collect();
    assert_eq!(complained, fields.iter().collect::<Vec<_>>(), "{problem}");

    let (first, second) =
        (uploaded(&server, "a.txt", "first").await?, uploaded(&server, "docs/a.txt", "second").await?);
    let right = json!({"title": "fine", "key": "hunter2 secret", "count": "3", "notes": "two\nlines",
        "day": "2026-01-31", "at": "08:30", "when": "2026-01-31T08:30", "agree": "on", "where": "there", "how": "slowly"});
    let body = json!({"agent": "every", "inputs": right, "uploads": {"papers": [first, second]}});
    let (status, execution) = start(&server, body).await?;
    assert_eq!(status, 201, "{execution}");
    let id = id_of(&execution)?;
    assert_eq!(execution["inputs"]["papers"], "attachments/a.txt\nattachments/docs/a.txt");
    assert_eq!(execution["inputs"]["key"], Value::Null);
    server.hold(&id, "reply", &[]).await?;
    let workspace = server.workspace(&id);
    assert_eq!(std::fs::read_to_string(workspace.join("attachments/a.txt"))?, "first");
    assert_eq!(std::fs::read_to_string(workspace.join("attachments/docs/a.txt"))?, "second");

    // The session has the password, and nobody else.
    let secret = server.data.join(format!("executions/{id}/home/.holdpoint/key"));
    assert_eq!(std::fs::read_to_string(&secret)?, "hunter2 secret");
    assert_eq!(std::fs::metadata(&secret)?.mode() & 0o777, 0o600);
    let events = server.export(&id)?;
    assert!(!format!("{events:?}").contains("hunter2"));
    let message = of_kind(&events, "message_queued").first().map(|event| event["data"].to_string());
    let message = message.unwrap_or_else(|| format!("{events:?}"));
    assert!(message.contains("fine 3 2026-01-31 08:30"), "{message}");
    assert!(message.contains("~/.holdpoint/key"), "{message}");
    for file in ["holdpoint.db", "holdpoint.db-wal"] {
        let bytes = std::fs::read(server.data.join(file)).unwrap_or_default();
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{file} has the password");
    }

    // Taken is taken.
    let (_, list) = server.get("/v1/uploads").await?;
    assert_eq!(list["items"], json!([]));
    let again = json!({"agent": "claude", "inputs": {"prompt": "go"}, "uploads": {"": [first]}});
    assert_eq!(start(&server, again).await?.0, 422);
    Ok(())
}

#[tokio::test]
async fn what_does_not_fit_an_upload_is_refused() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    for name in
        ["", "..", "../a", "/etc/passwd", "a/../../b", "a//b", "a\\b", "a\u{0}", "a\nb", &"x".repeat(2_000)]
    {
        let (status, problem) = server.post("/v1/uploads", json!({"name": name, "size": 1})).await?;
        assert_eq!(status, 422, "{name:?}: {problem}");
    }
    for (size, expected) in
        [(json!(1_u64 << 40), 413), (json!(u64::MAX), 413), (json!(-1), 422), (json!("1"), 422)]
    {
        let (status, problem) = server.post("/v1/uploads", json!({"name": "a", "size": size})).await?;
        assert_eq!(status, expected, "{problem}");
    }

    let id = begin(&server, "a.txt", 10).await?;
    let (status, problem) = put(&server, &id, 4, "later").await?;
    assert_eq!((status, &problem["code"], &problem["received"]), (409, &json!("wrong_offset"), &json!(0)));
    assert_eq!(put(&server, &id, 0, "0123").await?.1["received"], 4);
    assert_eq!(put(&server, &id, 0, "0123").await?.1["received"], 4, "the same again");
    assert_eq!(put(&server, &id, 2, "2345").await?.1["received"], 6, "some of it again, and more");
    let (status, problem) = put(&server, &id, 0, "0xx3").await?;
    assert_eq!((status, &problem["code"]), (409, &json!("different_content")));
    let (status, problem) = put(&server, &id, 6, "67890123").await?;
    assert_eq!((status, &problem["code"]), (413, &json!("too_large")));
    let (status, headers, _) = call(&server, Method::HEAD, &format!("/v1/uploads/{id}"), "").await?;
    assert_eq!((status, headers["upload-offset"].to_str()?), (200, "6"));
    assert_eq!(headers["upload-length"].to_str()?, "10");

    // Half a file starts nothing, nor does one that is named twice.
    let with = |ids: Value| json!({"agent": "claude", "inputs": {"prompt": "go"}, "uploads": {"": ids}});
    let (status, problem) = start(&server, with(json!([id]))).await?;
    assert_eq!(status, 422, "{problem}");
    assert!(problem.to_string().contains("6 of 10 bytes"), "{problem}");
    assert_eq!(put(&server, &id, 6, "6789").await?.1["complete"], true);
    assert_eq!(start(&server, with(json!([id, id]))).await?.0, 422);
    assert_eq!(start(&server, with(json!(["x"]))).await?.0, 422);
    let (_, problem) =
        start(&server, json!({"agent": "claude", "inputs": {"prompt": "go"}, "uploads": {"prompt": [id]}}))
            .await?;
    assert!(problem["errors"]["prompt"].is_string(), "{problem}");

    // Somebody else's is as good as not there.
    let token = server.run(&["token", "create", "--name", "Mallory", "--role", "admin"])?.trim().to_owned();
    let theirs = with(json!([id])).to_string();
    let (status, problem) = server.post_raw("/v1/executions", theirs, Some(&token)).await?;
    assert_eq!(status, 422, "{problem}");
    assert!(problem.to_string().contains("no upload"), "{problem}");
    let url = format!("{}/v1/uploads/{id}", server.url);
    for method in [Method::GET, Method::HEAD, Method::DELETE] {
        let foreign = reqwest::Client::new().request(method, &url).bearer_auth(&token);
        assert_eq!(foreign.send().await?.status().as_u16(), 404);
    }
    let foreign = reqwest::Client::new().put(format!("{url}?offset=10")).bearer_auth(&token).body("x");
    assert_eq!(foreign.send().await?.status().as_u16(), 404);

    // Names of one conversation do not collide, and what is given up is gone.
    let other = uploaded(&server, "a.txt", "other").await?;
    let gone = uploaded(&server, "gone.txt", "gone").await?;
    assert_eq!(call(&server, Method::DELETE, &format!("/v1/uploads/{gone}"), "").await?.0, 204);
    assert_eq!(call(&server, Method::GET, &format!("/v1/uploads/{gone}"), "").await?.0, 404);
    assert_eq!(put(&server, &gone, 4, "x").await?.0, 404);
    let (status, execution) = start(&server, with(json!([id, other]))).await?;
    assert_eq!(status, 201, "{execution}");
    let attachments = server.workspace(&id_of(&execution)?).join("attachments");
    assert_eq!(std::fs::read_to_string(attachments.join("a.txt"))?, "0123456789");
    assert_eq!(std::fs::read_to_string(attachments.join("a-2.txt"))?, "other");
    assert_eq!(std::fs::read_dir(server.data.join("uploads"))?.count(), 0, "nothing is left behind");
    Ok(())
}

#[tokio::test]
async fn a_request_that_comes_again_has_its_uploads_already() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = uploaded(&server, "a.txt", "once").await?;
    let body = json!({"agent": "claude", "inputs": {"prompt": "go"}, "uploads": {"": [id]}});
    let send = || async {
        let request = reqwest::Client::new().post(format!("{}/v1/executions", server.url)).json(&body);
        let answer = request.bearer_auth(&server.token).header("idempotency-key", "k").send().await?;
        anyhow::Ok((answer.status().as_u16(), answer.json::<Value>().await?))
    };
    let ((first, one), (second, two)) = (send().await?, send().await?);
    assert_eq!((first, second), (201, 200));
    assert_eq!(one["id"], two["id"]);
    Ok(())
}

fn high_water_kib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM")).context("no VmHWM")?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
}

#[tokio::test]
async fn two_gibibytes_come_in_chunks_with_flat_memory() -> anyhow::Result<()> {
    const SIZE: u64 = 2 << 30;
    const CHUNK: u64 = 64 << 20;
    const PIECE: usize = 1 << 20;
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let pid = server.pid().context("no process")?;
    let id = begin(&server, "big.bin", SIZE).await?;
    let before = high_water_kib(pid)?;
    let zeros = vec![0_u8; PIECE];
    for offset in (0..SIZE).step_by(usize::try_from(CHUNK)?) {
        let pieces = vec![zeros.clone(); usize::try_from(CHUNK)? / PIECE];
        let body = futures::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
        let path = format!("/v1/uploads/{id}?offset={offset}");
        let (status, _, upload) = call(&server, Method::PUT, &path, reqwest::Body::wrap_stream(body)).await?;
        ensure!(status == 200 && upload["received"] == offset + CHUNK, "{status}: {upload}");
    }
    let inode = std::fs::metadata(server.data.join("uploads").join(&id))?.ino();
    let body = json!({"agent": "claude", "inputs": {"prompt": "go"}, "uploads": {"": [id]}});
    let (status, execution) = start(&server, body).await?;
    let grown = high_water_kib(pid)? - before;
    ensure!(status == 201, "{status}: {execution}");
    println!("the server grew by {} MiB at most, from {} MiB", grown / 1024, before / 1024);
    assert!(grown < 64 * 1024, "the server grew by {grown} KiB");
    let id = id_of(&execution)?;
    let file = std::fs::metadata(server.workspace(&id).join("attachments/big.bin"))?;
    assert_eq!((file.len(), file.ino()), (SIZE, inode), "it is the same file, not a copy");
    // Nobody need wait for a checkpoint of it.
    server.post(&format!("/v1/executions/{id}/cancel"), json!({})).await?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_dies_forgets_nothing_that_came() -> anyhow::Result<()> {
    let mut server = Server::start(Setup::script(SCRIPT)).await?;
    let (half, whole) =
        (begin(&server, "half.txt", 10).await?, uploaded(&server, "whole.txt", "all of it").await?);
    put(&server, &half, 0, "01234").await?;
    let (_, me) = server.get("/v1/me").await?;
    server.kill()?;

    // As it is right after the commit of a conversation, when nothing was renamed yet.
    let store = Store::open(&server.data.join("holdpoint.db"), StoreOptions::default()).await?;
    let id = ExecutionId(uuid::Uuid::now_v7());
    let user: UserId = me["id"].as_str().context("an id")?.parse()?;
    let owner = Actor { user: Some(user), name: "operator".into(), channel: Channel::Api };
    let created = Created {
        agent: "claude".into(),
        definition: AgentDef::builtin(),
        title: "go".into(),
        owner,
        session: SessionId(uuid::Uuid::new_v4()),
        inputs: std::collections::BTreeMap::new(),
        rehearsal: true,
        forked_from: None,
        release: None,
    };
    let place = "attachments/whole.txt".to_owned();
    let take = TakeUpload { id: whole.parse::<UploadId>()?, owner: user, place: place.clone() };
    let made = store.create_with_uploads(id, created, "go".into(), vec![place], vec![take], None).await?;
    assert!(matches!(made, CreateOutcome::New(_)));
    store.close().await;

    server.up().await?;
    server.hold(&id.to_string(), "reply", &[]).await?;
    let file = server.workspace(&id.to_string()).join("attachments/whole.txt");
    assert_eq!(std::fs::read_to_string(file)?, "all of it");
    assert_eq!(server.get(&format!("/v1/uploads/{whole}")).await?.0, 404);
    assert_eq!(server.get(&format!("/v1/uploads/{half}")).await?.1["received"], 5);
    assert_eq!(put(&server, &half, 5, "56789").await?.1["complete"], true);
    Ok(())
}

#[tokio::test]
async fn a_form_with_every_kind_loses_nothing() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT).toml(FORM)).await?;
    let link = server.first_link.clone().context("no link")?;
    let browser = Browser::open(390, 844, true).await?;
    browser.client.goto(&link).await?;
    browser.welcome().await?;
    browser.click("a[data-agent=every]").await?;
    browser.see("form#start .prose b").await?;
    assert!(!browser.client.source().await?.contains("<script>alert"));
    browser.shot("form-1-empty").await?;

    let set = |name: &str, value: &str| {
        let script =
            "const f = document.querySelector(`#start [name=${arguments[0]}]`); f.value = arguments[1];";
        browser.client.execute(script, vec![json!(name), json!(value)])
    };
    browser.fill("#start [name=title]", "BIG").await?;
    browser.fill("#start [name=key]", "hunter2").await?;
    browser.fill("#start [name=notes]", "two\nlines").await?;
    browser.fill("#start [name=count]", "12").await?;
    for (name, value) in
        [("day", "2026-01-31"), ("at", "08:30"), ("when", "2026-01-31T08:30"), ("where", "there")]
    {
        set(name, value).await?;
    }
    browser.click("#start [name=agree]").await?;
    let paper = server.folder().join("paper.txt");
    std::fs::write(&paper, "a paper")?;
    browser.see("#start [name=papers]").await?.send_keys(&paper.display().to_string()).await?;
    browser.see("#start [data-upload=papers] li[data-uploaded]").await?;
    browser.shot("form-2-filled").await?;

    // What a browser would not let through by itself.
    browser.client.execute("document.querySelector('#start').noValidate = true", vec![]).await?;
    browser.click("button[data-action=start-as]").await?;
    browser.see("form#start [role=alert]").await?;
    browser.read("must look like small letters").await?;
    browser.read("must be at most 9").await?;
    browser.see("#field-title-error").await?;
    browser.see("#field-count-error").await?;
    browser.shot("form-3-wrong").await?;
    for (name, value) in [
        ("title", "BIG"),
        ("count", "12"),
        ("notes", "two\nlines"),
        ("day", "2026-01-31"),
        ("at", "08:30"),
        ("when", "2026-01-31T08:30"),
        ("where", "there"),
        ("key", ""),
    ] {
        let field = browser.see(&format!("#start [name={name}]")).await?;
        assert_eq!(field.prop("value").await?.as_deref(), Some(value), "{name}");
    }
    assert_eq!(browser.see("#start [name=agree]").await?.prop("checked").await?.as_deref(), Some("true"));
    browser.see("#start [data-upload=papers] li[data-uploaded] input:checked").await?;

    browser.fill("#start [name=title]", "small").await?;
    browser.fill("#start [name=key]", "hunter2").await?;
    browser.fill("#start [name=count]", "3").await?;
    browser.click("button[data-action=start-as]").await?;
    browser.see("body[data-page=conversation]").await?;
    browser.close().await?;

    let (_, list) = server.get("/v1/executions").await?;
    let id = id_of(&list["items"][0])?;
    let inputs = server.execution(&id).await?["inputs"].clone();
    assert_eq!(inputs["how"], "slowly");
    assert_eq!(inputs["papers"], "attachments/paper.txt");
    assert_eq!(inputs["key"], Value::Null);
    assert_eq!(std::fs::read_to_string(server.workspace(&id).join("attachments/paper.txt"))?, "a paper");
    Ok(())
}

#[tokio::test]
async fn an_upload_goes_on_by_itself_after_a_lost_connection() -> anyhow::Result<()> {
    let mut server = Server::start(Setup::script(SCRIPT).toml(FORM)).await?;
    let link = server.first_link.clone().context("no link")?;
    let browser = Browser::open(1280, 900, false).await?;
    browser.client.goto(&link).await?;
    browser.welcome().await?;
    browser.click("a[data-agent=every]").await?;

    // No two parts alike, and long enough that it is still on its way when the line is cut.
    let content: Vec<u8> = (0..32_u32 << 20).flat_map(u32::to_le_bytes).collect();
    let paper = server.folder().join("long.bin");
    std::fs::write(&paper, &content)?;
    browser.see("#start [name=papers]").await?.send_keys(&paper.display().to_string()).await?;
    browser.see("#start [data-upload=papers] progress").await?;
    let arrived = "return document.querySelector('#start [data-upload=papers] progress')?.value ?? -1";
    while browser.client.execute(arrived, vec![]).await? == json!(0) {}
    server.kill()?;
    browser.read("The connection is lost; this goes on by itself.").await?;
    browser.shot("form-4-cut").await?;
    server.up().await?;
    browser.see("#start [data-upload=papers] li[data-uploaded]").await?;

    browser.fill("#start [name=title]", "small").await?;
    browser.fill("#start [name=key]", "hunter2").await?;
    browser.click("#start [name=agree]").await?;
    browser.click("button[data-action=start-as]").await?;
    browser.see("body[data-page=conversation]").await?;
    browser.close().await?;
    let (_, list) = server.get("/v1/executions").await?;
    let id = id_of(&list["items"][0])?;
    assert!(std::fs::read(server.workspace(&id).join("attachments/long.bin"))? == content, "other bytes");
    Ok(())
}
