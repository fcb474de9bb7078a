//! What can be asked of an execution, and why it may be refused.

use thiserror::Error;
use uuid::Uuid;

use crate::budget::{BudgetUse, dollars};
use crate::event::{Checkpoint, Level, ModelCall, Problem, SendMode};
use crate::hold::{Answer, Assignee, DecisionRequest};
use crate::release::Stamp;
use crate::wire::Fact;
use crate::{Actor, AgentDef, HoldId, Incarnation, MessageId, UnixMs, WorkerSeq};

/// Everything that can change an execution. Each is decided in the transaction that commits its events.
#[derive(Clone, Debug)]
pub enum Command {
    /// A person decides a hold.
    Decide {
        /// Which.
        hold: HoldId,
        /// What they sent.
        request: DecisionRequest,
        /// Who.
        by: Actor,
    },
    /// A person says whose an open hold is. That they may, and that the other may decide it, was asked before.
    Assign {
        /// Which.
        hold: HoldId,
        /// Whose it is from now on; None for nobody's in particular.
        to: Option<Assignee>,
        /// Who says so.
        by: Actor,
    },
    /// A person writes a message; it answers an open reply hold if there is one.
    Message {
        /// What they wrote.
        text: String,
        /// Files already placed in the workspace.
        files: Vec<String>,
        /// When to send it while the agent works.
        mode: SendMode,
        /// Who.
        by: Actor,
    },
    /// A person stops the present turn.
    Interrupt {
        /// Who.
        by: Actor,
    },
    /// A person ends the execution now.
    Cancel {
        /// Who.
        by: Actor,
    },
    /// A person says that it is done.
    Finish {
        /// Who.
        by: Actor,
    },
    /// Holdpoint ends the execution with an error.
    Fail {
        /// Which.
        error: Problem,
    },
    /// A worker is about to be started.
    StartWorker {
        /// Where.
        engine: String,
        /// Why now.
        reason: String,
    },
    /// A worker is gone. Everything it had journaled was appended before.
    WorkerGone {
        /// Which.
        incarnation: Incarnation,
        /// How.
        how: Gone,
    },
    /// A decision is about to be handed over.
    BeginRelease {
        /// Which.
        hold: HoldId,
        /// To whom.
        incarnation: Incarnation,
    },
    /// A message is about to be sent.
    BeginMessage {
        /// Which.
        message: MessageId,
        /// To whom.
        incarnation: Incarnation,
    },
    /// The time of a hold is over.
    Expire {
        /// Which.
        hold: HoldId,
    },
    /// The gateway finished a model call.
    ModelCall(ModelCall),
    /// So much of each budget is used now; committed together with the call that used it.
    BudgetsUsed(Vec<BudgetUse>),
    /// A checkpoint is whole and on disk. Refused when anything has happened since its [`Checkpoint::at`]:
    /// then it may hold halves.
    CheckpointTaken(Checkpoint),
    /// An operator is about to run a command beside the session.
    RunCommand {
        /// Who.
        by: Actor,
        /// Beside which incarnation's session.
        incarnation: Incarnation,
        /// The program and its arguments.
        command: Vec<String>,
    },
    /// A person moves it to another release. Refused while it is at work.
    Move {
        /// To which.
        release: Stamp,
        /// Its agent's definition there.
        definition: Box<AgentDef>,
        /// Who.
        by: Actor,
    },
    /// Something people should know.
    Notice {
        /// How much it matters.
        level: Level,
        /// In words.
        text: String,
    },
    /// A worker that was replaced tells that it had passed an answer on after all.
    WrittenAfterAll {
        /// Which answer.
        hold: HoldId,
    },
    /// A worker tells a fact.
    Fact {
        /// Which worker.
        incarnation: Incarnation,
        /// Its number for it.
        worker_seq: WorkerSeq,
        /// What.
        fact: Fact,
    },
}

/// How a worker went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Without having been told to.
    Lost {
        /// In words.
        reason: String,
    },
    /// Before its session came up, for a reason that somebody has to see to. Tried again for much longer
    /// than a loss.
    NotStarted {
        /// The cause, and what to type.
        problem: Problem,
    },
    /// Because everything waits for people.
    Parked,
    /// Because the execution is over.
    Stopped,
}

/// What deciding may use from outside: the time, and fresh ids.
pub struct DecideCtx<'a> {
    /// Now.
    pub now: UnixMs,
    /// A fresh UUID v7 at each call.
    pub fresh_id: &'a mut dyn FnMut() -> Uuid,
}

impl std::fmt::Debug for DecideCtx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecideCtx").field("now", &self.now).finish_non_exhaustive()
    }
}

/// How the refusal of a model call for its cost begins. It comes back in the text of a failed turn, and
/// is known by this.
pub const OVER_BUDGET: &str = "over budget: ";

/// What a refusal for the cost says, in a text that has it somewhere: its title, and the whole of it.
#[must_use]
pub fn over_budget(text: &str) -> Option<(&str, &str)> {
    let (_, message) = text.split_once(OVER_BUDGET)?;
    // The API's error, of which this is the message, may be around it.
    let message = message.split('"').next().unwrap_or(message);
    let title = message.split_once(": it is").map_or(message, |(title, _)| title);
    Some((title, message))
}

/// Why a command was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Refusal {
    /// Somebody was first.
    #[error("{} answered this at {at}", by.name)]
    AlreadyAnswered {
        /// Who.
        by: Box<Actor>,
        /// When.
        at: UnixMs,
        /// What they decided.
        answer: Box<Answer>,
    },
    /// The time was over.
    #[error("this hold has expired")]
    Expired,
    /// The hold is not needed any more.
    #[error("this hold is {0}: nothing waits for it any more")]
    NotOpen(&'static str),
    /// No such hold among those that are not settled; it may be settled, or of another execution.
    #[error("there is no such hold")]
    UnknownHold,
    /// No such message is waiting.
    #[error("there is no such message waiting")]
    UnknownMessage,
    /// The request does not fit.
    #[error("{0}")]
    Invalid(String),
    /// The execution is over.
    #[error("this execution is {0}: it cannot go on")]
    Ended(&'static str),
    /// It is at work on its release.
    #[error("it is at work: wait until it waits for somebody, or interrupt it")]
    AtWork,
    /// Nothing is running that could be interrupted.
    #[error("nothing is running")]
    NotRunning,
    /// The state has moved on; the reconciler looks again.
    #[error("the state has moved on: {0}")]
    Stale(&'static str),
    /// Told by a worker that another has replaced.
    #[error("incarnation {told} is fenced off: {current} acts")]
    Fenced {
        /// Who told.
        told: Incarnation,
        /// Who acts.
        current: Incarnation,
    },
    /// What was spent and what the next call may cost do not fit into a budget.
    #[error(
        "{OVER_BUDGET}{} is used up: it is ${:.2}, ${:.2} is spent, ${:.2} is set aside for calls under way, and the next call may cost up to ${:.2}. {}",
        used.title(), dollars(used.budget_micros), dollars(used.spent_micros), dollars(*.set_aside_micros),
        dollars(*.call_micros), used.what_to_do()
    )]
    OverBudget {
        /// The budget, and what is spent of it.
        used: Box<BudgetUse>,
        /// What calls under way may still cost, in millionths of a US dollar.
        set_aside_micros: u64,
        /// What the refused call may cost, in millionths of a US dollar.
        call_micros: u64,
    },
    /// A worker left out a number.
    #[error("a fact is missing: expected number {expected}, got {got}")]
    Gap {
        /// The next number in line.
        expected: WorkerSeq,
        /// What came.
        got: WorkerSeq,
    },
}
