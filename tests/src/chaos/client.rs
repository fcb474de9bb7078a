//! The API as the harness's people use it, while the server is killed under them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use eventsource_stream::{Event as Sent, Eventsource as _};
use futures::{Stream, StreamExt as _};
use serde_json::{Value, json};

use super::check::Outcome;

/// Longer than any pause that the harness makes, so that a silent server counts as gone.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// How long to wait before a server that is being started is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Somebody with a token.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
    /// The name of the account.
    pub(super) name: &'static str,
}

impl Client {
    pub(super) fn new(url: &str, token: &str, name: &'static str) -> Result<Self> {
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).build()?;
        Ok(Self { http, url: url.to_owned(), token: token.to_owned(), name })
    }

    /// GET until there is an answer.
    pub(super) async fn get(&self, path: &str) -> (u16, Value) {
        loop {
            let request = self.http.get(format!("{}{path}", self.url)).header("accept", "application/json");
            if let Ok(answer) = self.send(request).await
                && answer.0 < 500
            {
                return answer;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// POST, once: nobody knows whether one without an answer was taken.
    pub(super) async fn post(&self, path: &str, body: &Value) -> (Outcome, Value) {
        let request = self.http.post(format!("{}{path}", self.url)).json(body);
        match self.send(request).await {
            Ok((200..=299, body)) => (Outcome::Taken, body),
            Ok((500.., body)) => (Outcome::Unknown, body),
            Ok((status, body)) => {
                let answered_by = body["answered_by"]["name"].as_str().map(str::to_owned);
                (Outcome::Refused { status, answered_by }, body)
            }
            Err(_) => (Outcome::Unknown, Value::Null),
        }
    }

    /// Starts a conversation. The key makes it one, however often it has to be tried.
    pub(super) async fn start(&self, agent: &str, prompt: &str) -> Result<String> {
        let body = json!({"agent": agent, "inputs": {"prompt": prompt}});
        loop {
            let request = self
                .http
                .post(format!("{}/v1/executions", self.url))
                .header("idempotency-key", prompt.replace(' ', "-"))
                .json(&body);
            match self.send(request).await {
                Ok((200 | 201, body)) => {
                    return Ok(body["id"].as_str().context("an id")?.to_owned());
                }
                Ok((status @ 400..=499, body)) => anyhow::bail!("{agent} is refused with {status}: {body}"),
                _ => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    }

    /// The events of an execution after one, for as long as the connection lasts.
    pub(super) async fn stream(
        &self,
        id: &str,
        after: u64,
    ) -> Result<impl Stream<Item = Result<Sent>> + Unpin + use<>> {
        let response = self
            .http
            .get(format!("{}/v1/executions/{id}/events?after={after}", self.url))
            .bearer_auth(&self.token)
            .header("accept", "text/event-stream")
            .send()
            .await?
            .error_for_status()?;
        Ok(response.bytes_stream().eventsource().map(|event| Ok(event?)))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(u16, Value)> {
        let response = request.bearer_auth(&self.token).timeout(ANSWER_WITHIN).send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }
}
