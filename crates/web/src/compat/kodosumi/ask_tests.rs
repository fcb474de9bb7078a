//! Every kind of hold, and what its fields come to.

use holdpoint_model::{
    Digest, HoldId, HoldState,
    hold::{Answer, Subject},
};
use proptest::prelude::*;
use rstest::rstest;
use uuid::Uuid;

use super::*;

fn hold(kind: HoldKind, input: Value) -> Hold {
    let digest = Digest::of(&input);
    Hold {
        id: HoldId(Uuid::nil()),
        kind,
        subject: Subject { tool: "Bash".into(), input, digest, ..Subject::reply() },
        opened_at: 0,
        expires_at: None,
        asked_by: None,
        assigned: None,
        state: HoldState::Open,
    }
}

fn one(kind: HoldKind) -> Hold {
    match kind {
        HoldKind::Reply => hold(kind, Value::Null),
        HoldKind::Tool => hold(kind, json!({"command": "ls"})),
        HoldKind::Plan => hold(kind, json!({"plan": "1. Paint it."})),
        HoldKind::Question => hold(
            kind,
            json!({"questions": [
                {"question": "Which colour?", "header": "Colour", "multiSelect": false,
                 "options": [{"label": "Red", "description": "warm"}, {"label": "Blue", "description": ""}]},
                {"question": "Which sizes?", "multiSelect": true,
                 "options": [{"label": "S", "description": ""}, {"label": "L", "description": ""}]},
            ]}),
        ),
    }
}

#[rstest]
#[case(HoldKind::Reply, json!({"message": "go on"}), json!({"action": "reply", "text": "go on"}))]
#[case(HoldKind::Tool, json!({"decision": "allow"}), json!({"action": "allow"}))]
#[case(HoldKind::Tool, json!({"decision": "allow", "input": "{\"command\": \"ls\"}"}), json!({"action": "allow"}))]
#[case(HoldKind::Tool, json!({"decision": "allow", "input": "{\"command\": \"id\"}"}),
    json!({"action": "allow", "input": {"command": "id"}}))]
#[case(HoldKind::Tool, json!({"decision": "deny", "message": "no", "input": "{"}), json!({"action": "deny", "message": "no"}))]
#[case(HoldKind::Plan, json!({"decision": "allow", "plan": "1. Paint it."}), json!({"action": "allow"}))]
#[case(HoldKind::Plan, json!({"decision": "allow", "plan": "2. Or not."}),
    json!({"action": "allow", "input": {"plan": "2. Or not."}}))]
#[case(HoldKind::Question, json!({"q0": "Red", "q1_0": "on", "q1_1": true}),
    json!({"action": "answers", "answers": {"Which colour?": "Red", "Which sizes?": "S, L"}}))]
#[case(HoldKind::Question, json!({"q0": "Red", "q0_other": "Green", "q1_other": "M"}),
    json!({"action": "answers", "answers": {"Which colour?": "Green", "Which sizes?": "M"}}))]
fn fields_become_the_answer_that_the_panel_would_give(
    #[case] kind: HoldKind,
    #[case] fields: Value,
    #[case] expected: Value,
) {
    let hold = one(kind);
    let Ok(Wanted::Decide(request)) = read(&hold, &Fields::from_json(fields)) else { panic!("a decision") };
    let (answer, _) = hold.parse_answer(&request).expect("fits");
    assert_eq!(serde_json::to_value(answer).expect("json"), expected);
}

#[rstest]
#[case(HoldKind::Reply, json!({}), "message")]
#[case(HoldKind::Reply, json!({"message": null, "decision": "allow"}), "message")]
#[case(HoldKind::Tool, json!({}), "decision")]
#[case(HoldKind::Tool, json!({"ok": "on"}), "decision")]
#[case(HoldKind::Tool, json!({"decision": "finish"}), "decision")]
#[case(HoldKind::Tool, json!({"decision": "allow", "input": "{"}), "input")]
#[case(HoldKind::Tool, json!({"decision": "allow", "input": "[]"}), "input")]
#[case(HoldKind::Plan, json!({"decision": "on"}), "decision")]
#[case(HoldKind::Question, json!({"q7": "x"}), "_global_")]
fn what_does_not_fit_is_said_at_its_field(
    #[case] kind: HoldKind,
    #[case] fields: Value,
    #[case] field: &str,
) {
    let errors = read(&one(kind), &Fields::from_json(fields)).expect_err("an error");
    assert_eq!(errors.keys().collect::<Vec<_>>(), [field]);
}

#[test]
fn a_conversation_can_be_finished_at_its_reply() {
    let wanted = read(&one(HoldKind::Reply), &Fields::from_json(json!({"decision": "finish"})));
    assert_eq!(wanted, Ok(Wanted::Finish));
}

#[test]
fn a_code_block_is_not_ended_by_what_is_in_it() {
    assert_eq!(fenced("a"), "```json\na\n```");
    assert_eq!(fenced("```\nx"), "````json\n```\nx\n````");
}

proptest! {
    /// Nothing is allowed but by the one word for it.
    #[test]
    fn nothing_is_allowed_by_accident(names in prop::collection::btree_map(
        prop_oneof![Just("decision".to_owned()), "[a-z_0-9]{0,8}"], prop_oneof![Just("on".to_owned()), ".{0,8}"], 0..6)) {
        let said = names.get("decision").is_some_and(|decision| decision.trim() == "allow");
        let fields = Fields::from_json(json!(names));
        for kind in [HoldKind::Tool, HoldKind::Plan] {
            let hold = one(kind);
            if let Ok(Wanted::Decide(request)) = read(&hold, &fields)
                && let Ok((Answer::Allow { .. }, _)) = hold.parse_answer(&request)
            {
                prop_assert!(said, "{names:?}");
            }
        }
    }
}
