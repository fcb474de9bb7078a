//! Executions, holds and decisions as the API shows them.

use std::collections::BTreeMap;

use holdpoint_control::{Instance, Usage};
use holdpoint_model::{
    Actor, Answer, DecisionId, Digest, Execution, ExecutionId, GrantId, Hold, HoldId, HoldKind, Incarnation,
    ReleaseNumber, Residency, Rule, Seq, Status,
    event::{Grant, Problem as Failure, TurnResult},
    execution::Outcome,
    hold::{Assignee, Decision, Question, Subject},
};
use holdpoint_store::{ExecutionRow, HoldRow};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{auth::Caller, state::WebState, time::At};

/// A whole conversation.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Execution")]
pub(crate) struct ExecutionView {
    id: ExecutionId,
    /// The agent's name.
    agent: String,
    title: String,
    status: Status,
    /// Its page in the panel.
    url: String,
    /// Who started it.
    owner: Actor,
    /// What was filled in, without passwords.
    inputs: BTreeMap<String, String>,
    /// A script answers instead of a model.
    rehearsal: bool,
    created_at: At,
    /// When its last event was committed.
    updated_at: At,
    ended_at: Option<At>,
    /// Its last event.
    seq: Seq,
    /// The last turn's text, once it has finished.
    result: Option<String>,
    /// Structured output, if a schema was asked for and met.
    #[serde(skip_serializing_if = "Option::is_none")]
    structured: Option<Value>,
    /// Why it could not go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelled_by: Option<Actor>,
    /// What it runs on; left out where it was started before the first deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<RunsOnView>,
    /// Those that are not settled.
    holds: Vec<HoldView>,
    /// What people allowed for the whole conversation.
    grants: Vec<Grant>,
    last_turn: Option<TurnResult>,
    usage: UsageView,
    /// Why it has no session yet although it should run.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    /// Where its session is; for operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    residency: Option<Residency>,
    /// Its last worker, 0 before the first; for operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    incarnation: Option<Incarnation>,
}

/// The release that a conversation runs on.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RunsOn")]
struct RunsOnView {
    number: ReleaseNumber,
    /// The id of its image; null where it has none of its own.
    image: Option<String>,
}

/// What a conversation used so far, as the gateway saw it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Usage")]
struct UsageView {
    /// Model calls that reached the upstream.
    calls: u64,
    /// Model calls answered from the record.
    replays: u64,
    /// Turns that ended.
    turns: u64,
    input_tokens: u64,
    output_tokens: u64,
    cache_read_input_tokens: u64,
    cache_creation_input_tokens: u64,
    cost_usd: f64,
}

/// A conversation as a line of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExecutionRow")]
pub(crate) struct RowView {
    id: ExecutionId,
    /// The agent's name.
    agent: String,
    title: String,
    status: Status,
    /// Its page in the panel.
    url: String,
    /// Who started it.
    owner: Actor,
    /// How many of its holds wait for a person.
    open_holds: u32,
    cost_usd: f64,
    /// A script answers instead of a model.
    rehearsal: bool,
    created_at: At,
    /// When its last event was committed.
    updated_at: At,
    ended_at: Option<At>,
    /// Where its session is; for operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    residency: Option<Residency>,
}

/// A request to a person, in its present state.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Hold")]
pub(crate) struct HoldView {
    id: HoldId,
    execution: ExecutionId,
    /// The agent's name.
    agent: String,
    /// The conversation's title.
    title: String,
    kind: HoldKind,
    /// `open`, `answered`, `releasing`, `released`, `indeterminate`, `expired`, `cancelled` or `superseded`.
    state: &'static str,
    /// Where it is in the panel.
    url: String,
    opened_at: At,
    expires_at: Option<At>,
    /// Whose it is, if somebody said so; everybody who may answer it still may.
    assigned_to: Option<Assignee>,
    subject: SubjectView,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<DecisionView>,
}

/// A hold with whose it is, and when nothing waited for it any more.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "HoldRow")]
pub(crate) struct HoldRowView {
    #[serde(flatten)]
    hold: HoldView,
    /// Who started the conversation.
    owner: Actor,
    settled_at: Option<At>,
}

/// What is asked for.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "HoldSubject")]
struct SubjectView {
    /// The tool's name; empty for a reply.
    tool: String,
    /// The CLI's raw input; null for a reply.
    input: Value,
    /// The digest of `input`: a decision may name it, and is refused when something else is asked by then.
    digest: Digest,
    /// The CLI's one-line description, if it gave one.
    description: Option<String>,
    /// What "allow this kind in this conversation" would allow; null where it is not offered.
    grant: Option<Rule>,
    /// Why a person has to look although something was decided before.
    caution: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_use_id: Option<String>,
    /// Of a `question`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    questions: Vec<Question>,
}

/// The answer to a hold.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "HoldDecision")]
struct DecisionView {
    #[serde(flatten)]
    answer: AnswerView,
    by: Actor,
    at: At,
    id: DecisionId,
    /// The digest of what was seen.
    seen: Digest,
    /// The digest of the input as a person edited it.
    #[serde(skip_serializing_if = "Option::is_none")]
    edited: Option<Digest>,
    /// The grant that it made or rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<GrantId>,
    /// The release that the conversation ran on then; left out before the first deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseNumber>,
}

/// An answer in the words of the request: `answer`, where the log says `answers`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
#[schemars(inline)]
enum AnswerView {
    Allow {
        /// As a person edited it.
        #[serde(skip_serializing_if = "Option::is_none")]
        input: Option<Value>,
    },
    Deny {
        message: String,
    },
    Reply {
        text: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        files: Vec<String>,
    },
    Answer {
        answers: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        notes: BTreeMap<String, String>,
    },
}

impl From<&Answer> for AnswerView {
    fn from(answer: &Answer) -> Self {
        match answer.clone() {
            Answer::Allow { input } => Self::Allow { input },
            Answer::Deny { message } => Self::Deny { message },
            Answer::Reply { text, files } => Self::Reply { text, files },
            Answer::Answers { answers, notes } => Self::Answer { answers, notes },
        }
    }
}

/// What is seen of a worker.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Worker")]
pub(crate) struct WorkerView {
    execution: ExecutionId,
    incarnation: Incarnation,
    /// `process`, `podman` or `docker`.
    engine: &'static str,
    /// `running`; of a container, whatever its engine says.
    state: String,
    started_at: Option<At>,
    /// The worker's process on the server's machine.
    worker_pid: Option<i32>,
    /// The session's processes there; of a container, its first.
    session_pids: Vec<i32>,
    memory_bytes: AmountView,
    /// Processes and threads.
    processes: AmountView,
    /// Processor time that what runs now has used.
    cpu_ms: u64,
    /// How many processors there are for it; null for all.
    cpus: Option<f64>,
    container: Option<ContainerView>,
}

/// How much of something is used.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct AmountView {
    used: u64,
    /// At most, if it is bounded.
    limit: Option<u64>,
}

/// A session's container.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Container")]
struct ContainerView {
    id: String,
    name: String,
    image: String,
    image_digest: String,
    /// `none` is none but the way to the gateway.
    network: String,
    /// `uid:gid` inside.
    user: String,
    mounts: Vec<MountView>,
}

/// A folder of the host in a container.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Mount")]
struct MountView {
    source: String,
    target: String,
    read_only: bool,
}

/// The address of a conversation in the panel.
pub(crate) fn execution_url(state: &WebState, id: impl std::fmt::Display) -> String {
    format!("{}/executions/{id}", state.base_url)
}

/// Dollars, from millionths of one.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn dollars(micros: u64) -> f64 {
    micros as f64 / 1_000_000.0
}

/// A whole execution.
pub(super) fn execution(state: &WebState, caller: &Caller, execution: &Execution) -> ExecutionView {
    let (mut result, mut structured, mut error, mut cancelled_by) = (None, None, None, None);
    match execution.outcome.clone() {
        Some(Outcome::Finished { result: text, structured: output }) => {
            result = Some(text);
            structured = output;
        }
        Some(Outcome::Failed { error: why }) => error = Some(why),
        Some(Outcome::Cancelled { by }) => cancelled_by = Some(by),
        None => {}
    }
    let hold = |hold: &Hold| {
        hold_view(state, hold, hold.state.decision(), execution.id, &execution.agent, &execution.title)
    };
    let totals = &execution.totals;
    let is_operator = caller.is_operator();
    ExecutionView {
        id: execution.id,
        agent: execution.agent.clone(),
        title: execution.title.clone(),
        status: execution.status,
        url: execution_url(state, execution.id),
        owner: execution.owner.clone(),
        inputs: execution.inputs.clone(),
        rehearsal: execution.rehearsal,
        created_at: At(execution.created_at),
        updated_at: At(execution.updated_at),
        ended_at: execution.ended_at.map(At),
        seq: execution.seq,
        result,
        structured,
        error,
        cancelled_by,
        release: execution
            .release
            .as_ref()
            .map(|stamp| RunsOnView { number: stamp.number, image: stamp.image.clone() }),
        holds: execution.holds.values().map(hold).collect(),
        grants: execution.grants.clone(),
        last_turn: execution.last_turn.clone(),
        usage: UsageView {
            calls: totals.calls,
            replays: totals.replays,
            turns: totals.turns,
            input_tokens: totals.tokens.input_tokens,
            output_tokens: totals.tokens.output_tokens,
            cache_read_input_tokens: totals.tokens.cache_read_input_tokens,
            cache_creation_input_tokens: totals.tokens.cache_creation_input_tokens,
            cost_usd: dollars(totals.cost_micros),
        },
        queue: state.control.queued(execution),
        residency: is_operator.then_some(execution.residency),
        incarnation: is_operator.then_some(execution.incarnation),
    }
}

/// A line of a list.
pub(super) fn row(state: &WebState, caller: &Caller, row: &ExecutionRow) -> RowView {
    RowView {
        id: row.id,
        agent: row.agent.clone(),
        title: row.title.clone(),
        status: row.status,
        url: execution_url(state, row.id),
        owner: row.owner.clone(),
        open_holds: row.open_holds,
        cost_usd: dollars(row.cost_micros),
        rehearsal: row.rehearsal,
        created_at: At(row.created_at),
        updated_at: At(row.updated_at),
        ended_at: row.ended_at.map(At),
        residency: caller.is_operator().then_some(row.residency),
    }
}

/// A hold, settled or not.
pub(super) fn hold(state: &WebState, row: &HoldRow) -> HoldRowView {
    let decision = row.hold.state.decision().or(row.decision.as_ref());
    HoldRowView {
        hold: hold_view(state, &row.hold, decision, row.execution, &row.agent, &row.title),
        owner: row.owner.clone(),
        settled_at: row.settled_at.map(At),
    }
}

fn hold_view(
    state: &WebState,
    hold: &Hold,
    decision: Option<&Decision>,
    execution: ExecutionId,
    agent: &str,
    title: &str,
) -> HoldView {
    HoldView {
        id: hold.id,
        execution,
        agent: agent.to_owned(),
        title: title.to_owned(),
        kind: hold.kind,
        state: hold.state.as_str(),
        url: format!("{}#h-{}", execution_url(state, execution), hold.id),
        opened_at: At(hold.opened_at),
        expires_at: hold.expires_at.map(At),
        assigned_to: hold.assigned.clone(),
        subject: subject_view(&hold.subject, hold.questions()),
        decision: decision.map(decision_view),
    }
}

fn subject_view(subject: &Subject, questions: Vec<Question>) -> SubjectView {
    let subject = subject.clone();
    SubjectView {
        tool: subject.tool,
        input: subject.input,
        digest: subject.digest,
        description: subject.description,
        grant: subject.grant,
        caution: subject.caution,
        tool_use_id: subject.tool_use_id,
        questions,
    }
}

fn decision_view(decision: &Decision) -> DecisionView {
    DecisionView {
        answer: (&decision.answer).into(),
        by: decision.by.clone(),
        at: At(decision.at),
        id: decision.id,
        seen: decision.seen.clone(),
        edited: decision.edited.clone(),
        grant: decision.grant,
        release: decision.release,
    }
}

/// What is seen of a worker.
pub(crate) fn instance(worker: &Instance) -> WorkerView {
    let amount = |usage: Usage| AmountView { used: usage.used, limit: usage.limit };
    let container = worker.container.as_ref().map(|container| ContainerView {
        id: container.id.clone(),
        name: container.name.clone(),
        image: container.image.clone(),
        image_digest: container.image_digest.clone(),
        network: container.network.clone(),
        user: container.user.clone(),
        mounts: container
            .mounts
            .iter()
            .map(|mount| MountView {
                source: mount.source.display().to_string(),
                target: mount.target.display().to_string(),
                read_only: mount.read_only,
            })
            .collect(),
    });
    WorkerView {
        execution: worker.id.execution,
        incarnation: worker.id.incarnation,
        engine: worker.engine,
        state: worker.state.clone(),
        started_at: worker.started_at.map(At),
        worker_pid: worker.worker_pid,
        session_pids: worker.session_pids.clone(),
        memory_bytes: amount(worker.memory),
        processes: amount(worker.processes),
        cpu_ms: worker.cpu_ms,
        cpus: worker.cpus,
        container,
    }
}
