//! Whatever comes out of the pipe, the parser neither panics nor loses its place.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use holdpoint_claude::Event;
use holdpoint_claude::frame::{Context, Frame, LineSplitter, parse_line};
use holdpoint_claude::transcript::Transcript;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

/// JSON of any shape, with keys and words that mean something to the parser among the others.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        any::<String>(),
        prop::sample::select(vec![
            "assistant",
            "user",
            "result",
            "system",
            "init",
            "success",
            "control_request",
            "can_use_tool",
            "hook_callback",
            "elicitation",
            "mcp_message",
            "control_response",
            "control_cancel_request",
            "stream_event",
            "text",
            "tool_use",
            "tool_result",
            "thinking",
            "api_retry",
            "command_lifecycle",
            "task_started",
            "session_state_changed",
            "running",
            "00000000-0000-4000-8000-000000000000",
        ])
        .prop_map(str::to_owned),
    ];
    let key = prop_oneof![
        1 => any::<String>(),
        5 => prop::sample::select(vec![
            "type", "subtype", "message", "content", "request", "request_id", "response", "input", "tool_name",
            "tool_use_id", "id", "name", "uuid", "is_error", "usage", "errors", "event", "delta", "index",
            "permission_suggestions", "callback_id", "mcp_server_name", "mode", "server_name", "tasks",
            "task_id", "state", "command_uuid", "attempt", "structured_output", "num_turns", "session_id",
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map(key.clone(), inner, 0..8).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A frame with the right words in the right places and anything in between.
fn almost_a_frame() -> impl Strategy<Value = Value> {
    let types = prop::sample::select(vec![
        ("assistant", ""),
        ("user", ""),
        ("result", "success"),
        ("result", "error_max_turns"),
        ("system", "init"),
        ("system", "api_retry"),
        ("system", "status"),
        ("system", "task_started"),
        ("stream_event", ""),
        ("system", "background_tasks_changed"),
        ("control_request", "can_use_tool"),
        ("control_request", "hook_callback"),
        ("control_request", "elicitation"),
        ("control_request", "mcp_message"),
        ("control_response", "success"),
        ("control_response", "error"),
        ("control_cancel_request", ""),
        ("command_lifecycle", ""),
        ("tool_progress", ""),
    ]);
    (types, any_json(), any_json(), any_json()).prop_map(|((kind, subtype), body, inner, leaf)| {
        let mut frame = json!({"type": kind, "subtype": subtype, "request_id": "r"});
        for (key, value) in body.as_object().into_iter().flatten() {
            frame.as_object_mut().unwrap().entry(key.clone()).or_insert(value.clone());
        }
        if kind == "control_request" {
            frame["request"] = json!({"subtype": subtype, "input": inner, "tool_name": "T", "tool_use_id": "t",
                "callback_id": "c", "mcp_server_name": "m", "server_name": "s", "message": leaf});
        } else {
            frame["message"] = json!({"id": "m", "content": inner});
        }
        frame
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_frame_or_malformed(bytes in vec(any::<u8>(), 0..300)) {
        let _ = parse_line(&bytes, Context::default());
        let _ = Transcript::parse(&bytes);
    }

    #[test]
    fn any_json_is_kept_whole(value in prop_oneof![any_json(), almost_a_frame()]) {
        let line = value.to_string();
        // What was written may differ from what was made: JSON has no NaN.
        let written: Value = serde_json::from_str(&line).unwrap();
        match parse_line(line.as_bytes(), Context { schema_asked: true, auth_aborted: false }) {
            Ok(Frame::Event(event)) => {
                let raw = event.raw().expect("an event of the CLI has its source");
                prop_assert_eq!(raw, &written);
                let _ = format!("{event:?}");
            }
            Ok(_) => {}
            Err(malformed) => prop_assert_eq!(&malformed.raw, &written),
        }
    }

    /// Half surrogate pairs, as JavaScript writes them when it cuts a string.
    #[test]
    fn cut_characters_do_not_lose_the_frame(units in vec(any::<u16>(), 0..20)) {
        let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
        let line = format!(r#"{{"type":"assistant","message":{{"id":"m","content":[{{"type":"text","text":"{escaped}"}}]}}}}"#);
        match parse_line(line.as_bytes(), Context::default()) {
            Ok(Frame::Event(Event::Assistant(message))) => {
                let said = message.raw["message"]["content"][0]["text"].as_str().unwrap();
                prop_assert_eq!(said, String::from_utf16_lossy(&units));
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn any_split_gives_the_same_lines(
        frames in vec(any_json(), 0..8),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let lines: Vec<_> = frames.iter().map(Value::to_string).collect();
        let bytes: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([bytes.len()]).collect();
        ends.sort_unstable();
        let mut splitter = LineSplitter::new(1 << 20);
        let (mut seen, mut at) = (Vec::new(), 0);
        for end in ends {
            splitter.push(&bytes[at..end]);
            at = end;
            while let Some(line) = splitter.next_line().unwrap() {
                seen.push(String::from_utf8(line.to_vec()).unwrap());
            }
        }
        prop_assert_eq!(seen, lines);
        prop_assert!(splitter.rest().is_empty());
    }
}
