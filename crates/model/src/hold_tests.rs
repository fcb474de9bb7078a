use super::*;
use rstest::rstest;

fn hold(kind: HoldKind, input: Value) -> Hold {
    Hold {
        id: HoldId(uuid::Uuid::nil()),
        kind,
        subject: Subject {
            tool: "Bash".into(),
            digest: Digest::of(&input),
            grant: Rule::kind_of("Bash", &input),
            input,
            ..Subject::reply()
        },
        opened_at: 0,
        expires_at: None,
        asked_by: None,
        assigned: None,
        state: HoldState::Open,
    }
}

fn request(text: &str) -> DecisionRequest {
    serde_json::from_str(text).expect("request")
}

fn questions() -> Value {
    json!({"questions": [
        {"question": "Which?", "header": "W", "options": [{"label": "A", "description": "a"}], "multiSelect": false},
        {"question": "Several?", "header": "S", "options": [{"label": "A"}, {"label": "B"}], "multiSelect": true},
    ]})
}

#[rstest]
#[case(HoldKind::Tool, r#"{"action":"allow"}"#)]
#[case(HoldKind::Tool, r#"{"action":"allow","scope":"conversation"}"#)]
#[case(HoldKind::Tool, r#"{"action":"allow","input":{"command":"touch b"}}"#)]
#[case(HoldKind::Tool, r#"{"action":"deny","message":"no"}"#)]
#[case(HoldKind::Tool, r#"{"action":"deny"}"#)]
#[case(HoldKind::Plan, r#"{"action":"allow","input":{"plan":"better"}}"#)]
#[case(HoldKind::Reply, r#"{"action":"reply","message":"go on"}"#)]
fn fits(#[case] kind: HoldKind, #[case] text: &str) {
    hold(kind, json!({"command": "touch a"})).parse_answer(&request(text)).expect("fits");
}

#[rstest]
#[case(HoldKind::Tool, r#"{"action":"reply","message":"x"}"#, "allow")]
#[case(HoldKind::Tool, r#"{}"#, "missing")]
#[case(HoldKind::Tool, r#"{"action":"dance"}"#, "unknown action")]
#[case(HoldKind::Tool, r#"{"action":"allow","input":[1]}"#, "object")]
#[case(
    HoldKind::Tool,
    r#"{"action":"allow","input":{"command":"x"},"scope":"conversation"}"#,
    "without edits"
)]
#[case(HoldKind::Tool, r#"{"action":"deny","scope":"conversation"}"#, "plain `allow`")]
#[case(HoldKind::Tool, r#"{"action":"allow","digest":"sha256:0"}"#, "look again")]
#[case(HoldKind::Plan, r#"{"action":"allow","input":{"plan":" "}}"#, "text")]
#[case(HoldKind::Reply, r#"{"action":"reply","message":"  "}"#, "text")]
#[case(HoldKind::Question, r#"{"action":"allow"}"#, "answers")]
fn does_not_fit(#[case] kind: HoldKind, #[case] text: &str, #[case] hint: &str) {
    let refused =
        hold(kind, json!({"command": "touch a"})).parse_answer(&request(text)).expect_err("does not fit");
    assert!(refused.contains(hint), "{refused}");
}

#[test]
fn answers_are_checked_against_the_questions_and_joined() {
    let hold = hold(HoldKind::Question, questions());
    let (answer, _) = hold
        .parse_answer(&request(r#"{"action":"answer","answers":{"Which?":"free text","Several?":["A","B"]},"notes":{"Which?":"why"}}"#))
        .expect("fits");
    let input = hold.released_input(&answer).expect("input");
    assert_eq!(input["answers"], json!({"Which?": "free text", "Several?": "A, B"}));
    assert_eq!(input["annotations"], json!({"Which?": {"notes": "why"}}));
    assert_eq!(input["questions"], hold.subject.input["questions"]);
    for wrong in [
        r#"{"action":"answer","answers":{"Unasked?":"A"}}"#,
        r#"{"action":"answer","answers":{"Which?":["A"]}}"#,
        r#"{"action":"answer","answers":{"Which?":7}}"#,
        r#"{"action":"answer","answers":{}}"#,
        r#"{"action":"answer"}"#,
    ] {
        hold.parse_answer(&request(wrong)).expect_err(wrong);
    }
}

#[test]
fn an_edited_plan_keeps_the_rest_of_its_input() {
    let hold = hold(HoldKind::Plan, json!({"plan": "old", "planFilePath": "/p"}));
    let (answer, _) =
        hold.parse_answer(&request(r#"{"action":"allow","input":{"plan":"new"}}"#)).expect("fits");
    assert_eq!(hold.released_input(&answer), Some(json!({"plan": "new", "planFilePath": "/p"})));
}
