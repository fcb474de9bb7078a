//! People are told when something waits for them: once, signed, with a link that leads there.
//!
//! On two threads: the receiver answers while a test waits for a command.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use holdpoint_tests::{PATIENCE, Server, Setup, free_port, of_kind};
use serde_json::{Value, json};
use sha2::Sha256;

const KEY: &[u8; 32] = b"a key for the tests of holdpoint";

const SCRIPT: &str = r#"
title: notifications
scenes:
  - turns:
      - - tool: Bash
          input: {command: "echo hunter2 >> @DIR@/nonces", description: "hunter2"}
        - text: "Finished."
"#;

/// Longer than a first failure and the pause after it take.
const A_WHILE: Duration = Duration::from_secs(5);

/// One request that came in.
#[derive(Clone, Debug)]
struct Got {
    id: String,
    body: Value,
}

/// Whoever listens at the address of the webhook.
#[derive(Clone)]
struct Receiver {
    got: Arc<Mutex<Vec<Got>>>,
    /// Takes the request and never says so.
    is_mute: bool,
}

impl Receiver {
    async fn listen(port: u16, is_mute: bool) -> Result<(Self, tokio::task::JoinHandle<()>)> {
        let receiver = Self { got: Arc::default(), is_mute };
        let router = Router::new().route("/hook", post(take)).with_state(receiver.clone());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok((receiver, task))
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().expect("the list").clone()
    }

    /// Those about a hold.
    fn about(&self, hold: &Value) -> Vec<Got> {
        self.got().into_iter().filter(|got| got.body["data"]["hold"] == hold["id"]).collect()
    }

    async fn until(&self, what: &str, server: &Server, holds: impl Fn(&[Got]) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.got()) {
            let got = self.got();
            ensure!(Instant::now() < deadline, "waited for {what}, got {got:#?}\n{}", server.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// As a receiver should: what is not signed, or old, is refused.
async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (id, timestamp) = (header("webhook-id").to_owned(), header("webhook-timestamp").to_owned());
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).expect("a key");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(&body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    let is_fresh = timestamp.parse::<u64>().is_ok_and(|at| at.abs_diff(now_s) < 60);
    if id.is_empty() || header("webhook-signature") != expected || !is_fresh {
        return StatusCode::BAD_REQUEST;
    }
    let Ok(body) = serde_json::from_slice(&body) else { return StatusCode::BAD_REQUEST };
    receiver.got.lock().expect("the list").push(Got { id, body });
    if receiver.is_mute {
        std::future::pending::<()>().await;
    }
    StatusCode::NO_CONTENT
}

fn setup(port: u16) -> Setup {
    let toml = format!(
        "[notify]\nwebhook = {{ url = \"http://127.0.0.1:{port}/hook\", secret = {{ env = \"HOOK_SECRET\" }} }}\n\
         [agents.hasty.limits]\nhold = \"60s\"\nremind = [\"52s\"]\n"
    );
    Setup::script(SCRIPT).toml(&toml).env("HOOK_SECRET", &format!("whsec_{}", STANDARD.encode(KEY)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_hold_is_told_once_with_a_link_to_it() -> Result<()> {
    let port = free_port()?;
    let (receiver, _listening) = Receiver::listen(port, false).await?;
    let server = Server::start(setup(port)).await?;
    let id = server.ask("claude", "tell me").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    receiver.until("the hold", &server, |got| !got.is_empty()).await?;
    let told = receiver.about(&hold).pop().context("about the hold")?.body;
    assert_eq!((&told["type"], &told["data"]["execution"]), (&json!("hold.opened"), &json!(id)));
    assert_eq!(
        (&told["data"]["summary"], &told["data"]["title"]),
        (&json!("asks to use Bash: echo"), &json!("tell me"))
    );
    assert!(!told.to_string().contains("hunter2"), "{told}");

    let url = told["data"]["url"].as_str().context("a link")?;
    let page = reqwest::Client::new().get(url).bearer_auth(&server.token).send().await?;
    assert_eq!((page.status().as_u16(), page.url().path()), (200, format!("/executions/{id}").as_str()));
    let shows = format!("data-hold=\"{}\"", hold["id"].as_str().context("an id")?);
    assert!(page.text().await?.contains(&shows), "the page shows the hold");

    server.decide(&hold, json!({"action": "allow"})).await?;
    let reply = server.hold(&id, "reply", &[]).await?;
    receiver.until("the reply hold", &server, |got| got.len() >= 2).await?;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!((receiver.about(&hold).len(), receiver.about(&reply).len()), (1, 1), "{:#?}", receiver.got());

    let output = server.run(&["notify", "test", "--json"])?;
    let tested: Value = serde_json::from_str(&output)?;
    assert_eq!(
        (&tested["items"][0]["ok"], &tested["items"][0]["status"]),
        (&json!(true), &json!(204)),
        "{tested}"
    );
    let last = receiver.got().pop().context("the test")?;
    assert_eq!(
        (last.body["type"].as_str(), json!(last.id)),
        (Some("test"), tested["items"][0]["id"].clone())
    );
    assert!(server.output().contains("set `base_url`"), "{}", server.output());
    assert!(!server.output().contains("/hook"), "an address is a secret");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_was_down_is_told_once_it_is_up() -> Result<()> {
    let port = free_port()?;
    let server = Server::start(setup(port)).await?;
    let id = server.ask("claude", "nobody listens").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    let deadline = Instant::now() + PATIENCE;
    while !server.output().contains("failed to tell people") {
        ensure!(Instant::now() < deadline, "nothing was tried\n{}", server.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let refused = server.command(&["notify", "test"]).output()?;
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stdout).contains("failed to reach"), "{refused:?}");

    let (receiver, _listening) = Receiver::listen(port, false).await?;
    receiver.until("the hold", &server, |got| !got.is_empty()).await?;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!((receiver.got().len(), receiver.about(&hold).len()), (1, 1), "{:#?}", receiver.got());
    assert_eq!(of_kind(&server.export(&id)?, "notice"), [&json!(null); 0], "nothing was given up");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_killed_before_it_told_anybody_tells_when_it_is_back() -> Result<()> {
    let port = free_port()?;
    let mut server = Server::start(setup(port)).await?;
    let id = server.ask("claude", "killed").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    server.kill()?;
    let (receiver, _listening) = Receiver::listen(port, false).await?;
    server.up().await?;
    receiver.until("the hold", &server, |got| !got.is_empty()).await?;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!((receiver.got().len(), receiver.about(&hold).len()), (1, 1), "{:#?}", receiver.got());
    Ok(())
}

/// Nobody can know whether it arrived: it is sent again, and the id tells the receiver that it is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_killed_while_it_tells_uses_the_same_id_again() -> Result<()> {
    let port = free_port()?;
    let (mute, listening) = Receiver::listen(port, true).await?;
    let mut server = Server::start(setup(port)).await?;
    let id = server.ask("claude", "killed").await?;
    let hold = server.hold(&id, "tool", &[]).await?;
    mute.until("the hold", &server, |got| !got.is_empty()).await?;
    server.kill()?;
    listening.abort();
    let _ = listening.await;
    let (receiver, _listening) = Receiver::listen(port, false).await?;
    server.up().await?;
    receiver.until("the hold", &server, |got| !got.is_empty()).await?;
    tokio::time::sleep(A_WHILE).await;
    let (before, after) = (mute.about(&hold), receiver.about(&hold));
    assert_eq!((before.len(), after.len()), (1, 1), "{:#?}", receiver.got());
    assert_eq!((&before[0].id, &before[0].body), (&after[0].id, &after[0].body));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reminder_comes_once_and_only_while_the_hold_is_open() -> Result<()> {
    let port = free_port()?;
    let (receiver, _listening) = Receiver::listen(port, false).await?;
    let server = Server::start(setup(port)).await?;
    let (answered, open) = (server.ask("hasty", "answered").await?, server.ask("hasty", "left open").await?);
    let quick = server.hold(&answered, "tool", &[]).await?;
    let slow = server.hold(&open, "tool", &[]).await?;
    server.decide(&quick, json!({"action": "deny"})).await?;
    let reminders = |hold: &Value| {
        let all = receiver.about(hold);
        all.into_iter().filter(|got| got.body["type"] == "hold.reminder").collect::<Vec<_>>()
    };
    receiver.until("the reminder", &server, |_| !reminders(&slow).is_empty()).await?;
    tokio::time::sleep(A_WHILE).await;
    let reminded = reminders(&slow);
    assert_eq!((reminded.len(), reminders(&quick).len()), (1, 0), "{:#?}", receiver.got());
    assert_eq!(reminded[0].body["data"]["before_expiry_s"], 52);
    let opened = receiver.about(&slow).into_iter().find(|got| got.body["type"] == "hold.opened");
    assert_ne!(opened.context("told when it opened")?.id, reminded[0].id);
    Ok(())
}
