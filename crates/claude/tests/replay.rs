//! Recorded sessions, read through the parser.
//!
//! The snapshots say what each session looks like to a host. What matters most is said by an assertion:
//! nothing the CLI is known to write may fall through to `Unknown`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use holdpoint_claude::frame::{Context, Frame, InboundRequest, LineSplitter, parse_line};
use holdpoint_claude::{AssistantBlock, ElicitationMode, Event, Outcome, UserBlock};
use serde_json::Value;

fn captures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    files
}

struct Recorded {
    direction: String,
    message: Value,
    seconds: f64,
}

fn load(path: &Path) -> Vec<Recorded> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|mut line| Recorded {
            direction: line["dir"].as_str().unwrap().to_owned(),
            message: line["msg"].take(),
            seconds: line["t"].as_f64().unwrap(),
        })
        .collect()
}

fn schema_asked(session: &[Recorded]) -> bool {
    session.iter().any(|line| match line.direction.as_str() {
        "meta" => line.message["argv"].to_string().contains("--json-schema"),
        "in" => line.message["request"]["jsonSchema"].is_object(),
        _ => false,
    })
}

#[test]
fn every_recorded_session_reads_as_before() {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _bound = settings.bind_to_scope();
    for path in captures() {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        insta::assert_snapshot!(name, summary(&load(&path)));
    }
}

#[test]
fn nothing_known_is_unknown() {
    for path in captures() {
        let session = load(&path);
        for line in session.iter().filter(|line| line.direction == "out") {
            let text = line.message.to_string();
            let frame = parse_line(text.as_bytes(), Context::default());
            let known = !matches!(
                frame,
                Err(_)
                    | Ok(Frame::Event(Event::Unknown { .. }))
                    | Ok(Frame::Request(InboundRequest::Unsupported { .. }))
            );
            assert!(known || !line.message.is_object(), "{}: {text} became {frame:?}", path.display());
        }
    }
}

/// Key order is arbitrary: a `result` need not begin with its `type` (conformance case 5).
#[test]
fn case_05_results_with_their_type_last_are_read() {
    let line = br#"{"is_error":false,"subtype":"success","result":"hi","num_turns":1,"session_id":"s","type":"result"}"#;
    match parse_line(line, Context::default()) {
        Ok(Frame::Event(Event::Result(turn))) => assert!(turn.outcome.is_success()),
        other => panic!("{other:?}"),
    }
}

/// Conformance case 6, and the promise of the whole parser.
#[test]
fn case_06_unknown_frames_surface_raw() {
    for line in [
        r#"{"type":"brand_new","payload":[1,2]}"#,
        r#"{"type":"system","subtype":"brand_new","x":1}"#,
        r#"{"type":"assistant","message":"of another shape"}"#,
        r#"{"type":"result"}"#,
    ] {
        match parse_line(line.as_bytes(), Context::default()) {
            Ok(Frame::Event(Event::Unknown { raw, .. })) => assert_eq!(raw.to_string().len(), line.len()),
            other => panic!("{line} became {other:?}"),
        }
    }
}

/// A person took twelve minutes to answer, a permission and a question; the CLI waited. The live test of case 16
/// cannot wait that long, so this recording is its evidence.
#[test]
fn case_16_an_answer_after_twelve_minutes_was_honoured() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    for name in ["19_hold_perm", "19_hold_ask"] {
        let session = load(&dir.join(format!("{name}.jsonl")));
        let asked = session.iter().find(|line| line.message["request"]["subtype"] == "can_use_tool").unwrap();
        let id = asked.message["request_id"].as_str().unwrap();
        let answered = session
            .iter()
            .find(|line| line.direction == "in" && line.message["response"]["request_id"] == id)
            .unwrap();
        assert!(
            answered.seconds - asked.seconds > 700.0,
            "{name}: held for {}",
            answered.seconds - asked.seconds
        );
        let between: Vec<_> = session
            .iter()
            .filter(|line| line.seconds > asked.seconds && line.seconds < answered.seconds)
            .filter(|line| line.message["type"] == "control_cancel_request")
            .map(|line| line.message.to_string())
            .collect();
        assert_eq!(between, Vec::<String>::new(), "{name}: nothing was withdrawn");
        let tool = asked.message["request"]["tool_use_id"].as_str().unwrap();
        let result = session
            .iter()
            .find(|line| line.message["type"] == "user" && line.message.to_string().contains(tool))
            .unwrap();
        assert!(result.seconds >= answered.seconds, "{name}: the tool ran after the answer");
    }
}

/// The same bytes in pieces of every awkward size give the same frames.
#[test]
fn recorded_bytes_split_anywhere_read_the_same() {
    let path = captures().into_iter().find(|path| path.ends_with("06_interrupt.jsonl")).unwrap();
    let bytes = std::fs::read(path).unwrap();
    let whole: Vec<_> = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    for size in [1, 2, 3, 7, 64, 1000, 65536] {
        let mut splitter = LineSplitter::new(1 << 20);
        let mut lines = Vec::new();
        for piece in bytes.chunks(size) {
            splitter.push(piece);
            while let Some(line) = splitter.next_line().unwrap() {
                lines.push(line);
            }
        }
        assert_eq!(lines, whole, "pieces of {size}");
    }
}

fn summary(session: &[Recorded]) -> String {
    let context = Context { schema_asked: schema_asked(session), auth_aborted: false };
    let mut asks = HashMap::new();
    let mut lines: Vec<(String, usize)> = Vec::new();
    for line in session {
        let text = match line.direction.as_str() {
            "out" => match parse_line(line.message.to_string().as_bytes(), context) {
                Ok(frame) => of_frame(&frame, &mut asks),
                Err(malformed) => format!("MALFORMED {}", malformed.reason),
            },
            "in" => of_input(&line.message, &asks),
            "exit" => format!("exit {}", line.message["rc"]),
            _ => continue,
        };
        match lines.last_mut() {
            Some((last, count)) if *last == text => *count += 1,
            _ => lines.push((text, 1)),
        }
    }
    lines.iter().fold(String::new(), |mut out, (text, count)| {
        let times = if *count > 1 { format!(" ×{count}") } else { String::new() };
        writeln!(out, "{text}{times}").unwrap();
        out
    })
}

fn of_input(message: &Value, asks: &HashMap<String, String>) -> String {
    match message["type"].as_str().unwrap_or("no frame") {
        "control_request" => format!("> {}", message["request"]["subtype"].as_str().unwrap_or("?")),
        "control_response" => {
            let response = &message["response"];
            let asked = asks.get(response["request_id"].as_str().unwrap_or_default());
            let behavior = response["response"]["behavior"].as_str().unwrap_or_default();
            let asked = asked.map_or("something unknown", String::as_str);
            format!("> answer to {asked}: {} {behavior}", response["subtype"].as_str().unwrap_or("?"))
                .trim_end()
                .to_owned()
        }
        other => format!("> {other}"),
    }
}

fn of_frame(frame: &Frame, asks: &mut HashMap<String, String>) -> String {
    match frame {
        Frame::Event(event) => of_event(event),
        Frame::Reply(reply) => match &reply.result {
            Ok(_) => "reply".into(),
            Err(refusal) => format!("reply: refused, {}", refusal.message),
        },
        Frame::Withdrawn(id) => {
            format!("withdrawn: {}", asks.get(id.as_str()).map_or("unknown", String::as_str))
        }
        Frame::Request(request) => {
            let (id, text) = match request {
                InboundRequest::Permission(ask) => {
                    let offers: Vec<_> = ask.suggestions.iter().map(|offer| offer.kind()).collect();
                    let by = if ask.agent_id.is_some() { " by a subagent" } else { "" };
                    let person = if ask.requires_user_interaction { " of a person" } else { "" };
                    (&ask.request_id, format!("ask {}{by}{person} [{}]", ask.tool_name, offers.join(", ")))
                }
                InboundRequest::Hook(call) => {
                    let tool = call.tool_name.as_deref().unwrap_or_default();
                    (&call.request_id, format!("hook {} {tool}", call.event).trim_end().to_owned())
                }
                InboundRequest::Elicitation(call) => {
                    let mode = match call.mode {
                        ElicitationMode::Form { .. } => "form",
                        ElicitationMode::Url { .. } => "url",
                    };
                    (&call.request_id, format!("elicitation {mode}"))
                }
                InboundRequest::Mcp(message) => {
                    let method = message.message["method"].as_str().unwrap_or("response");
                    (&message.request_id, format!("mcp {} {method}", message.server))
                }
                InboundRequest::Unsupported { request_id, subtype, .. } => {
                    (request_id, format!("UNSUPPORTED {subtype}"))
                }
            };
            asks.insert(id.as_str().to_owned(), text.clone());
            text
        }
    }
}

fn of_event(event: &Event) -> String {
    match event {
        Event::SystemInit(init) => format!("init {} {}", init.model, init.permission_mode),
        Event::Assistant(message) => {
            let blocks: Vec<_> = message
                .blocks
                .iter()
                .map(|block| match block {
                    AssistantBlock::Text(_) => "text".to_owned(),
                    AssistantBlock::Thinking { .. } => "thinking".to_owned(),
                    AssistantBlock::ToolUse { name, .. } => format!("call {name}"),
                    AssistantBlock::Other(_) => "OTHER".to_owned(),
                })
                .collect();
            let sub = if message.parent_tool_use_id.is_some() { " of a subagent" } else { "" };
            let api = if message.api_error { " (api error)" } else { "" };
            let aborted = if message.aborted { " (aborted)" } else { "" };
            format!("assistant{sub}: {}{api}{aborted}", blocks.join(", "))
        }
        Event::UserFrame(frame) => {
            let blocks: Vec<_> = frame
                .blocks
                .iter()
                .map(|block| match block {
                    UserBlock::Text(_) => "text",
                    UserBlock::ToolResult(result) if result.is_error => "error result",
                    UserBlock::ToolResult(_) => "result",
                    UserBlock::Other(_) => "OTHER",
                })
                .collect();
            let replay = if frame.is_replay { " (replay)" } else { "" };
            let synthetic = if frame.is_synthetic { " (synthetic)" } else { "" };
            format!("user: {}{replay}{synthetic}", blocks.join(", "))
        }
        Event::StreamEvent(delta) => format!("stream {}", delta.kind),
        Event::Result(turn) => {
            let queued = match turn.queued_turn_count {
                0 => String::new(),
                count => format!(", {count} queued"),
            };
            let origin = turn.origin.as_deref().map(|origin| format!(", from {origin}")).unwrap_or_default();
            match &turn.outcome {
                Outcome::Success(success) => {
                    let output = if success.structured_output.is_some() { " with output" } else { "" };
                    let deferred = if success.deferred_tool_use.is_some() { " deferred" } else { "" };
                    format!("RESULT success{output}{deferred}{queued}{origin}")
                }
                Outcome::Failure(failure) => format!("RESULT {failure:?}{queued}{origin}"),
            }
        }
        Event::CommandLifecycle(command) => format!("message {:?}", command.state),
        Event::ApiRetry(retry) => {
            format!("retry {}/{} {:?} {}", retry.attempt, retry.max_retries, retry.error_status, retry.error)
        }
        Event::SessionState(change) => format!("state {:?}", change.state),
        Event::Task(task) => {
            let status = task.status.as_deref().unwrap_or_default();
            format!("task {:?} {status}", task.phase).trim_end().to_owned()
        }
        Event::BackgroundTasks(tasks) => format!("{} tasks in the background", tasks.tasks.len()),
        Event::Status(status) => {
            let mode = status.permission_mode.as_deref().unwrap_or_default();
            format!("status {} {mode}", status.status.as_deref().unwrap_or("-")).trim_end().to_owned()
        }
        Event::PermissionDenied(denied) => format!("denied {} by itself", denied.tool_name),
        Event::CompactBoundary(boundary) => format!("compacted ({:?})", boundary.trigger),
        Event::ModelFallback(fallback) => format!("fallback to {:?}", fallback.fallback_model),
        Event::ConversationReset(_) => "cleared".into(),
        Event::ToolProgress(progress) => format!("progress of {}", progress.tool_name),
        Event::Notice(notice) => format!("notice {}", notice.kind),
        other => format!("UNKNOWN {:?}", other.raw().map(|raw| &raw["type"])),
    }
}
