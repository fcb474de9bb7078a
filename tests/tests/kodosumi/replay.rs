//! Every recorded exchange that applies, one after the other, as they were recorded.

use anyhow::{Context as _, Result, ensure};
use holdpoint_tests::Server;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    client::{Answer, Client, PASSWORD},
    server,
    shapes::{Recorded, frames},
};

/// Recordings that do not apply, and why.
const NOT_REPLAYED: [(&str, &str); 8] = [
    ("cors_get", "answers to other sites with somebody's cookie: a fault, not copied"),
    ("login_options", "the same, asked for beforehand"),
    ("lock_direct_service_noauth", "a service beside the panel that asks nobody who they are; there is none"),
    ("deploy_create", "deployed by `holdpoint deploy`: every address of it says so"),
    ("deploy_delete", "the same"),
    ("deploy_list", "the same"),
    ("deploy_read", "the same"),
    ("get_deploy", "the same"),
];

/// An execution's id is in the addresses.
struct Replay {
    recorded: Recorded,
    client: Client,
}

impl Replay {
    fn holds(&mut self, names: &[&str], answer: &Answer) -> Result<()> {
        names.iter().try_for_each(|name| self.recorded.check(name, answer.status, &answer.json()))
    }

    async fn get(&mut self, names: &[&str], path: &str) -> Result<Value> {
        let answer = self.client.get(path).await?;
        self.holds(names, &answer)?;
        Ok(answer.json())
    }

    async fn post(&mut self, names: &[&str], path: &str, body: Value) -> Result<Value> {
        let answer = self.client.post(path, body).await?;
        self.holds(names, &answer)?;
        Ok(answer.json())
    }
}

#[tokio::test]
async fn what_was_recorded_is_answered_alike() -> Result<()> {
    let server = server().await?;
    let client = Client::new(&server, &server.token)?;
    let mut replay = Replay { recorded: Recorded::load()?, client };
    before_anything_ran(&mut replay).await?;
    logging_in(&mut replay, &server).await?;
    flows(&mut replay).await?;
    let value = uploading(&mut replay).await?;
    let fid = a_run(&mut replay, &value).await?;
    timeline(&mut replay, &fid).await?;
    files(&mut replay, &fid).await?;
    dashboard(&mut replay, &fid).await?;
    roles(&mut replay).await?;
    deleting(&mut replay, &fid).await?;
    let left = replay.recorded.not_replayed(&NOT_REPLAYED);
    ensure!(left.is_empty(), "neither replayed nor listed with a reason: {left:?}");
    Ok(())
}

async fn before_anything_ran(replay: &mut Replay) -> Result<()> {
    for (name, path) in [
        ("get_api_dashboard_agent-stats", "/api/dashboard/agent-stats"),
        ("get_api_dashboard_debug_user", "/api/dashboard/debug/user"),
        ("get_api_dashboard_errors", "/api/dashboard/errors"),
        ("get_api_dashboard_running-agents", "/api/dashboard/running-agents"),
        ("get_api_dashboard_timeline", "/api/dashboard/timeline"),
        ("get_health", "/health"),
        ("health", "/health"),
        ("get_role", "/role"),
        ("get_timeline", "/timeline"),
        ("get_timeline_changes", "/timeline/changes"),
        ("get_timeline_list", "/timeline/list"),
    ] {
        replay.get(&[name], path).await?;
    }
    for path in ["/deploy", "/deploy/demo", "/serve/applications"] {
        let answer = replay.client.get(path).await?.expect(501)?;
        ensure!(answer.json()["detail"].as_str().is_some_and(|why| why.contains("holdpoint deploy")));
    }
    Ok(())
}

async fn logging_in(replay: &mut Replay, server: &Server) -> Result<()> {
    let ada = Client::of_somebody(server, "ada", true).await?;
    let nobody = Client::new(server, "")?;
    let good = json!({"name": "ada", "password": PASSWORD});
    let login = nobody.post("/api/login", good).await?;
    replay.holds(&["login_json"], &login)?;
    let cookie = login.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
    ensure!(
        cookie.starts_with("kodosumi_jwt=") && login.header("set-cookie").contains("HttpOnly"),
        "{cookie}"
    );
    let query = format!("name=ada&password={}", PASSWORD.replace(' ', "+"));
    replay.holds(&["login_get"], &nobody.get(&format!("/login?{query}")).await?)?;
    let form = nobody.form("/login", &format!("{query}&redirect=https://evil.example/x")).await?;
    replay.holds(&["login_form_redirect"], &form)?;
    ensure!(form.header("location") == "/", "nobody is sent elsewhere: {}", form.header("location"));
    let form = nobody.form("/login?redirect=/inbox", &query).await?.expect(302)?;
    ensure!(form.header("location") == "/inbox");
    let wrong = nobody.post("/api/login", json!({"name": "ada", "password": "wrong"})).await?;
    replay.holds(&["login_bad"], &wrong)?;
    ensure!(wrong.json()["detail"] == "Invalid name or password" && wrong.json()["path"] == "/api/login");
    replay.holds(&["unauth_flow"], &nobody.get("/flow").await?)?;
    let page =
        nobody.send(nobody.request(Method::GET, "/flow").header("accept", "text/html")).await?.expect(302)?;
    ensure!(page.header("location") == "/");

    // The cookie of a log-in is as good as its key, until the log-out.
    let with_cookie = |path: &str| nobody.request(Method::GET, path).header("cookie", &cookie);
    nobody.send(with_cookie("/flow")).await?.expect(200)?;
    let out = nobody.send(with_cookie("/logout?redirect=https://evil.example/")).await?;
    replay.holds(&["logout_redirect"], &out)?;
    ensure!(out.header("location") == "/" && out.header("set-cookie").contains("Max-Age=0"));
    nobody.send(with_cookie("/flow")).await?.expect(401)?;
    ada.get("/flow").await?.expect(200)?;
    replay.holds(&["logout"], &ada.get("/logout").await?)?;
    ada.get("/flow").await?.expect(401)?;
    Ok(())
}

async fn flows(replay: &mut Replay) -> Result<()> {
    let flows = replay.get(&["get_flow"], "/flow").await?;
    let (every, bench) = (find(&flows, "Every element")?, find(&flows, "Bench")?);
    ensure!(every["tags"] == json!(["all", "demo"]) && every["author"] == "a@example.com");
    ensure!(bench["author"].is_null());
    let found = replay.client.get("/flow?q=ORG&pp=1").await?.json();
    ensure!(found["items"].as_array().is_some_and(|items| items.len() == 1) && found["offset"].is_null());
    let first = replay.client.get("/flow?pp=1").await?.json();
    let offset = first["offset"].as_str().context("more")?;
    let second = replay.client.get(&format!("/flow?pp=1&offset={offset}")).await?.json();
    ensure!(first["items"][0]["uid"] != second["items"][0]["uid"]);
    let tags = replay.get(&["get_flow_tags"], "/flow/tags").await?;
    ensure!(tags == json!({"bench": 1, "all": 1, "demo": 1}));
    let known = replay.get(&["get_flow_register"], "/flow/register").await?;
    let source = known["registers"][0].clone();
    replay.post(&["flow_register"], "/flow/register", json!({"url": source})).await?;
    replay
        .post(&["flow_register_bad"], "/flow/register", json!({"url": "http://127.0.0.1:1/openapi.json"}))
        .await?;
    let again = replay.client.send(replay.client.request(Method::PUT, "/flow/register")).await?;
    replay.holds(&["flow_refresh"], &again)?;
    let other = json!({"url": ["http://127.0.0.1:8125/openapi.json"]});
    replay.post(&["flow_unregister"], "/flow/unregister", other).await?;

    let url = every["url"].as_str().context("an address")?;
    replay.get(&["flow_form_get"], url).await?;
    let page = replay.client.get(&format!("/inputs{url}")).await?.expect(302)?;
    ensure!(page.header("location") == "/agents/every");
    let errors = replay.post(&["flow_post_errors"], url, json!({"t": null, "s": "c"})).await?;
    ensure!(errors["errors"]["t"][0].is_string() && errors["errors"]["_global_"].is_array());
    Ok(())
}

fn find<'a>(flows: &'a Value, summary: &str) -> Result<&'a Value> {
    let mut items = flows["items"].as_array().into_iter().flatten();
    items.find(|flow| flow["summary"] == summary).context("a flow")
}

async fn uploading(replay: &mut Replay) -> Result<String> {
    let batch = replay.client.send(replay.client.request(Method::POST, "/files/init_batch")).await?;
    replay.holds(&["files_init_batch"], &batch)?;
    let batch = batch.json()["batch_id"].clone();
    let new = json!({"filename": "docs/a.txt", "total_chunks": 2, "batch_id": batch});
    let upload = replay.post(&["files_init"], "/files/init", new).await?["upload_id"].clone();
    let id = upload.as_str().context("an id")?;
    let unknown = replay.client.chunk("nope", 0, b"hello ").await?;
    replay.holds(&["files_chunk_badid"], &unknown)?;
    for (number, name, bytes) in [(0, "files_chunk0", b"hello "), (1, "files_chunk1", b"world\n")] {
        let chunk = replay.client.chunk(id, number, bytes).await?;
        replay.holds(&[name], &chunk)?;
        ensure!(chunk.json()["received_chunks"] == number + 1);
    }
    let items = json!({id: {"filename": "docs/a.txt", "totalChunks": 2}});
    Ok(json!({"batchId": batch, "name": "files", "items": items}).to_string())
}

/// Starts, holds, goes on, ends; with all four streams open from the beginning.
async fn a_run(replay: &mut Replay, files: &str) -> Result<String> {
    let fields = json!({
        "_global_": null, "t": "abc", "n": "3", "area": "multi\nline", "c": "on", "s": "a", "act": null, "files": files,
    });
    let url = "/-/127.0.0.1/8125/-/every";
    let launched = replay.post(&["flow_post_launch"], url, fields).await?;
    let fid = launched["result"].as_str().context("an id")?.to_owned();
    let streams: Vec<_> = [("main", "main"), ("main_raw", "main"), ("stdio", "stdio"), ("stream", "stream")]
        .into_iter()
        .map(|(name, of)| {
            let path = format!("/outputs/{of}/{fid}{}", if name == "main_raw" { "?raw" } else { "" });
            let client = replay.client.clone();
            (name, tokio::spawn(async move { client.get(&path).await }))
        })
        .collect();

    let lock = replay.client.lock(&fid, &mut Vec::new()).await?;
    let waiting = replay.get(&["status_awaiting"], &format!("/outputs/status/{fid}")).await?;
    ensure!(waiting["status"] == "awaiting" && waiting["final"].is_null(), "{waiting}");
    replay.get(&["outputs_raw_pending"], &format!("/outputs/raw/{fid}")).await?;
    let list = replay.get(&["timeline_list_awaiting"], "/timeline/list?pp=5").await?;
    ensure!(list["items"][0]["status"] == "running", "a lock does not show there: {list}");
    ensure!(list["items"][0]["locks"].as_array().is_some_and(|locks| locks.len() == 1));

    let nobody = "00000000-0000-0000-0000-000000000000";
    replay.get(&["lock_get_404_fid"], &format!("/lock/nofid/{nobody}")).await?;
    replay.get(&["lock_get_404_lid"], &format!("/lock/{fid}/{nobody}")).await?;
    replay.get(&["outputs_404"], "/outputs/status/nope").await?;
    replay.get(&["sse_stream_full"], "/outputs/stream/nope").await?;
    replay.get(&["lock_get"], &lock).await?;
    let wrong = replay.post(&["lock_post_errors"], &lock, json!({"message": "x"})).await?;
    ensure!(
        wrong["errors"]["decision"][0].is_string() && wrong["errors"]["_global_"] == json!([]),
        "{wrong}"
    );
    let right = replay.post(&["lock_post_ok"], &lock, json!({"decision": "allow", "message": null})).await?;
    ensure!(right["result"]["action"] == "allow", "{right}");
    let again = replay.post(&["lock_post_again"], &lock, json!({"decision": "deny"})).await?;
    ensure!(
        again.get("stacktrace").is_none()
            && again["detail"].as_str().is_some_and(|why| why.ends_with("released."))
    );

    replay.client.until(&fid, "the end", |status| status["status"] == "finished").await?;
    let over = replay.get(&["status_finished"], &format!("/outputs/status/{fid}")).await?;
    let last: Value = serde_json::from_str(over["final"].as_str().context("a string")?)?;
    let raw = replay.get(&["outputs_raw"], &format!("/outputs/raw/{fid}")).await?;
    ensure!(last == raw && raw["Markdown"]["body"].as_str().is_some_and(|text| text.starts_with("# Final")));
    let html = replay.client.get(&format!("/outputs/html/{fid}")).await?.expect(200)?;
    ensure!(html.text.contains("<h1>Final</h1>") && !html.text.contains("<script"), "{}", html.text);
    for (name, stream) in streams {
        let stream = stream.await??.expect(200)?;
        ensure!(stream.header("content-type") == "text/event-stream; charset=utf-8");
        ensure!(stream.header("x-accel-buffering") == "no");
        let is_html = matches!(name, "main" | "stdio");
        ensure!(!is_html || !stream.text.contains("<script"), "{}", stream.text);
        replay.recorded.check_stream(name, &frames(&stream.text)?)?;
    }
    Ok(fid)
}

async fn timeline(replay: &mut Replay, fid: &str) -> Result<()> {
    replay.get(&["timeline_list"], "/timeline/list?pp=5").await?;
    let found = replay.get(&["timeline_list_q"], "/timeline/list?pp=5&q=every").await?;
    ensure!(found["items"][0]["fid"] == fid && found["offset"] == fid && found["query"] == "every");
    let none = replay.client.get("/timeline/list?q=nothing%20of%20that").await?.json();
    ensure!(none["items"] == json!([]) && none["offset"].is_null());
    let after = replay.client.get(&format!("/timeline/list?offset={fid}")).await?.json();
    ensure!(after["items"] == json!([]), "nothing is older");
    replay.get(&["timeline_page"], "/timeline?pp=5").await?;
    let changes = replay.get(&["timeline_changes"], "/timeline/changes?since=1").await?;
    ensure!(changes["update"][0]["fid"] == fid && changes["update"][0]["status"] == "finished");
    let later = changes["timestamp"].as_f64().context("a time")? + 10.0;
    let none = replay.client.get(&format!("/timeline/changes?since={later}")).await?.json();
    ensure!(none["update"] == json!([]) && none["delete"] == json!([]));
    Ok(())
}

async fn files(replay: &mut Replay, fid: &str) -> Result<()> {
    let attached = replay.get(&["files_list_in"], &format!("/files/{fid}/in")).await?;
    let path = attached[0]["path"].as_str().context("a file")?.to_owned();
    ensure!(path.starts_with("in/") && attached[0]["size"] == 12, "{attached}");
    let made = replay.get(&["files_list_out"], &format!("/files/{fid}/out")).await?;
    ensure!(made.as_array().into_iter().flatten().any(|file| file["path"] == "out/report.txt"), "{made}");
    let file = replay.client.get(&format!("/files/{fid}/{path}")).await?;
    replay.holds(&["files_get"], &file)?;
    ensure!(file.text == "hello world\n" && file.header("content-type") == "application/octet-stream");
    let disposition = "attachment; filename=\"a.txt\"; filename*=UTF-8''a.txt";
    ensure!(file.header("content-disposition") == disposition);
    let out = replay.client.get(&format!("/files/{fid}/out/report.txt")).await?.expect(200)?;
    ensure!(out.text == "to out\n");
    replay.get(&["files_get_404"], &format!("/files/{fid}/in/none")).await?;
    replay.get(&["files_badroot"], &format!("/files/{fid}/etc/none")).await?;
    replay.holds(&["files_delete"], &replay.client.delete(&format!("/files/{fid}/{path}")).await?)?;
    replay.client.get(&format!("/files/{fid}/{path}")).await?.expect(404)?;
    Ok(())
}

async fn dashboard(replay: &mut Replay, fid: &str) -> Result<()> {
    let running = replay.get(&["dashboard_running-agents"], "/api/dashboard/running-agents").await?;
    ensure!(running["total"] == 1 && running["agents"][0]["user_name"] == "Tess", "{running}");
    let none = replay.client.get("/api/dashboard/running-agents?status=error&search=x&hours=1").await?.json();
    ensure!(none["total"] == 0 && none["filters"]["search"] == "x");
    replay.get(&["dashboard_errors"], "/api/dashboard/errors").await?;
    replay.get(&["dashboard_timeline"], "/api/dashboard/timeline").await?;
    let stats = replay.get(&["dashboard_agent-stats"], "/api/dashboard/agent-stats").await?;
    ensure!(stats["by_status"] == json!({"finished": 1}));
    let of = format!("/api/dashboard/execution/{fid}");
    let details = replay.get(&["dashboard_execution_FID_details"], &format!("{of}/details")).await?;
    ensure!(
        details["events"].as_array().map(Vec::len)
            == details["total_events"].as_u64().and_then(|n| usize::try_from(n).ok())
    );
    let files = replay.get(&["dashboard_execution_FID_files"], &format!("{of}/files")).await?;
    ensure!(files["downloads"][0]["url"] == format!("/files/{fid}/out/report.txt"), "{files}");
    Ok(())
}

async fn roles(replay: &mut Replay) -> Result<()> {
    let new = json!({"name": "bob", "email": "bob@example.com", "password": PASSWORD, "operator": false});
    let bob = replay.post(&["role_add"], "/role", new.clone()).await?;
    let dup = replay.post(&["role_add_dup"], "/role", new).await?;
    ensure!(dup.get("stacktrace").is_none());
    let missing = replay.post(&["role_add_invalid"], "/role", json!({"name": "x"})).await?;
    ensure!(missing["detail"].as_str().is_some_and(|why| why.contains("email") && why.contains("password")));
    replay.get(&["role_list"], "/role").await?;
    replay.get(&["role_get"], "/role/bob").await?;
    replay.get(&["role_404"], "/role/nobody").await?;
    let path = format!("/role/{}", bob["id"].as_str().context("an id")?);
    let put = replay.client.request(Method::PUT, &path).json(&json!({"email": "bob2@example.com"}));
    let put = replay.client.send(put).await?;
    replay.holds(&["role_put"], &put)?;
    replay.client.delete(&path).await?.expect(204)?;
    let login = replay.client.post("/api/login", json!({"name": "bob", "password": PASSWORD})).await?;
    ensure!(login.status == 401 && replay.client.get("/role/bob").await?.json()["active"] == false);
    Ok(())
}

async fn deleting(replay: &mut Replay, fid: &str) -> Result<()> {
    replay.holds(&["outputs_delete"], &replay.client.delete(&format!("/outputs/{fid}")).await?)?;
    replay.get(&["outputs_status_after_delete"], &format!("/outputs/status/{fid}")).await?;
    let changes = replay.get(&["timeline_changes_after_delete"], "/timeline/changes?since=1").await?;
    ensure!(changes["delete"] == json!([fid]) && changes["update"] == json!([]), "{changes}");
    Ok(())
}
