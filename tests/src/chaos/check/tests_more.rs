//! More planted bugs: about decisions, about what ran, about calls of the model, and about the end.

use serde_json::{Value, json};

use super::{
    Fault, Outcome, check,
    tests::{ID, Story, clean, decision, hold, tool_use},
};

/// The answer that the clean history's person gave at its one tool.
fn replace_decision(story: &mut Story, answer: Value) {
    let at = story.at("hold_answered");
    story.recorded().events[at].data = decision("h1", &answer);
    story.settle();
}

#[test]
fn a_decision_that_was_taken_is_not_in_the_log() {
    let mut story = clean();
    let other = json!({"action": "deny", "message": "no"});
    let shown = json!({"command": "/x/note 0 0 n1 one"});
    story.answered("h1", other, shown, Outcome::Taken);
    story.finds(Fault::DecisionLost);
}

#[test]
fn somebody_is_said_to_have_answered_and_has_not() {
    let mut story = clean();
    let shown = json!({"command": "/x/note 0 0 n1 one"});
    let outcome = Outcome::Refused { status: 409, answered_by: Some("Rival".into()) };
    story.answered("h1", json!({"action": "deny"}), shown, outcome);
    story.finds(Fault::DecisionLost);
}

#[test]
fn a_decision_is_cancelled_unused() {
    let mut story = clean();
    let events = [
        ("hold_opened", hold("h3", "t3", "true")),
        ("hold_answered", decision("h3", &json!({"action": "allow"}))),
        ("hold_cancelled", json!({"hold": "h3", "reason": "the turn ended"})),
    ];
    story.insert_after("hold_released", &events);
    story.finds(Fault::DecisionLost);
}

#[test]
fn a_decision_is_superseded_although_no_answer_broke_off() {
    let mut story = clean();
    let events = [
        ("hold_opened", hold("h3", "t3", "true")),
        ("hold_answered", decision("h3", &json!({"action": "allow"}))),
        ("hold_superseded", json!({"hold": "h3", "by": "h4"})),
    ];
    story.insert_after("hold_released", &events);
    story.finds(Fault::DecisionLost);
    story.insert_after("worker_ready", &[("model_call", json!({"incomplete": true, "estimated": true}))]);
    // Some other answer broke off: that is no excuse.
    story.finds(Fault::DecisionLost);
    story.call("main", 1, 1, "msg_cut");
    story.history.upstream.last_mut().expect("a call").tool_use_ids = vec!["t3".into()];
    assert_eq!(check(&story.history).all, []);
}

#[test]
fn a_decision_is_cancelled_although_the_answer_that_asked_is_whole() {
    let mut story = clean();
    let events = [
        ("model_call", json!({"call": "c1", "incomplete": true, "estimated": true})),
        ("hold_opened", hold("h3", "t3", "true")),
        ("hold_answered", decision("h3", &json!({"action": "allow"}))),
        ("hold_cancelled", json!({"hold": "h3", "reason": "the turn ended"})),
    ];
    story.insert_after("hold_released", &events);
    assert_eq!(check(&story.history).all, [], "the answer that asked was cut short");
    story.insert_after("hold_released", &[("model_call", json!({"call": "c2", "status": 200}))]);
    story.finds(Fault::DecisionLost);
}

#[test]
fn a_subagents_decision_is_cancelled_although_whoever_sent_it_was_not_asked_again() {
    let mut story = clean();
    let mut of_subagent = hold("h3", "t3", "true");
    of_subagent["subject"]["agent_id"] = json!("a1");
    let events = [
        ("model_call", json!({"incomplete": true, "estimated": true})),
        ("hold_opened", of_subagent),
        ("hold_answered", decision("h3", &json!({"action": "allow"}))),
        ("hold_cancelled", json!({"hold": "h3", "reason": "the turn ended"})),
    ];
    story.insert_after("hold_released", &events);
    story.finds(Fault::DecisionLost);
    story.call("main", 1, 1, "msg_cut");
    assert_eq!(check(&story.history).all, []);
}

#[test]
fn a_subagent_is_paid_twice_although_whoever_sent_it_was_asked_once() {
    let mut story = clean();
    story.insert_after("worker_ready", &[("model_call", json!({"incomplete": true, "estimated": true}))]);
    for message in ["msg_s1", "msg_s2", "msg_s3"] {
        story.call("agent:a", 1, 1, message);
    }
    story.finds(Fault::PaidTwice);
}

#[test]
fn a_decision_never_has_its_effect() {
    let mut story = clean();
    let answered = decision("h3", &json!({"action": "allow"}));
    let events = [("hold_opened", hold("h3", "t3", "true")), ("hold_answered", answered)];
    story.insert_after("hold_released", &events);
    story.finds(Fault::DecisionLost);
}

#[test]
fn a_tool_is_said_to_have_run_and_has_not() {
    let mut story = clean();
    story.history.nonces.clear();
    story.finds(Fault::DecisionLost);
}

#[test]
fn a_decision_is_released_twice() {
    let mut story = clean();
    story.insert_after("answer_written", &[("release_intent", json!({"hold": "h1", "incarnation": 1}))]);
    story.finds(Fault::DecisionUsedTwice);
}

#[test]
fn a_decision_is_released_again_after_the_session_had_it() {
    let mut story = clean();
    let events = [
        ("release_voided", json!({"hold": "h1", "reason": "?"})),
        ("release_intent", json!({"hold": "h1", "incarnation": 1})),
    ];
    story.insert_after("answer_written", &events);
    story.finds(Fault::DecisionUsedTwice);
}

#[test]
fn a_decision_may_be_released_again_where_the_session_never_had_it() {
    let mut story = clean();
    let events = [
        ("release_voided", json!({"hold": "h1", "reason": "never written"})),
        ("release_intent", json!({"hold": "h1", "incarnation": 1})),
    ];
    story.insert_after("release_intent", &events);
    assert_eq!(check(&story.history).all, []);
}

#[test]
fn two_people_answer_one_hold() {
    let mut story = clean();
    let again = decision("h1", &json!({"action": "allow"}));
    // The same words, so that everybody who was told something was told the truth.
    story.insert_after("hold_answered", &[("hold_answered", again)]);
    let findings = check(&story.history);
    assert!(findings.count(Fault::DecisionUsedTwice) > 0, "{:#?}", findings.all);
}

#[test]
fn what_ran_was_not_what_was_decided_on() {
    let mut story = clean();
    story.history.nonces[0].label = "other".into();
    story.finds(Fault::OtherArguments);
}

#[test]
fn the_command_ran_although_a_person_had_edited_it() {
    let mut story = clean();
    let edited = json!({"command": "/x/note 0 0 edited-1 one"});
    replace_decision(&mut story, json!({"action": "allow", "input": edited}));
    story.history.answers[0].request = json!({"action": "allow", "input": edited});
    story.finds(Fault::OtherArguments);
}

#[test]
fn an_edited_command_that_runs_is_right() {
    let mut story = clean();
    let edited = json!({"command": "/x/note 0 0 edited-1 one"});
    replace_decision(&mut story, json!({"action": "allow", "input": edited}));
    story.history.answers[0].request = json!({"action": "allow", "input": edited});
    story.history.nonces[0].token = "edited-1".into();
    assert_eq!(check(&story.history).all, []);
}

#[test]
fn something_else_was_shown_than_is_asked() {
    let mut story = clean();
    story.history.answers[0].shown = json!({"command": "/x/note 0 0 n0 one"});
    story.finds(Fault::OtherArguments);
}

#[test]
fn a_tool_ran_that_was_refused() {
    let mut story = clean();
    replace_decision(&mut story, json!({"action": "deny", "message": "no"}));
    story.history.answers[0].request = json!({"action": "deny", "message": "no"});
    story.finds(Fault::RunWithoutDecision);
}

#[test]
fn a_tool_ran_that_nobody_was_asked_about() {
    let mut story = clean();
    story.nonce("n7", "seven");
    story.finds(Fault::RunWithoutDecision);
}

#[test]
fn a_tool_ran_in_an_execution_that_nobody_started() {
    let mut story = clean();
    story.nonce("n7", "seven");
    story.history.nonces[1].execution = "e9".into();
    story.finds(Fault::RunWithoutDecision);
}

#[test]
fn a_tool_ran_before_it_was_decided_on() {
    let mut story = clean();
    story.history.answers[0].ran_before = 1;
    story.finds(Fault::RunWithoutDecision);
}

#[test]
fn a_hold_was_released_that_nobody_answered() {
    let mut story = clean();
    let events = [
        ("hold_opened", hold("h3", "t3", "true")),
        ("release_intent", json!({"hold": "h3", "incarnation": 1})),
        ("hold_released", json!({"hold": "h3"})),
    ];
    story.insert_after("hold_released", &events);
    story.finds(Fault::RunWithoutDecision);
}

#[test]
fn a_tool_ran_again_and_nobody_allowed_that_again() {
    let mut story = clean();
    story.nonce("n1", "one");
    story.finds(Fault::RerunWithoutDecision);
}

/// The worker was lost after the answer; a person was asked again.
fn indeterminate(story: &mut Story) {
    let events = [
        ("hold_indeterminate", json!({"hold": "h1", "replaced_by": "h3"})),
        ("hold_opened", hold("h3", "t1", "/x/note 0 0 n1 one")),
        ("hold_answered", decision("h3", &json!({"action": "allow"}))),
        ("release_intent", json!({"hold": "h3", "incarnation": 1})),
        ("hold_released", json!({"hold": "h3"})),
    ];
    let at = story.at("hold_released");
    story.recorded().events.remove(at);
    story.insert_after("answer_written", &events);
}

#[test]
fn a_tool_may_run_again_when_somebody_says_so() {
    let mut story = clean();
    indeterminate(&mut story);
    story.nonce("n1", "one");
    assert_eq!(check(&story.history).all, []);
    story.nonce("n1", "one");
    story.finds(Fault::RerunWithoutDecision);
}

#[test]
fn a_tool_may_run_again_where_policy_says_so() {
    let mut story = clean();
    story.recorded().events[0].data = json!({"definition": {"policy": {"repeatable": ["Bash(/x/note *)"]}}});
    story.settle();
    story.nonce("n1", "one");
    assert_eq!(check(&story.history).all, []);
}

#[test]
fn the_model_was_asked_again_for_what_it_had_answered() {
    let mut story = clean();
    story.history.upstream.push(story.history.upstream[1].clone());
    story.finds(Fault::PaidTwice);
}

#[test]
fn two_answers_of_the_model_were_used_for_one_place() {
    let mut story = clean();
    story.call("main", 1, 2, "msg_d");
    let used = json!({"message_id": "msg_d", "block": {"type": "text", "text": "Done x9."}});
    story.insert_after("hold_released", &[("assistant", used)]);
    story.finds(Fault::PaidTwice);
}

#[test]
fn a_call_that_was_cut_short_may_be_made_again() {
    let mut story = clean();
    story.history.upstream.push(story.history.upstream[1].clone());
    story.insert_after("hold_released", &[("model_call", json!({"incomplete": true, "estimated": true}))]);
    assert_eq!(check(&story.history).all, []);
    // A part of a response under its own name is the same answer.
    let part = tool_use("msg_a_r2", "t8", "true");
    story.insert_after("hold_released", &[("assistant", part)]);
    assert_eq!(check(&story.history).all, []);
}

#[test]
fn a_call_is_refused_by_the_rules_of_the_api() {
    let mut story = clean();
    story.history.upstream[1].outcome = "refused: messages.2: `tool_use` ids were found without".into();
    story.finds(Fault::CallRefused);
}

#[test]
fn a_turn_failed() {
    let mut story = clean();
    let at = story.at("turn_ended");
    story.recorded().events[at].data = json!({"ok": false, "reason": "not_resumed"});
    story.settle();
    story.finds(Fault::TurnFailed);
}

#[test]
fn an_execution_is_stuck() {
    let mut story = clean();
    story.recorded().status = "running".into();
    story.finds(Fault::Stuck);
}

#[test]
fn an_execution_ended_wrongly() {
    let mut story = clean();
    story.recorded().expected_status = "cancelled".into();
    story.finds(Fault::Stuck);
}

#[test]
fn a_process_is_left_behind() {
    let mut story = clean();
    story.recorded().processes_left = 1;
    story.finds(Fault::LeftBehind);
    assert_eq!(check(&story.history).all[0].execution, ID);
}
