//! Random commands, facts and losses, and what no sequence of them may ever do.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::event::{ModelCall, Problem, SendMode, TurnResult};
use crate::execution::Need;
use crate::hold::Scope;
use crate::pricing::Tokens;
use crate::{CallId, Completion, DecisionId, Incarnation, Policy, Rule, Status, WorkerSeq};

/// One thing that happens. Numbers pick among what there is, modulo its count.
#[derive(Clone, Debug)]
enum Step {
    Decide { hold: usize, how: u8 },
    Assign { hold: usize, to: Option<bool> },
    Message { steer: bool },
    Interrupt,
    Finish,
    Cancel,
    Fail,
    StartWorker,
    Gone { how: u8, incarnation_back: u32 },
    Release { hold: usize, incarnation_back: u32 },
    Send { message: usize, incarnation_back: u32 },
    Expire { hold: usize },
    Wait,
    ModelCall { replayed: bool },
    Reconcile,
    Fact { fact: FactStep, slip: u8 },
}

#[derive(Clone, Debug)]
enum FactStep {
    Ready,
    Delivered { message: usize },
    Calls { call: u8 },
    Started { call: u8 },
    Asked { call: u8, tool: u8, input: u8, sub: bool },
    Withdrawn { call: u8 },
    Written { hold: usize },
    Dropped { hold: usize },
    Result { call: u8 },
    TurnEnded { ok: bool, status: bool },
    Idle,
    Background { running: u8 },
    Fatal,
}

fn fact_step() -> impl Strategy<Value = FactStep> {
    prop_oneof![
        3 => Just(FactStep::Ready),
        4 => (0..8_usize).prop_map(|message| FactStep::Delivered { message }),
        3 => (0..5_u8).prop_map(|call| FactStep::Calls { call }),
        1 => (0..5_u8).prop_map(|call| FactStep::Started { call }),
        8 => (0..5_u8, 0..4_u8, 0..2_u8, proptest::bool::weighted(0.15))
            .prop_map(|(call, tool, input, sub)| FactStep::Asked { call, tool, input, sub }),
        1 => (0..5_u8).prop_map(|call| FactStep::Withdrawn { call }),
        4 => (0..8_usize).prop_map(|hold| FactStep::Written { hold }),
        1 => (0..8_usize).prop_map(|hold| FactStep::Dropped { hold }),
        4 => (0..5_u8).prop_map(|call| FactStep::Result { call }),
        2 => (any::<bool>(), proptest::bool::weighted(0.1))
            .prop_map(|(ok, status)| FactStep::TurnEnded { ok, status }),
        3 => Just(FactStep::Idle),
        1 => (0..2_u8).prop_map(|running| FactStep::Background { running }),
        1 => Just(FactStep::Fatal),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    // Most often the present worker; sometimes one that was replaced or never was.
    let back = || prop_oneof![8 => Just(0_u32), 1 => Just(1_u32), 1 => Just(u32::MAX)];
    prop_oneof![
        12 => (0..16_usize, 0..6_u8).prop_map(|(hold, how)| Step::Decide { hold, how }),
        3 => (0..16_usize, any::<Option<bool>>()).prop_map(|(hold, to)| Step::Assign { hold, to }),
        4 => any::<bool>().prop_map(|steer| Step::Message { steer }),
        1 => Just(Step::Interrupt),
        1 => proptest::bool::weighted(0.3).prop_map(|now| if now { Step::Finish } else { Step::Wait }),
        1 => (0..6_u8).prop_map(|what| match what {
            0 => Step::Cancel,
            1 => Step::Fail,
            _ => Step::Reconcile,
        }),
        4 => Just(Step::StartWorker),
        4 => (0..4_u8, back()).prop_map(|(how, incarnation_back)| Step::Gone { how, incarnation_back }),
        4 => (0..16_usize, back())
            .prop_map(|(hold, incarnation_back)| Step::Release { hold, incarnation_back }),
        3 => (0..8_usize, back())
            .prop_map(|(message, incarnation_back)| Step::Send { message, incarnation_back }),
        1 => (0..16_usize).prop_map(|hold| Step::Expire { hold }),
        1 => Just(Step::Wait),
        1 => any::<bool>().prop_map(|replayed| Step::ModelCall { replayed }),
        12 => Just(Step::Reconcile),
        24 => (fact_step(), 0..20_u8).prop_map(|(fact, slip)| Step::Fact { fact, slip }),
    ]
}

fn definition() -> impl Strategy<Value = AgentDef> {
    (any::<bool>(), any::<bool>()).prop_map(|(auto, repeatable)| AgentDef {
        completion: if auto { Completion::Auto } else { Completion::Person },
        policy: Policy {
            repeatable: if repeatable { vec![Rule::new("Bash", None)] } else { Vec::new() },
            ..Policy::default()
        },
        ..AgentDef::builtin()
    })
}

/// Every hold that there ever was, settled ones too: late answers come for them as well.
fn all_holds(run: &Run) -> Vec<HoldId> {
    run.log
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::HoldOpened { hold, .. } => Some(*hold),
            _ => None,
        })
        .collect()
}

fn all_messages(run: &Run) -> Vec<MessageId> {
    run.log
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::MessageQueued(message) => Some(message.id),
            _ => None,
        })
        .collect()
}

/// The newest first, so that small numbers mean what is going on now.
fn pick<T: Copy>(all: &[T], at: usize) -> Option<T> {
    all.iter().rev().nth(at % all.len().max(1)).copied()
}

fn fact_of(step: FactStep, run: &Run) -> Option<Fact> {
    let call = |n: u8| format!("call-{n}");
    Some(match step {
        FactStep::Ready => ready(),
        FactStep::Delivered { message } => {
            Fact::MessageDelivered { message: pick(&all_messages(run), message)? }
        }
        FactStep::Calls { call: n } => calls(&call(n)),
        FactStep::Started { call: n } => {
            Fact::ToolStarted { tool_use_id: call(n), tool: "Read".into(), rule: Rule::new("Read", None) }
        }
        FactStep::Asked { call: n, tool, input, sub } => {
            let tool = ["Bash", "Bash", "AskUserQuestion", "SendMessage"][usize::from(tool) % 4];
            Fact::Asked {
                tool_use_id: call(n),
                tool: tool.into(),
                input: json!({ "command": format!("make {input}"), "questions": [{"question": "q"}] }),
                place: None,
                description: None,
                agent_id: sub.then(|| "sub".into()),
            }
        }
        FactStep::Withdrawn { call: n } => Fact::AskWithdrawn { tool_use_id: call(n) },
        FactStep::Written { hold } => Fact::AnswerWritten { hold: pick(&all_holds(run), hold)? },
        FactStep::Dropped { hold } => {
            Fact::AnswerDropped { hold: pick(&all_holds(run), hold)?, reason: "too late".into() }
        }
        FactStep::Result { call: n } => result_of(&call(n)),
        FactStep::Idle => Fact::Idle,
        FactStep::Background { running } => Fact::Background { running: u32::from(running) },
        FactStep::TurnEnded { ok, status } => {
            Fact::TurnEnded(TurnResult { api_status: status.then_some(401), ..turn(ok) })
        }
        FactStep::Fatal => Fact::Fatal { error: problem() },
    })
}

fn problem() -> Problem {
    Problem { code: "x".into(), title: "it broke".into(), detail: String::new(), hint: String::new() }
}

fn request(how: u8) -> DecisionRequest {
    match how {
        0 => deny(),
        1 => reply("go on"),
        2 => DecisionRequest { scope: Some(Scope::Conversation), ..allow() },
        3 => DecisionRequest {
            action: "answer".into(),
            answers: Some(BTreeMap::from([("q".to_owned(), json!("yes"))])),
            ..DecisionRequest::default()
        },
        4 => DecisionRequest { input: Some(bash("make it safe")), ..allow() },
        _ => allow(),
    }
}

fn back(run: &Run, by: u32) -> Incarnation {
    if by == u32::MAX { run.execution.incarnation + 1 } else { run.execution.incarnation.saturating_sub(by) }
}

/// Does a step; refusals are as good as effects.
fn take(run: &mut Run, step: Step) {
    let by = person("grace");
    let command = match step {
        Step::Decide { hold, how } => {
            let Some(hold) = pick(&all_holds(run), hold) else { return };
            Command::Decide { hold, request: request(how), by }
        }
        Step::Assign { hold, to } => {
            let Some(hold) = pick(&all_holds(run), hold) else { return };
            let to = to.map(|ada| assignee(if ada { "ada" } else { "grace" }));
            Command::Assign { hold, to, by }
        }
        Step::Message { steer } => Command::Message {
            text: "more".into(),
            files: vec![],
            mode: if steer { SendMode::Steer } else { SendMode::Queue },
            by,
        },
        Step::Interrupt => Command::Interrupt { by },
        Step::Finish => Command::Finish { by },
        Step::Cancel => Command::Cancel { by },
        Step::Fail => Command::Fail { error: problem() },
        Step::StartWorker => Command::StartWorker { engine: "process".into(), reason: "random".into() },
        Step::Gone { how, incarnation_back } => Command::WorkerGone {
            incarnation: back(run, incarnation_back),
            how: match how {
                0 => Gone::Parked,
                1 => Gone::Stopped,
                _ => Gone::Lost { reason: "killed".into() },
            },
        },
        Step::Release { hold, incarnation_back } => {
            let Some(hold) = pick(&all_holds(run), hold) else { return };
            Command::BeginRelease { hold, incarnation: back(run, incarnation_back) }
        }
        Step::Send { message, incarnation_back } => {
            let Some(message) = pick(&all_messages(run), message) else { return };
            Command::BeginMessage { message, incarnation: back(run, incarnation_back) }
        }
        Step::Expire { hold } => {
            let Some(hold) = pick(&all_holds(run), hold) else { return };
            Command::Expire { hold }
        }
        Step::Wait => {
            run.now += 3 * 24 * 3600 * 1000;
            return;
        }
        Step::ModelCall { replayed } => Command::ModelCall(ModelCall {
            call: CallId(Uuid::nil()),
            model: "claude".into(),
            status: 200,
            tokens: Tokens::default(),
            cost_micros: 3,
            replayed,
            incomplete: false,
            estimated: false,
        }),
        Step::Reconcile => {
            reconcile(run);
            return;
        }
        Step::Fact { fact, slip } => {
            let Some(fact) = fact_of(fact, run) else { return };
            let next: WorkerSeq = run.execution.worker_seq + 1;
            let (worker_seq, incarnation) = match slip {
                0 => (next.saturating_sub(1), run.execution.incarnation),
                1 => (next + 1, run.execution.incarnation),
                2 => (next, back(run, 1)),
                _ => (next, run.execution.incarnation),
            };
            Command::Fact { incarnation, worker_seq, fact }
        }
    };
    drop(run.apply(command));
}

/// What the reconciler does: every need is met by a command that is not refused, or it would turn for ever.
fn reconcile(run: &mut Run) {
    let incarnation = run.execution.incarnation;
    if let Some(need) = run.execution.next().into_iter().next() {
        match need {
            Need::StartWorker(reason) => {
                run.does(Command::StartWorker { engine: "process".into(), reason: reason.into() });
            }
            Need::Release(hold) => {
                run.does(Command::BeginRelease { hold, incarnation });
            }
            Need::Send(message) => {
                run.does(Command::BeginMessage { message, incarnation });
            }
            Need::StopWorker => {
                run.does(Command::WorkerGone { incarnation, how: Gone::Stopped });
            }
            Need::Interrupt => {}
        }
    }
}

/// What holds after every step.
fn check_state(run: &Run) {
    let execution = &run.execution;
    let open = execution.open_holds().count();
    let ended = execution.outcome.is_some();
    assert_eq!(execution.status.is_final(), ended);
    assert_eq!(execution.ended_at.is_some(), ended);
    assert_eq!(execution.status == Status::Awaiting, !ended && open > 0, "awaiting means an open hold");
    if !ended && open == 0 {
        let expected = if execution.has_started { Status::Running } else { Status::Starting };
        assert_eq!(execution.status, expected);
    }
    if ended {
        assert!(execution.holds.is_empty(), "nothing waits at the end: {:?}", execution.holds);
    }
    // Something will happen: a person is asked, a worker works, or the reconciler has something to do.
    assert!(
        ended || open > 0 || execution.residency.has_worker() || !execution.next().is_empty(),
        "nothing will ever happen again: {execution:?}"
    );
    let calls: Vec<_> =
        execution.holds.values().filter_map(|hold| hold.subject.tool_use_id.as_deref()).collect();
    assert_eq!(calls.len(), calls.iter().collect::<BTreeSet<_>>().len(), "two holds for one call");
    assert!(execution.holds.values().filter(|hold| hold.kind == crate::HoldKind::Reply).count() <= 1);
}

/// What holds for a whole log.
fn check_log(log: &[Event]) {
    let mut settled: BTreeSet<HoldId> = BTreeSet::new();
    let mut opened: BTreeSet<HoldId> = BTreeSet::new();
    let mut releasing: BTreeSet<HoldId> = BTreeSet::new();
    let mut decisions: BTreeMap<DecisionId, HoldId> = BTreeMap::new();
    let mut sent: BTreeSet<MessageId> = BTreeSet::new();
    let mut delivered: BTreeSet<MessageId> = BTreeSet::new();
    let mut ended = false;
    let mut told: BTreeMap<Incarnation, WorkerSeq> = BTreeMap::new();
    for (expected, event) in (1..).zip(log) {
        assert_eq!(event.seq, expected, "a gap");
        if let (Some(incarnation), Some(worker_seq)) = (event.incarnation, event.worker_seq) {
            let last = told.insert(incarnation, worker_seq).unwrap_or(0);
            assert_eq!(worker_seq, last + 1, "facts in order, none twice");
        }
        match &event.body {
            EventBody::HoldOpened { hold, .. } => {
                assert!(opened.insert(*hold), "opened twice");
                assert!(!ended, "opened after the end");
            }
            EventBody::HoldReasked { hold, .. } | EventBody::ExpiryTold { hold, .. } => {
                assert!(!settled.contains(hold), "a settled hold came back");
            }
            EventBody::HoldAssigned { hold, .. } => {
                assert!(opened.contains(hold) && !settled.contains(hold), "whose a settled hold is");
                assert!(!decisions.values().any(|other| other == hold), "assigned though decided");
            }
            EventBody::HoldAnswered { hold, decision } => {
                assert!(!settled.contains(hold), "a settled hold came back");
                assert!(decisions.insert(decision.id, *hold).is_none(), "a decision used twice");
                assert_eq!(
                    decisions.values().filter(|other| *other == hold).count(),
                    1,
                    "a hold was answered twice"
                );
            }
            EventBody::HoldExpired { hold } => {
                assert!(!decisions.values().any(|other| other == hold), "expired though decided");
            }
            EventBody::ReleaseIntent { hold, .. } => {
                assert!(!settled.contains(hold), "a settled hold was released");
                assert!(releasing.insert(*hold), "released twice without ReleaseVoided");
            }
            EventBody::ReleaseVoided { hold, .. } => {
                assert!(releasing.remove(hold), "voided what was not being released");
            }
            EventBody::AnswerWritten { hold } => assert!(releasing.contains(hold)),
            EventBody::HoldReleased { hold }
            | EventBody::HoldCancelled { hold, .. }
            | EventBody::HoldSuperseded { hold, .. }
            | EventBody::HoldIndeterminate { hold, .. } => {
                assert!(opened.contains(hold) && settled.insert(*hold), "settled twice");
            }
            EventBody::MessageIntent { message, .. } => {
                assert!(!delivered.contains(message) && sent.insert(*message), "a message sent twice");
            }
            EventBody::MessageRequeued { message } => {
                assert!(sent.remove(message), "requeued what was not sent");
            }
            EventBody::MessageDelivered { message } => {
                assert!(delivered.insert(*message), "a message delivered twice");
            }
            EventBody::ExecutionFinished { .. }
            | EventBody::ExecutionFailed { .. }
            | EventBody::ExecutionCancelled { .. } => {
                assert!(!ended, "ended twice");
                ended = true;
            }
            EventBody::WorkerStarting { .. } => assert!(!ended, "a worker for what is over"),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_breaks_an_invariant(
        definition in definition(),
        steps in proptest::collection::vec(step(), 1..140),
    ) {
        let mut run = Run::new(definition);
        for step in steps {
            let (before, logged) = (run.execution.clone(), run.log.len());
            take(&mut run, step);
            check_state(&run);
            if before.status.is_final() {
                prop_assert_eq!(run.execution.status, before.status, "an end is an end");
                prop_assert_eq!(&run.execution.outcome, &before.outcome);
            }
            // A projection that asks `hold_after` sees what the state then is, or that it is settled.
            let mut folded = before;
            for event in &run.log[logged..] {
                let told = folded.hold_after(&event.body);
                folded.evolve(event);
                if let Some((hold, state)) = told
                    && let Some(now) = folded.holds.get(&hold)
                {
                    prop_assert_eq!(&now.state, &state);
                }
            }
        }
        check_log(&run.log);
        let rebuilt = Execution::rebuild(&run.log).expect("a log");
        prop_assert_eq!(&rebuilt, &run.execution);
        // A snapshot is as good as the log, and an event survives its own JSON.
        let snapshot = serde_json::to_string(&run.execution).expect("json");
        prop_assert_eq!(&serde_json::from_str::<Execution>(&snapshot).expect("json"), &run.execution);
        for event in &run.log {
            let text = serde_json::to_string(event).expect("json");
            prop_assert_eq!(&serde_json::from_str::<Event>(&text).expect("json"), event);
        }
    }
}
