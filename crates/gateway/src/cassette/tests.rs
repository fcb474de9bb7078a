use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{play::Chosen, *};
use crate::{upstream::Call, wire::Request};

const HERE: &str = "/data/executions/one";
const THERE: &str = "/other/executions/two";

fn call(thread: &Thread, place: &str, messages: &Value) -> Call {
    let body = json!({"model": "m", "messages": messages}).to_string();
    Call {
        method: Method::POST,
        path: "/v1/messages".into(),
        headers: HeaderMap::new(),
        request: Arc::new(Request::read(body.as_bytes()).expect("request")),
        body: Bytes::from(body),
        execution: holdpoint_model::ExecutionId(Uuid::nil()),
        incarnation: 1,
        thread: thread.clone(),
        script: None,
        place: place.into(),
    }
}

fn message(content: &Value) -> Value {
    json!({"type": "message", "role": "assistant", "id": "msg_1", "content": content})
}

fn user(content: impl Into<Value>) -> Value {
    json!({"role": "user", "content": content.into()})
}

fn assistant(content: &Value) -> Value {
    json!({"role": "assistant", "content": content})
}

fn result(id: &str, failed: bool) -> Value {
    json!([{"type": "tool_result", "tool_use_id": id, "is_error": failed, "content": "out"}])
}

fn write_tool(place: &str) -> Value {
    json!([{"type": "text", "text": "I write."},
           {"type": "tool_use", "id": "t1", "name": "Write", "input": {"file_path": format!("{place}/workspace/a")}}])
}

fn says(text: &str) -> Value {
    json!([{"type": "text", "text": text}])
}

/// One turn with a tool, and another.
fn requests(place: &str, denied: bool, reply: &str) -> Vec<Value> {
    let mut messages = vec![user(format!("write to {place}/workspace"))];
    let mut requests = vec![json!(messages)];
    messages.extend([assistant(&write_tool(place)), user(result("t1", denied))]);
    requests.push(json!(messages));
    messages.extend([assistant(&says("ok")), user(reply)]);
    requests.push(json!(messages));
    messages.extend([assistant(&says("ok")), user("more")]);
    requests.push(json!(messages));
    requests
}

fn recorded() -> Cassette {
    let mut cassette = Cassette::new("claude");
    let responses = [write_tool(HERE), says("ok"), says("ok")];
    for (request, response) in requests(HERE, false, "thanks").iter().zip(&responses) {
        let call = call(&Thread::Main, HERE, request);
        let asked = Gist::of(&call.thread, &call.request, &call.place);
        cassette.add(&Thread::Main, asked, &message(response), HERE);
    }
    let text = cassette.to_text();
    assert!(Cassette::is_one(&text) && !text.contains(HERE), "{text}");
    let again = Cassette::parse(&text, "x.cassette").expect("its own text");
    assert_eq!(again.to_text(), text);
    again
}

fn play(cassette: &Cassette, request: &Value) -> Result<Option<Chosen>, String> {
    cassette.answer(&call(&Thread::Main, THERE, request), None, &HashSet::new())
}

#[test]
fn the_same_conversation_gets_the_same_answers_in_its_own_place() {
    let cassette = recorded();
    let answers: Vec<Chosen> = requests(THERE, false, "thanks")[..3]
        .iter()
        .map(|request| play(&cassette, request).expect("the same").expect("an answer"))
        .collect();
    assert_eq!(answers.iter().map(|answer| answer.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(answers[0].response["content"], write_tool(THERE));
}

#[test]
fn what_differs_is_named() {
    let cassette = recorded();
    let how = |request: &Value| play(&cassette, request).expect_err("not the same");
    let said = how(&requests(THERE, false, "no, thanks")[2]);
    assert!(
        said.contains(
            "x.cassette: at call 3, it was expected that the person says “thanks”, and they said “no, thanks”"
        ),
        "{said}"
    );
    let denied = how(&requests(THERE, true, "thanks")[1]);
    assert!(
        denied.contains("at call 2, it was expected that Write (t1) succeeded, and it failed or was refused"),
        "{denied}"
    );
    let longer = how(&requests(THERE, false, "thanks")[3]);
    assert!(longer.contains("goes on after call 3"), "{longer}");
    let other = how(&json!([user("something else")]));
    assert!(other.contains("begins with “something else” was not recorded, one that begins with “write to {{place}}/workspace” was"), "{other}");
    let stray = json!([
        user(format!("write to {THERE}/workspace")),
        assistant(&json!([{"type": "tool_use", "id": "t9", "name": "Bash", "input": {}}])),
        user(result("t9", false))
    ]);
    assert!(how(&stray).contains("the tool use t9 was not recorded"));
}

#[test]
fn subagents_with_one_prompt_are_told_apart() {
    let mut cassette = Cassette::new("claude");
    let start = json!([user("look")]);
    let of = |id: &str, messages: &Value| call(&Thread::Agent(id.into()), THERE, messages);
    for id in ["x", "y"] {
        let call = of(id, &start);
        let asked = Gist::of(&call.thread, &call.request, &call.place);
        cassette.add(&call.thread, asked, &message(&says(&format!("I am {id}"))), HERE);
    }
    let text = cassette.to_text();
    assert!(text.contains("\"agent:1\"") && text.contains("\"agent:2\""), "{text}");
    let cassette = Cassette::parse(&text, "x").expect("cassette");
    let mut taken = HashSet::new();
    let mut answers = Vec::new();
    for id in ["a", "b"] {
        let chosen = cassette.answer(&of(id, &start), None, &taken).expect("recorded").expect("an answer");
        answers.push(chosen.response["content"][0]["text"].clone());
        taken.insert(chosen.thread);
    }
    assert_eq!(answers, ["I am x", "I am y"]);
    let known = Thread::Agent("2".into());
    let again =
        cassette.answer(&of("b", &start), Some(&known), &taken).expect("recorded").expect("an answer");
    assert_eq!(again.thread, known);
}

#[test]
fn mistakes_are_named_with_their_line() {
    let head = "{\"cassette\":1,\"agent\":\"a\"}\n";
    for (text, line, part) in [
        ("{\"cassette\":2,\"agent\":\"a\"}\n".to_owned(), 1, "version 2"),
        (head.to_owned(), 1, "no call"),
        (format!("{head}\n{{\"thread\":\"main\"}}\n"), 3, "no call of a cassette"),
        (
            format!("{head}{}\n", json!({"thread": "main", "asked": {"begins": ""}, "response": {}})),
            2,
            "no message",
        ),
    ] {
        let error = Cassette::parse(&text, "x").expect_err("a mistake");
        assert_eq!(error.line, line, "{error}");
        assert!(error.message.contains(part), "{error}");
    }
    assert!(!Cassette::is_one("title: a script\n"));
}
