//! The real API, over HTTP.

use std::fmt;

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    limits::{CONNECT_TIMEOUT, READ_TIMEOUT},
    upstream::{Call, Reply, Upstream, UpstreamError},
};

/// How to reach the API.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Up to and without `/v1`, for example `https://api.anthropic.com`.
    pub base_url: String,
    /// The real key, sent as `x-api-key`.
    pub api_key: SecretString,
    /// A proxy's URL. The environment's proxy settings are not read.
    pub proxy: Option<String>,
}

/// Why [`Http::new`] refuses its settings.
#[derive(Debug, thiserror::Error)]
pub enum HttpSettingsError {
    /// The key cannot be sent as a header.
    #[error("the API key holds characters that no HTTP header may hold (a line end, perhaps): set it again")]
    ApiKey,
    /// Not a URL.
    #[error("{0:?} is not the URL of a Messages API: expected https://host, without /v1")]
    BaseUrl(String),
    /// The client could not be made.
    #[error("the HTTP client could not be set up: {0}")]
    Client(#[from] reqwest::Error),
}

/// Calls the API over HTTP, streams unbuffered.
pub struct Http {
    client: reqwest::Client,
    base_url: String,
    api_key: SecretString,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

impl Http {
    /// A client with its own pool of connections.
    ///
    /// # Errors
    /// See [`HttpSettingsError`].
    pub fn new(settings: HttpSettings) -> Result<Self, HttpSettingsError> {
        HeaderValue::from_str(settings.api_key.expose_secret()).map_err(|_| HttpSettingsError::ApiKey)?;
        let base_url = settings.base_url.trim_end_matches('/').to_owned();
        match reqwest::Url::parse(&base_url) {
            Ok(url) if url.has_host() && matches!(url.scheme(), "http" | "https") => {}
            _ => return Err(HttpSettingsError::BaseUrl(settings.base_url)),
        }
        let mut client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .no_proxy();
        if let Some(proxy) = &settings.proxy {
            client = client.proxy(reqwest::Proxy::all(proxy)?);
        }
        Ok(Self { client: client.build()?, base_url, api_key: settings.api_key })
    }
}

impl Upstream for Http {
    fn send(&self, call: Call) -> BoxFuture<'_, Result<Reply, UpstreamError>> {
        async move {
            let mut headers = call.headers;
            let mut key = HeaderValue::from_str(self.api_key.expose_secret())
                .map_err(|_| UpstreamError::Unreachable("the API key cannot be sent".into()))?;
            key.set_sensitive(true);
            headers.insert("x-api-key", key);
            let url = format!("{}{}", self.base_url, call.path);
            let request = self.client.request(call.method, url).headers(headers).body(call.body);
            let response = request.send().await.map_err(plain)?;
            Ok(Reply {
                status: response.status(),
                headers: response.headers().clone(),
                body: response.bytes_stream().map(|chunk| chunk.map_err(plain)).boxed(),
            })
        }
        .boxed()
    }
}

/// The error with its causes in one line, without the URL.
fn plain(error: reqwest::Error) -> UpstreamError {
    let is_unsent = error.is_connect() || error.is_builder();
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    if is_unsent { UpstreamError::Unreachable(text) } else { UpstreamError::Broken(text) }
}
