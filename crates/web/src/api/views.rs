//! Executions, holds and decisions as the API shows them.

use holdpoint_control::{Instance, Usage};
use holdpoint_model::{
    Answer, Execution, Hold,
    execution::Outcome,
    hold::{Decision, Subject},
};
use holdpoint_store::{ExecutionRow, HoldRow};
use serde_json::{Map, Value, json};

use crate::{auth::Caller, state::WebState, time::rfc3339};

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
pub(super) fn execution(state: &WebState, caller: &Caller, execution: &Execution) -> Value {
    let totals = &execution.totals;
    let mut view = json!({
        "id": execution.id,
        "agent": execution.agent,
        "title": execution.title,
        "status": execution.status,
        "url": execution_url(state, execution.id),
        "owner": execution.owner,
        "inputs": execution.inputs,
        "rehearsal": execution.rehearsal,
        "created_at": rfc3339(execution.created_at),
        "updated_at": rfc3339(execution.updated_at),
        "ended_at": execution.ended_at.map(rfc3339),
        "seq": execution.seq,
        "result": null,
        "holds": execution
            .holds
            .values()
            .map(|hold| hold_view(state, hold, hold.state.decision(), execution.id, &execution.agent, &execution.title))
            .collect::<Vec<_>>(),
        "grants": execution.grants,
        "last_turn": execution.last_turn,
        "usage": {
            "calls": totals.calls,
            "replays": totals.replays,
            "turns": totals.turns,
            "input_tokens": totals.tokens.input_tokens,
            "output_tokens": totals.tokens.output_tokens,
            "cache_read_input_tokens": totals.tokens.cache_read_input_tokens,
            "cache_creation_input_tokens": totals.tokens.cache_creation_input_tokens,
            "cost_usd": dollars(totals.cost_micros),
        },
    });
    match &execution.outcome {
        Some(Outcome::Finished { result, structured }) => {
            view["result"] = json!(result);
            if let Some(structured) = structured {
                view["structured"] = structured.clone();
            }
        }
        Some(Outcome::Failed { error }) => view["error"] = json!(error),
        Some(Outcome::Cancelled { by }) => view["cancelled_by"] = json!(by),
        None => {}
    }
    if let Some(queue) = state.control.queued(execution) {
        view["queue"] = json!(queue);
    }
    if caller.is_operator() {
        view["residency"] = json!(execution.residency);
        view["incarnation"] = json!(execution.incarnation);
    }
    view
}

/// A line of a list.
pub(super) fn row(state: &WebState, caller: &Caller, row: &ExecutionRow) -> Value {
    let mut view = json!({
        "id": row.id,
        "agent": row.agent,
        "title": row.title,
        "status": row.status,
        "url": execution_url(state, row.id),
        "owner": row.owner,
        "open_holds": row.open_holds,
        "cost_usd": dollars(row.cost_micros),
        "rehearsal": row.rehearsal,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
        "ended_at": row.ended_at.map(rfc3339),
    });
    if caller.is_operator() {
        view["residency"] = json!(row.residency);
    }
    view
}

/// A hold, settled or not.
pub(super) fn hold(state: &WebState, row: &HoldRow) -> Value {
    let decision = row.hold.state.decision().or(row.decision.as_ref());
    let mut view = hold_view(state, &row.hold, decision, row.execution, &row.agent, &row.title);
    view["owner"] = json!(row.owner);
    view["settled_at"] = json!(row.settled_at.map(rfc3339));
    view
}

fn hold_view(
    state: &WebState,
    hold: &Hold,
    decision: Option<&Decision>,
    execution: holdpoint_model::ExecutionId,
    agent: &str,
    title: &str,
) -> Value {
    let mut view = json!({
        "id": hold.id,
        "execution": execution,
        "agent": agent,
        "title": title,
        "kind": hold.kind,
        "state": hold.state.as_str(),
        "url": format!("{}#h-{}", execution_url(state, execution), hold.id),
        "opened_at": rfc3339(hold.opened_at),
        "expires_at": hold.expires_at.map(rfc3339),
        "assigned_to": hold.assigned,
        "subject": subject_view(&hold.subject, hold),
    });
    if let Some(decision) = decision {
        view["decision"] = decision_view(decision);
    }
    view
}

fn subject_view(subject: &Subject, hold: &Hold) -> Value {
    let mut view = Map::new();
    view.insert("tool".into(), json!(subject.tool));
    view.insert("input".into(), subject.input.clone());
    view.insert("digest".into(), json!(subject.digest));
    view.insert("description".into(), json!(subject.description));
    view.insert("grant".into(), json!(subject.grant));
    view.insert("caution".into(), json!(subject.caution));
    if let Some(call) = &subject.tool_use_id {
        view.insert("tool_use_id".into(), json!(call));
    }
    let questions = hold.questions();
    if !questions.is_empty() {
        view.insert("questions".into(), json!(questions));
    }
    Value::Object(view)
}

fn decision_view(decision: &Decision) -> Value {
    let mut view = json!(decision.answer);
    // The same word as in the request.
    if let Answer::Answers { .. } = decision.answer {
        view["action"] = json!("answer");
    }
    view["by"] = json!(decision.by);
    view["at"] = json!(rfc3339(decision.at));
    view["id"] = json!(decision.id);
    view["seen"] = json!(decision.seen);
    if let Some(edited) = &decision.edited {
        view["edited"] = json!(edited);
    }
    if let Some(grant) = &decision.grant {
        view["grant"] = json!(grant);
    }
    view
}

/// What is seen of a worker.
pub(crate) fn instance(worker: &Instance) -> Value {
    let usage = |usage: Usage| json!({ "used": usage.used, "limit": usage.limit });
    let container = worker.container.as_ref().map(|container| {
        let mounts = container.mounts.iter().map(
            |mount| json!({ "source": mount.source, "target": mount.target, "read_only": mount.read_only }),
        );
        json!({
            "id": container.id,
            "name": container.name,
            "image": container.image,
            "image_digest": container.image_digest,
            "network": container.network,
            "user": container.user,
            "mounts": mounts.collect::<Vec<_>>(),
        })
    });
    json!({
        "execution": worker.id.execution,
        "incarnation": worker.id.incarnation,
        "engine": worker.engine,
        "state": worker.state,
        "started_at": worker.started_at.map(rfc3339),
        "worker_pid": worker.worker_pid,
        "session_pids": worker.session_pids,
        "memory_bytes": usage(worker.memory),
        "processes": usage(worker.processes),
        "cpu_ms": worker.cpu_ms,
        "cpus": worker.cpus,
        "container": container,
    })
}
