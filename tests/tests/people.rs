//! People, end to end: who is let in, what they get of others', and how they reach it from elsewhere.

use std::{path::Path, process::Command};

use anyhow::Context as _;
use futures::StreamExt as _;
use holdpoint_tests::{PATIENCE, Server, Setup, free_port};
use reqwest::{Certificate, Client, RequestBuilder, Response, header, redirect};
use serde_json::{Value, json};

const SCRIPT: &str = r#"
scenes:
  - turns:
      - - text: "What next?"
      - - text: "Done."
"#;

/// A client that follows nothing, so that each answer is seen.
fn browser(root: Option<&Path>) -> anyhow::Result<Client> {
    let mut client = Client::builder().redirect(redirect::Policy::none()).no_proxy();
    if let Some(root) = root {
        client = client.tls_certs_only([Certificate::from_pem(&std::fs::read(root)?)?]);
    }
    Ok(client.build()?)
}

/// Sends a form as our own pages do. What the tests send needs no more escaping than this.
fn form(request: RequestBuilder, fields: &[(&str, &str)]) -> RequestBuilder {
    let pairs: Vec<String> =
        fields.iter().map(|(key, value)| format!("{key}={}", value.replace(' ', "+"))).collect();
    request
        .header("sec-fetch-site", "same-origin")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(pairs.join("&"))
}

/// Chooses a password by a link; the cookie, as it was set.
async fn welcome(client: &Client, link: &str, name: &str) -> anyhow::Result<String> {
    let (page, token) = link.trim().split_once("?token=").context("a token")?;
    let fields =
        [("token", token), ("name", name), ("password", "correct horse"), ("again", "correct horse")];
    let answer = form(client.post(page), &fields).send().await?;
    assert_eq!(answer.status(), 303, "{}", answer.text().await?);
    Ok(answer.headers()[header::SET_COOKIE].to_str()?.to_owned())
}

fn value_of(cookie: &str) -> &str {
    cookie.split(';').next().unwrap_or_default()
}

async fn page(client: &Client, url: String, cookie: &str) -> anyhow::Result<Response> {
    Ok(client.get(url).header(header::COOKIE, value_of(cookie)).send().await?)
}

#[tokio::test]
async fn somebody_is_let_in_sees_what_is_shared_and_is_out_at_once() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let client = browser(None)?;
    let link = server.run(&["user", "create", "Ada", "--role", "asker"])?;
    let cookie = welcome(&client, &link, "Ada").await?;
    let list = server.run(&["user", "list"])?;
    assert!(list.contains("Ada") && list.contains("by password"), "{list}");

    let id = server.ask("claude", "hello").await?;
    server.until_status(&id, "awaiting").await?;
    let at = format!("{}/executions/{id}", server.url);
    assert_eq!(page(&client, at.clone(), &cookie).await?.status(), 404);
    let (status, shared) = server
        .post(&format!("/v1/executions/{id}/shares"), json!({"name": "ada", "share": "answer"}))
        .await?;
    assert_eq!(status, 200, "{shared}");
    assert_eq!(page(&client, at.clone(), &cookie).await?.status(), 200);
    let mut live = page(&client, format!("{at}/live"), &cookie).await?.bytes_stream();
    assert!(live.next().await.is_some(), "the first fragments");

    // What was shared may be answered, and nothing more.
    let hold = server.hold(&id, "reply", &[]).await?;
    let hold = hold["id"].as_str().context("an id")?;
    let send = async |path: String| {
        let request = form(client.post(path), &[("action", "reply"), ("message", "go on")]);
        Ok::<_, anyhow::Error>(request.header(header::COOKIE, value_of(&cookie)).send().await?.status())
    };
    assert_eq!(send(format!("{at}/cancel")).await?, 403);
    assert_eq!(send(format!("{}/holds/{hold}/decision", server.url)).await?, 303);
    server.until(&id, "the second turn", |execution| execution["last_turn"]["text"] == "Done.").await?;

    let said = server.run(&["user", "deactivate", "ada"])?;
    assert!(said.contains("deactivated"), "{said}");
    let rest = async { while live.next().await.is_some() {} };
    tokio::time::timeout(PATIENCE, rest).await.context("the stream goes on")?;
    assert_eq!(page(&client, at, &cookie).await?.status(), 303, "to the sign-in");

    let audit: Value = serde_json::from_str(&server.run(&["audit", "--json"])?)?;
    let kinds: Vec<&str> =
        audit["items"].as_array().into_iter().flatten().filter_map(|line| line["kind"].as_str()).collect();
    for kind in ["user_deactivated", "shared", "signed_in", "password_set", "link_created", "user_created"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    let refused = server.command(&["user", "role", "Tess", "operator"]).output()?;
    assert!(refused.status.success(), "the terminal's own user is an administrator too");
    Ok(())
}

/// A certificate for this machine, as people make one themselves.
fn certificate(folder: &Path) -> anyhow::Result<()> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output()
        .context("openssl makes the certificate")?;
    anyhow::ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

#[tokio::test]
async fn a_phone_reaches_it_over_tls_or_behind_a_proxy() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    certificate(folder.path())?;
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let port = free_port()?;
    let table = format!(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n[server.tls]\ncert = {cert:?}\nkey = {key:?}\nport = {port}\n"
    );
    let server = Server::start(Setup::script(SCRIPT).toml(&table)).await?;
    let client = browser(Some(&cert))?;
    let link = server.first_link.clone().context("a link")?;
    assert!(link.starts_with(&format!("https://localhost:{port}/welcome?")), "{link}");

    // Whoever does not say anything, or speaks something else, keeps nobody waiting.
    let _silent = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    browser(None)?.get(format!("http://127.0.0.1:{port}/")).send().await.expect_err("plain HTTP over TLS");
    let cookie = welcome(&client, &link, "Ada").await?;
    assert!(cookie.starts_with(&format!("__Host-holdpoint_session_{port}=")), "{cookie}");
    assert!(cookie.contains("; Secure") && cookie.contains("; HttpOnly"), "{cookie}");
    let inbox = page(&client, format!("https://localhost:{port}/inbox"), &cookie).await?;
    assert_eq!(inbox.status(), 200);
    assert!(
        !inbox.headers().contains_key("strict-transport-security"),
        "other ports of localhost stay plain"
    );
    let health = client.get(format!("https://127.0.0.1:{port}/health")).send().await?;
    assert_eq!(health.headers()["strict-transport-security"], "max-age=31536000");
    let gateway = client.post(format!("https://127.0.0.1:{port}/gateway/v1/messages")).send().await?;
    assert_eq!(gateway.status(), 404, "sessions are on this machine");

    // Sessions go on over the plain address.
    let id = server.ask("claude", "hello").await?;
    server.until_status(&id, "awaiting").await?;

    // What a proxy says is believed; here it is this machine.
    let plain = browser(None)?;
    let login = form(plain.post(format!("{}/login", server.url)), &[("name", "Ada"), ("password", "x")]);
    let login = login.header("x-forwarded-for", "198.51.100.1, 203.0.113.9").header("host", "holdpoint.test");
    let wrong = login.header("x-forwarded-proto", "https").send().await?;
    assert_eq!(wrong.status(), 401);
    assert_eq!(wrong.headers()["strict-transport-security"], "max-age=31536000");
    let (_, audit) = server.get("/v1/audit?kind=sign_in_failed").await?;
    assert_eq!(audit["items"][0]["address"], "203.0.113.9", "{audit}");

    // A renewed certificate is taken without a restart, one that does not fit is not.
    let before = std::fs::read(&cert)?;
    std::fs::write(&key, "nonsense")?;
    client.get(format!("https://localhost:{port}/health")).send().await?.error_for_status()?;
    certificate(folder.path())?;
    assert_ne!(std::fs::read(&cert)?, before);
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match browser(Some(&cert))?.get(format!("https://localhost:{port}/health")).send().await {
            Ok(answer) => break assert_eq!(answer.status(), 200),
            Err(error) => anyhow::ensure!(std::time::Instant::now() < deadline, "{error:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    Ok(())
}
