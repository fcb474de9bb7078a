//! The loop: events of the session become facts; frames of the control plane become answers.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use futures::FutureExt as _;
use holdpoint_claude::{
    AnswerOutcome, Close, CommandState, Event, Events, Handle, HookAnswer, HookCall, PermissionAnswer,
    RequestId, SessionState,
};
use holdpoint_model::{
    Digest, HoldId, MessageId, UnixMs, Verdict,
    event::{Block, Level, Message},
    wire::{
        Behaviour, Delta, Down, Fact, JournalLine, LEASE_MARGIN_MS, LEASE_MS, NumberedFact, RENEW_EVERY_MS,
        Release, Up, WIRE_VERSION, WorkerSpec, block_digest,
    },
};
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tracing::{debug, info, warn};

use crate::{
    facts,
    files::Collector,
    journal::Journal,
    link::{self, FromLink},
    places,
    session::{self, BEFORE_TOOL},
};

/// How long the session has for a polite end.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// How long the last facts may take to be committed before the worker ends anyway; they are in the
/// journal, where the control plane finds them.
const LAST_ACK_WITHIN: Duration = Duration::from_secs(10);

/// Events taken before what they led to is sent: one commit for a burst.
const EVENTS_AT_ONCE: usize = 64;

/// How long the session has to come up.
const START_WITHIN: Duration = Duration::from_secs(120);

/// How long an interrupted turn has to go on, once the session is up.
const RESUME_WITHIN: Duration = Duration::from_secs(60);

/// After the last background task has ended the CLI begins a turn about it, if at all, within
/// milliseconds (seen with 2.1.330: 40).
const REST_AFTER: Duration = Duration::from_secs(1);

/// How the loop goes on after something happened.
enum Next {
    GoOn,
    /// End politely: the conversation is over.
    Close,
    /// End without a word to the session: it goes on later from here.
    Kill,
    /// The session is gone.
    Gone,
}

struct Supervisor {
    spec: WorkerSpec,
    journal: Journal,
    collector: Collector,
    seq: u64,
    /// Facts that the control plane has not committed yet.
    unacked: VecDeque<NumberedFact>,
    /// How many of them were given to the present connection.
    sent: usize,
    up: Option<mpsc::Sender<Up>>,
    welcome: bool,
    lease_ends: Instant,
    /// What the session asks now, by tool call.
    asks: HashMap<String, Ask>,
    releases: HashSet<HoldId>,
    /// Releases that wait for an earlier tool's result to be committed.
    deferred: VecDeque<Release>,
    messages: HashSet<MessageId>,
    delivered: HashSet<MessageId>,
    in_transcript: HashSet<MessageId>,
    /// Blocks of the open turn that are in the log already; they come again when a turn goes on.
    known_blocks: Vec<Digest>,
    /// Tasks that run in the background.
    background: usize,
    is_up: bool,
    rest: Rest,
    /// When to give up waiting for the session, or for its turn to go on.
    patience_ends: Option<Instant>,
}

/// What is known of whether the session has anything to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// It has not said anything about it.
    Unsaid,
    /// It has something to do.
    Busy,
    /// It has nothing to do.
    Idle,
    /// It had nothing to do but wait for a background task, which has ended: unless a turn begins by
    /// then, nothing follows.
    Until(Instant),
}

struct Ask {
    request: RequestId,
    digest: Digest,
}

/// Runs the session until it ends.
pub(crate) async fn supervise(spec: WorkerSpec) -> anyhow::Result<()> {
    let journal = Journal::begin(&spec.run_dir).context("failed to begin the journal")?;
    let mut link = link::keep_connected(spec.control_url.clone(), spec.worker_token.clone());
    let mut supervisor = Supervisor {
        journal,
        collector: Collector::new(spec.workspace.clone(), spec.exclude.clone()),
        seq: 0,
        unacked: VecDeque::new(),
        sent: 0,
        up: None,
        welcome: false,
        lease_ends: Instant::now() + Duration::from_millis(LEASE_MS),
        asks: HashMap::new(),
        releases: HashSet::new(),
        deferred: VecDeque::new(),
        messages: HashSet::new(),
        delivered: HashSet::new(),
        in_transcript: HashSet::new(),
        known_blocks: spec.known_blocks.clone(),
        background: 0,
        is_up: false,
        rest: Rest::Unsaid,
        patience_ends: Some(Instant::now() + START_WITHIN),
        spec,
    };
    match session::start(&supervisor.spec).await {
        Ok(started) => supervisor.run(started, &mut link).await,
        Err(error) => {
            warn!(%error, "the session did not start");
            let fact = match session::hopeless(&error) {
                Some(error) => Fact::Fatal { error },
                None => Fact::Notice {
                    level: Level::Warning,
                    text: format!("The session did not start: failed to {error}."),
                },
            };
            supervisor.tell(fact)?;
            supervisor.settle(&mut link).await;
            Err(error.into())
        }
    }
}

impl Supervisor {
    async fn run(
        &mut self,
        started: session::Started,
        link: &mut mpsc::Receiver<FromLink>,
    ) -> anyhow::Result<()> {
        let session::Started { handle, mut events, resumed, goes_on, in_transcript, lost_messages } = started;
        self.in_transcript = in_transcript;
        let mut renew = tokio::time::interval(Duration::from_millis(RENEW_EVERY_MS));
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lost_messages = Some(lost_messages);
        let next = loop {
            let lease_margin = self.lease_ends - Duration::from_millis(LEASE_MARGIN_MS);
            let (patience_ends, rests_at) = (self.patience_ends, self.rests_at());
            let next = tokio::select! {
                event = events.next() => match event {
                    Some(event) => {
                        let is_up = matches!(event, Event::Initialized(_));
                        let next = self.burst(event, &mut events, &handle, resumed).await?;
                        if let Some(lost) = lost_messages.take_if(|_| is_up) {
                            self.begin(goes_on, lost, &handle).await?;
                        }
                        next
                    }
                    None => Next::Gone,
                },
                frame = link.recv() => match frame {
                    Some(frame) => self.on_link(frame, &handle).await?,
                    None => Next::Kill,
                },
                _ = renew.tick() => {
                    self.send(Up::Renew);
                    Next::GoOn
                }
                () = tokio::time::sleep_until(lease_margin) => {
                    warn!("the lease is nearly over and the control plane does not answer: ending");
                    Next::Kill
                }
                () = sleep_until(rests_at) => {
                    self.rest = Rest::Idle;
                    self.tell(Fact::Idle)?;
                    Next::GoOn
                }
                () = sleep_until(patience_ends) => self.out_of_patience()?,
            };
            self.flush();
            if !matches!(next, Next::GoOn) {
                break next;
            }
        };
        match next {
            Next::Close => {
                handle.close(Close::interrupting(CLOSE_WITHIN)).await;
            }
            _ => {
                handle.kill().await;
            }
        }
        self.settle(link).await;
        if matches!(next, Next::Gone) {
            anyhow::bail!("the session ended without having been told to");
        }
        Ok(())
    }

    /// The session is up: what an interrupted turn needs to go on, if there is one.
    async fn begin(&mut self, goes_on: bool, lost: Vec<Message>, handle: &Handle) -> anyhow::Result<()> {
        self.patience_ends = (goes_on && self.rest == Rest::Unsaid).then(|| Instant::now() + RESUME_WITHIN);
        if !goes_on && lost.is_empty() {
            // It was started for a message or a decision that is still to come.
            self.tell(Fact::Idle)?;
        }
        for message in lost {
            self.messages.insert(message.id);
            self.delivered.insert(message.id);
            handle.send(session::user_message(&message)).await?;
        }
        Ok(())
    }

    /// What was waited for has not come.
    fn out_of_patience(&mut self) -> anyhow::Result<Next> {
        self.patience_ends = None;
        if !self.is_up {
            let text = format!(
                "The Claude CLI did not come up within {} s; it is ended and started again.",
                START_WITHIN.as_secs()
            );
            self.tell(Fact::Notice { level: Level::Warning, text })?;
            return Ok(Next::Gone);
        }
        // Whatever the reason: a turn that never ends would keep everybody waiting.
        self.tell(Fact::TurnEnded(facts::not_resumed()))?;
        self.tell(Fact::Idle)?;
        Ok(Next::GoOn)
    }

    fn rests_at(&self) -> Option<Instant> {
        match self.rest {
            Rest::Until(at) => Some(at),
            _ => None,
        }
    }

    /// Handles an event and those that are there already, so that a burst is told at once.
    async fn burst(
        &mut self,
        first: Event,
        events: &mut Events,
        handle: &Handle,
        resumed: bool,
    ) -> anyhow::Result<Next> {
        let mut event = Some(first);
        for _ in 0..EVENTS_AT_ONCE {
            let Some(present) = event.take() else { break };
            let next = self.on_event(present, handle, resumed).await?;
            if !matches!(next, Next::GoOn) {
                return Ok(next);
            }
            event = events.next().now_or_never().flatten();
        }
        match event {
            // The queue was longer than one burst: what was taken out must not be lost.
            Some(last) => self.on_event(last, handle, resumed).await,
            None => Ok(Next::GoOn),
        }
    }

    async fn on_event(&mut self, event: Event, handle: &Handle, resumed: bool) -> anyhow::Result<Next> {
        match event {
            Event::Initialized(reply) => {
                self.is_up = true;
                let cli_version = reply.claude_code_version.clone().unwrap_or_default();
                self.tell(Fact::SessionReady { cli_version, resumed })?;
            }
            Event::Assistant(message) if message.api_error => {}
            Event::Assistant(message) => {
                for block in facts::blocks(&message) {
                    if !self.is_known(&block.block) {
                        self.tell(Fact::Assistant(block))?;
                    }
                }
            }
            Event::UserFrame(frame) => {
                for result in facts::tool_results(&frame) {
                    self.asks.remove(&result.tool_use_id);
                    if !self.spec.known_results.contains_key(&result.tool_use_id) {
                        self.tell(Fact::ToolResult(result))?;
                    }
                }
            }
            Event::StreamEvent(part) => self.delta(&part),
            Event::Ask(ask) => {
                let input = ask.input.clone();
                let place = places::of(&self.spec, &ask.tool_name, &input);
                self.asks.insert(
                    ask.tool_use_id.clone(),
                    Ask { request: ask.request_id.clone(), digest: Digest::of(&input) },
                );
                self.tell(Fact::Asked {
                    tool_use_id: ask.tool_use_id.clone(),
                    tool: ask.tool_name.clone(),
                    input,
                    place,
                    description: ask.description.clone(),
                    agent_id: ask.agent_id.clone(),
                })?;
            }
            Event::AskWithdrawn(request) => {
                let call =
                    self.asks.iter().find(|(_, ask)| ask.request == request).map(|(call, _)| call.clone());
                if let Some(call) = call {
                    self.asks.remove(&call);
                    self.tell(Fact::AskWithdrawn { tool_use_id: call })?;
                }
            }
            Event::HookCall(call) => self.before_tool(&call, handle).await?,
            Event::Elicitation(call) => {
                let text = format!(
                    "The MCP server `{}` asked for something (“{}”); it was declined, because nobody can answer such a form yet.",
                    call.server, call.message
                );
                self.tell(Fact::Notice { level: Level::Warning, text })?;
                handle
                    .answer_elicitation(&call.request_id, holdpoint_claude::ElicitationAnswer::Decline)
                    .await?;
            }
            Event::CommandLifecycle(command) => {
                if matches!(command.state, CommandState::Started | CommandState::Completed) {
                    self.deliver(MessageId(command.command_uuid))?;
                }
            }
            Event::ApiRetry(retry) => {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let delay_ms = retry.retry_delay_ms.max(0.0) as u64;
                self.tell(Fact::ApiRetry {
                    attempt: u32::try_from(retry.attempt).unwrap_or(u32::MAX),
                    max_retries: u32::try_from(retry.max_retries).unwrap_or(u32::MAX),
                    delay_ms,
                    status: retry.error_status,
                    error: retry.error.clone(),
                })?;
            }
            Event::SessionState(change) => match change.state {
                SessionState::Idle => {
                    self.rest = Rest::Idle;
                    self.tell(Fact::Idle)?;
                }
                _ => (self.rest, self.patience_ends) = (Rest::Busy, None),
            },
            Event::BackgroundTasks(tasks) => {
                if tasks.tasks.len() != self.background {
                    self.background = tasks.tasks.len();
                    let running = u32::try_from(self.background).unwrap_or(u32::MAX);
                    self.tell(Fact::Background { running })?;
                }
                if self.background == 0 && self.rest == Rest::Idle {
                    self.rest = Rest::Until(Instant::now() + REST_AFTER);
                }
            }
            Event::Result(turn) => {
                for message in &turn.user_message_uuids {
                    self.deliver(MessageId(*message))?;
                }
                self.known_blocks.clear();
                self.spec.known_results.clear();
                // Told before files are looked for: that takes as long as there are files, and a loss in
                // between would leave a turn without an end.
                self.tell(Fact::TurnEnded(facts::turn_result(&turn)))?;
                self.flush();
                self.collect().await?;
                if self.rest == Rest::Unsaid {
                    self.tell(Fact::Idle)?;
                }
            }
            Event::PermissionDenied(denied) => {
                let text =
                    format!("The Claude CLI refused {} by itself: {}", denied.tool_name, denied.message);
                self.tell(Fact::Notice { level: Level::Info, text })?;
            }
            Event::CompactBoundary(_) => {
                let text =
                    "The conversation was compacted: the model now works from a summary of what came before.";
                self.tell(Fact::Notice { level: Level::Info, text: text.into() })?;
            }
            Event::ModelFallback(fallback) => {
                let text = format!(
                    "Another model took over: {} instead of {}.",
                    fallback.fallback_model.as_deref().unwrap_or("the fallback"),
                    fallback.original_model.as_deref().unwrap_or("the first")
                );
                self.tell(Fact::Notice { level: Level::Warning, text })?;
            }
            Event::Unknown { raw, .. } => {
                self.tell(Fact::CliFrame {
                    name: facts::frame_name(&raw),
                    frame: facts::bounded_frame(&raw),
                })?;
            }
            Event::Fault(fault) => {
                let text = format!("The stream from the Claude CLI cannot be read any more: {fault:?}.");
                self.tell(Fact::Notice { level: Level::Warning, text })?;
            }
            Event::Exited(exit) => {
                info!(code = exit.code, signal = exit.signal, stderr = %exit.stderr_tail, "the session ended");
                let how = match (exit.code, exit.signal) {
                    (_, Some(signal)) => format!("signal {signal}"),
                    (Some(code), None) => format!("code {code}"),
                    (None, None) => "no code".into(),
                };
                let (stderr, _) = facts::cut(exit.stderr_tail.trim(), 2_000);
                let text = format!("The Claude CLI ended with {how}. {stderr}");
                self.tell(Fact::Notice { level: Level::Warning, text: text.trim().to_owned() })?;
                return Ok(Next::Gone);
            }
            // Signs of life and small news, shown nowhere.
            _ => {}
        }
        Ok(Next::GoOn)
    }

    /// Every tool call comes by here before the CLI's own rules are asked.
    async fn before_tool(&mut self, call: &HookCall, handle: &Handle) -> anyhow::Result<()> {
        let (Some(tool), Some(id)) = (call.tool_name.as_deref(), call.tool_use_id.as_deref()) else {
            handle.answer_hook(&call.request_id, HookAnswer::pass()).await?;
            return Ok(());
        };
        if call.callback_id != BEFORE_TOOL {
            handle.answer_hook(&call.request_id, HookAnswer::pass()).await?;
            return Ok(());
        }
        let input = call.tool_input.clone().unwrap_or(Value::Null);
        let answer = if let Some(known) = self.spec.known_results.get(id) {
            // The log has its result, the session's transcript lost it: it must not run again.
            HookAnswer::deny(&format!(
                "This call was carried out before the session was interrupted; it is not run a second time. Its result was{}:\n{}",
                if known.is_error { " an error" } else { "" },
                known.content
            ))
        } else {
            let policy = &self.spec.policy;
            let place = places::of(&self.spec, tool, &input);
            let place = place.as_deref();
            match policy.verdict(tool, &input, place) {
                Verdict::Allow(rule) if policy.is_repeatable(tool, &input, place) => {
                    self.tell(Fact::ToolStarted { tool_use_id: id.to_owned(), tool: tool.to_owned(), rule })?;
                    HookAnswer::allow("the agent's policy allows this")
                }
                _ if matches!(tool, "AskUserQuestion" | "ExitPlanMode") => HookAnswer::pass(),
                _ => HookAnswer::ask("Holdpoint decides"),
            }
        };
        handle.answer_hook(&call.request_id, answer).await?;
        Ok(())
    }

    async fn on_link(&mut self, frame: FromLink, handle: &Handle) -> anyhow::Result<Next> {
        let frame = match frame {
            FromLink::Frame(frame) => *frame,
            FromLink::Connected(up) => {
                self.connected(up).await;
                return Ok(Next::GoOn);
            }
            FromLink::Disconnected => {
                (self.up, self.welcome) = (None, false);
                return Ok(Next::GoOn);
            }
            FromLink::Unwanted(reason) => {
                warn!(%reason, "this worker is not wanted any more: ending");
                return Ok(Next::Kill);
            }
        };
        match frame {
            Down::Release(release) => {
                if self.releases.insert(release.hold) {
                    self.journal.append(&JournalLine::Release { hold: release.hold })?;
                    self.deferred.push_back(release);
                    self.release_what_may(handle).await?;
                }
            }
            Down::Send { message } => self.send_message(message, handle).await?,
            Down::Interrupt => {
                let handle = handle.clone();
                tokio::spawn(async move {
                    if let Err(error) = handle.interrupt().await {
                        debug!(%error, "the interrupt had no effect");
                    }
                });
            }
            Down::Stop { park: true } => return Ok(Next::Kill),
            Down::Stop { park: false } => return Ok(Next::Close),
            Down::Refused { reason } => {
                warn!(%reason, "the control plane refused this worker: ending");
                return Ok(Next::Kill);
            }
            other => {
                self.on_bookkeeping(&other);
                self.release_what_may(handle).await?;
            }
        }
        Ok(Next::GoOn)
    }

    fn on_bookkeeping(&mut self, frame: &Down) {
        match frame {
            Down::Welcome { acked, lease_ms } => {
                self.acked(*acked);
                self.sent = 0;
                self.welcome = true;
                self.renewed(*lease_ms);
            }
            Down::Ack { up_to } => self.acked(*up_to),
            Down::Lease { lease_ms } => self.renewed(*lease_ms),
            _ => {}
        }
    }

    async fn connected(&mut self, up: mpsc::Sender<Up>) {
        let hello = Up::Hello {
            wire: WIRE_VERSION,
            execution: self.spec.execution,
            incarnation: self.spec.incarnation,
            last_seq: self.seq,
            releases: self.releases.iter().copied().collect(),
            messages: self.messages.iter().copied().collect(),
        };
        self.welcome = false;
        if up.send(hello).await.is_ok() {
            self.up = Some(up);
        }
    }

    fn acked(&mut self, up_to: u64) {
        while self.unacked.front().is_some_and(|fact| fact.seq <= up_to) {
            self.unacked.pop_front();
            self.sent = self.sent.saturating_sub(1);
        }
    }

    fn renewed(&mut self, lease_ms: u64) {
        self.lease_ends = Instant::now() + Duration::from_millis(lease_ms);
    }

    /// Writes answers to the CLI, in the order in which they were released. A tool's result must
    /// be committed before the next answer goes out.
    async fn release_what_may(&mut self, handle: &Handle) -> anyhow::Result<()> {
        while !self.unacked.iter().any(|fact| matches!(fact.fact, Fact::ToolResult(_))) {
            let Some(release) = self.deferred.pop_front() else { return Ok(()) };
            self.release(release, handle).await?;
        }
        Ok(())
    }

    async fn release(&mut self, release: Release, handle: &Handle) -> anyhow::Result<()> {
        let hold = release.hold;
        let Some(ask) = self.asks.get(&release.tool_use_id) else {
            let reason = "the session did not ask for this any more when the answer came".to_owned();
            return self.tell(Fact::AnswerDropped { hold, reason });
        };
        if ask.digest != release.digest {
            let reason = "the session asks for something else than what was decided on".to_owned();
            return self.tell(Fact::AnswerDropped { hold, reason });
        }
        let answer = match release.behaviour {
            Behaviour::Allow { input: Value::Object(input) } => {
                let unedited = Digest::of(&Value::Object(input.clone())) == release.digest;
                if unedited { PermissionAnswer::allow() } else { PermissionAnswer::allow_with(input) }
            }
            Behaviour::Allow { .. } => PermissionAnswer::allow(),
            Behaviour::Deny { message } => PermissionAnswer::deny(message),
        };
        let request = ask.request.clone();
        // Journaled first, on disk: from here on the tool may have run.
        self.tell(Fact::AnswerWritten { hold })?;
        self.journal.sync()?;
        match handle.answer(&request, answer).await? {
            AnswerOutcome::Answered | AnswerOutcome::AlreadyAnswered => Ok(()),
            AnswerOutcome::Withdrawn | AnswerOutcome::Unknown => {
                let reason = "the session took its question back before the answer reached it".to_owned();
                self.tell(Fact::AnswerDropped { hold, reason })
            }
        }
    }

    async fn send_message(&mut self, message: Message, handle: &Handle) -> anyhow::Result<()> {
        if !self.messages.insert(message.id) {
            return Ok(());
        }
        self.journal.append(&JournalLine::Send { message: message.id })?;
        if self.in_transcript.contains(&message.id) {
            return self.deliver(message.id);
        }
        handle.send(session::user_message(&message)).await?;
        Ok(())
    }

    fn deliver(&mut self, message: MessageId) -> anyhow::Result<()> {
        if self.messages.contains(&message) && self.delivered.insert(message) {
            self.tell(Fact::MessageDelivered { message })?;
        }
        Ok(())
    }

    /// Whether a block is one of those that come again when an interrupted turn goes on.
    fn is_known(&mut self, block: &Block) -> bool {
        if self.known_blocks.is_empty() {
            return false;
        }
        let digest = block_digest(block);
        match self.known_blocks.iter().position(|known| *known == digest) {
            Some(at) => {
                self.known_blocks.swap_remove(at);
                true
            }
            None => false,
        }
    }

    fn delta(&mut self, part: &holdpoint_claude::StreamEvent) {
        let Some(text) = part.text.clone() else { return };
        let (Some(up), true) = (&self.up, self.welcome) else { return };
        let delta = Delta {
            attempt: part.message_id.clone().unwrap_or_default(),
            index: part.index.and_then(|index| u32::try_from(index).ok()).unwrap_or(0),
            kind: "text".into(),
            text,
            parent_tool_use_id: part.parent_tool_use_id.clone(),
        };
        // For the eye only: dropped rather than waited for.
        let _ = up.try_send(Up::Delta(delta));
    }

    async fn collect(&mut self) -> anyhow::Result<()> {
        let mut collector =
            std::mem::replace(&mut self.collector, Collector::new(Default::default(), Vec::new()));
        let (collector, found) = tokio::task::spawn_blocking(move || {
            let found = collector.collect();
            (collector, found)
        })
        .await?;
        self.collector = collector;
        match found {
            Ok(None) => Ok(()),
            Ok(Some((files, omitted))) => self.tell(Fact::Files { files, omitted }),
            Err(error) => {
                let text = format!("The workspace could not be searched for results: {error}.");
                self.tell(Fact::Notice { level: Level::Warning, text })
            }
        }
    }

    /// Numbers and journals a fact; it is told with the next flush.
    fn tell(&mut self, fact: Fact) -> anyhow::Result<()> {
        self.seq += 1;
        let fact = NumberedFact { seq: self.seq, at: now(), fact };
        self.journal.append(&JournalLine::Fact(fact.clone())).context("failed to write the journal")?;
        self.unacked.push_back(fact);
        Ok(())
    }

    /// Tells what has not been told over this connection. Never waits: a control plane that does not read
    /// must not keep the loop from the end of its lease. What finds no room is told after the next frame.
    fn flush(&mut self) {
        if !self.welcome || self.sent >= self.unacked.len() {
            return;
        }
        let facts: Vec<NumberedFact> = self.unacked.iter().skip(self.sent).cloned().collect();
        if self.send(Up::Facts { facts }) {
            self.sent = self.unacked.len();
        }
    }

    /// Whether the frame is on its way.
    fn send(&mut self, frame: Up) -> bool {
        match self.up.as_ref().map(|up| up.try_send(frame)) {
            Some(Ok(())) => true,
            Some(Err(mpsc::error::TrySendError::Closed(_))) => {
                (self.up, self.welcome) = (None, false);
                false
            }
            Some(Err(mpsc::error::TrySendError::Full(_))) | None => false,
        }
    }

    /// Gives the last facts the time to be committed. What is not stays in the journal.
    async fn settle(&mut self, link: &mut mpsc::Receiver<FromLink>) {
        let deadline = Instant::now() + LAST_ACK_WITHIN;
        self.flush();
        while !self.unacked.is_empty() {
            match tokio::time::timeout_at(deadline, link.recv()).await {
                Ok(Some(FromLink::Connected(up))) => self.connected(up).await,
                Ok(Some(FromLink::Frame(frame))) => match *frame {
                    Down::Refused { .. } => return,
                    frame => self.on_bookkeeping(&frame),
                },
                Ok(Some(FromLink::Disconnected)) => (self.up, self.welcome) = (None, false),
                Ok(Some(FromLink::Unwanted(_)) | None) | Err(_) => return,
            }
            self.flush();
        }
    }
}

/// Waits until then; for ever without a moment.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs::try_from(since.as_millis()).unwrap_or(UnixMs::MAX)
}
