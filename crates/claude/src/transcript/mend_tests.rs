use serde_json::json;

use super::*;

fn id(n: u8) -> Uuid {
    Uuid::from_u128(u128::from(n))
}

fn row(n: u8, parent: Option<u8>, rest: Value) -> String {
    let mut row = json!({"uuid": id(n), "parentUuid": parent.map(id), "isSidechain": false});
    row.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    row.to_string()
}

fn said(n: u8, parent: Option<u8>) -> String {
    row(n, parent, json!({"type": "user", "message": {"content": "do it"}}))
}

fn continued(n: u8, parent: u8) -> String {
    let text = [json!({"type": "text", "text": "Continue from where you left off."})];
    row(n, Some(parent), json!({"type": "user", "isMeta": true, "message": {"content": text}}))
}

fn text(n: u8, parent: u8, message: &str) -> String {
    let block = [json!({"type": "text", "text": "x"})];
    row(n, Some(parent), json!({"type": "assistant", "message": {"id": message, "content": block}}))
}

fn call(n: u8, parent: u8, message: &str) -> String {
    let block = [json!({"type": "tool_use", "id": format!("t{n}"), "name": "Bash", "input": {}})];
    row(n, Some(parent), json!({"type": "assistant", "message": {"id": message, "content": block}}))
}

fn result(n: u8, of: u8) -> String {
    let block = [json!({"type": "tool_result", "tool_use_id": format!("t{of}"), "content": "ok"})];
    row(n, Some(of), json!({"type": "user", "message": {"content": block}}))
}

fn failed(n: u8, parent: u8) -> String {
    row(n, Some(parent), json!({"type": "system", "subtype": "api_error"}))
}

fn snapshot(n: u8, parent: u8) -> String {
    row(n, Some(parent), json!({"type": "attachment", "attachment": {"type": "prompt_snapshot"}}))
}

fn last_prompt(leaf: u8) -> String {
    json!({"type": "last-prompt", "leafUuid": id(leaf)}).to_string()
}

fn parse(lines: &[String]) -> Transcript {
    Transcript::parse((lines.join("\n") + "\n").as_bytes())
}

fn rows(transcript: &Transcript) -> Vec<u128> {
    transcript.entries.iter().filter_map(|entry| entry.uuid).map(|uuid| uuid.as_u128()).collect()
}

#[track_caller]
fn straight(lines: &[String], expected: &[u128]) -> Transcript {
    let mut transcript = parse(lines);
    transcript.straighten();
    assert_eq!(rows(&transcript), expected, "straightened");
    transcript
}

#[track_caller]
fn reopened(lines: &[String], expected: &[u128]) {
    let mut transcript = parse(lines);
    transcript.straighten();
    transcript.reopen();
    assert_eq!(rows(&transcript), expected, "reopened");
}

#[test]
fn one_chain_is_left_as_it_is() {
    let lines = [said(1, None), call(2, 1, "a"), result(3, 2), text(4, 3, "b")];
    straight(&lines, &[1, 2, 3, 4]);
}

#[test]
fn branches_that_were_left_go_and_what_names_their_ends() {
    let note = json!({"type": "mode", "mode": "normal"}).to_string();
    let lines = [
        said(1, None),
        call(2, 1, "a"),
        last_prompt(2),
        note,
        continued(3, 1),
        call(4, 3, "a"),
        result(5, 4),
        text(6, 5, "b"),
    ];
    let transcript = straight(&lines, &[1, 3, 4, 5, 6]);
    let kinds: Vec<&str> = transcript.entries.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["user", "mode", "user", "assistant", "user", "assistant"]);
}

#[test]
fn results_of_calls_beside_each_other_stay_and_calls_without_one_go() {
    let calls = [said(1, None), call(2, 1, "a"), call(3, 2, "a"), call(4, 3, "a")];
    let in_order = [result(5, 2), result(6, 3), result(7, 4)];
    straight(&[&calls[..], &in_order].concat(), &[1, 2, 3, 4, 5, 6, 7]);
    let backwards = [result(5, 4), result(6, 2)];
    straight(&[&calls[..], &backwards].concat(), &[1, 2, 3, 4, 5, 6]);
    let first_alone = [result(5, 2), continued(6, 5)];
    straight(&[&calls[..], &first_alone].concat(), &[1, 2, 5, 6]);
}

#[test]
fn what_hangs_on_rows_that_were_never_written_goes() {
    straight(&[said(1, None), text(2, 1, "a"), text(5, 4, "c")], &[1, 2]);
    straight(&[said(1, None), text(2, 1, "a"), said(5, Some(4)), text(6, 5, "c")], &[1, 2]);
    let torn = r#"{"type":"assistant","uu"#.to_owned();
    straight(&[said(1, None), torn, text(2, 1, "a")], &[1, 2]);
    straight(&[result(3, 2), text(4, 3, "b")], &[]);
}

#[test]
fn a_chain_that_bites_its_tail_ends() {
    let rows = [text(1, 9, "a"), said(9, None), text(2, 9, "a"), text(9, 2, "a")];
    let mut transcript = straight(&rows, &[9, 2, 9]);
    transcript.reopen();
}

#[test]
fn what_was_compacted_stays() {
    let boundary = json!({"type": "system", "subtype": "compact_boundary", "logicalParentUuid": id(2)});
    let lines = [said(1, None), text(2, 1, "a"), text(3, 1, "b"), row(4, None, boundary), said(5, Some(4))];
    straight(&lines, &[1, 2, 3, 4, 5]);
}

#[test]
fn a_turn_goes_on_from_the_last_word_that_is_not_the_clis_own() {
    let turn = [said(1, None), call(2, 1, "a"), result(3, 2)];
    let ended = |more: &[String]| [&turn[..], more].concat();
    reopened(&ended(&[]), &[1, 2, 3]);
    reopened(&ended(&[text(4, 3, "b")]), &[1, 2, 3]);
    reopened(&ended(&[text(4, 3, "b"), text(5, 4, "b"), snapshot(6, 5)]), &[1, 2, 3]);
    reopened(&ended(&[continued(4, 3)]), &[1, 2, 3]);
    reopened(&ended(&[snapshot(4, 3), continued(5, 4), failed(6, 5)]), &[1, 2, 3, 4]);
    reopened(&ended(&[continued(4, 3), continued(5, 4), text(6, 5, "b")]), &[1, 2, 3]);
    reopened(&ended(&[failed(4, 3)]), &[1, 2, 3, 4]);
    reopened(&ended(&[call(4, 3, "b")]), &[1, 2, 3, 4]);
    reopened(&ended(&[call(4, 3, "b"), text(5, 4, "b")]), &[1, 2, 3, 4, 5]);
    reopened(&ended(&[text(4, 3, "b"), said(5, Some(4))]), &[1, 2, 3, 4, 5]);
}

/// The calls of a left branch are no calls of an answer whose own were not written yet.
#[test]
fn a_replayed_answer_is_judged_by_its_own_blocks() {
    let lines = [said(1, None), text(2, 1, "a"), call(3, 2, "a"), continued(4, 1), text(5, 4, "a")];
    reopened(&lines, &[1]);
}

#[test]
fn the_lines_that_stay_are_as_they_were() {
    let good = [said(1, None), text(2, 1, "a")].join("\n") + "\n";
    let bytes = format!("{good}{}\n{}", last_prompt(1), r#"{"torn"#).into_bytes();
    let mut transcript = Transcript::parse(&bytes);
    transcript.straighten();
    assert_eq!(transcript.lines_of(&bytes).unwrap(), good.as_bytes());
    assert!(transcript.lines_of(b"shorter").is_err());
}
