//! What the operator at the terminal may do without signing in, because the data folder is theirs:
//! tokens and links. Through the control plane while it runs (it has the database), else by itself.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use holdpoint_model::UnixMs;
use holdpoint_store::{Store, TokenId};
use reqwest::Method;
use serde_json::{Value, json};

use super::{now, open, people, people::TokenWish};
use crate::{
    client::{
        between,
        types::{TokenItem, items},
    },
    data::{ControlFile, DataDir, Presence},
    failure::{Exit, Failure},
};

/// How long the control plane has to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait for a control plane that is just starting or ending, and how often to look.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A token for a user of this name, who is made if there is none.
///
/// # Errors
/// When the name is taken by a user of another role, or nothing can be written.
pub async fn create_token(data: &DataDir, wish: TokenWish) -> anyhow::Result<String> {
    anyhow::ensure!(!wish.name.trim().is_empty(), "a token needs a name: --name NAME");
    match running(data).await? {
        Some(control) => {
            let TokenWish { name, role, scopes, expires } = wish;
            let body = json!({ "name": name, "role": role, "scopes": scopes, "expires": expires });
            text(&ask(&control, Method::POST, "/v1/tokens", Some(body)).await?, "token")
        }
        None => by_itself(data, async |store| people::make_token(store, wish, now()).await).await,
    }
}

/// Every token, without the tokens themselves.
///
/// # Errors
/// When they cannot be read.
pub async fn list_tokens(data: &DataDir) -> anyhow::Result<Vec<TokenItem>> {
    match running(data).await? {
        Some(control) => Ok(items(&ask(&control, Method::GET, "/v1/tokens", None).await?)),
        None => by_itself(data, async |store| people::list_tokens(store).await).await,
    }
}

/// Takes a token back: who has it is out at once.
///
/// # Errors
/// When there is none, or it cannot be written.
pub async fn revoke_token(data: &DataDir, id: &str) -> anyhow::Result<()> {
    match running(data).await? {
        Some(control) => {
            ask(&control, Method::DELETE, &format!("/v1/tokens/{id}"), None).await?;
            Ok(())
        }
        None => {
            let id: TokenId = id.parse().context("a token's id")?;
            let there_was =
                by_itself(data, async |store| Ok(store.delete_token(id, people::terminal()).await?)).await?;
            anyhow::ensure!(there_was, Failure::new(format!("there is no token {id}")).exit(Exit::NotFound));
            Ok(())
        }
    }
}

/// A fresh one-time sign-in link.
///
/// # Errors
/// When nothing can be written.
pub async fn create_link(data: &DataDir, base_url: &str) -> anyhow::Result<String> {
    match running(data).await? {
        Some(control) => text(&ask(&control, Method::POST, "/v1/links", Some(json!({}))).await?, "url"),
        None => {
            let now: UnixMs = now();
            by_itself(data, async |store| people::make_link(store, base_url, now).await).await
        }
    }
}

/// Without a control plane.
async fn by_itself<T>(
    data: &DataDir,
    what: impl AsyncFnOnce(&Store) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let store = open(data).await?;
    let done = what(&store).await;
    store.close().await;
    done
}

/// The control plane that has the data folder now. One that is starting or ending has the database
/// too, so it is waited for rather than passed by.
async fn running(data: &DataDir) -> Result<Option<ControlFile>, Failure> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        match data.presence()? {
            Presence::Running(control) => return Ok(Some(control)),
            Presence::Absent => return Ok(None),
            Presence::Between if Instant::now() < deadline => tokio::time::sleep(LOOK_EVERY).await,
            Presence::Between => return Err(between(data)),
        }
    }
}

async fn ask(
    control: &ControlFile,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> anyhow::Result<Value> {
    let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
    let request = client.request(method, format!("{}{path}", control.url)).bearer_auth(&control.token);
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    let answer = request
        .send()
        .await
        .with_context(|| format!("the control plane at {} does not answer", control.url))?;
    let status = answer.status();
    let bytes = answer.bytes().await.context("the control plane's answer broke off")?;
    if status.is_success() && bytes.is_empty() {
        return Ok(Value::Null);
    }
    let body: Value = serde_json::from_slice(&bytes).context("the control plane's answer is no JSON")?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Environment;
    use holdpoint_model::Role;

    fn wish(name: &str, role: Role) -> TokenWish {
        TokenWish { name: name.into(), role, scopes: None, expires: None }
    }

    #[tokio::test]
    async fn a_control_plane_that_starts_is_waited_for() {
        let dir = tempfile::tempdir().expect("dir");
        let data = DataDir::locate(Some(dir.path()), &Environment::default()).expect("data");
        let lock = data.lock().expect("free");
        let later = {
            let data = data.clone();
            async move {
                tokio::time::sleep(LOOK_EVERY * 2).await;
                let pid = i32::try_from(std::process::id()).expect("pid");
                let control = ControlFile { url: "http://127.0.0.1:1".into(), pid, token: "t".into() };
                data.write_control(&control).expect("write");
            }
        };
        let (found, ()) = tokio::join!(running(&data), later);
        assert_eq!(found.expect("no failure").expect("running").url, "http://127.0.0.1:1");
        // One that ends gives way.
        data.remove_control();
        let ends = async move {
            tokio::time::sleep(LOOK_EVERY * 2).await;
            drop(lock);
        };
        let (found, ()) = tokio::join!(running(&data), ends);
        assert!(found.expect("no failure").is_none());
    }

    #[tokio::test]
    async fn tokens_are_made_listed_and_taken_back_without_a_control_plane() {
        let dir = tempfile::tempdir().expect("dir");
        let data = DataDir::locate(Some(dir.path()), &Environment::default()).expect("data");
        create_token(&data, wish("ci", Role::Asker)).await.expect("made");
        let all = list_tokens(&data).await.expect("list");
        assert_eq!((all.len(), all[0].name.as_str(), all[0].role.as_str()), (1, "ci", "asker"));
        revoke_token(&data, &all[0].id).await.expect("revoked");
        assert!(list_tokens(&data).await.expect("list").is_empty());
        assert!(revoke_token(&data, &all[0].id).await.is_err());
    }

    #[tokio::test]
    async fn the_terminals_token_is_new_at_each_start_and_older_ones_go() {
        let dir = tempfile::tempdir().expect("dir");
        let data = DataDir::locate(Some(dir.path()), &Environment::default()).expect("data");
        create_token(&data, wish(crate::client::types::OPERATOR, Role::Admin)).await.expect("a person's own");
        let store = open(&data).await.expect("store");
        let (first, older) = people::terminal_token(&store).await.expect("first");
        assert_eq!(older, []);
        let (second, older) = people::terminal_token(&store).await.expect("second");
        assert_ne!(first, second);
        for id in older {
            assert!(store.delete_token(id, people::terminal()).await.expect("deleted"));
        }
        let good = async |token: &str| {
            let hash = holdpoint_web::hash_token(token);
            store.principal_by_token(hash).await.expect("read").is_some()
        };
        assert!(!good(&first).await && good(&second).await);
        let names: Vec<String> =
            people::list_tokens(&store).await.expect("list").into_iter().map(|token| token.name).collect();
        assert_eq!(names.len(), 2, "what a person made stays: {names:?}");
        store.close().await;
    }
}
