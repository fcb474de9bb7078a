//! What callers give and get: filters, rows, outcomes, hints.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use holdpoint_model::hold::Decision;
use holdpoint_model::{
    Actor, Digest, Event, Execution, ExecutionId, Hold, HoldKind, Residency, Seq, Share, Status, UnixMs,
    UserId, WorkerSeq,
};
use serde::Serialize;

use crate::Snoozes;

/// What makes two requests of one user the same request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// Who asks. Keys of different users never meet.
    pub user: UserId,
    /// The client's key.
    pub key: String,
    /// The digest of the request: the same key with another digest is a mistake of the client's.
    pub request: Digest,
}

/// What became of a request to create an execution.
#[derive(Clone, Debug)]
pub enum CreateOutcome {
    /// It was created.
    New(Arc<Execution>),
    /// The same request had created this one before.
    Existing(ExecutionId),
}

/// What a command led to. Committed.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Its events, in order.
    pub events: Vec<Arc<Event>>,
    /// The state after the commit; other requests in the same commit may have moved it further on.
    pub execution: Arc<Execution>,
}

/// What a worker's facts led to. Committed.
#[derive(Clone, Debug)]
pub struct FactsApplied {
    /// Every fact of this incarnation up to this number is committed.
    pub up_to: WorkerSeq,
    /// The state after the commit.
    pub execution: Arc<Execution>,
    /// The events of those facts that were new.
    pub events: Vec<Arc<Event>>,
}

/// Something was committed. Only a hint: a receiver that lags reads again by `seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Whose log grew.
    pub execution: ExecutionId,
    /// Its last event now.
    pub seq: Seq,
    /// Its status now.
    pub status: Status,
}

/// Which executions to list. Empty fields do not restrict.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// Only those of this user.
    pub owner: Option<UserId>,
    /// Only what this user owns, or is shared with them.
    pub only_for: Option<UserId>,
    /// Only those in one of these states; empty for any.
    pub statuses: Vec<Status>,
    /// Only those of this agent.
    pub agent: Option<String>,
    /// Only those that this finds: words, each as the beginning of a word, `"as it stands"`, and `author:`,
    /// `agent:`, `tag:`, `title:`, `input:`, `result:`, `status:` before a word. Any text is a question.
    pub text: Option<String>,
}

/// The place in a list after which the next page begins. As text: `<created_at>.<id>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// When the last row of the page was created.
    pub created_at: UnixMs,
    /// Its id.
    pub id: ExecutionId,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.created_at, self.id)
    }
}

impl FromStr for Cursor {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || format!("{text:?} is not a cursor: take it from the previous page");
        let (at, id) = text.split_once('.').ok_or_else(bad)?;
        Ok(Self { created_at: at.parse().map_err(|_| bad())?, id: id.parse().map_err(|_| bad())? })
    }
}

/// An execution in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExecutionRow {
    /// Its id.
    pub id: ExecutionId,
    /// The agent's name.
    pub agent: String,
    /// A short title.
    pub title: String,
    /// Who started it.
    pub owner: Actor,
    /// Its status.
    pub status: Status,
    /// Where its session is.
    pub residency: Residency,
    /// When it was created.
    pub created_at: UnixMs,
    /// When its last event was committed.
    pub updated_at: UnixMs,
    /// When it ended.
    pub ended_at: Option<UnixMs>,
    /// How many holds wait for a person.
    pub open_holds: u32,
    /// Millionths of a US dollar.
    pub cost_micros: u64,
    /// A script answers instead of a model.
    pub rehearsal: bool,
}

impl ExecutionRow {
    /// Where the page after this row begins.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor { created_at: self.created_at, id: self.id }
    }
}

/// The state of a hold without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoldPhase {
    /// Waits for a person.
    Open,
    /// Decided, not yet handed over.
    Answered,
    /// Being handed over.
    Releasing,
    /// Handed over.
    Released,
    /// Nobody knows whether it took effect; another hold asks again.
    Indeterminate,
    /// Nobody decided in time.
    Expired,
    /// Not needed any more.
    Cancelled,
    /// The session asked for something else.
    Superseded,
}

impl HoldPhase {
    /// The name as stored and shown; the same as [`HoldState::as_str`](holdpoint_model::HoldState::as_str).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Answered => "answered",
            Self::Releasing => "releasing",
            Self::Released => "released",
            Self::Indeterminate => "indeterminate",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
        }
    }
}

/// Which holds to list. Open ones come by nearest deadline, any others newest first.
#[derive(Clone, Debug, Default)]
pub struct HoldFilter {
    /// Only those in this state; None for any.
    pub phase: Option<HoldPhase>,
    /// Only those of this execution.
    pub execution: Option<ExecutionId>,
    /// Only those of executions that this user owns.
    pub owner: Option<UserId>,
    /// Only those of executions that this user owns, or is given at least this much of.
    pub only_for: Option<(UserId, Share)>,
    /// Only those of this agent.
    pub agent: Option<String>,
    /// Only those of this kind.
    pub kind: Option<HoldKind>,
    /// Only those that are this user's, or nobody's in particular.
    pub assigned: Option<Option<UserId>>,
    /// Only those that expire before this.
    pub due_before: Option<UnixMs>,
    /// Without, or only, what somebody has snoozed.
    pub snoozes: Option<Snoozes>,
}

impl HoldFilter {
    /// Those that wait for a person.
    #[must_use]
    pub fn open() -> Self {
        Self { phase: Some(HoldPhase::Open), ..Self::default() }
    }
}

/// A hold in a list, settled or not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HoldRow {
    /// The hold as it stands.
    pub hold: Hold,
    /// The last decision about it; also where a later state (`cancelled`) does not carry one.
    pub decision: Option<Decision>,
    /// Whose.
    pub execution: ExecutionId,
    /// The agent's name.
    pub agent: String,
    /// The execution's title.
    pub title: String,
    /// The execution's owner.
    pub owner: Actor,
    /// When nothing waited for it any more.
    pub settled_at: Option<UnixMs>,
}

/// How much there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Executions by the name of their status; a status without any is absent.
    pub executions: BTreeMap<String, u64>,
    /// Holds that wait for a person.
    pub open_holds: u64,
}

/// What a rebuild of the projections went over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// Executions.
    pub executions: u64,
    /// Events.
    pub events: u64,
}

/// A fact of a worker that had been replaced: kept, but never part of the log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SideFact {
    /// Which worker.
    pub incarnation: holdpoint_model::Incarnation,
    /// When it reached us.
    pub at: UnixMs,
    /// What it told.
    pub fact: holdpoint_model::wire::NumberedFact,
}
