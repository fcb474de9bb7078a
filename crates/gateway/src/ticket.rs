//! Who may call: a token is good for one incarnation of one execution, and for nothing else.

use futures::future::BoxFuture;
use holdpoint_model::{ExecutionId, Incarnation};
use http::{HeaderMap, header::AUTHORIZATION};

/// What a session's token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The execution.
    pub execution: ExecutionId,
    /// The one incarnation of it that holds this token.
    pub incarnation: Incarnation,
    /// The script that answers instead of a model.
    pub rehearsal_script: Option<String>,
    /// The folder of everything that is this session's. A cassette has its own word for it, since it is
    /// another one in every conversation; empty when there is none.
    pub place: String,
}

/// Knows the tokens that have been given out.
pub trait Tickets: Send + Sync + 'static {
    /// The token's ticket; none when it is unknown, or its incarnation was fenced off by a higher one.
    fn check<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<Ticket>, TicketsError>>;
}

/// Whether a token is good cannot be said right now. The session is told to try again: to call its
/// token wrong would end its turn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this session's token cannot be checked right now: {0}")]
pub struct TicketsError(pub String);

/// The token in a request: `x-api-key`, which the CLI sends for `ANTHROPIC_API_KEY`, or a bearer token,
/// which it sends for `ANTHROPIC_AUTH_TOKEN`.
pub(crate) fn token(headers: &HeaderMap) -> Option<&str> {
    let bearer = || {
        let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    };
    let key = headers.get("x-api-key").and_then(|value| value.to_str().ok());
    key.or_else(bearer).filter(|token| !token.is_empty())
}
