//! Whose executions these are not, keys that are none, and input that means harm.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    client::{Answer, Client},
    server,
};

/// Every answer that is an error has the four members, and tells nothing of this machine.
fn is_fault(answer: &Answer, status: u16) -> Result<()> {
    let body = answer.json();
    ensure!(answer.status == status, "{} instead of {status}: {}", answer.status, answer.text);
    let keys: Vec<&str> = body.as_object().context("an object")?.keys().map(String::as_str).collect();
    ensure!(keys == ["detail", "error", "path", "status_code"], "{body}");
    ensure!(body["status_code"] == status && body["path"].is_string(), "{body}");
    ensure!(!answer.text.contains("/tmp") && !answer.text.contains(".rs"), "{body}");
    Ok(())
}

#[tokio::test]
async fn nobody_reads_or_answers_anothers_execution() -> Result<()> {
    let server = server().await?;
    let ada = Client::of_somebody(&server, "ada", false).await?;
    let eve = Client::of_somebody(&server, "eve", false).await?;
    let viewer = server.run(&["token", "create", "--name", "vera", "--role", "viewer"])?;
    let viewer = Client::new(&server, viewer.trim())?;
    let fid = ada.launch("every", json!({"t": "abc"})).await?;
    let lock = ada.lock(&fid, &mut Vec::new()).await?;
    let (batch, files) = ada.upload("mine.txt", &[b"mine"]).await?;

    let gets = [
        format!("/outputs/status/{fid}"),
        format!("/outputs/raw/{fid}"),
        format!("/outputs/html/{fid}"),
        format!("/outputs/main/{fid}"),
        format!("/outputs/stream/{fid}"),
        format!("/outputs/stdio/{fid}"),
        format!("/files/{fid}/in"),
        format!("/files/{fid}/out/report.txt"),
        format!("/api/dashboard/execution/{fid}/details"),
        format!("/api/dashboard/execution/{fid}/files"),
        format!("/timeline/list?offset={fid}"),
        lock.clone(),
    ];
    for path in &gets {
        is_fault(&eve.get(path).await?, 404).context(path.clone())?;
    }
    is_fault(&eve.post(&lock, json!({"decision": "allow"})).await?, 404)?;
    is_fault(&eve.delete(&format!("/outputs/{fid}")).await?, 404)?;
    is_fault(&eve.delete(&format!("/files/{fid}/in/x")).await?, 404)?;
    let several = eve.request(Method::DELETE, "/outputs").json(&json!({"fid": [fid]}));
    is_fault(&eve.send(several).await?, 404)?;
    for (path, key) in [
        ("/timeline/list", "items"),
        ("/timeline/changes?since=1", "update"),
        ("/api/dashboard/running-agents", "agents"),
        ("/api/dashboard/timeline", "executions"),
    ] {
        ensure!(eve.get(path).await?.json()[key] == json!([]), "{path}");
        ensure!(ada.get(path).await?.json()[key] != json!([]), "{path}");
    }
    // Nor uses another's uploads.
    is_fault(&eve.post(&format!("/files/complete/{fid}/{batch}/in"), json!({})).await?, 404)?;
    let hers = eve.post("/-/x/every", json!({"t": "x", "files": files})).await?.expect(200)?.json();
    ensure!(hers["errors"]["files"][0] == "there is no such batch", "{hers}");

    // A viewer looks, and does nothing.
    viewer.get(&format!("/outputs/status/{fid}")).await?.expect(200)?;
    is_fault(&viewer.post(&lock, json!({"decision": "allow"})).await?, 403)?;
    is_fault(&viewer.delete(&format!("/outputs/{fid}")).await?, 403)?;
    is_fault(&viewer.post("/-/x/every", json!({"t": "x"})).await?, 403)?;
    for client in [&ada, &viewer] {
        is_fault(&client.get("/role").await?, 403)?;
        is_fault(&client.post("/role", json!({"name": "m"})).await?, 403)?;
        is_fault(&client.post("/flow/register", json!({"url": "http://127.0.0.1:1"})).await?, 403)?;
    }
    ada.get("/role/ada").await?.expect(200)?;
    is_fault(&ada.get("/role/eve").await?, 403)?;
    let lid = lock.rsplit('/').next().context("an id")?;
    let hers = eve.launch("every", json!({"t": "abc"})).await?;
    is_fault(&eve.get(&format!("/lock/{hers}/{lid}")).await?, 404)?;
    ada.get(&lock).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_key_is_good_for_what_it_is() -> Result<()> {
    let server = server().await?;
    let ada = Client::of_somebody(&server, "ada", false).await?;
    for key in ["", "x", "null", &"k".repeat(5_000)] {
        let mut nobody = ada.clone();
        nobody.key = key.to_owned();
        for path in ["/flow", "/role", "/timeline/list", "/outputs/status/x", "/files/x/in", "/deploy"] {
            is_fault(&nobody.get(path).await?, 401).with_context(|| format!("{path} {key:.9}"))?;
        }
    }
    // A bad key is not made good by a good cookie, and a cookie is no use to another site.
    let nobody = Client::new(&server, "")?;
    let cookie = format!("kodosumi_jwt={}", ada.key);
    let with =
        |path: &str| nobody.request(Method::POST, path).header("cookie", &cookie).json(&json!({"t": "x"}));
    is_fault(&nobody.send(with("/-/x/every").header("kodosumi_api_key", "bad")).await?, 401)?;
    let elsewhere =
        with("/-/x/every").header("origin", "https://evil.example").header("sec-fetch-site", "cross-site");
    is_fault(&nobody.send(elsewhere).await?, 403)?;
    nobody.send(with("/-/x/every")).await?.expect(200)?;
    for (method, path) in
        [(Method::GET, "/login?name=ada&password=x"), (Method::GET, "/logout"), (Method::POST, "/logout")]
    {
        let request =
            nobody.request(method, path).header("cookie", &cookie).header("sec-fetch-site", "cross-site");
        let answer = nobody.send(request).await?;
        ensure!(answer.status == 403, "{path}: {answer:?}");
    }
    ada.get("/flow").await?.expect(200)?;
    // No other site is told anything.
    let preflight = nobody.request(Method::OPTIONS, "/api/login").header("origin", "https://evil.example");
    let preflight = nobody.send(preflight.header("access-control-request-method", "POST")).await?;
    ensure!(
        preflight.header("access-control-allow-origin").is_empty() && preflight.status == 405,
        "{preflight:?}"
    );
    // Guessing is slow here as everywhere.
    let mut last = 0;
    for _ in 0..7 {
        last = nobody.post("/api/login", json!({"name": "ada", "password": "guess"})).await?.status;
    }
    ensure!(last == 429, "{last}");
    Ok(())
}

#[tokio::test]
async fn harm_is_refused_in_the_same_form() -> Result<()> {
    let server = server().await?;
    let client = Client::new(&server, &server.token)?;
    let fid = client.launch("every", json!({"t": "abc"})).await?;
    let lock = client.lock(&fid, &mut Vec::new()).await?;
    for path in
        ["in/..%2f..%2f..%2f..%2fholdpoint.db", "out/%2fetc%2fpasswd", "out/.claude/settings.json", "in/%00"]
    {
        for method in [Method::GET, Method::DELETE] {
            let answer = client.send(client.request(method, &format!("/files/{fid}/{path}"))).await?;
            is_fault(&answer, 404).with_context(|| path.to_owned())?;
        }
    }
    for path in [
        "/outputs/none/x",
        "/outputs/main/..%2fx",
        "/lock/x/y",
        "/-/",
        "/-/a/none",
        "/flow/none",
        "/timeline/none",
    ] {
        is_fault(&client.get(path).await?, 404).with_context(|| path.to_owned())?;
    }
    is_fault(&client.get("/flow?pp=many").await?, 400)?;
    is_fault(&client.get("/timeline/changes?since=yesterday").await?, 400)?;
    for since in ["NaN", "inf", "-inf", "1e300", "-1"] {
        client.get(&format!("/timeline/changes?since={since}")).await?.expect(200)?;
    }
    is_fault(&client.delete("/flow").await?, 405)?;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in ["", "null", "[]", "{", "\"x\"", deep.as_str()] {
        let request = client.request(Method::POST, &lock).header("content-type", "application/json");
        is_fault(&client.send(request.body(body.to_owned())).await?, 400)
            .with_context(|| format!("{body:.9}"))?;
    }
    let strange = json!({"decision": {"allow": true}, "input": [1], "conversation": "on", "\u{0}": "x"});
    let strange = client.post(&lock, strange).await?.expect(200)?.json();
    ensure!(strange["errors"]["decision"].is_array(), "{strange}");

    let url = "/-/x/every";
    for files in ["x", "{}", "null", "{\"batchId\":\"../x\"}", "{\"batchId\":7}", "[]"] {
        let refused = client.post(url, json!({"t": "x", "files": files})).await?.expect(200)?.json();
        ensure!(
            refused["errors"]["files"].is_array() && refused.get("result").is_none(),
            "{files}: {refused}"
        );
    }
    let large = client.post(url, json!({"t": "x".repeat(1 << 21)})).await?.expect(200)?.json();
    ensure!(large["errors"]["t"].is_array());
    uploads_are_bounded(&client).await?;
    client.get(&lock).await?.expect(200)?;
    Ok(())
}

async fn uploads_are_bounded(client: &Client) -> Result<()> {
    let new = |name: &str, chunks: Value| {
        client.post("/files/init", json!({"filename": name, "total_chunks": chunks}))
    };
    for name in ["", "../up", "/etc/passwd", "a\\b", "a\u{0}", "a/./b", &"n".repeat(2_000)] {
        is_fault(&new(name, json!(1)).await?, 400).with_context(|| format!("{name:.9}"))?;
    }
    for chunks in [json!(-1), json!(1_000_000), json!("x"), Value::Null] {
        is_fault(&new("a", chunks).await?, 400)?;
    }
    let begun = new("a", json!(3)).await?.expect(201)?.json();
    let (upload, batch) = (begun["upload_id"].as_str().context("an id")?, begun["batch_id"].clone());
    is_fault(&client.chunk(upload, 3, b"x").await?, 400)?;
    is_fault(&client.chunk(upload, 0, &vec![0; 17 << 20]).await?, 413)?;
    let unknown = client.chunk(batch.as_str().context("an id")?, 0, b"x").await?.expect(201)?.json();
    ensure!(unknown["error"].is_string(), "a batch is no upload: {unknown}");
    for n in [2, 0, 2] {
        client.chunk(upload, n, &vec![0; 15 << 20]).await?.expect(201)?;
    }
    let files = json!({"batchId": batch}).to_string();
    let early = client.post("/-/x/every", json!({"t": "x", "files": files})).await?.expect(200)?.json();
    ensure!(early["errors"]["files"][0].as_str().is_some_and(|why| why.contains("piece 1 of 3")), "{early}");
    client.delete(&format!("/files/cancel/{upload}")).await?.expect(204)?;
    is_fault(&client.delete(&format!("/files/cancel/{upload}")).await?, 404)?;
    let gone = client.chunk(upload, 0, b"x").await?.expect(201)?.json();
    ensure!(gone["error"].is_string(), "{gone}");
    Ok(())
}
