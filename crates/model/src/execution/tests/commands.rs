//! What people and Holdpoint itself ask for.

use rstest::rstest;

use super::*;
use crate::budget::{Span, Whose};
use crate::event::{Level, ModelCall, Problem, SendMode, TurnResult};
use crate::execution::Outcome;
use crate::hold::Scope;
use crate::pricing::Tokens;
use crate::{BudgetUse, CallId, Completion, HoldKind, Policy, Residency, Rule, Status};

fn problem() -> Problem {
    Problem { code: "x".into(), title: "it broke".into(), detail: String::new(), hint: String::new() }
}

fn say(text: &str, mode: SendMode) -> Command {
    Command::Message { text: text.into(), files: vec![], mode, by: person("ada") }
}

#[test]
fn it_begins_with_its_creation_and_its_first_message() {
    let run = Run::new(AgentDef::builtin());
    assert_eq!(run.log.len(), 2);
    assert_eq!(run.execution.status, Status::Starting);
    assert_eq!(run.execution.residency, Residency::Absent);
    assert_eq!(run.execution.messages.len(), 1);
    assert_eq!(run.execution.next(), vec![super::super::Need::StartWorker("a message has to be sent")]);
}

#[test]
fn the_first_decision_wins_and_the_second_learns_whose_it_was() {
    let (mut run, hold) = Run::asking(AgentDef::builtin(), "a");
    run.now = 50;
    run.decide(hold, allow()).expect("the first");
    run.now = 60;
    for (state, step) in ["answered", "releasing"].into_iter().enumerate() {
        assert_eq!(run.state_of(hold).map(HoldState::as_str), Some(step));
        let Err(Refusal::AlreadyAnswered { by, at, .. }) = run.decide(hold, deny()) else {
            panic!("the second must be refused");
        };
        assert_eq!((by.name.as_str(), at), ("grace", 50));
        if state == 0 {
            run.release(hold);
        }
    }
}

#[test]
fn a_decision_that_does_not_fit_changes_nothing() {
    let (mut run, hold) = Run::asking(AgentDef::builtin(), "a");
    let before = run.execution.clone();
    assert!(matches!(run.decide(hold, reply("x")), Err(Refusal::Invalid(_))));
    let other_digest = DecisionRequest { digest: Some("sha256:0".into()), ..allow() };
    assert!(matches!(run.decide(hold, other_digest), Err(Refusal::Invalid(_))));
    assert!(matches!(run.decide(HoldId(Uuid::nil()), allow()), Err(Refusal::UnknownHold)));
    assert_eq!(run.execution, before);
}

#[test]
fn an_answer_after_the_deadline_is_refused_even_before_the_expiry_is_written() {
    let (mut run, hold) = Run::asking(AgentDef::builtin(), "a");
    run.now = run.hold_of("a").expires_at.expect("a deadline");
    assert_eq!(run.decide(hold, allow()), Err(Refusal::Expired));
}

#[test]
fn an_expiry_is_told_once_and_stays_an_expiry() {
    let (mut run, hold) = Run::asking(AgentDef::builtin(), "a");
    assert!(matches!(run.refused(Command::Expire { hold }), Refusal::Stale(_)));
    run.now = run.hold_of("a").expires_at.expect("a deadline");
    assert_eq!(kinds(&run.does(Command::Expire { hold })), ["hold_expired"]);
    assert_eq!(run.decide(hold, allow()), Err(Refusal::Expired));
    assert_eq!(kinds(&run.release(hold)), ["expiry_told"]);
    assert!(matches!(
        run.refused(Command::BeginRelease { hold, incarnation: 1 }),
        Refusal::Stale("the hold is not answered")
    ));
    let before = run.execution.clone();
    let told = run.fact(result_of("a"));
    let after = before.hold_after(&told[1]).expect("about the hold");
    assert_eq!(after, (hold, HoldState::Expired { told: Some(1) }));
    assert_eq!(run.state_of(hold), None, "nothing waits at it any more");
}

#[test]
fn an_expired_reply_finishes_with_the_last_turns_result() {
    let mut run = Run::at_rest(AgentDef::builtin());
    let hold = run.execution.reply_hold().expect("a reply hold").clone();
    run.now = hold.expires_at.expect("a deadline");
    assert_eq!(kinds(&run.does(Command::Expire { hold: hold.id })), ["hold_expired", "execution_finished"]);
    assert_eq!(run.execution.status, Status::Finished);
    assert!(run.execution.holds.is_empty());
}

/// The bug this stands for: the finish left a subagent's hold open in a finished execution's inbox.
#[test]
fn whatever_a_subagent_asks_ends_with_the_execution() {
    let background = |run: &mut Run| {
        run.fact(subagent_asks("s"));
        run.end_turn(true);
    };
    let mut run = Run::working(AgentDef::builtin());
    background(&mut run);
    let reply = run.execution.reply_hold().expect("a reply hold").clone();
    assert_eq!(run.execution.open_holds().count(), 2);
    run.now = reply.expires_at.expect("a deadline");
    run.does(Command::Expire { hold: reply.id });
    assert!(run.execution.status.is_final() && run.execution.holds.is_empty());

    let mut run = Run::working(AgentDef { completion: Completion::Auto, ..AgentDef::builtin() });
    background(&mut run);
    assert!(run.execution.status.is_final() && run.execution.holds.is_empty());
}

#[test]
fn a_grant_covers_what_is_open_and_what_comes_of_its_kind() {
    let mut run = Run::working(AgentDef::builtin());
    run.fact(asks("a", "Bash", bash("make build")));
    let first = run.hold_of("a").id;
    run.fact(asks("b", "Bash", bash("make test")));
    run.fact(asks("c", "Bash", bash("cargo test")));
    let for_all = DecisionRequest { scope: Some(Scope::Conversation), ..allow() };
    let events = run.decide(first, for_all).expect("a grant");
    assert_eq!(kinds(&events), ["hold_answered", "grant_added", "hold_answered"]);
    assert!(matches!(run.hold_of("b").state, HoldState::Answered { .. }));
    assert_eq!(run.hold_of("c").state, HoldState::Open);
    let later = run.fact(asks("d", "Bash", bash("make install")));
    assert_eq!(kinds(&later), ["hold_opened", "hold_answered"]);
    let HoldState::Answered { decision } = &run.hold_of("d").state else { panic!("answered") };
    assert_eq!(decision.grant, Some(run.execution.grants[0].id));
    assert_eq!(decision.by, Actor::system("grant"));
}

#[test]
fn a_message_answers_the_reply_hold_and_is_sent_once() {
    let mut run = Run::at_rest(AgentDef::builtin());
    let hold = run.execution.reply_hold().expect("a reply hold").id;
    assert_eq!(run.execution.status, Status::Awaiting);
    assert_eq!(kinds(&run.message("go on")), ["hold_answered", "message_queued"]);
    let decision = run.state_of(hold).and_then(HoldState::decision).expect("decided").clone();
    let message = run.execution.messages[0].message.id;
    assert_eq!(message.0, decision.id.0, "the uuid that the session sees is the decision's");
    run.does(Command::BeginMessage { message, incarnation: 1 });
    assert_eq!(run.state_of(hold).map(HoldState::as_str), Some("releasing"));
    assert!(matches!(run.refused(Command::BeginMessage { message, incarnation: 1 }), Refusal::Stale(_)));
    assert_eq!(kinds(&run.fact(Fact::MessageDelivered { message })), ["message_delivered", "hold_released"]);
    assert_eq!(run.refused(Command::BeginMessage { message, incarnation: 1 }), Refusal::UnknownMessage);
    assert_eq!(kinds(&run.fact(Fact::MessageDelivered { message })), ["notice"]);
}

/// The bug this stands for: between `next` and the command another message had begun a turn, and a
/// queued one was sent into it.
#[test]
fn a_queued_message_waits_for_the_end_of_the_turn_and_a_steering_one_does_not() {
    let mut run = Run::working(AgentDef::builtin());
    run.message("later");
    run.does(say("now", SendMode::Steer));
    let [later, now] = [0, 1].map(|at| run.execution.messages[at].message.id);
    assert_eq!(run.execution.next(), vec![super::super::Need::Send(now)]);
    assert!(matches!(
        run.refused(Command::BeginMessage { message: later, incarnation: 1 }),
        Refusal::Stale(_)
    ));
    run.does(Command::BeginMessage { message: now, incarnation: 1 });
    run.fact(Fact::MessageDelivered { message: now });
    run.end_turn(true);
    assert!(run.execution.reply_hold().is_none(), "a message is waiting: nobody has to reply");
    assert_eq!(run.execution.next(), vec![super::super::Need::Send(later)]);
}

#[test]
fn finish_waits_for_the_turn() {
    let mut run = Run::working(AgentDef::builtin());
    assert_eq!(kinds(&run.does(Command::Finish { by: person("ada") })), ["finish_requested"]);
    assert_eq!(run.execution.status, Status::Running);
    assert_eq!(kinds(&run.end_turn(true)), ["turn_ended", "session_idle", "execution_finished"]);

    let mut run = Run::at_rest(AgentDef::builtin());
    let end = run.does(Command::Finish { by: person("ada") });
    assert_eq!(kinds(&end), ["hold_cancelled", "execution_finished"]);
    assert_eq!(run.execution.next(), vec![super::super::Need::StopWorker]);
}

#[test]
fn an_interrupt_needs_a_turn() {
    let mut run = Run::at_rest(AgentDef::builtin());
    assert_eq!(run.refused(Command::Interrupt { by: person("ada") }), Refusal::NotRunning);
    let mut run = Run::working(AgentDef::builtin());
    run.does(Command::Interrupt { by: person("ada") });
    assert!(run.execution.next().contains(&super::super::Need::Interrupt));
    run.fact(Fact::TurnEnded(turn(true)));
    assert!(!run.execution.interrupt);
}

#[rstest]
#[case::cancelled(Command::Cancel { by: person("ada") }, Status::Cancelled)]
#[case::failed(Command::Fail { error: problem() }, Status::Error)]
fn an_end_cancels_every_hold_and_is_final(#[case] end: Command, #[case] status: Status) {
    let (mut run, hold) = Run::asking(AgentDef::builtin(), "a");
    run.does(end.clone());
    assert_eq!(run.execution.status, status);
    assert!(run.execution.holds.is_empty() && run.execution.ended_at.is_some());
    assert_eq!(run.decide(hold, allow()), Err(Refusal::UnknownHold));
    let ended = Refusal::Ended(status.as_str());
    for command in [
        end,
        say("more", SendMode::Queue),
        Command::Finish { by: person("ada") },
        Command::Interrupt { by: person("ada") },
        Command::StartWorker { engine: "process".into(), reason: String::new() },
        Command::BeginRelease { hold, incarnation: 1 },
        Command::BeginMessage { message: MessageId(Uuid::nil()), incarnation: 1 },
    ] {
        assert_eq!(run.refused(command), ended);
    }
    // What the worker still has to tell, and what a call cost, belongs in the log.
    assert_eq!(kinds(&run.fact(result_of("a"))), ["tool_result"]);
    assert_eq!(kinds(&run.fact(asks("b", "Bash", bash("make")))), ["notice"]);
    assert_eq!(kinds(&run.fact(Fact::TurnEnded(turn(true)))), ["notice"]);
    run.does(Command::ModelCall(model_call(7)));
    assert_eq!(run.execution.totals.cost_micros, 7);
    run.does(Command::WorkerGone { incarnation: 1, how: Gone::Stopped });
    assert_eq!((run.execution.status, run.execution.residency), (status, Residency::Absent));
    assert!(run.execution.next().is_empty());
}

fn model_call(cost_micros: u64) -> ModelCall {
    ModelCall {
        call: CallId(Uuid::nil()),
        model: "claude".into(),
        status: 200,
        tokens: Tokens { input_tokens: 1, ..Tokens::default() },
        cost_micros,
        replayed: false,
        incomplete: false,
        estimated: false,
    }
}

#[test]
fn costs_add_up_and_replays_are_counted_apart() {
    let mut run = Run::working(AgentDef::builtin());
    run.does(Command::ModelCall(model_call(5)));
    run.does(Command::ModelCall(model_call(6)));
    run.does(Command::ModelCall(ModelCall { replayed: true, ..model_call(0) }));
    let totals = run.execution.totals;
    assert_eq!((totals.calls, totals.replays, totals.cost_micros), (2, 1, 11));
}

#[test]
fn a_message_must_say_something_and_not_too_much() {
    let mut run = Run::working(AgentDef::builtin());
    for text in [" \n".to_owned(), "x".repeat(crate::hold::MAX_TEXT_BYTES + 1)] {
        assert!(matches!(run.refused(say(&text, SendMode::Queue)), Refusal::Invalid(_)));
    }
    run.does(Command::Notice { level: Level::Info, text: "fine".into() });
}

#[test]
fn one_worker_at_a_time_and_one_release_at_a_time() {
    let (mut run, hold) = Run::asking(AgentDef::builtin(), "a");
    let second = Command::StartWorker { engine: "process".into(), reason: String::new() };
    assert!(matches!(run.refused(second), Refusal::Stale(_)));
    let begin = |incarnation| Command::BeginRelease { hold, incarnation };
    assert!(matches!(run.refused(begin(1)), Refusal::Stale("the hold is not answered")));
    run.decide(hold, allow()).expect("decided");
    assert!(matches!(run.refused(begin(2)), Refusal::Fenced { told: 2, current: 1 }));
    run.release(hold);
    assert!(matches!(run.refused(begin(1)), Refusal::Stale(_)));
    assert_eq!(run.hold_of("a").kind, HoldKind::Tool);
}

/// The bug this stands for: a used-up budget was told as a key without permission.
#[test]
fn a_used_up_budget_is_told_as_one() {
    let used = BudgetUse {
        whose: Whose::Agent,
        span: Span::Day,
        name: "claude".into(),
        budget_micros: 20_000_000,
        spent_micros: 19_900_000,
        resets_at: Span::Day.ends_at(0),
    };
    let over = Refusal::OverBudget { used: Box::new(used), set_aside_micros: 0, call_micros: 600_000 };
    let text = format!("API Error: 403 {{\"error\":{{\"message\":\"{over}\"}}}}");
    let refused = || Fact::TurnEnded(TurnResult { api_status: Some(403), text: text.clone(), ..turn(false) });
    let mut run = Run::working(AgentDef::builtin());
    run.fact(refused());
    run.fact(Fact::Idle);
    let caution =
        run.execution.reply_hold().and_then(|hold| hold.subject.caution.clone()).expect("a caution");
    assert_eq!(
        caution,
        "The turn ended with an error: the daily budget of the agent `claude` is used up: it is $20.00, $19.90 is spent, \
         $0.00 is set aside for calls under way, and the next call may cost up to $0.60. It begins anew at 1970-01-02 \
         00:00 UTC; to go on before, raise `budget_per_day_usd` in [agents.claude.limits] of holdpoint.toml and restart \
         Holdpoint. Reply to try again."
    );

    let mut run = Run::working(AgentDef { completion: Completion::Auto, ..AgentDef::builtin() });
    run.fact(refused());
    run.fact(Fact::Idle);
    let Some(Outcome::Failed { error }) = &run.execution.outcome else {
        panic!("{:?}", run.execution.outcome)
    };
    assert_eq!(error.code, "budget_limit");
    assert_eq!(error.title, "the daily budget of the agent `claude` is used up");
    assert!(error.detail.ends_with("restart Holdpoint."), "{error:?}");
}

/// The bug this stands for: a person's edit of a repeatable call was handed over again after a loss,
/// because what the agent had asked for was repeatable.
#[test]
fn what_was_released_must_be_repeatable_not_what_was_asked() {
    let policy =
        Policy { ask: vec![], repeatable: vec![Rule::new("Bash", Some("git status"))], ..Policy::default() };
    for (edit, indeterminate) in [(None, false), (Some(bash("git push")), true)] {
        let mut run = Run::working(AgentDef { policy: policy.clone(), ..AgentDef::builtin() });
        run.fact(asks("a", "Bash", bash("git status")));
        let hold = run.hold_of("a").id;
        run.decide(hold, DecisionRequest { input: edit, ..allow() }).expect("decided");
        run.release(hold);
        run.fact(Fact::AnswerWritten { hold });
        let events = kinds(&run.lose());
        assert_eq!(events.contains(&"hold_indeterminate"), indeterminate, "{events:?}");
    }
}

#[test]
fn a_hold_is_somebodys_until_it_is_decided_and_others_may_answer_it_all_the_same() {
    let (mut run, hold) = Run::asking(AgentDef::builtin(), "a");
    let assign = |to| Command::Assign { hold, to, by: person("ada") };
    let before = run.execution.updated_at;
    run.now += 5;
    assert_eq!(kinds(&run.does(assign(Some(assignee("lin"))))), ["hold_assigned"]);
    assert_eq!(run.hold_of("a").assigned, Some(assignee("lin")));
    assert_eq!(run.execution.updated_at, before, "it keeps no worker warm");
    assert!(run.does(assign(Some(assignee("lin")))).is_empty(), "theirs already");
    run.does(assign(None));
    assert_eq!(run.hold_of("a").assigned, None);
    run.does(assign(Some(assignee("lin"))));
    // Another session that asks for the same asks the same person.
    run.lose();
    run.restart();
    run.fact(asks("a", "Bash", run.hold_of("a").subject.input.clone()));
    assert_eq!(run.hold_of("a").assigned, Some(assignee("lin")));

    assert!(matches!(
        run.refused(Command::Assign { hold: HoldId(Uuid::nil()), to: None, by: person("ada") }),
        Refusal::UnknownHold
    ));
    run.decide(hold, allow()).expect("somebody else");
    let Refusal::AlreadyAnswered { by, .. } = run.refused(assign(None)) else { panic!("it is decided") };
    assert_eq!(by.name, "grace");
}

#[test]
fn a_hold_whose_time_is_over_is_given_to_nobody() {
    let (mut run, hold) = Run::asking(AgentDef::builtin(), "a");
    run.now = run.hold_of("a").expires_at.expect("a deadline");
    let assign = Command::Assign { hold, to: Some(assignee("lin")), by: person("ada") };
    assert_eq!(run.refused(assign), Refusal::Expired);
}
