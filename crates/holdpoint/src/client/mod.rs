//! The terminal's side of the HTTP API.

pub mod feed;
pub mod ids;
pub mod types;

use std::{fmt, time::Duration};

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::{
    data::{DataDir, Presence},
    failure::{Exit, Failure},
    port,
};

/// How long to wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long an answer may take, uploads included.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// Says to the control plane that a person at a terminal acts.
const CHANNEL: (&str, &str) = ("holdpoint-channel", "terminal");

/// Which control plane.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The data folder, whose control plane is meant where no address is given.
    pub data: &'a DataDir,
    /// The address.
    pub url: Option<&'a str>,
    /// The token for it.
    pub token: Option<&'a SecretString>,
}

impl Target<'_> {
    /// Finds address and token. Connects to nothing yet.
    ///
    /// # Errors
    /// When none is known.
    pub fn connect(&self) -> Result<Api, Failure> {
        let presence = self.data.presence()?;
        let (base, token) = match (self.url, presence) {
            (None, Presence::Absent) => {
                return Err(Failure::new("Holdpoint is not running")
                    .exit(Exit::NotRunning)
                    .why(format!("nothing has the data folder {}", self.data.root().display()))
                    .next("holdpoint up"));
            }
            (None, Presence::Between) => return Err(between(self.data)),
            (None, Presence::Running(control)) => {
                let token = self.token.cloned().unwrap_or_else(|| control.token.into());
                (control.url, token)
            }
            (Some(url), presence) => {
                let url = url.trim_end_matches('/').to_owned();
                let own = match presence {
                    Presence::Running(control) if control.url == url => Some(control.token.into()),
                    _ => None,
                };
                let Some(token) = self.token.cloned().or(own) else {
                    return Err(Failure::new(format!("no token for {url}")).exit(Exit::Usage).next(
                        "export HOLDPOINT_TOKEN=…     (made there by: holdpoint token create --name NAME)",
                    ));
                };
                (url, token)
            }
        };
        Api::new(base, token)
    }
}

/// Why a control plane that has the data folder cannot be asked anything.
#[must_use]
pub fn between(data: &DataDir) -> Failure {
    Failure::new("Holdpoint is starting or ending, and answers nobody just now")
        .exit(Exit::NotRunning)
        .why(format!("a process has the data folder {}", data.root().display()))
        .next("try again in a moment")
}

/// A control plane to talk to.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    token: SecretString,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Api {
    fn new(base: String, token: SecretString) -> Result<Self, Failure> {
        let bad = |why: String| Failure::new(format!("{base:?} is no address")).exit(Exit::Usage).why(why);
        let url = reqwest::Url::parse(&base).map_err(|error| bad(error.to_string()))?;
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .user_agent(concat!("holdpoint/", env!("CARGO_PKG_VERSION")));
        if url.host_str().is_some_and(port::is_local) {
            // A proxy that the person has set for the world is not for this machine.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| bad(error.to_string()))?;
        Ok(Self { http, base, token })
    }

    /// Its address, without a slash at its end.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request, signed.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(self.token.expose_secret())
            .header(CHANNEL.0, CHANNEL.1)
    }

    /// Sends a request and takes every answer but success as an error.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body: Value = response.json().await.unwrap_or_default();
        Err(ApiError::refused(status, &body, &self.base))
    }

    /// GET, as JSON.
    ///
    /// # Errors
    /// When it cannot be reached, or refuses.
    pub async fn get(&self, path: &str) -> Result<Value, ApiError> {
        let request =
            self.request(Method::GET, path).header("accept", "application/json").timeout(ANSWER_WITHIN);
        self.json(request).await
    }

    /// POST of JSON, as JSON.
    ///
    /// # Errors
    /// When it cannot be reached, or refuses.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.json(self.request(Method::POST, path).timeout(ANSWER_WITHIN).json(body)).await
    }

    /// PATCH of JSON, as JSON.
    ///
    /// # Errors
    /// When it cannot be reached, or refuses.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.json(self.request(Method::PATCH, path).timeout(ANSWER_WITHIN).json(body)).await
    }

    /// As [`Self::post`], and may be sent again with the same key without happening twice.
    ///
    /// # Errors
    /// When it cannot be reached, or refuses.
    pub async fn post_once(&self, path: &str, key: &str, body: &Value) -> Result<Value, ApiError> {
        let request = self.request(Method::POST, path).header("idempotency-key", key);
        self.json(request.timeout(ANSWER_WITHIN).json(body)).await
    }

    async fn json(&self, request: RequestBuilder) -> Result<Value, ApiError> {
        let response = self.send(request).await?;
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| ApiError {
            kind: ErrorKind::Garbled,
            failure: Failure::new(format!("{} answers with something else than JSON", self.base))
                .why(error)
                .next("check that --url is a Holdpoint"),
        })
    }

    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> ApiError {
        let mut why = error.to_string();
        // The outer error only repeats the address; the innermost says what happened.
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            why = inner.to_string();
            source = inner.source();
        }
        ApiError {
            kind: ErrorKind::Unreachable,
            failure: Failure::new(format!("Holdpoint does not answer at {}", self.base))
                .exit(Exit::NotRunning)
                .why(why)
                .next("holdpoint up"),
        }
    }
}

/// Why a request came to nothing.
#[derive(Debug)]
pub struct ApiError {
    /// What to do about it.
    pub kind: ErrorKind,
    /// What to tell the person.
    pub failure: Failure,
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// It may answer later.
    Unreachable,
    /// It is going down or has too much to do: it may answer later.
    Busy,
    /// It said no.
    Refused(StatusCode),
    /// It is no control plane, or of another time.
    Garbled,
}

impl ErrorKind {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Unreachable | Self::Busy)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fmt(f)
    }
}

impl std::error::Error for ApiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.failure)
    }
}

impl ApiError {
    /// Out of a `problem+json`.
    fn refused(status: StatusCode, body: &Value, base: &str) -> Self {
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let title = match text("title") {
            title if title.is_empty() => format!("{base} answers with {status}"),
            title => title,
        };
        let mut failure = Failure::new(title).why(text("detail"));
        if let Some(errors) = body["errors"].as_object() {
            let lines: Vec<String> = errors
                .iter()
                .map(|(field, what)| format!("{field}: {}", what.as_str().unwrap_or_default()))
                .collect();
            failure = failure.why(lines.join("\n"));
        }
        let hint = text("hint");
        if !hint.is_empty() {
            failure = failure.next(hint);
        }
        let failure = match status {
            StatusCode::UNAUTHORIZED => failure
                .next("holdpoint token create --name NAME     (on the machine where it runs)")
                .next("export HOLDPOINT_TOKEN=…"),
            StatusCode::NOT_FOUND => failure.exit(Exit::NotFound),
            StatusCode::CONFLICT | StatusCode::GONE => failure.exit(Exit::Conflict),
            _ if text("code") == "unknown_agent" => failure.exit(Exit::NotFound),
            _ => failure,
        };
        let kind = match status {
            StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::GATEWAY_TIMEOUT => ErrorKind::Busy,
            _ => ErrorKind::Refused(status),
        };
        Self { kind, failure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data::ControlFile, env::Environment};

    #[test]
    fn what_a_killed_control_plane_left_is_not_connected_to() {
        let dir = tempfile::tempdir().expect("dir");
        let data = DataDir::locate(Some(dir.path()), &Environment::default()).expect("data");
        let url = "http://127.0.0.1:1";
        let control = |pid| ControlFile { url: url.into(), pid, token: "t".into() };
        data.write_control(&control(1)).expect("write");
        let to = |url| Target { data: &data, url, token: None }.connect();
        let failure = to(None).expect_err("nobody has the folder");
        assert_eq!((failure.exit, failure.what.as_str()), (Exit::NotRunning, "Holdpoint is not running"));
        assert_eq!(to(Some(url)).expect_err("the token is not for whoever is there").exit, Exit::Usage);
        let _lock = data.lock().expect("free");
        assert_eq!(to(None).expect_err("written by another").exit, Exit::NotRunning);
        data.write_control(&control(i32::try_from(std::process::id()).expect("pid"))).expect("write");
        assert_eq!(to(None).expect("running").base(), url);
        assert!(to(Some(url)).is_ok());
    }
}
