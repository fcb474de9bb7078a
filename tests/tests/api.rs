//! The API against its own document: schemathesis makes requests of `/v1/openapi.json`, fitting and not, and holds
//! every answer against what the document says of it.

use std::{process::Stdio, time::Instant};

use anyhow::{Context as _, Result, ensure};
use fantoccini::Locator;
use holdpoint_tests::{Server, Setup, browser::Browser, test_tool};
use serde_json::{Value, json};

/// Every conversation asks to run a command, and has made a file when its turn is over.
const SCRIPT: &str = r#"
scenes:
  - turns:
      - - tool: Bash
          input: {command: "echo made > made.txt"}
        - text: "There is a file now. What next?"
      - - text: "Done."
"#;

/// No more CLIs than that at once, however many conversations it starts.
const TOP: &str = "max_sessions = 2";

/// What schemathesis is told beside the document: which things there are, and what is sent otherwise.
///
/// - Most requests name something that is there, the others what nobody has.
/// - The log is fetched in pages: a stream of a conversation that waits has nothing to tell for as long as it
///   waits. Of `/v1/changes` the greeting is read. What streams tell and when they end is in `web/tests`.
/// - A schema does not say which agents there are, or that one answer fits a hold and another does not: what fits
///   the schema may be refused (403, 404, 409, 410, 413, 422), and never as malformed (400).
/// - Unknown parameters of a query are refused where there is a query, and passed over where there is none.
fn settings(things: &Things) -> Result<String> {
    let values = |ids: &[&str]| json!({ "values": ids });
    let bound = |name: &str, share: f64| json!({ "dictionary": name, "probability": share });
    let at = |path: &str, name: &str, share: f64| json!({ "include-path-regex": path, "parameters": { "path.id": bound(name, share) } });
    let settings = json!({
        "dictionaries": {
            "waiting": values(&[&things.at_tool, &things.at_reply]),
            "all": values(&[&things.at_tool, &things.at_reply, &things.finished]),
            "holds": values(&[&things.hold, &things.reply]),
            "users": values(&[&things.user]),
            "tokens": values(&things.tokens.iter().map(String::as_str).collect::<Vec<_>>()),
            "uploads": values(&[&things.upload]),
            "files": values(&["made.txt", "missing.txt"]),
        },
        "operations": [
            json!({
                "include-operation-id": "followExecution",
                "headers": { "Accept": "application/json" },
                "parameters": { "path.id": bound("all", 0.8) },
            }),
            json!({
                "include-operation-id": "getFile",
                "parameters": { "path.id": bound("all", 0.8), "path.path": bound("files", 0.5) },
            }),
            json!({ "include-operation-id": "followChanges", "max-stream-events": 1 }),
            at("^/v1/executions/\\{id\\}/(messages|interrupt|finish|cancel|fork)", "waiting", 0.6),
            at("^/v1/executions/\\{id\\}(/(calls|checkpoints|files|shares|worker|logs.*))?$", "all", 0.8),
            at("^/v1/holds/", "holds", 0.8),
            at("^/v1/tokens/", "tokens", 0.8),
            at("^/v1/uploads/", "uploads", 0.8),
            at("^/v1/users/", "users", 1.0),
        ],
        "checks": {
            "positive_data_acceptance": {
                "expected-statuses": ["2xx", 403, 404, 409, 410, 413, 422],
            },
        },
    });
    toml_of(&settings)
}

/// Which things are not asked for, although it has seen them in answers.
///
/// - Whoever tests is an administrator: somebody else is changed in their place, or what comes after would only be
///   refused. Every other endpoint may be asked about oneself.
/// - `exec` is only asked of a conversation that is over: beside a session it would run whatever words come up, on
///   this machine. What it answers then is in `tests/inside.rs`.
const HOOKS: &str = r#"
import os
import schemathesis

@schemathesis.hook
def before_call(context, case, kwargs):
    operation, path = case.operation.definition.raw["operationId"], case.path_parameters
    if operation == "changeUser" and path["id"] in ("me", os.environ["ONESELF"]):
        path["id"] = os.environ["SOMEBODY_ELSE"]
    if operation == "exec":
        path["id"] = os.environ["FINISHED"]
"#;

/// JSON is nearly TOML: tables are written out, what is in them is inline.
fn toml_of(settings: &Value) -> Result<String> {
    fn inline(value: &Value) -> String {
        match value {
            Value::Object(members) => {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("{name:?} = {}", inline(value))).collect();
                format!("{{ {} }}", members.join(", "))
            }
            Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
            other => other.to_string(),
        }
    }
    let members = settings.as_object().context("an object")?;
    Ok(members.iter().map(|(name, value)| format!("{name} = {}\n", inline(value))).collect())
}

/// What is there to be asked for.
#[derive(Debug)]
struct Things {
    /// Waits at a tool.
    at_tool: String,
    hold: String,
    /// Waits for a reply, and has made a file.
    at_reply: String,
    reply: String,
    finished: String,
    /// Whoever tests, and somebody else.
    oneself: String,
    user: String,
    tokens: Vec<String>,
    upload: String,
}

async fn created(server: &Server, path: &str, body: Value) -> Result<Value> {
    let (status, body) = server.post(path, body).await?;
    ensure!(status == 201, "{path}: {status} {body}");
    Ok(body)
}

fn id_of(value: &Value) -> Result<String> {
    Ok(value["id"].as_str().context("an id")?.to_owned())
}

impl Things {
    async fn make(server: &Server) -> Result<Self> {
        let finished = Self::with_file(server).await?.0;
        let (status, body) = server.post(&format!("/v1/executions/{finished}/finish"), json!({})).await?;
        ensure!(status == 200, "{status} {body}");
        server.until_status(&finished, "finished").await?;
        let (at_reply, reply) = Self::with_file(server).await?;
        let at_tool = server.ask("claude", "begin").await?;
        let hold = id_of(&server.hold(&at_tool, "tool", &[]).await?)?;
        let oneself = id_of(&server.get("/v1/me").await?.1)?;
        let user = created(server, "/v1/users", json!({ "name": "Otto", "role": "asker" })).await?;
        let mut tokens = Vec::new();
        for _ in 0..3 {
            let token = json!({ "name": "Tessa", "role": "viewer" });
            tokens.push(id_of(&created(server, "/v1/tokens", token).await?)?);
        }
        let upload = created(server, "/v1/uploads", json!({ "name": "a", "size": 10 })).await?;
        Ok(Self {
            at_tool,
            hold,
            at_reply,
            reply,
            finished,
            oneself,
            user: id_of(&user)?,
            tokens,
            upload: id_of(&upload)?,
        })
    }

    /// A conversation that has made its file, and its reply hold.
    async fn with_file(server: &Server) -> Result<(String, String)> {
        let id = server.ask("claude", "begin").await?;
        let tool = server.hold(&id, "tool", &[]).await?;
        server.decide(&tool, json!({ "action": "allow" })).await?;
        let reply = id_of(&server.hold(&id, "reply", &[]).await?)?;
        Ok((id, reply))
    }
}

/// Runs schemathesis over the document that the server serves; what it found, if it found anything. From a file: it
/// leaves out the endpoint that it has the document from.
fn schemathesis(server: &Server, document: &Value, things: &Things, args: &[&str]) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    std::fs::write(folder.join("schemathesis.toml"), settings(things)?)?;
    std::fs::write(folder.join("hooks.py"), HOOKS)?;
    std::fs::write(folder.join("openapi.json"), document.to_string())?;
    test_tool("schemathesis/schemathesis")?;
    let tools = test_tool("schemathesis")?;
    let output = std::process::Command::new("python3")
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(folder.join("schemathesis.toml"))
        .args(["run", "openapi.json"])
        .args(["--url", &server.url, "--header", &format!("Authorization: Bearer {}", server.token)])
        .args(args)
        .env("PYTHONPATH", std::env::join_paths([tools.as_path(), folder])?)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("ONESELF", &things.oneself)
        .env("SOMEBODY_ELSE", &things.user)
        .env("FINISHED", &things.finished)
        .env("NO_COLOR", "1")
        // Nothing of the developer's own decides what is run.
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .context("failed to start python3")?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(
        output.status.success(),
        "schemathesis ended with {}:\n{said}\nserver:\n{}",
        output.status,
        server.output()
    );
    Ok(said)
}

#[tokio::test]
async fn answers_are_as_the_document_says() -> Result<()> {
    let server = Server::start(Setup::script(SCRIPT).top(TOP)).await?;
    let things = Things::make(&server).await?;
    let (_, document) = server.get("/v1/openapi.json").await?;
    let began = Instant::now();
    let said = schemathesis(
        &server,
        &document,
        &things,
        &[
            "--phases=examples,coverage,fuzzing,stateful",
            "--max-examples=10",
            "--seed=1",
            "--generation-deterministic",
            "--no-shrink",
            "--continue-on-failure",
            "--workers=2",
            "--request-timeout=20",
            "--warnings=off",
        ],
    )?;
    println!("{said}\n{:.1} s", began.elapsed().as_secs_f64());
    let paths = document["paths"].as_object().context("paths")?;
    let operations: usize = paths.values().filter_map(Value::as_object).map(serde_json::Map::len).sum();
    ensure!(said.contains(&format!("Tested: {operations}\n")), "not all {operations} endpoints:\n{said}");
    let (status, me) = server.get("/v1/me").await?;
    ensure!(status == 200 && me["role"] == "admin", "whoever tested became somebody else: {status} {me}");
    Ok(())
}

#[tokio::test]
async fn an_endpoint_is_tried_in_the_browser() -> Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let link = server.first_link.clone().context("a link")?;
    let browser = Browser::open(1280, 900, false).await?;
    browser.client.goto(&link).await?;
    browser.welcome().await?;
    let home = server.url.replace("127.0.0.1", "localhost");
    browser.client.goto(&format!("{home}/api#startExecution")).await?;
    // What the address names is open.
    browser.click("#startExecution button[data-action=send]").await?;
    browser.see("#startExecution [data-part=answer][data-status='201']").await?;
    browser.read("\"starting\"").await?;
    browser.shot("api-sent").await?;
    let shown = browser.client.find(Locator::Css("#startExecution [data-part=body]")).await?.text().await?;
    let id = id_of(&serde_json::from_str(&shown)?)?;

    // What is typed is sent, and stands in the line for the terminal.
    browser.client.goto(&format!("{home}/api#getExecution")).await?;
    browser.client.refresh().await?;
    browser.fill("#getExecution-id", &id).await?;
    browser.click("#getExecution button[data-action=send]").await?;
    browser.see("#getExecution [data-part=answer][data-status='200']").await?;
    let line = browser.client.find(Locator::Css("#getExecution [data-part=curl]")).await?.text().await?;
    assert_eq!(
        line,
        format!("curl -H \"Authorization: Bearer $HOLDPOINT_TOKEN\" '{home}/v1/executions/{id}'")
    );

    // A stream is shown as it comes, until it is stopped.
    browser.client.goto(&format!("{home}/api#followChanges")).await?;
    browser.client.refresh().await?;
    browser.click("#followChanges button[data-action=send]").await?;
    browser.see("#followChanges [data-part=answer][data-status='200']").await?;
    browser.click("#followChanges button[data-action=stop]").await?;
    browser.see("#followChanges button[data-action=send]:not([disabled])").await?;

    browser.client.set_window_size(390, 844).await?;
    browser.shot("api-phone").await?;
    let fits = "return document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(browser.client.execute(fits, Vec::new()).await?, true, "the page is wider than a phone");
    browser.close().await
}
