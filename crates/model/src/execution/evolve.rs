//! What the state is after an event. Total: an event that was committed is never refused.

use crate::event::{Created, Event, EventBody};
use crate::{Execution, Hold, HoldId, HoldKind, HoldState, MessageId, Residency, Status};

use super::{Outcome, Pending, ToolCall, Totals, Turn};

impl Execution {
    /// The state after the first event of a log.
    ///
    /// # Errors
    /// When the event is not an `execution_created`.
    pub fn from_first(event: &Event) -> Result<Self, String> {
        let EventBody::ExecutionCreated(created) = &event.body else {
            return Err(format!(
                "the log of {} begins with {}, not execution_created",
                event.execution,
                event.body.kind()
            ));
        };
        let Created { agent, definition, title, owner, session, inputs, rehearsal, forked_from, release } =
            created.as_ref().clone();
        Ok(Self {
            id: event.execution,
            agent,
            definition,
            title,
            owner,
            inputs,
            rehearsal,
            session,
            created_at: event.at,
            updated_at: event.at,
            ended_at: None,
            seq: event.seq,
            status: Status::Starting,
            residency: Residency::Absent,
            incarnation: 0,
            worker_seq: 0,
            holds: std::collections::BTreeMap::new(),
            messages: Vec::new(),
            attached: 0,
            grants: Vec::new(),
            turn: None,
            has_started: false,
            interrupt: false,
            finish: None,
            totals: Totals::default(),
            last_turn: None,
            outcome: None,
            losses_in_a_row: 0,
            failed_starts: 0,
            start_problem: None,
            idle: false,
            background: 0,
            files_seq: None,
            checkpoint_seq: None,
            budgets_warned: Vec::new(),
            forked_from,
            release,
            is_moving: false,
        })
    }

    /// Rebuilds an execution from its whole log.
    ///
    /// # Errors
    /// When the log is empty, begins wrongly, or has a gap.
    pub fn rebuild<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Self, String> {
        let mut events = events.into_iter();
        let mut execution = Self::from_first(events.next().ok_or("the log is empty")?)?;
        for event in events {
            if event.seq != execution.seq + 1 {
                return Err(format!(
                    "the log of {} has a gap between {} and {}",
                    execution.id, execution.seq, event.seq
                ));
            }
            execution.evolve(event);
        }
        Ok(execution)
    }

    /// Folds one more event in.
    pub fn evolve(&mut self, event: &Event) {
        self.seq = event.seq;
        // Neither a checkpoint nor whose a hold is is a sign of life: it neither keeps a worker warm nor makes a
        // list jump.
        if !matches!(event.body, EventBody::CheckpointTaken(_) | EventBody::HoldAssigned { .. }) {
            self.updated_at = event.at;
        }
        if let Some(worker_seq) = event.worker_seq
            && event.incarnation == Some(self.incarnation)
        {
            self.worker_seq = worker_seq;
        }
        self.apply(event);
        self.status = self.derive_status();
        if self.status.is_final() && self.ended_at.is_none() {
            self.ended_at = Some(event.at);
        }
    }

    fn derive_status(&self) -> Status {
        match &self.outcome {
            Some(Outcome::Finished { .. }) => Status::Finished,
            Some(Outcome::Failed { .. }) => Status::Error,
            Some(Outcome::Cancelled { .. }) => Status::Cancelled,
            None if self.open_holds().next().is_some() => Status::Awaiting,
            None if self.has_started => Status::Running,
            None => Status::Starting,
        }
    }

    fn apply(&mut self, event: &Event) {
        match &event.body {
            EventBody::ExecutionCreated(_)
            | EventBody::ApiRetry { .. }
            | EventBody::CommandRun { .. }
            | EventBody::DependencySuggested(_)
            | EventBody::Notice { .. }
            | EventBody::CliFrame { .. } => {}
            EventBody::ReleaseChanged { release, definition, .. } => {
                self.release = Some(release.clone());
                self.definition = definition.as_ref().clone();
                self.is_moving = self.residency.has_worker();
            }
            EventBody::MessageQueued(message) => {
                self.attached += message.files.len();
                self.messages.push(Pending { message: message.clone(), sent_to: None });
            }
            EventBody::MessageIntent { message, incarnation } => {
                self.apply_to_hold(event.at, &event.body);
                for pending in self.messages.iter_mut().filter(|pending| pending.message.id == *message) {
                    pending.sent_to = Some(*incarnation);
                }
            }
            EventBody::MessageRequeued { message } => {
                self.apply_to_hold(event.at, &event.body);
                for pending in self.messages.iter_mut().filter(|pending| pending.message.id == *message) {
                    pending.sent_to = None;
                }
            }
            EventBody::MessageDelivered { message } => {
                if let Some(at) = self.messages.iter().position(|pending| pending.message.id == *message) {
                    let pending = self.messages.remove(at);
                    self.present_turn().messages.push(pending.message);
                }
            }
            EventBody::WorkerStarting { incarnation, .. } => {
                self.incarnation = *incarnation;
                self.worker_seq = 0;
                self.residency = Residency::Starting;
            }
            EventBody::WorkerReady { .. } => {
                self.residency = Residency::Warm;
                self.has_started = true;
                self.failed_starts = 0;
                self.start_problem = None;
            }
            EventBody::WorkerLost { problem, .. } => {
                match problem {
                    Some(_) => self.failed_starts += 1,
                    None => self.losses_in_a_row += 1,
                }
                self.start_problem.clone_from(problem);
                self.worker_left(Residency::Lost);
            }
            EventBody::WorkerStopped { parked, .. } => {
                self.worker_left(if *parked { Residency::Parked } else { Residency::Absent });
            }
            EventBody::Assistant(block) => {
                // A subagent in the background goes on after the turn; it begins none.
                if block.parent_tool_use_id.is_none() {
                    self.present_turn();
                }
                if let crate::event::Block::ToolUse { id, name, .. } = &block.block {
                    self.note_call(id, name);
                }
            }
            EventBody::ToolStarted { tool_use_id, tool, .. } => {
                self.note_call(tool_use_id, tool);
                if let Some(call) = self.turn.as_mut().and_then(|turn| turn.tools.get_mut(tool_use_id)) {
                    call.started = true;
                }
            }
            EventBody::ToolResult(result) => {
                self.losses_in_a_row = 0;
                if let Some(call) =
                    self.turn.as_mut().and_then(|turn| turn.tools.get_mut(&result.tool_use_id))
                {
                    call.result_seq = Some(event.seq);
                }
            }
            EventBody::GrantAdded(grant) => self.grants.push(grant.clone()),
            EventBody::ModelCall(call) => {
                if call.replayed {
                    self.totals.replays += 1;
                } else {
                    self.totals.calls += 1;
                }
                self.totals.tokens.add(&call.tokens);
                self.totals.cost_micros += call.cost_micros;
            }
            EventBody::BudgetWarning(used) => {
                self.budgets_warned.retain(|warned| !warned.is_same_budget(used));
                self.budgets_warned.push(used.clone());
            }
            EventBody::TurnEnded(result) => {
                self.losses_in_a_row = 0;
                self.totals.turns += 1;
                self.last_turn = Some(result.clone());
                self.turn = None;
                self.interrupt = false;
            }
            EventBody::SessionIdle => self.idle = true,
            EventBody::BackgroundChanged { running } => self.background = *running,
            EventBody::CheckpointTaken(_) => self.checkpoint_seq = Some(event.seq),
            EventBody::FilesCollected { .. } => self.files_seq = Some(event.seq),
            EventBody::InterruptRequested { .. } => self.interrupt = true,
            EventBody::FinishRequested { by } => self.finish = Some(by.clone()),
            EventBody::ExecutionFinished { result, structured, .. } => {
                self.outcome =
                    Some(Outcome::Finished { result: result.clone(), structured: structured.clone() });
            }
            EventBody::ExecutionFailed { error } => {
                self.outcome = Some(Outcome::Failed { error: error.clone() })
            }
            EventBody::ExecutionCancelled { by } => {
                self.outcome = Some(Outcome::Cancelled { by: by.clone() })
            }
            hold_event => {
                if let EventBody::HoldAnswered { decision, .. } = hold_event
                    && decision.by.user.is_some()
                {
                    // With something new to hand over it is no longer the same attempt again.
                    self.losses_in_a_row = 0;
                    self.failed_starts = 0;
                }
                self.apply_to_hold(event.at, hold_event);
            }
        }
    }

    fn apply_to_hold(&mut self, at: i64, body: &EventBody) {
        if let EventBody::HoldOpened { hold, hold_kind, subject, expires_at, asked_by } = body {
            if let Some(call) = &subject.tool_use_id {
                self.note_call(call, &subject.tool);
            }
            self.holds.insert(
                *hold,
                Hold {
                    id: *hold,
                    kind: *hold_kind,
                    subject: subject.clone(),
                    opened_at: at,
                    expires_at: *expires_at,
                    asked_by: *asked_by,
                    assigned: None,
                    state: HoldState::Open,
                },
            );
            return;
        }
        let Some((id, next)) = self.hold_after(body) else { return };
        let settled = match body {
            EventBody::HoldReleased { .. }
            | EventBody::HoldIndeterminate { .. }
            | EventBody::HoldCancelled { .. }
            | EventBody::HoldSuperseded { .. } => true,
            // A reply that nobody gave in time leaves nothing to tell.
            EventBody::HoldExpired { .. } => {
                self.holds.get(&id).is_some_and(|hold| hold.kind == HoldKind::Reply)
            }
            _ => false,
        };
        if settled {
            self.holds.remove(&id);
        } else if let Some(hold) = self.holds.get_mut(&id) {
            hold.state = next;
            if let EventBody::HoldReasked { incarnation, .. } = body {
                hold.asked_by = Some(*incarnation);
            }
            if let EventBody::HoldAssigned { to, .. } = body {
                hold.assigned.clone_from(to);
            }
        }
    }

    /// The state of a hold after an event about it; for projections that also keep settled holds.
    #[must_use]
    pub fn hold_after(&self, body: &EventBody) -> Option<(HoldId, HoldState)> {
        let state_of = |hold: &HoldId| self.holds.get(hold).map(|hold| hold.state.clone());
        Some(match body {
            EventBody::HoldReasked { hold, .. } => (
                *hold,
                match state_of(hold)? {
                    HoldState::Expired { .. } => HoldState::Expired { told: None },
                    other => other,
                },
            ),
            EventBody::HoldAssigned { hold, .. } => (*hold, state_of(hold)?),
            EventBody::HoldAnswered { hold, decision } => {
                (*hold, HoldState::Answered { decision: decision.clone() })
            }
            EventBody::HoldExpired { hold } => (*hold, HoldState::Expired { told: None }),
            EventBody::ExpiryTold { hold, incarnation } => {
                (*hold, HoldState::Expired { told: Some(*incarnation) })
            }
            // An expiry stays an expiry: that the session went on without it is no second end.
            EventBody::HoldCancelled { hold, reason } => (
                *hold,
                match state_of(hold) {
                    Some(expired @ HoldState::Expired { .. }) => expired,
                    _ => HoldState::Cancelled { reason: reason.clone() },
                },
            ),
            EventBody::HoldSuperseded { hold, by } => (
                *hold,
                match state_of(hold) {
                    Some(expired @ HoldState::Expired { .. }) => expired,
                    _ => HoldState::Superseded { by: *by },
                },
            ),
            EventBody::MessageIntent { message, incarnation } => {
                let hold = self.hold_of_message(*message)?;
                (hold, releasing(&state_of(&hold)?, *incarnation))
            }
            EventBody::MessageRequeued { message } => {
                let hold = self.hold_of_message(*message)?;
                (hold, answered_again(&state_of(&hold)?))
            }
            EventBody::ReleaseIntent { hold, incarnation } => {
                (*hold, releasing(&state_of(hold)?, *incarnation))
            }
            EventBody::AnswerWritten { hold } => (
                *hold,
                match state_of(hold)? {
                    HoldState::Releasing { decision, incarnation, .. } => {
                        HoldState::Releasing { decision, incarnation, written: true }
                    }
                    other => other,
                },
            ),
            EventBody::ReleaseVoided { hold, .. } => (*hold, answered_again(&state_of(hold)?)),
            EventBody::HoldReleased { hold } => {
                let decision = state_of(hold)?.decision()?.clone();
                (*hold, HoldState::Released { decision })
            }
            EventBody::HoldIndeterminate { hold, replaced_by, .. } => {
                let decision = state_of(hold)?.decision()?.clone();
                (*hold, HoldState::Indeterminate { decision, replaced_by: *replaced_by })
            }
            _ => return None,
        })
    }

    /// The reply hold that a waiting message answers.
    fn hold_of_message(&self, message: MessageId) -> Option<HoldId> {
        self.messages.iter().find(|pending| pending.message.id == message)?.message.hold
    }

    fn worker_left(&mut self, residency: Residency) {
        self.residency = residency;
        (self.idle, self.background, self.is_moving) = (false, 0, false);
        for hold in self.holds.values_mut() {
            hold.asked_by = None;
        }
    }

    fn present_turn(&mut self) -> &mut Turn {
        let began_after = self.seq.saturating_sub(1);
        self.idle = false;
        self.turn.get_or_insert_with(|| Turn { began_after, ..Turn::default() })
    }

    fn note_call(&mut self, tool_use_id: &str, tool: &str) {
        let first_seen_by = self.incarnation;
        // Without a turn it is a call of a subagent in the background, which goes on after the turn.
        let Some(turn) = &mut self.turn else { return };
        turn.tools.entry(tool_use_id.to_owned()).or_insert_with(|| ToolCall {
            name: tool.to_owned(),
            first_seen_by,
            started: false,
            result_seq: None,
        });
    }
}

fn releasing(state: &HoldState, incarnation: u32) -> HoldState {
    match state.decision() {
        Some(decision) => HoldState::Releasing { decision: decision.clone(), incarnation, written: false },
        None => state.clone(),
    }
}

fn answered_again(state: &HoldState) -> HoldState {
    match state.decision() {
        Some(decision) => HoldState::Answered { decision: decision.clone() },
        None => state.clone(),
    }
}
