//! What the tasks of one session and its handles share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::asks::Asks;
use crate::error::{ControlError, SendError};
use crate::event::{Event, Exit, InitializeResponse, SessionState};
use crate::frame::{Context, ControlRefusal, ControlReply};
use crate::process::Root;
use crate::wire::Line;

/// How many lines wait for stdin. They are written at once as a rule; a CLI that lets this many pile up is
/// stuck, and callers then wait.
const OUTGOING_LEN: usize = 64;

/// The id of the handshake.
pub(super) const INITIALIZE_ID: &str = "initialize";

/// Work for the writer.
pub(super) enum Outgoing {
    /// Write this and say when it is in the pipe.
    Line(Line, Option<oneshot::Sender<()>>),
    /// Close stdin.
    Close,
}

/// What the host wants of the process's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Ending {
    /// Nothing: it is to live.
    Unwanted = 0,
    /// It was told to end.
    Closing = 1,
    /// It is being killed.
    Killed = 2,
}

type Handshake = Option<Result<Arc<InitializeResponse>, ControlError>>;
type Call = oneshot::Sender<Result<Value, ControlRefusal>>;

pub(super) struct Shared {
    pub(super) session: Uuid,
    pub(super) pid: u32,
    pub(super) root: Root,
    pub(super) run_marker: String,
    pub(super) control_timeout: Duration,
    pub(super) outgoing: mpsc::Sender<Outgoing>,
    pub(super) handshake: watch::Sender<Handshake>,
    /// A turn is running, as far as the host can know.
    pub(super) busy: watch::Sender<bool>,
    pub(super) exit: watch::Sender<Option<Exit>>,
    asks: Mutex<Asks>,
    calls: Mutex<HashMap<String, Call>>,
    next_call: AtomicU64,
    ending: AtomicU8,
    schema_asked: bool,
    auth_aborted: AtomicBool,
    last_turn_failed: AtomicBool,
    says_its_state: AtomicBool,
}

/// What does not change while a session runs.
pub(super) struct Fixed {
    pub(super) session: Uuid,
    pub(super) pid: u32,
    pub(super) run_marker: String,
    pub(super) control_timeout: Duration,
    pub(super) schema_asked: bool,
}

impl Shared {
    pub(super) fn new(fixed: Fixed) -> (Self, mpsc::Receiver<Outgoing>) {
        let (outgoing, lines) = mpsc::channel(OUTGOING_LEN);
        let shared = Self {
            session: fixed.session,
            pid: fixed.pid,
            root: Root::of(fixed.pid),
            run_marker: fixed.run_marker,
            control_timeout: fixed.control_timeout,
            outgoing,
            handshake: watch::Sender::new(None),
            busy: watch::Sender::new(false),
            exit: watch::Sender::new(None),
            asks: Mutex::default(),
            calls: Mutex::default(),
            next_call: AtomicU64::new(1),
            ending: AtomicU8::new(Ending::Unwanted as u8),
            schema_asked: fixed.schema_asked,
            auth_aborted: AtomicBool::new(false),
            last_turn_failed: AtomicBool::new(false),
            says_its_state: AtomicBool::new(false),
        };
        (shared, lines)
    }

    pub(super) fn asks(&self) -> MutexGuard<'_, Asks> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<String, Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line; returns once it is in the pipe. A line that was handed over is written even when the
    /// caller stops waiting.
    pub(super) async fn deliver(&self, line: Line) -> Result<(), SendError> {
        let permit = self.outgoing.reserve().await.map_err(|_| SendError::Closed)?;
        let (done, written) = oneshot::channel();
        permit.send(Outgoing::Line(line, Some(done)));
        written.await.map_err(|_| SendError::Closed)
    }

    /// Puts a request and waits for its reply.
    pub(super) async fn call(
        &self,
        subtype: &str,
        fields: Map<String, Value>,
    ) -> Result<Value, ControlError> {
        let id = format!("host-{}", self.next_call.fetch_add(1, Ordering::Relaxed));
        let line = Line::request(&id, subtype, fields).map_err(SendError::from)?;
        let (sender, reply) = oneshot::channel();
        self.calls().insert(id.clone(), sender);
        // Also when the caller stops waiting.
        let _forget = Forget { shared: self, id };
        let exchange = async {
            self.deliver(line).await?;
            let reply = reply.await.map_err(|_| SendError::Closed)?;
            reply.map_err(|refusal| ControlError::Refused { subtype: subtype.to_owned(), refusal })
        };
        let after = self.control_timeout;
        match tokio::time::timeout(after, exchange).await {
            Ok(result) => result,
            Err(_) => Err(ControlError::Timeout { subtype: subtype.to_owned(), after }),
        }
    }

    pub(super) fn settle_call(&self, reply: ControlReply) {
        match self.calls().remove(&reply.request_id) {
            Some(call) => drop(call.send(reply.result)),
            None => tracing::debug!(request_id = reply.request_id, "a reply nobody waits for"),
        }
    }

    /// Nothing more will be read: whoever waits for a reply waits in vain.
    pub(super) fn abandon_calls(&self) {
        self.calls().clear();
        self.handshake.send_if_modified(|handshake| {
            let open = handshake.is_none();
            handshake.get_or_insert(Err(ControlError::Send(SendError::Closed)));
            open
        });
        self.asks().withdraw_all();
    }

    pub(super) fn context(&self) -> Context {
        Context { schema_asked: self.schema_asked, auth_aborted: self.auth_aborted.load(Ordering::Relaxed) }
    }

    /// Keeps track of whether a turn runs and how the last one ended.
    pub(super) fn observe(&self, event: &Event) {
        match event {
            Event::SystemInit(_) => {
                self.busy.send_replace(true);
            }
            Event::SessionState(change) => {
                self.says_its_state.store(true, Ordering::Relaxed);
                match change.state {
                    SessionState::Idle => {
                        self.busy.send_replace(false);
                    }
                    SessionState::Running | SessionState::RequiresAction => {
                        self.busy.send_replace(true);
                    }
                    SessionState::Other => {}
                }
            }
            Event::Result(result) => {
                self.last_turn_failed.store(!result.outcome.is_success(), Ordering::Relaxed);
                self.auth_aborted.store(false, Ordering::Relaxed);
                // A result says nothing about the messages that wait (2.1.330 counts 0 while two do), so the
                // CLI's own word counts where it gives one.
                if !self.says_its_state.load(Ordering::Relaxed) {
                    self.busy.send_replace(result.queued_turn_count > 0);
                }
            }
            _ => {}
        }
    }

    /// Whether this is the first sign of wrong credentials in this turn.
    pub(super) fn begin_auth_abort(&self) -> bool {
        !self.auth_aborted.swap(true, Ordering::Relaxed)
    }

    pub(super) fn want_end(&self, how: Ending) {
        self.ending.fetch_max(how as u8, Ordering::Relaxed);
    }

    /// Whether an end with this code is what the host wanted.
    pub(super) fn expects(&self, code: Option<i32>) -> bool {
        let ending = self.ending.load(Ordering::Relaxed);
        let failed_turn = self.last_turn_failed.load(Ordering::Relaxed);
        ending == Ending::Killed as u8
            || code == Some(0)
            || (ending == Ending::Closing as u8 && code == Some(1) && failed_turn)
    }
}

struct Forget<'a> {
    shared: &'a Shared,
    id: String,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.calls().remove(&self.id);
    }
}
