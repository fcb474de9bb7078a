//! The endpoint itself. One file per endpoint; `relay` is the way of a call's bytes.

mod messages;
mod other;
mod outgoing;
mod relay;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    routing::{get, post},
};
use holdpoint_model::ExecutionId;
use tokio_util::task::TaskTracker;

use crate::{
    desk::Desk,
    error::ApiError,
    gate::{Gate, Rates},
    record::Recorder,
    ticket::{self, Ticket, Tickets},
    upstream::Upstream,
};

/// The gateway's parts. Clones share them.
#[derive(Clone)]
pub struct Gateway {
    tickets: Arc<dyn Tickets>,
    recorder: Arc<dyn Recorder>,
    upstream: Arc<dyn Upstream>,
    desk: Desk,
    gate: Gate,
    tasks: TaskTracker,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("calls", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl Gateway {
    /// A gateway that knows sessions by `tickets`, keeps its record in `recorder` and gets answers from
    /// `upstream` (often a [`crate::Switch`]).
    #[must_use]
    pub fn new(tickets: Arc<dyn Tickets>, recorder: Arc<dyn Recorder>, upstream: Arc<dyn Upstream>) -> Self {
        let (desk, gate, tasks) = (Desk::default(), Gate::default(), TaskTracker::new());
        Self { tickets, recorder, upstream, desk, gate, tasks }
    }

    /// The same, with bounds on what goes upstream. Rehearsals are not bounded.
    #[must_use]
    pub fn with_rates(self, rates: Rates) -> Self {
        Self { gate: Gate::new(rates), ..self }
    }

    /// Calls that wait in the line upstream, and calls that were let through and have not ended.
    #[must_use]
    pub fn line(&self) -> (usize, usize) {
        self.gate.counts()
    }

    /// Calls that have not ended yet, those without a listener included.
    #[must_use]
    pub fn calls_in_flight(&self) -> usize {
        self.tasks.len()
    }

    /// Waits until every call has ended and is recorded. To be used after the listener has stopped, with
    /// a limit of the caller's own: what is not recorded by then will be paid for again.
    pub async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Drops what is held in memory for an execution that has ended.
    pub fn forget(&self, execution: ExecutionId) {
        self.desk.forget(execution);
    }

    /// Whose request this is.
    async fn authenticate(&self, headers: &HeaderMap) -> Result<(String, Ticket), ApiError> {
        let token = ticket::token(headers)
            .ok_or_else(|| ApiError::unauthenticated("x-api-key header is required"))?
            .to_owned();
        match self.tickets.check(&token).await.map_err(|error| ApiError::internal(error.to_string()))? {
            Some(ticket) => Ok((token, ticket)),
            None => Err(ApiError::unauthenticated(
                "invalid x-api-key: this session's token is unknown, or a newer incarnation has taken over",
            )),
        }
    }
}

/// The gateway's routes, to be nested under any prefix. A session gets `<prefix>` as its
/// `ANTHROPIC_BASE_URL`.
pub fn router(gateway: Gateway) -> Router {
    Router::new()
        .route("/v1/messages", post(messages::post))
        .route("/v1/messages/count_tokens", post(other::pass_on))
        .route("/v1/models", get(other::pass_on))
        .route("/v1/models/{model}", get(other::pass_on))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(gateway)
}

async fn unknown(uri: Uri) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("not found: {}", uri.path()))
}

async fn wrong_method(State(_): State<Gateway>) -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
}

/// Path and query as the upstream wants them; the prefix is gone already.
fn upstream_path(uri: &Uri) -> String {
    uri.path_and_query().map_or_else(|| uri.path().to_owned(), |path| path.as_str().to_owned())
}
