//! Turns that are more than question and answer: background work, subagents, questions, plans, checkpoints.

use holdpoint_claude::dialog::Answers;
use holdpoint_claude::{Event, PermissionAnswer, PermissionMode, PermissionUpdate, TaskPhase};
use serde_json::json;

use crate::model::{bash, call, text};
use crate::world::World;

#[tokio::test]
async fn case_23_background_turn() {
    let world = World::new().await;
    let background = json!({"command": "sleep 1; echo the end", "run_in_background": true});
    world.model.script("go", [call("Bash", background), text("it runs"), text("it has ended")]);
    let mut session = world.session_with(|options| options.allow_tool("Bash")).await;
    session.say("#go").await;
    let first = session.result().await;
    assert!(first.outcome.is_success() && first.origin.is_none());
    session
        .until(|event| match event {
            Event::Task(task) => (task.phase == TaskPhase::Notification).then_some(()),
            _ => None,
        })
        .await;
    let second = session.result().await;
    assert_eq!(second.origin.as_deref(), Some("task-notification"), "a turn without a message");
    session.close().await;
}

#[tokio::test]
async fn case_24_subagent_ask() {
    let world = World::new().await;
    let task = json!({
        "description": "a helper", "prompt": "do it #sub", "subagent_type": "general-purpose",
        "run_in_background": false,
    });
    world.model.script("go", [call("Task", task), text("main done")]);
    world.model.script("sub", [bash("touch by-the-helper"), text("helper done")]);
    let mut session = world.session().await;
    session.say("#go").await;
    let ask = session.ask().await;
    assert!(ask.agent_id.is_some(), "{}", ask.raw);
    let speaks = session.seen.iter().any(|event| match event {
        Event::Assistant(message) => {
            message.parent_tool_use_id.is_some() && message.tool_uses().any(|(id, ..)| id == ask.tool_use_id)
        }
        _ => false,
    });
    assert!(speaks, "the call is seen under the same id: {:#?}", session.kinds());
    session.handle.answer(&ask.request_id, PermissionAnswer::allow()).await.unwrap();
    assert!(session.result().await.outcome.is_success());
    assert!(world.made("by-the-helper"));
    session.close().await;
}

#[tokio::test]
async fn case_25_question() {
    let world = World::new().await;
    let options = json!([{"label": "Postgres", "description": "p"}, {"label": "SQLite", "description": "s"}]);
    let questions = json!({"questions": [
        {"question": "Which database?", "header": "DB", "options": options, "multiSelect": false},
        {"question": "Which features?", "header": "F", "options": options, "multiSelect": true},
    ]});
    let mut session = world.session().await;
    let answers = [
        Answers::new().answer("Which database?", "SQLite").choose("Which features?", &["Postgres", "SQLite"]),
        Answers::new()
            .answer("Which database?", "neither, a plain file")
            .note("Which database?", "it is small"),
        Answers::new(),
    ];
    for answers in answers {
        world.model.script("ask", [call("AskUserQuestion", questions.clone()), text("thank you")]);
        session.say("#ask").await;
        let ask = session.ask().await;
        assert!(ask.requires_user_interaction);
        let asked = ask.questions().unwrap();
        assert_eq!(asked[0].options[1].label, "SQLite");
        assert!(asked[1].multi_select);
        session.handle.answer(&ask.request_id, ask.answer_questions(answers)).await.unwrap();
        assert!(session.result().await.outcome.is_success());
    }
    for told in ["Postgres, SQLite", "neither, a plain file", "it is small"] {
        assert!(world.model.saw(told), "the model was told: {told}");
    }
    session.close().await;
}

#[tokio::test]
async fn case_26_plan_edit() {
    let world = World::new().await;
    world.model.script("look", [text("hm")]);
    let mut session = world.session_with(|options| options.permission_mode(PermissionMode::Plan)).await;
    session.say("#look").await;
    session.result().await;
    // The CLI tells the model where to write its plan.
    let told = world.model.requests()[0].to_string();
    let plans = world.config().join("plans").to_str().unwrap().to_owned();
    let start = told.find(&plans).unwrap_or_else(|| panic!("no {plans} in {told}"));
    let end = start + told[start..].find(".md").unwrap() + 3;
    let file = &told[start..end];

    let write = json!({"file_path": file, "content": "# The plan\n"});
    world.model.script("plan", [call("Write", write), call("ExitPlanMode", json!({})), text("on it")]);
    session.say("#plan").await;
    let ask = session.ask().await;
    let plan = ask.plan().unwrap();
    assert_eq!(plan.text.as_deref(), Some("# The plan\n"));
    assert_eq!(plan.file.as_deref(), Some(file));
    let answer = ask
        .approve_edited_plan("# Another plan\n")
        .and(PermissionUpdate::set_mode(PermissionMode::AcceptEdits));
    session.handle.answer(&ask.request_id, answer).await.unwrap();
    let edited = session
        .until(|event| match event {
            Event::UserFrame(frame) => frame.tool_use_result.clone(),
            _ => None,
        })
        .await;
    assert_eq!(edited["planWasEdited"], true, "{edited}");
    assert!(session.result().await.outcome.is_success());
    assert!(world.model.saw("# Another plan"));
    let modes: Vec<_> = session
        .seen
        .iter()
        .filter_map(|event| match event {
            Event::Status(status) => status.permission_mode.clone(),
            _ => None,
        })
        .collect();
    assert_eq!(modes.last().map(String::as_str), Some("acceptEdits"), "{modes:?}");
    session.close().await;
}

#[tokio::test]
async fn case_47_rewind_files() {
    let world = World::new().await;
    let file = world.work().join("file");
    std::fs::write(&file, "before\n").unwrap();
    let edit = json!({"file_path": file, "old_string": "before", "new_string": "after"});
    let created = json!({"file_path": world.work().join("created"), "content": "new"});
    let read = call("Read", json!({"file_path": file}));
    world.model.script("go", [read, call("Edit", edit), call("Write", created), text("done")]);
    let options = |options: holdpoint_claude::Options| {
        options.file_checkpointing(true).permission_mode(PermissionMode::AcceptEdits)
    };
    let mut session = world.session_with(options).await;
    let message = session.say("#go").await;
    assert!(session.result().await.outcome.is_success());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "after\n");

    let look = session.handle.rewind_files(message, true).await.unwrap();
    assert!(look.can_rewind);
    assert_eq!(look.files_changed.len(), 2);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "after\n", "it only looked");
    assert!(session.handle.rewind_files(message, false).await.unwrap().can_rewind);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "before\n");
    assert!(!world.made("created"));
    session.close().await;
}
