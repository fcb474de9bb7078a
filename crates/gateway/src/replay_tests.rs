use proptest::prelude::*;
use rstest::rstest;
use uuid::Uuid;

use super::*;
use crate::{thread, wire::Request};

/// A response with these blocks: `think`, a text in quotes, or the id of a tool use.
fn response(id: &str, blocks: &[&str]) -> Value {
    let content: Vec<Value> = blocks
        .iter()
        .map(|block| match *block {
            "think" => json!({"type": "thinking", "thinking": "hm", "signature": format!("sig {id}")}),
            "redacted" => json!({"type": "redacted_thinking", "data": "x"}),
            text if text.starts_with('\'') => json!({"type": "text", "text": text.trim_matches('\'')}),
            tool => json!({"type": "tool_use", "id": tool, "name": "Bash", "input": {"of": tool}}),
        })
        .collect();
    json!({"id": id, "type": "message", "role": "assistant", "content": content, "stop_reason": "x", "usage": {}})
}

fn id(number: u128) -> CallId {
    CallId(Uuid::from_u128(number))
}

fn call(number: u128, after: Option<u128>, blocks: &[&str], delivered_to: &[u32]) -> RecordedCall {
    let assistants = u32::try_from(number - 1).expect("small");
    RecordedCall {
        id: id(number),
        incarnation: 1,
        thread: Thread::Main,
        place: Place { root: root("go"), assistants, after: after.map(id) },
        footprint: footprint(&response(&format!("m{number}"), blocks)),
        delivered_to: delivered_to.to_vec(),
    }
}

fn root(prompt: &str) -> String {
    Digest::of_bytes(prompt.as_bytes()).as_str().to_owned()
}

/// A request that begins with "go" and has these messages after it: `a` an assistant's blocks, `r` results.
fn request(rest: &[(&str, &[&str])]) -> Request {
    let mut messages = vec![json!({"role": "user", "content": "go"})];
    for (role, parts) in rest {
        if *role == "r" {
            let results = parts.iter().map(|id| match *id {
                text if text.starts_with('\'') => json!({"type": "text", "text": text.trim_matches('\'')}),
                id => json!({"type": "tool_result", "tool_use_id": id, "content": "out"}),
            });
            messages.push(json!({"role": "user", "content": results.collect::<Vec<_>>()}));
        } else {
            messages.push(json!({"role": "assistant", "content": response(role, parts)["content"]}));
        }
    }
    Request::read(json!({"messages": messages}).to_string().as_bytes()).expect("request")
}

fn ask(thread: &Thread, incarnation: u32, request: &Request, record: &[RecordedCall]) -> Plan {
    let merged = request.merged();
    let root = thread::root(request);
    let taken = HashSet::new();
    plan(Asking { thread, incarnation, root: &root, merged: &merged, taken: &taken }, record)
}

fn upstream(after: Option<u128>, assistants: u32) -> Plan {
    Plan::Upstream(Place { root: root("go"), assistants, after: after.map(id) })
}

fn whole(number: u128) -> Plan {
    Plan::Replay { call: id(number), part: Part::Whole }
}

fn part(number: u128, tool_uses: &[&str]) -> Plan {
    let open = tool_uses.iter().map(|&id| id.to_owned()).collect();
    Plan::Replay { call: id(number), part: Part::ToolUses(open) }
}

const CONTINUE: &str = "'Continue from where you left off.'";

#[rstest]
#[case::nothing_recorded(&[], request(&[]), upstream(None, 0))]
#[case::retry_after_a_cut_delivery(&[call(1, None, &["a"], &[])], request(&[]), whole(1))]
#[case::never_to_whom_it_was_delivered(&[call(1, None, &["'no'"], &[2])], request(&[]), upstream(None, 0))]
#[case::killed_at_the_first_ask(&[call(1, None, &["think", "'t'", "a", "b"], &[1])], request(&[("r", &[CONTINUE])]), whole(1))]
#[case::killed_at_the_second_ask(
    &[call(1, None, &["think", "'t'", "a", "b", "c"], &[1])],
    request(&[("m1", &["think", "'t'", "a"]), ("r", &["a", CONTINUE])]), part(1, &["b", "c"]))]
#[case::killed_again_after_a_part(
    &[call(1, None, &["a", "b", "c"], &[1])],
    request(&[("m1", &["a"]), ("r", &["a", CONTINUE]), ("m1", &["b"]), ("r", &["b", CONTINUE])]), part(1, &["c"]))]
#[case::only_the_text_was_kept(
    &[call(1, None, &["'hello'", "a"], &[1])],
    request(&[("m1", &["'hello'"]), ("r", &[CONTINUE])]), part(1, &["a"]))]
#[case::only_the_thinking_was_kept(
    &[call(1, None, &["think", "'t'", "a"], &[1])],
    request(&[("m1", &["think"]), ("r", &[CONTINUE])]), part(1, &["a"]))]
#[case::all_answered(
    &[call(1, None, &["a", "b"], &[1])],
    request(&[("m1", &["a", "b"]), ("r", &["a", "b"])]), upstream(Some(1), 1))]
#[case::the_next_one_is_there(
    &[call(1, None, &["a"], &[1]), call(2, Some(1), &["b"], &[1])],
    request(&[("m1", &["a"]), ("r", &["a"])]), whole(2))]
#[case::a_completed_tool_was_forgotten(
    &[call(1, None, &["a"], &[1]), call(2, Some(1), &["b"], &[1])],
    request(&[("r", &[CONTINUE])]), whole(1))]
#[case::the_last_words_are_there(
    &[call(1, None, &["a"], &[1]), call(2, Some(1), &["'done'"], &[])],
    request(&[("m1", &["a"]), ("r", &["a"])]), whole(2))]
#[case::the_last_words_are_known(
    &[call(1, None, &["a"], &[1]), call(2, Some(1), &["'done'"], &[1])],
    request(&[("m1", &["a"]), ("r", &["a"]), ("m2", &["'done'"]), ("r", &["'more'"])]), upstream(Some(2), 2))]
#[case::the_same_words_of_an_earlier_turn_are_not_these(
    &[call(2, None, &["'done'"], &[1])],
    request(&[("m0", &["'done'"]), ("r", &["'again'"])]), whole(2))]
#[case::a_refusal_is_not_repeated_and_what_followed_it_is(
    &[call(1, None, &["a"], &[2]), call(2, Some(1), &["'no'"], &[2]), call(3, Some(1), &["b"], &[])],
    request(&[("m1", &["a"]), ("r", &["a"])]), whole(3))]
#[case::after_a_compaction_the_record_of_before_does_not_count(
    &[call(1, None, &["a"], &[1]), RecordedCall { place: Place { root: root("summary"), assistants: 0, after: None }, ..call(2, None, &["b"], &[1]) }],
    Request::read(br#"{"messages":[{"role":"user","content":"summary"}]}"#).expect("request"), whole(2))]
fn finds_the_answer_in_the_record(
    #[case] record: &[RecordedCall],
    #[case] request: Request,
    #[case] expected: Plan,
) {
    assert_eq!(ask(&Thread::Main, 2, &request, record), expected);
}

fn agent(name: &str, recorded: RecordedCall) -> RecordedCall {
    RecordedCall { thread: Thread::Agent(name.into()), ..recorded }
}

#[test]
fn twins_get_one_conversation_each() {
    let record = [
        call(1, None, &["x", "y"], &[1]),
        agent("a1", call(2, None, &["a"], &[1])),
        agent("a2", call(3, None, &["b"], &[1])),
    ];
    let first = request(&[]);
    let merged = first.merged();
    let thread = Thread::Agent("new".into());
    let taken = HashSet::from([id(2)]);
    let root = thread::root(&first);
    let asking = Asking { thread: &thread, incarnation: 2, root: &root, merged: &merged, taken: &taken };
    assert_eq!(plan(asking, &record), whole(3), "the other one has the first");
    assert_eq!(ask(&thread, 2, &first, &record), whole(2));
    let second = request(&[("m3", &["b"]), ("r", &["b"])]);
    assert_eq!(ask(&thread, 2, &second, &record), Plan::Upstream(Place { after: Some(id(3)), ..place(1) }));
}

fn place(assistants: u32) -> Place {
    Place { root: root("go"), assistants, after: None }
}

#[test]
fn the_one_that_had_not_finished_goes_on_first() {
    let record = [
        call(1, None, &["x", "y"], &[1]),
        agent("a1", call(2, None, &["a"], &[1])),
        agent("a2", call(3, None, &["b"], &[1])),
        agent("a1", call(4, Some(2), &["'done'"], &[1])),
    ];
    assert_eq!(ask(&Thread::Agent("new".into()), 2, &request(&[]), &record), whole(3));
}

#[test]
fn subagents_of_an_earlier_step_are_history() {
    let record = [
        call(1, None, &["x"], &[1]),
        agent("a1", call(2, None, &["a"], &[1])),
        call(3, Some(1), &["y"], &[1]),
    ];
    assert_eq!(ask(&Thread::Agent("new".into()), 2, &request(&[]), &record), Plan::Upstream(place(0)));
    // But a retry in the same process gets its answer, whatever the main loop has done since.
    let record = [agent("a1", call(2, None, &["a"], &[])), call(3, None, &["y"], &[1])];
    assert_eq!(ask(&Thread::Agent("a1".into()), 1, &request(&[]), &record), whole(2));
}

#[test]
fn threads_do_not_answer_for_each_other() {
    let record = [call(1, None, &["a"], &[])];
    assert_eq!(ask(&Thread::Agent("a1".into()), 1, &request(&[]), &record), Plan::Upstream(place(0)));
    assert_eq!(ask(&Thread::Side, 1, &request(&[]), &record), Plan::Upstream(place(0)));
}

#[test]
fn a_part_is_thinking_and_the_open_tool_uses_under_an_id_of_its_own() {
    let full = response("m1", &["think", "'t'", "a", "redacted", "b"]);
    let part = cut(&full, &Part::ToolUses(vec!["b".into()]), 3);
    let expected = response("m1_r3", &["think", "a", "redacted", "b"]);
    assert_eq!(part["id"], expected["id"]);
    assert_eq!(part["stop_reason"], "tool_use");
    let kinds: Vec<_> =
        part["content"].as_array().expect("blocks").iter().map(|block| &block["type"]).collect();
    assert_eq!(kinds, ["thinking", "redacted_thinking", "tool_use"]);
    assert_eq!(part["content"][2], full["content"][4], "id and input are the recorded ones");
    assert_eq!(part["content"][0], full["content"][0], "signature and all");
    assert_eq!(cut(&full, &Part::Whole, 3), full);
}

/// What happens next in a simulated session.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Fine,
    /// The response reaches the CLI cut; it asks again.
    Cut,
    /// Killed before the response came; nothing was flushed since the last result.
    KilledBefore,
    /// Killed after so many of the response's tools; so many of its last results never reached the disk.
    KilledAfter(usize, usize),
    /// Killed, and no transcript is left.
    Wiped,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Fine),
        1 => Just(Fate::Cut),
        1 => Just(Fate::KilledBefore),
        4 => (0usize..4, 0usize..2).prop_map(|(tools, lost)| Fate::KilledAfter(tools, lost)),
        1 => Just(Fate::Wiped),
    ]
}

/// A response's blocks: thinking or not, a text that repeats itself, and its tools.
fn blocks(index: usize, tools: usize, thinks: bool) -> Vec<String> {
    let mut blocks = Vec::new();
    if thinks {
        blocks.push("think".to_owned());
    }
    blocks.push("'the same words'".to_owned());
    blocks.extend((0..tools).map(|tool| format!("t{index}_{tool}")));
    blocks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// However a session is killed, cut or wiped: each response is generated once, the tools asked for
    /// are those of the record in their order, and none whose result is known is asked for again.
    #[test]
    fn nothing_is_generated_twice(
        script in proptest::collection::vec((1usize..4, any::<bool>()), 0..4),
        ends_thinking in any::<bool>(),
        fates in proptest::collection::vec(fate(), 0..12),
    ) {
        let mut script = script;
        script.push((0, ends_thinking));
        let mut fates = fates.into_iter();
        let mut record: Vec<RecordedCall> = Vec::new();
        let mut incarnation = 1;
        // The transcript: a message's name, its blocks, and how many of its tools have results.
        let mut transcript: Vec<(String, Vec<String>, usize)> = Vec::new();
        for _ in 0..200 {
            let rest: Vec<(String, Vec<String>)> = transcript.iter().flat_map(|(name, blocks, done)| {
                let results = blocks.iter().filter(|block| block.starts_with('t') && *block != "think").take(*done);
                [(name.clone(), blocks.clone()), ("r".to_owned(), results.cloned().collect())]
            }).collect();
            let borrowed: Vec<(&str, Vec<&str>)> =
                rest.iter().map(|(role, parts)| (role.as_str(), parts.iter().map(String::as_str).collect())).collect();
            let parts: Vec<(&str, &[&str])> = borrowed.iter().map(|(role, parts)| (*role, &parts[..])).collect();
            let request = request(&parts);
            let (number, message) = match ask(&Thread::Main, incarnation, &request, &record) {
                Plan::Upstream(place) => {
                    let index = record.len();
                    prop_assert!(index < script.len(), "asked the model once too often");
                    let (tools, thinks) = script[index];
                    let blocks = blocks(index, tools, thinks);
                    let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
                    let message = response(&format!("m{index}"), &blocks);
                    record.push(RecordedCall {
                        id: id(index as u128 + 1), incarnation, thread: Thread::Main, place,
                        footprint: footprint(&message), delivered_to: Vec::new(),
                    });
                    (index, message)
                }
                Plan::Replay { call, part } => {
                    let index = record.iter().position(|recorded| recorded.id == call).expect("recorded");
                    let (tools, thinks) = script[index];
                    let blocks = blocks(index, tools, thinks);
                    let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
                    (index, cut(&response(&format!("m{index}"), &blocks), &part, incarnation))
                }
            };
            let content = message["content"].as_array().expect("blocks");
            let tools: Vec<String> = content.iter().filter_map(|block| block["id"].as_str()).map(str::to_owned).collect();
            let known: HashSet<&String> = rest.iter().filter(|(role, _)| role == "r").flat_map(|(_, ids)| ids).collect();
            prop_assert!(tools.iter().all(|tool| !known.contains(tool)), "{tools:?} with {known:?}");
            let expected: Vec<String> = (0..script[number].0).map(|tool| format!("t{number}_{tool}")).filter(|tool| !known.contains(tool)).collect();
            prop_assert_eq!(&tools, &expected, "all of what is open, and nothing else");

            let fate = fates.next().unwrap_or(Fate::Fine);
            match fate {
                Fate::Cut => continue,
                Fate::KilledBefore => { incarnation += 1; continue }
                _ => record[number].delivered_to.push(incarnation),
            }
            let names: Vec<String> = content.iter().map(|block| match block["type"].as_str() {
                Some("thinking") => "think".to_owned(),
                Some("text") => format!("'{}'", block["text"].as_str().expect("text")),
                _ => block["id"].as_str().expect("id").to_owned(),
            }).collect();
            let done = match fate {
                Fate::KilledAfter(done, lost) => done.min(tools.len()).saturating_sub(lost),
                _ => tools.len(),
            };
            if tools.is_empty() {
                if matches!(fate, Fate::Fine) {
                    prop_assert_eq!(record.len(), script.len());
                    return Ok(());
                }
            } else if done > 0 {
                // What has no result is dropped from the transcript.
                let keep: HashSet<&String> = tools[..done].iter().collect();
                let kept = names.iter().filter(|name| !tools.contains(name) || keep.contains(name)).cloned().collect();
                transcript.push((format!("m{number}"), kept, done));
            }
            match fate {
                Fate::Fine => {}
                Fate::Wiped => { transcript.clear(); incarnation += 1 }
                _ => incarnation += 1,
            }
        }
        prop_assert!(false, "the session never ended");
    }
}
