//! The checker is tested by planting bugs: a small history without any, and one bug of each kind.

use serde_json::{Value, json};

use super::{Answered, Event, Fault, History, Nonce, Outcome, Recorded, Said, UpstreamCall, check};

pub(super) const ID: &str = "e1";

/// A history in the making.
pub(super) struct Story {
    pub(super) history: History,
}

/// One call that is asked, allowed, carried out, and answered with a text; then a reply, and the end.
pub(super) fn clean() -> Story {
    let recorded = Recorded {
        id: ID.into(),
        scene: "test".into(),
        status: "finished".into(),
        expected_status: "finished".into(),
        transcript: vec!["one abc".into(), "and then".into()],
        ..Recorded::default()
    };
    let mut story = Story { history: History { executions: vec![recorded], ..History::default() } };
    story.say("execution_created", json!({"definition": {"policy": {"repeatable": ["Read(./*)"]}}}));
    story.say("message_queued", json!({"id": "m1", "text": "one abc"}));
    story.say("worker_starting", json!({"incarnation": 1}));
    story.fact(1, "worker_ready", json!({"incarnation": 1}));
    story.say("message_intent", json!({"message": "m1", "incarnation": 1}));
    story.fact(1, "message_delivered", json!({"message": "m1"}));
    story.call("main", 1, 1, "msg_a");
    story.fact(1, "assistant", json!({"message_id": "msg_a", "block": {"type": "text", "text": "One x1."}}));
    story.fact(1, "assistant", tool_use("msg_a", "t1", "/x/note 0 0 n1 one"));
    story.fact(1, "hold_opened", hold("h1", "t1", "/x/note 0 0 n1 one"));
    story.say("hold_answered", decision("h1", &json!({"action": "allow"})));
    story.answered(
        "h1",
        json!({"action": "allow"}),
        json!({"command": "/x/note 0 0 n1 one"}),
        Outcome::Taken,
    );
    story.say("release_intent", json!({"hold": "h1", "incarnation": 1}));
    story.fact(1, "answer_written", json!({"hold": "h1"}));
    story.nonce("n1", "one");
    story.fact(1, "tool_result", json!({"tool_use_id": "t1", "is_error": false, "content": "noted"}));
    story.more("hold_released", json!({"hold": "h1"}));
    story.call("main", 1, 2, "msg_b");
    story.fact(1, "assistant", json!({"message_id": "msg_b", "block": {"type": "text", "text": "Done x2."}}));
    story.fact(1, "turn_ended", json!({"ok": true}));
    story.fact(1, "session_idle", Value::Null);
    let reply = json!({"hold": "h2", "hold_kind": "reply", "subject": {"input": null}});
    story.more("hold_opened", reply);
    let answer = json!({"action": "reply", "text": "and then"});
    story.say("hold_answered", decision("h2", &answer));
    story.answered("h2", json!({"action": "reply", "message": "and then"}), Value::Null, Outcome::Taken);
    story.say("message_queued", json!({"id": "m2", "text": "and then", "hold": "h2"}));
    story.say("message_intent", json!({"message": "m2", "incarnation": 1}));
    story.fact(1, "message_delivered", json!({"message": "m2"}));
    story.more("hold_released", json!({"hold": "h2"}));
    story.call("main", 2, 1, "msg_c");
    story.fact(
        1,
        "assistant",
        json!({"message_id": "msg_c", "block": {"type": "text", "text": "Heard x3."}}),
    );
    story.fact(1, "turn_ended", json!({"ok": true}));
    story.say("execution_finished", json!({"result": "Heard x3."}));
    story.settle();
    story
}

pub(super) fn tool_use(message: &str, call: &str, command: &str) -> Value {
    let input = json!({"command": command});
    json!({"message_id": message, "block": {"type": "tool_use", "id": call, "name": "Bash", "input": input}})
}

pub(super) fn hold(id: &str, call: &str, command: &str) -> Value {
    let subject = json!({"tool": "Bash", "tool_use_id": call, "input": {"command": command}});
    json!({"hold": id, "hold_kind": "tool", "subject": subject})
}

pub(super) fn decision(hold: &str, answer: &Value) -> Value {
    json!({"hold": hold, "decision": {"by": {"name": "Tess"}, "answer": answer}})
}

impl Story {
    pub(super) fn recorded(&mut self) -> &mut Recorded {
        &mut self.history.executions[0]
    }

    fn push(&mut self, told_by: Option<u64>, worker_seq: Option<u64>, kind: &str, data: Value) {
        let events = &mut self.recorded().events;
        let seq = events.len() as u64 + 1;
        let (kind, at) = (kind.to_owned(), String::new());
        events.push(Event { seq, incarnation: told_by, worker_seq, at, kind, data });
    }

    /// An event of the control plane's own.
    pub(super) fn say(&mut self, kind: &str, data: Value) {
        self.push(None, None, kind, data);
    }

    /// A worker's next fact.
    pub(super) fn fact(&mut self, told_by: u64, kind: &str, data: Value) {
        let told = self.recorded().events.iter().filter(|event| event.incarnation == Some(told_by));
        let number = told.filter_map(|event| event.worker_seq).max().unwrap_or(0) + 1;
        self.push(Some(told_by), Some(number), kind, data);
        self.recorded().journals.entry(told_by).or_default().push(number);
    }

    /// One more event of the last fact.
    fn more(&mut self, kind: &str, data: Value) {
        self.push(Some(1), None, kind, data);
    }

    pub(super) fn call(&mut self, thread: &str, turn: usize, step: usize, message: &str) {
        self.history.upstream.push(UpstreamCall {
            execution: ID.into(),
            thread: thread.into(),
            scene: "one".into(),
            turn,
            step,
            outcome: "answered".into(),
            message_id: Some(message.into()),
            tool_use_ids: Vec::new(),
        });
        self.say("model_call", json!({"status": 200}));
    }

    pub(super) fn nonce(&mut self, token: &str, label: &str) {
        self.history.nonces.push(Nonce { execution: ID.into(), token: token.into(), label: label.into() });
    }

    pub(super) fn answered(&mut self, hold: &str, request: Value, shown: Value, outcome: Outcome) {
        let (execution, hold, by) = (ID.to_owned(), hold.to_owned(), "Tess".to_owned());
        self.history.answers.push(Answered { execution, hold, by, request, shown, ran_before: 0, outcome });
    }

    /// Where the first event of a kind is.
    pub(super) fn at(&mut self, kind: &str) -> usize {
        self.recorded().events.iter().position(|event| event.kind == kind).expect(kind)
    }

    /// Numbers the events anew and lets everything be seen, for bugs that are not about that.
    pub(super) fn settle(&mut self) {
        let recorded = self.recorded();
        for (at, event) in recorded.events.iter_mut().enumerate() {
            event.seq = at as u64 + 1;
        }
        recorded.seen = recorded.events.clone();
    }

    /// Puts events in after the first of a kind.
    pub(super) fn insert_after(&mut self, kind: &str, events: &[(&str, Value)]) {
        let at = self.at(kind) + 1;
        for (kind, data) in events.iter().rev() {
            let (kind, data, at_text) = ((*kind).to_owned(), data.clone(), String::new());
            let event = Event { seq: 0, incarnation: None, worker_seq: None, at: at_text, kind, data };
            self.recorded().events.insert(at, event);
        }
        self.settle();
    }

    /// Exactly this is found, and nothing else.
    pub(super) fn finds(&self, fault: Fault) {
        let findings = check(&self.history);
        assert!(findings.count(fault) > 0, "{fault:?} is not found: {:#?}", findings.all);
        let others: Vec<_> = findings.all.iter().filter(|finding| finding.fault != fault).collect();
        assert!(others.is_empty(), "{others:#?}");
    }
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(check(&clean().history).all, []);
    assert_eq!(check(&clean().history).counts().len(), Fault::ALL.len());
}

#[test]
fn an_event_is_missing() {
    let mut story = clean();
    let at = story.at("session_idle");
    story.recorded().events.remove(at);
    story.recorded().seen.clear();
    story.recorded().journals.clear();
    story.finds(Fault::EventLost);
}

#[test]
fn the_last_events_are_missing_after_somebody_saw_them() {
    let mut story = clean();
    story.recorded().events.pop();
    story.finds(Fault::EventLost);
}

#[test]
fn an_event_was_another_when_it_was_seen() {
    let mut story = clean();
    let at = story.at("tool_result");
    story.recorded().seen[at].data["content"] = json!("something else");
    story.finds(Fault::EventLost);
}

#[test]
fn a_journaled_fact_never_came_into_the_log() {
    let mut story = clean();
    story.recorded().journals.entry(1).or_default().push(99);
    story.finds(Fault::EventLost);
}

#[test]
fn a_hold_that_was_shown_is_not_in_the_log() {
    let mut story = clean();
    story.answered("h9", json!({"action": "allow"}), Value::Null, Outcome::Unknown);
    story.finds(Fault::EventLost);
}

#[test]
fn an_event_is_there_twice() {
    let mut story = clean();
    let at = story.at("worker_ready");
    let twin = story.recorded().events[at].clone();
    story.recorded().events.insert(at, twin);
    story.finds(Fault::EventDoubled);
}

#[test]
fn a_fact_is_told_twice() {
    let mut story = clean();
    let at = story.at("session_idle");
    let twin = story.recorded().events[at].clone();
    story.recorded().events.insert(at, twin);
    story.settle();
    story.finds(Fault::EventDoubled);
}

#[test]
fn a_result_is_told_twice() {
    let mut story = clean();
    let result = json!({"tool_use_id": "t1", "is_error": false, "content": "noted"});
    story.insert_after("hold_released", &[("tool_result", result)]);
    story.finds(Fault::EventDoubled);
}

#[test]
fn the_model_says_a_thing_twice() {
    let mut story = clean();
    let again = json!({"message_id": "msg_a_r2", "block": {"type": "text", "text": "One x1."}});
    story.insert_after("hold_released", &[("assistant", again)]);
    story.finds(Fault::EventDoubled);
}

#[test]
fn a_turn_ends_twice() {
    let mut story = clean();
    story.insert_after("turn_ended", &[("turn_ended", json!({"ok": true}))]);
    story.finds(Fault::EventDoubled);
}

#[test]
fn numbers_go_backwards() {
    let mut story = clean();
    story.recorded().events.swap(0, 1);
    story.finds(Fault::EventReordered);
}

#[test]
fn a_worker_speaks_after_its_successor_began() {
    let mut story = clean();
    story.insert_after("message_delivered", &[("worker_starting", json!({"incarnation": 2}))]);
    story.finds(Fault::EventReordered);
}

#[test]
fn a_viewer_was_sent_events_in_another_order() {
    let mut story = clean();
    story.recorded().seen.swap(3, 4);
    story.finds(Fault::EventReordered);
}

#[test]
fn a_reply_was_delivered_twice() {
    let mut story = clean();
    story.insert_after("session_idle", &[("message_delivered", json!({"message": "m1"}))]);
    story.finds(Fault::ReplySentTwice);
}

#[test]
fn a_reply_was_sent_again_while_it_was_on_its_way() {
    let mut story = clean();
    story.insert_after("message_intent", &[("message_intent", json!({"message": "m1"}))]);
    story.finds(Fault::ReplySentTwice);
}

#[test]
fn the_session_was_told_a_reply_twice() {
    let mut story = clean();
    story.recorded().transcript.push("and then".into());
    story.finds(Fault::ReplySentTwice);
}

#[test]
fn the_model_was_shown_more_messages_than_were_written() {
    let mut story = clean();
    story.history.upstream[2].turn = 3;
    story.finds(Fault::ReplySentTwice);
}

#[test]
fn a_reply_never_reached_the_session() {
    let mut story = clean();
    let at = story.at("execution_finished");
    story.insert_after("session_idle", &[("message_queued", json!({"id": "m3", "text": "hello?"}))]);
    assert!(at > 0);
    story.finds(Fault::ReplyLost);
}

#[test]
fn a_message_that_was_taken_is_not_in_the_log() {
    let mut story = clean();
    let (execution, text) = (ID.to_owned(), "into the void".to_owned());
    story.history.said.push(Said { execution, text, outcome: Outcome::Taken });
    story.finds(Fault::ReplyLost);
}

#[test]
fn the_model_was_never_shown_a_reply() {
    let mut story = clean();
    story.history.upstream[2].turn = 1;
    story.history.upstream[2].step = 3;
    story.finds(Fault::ReplyLost);
}
