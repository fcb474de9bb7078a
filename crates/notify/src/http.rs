//! What the channels have in common: one POST, and what its answer means.

use std::{error::Error as _, time::Duration};

use holdpoint_model::UnixMs;
use reqwest::{RequestBuilder, Response, Url, header::RETRY_AFTER, redirect::Policy};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{Receipt, SendError, SettingsError, text::one_line};

/// How long a connection may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a try may take in all; the Standard Webhooks specification advises 15 to 30 seconds.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(15);

/// How much of an answer is read: enough to see what the other side has to say.
const MAX_ANSWER_BYTES: usize = 2_048;

/// How much of it is passed on, in characters.
const MAX_ANSWER_CHARS: usize = 200;

/// Where a channel leads. The address as a whole may be a secret: whoever knows an ntfy topic reads it.
pub(crate) struct Target {
    client: reqwest::Client,
    url: Url,
    host: String,
}

impl Target {
    pub(crate) fn new(url: &str, proxy: Option<&SecretString>) -> Result<Self, SettingsError> {
        let url = Url::parse(url.trim()).map_err(|_| SettingsError::Url)?;
        let Some(host) = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")) else {
            return Err(SettingsError::Url);
        };
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let unusable = |error: reqwest::Error| SettingsError::Client(plain(error));
        let mut client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(SEND_TIMEOUT)
            .redirect(Policy::none())
            .user_agent(concat!("holdpoint/", env!("CARGO_PKG_VERSION")))
            .no_proxy();
        if let Some(proxy) = proxy {
            client = client.proxy(reqwest::Proxy::all(proxy.expose_secret()).map_err(unusable)?);
        }
        Ok(Self { client: client.build().map_err(unusable)?, url, host })
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn post(&self) -> RequestBuilder {
        self.client.post(self.url.clone())
    }

    pub(crate) async fn send(&self, request: RequestBuilder, now: UnixMs) -> Result<Receipt, SendError> {
        let host = || self.host.clone();
        let response = request.send().await.map_err(|error| {
            if error.is_timeout() && !error.is_connect() {
                SendError::TimedOut { host: host() }
            } else {
                SendError::Unreachable { host: host(), why: plain(error) }
            }
        })?;
        let status = response.status();
        if status.is_redirection() {
            return Err(SendError::Redirected { host: host(), status: status.as_u16() });
        }
        let retry_after = retry_after(&response, now);
        let answer = beginning(response).await;
        if status.is_success() {
            return Ok(Receipt { status: status.as_u16(), answer });
        }
        Err(SendError::Refused { host: host(), status: status.as_u16(), retry_after, answer })
    }
}

/// Seconds, or a date.
fn retry_after(response: &Response, now: UnixMs) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond();
    Some(Duration::from_millis(u64::try_from(at.saturating_sub(now)).unwrap_or(0)))
}

/// Only for the eye: an answer that breaks off is as good.
async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_ANSWER_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(MAX_ANSWER_BYTES);
    one_line(&String::from_utf8_lossy(&bytes), MAX_ANSWER_CHARS)
}

/// The error with its causes in one line, without the address.
fn plain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
