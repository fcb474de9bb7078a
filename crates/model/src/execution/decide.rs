//! What a command leads to.

use crate::command::{Command, DecideCtx, Gone, Refusal};
use crate::event::{Created, Event, EventBody, Grant, Level, Message, Problem, SendMode};
use crate::hold::{Answer, Assignee, Decision, DecisionRequest, Scope, Subject};
use crate::{
    Actor, BudgetUse, DecisionId, Digest, Execution, GrantId, Hold, HoldId, HoldKind, HoldState, Incarnation,
    MessageId, UnixMs,
};

use super::{MAX_FAILED_STARTS_IN_A_ROW, MAX_LOSSES_IN_A_ROW};

/// The first events of a new execution: its creation and its first message.
#[must_use]
pub fn create(
    created: Created,
    prompt: String,
    files: Vec<String>,
    ctx: &mut DecideCtx<'_>,
) -> Vec<EventBody> {
    let message = Message {
        id: MessageId((ctx.fresh_id)()),
        text: prompt,
        files,
        mode: SendMode::Queue,
        by: created.owner.clone(),
        hold: None,
    };
    vec![EventBody::ExecutionCreated(Box::new(created)), EventBody::MessageQueued(message)]
}

type Decided = Result<Vec<EventBody>, Refusal>;

impl Execution {
    /// The events that `command` leads to now.
    ///
    /// # Errors
    /// [`Refusal`] when it may not happen; nothing changes then.
    pub fn decide(&self, command: Command, ctx: &mut DecideCtx<'_>) -> Decided {
        match command {
            Command::Decide { hold, request, by } => self.decide_hold(hold, &request, by, ctx),
            Command::Assign { hold, to, by } => self.assign(hold, to, by, ctx.now),
            Command::Message { text, files, mode, by } => self.message(text, files, mode, by, ctx),
            Command::Interrupt { by } => {
                self.still_going()?;
                if self.turn.is_none() {
                    return Err(Refusal::NotRunning);
                }
                Ok(vec![EventBody::InterruptRequested { by }])
            }
            Command::Cancel { by } => {
                self.still_going()?;
                let mut events = self.cancel_holds("the execution was cancelled");
                events.push(EventBody::ExecutionCancelled { by });
                Ok(events)
            }
            Command::Finish { by } => {
                self.still_going()?;
                if self.turn.is_some() || !self.messages.is_empty() {
                    return Ok(vec![EventBody::FinishRequested { by }]);
                }
                Ok(self.finish_events(by))
            }
            Command::Fail { error } => {
                self.still_going()?;
                Ok(self.fail_events(error))
            }
            Command::StartWorker { engine, reason } => {
                self.still_going()?;
                if self.residency.has_worker() {
                    return Err(Refusal::Stale("there is a worker already"));
                }
                Ok(vec![EventBody::WorkerStarting { incarnation: self.incarnation + 1, engine, reason }])
            }
            // Also of one that is over: its worker may still be there.
            Command::RunCommand { by, incarnation, command } => {
                self.acting(incarnation)?;
                Ok(vec![EventBody::CommandRun { by, incarnation, command }])
            }
            Command::WorkerGone { incarnation, how } => self.worker_gone(incarnation, how, ctx),
            Command::BeginRelease { hold, incarnation } => self.begin_release(hold, incarnation),
            Command::BeginMessage { message, incarnation } => {
                self.still_going()?;
                self.acting(incarnation)?;
                let waiting = self.messages.iter().find(|pending| pending.message.id == message);
                match waiting {
                    None => Err(Refusal::UnknownMessage),
                    Some(pending) if pending.sent_to.is_some() => {
                        Err(Refusal::Stale("the message was sent already"))
                    }
                    // Decided here and not only in `next`: since then a turn may have begun.
                    Some(pending)
                        if pending.message.mode == SendMode::Queue
                            && (self.turn.is_some()
                                || self.messages.iter().any(|other| other.sent_to.is_some())) =>
                    {
                        Err(Refusal::Stale("the message waits for the end of the turn"))
                    }
                    Some(_) => Ok(vec![EventBody::MessageIntent { message, incarnation }]),
                }
            }
            Command::Expire { hold } => {
                let known = self.holds.get(&hold).ok_or(Refusal::UnknownHold)?;
                if known.state != HoldState::Open {
                    return Err(Refusal::Stale("the hold is not open"));
                }
                if known.expires_at.is_none_or(|at| at > ctx.now) {
                    return Err(Refusal::Stale("the hold's time is not over"));
                }
                let mut events = vec![EventBody::HoldExpired { hold }];
                if known.kind == HoldKind::Reply {
                    // The last turn's result stands; nobody went on with it.
                    events.extend(self.after(&events, ctx.now).finish_events(Actor::system("expiry")));
                }
                Ok(events)
            }
            Command::ModelCall(mut call) => {
                if self.rehearsal {
                    // A script has no price.
                    call.cost_micros = 0;
                }
                Ok(vec![EventBody::ModelCall(call)])
            }
            // That the log has the event is what makes it one warning: it is decided on the state that the
            // log makes, in the transaction that settles the call.
            Command::BudgetsUsed(budgets) => {
                let known =
                    |used: &BudgetUse| self.budgets_warned.iter().any(|warned| warned.is_same_period(used));
                let nearly = budgets.into_iter().filter(|used| used.is_nearly_used() && !known(used));
                Ok(nearly.map(EventBody::BudgetWarning).collect())
            }
            Command::CheckpointTaken(checkpoint) => {
                if checkpoint.at != self.seq {
                    return Err(Refusal::Stale("something has happened since the checkpoint was begun"));
                }
                Ok(vec![EventBody::CheckpointTaken(checkpoint)])
            }
            Command::Move { release, definition, by } => {
                self.still_going()?;
                if self.release.as_ref() == Some(&release) && self.definition == *definition {
                    return Ok(Vec::new());
                }
                if self.residency.has_worker() && !self.is_waiting() {
                    return Err(Refusal::AtWork);
                }
                Ok(vec![EventBody::ReleaseChanged { release, definition, by }])
            }
            Command::Notice { level, text } => Ok(vec![EventBody::Notice { level, text }]),
            Command::WrittenAfterAll { hold } => self.written_after_all(hold, ctx),
            Command::Fact { incarnation, worker_seq, fact } => {
                self.decide_fact(incarnation, worker_seq, fact, ctx)
            }
        }
    }

    pub(super) fn still_going(&self) -> Result<(), Refusal> {
        if self.status.is_final() { Err(Refusal::Ended(self.status.as_str())) } else { Ok(()) }
    }

    pub(super) fn acting(&self, incarnation: Incarnation) -> Result<(), Refusal> {
        if incarnation != self.incarnation {
            return Err(Refusal::Fenced { told: incarnation, current: self.incarnation });
        }
        if !self.residency.has_worker() {
            return Err(Refusal::Stale("there is no worker"));
        }
        Ok(())
    }

    fn decide_hold(
        &self,
        id: HoldId,
        request: &DecisionRequest,
        by: Actor,
        ctx: &mut DecideCtx<'_>,
    ) -> Decided {
        let hold = self.holds.get(&id).ok_or(Refusal::UnknownHold)?;
        if let Some(refusal) = already_settled(hold, ctx.now) {
            return Err(refusal);
        }
        self.still_going()?;
        let (answer, scope) = hold.parse_answer(request).map_err(Refusal::Invalid)?;
        let mut decision = self.decision(hold, answer, by, ctx);
        let mut events = Vec::new();
        let mut rule = None;
        if scope == Scope::Conversation
            && let Some(granted) = &hold.subject.grant
        {
            let grant = Grant {
                id: GrantId((ctx.fresh_id)()),
                rule: granted.clone(),
                by: decision.by.clone(),
                hold: id,
            };
            decision.grant = Some(grant.id);
            rule = Some(grant.clone());
            events.push(EventBody::GrantAdded(grant));
        }
        if let Answer::Reply { text, files } = &decision.answer {
            events.push(EventBody::MessageQueued(Message {
                id: MessageId(decision.id.0),
                text: text.clone(),
                files: files.clone(),
                mode: SendMode::Queue,
                by: decision.by.clone(),
                hold: Some(id),
            }));
        }
        events.insert(0, EventBody::HoldAnswered { hold: id, decision });
        if let Some(grant) = rule {
            events.extend(self.cover_by_grant(&grant, id, ctx));
        }
        Ok(events)
    }

    fn assign(&self, id: HoldId, to: Option<Assignee>, by: Actor, now: UnixMs) -> Decided {
        let hold = self.holds.get(&id).ok_or(Refusal::UnknownHold)?;
        if let Some(refusal) = already_settled(hold, now) {
            return Err(refusal);
        }
        self.still_going()?;
        let user = |assigned: &Option<Assignee>| assigned.as_ref().map(|assigned| assigned.user);
        if user(&to) == user(&hold.assigned) {
            return Ok(Vec::new());
        }
        Ok(vec![EventBody::HoldAssigned { hold: id, to, by }])
    }

    /// Other asks that are open already and that a new grant covers.
    fn cover_by_grant(&self, grant: &Grant, but: HoldId, ctx: &mut DecideCtx<'_>) -> Vec<EventBody> {
        self.open_holds()
            .filter(|hold| hold.id != but && hold.kind == HoldKind::Tool && hold.subject.caution.is_none())
            .filter(|hold| hold.subject.is_of(&grant.rule))
            .map(|hold| {
                let mut decision =
                    self.decision(hold, Answer::Allow { input: None }, Actor::system("grant"), ctx);
                decision.grant = Some(grant.id);
                EventBody::HoldAnswered { hold: hold.id, decision }
            })
            .collect()
    }

    fn message(
        &self,
        text: String,
        files: Vec<String>,
        mode: SendMode,
        by: Actor,
        ctx: &mut DecideCtx<'_>,
    ) -> Decided {
        self.still_going()?;
        if text.trim().is_empty() {
            return Err(Refusal::Invalid("the message is empty".into()));
        }
        if text.len() > crate::hold::MAX_TEXT_BYTES {
            return Err(Refusal::Invalid(format!(
                "the message is longer than {} KiB; attach it as a file instead",
                crate::hold::MAX_TEXT_BYTES / 1024
            )));
        }
        if let Some(hold) = self.reply_hold().filter(|hold| hold.state == HoldState::Open) {
            let request = DecisionRequest {
                action: "reply".into(),
                message: Some(text),
                files,
                ..DecisionRequest::default()
            };
            return self.decide_hold(hold.id, &request, by, ctx);
        }
        let id = MessageId((ctx.fresh_id)());
        Ok(vec![EventBody::MessageQueued(Message { id, text, files, mode, by, hold: None })])
    }

    fn begin_release(&self, id: HoldId, incarnation: Incarnation) -> Decided {
        self.still_going()?;
        self.acting(incarnation)?;
        let hold = self.holds.get(&id).ok_or(Refusal::UnknownHold)?;
        if hold.asked_by != Some(incarnation) {
            return Err(Refusal::Stale("that session does not ask for this now"));
        }
        match &hold.state {
            HoldState::Answered { .. } => Ok(vec![EventBody::ReleaseIntent { hold: id, incarnation }]),
            HoldState::Expired { told: None } => Ok(vec![EventBody::ExpiryTold { hold: id, incarnation }]),
            _ => Err(Refusal::Stale("the hold is not answered")),
        }
    }

    fn worker_gone(&self, incarnation: Incarnation, how: Gone, ctx: &mut DecideCtx<'_>) -> Decided {
        if incarnation != self.incarnation {
            return Err(Refusal::Fenced { told: incarnation, current: self.incarnation });
        }
        if !self.residency.has_worker() {
            return Err(Refusal::Stale("the worker is known to be gone"));
        }
        let mut events = Vec::new();
        if !self.status.is_final() {
            for hold in self.holds.values() {
                events.extend(match self.turn {
                    // A subagent that worked beside the session after its turn. No later session goes on
                    // with it, so nobody will ask for this again.
                    None if hold.kind != HoldKind::Reply => vec![ended_with_worker(hold)],
                    _ => self.release_cut_short(hold, ctx),
                });
            }
            events.extend(
                self.messages
                    .iter()
                    .filter(|pending| pending.sent_to.is_some())
                    .map(|pending| EventBody::MessageRequeued { message: pending.message.id }),
            );
        }
        match how {
            Gone::Lost { reason } if !self.status.is_final() => {
                events.push(EventBody::WorkerLost { incarnation, reason: reason.clone(), problem: None });
                if self.losses_in_a_row + 1 >= MAX_LOSSES_IN_A_ROW {
                    // Not `self`: a hold that asks again was just opened, and must not outlive the end.
                    let after = self.after(&events, ctx.now);
                    events.extend(after.fail_events(Problem {
                        code: "worker_crash_loop".into(),
                        title: format!("the worker was lost {MAX_LOSSES_IN_A_ROW} times in a row without any progress"),
                        detail: reason,
                        hint: "The transcript and the files are kept. Look at the worker's log with `holdpoint logs --worker`, then start the conversation again.".into(),
                    }));
                }
            }
            Gone::NotStarted { problem } if !self.status.is_final() => {
                let reason = problem.title.clone();
                events.push(EventBody::WorkerLost { incarnation, reason, problem: Some(problem.clone()) });
                if self.failed_starts + 1 >= MAX_FAILED_STARTS_IN_A_ROW {
                    let after = self.after(&events, ctx.now);
                    events.extend(after.fail_events(given_up(problem)));
                }
            }
            Gone::Lost { .. } | Gone::NotStarted { .. } | Gone::Stopped => {
                events.push(EventBody::WorkerStopped { incarnation, parked: false })
            }
            Gone::Parked => {
                events.push(EventBody::WorkerStopped { incarnation, parked: !self.status.is_final() })
            }
        }
        let after = self.after(&events, ctx.now);
        if !after.status.is_final()
            && after.turn.is_none()
            && after.messages.is_empty()
            && after.holds.is_empty()
        {
            // The turn was over, and the session had not said yet that it rests, or tasks went on in the
            // background. They ended with the worker, and nothing would ever happen again by itself.
            events.extend(after.at_rest(self.background > 0, ctx));
        }
        Ok(events)
    }

    /// A hold whose release was under way when the worker went.
    fn release_cut_short(&self, hold: &Hold, ctx: &mut DecideCtx<'_>) -> Vec<EventBody> {
        let HoldState::Releasing { decision, written, .. } = &hold.state else { return Vec::new() };
        if hold.kind == HoldKind::Reply {
            // A reply goes with its message, which is requeued.
            return Vec::new();
        }
        let voided =
            |reason: &str| vec![EventBody::ReleaseVoided { hold: hold.id, reason: reason.to_owned() }];
        if !written {
            return voided("the answer was never written to the session");
        }
        if matches!(decision.answer, Answer::Deny { .. }) {
            return voided("a refusal has no effect that could happen twice");
        }
        if self.is_repeatable(hold, &decision.answer) {
            return voided("this may be repeated");
        }
        self.indeterminate(
            hold,
            decision,
            None,
            "the worker was lost between the answer and the tool's result",
            ctx,
        )
    }

    /// What a fenced worker still has to tell never goes into the log, but it can make a hold
    /// indeterminate: the answer that was taken for unwritten may have had its effect.
    fn written_after_all(&self, id: HoldId, ctx: &mut DecideCtx<'_>) -> Decided {
        self.still_going()?;
        let hold = self.holds.get(&id).ok_or(Refusal::UnknownHold)?;
        let harmless = |decision: &Decision| {
            hold.kind == HoldKind::Reply
                || matches!(decision.answer, Answer::Deny { .. })
                || self.is_repeatable(hold, &decision.answer)
        };
        match &hold.state {
            HoldState::Answered { decision } if !harmless(decision) => Ok(self.indeterminate(
                hold,
                decision,
                hold.asked_by,
                "a worker that was replaced had passed the answer on before",
                ctx,
            )),
            HoldState::Releasing { decision, .. } if !harmless(decision) => Ok(vec![EventBody::Notice {
                level: Level::Warning,
                text: format!(
                    "A worker that was replaced had passed this answer on before: {} may have run twice.",
                    hold.subject.tool
                ),
            }]),
            _ => Err(Refusal::Stale("it changes nothing about the hold")),
        }
    }

    /// Nobody knows whether what was allowed has run: it is asked again, with the reason.
    fn indeterminate(
        &self,
        hold: &Hold,
        decision: &Decision,
        asked_by: Option<Incarnation>,
        reason: &str,
        ctx: &mut DecideCtx<'_>,
    ) -> Vec<EventBody> {
        let replacement = HoldId((ctx.fresh_id)());
        let caution = format!(
            "{} allowed this before, then the worker was lost before a result came back: it may have run in part or in full. Allow it only if running it (again) is right.",
            decision.by.name
        );
        vec![
            EventBody::HoldIndeterminate {
                hold: hold.id,
                replaced_by: replacement,
                reason: reason.to_owned(),
            },
            EventBody::HoldOpened {
                hold: replacement,
                hold_kind: hold.kind,
                subject: Subject { caution: Some(caution), grant: None, ..hold.subject.clone() },
                expires_at: self.expiry(ctx),
                asked_by,
            },
        ]
    }

    /// The state after events that are decided but not committed yet.
    pub(super) fn after(&self, bodies: &[EventBody], now: UnixMs) -> Self {
        let mut after = self.clone();
        for body in bodies {
            let seq = after.seq + 1;
            after.evolve(&Event {
                execution: self.id,
                seq,
                at: now,
                incarnation: None,
                worker_seq: None,
                body: body.clone(),
            });
        }
        after
    }

    pub(super) fn expiry(&self, ctx: &DecideCtx<'_>) -> Option<i64> {
        let own = i64::try_from(self.definition.hold_expiry_ms()).ok().and_then(|ms| ctx.now.checked_add(ms));
        let wall_clock = self
            .definition
            .limits
            .wall_clock
            .and_then(|limit| i64::try_from(limit.0).ok().and_then(|ms| self.created_at.checked_add(ms)));
        // Never later than the end of the whole execution's time.
        own.into_iter().chain(wall_clock).min()
    }

    pub(super) fn cancel_holds(&self, reason: &str) -> Vec<EventBody> {
        self.holds
            .keys()
            .map(|hold| EventBody::HoldCancelled { hold: *hold, reason: reason.to_owned() })
            .collect()
    }

    pub(super) fn finish_events(&self, by: Actor) -> Vec<EventBody> {
        let mut events = self.cancel_holds("the execution was finished");
        events.push(self.finished(by));
        events
    }

    fn finished(&self, by: Actor) -> EventBody {
        let last = self.last_turn.as_ref();
        EventBody::ExecutionFinished {
            by,
            result: last.map(|turn| turn.text.clone()).unwrap_or_default(),
            structured: last.and_then(|turn| turn.structured.clone()),
        }
    }

    pub(super) fn fail_events(&self, error: Problem) -> Vec<EventBody> {
        let mut events = self.cancel_holds("the execution failed");
        events.push(EventBody::ExecutionFailed { error });
        events
    }
}

/// The end of a conversation whose session could not be started for as long as it was tried.
fn given_up(problem: Problem) -> Problem {
    let tried = format!(
        "The session could not be started {MAX_FAILED_STARTS_IN_A_ROW} times in a row, over nearly two hours. The transcript and the files are kept; mend the cause, then start the conversation again."
    );
    let detail = if problem.detail.is_empty() { tried } else { format!("{tried} {}", problem.detail) };
    Problem { detail, ..problem }
}

/// A hold whose subagent is gone.
fn ended_with_worker(hold: &Hold) -> EventBody {
    let may_have_run = matches!(
        &hold.state,
        HoldState::Releasing { decision, written: true, .. } if !matches!(decision.answer, Answer::Deny { .. })
    );
    let reason = if may_have_run {
        "the background task that asked ended with its worker; what was allowed may have run in part or in full"
    } else {
        "the background task that asked ended with its worker"
    };
    EventBody::HoldCancelled { hold: hold.id, reason: reason.into() }
}

/// Why a hold that is known but not open cannot be answered.
fn already_settled(hold: &Hold, now: i64) -> Option<Refusal> {
    match &hold.state {
        HoldState::Open if hold.expires_at.is_some_and(|at| at <= now) => Some(Refusal::Expired),
        HoldState::Open => None,
        HoldState::Answered { decision }
        | HoldState::Releasing { decision, .. }
        | HoldState::Released { decision } => Some(Refusal::AlreadyAnswered {
            by: Box::new(decision.by.clone()),
            at: decision.at,
            answer: Box::new(decision.answer.clone()),
        }),
        HoldState::Expired { .. } => Some(Refusal::Expired),
        HoldState::Indeterminate { .. } | HoldState::Cancelled { .. } | HoldState::Superseded { .. } => {
            Some(Refusal::NotOpen(hold.state.as_str()))
        }
    }
}

impl Execution {
    /// A decision of now, stamped with what the conversation runs on.
    pub(super) fn decision(
        &self,
        hold: &Hold,
        answer: Answer,
        by: Actor,
        ctx: &mut DecideCtx<'_>,
    ) -> Decision {
        let edited = match &answer {
            Answer::Allow { input: Some(input) } => Some(Digest::of(input)),
            _ => None,
        };
        Decision {
            id: DecisionId((ctx.fresh_id)()),
            by,
            at: ctx.now,
            answer,
            seen: hold.subject.digest.clone(),
            edited,
            grant: None,
            release: self.release.as_ref().map(|release| release.number),
        }
    }
}
