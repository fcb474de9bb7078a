//! What a worker tells.

use super::*;
use crate::{Completion, HoldKind, Policy, Residency, Rule, Status};

#[test]
fn numbers_are_taken_once_and_in_order() {
    let mut run = Run::working(AgentDef::builtin());
    let known = run.execution.worker_seq;
    let fact = |worker_seq| Command::Fact { incarnation: 1, worker_seq, fact: calls("a") };
    assert!(run.does(fact(known)).is_empty(), "a duplicate changes nothing");
    assert_eq!(run.refused(fact(known + 2)), Refusal::Gap { expected: known + 1, got: known + 2 });
    run.does(fact(known + 1));
    let fenced = Command::Fact { incarnation: 2, worker_seq: 1, fact: calls("a") };
    assert_eq!(run.refused(fenced), Refusal::Fenced { told: 2, current: 1 });
    run.lose();
    assert!(matches!(run.refused(fact(known + 2)), Refusal::Stale("there is no worker")));
    run.start_worker();
    assert_eq!(run.execution.worker_seq, 0);
    assert_eq!(run.refused(fact(known + 2)), Refusal::Fenced { told: 1, current: 2 });
}

#[test]
fn every_fact_leaves_a_trace_of_its_number() {
    let mut run = Run::working(AgentDef::builtin());
    let before = run.execution.worker_seq;
    assert_eq!(kinds(&run.fact(Fact::AskWithdrawn { tool_use_id: "none".into() })), ["notice"]);
    assert_eq!(run.execution.worker_seq, before + 1);
    assert_eq!(Execution::rebuild(&run.log).expect("a log").worker_seq, before + 1);
}

#[test]
fn the_session_is_up() {
    let mut run = Run::new(AgentDef::builtin());
    run.start_worker();
    assert_eq!((run.execution.status, run.execution.residency), (Status::Starting, Residency::Starting));
    assert!(run.execution.next().is_empty());
    run.fact(ready());
    assert_eq!((run.execution.status, run.execution.residency), (Status::Running, Residency::Warm));
}

#[test]
fn policy_answers_where_it_can() {
    let definition = AgentDef {
        policy: Policy {
            refuse: vec![Rule::new("Bash", Some("rm *"))],
            ask: vec![Rule::new("Glob", None)],
            ..Policy::default()
        },
        ..AgentDef::builtin()
    };
    let mut run = Run::working(definition);
    for (call, tool, input, state) in [
        ("a", "Bash", bash("rm -rf x"), "answered"),
        ("b", "TaskList", json!({}), "answered"),
        ("c", "Glob", json!({"pattern": "x"}), "open"),
        ("d", "AskUserQuestion", json!({"questions": []}), "open"),
        ("e", "ExitPlanMode", json!({"plan": "x"}), "open"),
    ] {
        run.fact(asks(call, tool, input));
        assert_eq!(run.hold_of(call).state.as_str(), state, "{tool}");
    }
    let by_policy = run.hold_of("a").state.decision().expect("decided");
    assert!(
        matches!(by_policy.answer, crate::Answer::Deny { .. }) && by_policy.by == Actor::system("policy")
    );
    assert_eq!(run.hold_of("d").kind, HoldKind::Question);
    assert_eq!(run.hold_of("e").kind, HoldKind::Plan);
}

#[test]
fn the_very_same_ask_is_the_same_hold_and_another_input_is_another() {
    let (mut run, first) = Run::asking(AgentDef::builtin(), "a");
    assert_eq!(kinds(&run.fact(asks("a", "Bash", bash("make")))), ["hold_reasked"]);
    let changed = run.fact(asks("a", "Bash", bash("make other")));
    assert_eq!(kinds(&changed), ["hold_superseded", "hold_opened"]);
    assert_eq!(run.state_of(first), None);
    assert_eq!(run.execution.holds.len(), 1);
}

#[test]
fn a_result_settles_its_hold() {
    let (mut run, hold) = Run::asking(AgentDef::builtin(), "a");
    run.decide(hold, allow()).expect("decided");
    run.release(hold);
    assert_eq!(kinds(&run.fact(Fact::AnswerWritten { hold })), ["answer_written"]);
    assert_eq!(kinds(&run.fact(result_of("a"))), ["tool_result", "hold_released"]);
    assert!(run.execution.holds.is_empty());
    // Asking for it again would run it again: a person has to look, whatever policy says.
    run.fact(asks("a", "Bash", bash("make")));
    assert!(run.hold_of("a").subject.caution.is_some());

    let (mut run, _) = Run::asking(AgentDef::builtin(), "b");
    assert_eq!(kinds(&run.fact(result_of("b"))), ["tool_result", "hold_cancelled"]);
}

#[test]
fn an_ask_can_be_withdrawn_until_its_answer_is_on_the_way() {
    let (mut run, hold) = Run::asking(AgentDef::builtin(), "a");
    run.decide(hold, allow()).expect("decided");
    run.release(hold);
    let withdrawn = || Fact::AskWithdrawn { tool_use_id: "a".into() };
    assert_eq!(kinds(&run.fact(withdrawn())), ["notice"]);
    let dropped = Fact::AnswerDropped { hold, reason: "nothing asks for it".into() };
    assert_eq!(kinds(&run.fact(dropped)), ["hold_cancelled"]);
    run.fact(asks("b", "Bash", bash("make")));
    assert_eq!(kinds(&run.fact(withdrawn())), ["notice"], "another call");
    assert_eq!(kinds(&run.fact(Fact::AskWithdrawn { tool_use_id: "b".into() })), ["hold_cancelled"]);
}

#[test]
fn the_end_of_a_turn_waits_for_a_reply_or_ends_it_all() {
    let mut run = Run::working(AgentDef::builtin());
    assert_eq!(kinds(&run.end_turn(true)), ["turn_ended", "session_idle", "hold_opened"]);
    assert_eq!(run.execution.status, Status::Awaiting);
    assert!(run.execution.is_waiting());

    let mut run = Run::working(AgentDef::builtin());
    run.end_turn(false);
    assert!(run.execution.reply_hold().expect("a reply hold").subject.caution.is_some());

    let auto = AgentDef { completion: Completion::Auto, ..AgentDef::builtin() };
    for (ok, status) in [(true, Status::Finished), (false, Status::Error)] {
        let mut run = Run::working(auto.clone());
        run.end_turn(ok);
        assert_eq!(run.execution.status, status);
    }

    let mut run = Run::working(AgentDef::builtin());
    let refused_key = crate::event::TurnResult { api_status: Some(401), ..turn(false) };
    assert_eq!(kinds(&run.fact(Fact::TurnEnded(refused_key))), ["turn_ended", "execution_failed"]);
}

#[test]
fn the_end_of_a_turn_settles_what_it_asked() {
    let (mut run, open) = Run::asking(AgentDef::builtin(), "a");
    run.fact(asks("b", "Bash", bash("make b")));
    let released = run.hold_of("b").id;
    run.decide(released, deny()).expect("decided");
    run.release(released);
    run.fact(Fact::AnswerWritten { hold: released });
    let events = run.fact(Fact::TurnEnded(turn(true)));
    let about = |id: HoldId| {
        events
            .iter()
            .filter(|event| match event {
                EventBody::HoldCancelled { hold, .. } | EventBody::HoldReleased { hold } => *hold == id,
                _ => false,
            })
            .map(EventBody::kind)
            .collect::<Vec<_>>()
    };
    assert_eq!(about(open), ["hold_cancelled"]);
    assert_eq!(about(released), ["hold_released"]);
}

#[test]
fn only_what_waits_may_park() {
    let (mut run, hold) = Run::asking(AgentDef::builtin(), "a");
    assert!(run.execution.is_waiting());
    run.fact(calls("b"));
    assert!(run.execution.is_waiting(), "the session has yet to ask for the other call");
    let rule = "Read".parse().expect("a rule");
    run.fact(Fact::ToolStarted { tool_use_id: "b".into(), tool: "Read".into(), rule });
    assert!(!run.execution.is_waiting(), "policy let another call run");
    run.fact(result_of("b"));
    assert!(run.execution.is_waiting());
    run.decide(hold, allow()).expect("decided");
    assert!(!run.execution.is_waiting(), "a decision is on its way");
}

#[test]
fn a_fatal_fact_fails_it() {
    let (mut run, _) = Run::asking(AgentDef::builtin(), "a");
    let error = crate::event::Problem {
        code: "cli_missing".into(),
        title: "no CLI".into(),
        detail: String::new(),
        hint: String::new(),
    };
    assert_eq!(kinds(&run.fact(Fact::Fatal { error })), ["hold_cancelled", "execution_failed"]);
    assert_eq!(run.execution.next(), vec![super::super::Need::StopWorker]);
}

#[test]
fn a_turn_knows_the_event_it_began_after() {
    let mut run = Run::at_rest(AgentDef::builtin());
    let before = run.execution.seq;
    run.fact(calls("of a turn that nobody asked for"));
    assert_eq!(run.execution.turn.as_ref().expect("a turn").began_after, before);
}
