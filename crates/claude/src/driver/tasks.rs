//! The four tasks of a session: stdin, stdout, stderr, and the process itself.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::asks::AskKind;
use super::queue::EventSender;
use super::shared::{INITIALIZE_ID, Outgoing, Shared};
use crate::error::ControlError;
use crate::event::{Event, Exit, InitializeResponse, McpMessage, StreamFault, WithRaw};
use crate::frame::{ControlReply, Frame, InboundRequest, LineError, LineReader, parse_line};
use crate::mcp::SdkMcpServer;
use crate::options::RUN_MARKER_ENV;
use crate::process::{KillReport, kill_by_env_marker};
use crate::wire::Line;

/// How long stdout and stderr are read after the process is gone and all its descendants were killed. What is
/// in the pipes is there already; only a process stuck in the kernel could hold them open.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

pub(super) async fn write(mut stdin: ChildStdin, mut lines: mpsc::Receiver<Outgoing>) {
    while let Some(Outgoing::Line(line, done)) = lines.recv().await {
        let written = async {
            stdin.write_all(line.as_bytes()).await?;
            stdin.flush().await
        };
        if let Err(error) = written.await {
            // The process is gone or going; its end tells the rest.
            tracing::debug!(%error, "stdin is closed");
            return;
        }
        if let Some(done) = done {
            let _ = done.send(());
        }
    }
}

/// The end of stderr.
#[derive(Debug, Default)]
pub(super) struct Tail(Mutex<VecDeque<u8>>);

impl Tail {
    fn push(&self, bytes: &[u8], limit: usize) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(bytes);
        let excess = kept.len().saturating_sub(limit);
        kept.drain(..excess);
    }

    fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

pub(super) async fn drain_stderr(mut stderr: ChildStderr, tail: Arc<Tail>, limit: usize) {
    let mut chunk = vec![0; 8192];
    while let Ok(count @ 1..) = stderr.read(&mut chunk).await {
        tail.push(&chunk[..count], limit);
    }
}

pub(super) struct Reader {
    pub(super) shared: Arc<Shared>,
    pub(super) events: EventSender,
    pub(super) servers: BTreeMap<String, Arc<dyn SdkMcpServer>>,
    pub(super) abort_on_auth_failure: bool,
}

impl Reader {
    /// Reads to the end of stdout and gives the queue back for the last event.
    pub(super) async fn run(mut self, stdout: ChildStdout) -> EventSender {
        let mut lines = LineReader::new(stdout);
        let mut gone = self.shared.exit.subscribe();
        loop {
            let overdue = async {
                let _ = gone.wait_for(Option::is_some).await;
                tokio::time::sleep(DRAIN_GRACE).await;
            };
            let line = tokio::select! {
                line = lines.next_line() => line,
                () = overdue => return self.events,
            };
            match line {
                Ok(Some(line)) => self.line(&line).await,
                Ok(None) => return self.events,
                Err(error) => {
                    let fault = match error {
                        LineError::TooLong { limit } => StreamFault::LineTooLong { limit },
                        LineError::Io(error) => StreamFault::Io(error.to_string()),
                    };
                    self.events.push(Event::Fault(fault), 0).await;
                    // Whatever follows has a hole in it. Nobody should act on that.
                    let _ = kill_all(&self.shared).await;
                    return self.events;
                }
            }
        }
    }

    async fn line(&mut self, line: &[u8]) {
        let event = match parse_line(line, self.shared.context()) {
            Ok(Frame::Event(event)) => {
                self.shared.observe(&event);
                self.abort_if_unauthenticated(&event);
                Some(event)
            }
            Ok(Frame::Reply(reply)) if reply.request_id == INITIALIZE_ID => self.handshake(reply),
            Ok(Frame::Reply(reply)) => {
                self.shared.settle_call(reply);
                None
            }
            Ok(Frame::Request(request)) => Some(self.request(request)),
            Ok(Frame::Withdrawn(id)) => self.shared.asks().withdraw(&id).then_some(Event::AskWithdrawn(id)),
            Err(malformed) => Some(Event::Unknown { raw: malformed.raw, reason: malformed.reason }),
        };
        if let Some(event) = event {
            self.events.push(event, line.len()).await;
        }
    }

    fn handshake(&self, reply: ControlReply) -> Option<Event> {
        let subtype = || "initialize".to_owned();
        let read = match reply.result {
            Ok(raw) => InitializeResponse::deserialize(&raw)
                .map(|response| (response, raw))
                .map_err(|error| ControlError::Shape { subtype: subtype(), reason: error.to_string() }),
            Err(refusal) => Err(ControlError::Refused { subtype: subtype(), refusal }),
        };
        match read {
            Ok((response, raw)) => {
                self.shared.handshake.send_replace(Some(Ok(Arc::new(response.clone()))));
                Some(Event::Initialized(Box::new(WithRaw::new(response, raw))))
            }
            Err(error) => {
                tracing::warn!(%error, "the handshake failed");
                self.shared.handshake.send_replace(Some(Err(error)));
                None
            }
        }
    }

    fn request(&self, request: InboundRequest) -> Event {
        let opened = |id: &crate::RequestId, kind| self.shared.asks().opened(id.clone(), kind);
        match request {
            InboundRequest::Permission(ask) => {
                opened(&ask.request_id, AskKind::Permission(ask.input_json.clone()));
                Event::Ask(ask)
            }
            InboundRequest::Hook(call) => {
                opened(&call.request_id, AskKind::Hook);
                Event::HookCall(call)
            }
            InboundRequest::Elicitation(call) => {
                opened(&call.request_id, AskKind::Elicitation);
                Event::Elicitation(call)
            }
            InboundRequest::Mcp(message) => {
                opened(&message.request_id, AskKind::Mcp);
                self.serve_mcp(&message);
                Event::McpMessage(message)
            }
            InboundRequest::Unsupported { request_id, subtype, raw } => {
                let shared = self.shared.clone();
                let text = format!("unsupported request: {subtype}");
                tokio::spawn(async move {
                    if let Ok(line) = Line::error(&request_id, &text) {
                        let _ = shared.deliver(line).await;
                    }
                });
                Event::Unknown { raw, reason: format!("unsupported request `{subtype}`") }
            }
        }
    }

    /// In a task of its own: a slow tool must not keep the next frame waiting.
    fn serve_mcp(&self, message: &McpMessage) {
        let shared = self.shared.clone();
        let id = message.request_id.clone();
        let work = self.servers.get(&message.server).map(|server| server.handle(message.message.clone()));
        tokio::spawn(async move {
            let reply = match work {
                None => Err("no such server in this process".to_owned()),
                // A task of its own once more, so that a panic becomes an answer too.
                Some(work) => match tokio::spawn(work).await {
                    // The CLI wants an answer to notifications as well; this is what it takes.
                    Ok(reply) => {
                        Ok(reply.unwrap_or_else(|| json!({"jsonrpc": "2.0", "id": 0, "result": {}})))
                    }
                    Err(_) => Err("the server failed".to_owned()),
                },
            };
            if !shared.asks().answered(&id) {
                return;
            }
            let line = match reply {
                Ok(response) => serde_json::value::to_raw_value(&json!({ "mcp_response": response }))
                    .and_then(|raw| Line::success(&id, &raw)),
                Err(text) => Line::error(&id, &text),
            };
            if let Ok(line) = line {
                let _ = shared.deliver(line).await;
            }
        });
    }

    fn abort_if_unauthenticated(&self, event: &Event) {
        let Event::ApiRetry(retry) = event else { return };
        if self.abort_on_auth_failure && retry.is_authentication() && self.shared.begin_auth_abort() {
            let shared = self.shared.clone();
            tokio::spawn(async move { shared.call("interrupt", Map::<String, Value>::new()).await });
        }
    }
}

/// Kills the process and everything it ever started.
pub(super) async fn kill_all(shared: &Arc<Shared>) -> KillReport {
    let shared = shared.clone();
    spawn_blocking(move || kill_all_blocking(&shared)).await.unwrap_or_default()
}

pub(super) fn kill_all_blocking(shared: &Shared) -> KillReport {
    let mut report = shared.root.kill();
    report.merge(kill_by_env_marker(RUN_MARKER_ENV, &shared.run_marker));
    report
}

/// Waits for the process, clears up behind it and says how it ended.
pub(super) async fn supervise(
    mut child: Child,
    shared: Arc<Shared>,
    mut reader: JoinHandle<EventSender>,
    stderr: JoinHandle<()>,
    tail: Arc<Tail>,
) {
    let status = child.wait().await.ok();
    // What the CLI left running: commands in the background, servers that did not end with it.
    let marker = shared.run_marker.clone();
    let _ = spawn_blocking(move || kill_by_env_marker(RUN_MARKER_ENV, &marker)).await;
    // Whether the end was expected depends on the last result. A host that does not read its events cannot
    // hold this up for ever.
    let early = tokio::time::timeout(DRAIN_GRACE, &mut reader).await;
    let _ = tokio::time::timeout(DRAIN_GRACE, stderr).await;
    let exit = exit(status, &shared, tail.text());
    tracing::debug!(?exit.code, ?exit.signal, exit.expected, "the CLI has ended");
    shared.exit.send_replace(Some(exit.clone()));
    let queue = match early {
        Ok(queue) => queue,
        Err(_) => reader.await,
    };
    shared.abandon_calls();
    shared.busy.send_replace(false);
    if let Ok(mut queue) = queue {
        queue.push(Event::Exited(exit), 0).await;
    }
}

fn exit(status: Option<ExitStatus>, shared: &Shared, stderr_tail: String) -> Exit {
    let code = status.and_then(|status| status.code());
    let signal = status.and_then(|status| status.signal());
    Exit { code, signal, expected: shared.expects(code), stderr_tail }
}
