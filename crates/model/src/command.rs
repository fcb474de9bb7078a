//! What can be asked of an execution, and why it may be refused.

use thiserror::Error;
use uuid::Uuid;

use crate::event::{Checkpoint, Level, ModelCall, Problem, SendMode};
use crate::hold::{Answer, DecisionRequest};
use crate::wire::Fact;
use crate::{Actor, HoldId, Incarnation, MessageId, UnixMs, WorkerSeq};

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
    /// A checkpoint is whole and on disk. Refused when anything has happened since its [`Checkpoint::at`]:
    /// then it may hold halves.
    CheckpointTaken(Checkpoint),
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

/// How the refusal of a model call for its cost begins. It comes back as the text of a failed turn, and
/// is known by this.
pub const BUDGET_USED_UP: &str = "the budget of this conversation is used up";

#[allow(clippy::cast_precision_loss)]
fn dollars(micros: u64) -> f64 {
    micros as f64 / 1e6
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
    /// What was spent and what the next call may cost do not fit into the budget.
    #[error(
        "{BUDGET_USED_UP}: it is ${:.2}, ${:.2} is spent or set aside for calls under way, and the next call may cost up to ${:.2}",
        dollars(*.budget_micros), dollars(*.spent_micros), dollars(*.call_micros)
    )]
    OverBudget {
        /// The agent's budget, in millionths of a US dollar.
        budget_micros: u64,
        /// What is spent, and set aside for calls under way.
        spent_micros: u64,
        /// What the refused call may cost.
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
