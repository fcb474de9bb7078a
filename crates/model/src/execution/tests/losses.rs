//! Workers that go, told to or not.

use super::*;
use crate::HoldKind;
use crate::event::Problem;
use crate::execution::{MAX_FAILED_STARTS_IN_A_ROW, MAX_LOSSES_IN_A_ROW, Need, start_pause_ms};
use crate::{Completion, Policy, Residency, Rule, Status};

fn repeatable(tool: &str) -> AgentDef {
    let policy = Policy { repeatable: vec![Rule::new(tool, None)], ..Policy::default() };
    AgentDef { policy, ..AgentDef::builtin() }
}

#[test]
fn an_open_hold_survives_and_is_asked_again() {
    let (mut run, hold) = Run::asking(AgentDef::builtin(), "a");
    assert_eq!(kinds(&run.lose()), ["worker_lost"]);
    assert_eq!((run.execution.status, run.execution.residency), (Status::Awaiting, Residency::Lost));
    assert!(run.execution.next().is_empty(), "it waits for a person, with no process");
    assert_eq!(run.hold_of("a").asked_by, None);
    run.decide(hold, allow()).expect("decided");
    assert_eq!(run.execution.next(), vec![Need::StartWorker("a decision has to be handed over")]);
    run.restart();
    assert!(run.execution.next().is_empty(), "the session does not ask yet");
    assert!(matches!(run.refused(Command::BeginRelease { hold, incarnation: 2 }), Refusal::Stale(_)));
    run.fact(asks("a", "Bash", bash("make")));
    assert_eq!(run.execution.next(), vec![Need::Release(hold)]);
    run.release(hold);
}

#[test]
fn an_answer_that_was_never_written_is_handed_over_again() {
    let (mut run, hold) = Run::asking(AgentDef::builtin(), "a");
    run.decide(hold, allow()).expect("decided");
    run.release(hold);
    assert_eq!(kinds(&run.lose()), ["release_voided", "worker_lost"]);
    run.restart();
    run.fact(asks("a", "Bash", bash("make")));
    assert_eq!(run.execution.next(), vec![Need::Release(hold)]);
}

#[test]
fn a_written_answer_without_a_result_is_indeterminate_and_its_decision_is_spent() {
    let (mut run, hold) = Run::asking(AgentDef::builtin(), "a");
    run.decide(hold, allow()).expect("decided");
    run.release(hold);
    run.fact(Fact::AnswerWritten { hold });
    assert_eq!(kinds(&run.lose()), ["hold_indeterminate", "hold_opened", "worker_lost"]);
    let again = run.hold_of("a").clone();
    assert_ne!(again.id, hold);
    assert!(again.subject.caution.as_ref().expect("a caution").contains("grace"));
    assert_eq!((again.state, again.subject.grant), (HoldState::Open, None));
    assert_eq!(run.decide(hold, allow()), Err(Refusal::UnknownHold));
    run.restart();
    assert_eq!(kinds(&run.fact(asks("a", "Bash", bash("make")))), ["hold_reasked"]);
    assert!(run.execution.next().is_empty(), "a person has to decide anew");
}

#[test]
fn refusals_and_repeatable_calls_are_handed_over_again() {
    for (definition, request) in [(AgentDef::builtin(), deny()), (repeatable("Bash"), allow())] {
        let (mut run, hold) = Run::asking(definition, "a");
        run.decide(hold, request).expect("decided");
        run.release(hold);
        run.fact(Fact::AnswerWritten { hold });
        assert_eq!(kinds(&run.lose()), ["release_voided", "worker_lost"]);
        assert_eq!(run.state_of(hold).map(HoldState::as_str), Some("answered"));
    }
}

#[test]
fn a_message_that_was_on_its_way_is_sent_again_once() {
    let mut run = Run::at_rest(AgentDef::builtin());
    run.message("go on");
    let pending = run.execution.messages[0].message.clone();
    run.does(Command::BeginMessage { message: pending.id, incarnation: 1 });
    assert_eq!(kinds(&run.lose()), ["message_requeued", "worker_lost"]);
    let hold = pending.hold.expect("a reply");
    assert_eq!(run.state_of(hold).map(HoldState::as_str), Some("answered"));
    run.restart();
    assert_eq!(run.execution.next(), vec![Need::Send(pending.id)]);
    // The new session found it in the transcript: told without having been sent again.
    run.fact(Fact::MessageDelivered { message: pending.id });
    assert!(run.execution.next().is_empty() && run.execution.holds.is_empty());
}

#[test]
fn losses_without_progress_end_it_and_leave_nothing_open() {
    // Policy answers here: what a person decides is progress.
    let mut definition = AgentDef::builtin();
    definition.policy.allow.push(crate::Rule::new("Bash", Some("make")));
    let mut run = Run::working(definition);
    for n in 1..MAX_LOSSES_IN_A_ROW {
        run.lose();
        assert_eq!(run.execution.losses_in_a_row, n);
        run.restart();
    }
    // The last loss also cuts a release short, which opens a hold: it must not outlive the end.
    run.fact(asks("a", "Bash", bash("make")));
    let hold = run.hold_of("a").id;
    run.release(hold);
    run.fact(Fact::AnswerWritten { hold });
    let end = run.lose();
    assert_eq!(
        kinds(&end),
        ["hold_indeterminate", "hold_opened", "worker_lost", "hold_cancelled", "execution_failed"]
    );
    assert_eq!(run.execution.status, Status::Error);
    assert!(run.execution.holds.is_empty());
}

fn not_started(run: &mut Run) -> Vec<EventBody> {
    let incarnation = run.start_worker();
    let problem = Problem {
        code: "container_failed".into(),
        title: "no image".into(),
        detail: "404".into(),
        hint: "build it".into(),
    };
    run.does(Command::WorkerGone { incarnation, how: Gone::NotStarted { problem } })
}

#[test]
fn what_somebody_has_to_see_to_is_waited_for_and_ends_with_its_cause() {
    let mut run = Run::new(AgentDef::builtin());
    for n in 1..MAX_FAILED_STARTS_IN_A_ROW {
        assert_eq!(kinds(&not_started(&mut run)), ["worker_lost"]);
        assert_eq!((run.execution.failed_starts, run.execution.losses_in_a_row), (n, 0));
        assert_eq!(
            run.execution.start_problem.as_ref().map(|problem| problem.hint.as_str()),
            Some("build it")
        );
    }
    let end = not_started(&mut run);
    let [.., EventBody::ExecutionFailed { error }] = &end[..] else { panic!("{end:?}") };
    assert_eq!((error.code.as_str(), error.title.as_str()), ("container_failed", "no image"));
    assert_eq!(error.hint, "build it");
    assert!(error.detail.ends_with("404"), "{error:?}");
}

#[test]
fn a_start_that_works_forgives_those_that_did_not() {
    let mut run = Run::new(AgentDef::builtin());
    not_started(&mut run);
    not_started(&mut run);
    run.start_worker();
    run.fact(ready());
    assert_eq!((run.execution.failed_starts, run.execution.start_problem.as_ref()), (0, None));
}

#[test]
fn failed_starts_are_tried_again_for_nearly_two_hours() {
    let pauses: Vec<i64> = (1..MAX_FAILED_STARTS_IN_A_ROW).map(start_pause_ms).collect();
    assert_eq!(pauses[..3], [1_000, 2_000, 4_000]);
    let minutes = pauses.iter().sum::<i64>() / 60_000;
    assert!((100..120).contains(&minutes), "{minutes} min");
}

#[test]
fn progress_forgives_losses() {
    let mut run = Run::working(AgentDef::builtin());
    run.fact(calls("a"));
    run.lose();
    run.restart();
    run.fact(result_of("a"));
    assert_eq!(run.execution.losses_in_a_row, 0);
}

#[test]
fn a_parked_execution_costs_nothing_until_somebody_answers() {
    let mut run = Run::at_rest(AgentDef::builtin());
    run.does(Command::WorkerGone { incarnation: 1, how: Gone::Parked });
    assert_eq!(run.execution.residency, Residency::Parked);
    assert!(run.execution.next().is_empty());
    assert!(matches!(
        run.refused(Command::WorkerGone { incarnation: 1, how: Gone::Parked }),
        Refusal::Stale(_)
    ));
    run.message("go on");
    assert_eq!(run.execution.next(), vec![Need::StartWorker("a message has to be sent")]);
    run.start_worker();
    assert!(matches!(
        run.refused(Command::WorkerGone { incarnation: 1, how: Gone::Parked }),
        Refusal::Fenced { told: 1, current: 2 }
    ));
}

/// The bug this stands for: with the turn over and only background tasks left, a loss left an
/// execution running for ever, with no worker, no hold and nothing to do.
#[test]
fn background_tasks_that_end_with_their_worker_leave_a_reply_to_give() {
    let in_the_background = |run: &mut Run| {
        run.fact(Fact::Background { running: 1 });
        assert_eq!(kinds(&run.fact(Fact::TurnEnded(turn(true)))), ["turn_ended"]);
        assert_eq!(run.execution.status, Status::Running);
    };
    let mut run = Run::working(AgentDef::builtin());
    in_the_background(&mut run);
    assert_eq!(kinds(&run.lose()), ["worker_lost", "hold_opened"]);
    assert_eq!(run.execution.status, Status::Awaiting);
    let caution = run.execution.reply_hold().and_then(|hold| hold.subject.caution.clone());
    assert!(caution.is_some_and(|caution| caution.contains("background")));

    let mut run = Run::working(AgentDef { completion: Completion::Auto, ..AgentDef::builtin() });
    in_the_background(&mut run);
    run.lose();
    assert_eq!(run.execution.status, Status::Error, "its result would lack theirs");

    // Nothing ran in the background: only the session's last word was lost.
    let mut run = Run::working(AgentDef { completion: Completion::Auto, ..AgentDef::builtin() });
    run.fact(Fact::TurnEnded(turn(true)));
    run.lose();
    assert_eq!(run.execution.status, Status::Finished);
}

/// The bug this stands for: the answer to a subagent that had ended with its worker kept an execution
/// running for ever, since no later session asks for it.
#[test]
fn what_a_subagent_asked_beside_the_session_ends_with_its_worker() {
    let asks_after_the_turn = |run: &mut Run| {
        run.fact(Fact::Background { running: 1 });
        run.fact(Fact::TurnEnded(turn(true)));
        run.fact(subagent_asks("s"));
        assert!(run.execution.turn.is_none(), "a subagent begins no turn");
    };
    let mut run = Run::working(AgentDef::builtin());
    asks_after_the_turn(&mut run);
    assert!(!run.execution.is_waiting(), "parking would end the subagent");
    run.lose();
    assert_eq!(run.execution.holds.values().map(|hold| hold.kind).collect::<Vec<_>>(), [HoldKind::Reply]);

    // Also when its answer was under way: then people are told that it may have run.
    let mut run = Run::working(AgentDef::builtin());
    asks_after_the_turn(&mut run);
    let hold = run.hold_of("s").id;
    run.decide(hold, allow()).expect("decided");
    run.release(hold);
    run.fact(Fact::AnswerWritten { hold });
    let events = run.lose();
    let cancelled = events.iter().find(|event| event.kind() == "hold_cancelled").expect("cancelled");
    assert!(format!("{cancelled:?}").contains("may have run"), "{cancelled:?}");
    assert!(run.execution.next().is_empty());
}

/// A worker that was cut off had written the answer, and says so only after its successor has taken over.
#[test]
fn what_a_fenced_worker_still_tells_can_make_a_hold_indeterminate() {
    let (mut run, hold) = Run::asking(AgentDef::builtin(), "a");
    run.decide(hold, allow()).expect("decided");
    run.release(hold);
    assert!(kinds(&run.lose()).contains(&"release_voided"), "as far as anybody knew it was not written");
    run.restart();
    run.fact(asks("a", "Bash", bash("make")));
    let events = run.does(Command::WrittenAfterAll { hold });
    assert_eq!(kinds(&events), ["hold_indeterminate", "hold_opened"]);
    let again = run.hold_of("a").clone();
    assert!(again.subject.caution.is_some() && again.asked_by == Some(2), "{again:?}");
    assert!(matches!(run.refused(Command::WrittenAfterAll { hold }), Refusal::UnknownHold));
    run.decide(again.id, allow()).expect("decided again");
    run.release(again.id);
    // Its successor is at it already: that it may have run twice is all that can be said.
    assert_eq!(kinds(&run.does(Command::WrittenAfterAll { hold: again.id })), ["notice"]);
}

/// The bug this stands for: somebody who went on deciding while workers were killed was told that it
/// could not go on.
#[test]
fn what_a_person_decides_forgives_losses() {
    let (mut run, hold) = Run::asking(AgentDef::builtin(), "a");
    run.lose();
    run.decide(hold, allow()).expect("decided");
    assert_eq!(run.execution.losses_in_a_row, 0);
}
