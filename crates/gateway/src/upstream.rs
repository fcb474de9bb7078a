//! Where answers come from: the real API, or a script.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use holdpoint_model::{ExecutionId, Incarnation};
use http::{HeaderMap, Method, StatusCode};

use crate::{thread::Thread, wire::Request};

/// A request on its way upstream. The session's token is not in it any more.
#[derive(Debug, Clone)]
pub struct Call {
    /// `POST`, but `GET` for the list of models.
    pub method: Method,
    /// Path and query, from `/v1/` on.
    pub path: String,
    /// The headers that are the API's business; see [`crate::headers`].
    pub headers: HeaderMap,
    /// The body, unchanged.
    pub body: Bytes,
    /// The body, read. Empty for requests other than `POST /v1/messages`.
    pub request: Arc<Request>,
    /// Whose session.
    pub execution: ExecutionId,
    /// Which incarnation.
    pub incarnation: Incarnation,
    /// Which of its conversations.
    pub thread: Thread,
    /// The script that answers it, if this session is rehearsed.
    pub script: Option<String>,
    /// The folder of everything that is this session's, as [`Ticket::place`](crate::Ticket::place).
    pub place: String,
}

/// An upstream's answer.
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, not yet filtered.
    pub headers: HeaderMap,
    /// Its body, in the chunks it comes in.
    pub body: BoxStream<'static, Result<Bytes, UpstreamError>>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).finish_non_exhaustive()
    }
}

/// There is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// There was no connection: nothing was sent, and nothing is paid.
    #[error("{0}")]
    Unreachable(String),
    /// It broke off. What was sent may have been answered, and paid.
    #[error("{0}")]
    Broken(String),
}

/// Something that answers Messages requests.
pub trait Upstream: Send + Sync + 'static {
    /// Sends a request. An error status is an answer, not an [`UpstreamError`].
    fn send(&self, call: Call) -> BoxFuture<'_, Result<Reply, UpstreamError>>;
}

/// Sends rehearsed sessions to their script and all others to the model.
pub struct Switch {
    /// The model. None: nothing but rehearsals is possible.
    pub live: Option<Arc<dyn Upstream>>,
    /// The scripts.
    pub rehearsal: Arc<dyn Upstream>,
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switch").field("live", &self.live.is_some()).finish_non_exhaustive()
    }
}

impl Upstream for Switch {
    fn send(&self, call: Call) -> BoxFuture<'_, Result<Reply, UpstreamError>> {
        match &self.live {
            _ if call.script.is_some() => self.rehearsal.send(call),
            Some(live) => live.send(call),
            None => {
                let message = "no API key is set, so only rehearsed agents can run: set the gateway's API key, or give the agent a rehearsal script";
                let error = crate::error::ApiError::new(StatusCode::FORBIDDEN, message);
                Box::pin(std::future::ready(Ok(Reply::json(error.status, &error.body()))))
            }
        }
    }
}

impl Reply {
    /// A whole JSON answer.
    #[must_use]
    pub fn json(status: StatusCode, body: &serde_json::Value) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        let body = Bytes::from(body.to_string());
        Self { status, headers, body: Box::pin(futures::stream::iter([Ok(body)])) }
    }
}
