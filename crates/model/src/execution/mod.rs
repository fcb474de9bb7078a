//! The aggregate: one execution as its events made it.
//!
//! * [`Execution::decide`] — may this command happen now, and what are its events? Pure.
//! * [`Execution::evolve`] — what the state is after an event. Pure, total: it never refuses.
//! * [`Execution::next`] — what should be done about it from outside. Pure; asked by the reconciler.

mod decide;
mod evolve;
mod facts;
mod next;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use decide::create;
pub use next::Need;

use crate::event::{ForkedFrom, Grant, Message, Problem, TurnResult};
use crate::hold::{Answer, Subject};
use crate::pricing::Tokens;
use crate::release::Stamp;
use crate::{
    Actor, AgentDef, BudgetUse, ExecutionId, Hold, HoldId, HoldKind, HoldState, Incarnation, Rule, Seq,
    SessionId, UnixMs, WorkerSeq,
};

/// Workers lost in a row, without progress between, after which an execution fails rather than tries again.
pub const MAX_LOSSES_IN_A_ROW: u32 = 5;

/// Workers that could not be started, in a row, after which an execution fails. The cause is one that somebody
/// has to see to, and the pauses between ([`start_pause_ms`]) add up to nearly two hours.
pub const MAX_FAILED_STARTS_IN_A_ROW: u32 = 20;

/// The longest pause before a worker that could not be started is tried again.
const MAX_START_PAUSE_MS: i64 = 10 * 60 * 1000;

/// How long to wait after so many failed starts in a row: 1 s, doubled with each further one, at most ten minutes.
#[must_use]
pub fn start_pause_ms(failed: u32) -> i64 {
    (1_000_i64 << failed.saturating_sub(1).min(16)).min(MAX_START_PAUSE_MS)
}

/// The public status of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// No session has been up yet.
    Starting,
    /// The agent works, or will as soon as there is room.
    Running,
    /// At least one hold is open.
    Awaiting,
    /// Done.
    Finished,
    /// Could not go on.
    Error,
    /// A person ended it.
    Cancelled,
}

impl Status {
    /// The name as stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Awaiting => "awaiting",
            Self::Finished => "finished",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finished | Self::Error | Self::Cancelled)
    }
}

/// Where the session is; only operators see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Residency {
    /// There has been no worker yet, or the last one has ended for good.
    Absent,
    /// A worker has been started, its session is not up yet.
    Starting,
    /// A worker's session is up.
    Warm,
    /// The worker ended while everything waited; another goes on.
    Parked,
    /// The worker went without having been told to; another goes on.
    Lost,
}

impl Residency {
    /// The name as stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Starting => "starting",
            Self::Warm => "warm",
            Self::Parked => "parked",
            Self::Lost => "lost",
        }
    }

    /// Whether there is a worker.
    #[must_use]
    pub fn has_worker(self) -> bool {
        matches!(self, Self::Starting | Self::Warm)
    }
}

/// One conversation with an agent, as its events made it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// The agent's name.
    pub agent: String,
    /// The agent's definition as it was at the start.
    pub definition: AgentDef,
    /// A short title for lists.
    pub title: String,
    /// Who started it.
    pub owner: Actor,
    /// What was filled in.
    pub inputs: BTreeMap<String, String>,
    /// A script answers instead of a model.
    pub rehearsal: bool,
    /// The session's id.
    pub session: SessionId,
    /// When it was created.
    pub created_at: UnixMs,
    /// When its last event was committed.
    pub updated_at: UnixMs,
    /// When it ended.
    pub ended_at: Option<UnixMs>,
    /// Its last event.
    pub seq: Seq,
    /// Derived from all the rest after every event.
    pub status: Status,
    /// Where the session is.
    pub residency: Residency,
    /// The last incarnation given out; 0 before the first.
    pub incarnation: Incarnation,
    /// The last fact number seen from that incarnation.
    pub worker_seq: WorkerSeq,
    /// Holds that are not settled.
    pub holds: BTreeMap<HoldId, Hold>,
    /// Messages that the session does not have yet, in order.
    pub messages: Vec<Pending>,
    /// How many files came with messages, those that were delivered too.
    #[serde(default)]
    pub attached: usize,
    /// What people allowed for the whole conversation.
    pub grants: Vec<Grant>,
    /// The present turn, if one runs.
    pub turn: Option<Turn>,
    /// Set by the first session that came up.
    pub has_started: bool,
    /// A person wants the present turn stopped.
    pub interrupt: bool,
    /// A person wants it to end with the present turn.
    pub finish: Option<Actor>,
    /// What it cost so far.
    pub totals: Totals,
    /// How the last turn ended.
    pub last_turn: Option<TurnResult>,
    /// How it ended, once it has.
    pub outcome: Option<Outcome>,
    /// Workers lost since the last progress.
    pub losses_in_a_row: u32,
    /// Workers that could not be started since the last that could.
    #[serde(default)]
    pub failed_starts: u32,
    /// Why the last one could not be started; None once one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_problem: Option<Problem>,
    /// The session said that it has nothing to do.
    #[serde(default)]
    pub idle: bool,
    /// Tasks that run in the background.
    #[serde(default)]
    pub background: u32,
    /// The event that lists the result files as they are now.
    pub files_seq: Option<Seq>,
    /// The event of the newest checkpoint.
    #[serde(default)]
    pub checkpoint_seq: Option<Seq>,
    /// Budgets that people were warned of, each with the last period in which they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets_warned: Vec<BudgetUse>,
    /// Where it branched off from another conversation, if it did.
    #[serde(default)]
    pub forked_from: Option<ForkedFrom>,
    /// The release that it runs on; None before the first deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Stamp>,
    /// It was moved to that release while a worker of another was up, which ends as soon as everything waits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_moving: bool,
}

/// A message that the session does not have yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// The message.
    pub message: Message,
    /// The incarnation it was sent to, if the intent is committed.
    pub sent_to: Option<Incarnation>,
}

/// The present turn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// The last event before it.
    pub began_after: Seq,
    /// The messages it answers.
    pub messages: Vec<Message>,
    /// Its tool calls.
    pub tools: BTreeMap<String, ToolCall>,
}

/// A tool call of the present turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The tool.
    pub name: String,
    /// The incarnation in which the model first made this call. A call first seen by a later one
    /// than an old ask means that the model has moved on.
    pub first_seen_by: Incarnation,
    /// Policy let it run without a hold. Calls that the session has yet to ask for are not running:
    /// it asks for some tools one after another.
    pub started: bool,
    /// The event with its result, once there is one.
    pub result_seq: Option<Seq>,
}

/// What an execution cost so far, as the gateway saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Model calls that reached the upstream.
    pub calls: u64,
    /// Model calls answered from the record.
    pub replays: u64,
    /// Turns that ended.
    pub turns: u64,
    /// Tokens.
    pub tokens: Tokens,
    /// Millionths of a US dollar.
    pub cost_micros: u64,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Finished {
        /// The last turn's text.
        result: String,
        /// Its structured output.
        structured: Option<Value>,
    },
    /// Could not go on.
    Failed {
        /// Why.
        error: Problem,
    },
    /// A person ended it.
    Cancelled {
        /// Who.
        by: Actor,
    },
}

impl Execution {
    /// The unsettled hold of a tool call, if there is one.
    #[must_use]
    pub fn hold_of_call(&self, tool_use_id: &str) -> Option<&Hold> {
        self.holds.values().find(|hold| hold.subject.tool_use_id.as_deref() == Some(tool_use_id))
    }

    /// The open or answered reply hold, if there is one.
    #[must_use]
    pub fn reply_hold(&self) -> Option<&Hold> {
        self.holds.values().find(|hold| hold.kind == HoldKind::Reply)
    }

    /// Holds that wait for a person.
    pub fn open_holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.values().filter(|hold| hold.state == HoldState::Open)
    }

    /// The grant that covers a use of a tool.
    #[must_use]
    pub fn grant_for(&self, subject: &Subject) -> Option<&Grant> {
        self.grants.iter().find(|grant| subject.is_of(&grant.rule))
    }

    /// Whether this decision may be handed over again after a loss: policy says so of what was released,
    /// or it only talks to a person.
    pub(crate) fn is_repeatable(&self, hold: &Hold, answer: &Answer) -> bool {
        let edited = matches!(answer, Answer::Allow { input: Some(_) });
        let released = hold.released_input(answer).unwrap_or_else(|| hold.subject.input.clone());
        // Where an edited path leads is not known: it is of no place.
        let place = hold.subject.place.as_deref().filter(|_| !edited);
        matches!(hold.kind, HoldKind::Question | HoldKind::Plan | HoldKind::Reply)
            || self.definition.policy.is_repeatable(&hold.subject.tool, &released, place)
    }

    /// The rule that a person could grant at an ask.
    pub(crate) fn grantable(tool: &str, input: &Value) -> Option<Rule> {
        Rule::kind_of(tool, input)
    }
}
