//! Random things that happen to a few executions, valid and not: commands, facts, model calls, losses.

use std::collections::BTreeMap;

use holdpoint_model::event::{Problem, SendMode, TurnResult};
use holdpoint_model::execution::Need;
use holdpoint_model::hold::Scope;
use holdpoint_model::pricing::Tokens;
use holdpoint_model::wire::Fact;
use holdpoint_model::{
    AgentDef, Command, Completion, DecisionRequest, Execution, ExecutionId, HoldId, Policy, Rule,
    command::Gone,
};
use holdpoint_store::{ApplyError, CompletedCall, FailedCall, HoldFilter, NewCall, Store};
use proptest::prelude::*;
use serde_json::json;

use crate::support::*;

/// One thing that happens. Numbers pick among what there is, modulo its count.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Decide { hold: usize, how: u8 },
    Assign { hold: usize, to: Option<bool> },
    Message { steer: bool },
    End { how: u8 },
    Gone { how: u8 },
    Expire { hold: usize },
    Reconcile,
    Call { how: u8 },
    Facts { facts: Vec<FactStep>, slip: u8 },
}

#[derive(Clone, Debug)]
pub(crate) enum FactStep {
    Ready,
    Delivered { message: usize },
    Says,
    Asked { call: u8, tool: u8, input: u8, sub: bool },
    Withdrawn { call: u8 },
    Written { hold: usize },
    Dropped { hold: usize },
    Result { call: u8 },
    TurnEnded { ok: bool },
    Idle,
    Background { running: u32 },
    Fatal,
}

fn fact() -> impl Strategy<Value = FactStep> {
    prop_oneof![
        3 => Just(FactStep::Ready),
        4 => (0..4_usize).prop_map(|message| FactStep::Delivered { message }),
        2 => Just(FactStep::Says),
        8 => (0..4_u8, 0..4_u8, 0..2_u8, proptest::bool::weighted(0.15))
            .prop_map(|(call, tool, input, sub)| FactStep::Asked { call, tool, input, sub }),
        1 => (0..4_u8).prop_map(|call| FactStep::Withdrawn { call }),
        4 => (0..6_usize).prop_map(|hold| FactStep::Written { hold }),
        1 => (0..6_usize).prop_map(|hold| FactStep::Dropped { hold }),
        4 => (0..4_u8).prop_map(|call| FactStep::Result { call }),
        2 => any::<bool>().prop_map(|ok| FactStep::TurnEnded { ok }),
        3 => Just(FactStep::Idle),
        1 => (0..2_u32).prop_map(|running| FactStep::Background { running }),
        1 => proptest::bool::weighted(0.2).prop_map(|fatal| if fatal { FactStep::Fatal } else { FactStep::Says }),
    ]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..12_usize, 0..6_u8).prop_map(|(hold, how)| Step::Decide { hold, how }),
        3 => (0..12_usize, any::<Option<bool>>()).prop_map(|(hold, to)| Step::Assign { hold, to }),
        3 => any::<bool>().prop_map(|steer| Step::Message { steer }),
        1 => (0..8_u8).prop_map(|how| Step::End { how }),
        3 => (0..4_u8).prop_map(|how| Step::Gone { how }),
        2 => (0..12_usize).prop_map(|hold| Step::Expire { hold }),
        14 => Just(Step::Reconcile),
        4 => (0..6_u8).prop_map(|how| Step::Call { how }),
        16 => (proptest::collection::vec(fact(), 1..5), 0..16_u8)
            .prop_map(|(facts, slip)| Step::Facts { facts, slip }),
    ]
}

pub(crate) fn definition() -> impl Strategy<Value = AgentDef> {
    (proptest::bool::weighted(0.2), any::<bool>()).prop_map(|(auto, repeatable)| AgentDef {
        completion: if auto { Completion::Auto } else { Completion::Person },
        policy: Policy {
            repeatable: if repeatable { vec![Rule::new("Bash", None)] } else { Vec::new() },
            ..Policy::default()
        },
        ..AgentDef::builtin()
    })
}

/// The newest first, so that small numbers mean what is going on now.
fn pick<T: Copy>(all: &[T], at: usize) -> Option<T> {
    all.get(at % all.len().max(1)).copied()
}

/// Does a step. That it is refused is as good as an effect; that the store fails is not.
pub(crate) async fn take(store: &Store, id: ExecutionId, step: &Step) {
    let now = known(store, id).await;
    let of_this = HoldFilter { execution: Some(id), ..HoldFilter::default() };
    let holds: Vec<HoldId> =
        store.holds(&of_this, u32::MAX).await.expect("holds").iter().map(|row| row.hold.id).collect();
    let by = person("grace");
    let command = match step {
        Step::Decide { hold, how } => {
            pick(&holds, *hold).map(|hold| Command::Decide { hold, request: request(*how), by })
        }
        Step::Assign { hold, to } => pick(&holds, *hold).map(|hold| {
            let to = to.map(|ada| assignee(if ada { "ada" } else { "grace" }));
            Command::Assign { hold, to, by }
        }),
        Step::Message { steer } => Some(Command::Message {
            text: "more".into(),
            files: vec![],
            mode: if *steer { SendMode::Steer } else { SendMode::Queue },
            by,
        }),
        Step::End { how: 0 } => Some(Command::Cancel { by }),
        Step::End { how: 1 } => Some(Command::Fail { error: problem() }),
        Step::End { how: 2 | 3 } => Some(Command::Finish { by }),
        Step::End { .. } => Some(Command::Interrupt { by }),
        Step::Gone { how } => Some(Command::WorkerGone {
            incarnation: now.incarnation,
            how: match how {
                0 => Gone::Parked,
                1 => Gone::Stopped,
                _ => Gone::Lost { reason: "killed".into() },
            },
        }),
        Step::Expire { hold } => pick(&holds, *hold).map(|hold| Command::Expire { hold }),
        Step::Reconcile => reconcile(&now),
        Step::Call { how } => return call(store, &now, *how).await,
        Step::Facts { facts, slip } => {
            let facts = facts.iter().filter_map(|step| fact_of(step, &now, &holds)).collect();
            let next = now.worker_seq + 1;
            let (incarnation, from) = match slip {
                0 => (now.incarnation, next.saturating_sub(2).max(1)),
                1 => (now.incarnation, next + 1),
                2 => (now.incarnation.saturating_sub(1), next),
                _ => (now.incarnation, next),
            };
            return expected(store.append_facts(id, incarnation, numbered(from, facts)).await);
        }
    };
    if let Some(command) = command {
        expected(store.apply(id, command).await);
    }
}

fn expected<T>(outcome: Result<T, ApplyError>) {
    match outcome {
        Ok(_) | Err(ApplyError::Refused(_)) => {}
        Err(error) => panic!("the store failed: {error:?}"),
    }
}

/// What the reconciler does first.
fn reconcile(now: &Execution) -> Option<Command> {
    let incarnation = now.incarnation;
    Some(match now.next().into_iter().next()? {
        Need::StartWorker(reason) => Command::StartWorker { engine: "process".into(), reason: reason.into() },
        Need::Release(hold) => Command::BeginRelease { hold, incarnation },
        Need::Send(message) => Command::BeginMessage { message, incarnation },
        Need::StopWorker => Command::WorkerGone { incarnation, how: Gone::Stopped },
        Need::Interrupt => return None,
    })
}

fn fact_of(step: &FactStep, now: &Execution, holds: &[HoldId]) -> Option<Fact> {
    let call = |n: &u8| format!("call-{n}");
    Some(match step {
        FactStep::Ready => ready(),
        FactStep::Delivered { message } => {
            let waiting: Vec<_> = now.messages.iter().map(|pending| pending.message.id).collect();
            Fact::MessageDelivered { message: pick(&waiting, *message)? }
        }
        FactStep::Says => says("something"),
        FactStep::Asked { call: n, tool, input, sub } => Fact::Asked {
            tool_use_id: call(n),
            tool: ["Bash", "Bash", "AskUserQuestion", "SendMessage"][usize::from(*tool) % 4].into(),
            input: json!({"command": format!("make {input}"), "questions": [{"question": "q"}]}),
            place: None,
            description: None,
            agent_id: sub.then(|| "sub".into()),
        },
        FactStep::Withdrawn { call: n } => Fact::AskWithdrawn { tool_use_id: call(n) },
        FactStep::Written { hold } => Fact::AnswerWritten { hold: pick(holds, *hold)? },
        FactStep::Dropped { hold } => {
            Fact::AnswerDropped { hold: pick(holds, *hold)?, reason: "too late".into() }
        }
        FactStep::Result { call: n } => result_of(&call(n)),
        FactStep::TurnEnded { ok } => Fact::TurnEnded(TurnResult { ok: *ok, ..turn_ended() }),
        FactStep::Idle => Fact::Idle,
        FactStep::Background { running } => Fact::Background { running: *running },
        FactStep::Fatal => Fact::Fatal { error: problem() },
    })
}

/// A model call, from its begin to whatever becomes of it.
async fn call(store: &Store, now: &Execution, how: u8) {
    let begun = store.begin_call(new_call(now.id, now.incarnation)).await;
    let Ok(call) = begun else { return expected(begun) };
    match how {
        0 => {}
        1 => expected(store.fail_call(call, failed_call(false)).await),
        2 => expected(store.fail_call(call, failed_call(true)).await),
        _ => {
            expected(store.complete_call(call, completed_call(7)).await);
            if how > 3 {
                store.mark_delivered(call, now.incarnation).await.expect("delivered");
                expected(store.note_replay(now.id, now.incarnation, call).await);
            }
        }
    }
}

pub(crate) fn new_call(execution: ExecutionId, incarnation: u32) -> NewCall {
    NewCall {
        execution,
        incarnation,
        thread: "main".into(),
        place: json!({"after": 3}),
        request_digest: "sha256:0".into(),
        model: "opus".into(),
        reserved_micros: 50,
        asked: json!({"said": ["do it"]}),
    }
}

pub(crate) fn completed_call(cost_micros: u64) -> CompletedCall {
    CompletedCall {
        status: 200,
        response: json!({"content": [{"type": "text", "text": format!("for {cost_micros}")}]}),
        footprint: json!({"messages": cost_micros}),
        stop_reason: Some("end_turn".into()),
        tokens: tokens(10),
        cost_micros,
        model: "claude-opus".into(),
    }
}

pub(crate) fn failed_call(incomplete: bool) -> FailedCall {
    FailedCall { status: None, reason: "cut off".into(), incomplete, tokens: tokens(1), cost_micros: 2 }
}

pub(crate) fn tokens(n: u64) -> Tokens {
    Tokens {
        input_tokens: n,
        output_tokens: 2 * n,
        cache_read_input_tokens: 3 * n,
        cache_creation_input_tokens: 4 * n,
    }
}

fn problem() -> Problem {
    Problem { code: "x".into(), title: "it broke".into(), detail: String::new(), hint: String::new() }
}

fn request(how: u8) -> DecisionRequest {
    match how {
        0 => deny(),
        1 => DecisionRequest {
            action: "reply".into(),
            message: Some("go on".into()),
            ..DecisionRequest::default()
        },
        2 => DecisionRequest { scope: Some(Scope::Conversation), ..allow() },
        3 => DecisionRequest {
            action: "answer".into(),
            answers: Some(BTreeMap::from([("q".to_owned(), json!("yes"))])),
            ..DecisionRequest::default()
        },
        4 => DecisionRequest { input: Some(json!({"command": "make it safe"})), ..allow() },
        _ => allow(),
    }
}
