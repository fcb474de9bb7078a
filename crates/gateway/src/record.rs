//! The record of model calls: what is kept of each, and the trait behind which the binary keeps it.

use std::sync::Arc;

use futures::future::BoxFuture;
use holdpoint_model::{CallId, ExecutionId, Incarnation, pricing::Tokens};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::ApiError,
    gist::Gist,
    thread::{Place, Thread},
};

/// A call that is about to go upstream. Its cost is reserved with it (invariant 14).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewCall {
    /// Whose session calls.
    pub execution: ExecutionId,
    /// Which incarnation of it.
    pub incarnation: Incarnation,
    /// Which of its conversations.
    pub thread: Thread,
    /// Where in that conversation.
    pub place: Place,
    /// The model asked for.
    pub model: String,
    /// SHA-256 of the request's body, `sha256:…`.
    pub request_digest: String,
    /// The request's size in bytes.
    pub request_bytes: u64,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Millionths of a dollar set aside for it; see [`crate::reserve`].
    pub reserved_micros: u64,
    /// What is new in the request.
    pub asked: Gist,
}

/// A response that came whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// HTTP status of the upstream's answer: 200.
    pub status: u16,
    /// The whole response, as the Message object of a non-streamed answer.
    pub response: Arc<Value>,
    /// What [`crate::replay`] needs of it, so that the response itself is read only to be replayed.
    pub footprint: Footprint,
    /// Why the model stopped.
    pub stop_reason: Option<String>,
    /// Tokens used.
    pub tokens: Tokens,
    /// Millionths of a dollar it cost.
    pub cost_micros: u64,
}

/// A call without a whole response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// HTTP status of the upstream's answer; none if it never answered.
    pub status: Option<u16>,
    /// The API's error, or what happened on the way. For people.
    pub reason: String,
    /// Whether a stream had begun. Then the counts are what had been seen of it, and it was paid.
    pub incomplete: bool,
    /// Tokens used, as far as known.
    pub tokens: Tokens,
    /// Millionths of a dollar it cost, as far as known.
    pub cost_micros: u64,
}

/// The marks by which a later request shows that it contains a response.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Footprint {
    /// Ids of its tool uses, in order. Server tools are not among them: the API runs those itself.
    pub tool_uses: Vec<String>,
    /// Digests of its texts that are not blank, trimmed.
    pub texts: Vec<String>,
    /// Digests of its thinking signatures.
    pub signatures: Vec<String>,
}

/// A whole response of the current turn, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedCall {
    /// Its id.
    pub id: CallId,
    /// The incarnation it was generated for.
    pub incarnation: Incarnation,
    /// The conversation it was generated for.
    pub thread: Thread,
    /// Where in that conversation.
    pub place: Place,
    /// Its marks.
    pub footprint: Footprint,
    /// The incarnations that it was delivered to, to its last byte.
    pub delivered_to: Vec<Incarnation>,
}

/// Why the record did not take something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The call must not be made, and trying again is of no use: a budget is used up, the execution
    /// has ended. The text is shown to the person.
    #[error("{0}")]
    Refused(String),
    /// The incarnation no longer acts.
    #[error("this incarnation no longer acts")]
    Fenced,
    /// The record itself failed.
    #[error("the record of model calls failed: {0}")]
    Failed(String),
}

impl From<RecordError> for ApiError {
    fn from(error: RecordError) -> Self {
        match error {
            // Not 402 or 429: the CLI tries those again, 403 ends the turn at once.
            RecordError::Refused(why) => Self::new(http::StatusCode::FORBIDDEN, why),
            RecordError::Fenced => Self::unauthenticated(error.to_string()),
            RecordError::Failed(_) => Self::internal(error.to_string()),
        }
    }
}

/// Keeps the record of model calls. Implemented over the database by the binary, in memory by
/// [`crate::MemoryRecorder`].
///
/// When a method's future is done, what it says is committed.
pub trait Recorder: Send + Sync + 'static {
    /// A call is about to be made. Refusing it here is how a budget ends a session.
    fn begin(&self, call: NewCall) -> BoxFuture<'_, Result<CallId, RecordError>>;

    /// A call's response came whole. Its last bytes are held back until this is committed.
    fn complete(&self, id: CallId, recorded: Recorded) -> BoxFuture<'_, Result<(), RecordError>>;

    /// A call ended without a whole response.
    fn fail(&self, id: CallId, failure: Failure) -> BoxFuture<'_, Result<(), RecordError>>;

    /// A recorded response is about to be replayed, in whole or in part, to this incarnation. It costs
    /// nothing; a record of what happened notes it, and refuses an incarnation that was fenced off.
    fn replaying(&self, id: CallId, incarnation: Incarnation) -> BoxFuture<'_, Result<(), RecordError>> {
        let _ = (id, incarnation);
        Box::pin(std::future::ready(Ok(())))
    }

    /// A response, new or replayed, went to this incarnation to its last byte.
    fn delivered(&self, id: CallId, incarnation: Incarnation) -> BoxFuture<'_, Result<(), RecordError>>;

    /// All whole responses since the execution's last turn boundary (a person's message, an
    /// interrupt), of every thread but [`Thread::Side`], in the order they were completed.
    fn current_turn(&self, execution: ExecutionId) -> BoxFuture<'_, Result<Vec<RecordedCall>, RecordError>>;

    /// The response of a call that `current_turn` named.
    fn response(&self, id: CallId) -> BoxFuture<'_, Result<Arc<Value>, RecordError>>;
}
