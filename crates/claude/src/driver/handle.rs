//! The host's grip on a session: messages and answers.

use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::asks::AskKind;
use super::shared::{Ending, Outgoing, Shared};
use super::tasks::kill_all_blocking;
use crate::answer::{AnswerOutcome, ElicitationAnswer, HookAnswer, PermissionAnswer};
use crate::error::{ControlError, SendError};
use crate::event::{Exit, InitializeResponse, RequestId};
use crate::lock::SessionLock;
use crate::wire::{Line, UserMessage};

/// A session, for whoever talks to it. Cheap to clone; no call waits for another.
///
/// When the last handle is dropped, the session is killed with everything it started, so nothing outlives its
/// host by accident. [`close`](Self::close) ends it in an orderly way. Until then, and also after the process
/// has ended, the handles keep the session locked: drop them before it is resumed.
#[derive(Clone)]
pub struct Handle {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    pub(super) sdk_servers: Map<String, Value>,
    _lock: SessionLock,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.shared.exit.borrow().is_none() {
            self.shared.want_end(Ending::Killed);
            kill_all_blocking(&self.shared);
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("session", &self.session())
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>, lock: SessionLock, sdk_servers: Map<String, Value>) -> Self {
        Self { inner: Arc::new(Inner { shared, sdk_servers, _lock: lock }) }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// The session it was started with. `/clear` makes the CLI go on under another id.
    pub fn session(&self) -> Uuid {
        self.shared().session
    }

    /// The CLI's process. It has a session and a process group of its own under this number.
    pub fn pid(&self) -> u32 {
        self.shared().pid
    }

    /// The value of [`RUN_MARKER_ENV`](crate::RUN_MARKER_ENV) in every process of this run. Kept somewhere
    /// safe, it lets a successor find them with [`kill_by_env_marker`](crate::kill_by_env_marker).
    pub fn run_marker(&self) -> &str {
        &self.shared().run_marker
    }

    /// Waits for the handshake's reply.
    ///
    /// # Errors
    ///
    /// When the CLI refuses the handshake, or ends before its reply; the events tell why.
    pub async fn initialized(&self) -> Result<Arc<InitializeResponse>, ControlError> {
        let mut handshake = self.shared().handshake.subscribe();
        let reply = handshake.wait_for(Option::is_some).await.map_err(|_| SendError::Closed)?;
        reply.clone().unwrap_or(Err(ControlError::Send(SendError::Closed)))
    }

    /// Whether a turn runs, as far as the CLI has said.
    pub fn is_busy(&self) -> bool {
        *self.shared().busy.borrow()
    }

    /// The questions that wait for the host.
    pub fn open_asks(&self) -> Vec<RequestId> {
        self.shared().asks().waiting()
    }

    /// Sends a message and returns its uuid. While a turn runs the message is queued; all queued messages are
    /// answered in one turn.
    ///
    /// # Errors
    ///
    /// When the session has ended.
    pub async fn send(&self, message: UserMessage) -> Result<Uuid, SendError> {
        let line = message.line()?;
        self.shared().busy.send_replace(true);
        self.shared().deliver(line).await?;
        Ok(message.id())
    }

    /// Answers a permission ask. Returns once the answer is in the CLI's pipe; answers in any order.
    ///
    /// # Errors
    ///
    /// When the session has ended; nobody has seen the answer then.
    pub async fn answer(&self, id: &RequestId, answer: PermissionAnswer) -> Result<AnswerOutcome, SendError> {
        let write = |kind: &AskKind| match kind {
            AskKind::Permission(asked) => Some(Reply::written(answer.to_json(asked))),
            _ => None,
        };
        self.settle(id, write).await
    }

    /// Answers a hook.
    ///
    /// # Errors
    ///
    /// When the session has ended; nobody has seen the answer then.
    pub async fn answer_hook(&self, id: &RequestId, answer: HookAnswer) -> Result<AnswerOutcome, SendError> {
        let write = |kind: &AskKind| match (kind, &answer.0) {
            (AskKind::Hook, Ok(value)) => Some(Reply::written(to_raw_value(value))),
            (AskKind::Hook, Err(message)) => Some(Ok(Reply::Error(message.clone()))),
            _ => None,
        };
        self.settle(id, write).await
    }

    /// Answers an elicitation.
    ///
    /// # Errors
    ///
    /// When the session has ended; nobody has seen the answer then.
    pub async fn answer_elicitation(
        &self,
        id: &RequestId,
        answer: ElicitationAnswer,
    ) -> Result<AnswerOutcome, SendError> {
        let write = |kind: &AskKind| match kind {
            AskKind::Elicitation => Some(Reply::written(to_raw_value(&answer.to_json()))),
            _ => None,
        };
        self.settle(id, write).await
    }

    /// Settles a question with what `write` makes of it; `None` means that the answer does not fit the
    /// question.
    async fn settle(
        &self,
        id: &RequestId,
        write: impl FnOnce(&AskKind) -> Option<Result<Reply, SendError>>,
    ) -> Result<AnswerOutcome, SendError> {
        let shared = self.shared();
        // Room first: between taking the question and handing the line over there is no point to stop at, so
        // an answer is either sent or the question is still open.
        let Ok(permit) = shared.outgoing.reserve().await else {
            let outcome = shared.asks().outcome(id);
            return if outcome == AnswerOutcome::Unknown { Err(SendError::Closed) } else { Ok(outcome) };
        };
        let (done, written) = oneshot::channel();
        {
            let mut asks = shared.asks();
            let Some(kind) = asks.open(id) else { return Ok(asks.outcome(id)) };
            let line = match write(kind) {
                None => return Ok(AnswerOutcome::Unknown),
                Some(reply) => match reply? {
                    Reply::Success(response) => Line::success(id, &response)?,
                    Reply::Error(message) => Line::error(id, &message)?,
                },
            };
            asks.answered(id);
            permit.send(Outgoing::Line(line, Some(done)));
        }
        written.await.map_err(|_| SendError::Closed)?;
        Ok(AnswerOutcome::Answered)
    }

    /// Waits until the process is gone. The same is said by [`Event::Exited`](crate::Event::Exited).
    pub async fn exited(&self) -> Exit {
        let mut exit = self.shared().exit.subscribe();
        // The sender lives in `shared`, so this cannot fail.
        let seen = exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        seen.unwrap_or(Exit { code: None, signal: None, expected: false, stderr_tail: String::new() })
    }
}

/// What goes back for a question.
enum Reply {
    Success(Box<RawValue>),
    Error(String),
}

impl Reply {
    fn written(json: Result<Box<RawValue>, serde_json::Error>) -> Result<Self, SendError> {
        Ok(Self::Success(json?))
    }
}
