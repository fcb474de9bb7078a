//! What the control plane says becomes answers and messages to the session.

use std::time::Duration;

use holdpoint_claude::{AnswerOutcome, Handle, PermissionAnswer};
use holdpoint_model::{
    Digest, MessageId,
    event::Message,
    wire::{Behaviour, Down, Fact, JournalLine, Release, Up, WIRE_VERSION},
};
use serde_json::Value;
use tokio::{sync::mpsc, time::Instant};
use tracing::{debug, warn};

use super::{Next, Supervisor};
use crate::{link::FromLink, session};

impl Supervisor {
    pub(super) async fn on_link(&mut self, frame: FromLink, handle: &Handle) -> anyhow::Result<Next> {
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

    pub(super) fn on_bookkeeping(&mut self, frame: &Down) {
        match frame {
            Down::Welcome { acked, lease_ms } => {
                self.untold.acked(*acked);
                self.untold.again();
                self.welcome = true;
                self.renewed(*lease_ms);
            }
            Down::Ack { up_to } => self.untold.acked(*up_to),
            Down::Lease { lease_ms } => self.renewed(*lease_ms),
            _ => {}
        }
    }

    pub(super) async fn connected(&mut self, up: mpsc::Sender<Up>) {
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

    pub(super) fn renewed(&mut self, lease_ms: u64) {
        self.lease_ends = Instant::now() + Duration::from_millis(lease_ms);
    }

    /// Writes answers to the CLI, in the order in which they were released. A tool's result must
    /// be committed before the next answer goes out.
    pub(super) async fn release_what_may(&mut self, handle: &Handle) -> anyhow::Result<()> {
        while !self.untold.has_result() {
            let Some(release) = self.deferred.pop_front() else { return Ok(()) };
            self.release(release, handle).await?;
        }
        Ok(())
    }

    pub(super) async fn release(&mut self, release: Release, handle: &Handle) -> anyhow::Result<()> {
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

    pub(super) async fn send_message(&mut self, message: Message, handle: &Handle) -> anyhow::Result<()> {
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

    pub(super) fn deliver(&mut self, message: MessageId) -> anyhow::Result<()> {
        if self.messages.contains(&message) && self.delivered.insert(message) {
            self.tell(Fact::MessageDelivered { message })?;
        }
        Ok(())
    }
}
