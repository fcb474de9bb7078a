use holdpoint_model::{Actor, ExecutionId, SessionId, event::Created, event::Message, event::SendMode};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::panel::parts::View;

fn log(bodies: Vec<EventBody>) -> Vec<Event> {
    let execution = ExecutionId(Uuid::nil());
    let bodies = std::iter::once(EventBody::ExecutionCreated(Box::new(Created {
        agent: "claude".into(),
        definition: holdpoint_model::AgentDef::builtin(),
        title: "Title".into(),
        owner: Actor::system("test"),
        session: SessionId(Uuid::nil()),
        inputs: std::collections::BTreeMap::new(),
        rehearsal: false,
        forked_from: None,
    })))
    .chain(bodies);
    bodies
        .enumerate()
        .map(|(n, body)| Event {
            execution,
            seq: n as u64 + 1,
            at: n as i64 * 1000,
            incarnation: None,
            worker_seq: None,
            body,
        })
        .collect()
}

fn view() -> View<'static> {
    View {
        execution: ExecutionId(Uuid::nil()),
        now: 0,
        may_decide: true,
        may_steer: true,
        is_operator: false,
        past: false,
        back: "/",
    }
}

fn call(id: &str, parent: Option<&str>) -> EventBody {
    EventBody::Assistant(AssistantBlock {
        message_id: "m".into(),
        block: Block::ToolUse { id: id.into(), name: "Bash".into(), input: json!({"command": "ls"}) },
        parent_tool_use_id: parent.map(str::to_owned),
    })
}

#[test]
fn what_comes_live_is_what_a_page_shows() {
    let message = Message {
        id: MessageId(Uuid::nil()),
        text: "hi".into(),
        files: Vec::new(),
        mode: SendMode::Queue,
        by: Actor::system("x"),
        hold: None,
    };
    let events = log(vec![
        EventBody::MessageQueued(message),
        call("a", None),
        call("a", None),
        call("b", Some("a")),
        EventBody::Notice { level: Level::Warning, text: "careful".into() },
    ]);
    let mut timeline = Timeline::default();
    let mut touched = Vec::new();
    for event in &events {
        touched.extend(timeline.apply(event).expect("log"));
    }
    let page = timeline.rounds(0, timeline.len(), &view()).into_string();
    let live = timeline.fragments(&touched, &view()).into_string();
    for id in ["id=\"m-", "id=\"t-a\"", "id=\"t-b\"", "careful"] {
        assert_eq!(page.matches(id).count(), 1, "{id} in {page}");
        assert_eq!(live.matches(id).count(), 1, "{id} in {live}");
    }
    assert!(live.contains("data-into=\"sub-a\""), "{live}");
    timeline.forget_settled();
    assert!(timeline.items.iter().filter(|item| matches!(item, Item::Gone)).count() >= 1);
    assert!(
        timeline.rounds(0, timeline.len(), &view()).into_string().contains("t-a"),
        "a running call is kept"
    );
}

#[test]
fn a_log_that_is_none_is_refused() {
    let mut events = log(vec![call("a", None)]);
    events.remove(0);
    Timeline::default().apply(&events[0]).expect_err("no first event");
}
