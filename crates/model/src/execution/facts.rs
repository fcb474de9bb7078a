//! What a worker's fact leads to.

use crate::command::{DecideCtx, Refusal, over_budget};
use crate::event::{EventBody, Problem, TurnResult};
use crate::hold::{Answer, Subject};
use crate::wire::Fact;
use crate::{
    Actor, Completion, Digest, Execution, Hold, HoldId, HoldKind, HoldState, Incarnation, Suggestion,
    Verdict, WorkerSeq,
};

impl Execution {
    pub(super) fn decide_fact(
        &self,
        incarnation: Incarnation,
        worker_seq: WorkerSeq,
        fact: Fact,
        ctx: &mut DecideCtx<'_>,
    ) -> Result<Vec<EventBody>, Refusal> {
        self.acting(incarnation)?;
        if worker_seq <= self.worker_seq {
            return Ok(Vec::new());
        }
        if worker_seq != self.worker_seq + 1 {
            return Err(Refusal::Gap { expected: self.worker_seq + 1, got: worker_seq });
        }
        let mut events =
            if self.status.is_final() { after_the_end(fact) } else { self.on_fact(incarnation, fact, ctx) };
        if events.is_empty() {
            // Every fact leaves a trace, or its number would be missing after a rebuild from the log.
            events.push(EventBody::Notice {
                level: crate::event::Level::Info,
                text: "the worker told something that no longer changes anything".into(),
            });
        }
        Ok(events)
    }

    fn on_fact(&self, incarnation: Incarnation, fact: Fact, ctx: &mut DecideCtx<'_>) -> Vec<EventBody> {
        match fact {
            Fact::SessionReady { cli_version, resumed } => {
                vec![EventBody::WorkerReady { incarnation, cli_version, resumed }]
            }
            Fact::MessageDelivered { message } => {
                let Some(pending) = self.messages.iter().find(|pending| pending.message.id == message) else {
                    return Vec::new();
                };
                let mut events = vec![EventBody::MessageDelivered { message }];
                if let Some(hold) = pending.message.hold.filter(|hold| self.holds.contains_key(hold)) {
                    events.push(EventBody::HoldReleased { hold });
                }
                events
            }
            Fact::Asked { tool_use_id, tool, input, place, description, agent_id } => {
                let subject = Subject {
                    digest: Digest::of(&input),
                    grant: Self::grantable(&tool, &input),
                    tool,
                    tool_use_id: Some(tool_use_id),
                    input,
                    place,
                    description,
                    agent_id,
                    caution: None,
                };
                self.asked(incarnation, subject, ctx)
            }
            Fact::AskWithdrawn { tool_use_id } => match self.hold_of_call(&tool_use_id) {
                Some(hold) if !matches!(hold.state, HoldState::Releasing { .. }) => {
                    vec![EventBody::HoldCancelled {
                        hold: hold.id,
                        reason: "the agent does not ask any more".into(),
                    }]
                }
                _ => Vec::new(),
            },
            Fact::AnswerWritten { hold } => match self.answerable(hold).map(|hold| &hold.state) {
                Some(HoldState::Releasing { .. }) => vec![EventBody::AnswerWritten { hold }],
                _ => Vec::new(),
            },
            Fact::AnswerDropped { hold, reason } => match self.answerable(hold) {
                Some(_) => vec![EventBody::HoldCancelled { hold, reason }],
                None => Vec::new(),
            },
            Fact::ToolResult(result) => {
                let settled = self.hold_of_call(&result.tool_use_id).map(settle_after_result);
                let mut events = vec![EventBody::ToolResult(result)];
                events.extend(settled);
                events
            }
            Fact::TurnEnded(result) => self.turn_ended(result, ctx),
            Fact::Idle => self.session_idle(ctx),
            Fact::Fatal { error } => self.fail_events(error),
            other => passed_on(other),
        }
    }

    /// The session asks for permission to use a tool.
    fn asked(&self, incarnation: Incarnation, subject: Subject, ctx: &mut DecideCtx<'_>) -> Vec<EventBody> {
        let call = subject.tool_use_id.clone().unwrap_or_default();
        let known = self.hold_of_call(&call);
        if let Some(hold) = known
            && hold.subject.digest == subject.digest
            && hold.subject.tool == subject.tool
        {
            return vec![EventBody::HoldReasked { hold: hold.id, incarnation }];
        }
        let id = HoldId((ctx.fresh_id)());
        let mut events: Vec<EventBody> = Vec::new();
        // The same call with another input, or another call where an interrupted turn's asks were
        // expected: what was asked before is not asked any more.
        let new_call = self.first_seen_by(&call).is_none_or(|first| first == incarnation);
        let replaced = self.holds.values().filter(|hold| {
            let same_call = known.is_some_and(|known| known.id == hold.id);
            let left_over = new_call
                && hold.kind != HoldKind::Reply
                && hold.asked_by.is_none()
                && hold.subject.agent_id == subject.agent_id;
            same_call || left_over
        });
        events.extend(replaced.map(|hold| EventBody::HoldSuperseded { hold: hold.id, by: Some(id) }));

        let mut subject = subject;
        let already_ran = self
            .turn
            .as_ref()
            .and_then(|turn| turn.tools.get(&call))
            .is_some_and(|tool| tool.result_seq.is_some());
        if already_ran {
            subject.caution = Some(
                "This very call has a result in the log already: allowing it runs it a second time.".into(),
            );
        }
        let kind = HoldKind::of_tool(&subject.tool);
        let verdict = self.definition.policy.verdict(&subject.tool, &subject.input, subject.place.as_deref());
        let hold = Hold {
            id,
            kind,
            opened_at: ctx.now,
            expires_at: self.expiry(ctx),
            asked_by: Some(incarnation),
            assigned: None,
            state: HoldState::Open,
            subject,
        };
        let by_rule = self.answer_by_rule(&hold, &verdict, already_ran);
        events.push(EventBody::HoldOpened {
            hold: id,
            hold_kind: kind,
            subject: hold.subject.clone(),
            expires_at: hold.expires_at,
            asked_by: hold.asked_by,
        });
        if let Some((answer, by, grant)) = by_rule {
            let mut decision = self.decision(&hold, answer, by, ctx);
            decision.grant = grant;
            events.push(EventBody::HoldAnswered { hold: id, decision });
        }
        events
    }

    /// A hold that is answered with a permission; a reply goes with its message instead.
    fn answerable(&self, id: HoldId) -> Option<&Hold> {
        self.holds.get(&id).filter(|hold| hold.kind != HoldKind::Reply)
    }

    fn first_seen_by(&self, tool_use_id: &str) -> Option<Incarnation> {
        self.turn.as_ref().and_then(|turn| turn.tools.get(tool_use_id)).map(|call| call.first_seen_by)
    }

    /// The answer that policy or a grant gives in place of a person.
    fn answer_by_rule(
        &self,
        hold: &Hold,
        verdict: &Verdict,
        already_ran: bool,
    ) -> Option<(Answer, Actor, Option<crate::GrantId>)> {
        match verdict {
            Verdict::Refuse(rule) => Some((
                Answer::Deny {
                    message: format!(
                        "The policy of this agent refuses this (rule `{rule}`). Do not try it in another way."
                    ),
                },
                Actor::system("policy"),
                None,
            )),
            _ if already_ran => None,
            Verdict::Allow(_) => Some((Answer::Allow { input: None }, Actor::system("policy"), None)),
            Verdict::Ask if hold.kind == HoldKind::Tool => {
                let grant = self.grant_for(&hold.subject)?;
                Some((Answer::Allow { input: None }, Actor::system("grant"), Some(grant.id)))
            }
            Verdict::Ask => None,
        }
    }

    fn turn_ended(&self, result: TurnResult, ctx: &mut DecideCtx<'_>) -> Vec<EventBody> {
        let mut events: Vec<EventBody> = self
            .holds
            .values()
            .filter(|hold| hold.kind != HoldKind::Reply)
            // A subagent in the background goes on asking after the main turn.
            .filter(|hold| hold.subject.agent_id.is_none() || hold.asked_by != Some(self.incarnation))
            .map(|hold| match hold.state {
                HoldState::Releasing { written: true, .. } => EventBody::HoldReleased { hold: hold.id },
                _ => EventBody::HoldCancelled { hold: hold.id, reason: "the turn ended".into() },
            })
            .collect();
        // A used-up budget comes back as a 403, too; a person may go on when it was raised or begins anew.
        let hopeless = matches!(result.api_status, Some(401 | 403))
            && self.totals.turns == 0
            && over_budget(&result.text).is_none();
        let error = hopeless.then(|| problem_of(&result));
        events.push(EventBody::TurnEnded(result));
        if let Some(error) = error.filter(|_| self.messages.is_empty()) {
            // With whatever a subagent still asks: it must not outlive the end.
            events.extend(self.after(&events, ctx.now).fail_events(error));
        }
        events
    }

    /// The end of a turn is not the end of work: subagents may go on beside it and lead to further
    /// turns. The session says when nothing more comes by itself.
    fn session_idle(&self, ctx: &mut DecideCtx<'_>) -> Vec<EventBody> {
        let mut events = vec![EventBody::SessionIdle];
        if self.turn.is_some() || !self.messages.is_empty() || self.last_turn.is_none() {
            return events;
        }
        // An agent that says itself when it is done waits for its background tasks; people may go on.
        if self.background == 0 || self.finish.is_some() || self.definition.completion == Completion::Person {
            events.extend(self.at_rest(false, ctx));
        }
        events
    }

    /// Nothing is left to do: the end, where a person or the agent's definition said so, or else the
    /// wait for a reply. `lost_background`: tasks in the background ended with their worker.
    pub(super) fn at_rest(&self, lost_background: bool, ctx: &mut DecideCtx<'_>) -> Vec<EventBody> {
        if let Some(by) = &self.finish {
            return self.finish_events(by.clone());
        }
        let Some(last) = &self.last_turn else { return Vec::new() };
        if self.definition.completion == Completion::Auto {
            return match last.ok {
                true if lost_background => self.fail_events(background_lost()),
                true => self.finish_events(Actor::system("agent")),
                false => self.fail_events(problem_of(last)),
            };
        }
        if self.reply_hold().is_some() {
            return Vec::new();
        }
        let caution = if lost_background {
            Some("Tasks that ran in the background ended with their worker. Reply to go on.".to_owned())
        } else if !last.ok && !last.interrupted {
            let said = over_budget(&last.text).map_or(last.text.as_str(), |(_, message)| message);
            Some(format!("The turn ended with an error: {} Reply to try again.", sentence(said)))
        } else {
            None
        };
        vec![EventBody::HoldOpened {
            hold: HoldId((ctx.fresh_id)()),
            hold_kind: HoldKind::Reply,
            subject: Subject { caution, ..Subject::reply() },
            expires_at: self.expiry(ctx),
            asked_by: None,
        }]
    }
}

/// A tool call has a result: nothing waits at its hold any more.
fn settle_after_result(hold: &Hold) -> EventBody {
    match hold.state {
        HoldState::Releasing { written: true, .. } => EventBody::HoldReleased { hold: hold.id },
        _ => EventBody::HoldCancelled {
            hold: hold.id,
            reason: "the call has a result without this hold".into(),
        },
    }
}

/// Facts that become an event as they are.
fn passed_on(fact: Fact) -> Vec<EventBody> {
    if let Fact::Assistant(block) = fact {
        let suggested = Suggestion::in_block(&block).map(EventBody::DependencySuggested);
        return std::iter::once(EventBody::Assistant(block)).chain(suggested).collect();
    }
    vec![match fact {
        Fact::ToolStarted { tool_use_id, tool, rule } => EventBody::ToolStarted { tool_use_id, tool, rule },
        Fact::ToolResult(result) => EventBody::ToolResult(result),
        Fact::ApiRetry { attempt, max_retries, delay_ms, status, error } => {
            EventBody::ApiRetry { attempt, max_retries, delay_ms, status, error }
        }
        Fact::Background { running } => EventBody::BackgroundChanged { running },
        Fact::Files { files, omitted } => EventBody::FilesCollected { files, omitted },
        Fact::Notice { level, text } => EventBody::Notice { level, text },
        Fact::CliFrame { name, frame } => EventBody::CliFrame { name, frame },
        _ => return Vec::new(),
    }]
}

/// What still belongs in the log when the execution is over: results and files, but nothing that
/// would open anything.
fn after_the_end(fact: Fact) -> Vec<EventBody> {
    passed_on(fact)
}

/// Characters of an error that a hold quotes: enough for whatever Holdpoint itself says.
const CAUTION_CHARS: usize = 500;

fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut short: String = text.chars().take(CAUTION_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    if !short.ends_with(['.', '!', '?', '…']) {
        short.push('.');
    }
    short
}

fn background_lost() -> Problem {
    Problem {
        code: "background_lost".into(),
        title: "tasks that the agent ran in the background ended with their worker".into(),
        detail: "The agent had ended its turn and waited for them, so its result would lack theirs.".into(),
        hint: "The transcript and the files are kept; start the conversation again, or without `background` in the agent's definition.".into(),
    }
}

fn problem_of(result: &TurnResult) -> Problem {
    let detail: String = result.text.chars().take(2_000).collect();
    if let Some((title, message)) = over_budget(&result.text) {
        return Problem {
            code: "budget_limit".into(),
            title: title.into(),
            detail: message.into(),
            hint: "The transcript and the files are kept; start the conversation again once the budget allows it.".into(),
        };
    }
    let (code, title, hint) = match result.api_status {
        Some(401) => (
            "invalid_key",
            "the model's API refused the key",
            "Set a valid ANTHROPIC_API_KEY where `holdpoint up` runs, restart it, and start the conversation again.",
        ),
        Some(403) => (
            "key_forbidden",
            "the model's API does not let this key use the model",
            "Check the key's permissions and the agent's `model`, then start the conversation again.",
        ),
        Some(_) => (
            "api_error",
            "the model's API answered with an error",
            "Try again; if it stays, look at the API's status.",
        ),
        None => (
            "turn_failed",
            "the agent's turn ended with an error",
            "The transcript and the files are kept; start the conversation again.",
        ),
    };
    let title =
        if result.api_status.is_none() { format!("{title} ({})", result.reason) } else { title.to_owned() };
    Problem { code: code.into(), title, detail, hint: hint.into() }
}
