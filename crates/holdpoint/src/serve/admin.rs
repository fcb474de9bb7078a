//! What the operator at the terminal may do without signing in, because the data folder is theirs:
//! make tokens and links. Through the control plane while it runs (it has the database), else by itself.

use std::{io, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use holdpoint_model::Role;
use serde_json::{Value, json};

use super::{now, open, people};
use crate::{
    data::{ControlFile, DataDir},
    failure::Failure,
};

/// How long the control plane has to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A token for a user of this name, who is made if there is none.
///
/// # Errors
/// When the name is taken by a user of another role, or nothing can be written.
pub async fn create_token(data: &DataDir, name: &str, role: Role) -> anyhow::Result<String> {
    anyhow::ensure!(!name.trim().is_empty(), "a token needs a name: --name NAME");
    match running(data)? {
        Some(control) => {
            let answer = post(&control, "/v1/tokens", json!({"name": name, "role": role})).await?;
            text(&answer, "token")
        }
        None => {
            let store = open(data).await?;
            let token = people::make_token(&store, name, role).await;
            store.close().await;
            token
        }
    }
}

/// A fresh one-time sign-in link.
///
/// # Errors
/// When nothing can be written.
pub async fn create_link(data: &DataDir, base_url: &str) -> anyhow::Result<String> {
    match running(data)? {
        Some(control) => text(&post(&control, "/v1/links", json!({})).await?, "url"),
        None => {
            let store = open(data).await?;
            let link = people::make_link(&store, base_url, now()).await;
            store.close().await;
            link
        }
    }
}

/// The control plane that has the data folder now.
fn running(data: &DataDir) -> anyhow::Result<Option<ControlFile>> {
    if data.locked_by().is_none() {
        return Ok(None);
    }
    Ok(data.read_control()?)
}

async fn post(control: &ControlFile, path: &str, body: Value) -> anyhow::Result<Value> {
    let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
    let answer = client
        .post(format!("{}{path}", control.url))
        .bearer_auth(&control.token)
        .json(&body)
        .send()
        .await
        .with_context(|| format!("the control plane at {} does not answer", control.url))?;
    let status = answer.status();
    let body: Value = answer.json().await.context("the control plane's answer is no JSON")?;
    let why = body["detail"].as_str().or(body["title"].as_str()).unwrap_or("it gave no reason");
    anyhow::ensure!(status.is_success(), "the control plane refused: {why}");
    Ok(body)
}

fn text(answer: &Value, key: &str) -> anyhow::Result<String> {
    Ok(answer[key].as_str().with_context(|| format!("the control plane's answer has no `{key}`"))?.to_owned())
}

/// Why the address cannot be listened on: by whom it is taken, and which flag chooses another.
pub(super) fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    crate::port::cannot_listen(address, error)
}
