//! What the session does becomes facts.

use holdpoint_claude::{CommandState, Event, Handle, HookAnswer, HookCall, SessionState};
use holdpoint_model::{
    Digest, MessageId, Verdict,
    event::{Block, Level},
    wire::{Delta, Fact, Up, block_digest},
};
use serde_json::Value;
use tokio::time::Instant;
use tracing::info;

use super::{Ask, Next, REST_AFTER, Rest, Supervisor};
use crate::{facts, files::Collector, places, session::BEFORE_TOOL};

impl Supervisor {
    pub(super) async fn on_event(
        &mut self,
        event: Event,
        handle: &Handle,
        resumed: bool,
    ) -> anyhow::Result<Next> {
        match event {
            Event::Initialized(reply) => {
                self.is_up = true;
                let cli_version = reply.claude_code_version.clone().unwrap_or_default();
                self.tell(Fact::SessionReady { cli_version, resumed })?;
            }
            Event::Assistant(message) if message.api_error => {}
            Event::Assistant(message) => {
                if message.parent_tool_use_id.is_none() {
                    self.answer = message.uuid;
                }
                for block in facts::blocks(&message) {
                    if !self.is_known(&block.block) {
                        self.tell(Fact::Assistant(block))?;
                    }
                }
            }
            Event::UserFrame(frame) => {
                self.tell_notes()?;
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
                let answer = self.answer.take().filter(|_| turn.outcome.is_success());
                if let Some(answer) = answer
                    && !self.is_written(answer).await?
                {
                    // A turn that is over in the log would be unknown to the next session. One that is not goes
                    // on from what is on disk, and the gateway answers from its record.
                    let lost = "The session's transcript does not hold the turn's end: is the disk full?";
                    if self.another_may_do_better() {
                        let text = format!("{lost} The session is ended, and the turn goes on in another.");
                        self.tell(Fact::Notice { level: Level::Warning, text })?;
                        return Ok(Next::Gone);
                    }
                    let text = format!("{lost} The agent may have forgotten it when it goes on.");
                    self.tell(Fact::Notice { level: Level::Warning, text })?;
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
    pub(super) async fn before_tool(&mut self, call: &HookCall, handle: &Handle) -> anyhow::Result<()> {
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

    /// Whether a block is one of those that come again when an interrupted turn goes on.
    pub(super) fn is_known(&mut self, block: &Block) -> bool {
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

    pub(super) fn delta(&mut self, part: &holdpoint_claude::StreamEvent) {
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

    pub(super) async fn collect(&mut self) -> anyhow::Result<()> {
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
}
