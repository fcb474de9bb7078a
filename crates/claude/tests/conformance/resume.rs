//! Going on in another process.

use std::time::Duration;

use holdpoint_claude::{
    Event, Failure, HookAnswer, HookEvent, HookMatcher, Options, PermissionAnswer, SessionChoice, SpawnError,
    transcript,
};
use holdpoint_gateway::testing::{self, TestHandle, TestTickets};
use holdpoint_gateway::{MemoryRecorder, Script};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::model::{Block, Reply, bash, named_call, text};
use crate::world::{Live, World, eventually};

fn touch(id: &str) -> Block {
    named_call(id, "Bash", json!({"command": format!("touch {id}")}))
}

/// Kills the session at its ask, once the transcript has the call: before that a resume finds nothing to go
/// on with.
async fn kill_at_ask(world: &World, session: &Live, tool_use_id: &str) {
    let id = session.handle.session();
    eventually("the call is on disk", || world.transcript(id).contains_tool_use(tool_use_id)).await;
    session.handle.kill().await;
}

async fn resume(world: &World, id: Uuid) -> Live {
    let options = world.options(SessionChoice::resume(id)).resume_interrupted_turn(true);
    world.spawn(options).await.unwrap()
}

async fn allow_next(session: &mut Live) -> (String, Value) {
    let ask = session.ask().await;
    session.handle.answer(&ask.request_id, PermissionAnswer::allow()).await.unwrap();
    (ask.tool_use_id.clone(), ask.input.clone())
}

/// A gateway with a record, behind which the scripted model says everything under fresh ids: what comes back
/// under an old id comes from the record.
const SCENES: &str = r#"
scenes:
  - when: after a completed one
    turns:
      - - {tool: Bash, input: {command: "echo once >> completed"}}
        - {text: Now this., tool: Bash, input: {command: "touch asked"}}
        - {text: done}
  - when: three at once
    turns:
      - - tools:
            - {tool: Bash, input: {command: "touch one"}}
            - {tool: Bash, input: {command: "touch two"}}
            - {tool: Bash, input: {command: "touch three"}}
        - {text: done}
"#;

struct Recorded {
    world: World,
    url: String,
    gateway: TestHandle,
}

impl Recorded {
    async fn new() -> Self {
        let script = Script::parse(SCENES, "scenes").unwrap();
        let (url, gateway) = testing::test_server(script, MemoryRecorder::new()).await.unwrap();
        Self { world: World::new().await, url, gateway }
    }

    /// The record answers a later incarnation of the session, never the one that asked.
    async fn spawn(&self, incarnation: u32, session: SessionChoice) -> Live {
        self.spawn_hooked(incarnation, session, "NoSuchTool").await
    }

    async fn spawn_hooked(&self, incarnation: u32, session: SessionChoice, hooked: &str) -> Live {
        let options = self
            .world
            .options(session)
            .resume_interrupted_turn(true)
            .hook(HookEvent::PreToolUse, HookMatcher::all("pre").tools(hooked))
            .env("ANTHROPIC_BASE_URL", &self.url)
            .env("ANTHROPIC_API_KEY", TestTickets::token(TestTickets::execution("test"), incarnation));
        self.world.spawn(options).await.unwrap()
    }

    /// How many model calls got past the record.
    fn upstream(&self) -> usize {
        self.gateway.journal().answered()
    }
}

#[tokio::test]
async fn case_37_killed_at_an_ask_and_resumed_from_the_record() {
    let stage = Recorded::new().await;
    let mut session = stage.spawn(1, SessionChoice::new()).await;
    let id = session.handle.session();
    session.say("after a completed one").await;
    let (completed, _) = allow_next(&mut session).await;
    let before = session.ask().await;
    eventually("the result is on disk", || stage.world.transcript(id).tool_result(&completed).is_some())
        .await;
    kill_at_ask(&stage.world, &session, &before.tool_use_id).await;
    let exit = session.exit().await;
    assert_eq!((exit.signal, exit.expected), (Some(9), true));
    drop(session);
    assert_eq!(stage.upstream(), 2);

    let mut session = stage.spawn(2, SessionChoice::resume(id)).await;
    let again = session.ask().await;
    assert_eq!((&again.tool_use_id, &again.input), (&before.tool_use_id, &before.input));
    assert_eq!(stage.upstream(), 2, "the record answered");
    session.handle.answer(&again.request_id, PermissionAnswer::allow()).await.unwrap();
    assert!(session.result().await.outcome.is_success());
    assert!(stage.world.made("asked"));
    assert_eq!(std::fs::read_to_string(stage.world.work().join("completed")).unwrap(), "once\n");
    assert!(!stage.world.transcript(id).tool_result(&before.tool_use_id).unwrap().is_error);
    assert_eq!(stage.upstream(), 3);
    session.close().await;
}

/// The same where every call goes past a hook first: the hook is called again, and then the same question
/// comes.
#[tokio::test]
async fn case_37_with_a_hook_in_front() {
    let stage = Recorded::new().await;
    let hook_then_ask = async |session: &mut Live| {
        let (request, hooked) = session
            .until(|event| match event {
                Event::HookCall(call) => Some((call.request_id.clone(), call.tool_use_id.clone())),
                _ => None,
            })
            .await;
        session.handle.answer_hook(&request, HookAnswer::ask("a person decides")).await.unwrap();
        let ask = session.ask().await;
        assert_eq!(Some(&ask.tool_use_id), hooked.as_ref());
        ask
    };
    let mut session = stage.spawn_hooked(1, SessionChoice::new(), "Bash").await;
    let id = session.handle.session();
    session.say("three at once").await;
    let before = hook_then_ask(&mut session).await;
    kill_at_ask(&stage.world, &session, &before.tool_use_id).await;
    drop(session);

    let mut session = stage.spawn_hooked(2, SessionChoice::resume(id), "Bash").await;
    for number in 0..3 {
        let ask = hook_then_ask(&mut session).await;
        if number == 0 {
            assert_eq!((&ask.tool_use_id, &ask.input), (&before.tool_use_id, &before.input));
        }
        session.handle.answer(&ask.request_id, PermissionAnswer::allow()).await.unwrap();
    }
    assert!(session.result().await.outcome.is_success());
    assert_eq!(stage.upstream(), 2);
    session.close().await;
}

/// Three calls in one message, killed at the first and at the second. What has no result yet is asked again.
#[tokio::test]
async fn case_38_three_asks() {
    let names = ["one", "two", "three"];
    for answered in [0, 1] {
        let stage = Recorded::new().await;
        let mut session = stage.spawn(1, SessionChoice::new()).await;
        let id = session.handle.session();
        session.say("three at once").await;
        let mut done = Vec::new();
        for _ in 0..answered {
            done.push(allow_next(&mut session).await.0);
        }
        let ask = session.ask().await;
        // The result of an earlier call reaches the disk after the next ask. A session killed in between
        // forgets it: its host has to know better.
        for tool_use in &done {
            eventually("the result is on disk", || {
                stage.world.transcript(id).tool_result(tool_use).is_some()
            })
            .await;
        }
        kill_at_ask(&stage.world, &session, &ask.tool_use_id).await;
        drop(session);
        for name in &names[..answered] {
            std::fs::remove_file(stage.world.work().join(name)).unwrap();
        }

        let mut session = stage.spawn(2, SessionChoice::resume(id)).await;
        for name in &names[answered..] {
            let (asked, input) = allow_next(&mut session).await;
            assert_eq!(input, json!({"command": format!("touch {name}")}));
            assert!(!done.contains(&asked));
            if *name == names[answered] {
                assert_eq!(asked, ask.tool_use_id);
            }
        }
        assert!(session.result().await.outcome.is_success());
        for (place, name) in names.iter().enumerate() {
            assert_eq!(stage.world.made(name), place >= answered, "{name}: each ran once");
        }
        assert_eq!(stage.upstream(), 2);
        session.close().await;
    }
}

/// Without a record the model is free to want something else. The id and the input tell.
#[tokio::test]
async fn case_38_without_a_record_another_ask_comes() {
    let world = World::new().await;
    world.model.script("go", [Reply::Blocks(vec![touch("toolu_first")])]);
    let mut session = world.session().await;
    let id = session.handle.session();
    session.say("#go").await;
    session.ask().await;
    kill_at_ask(&world, &session, "toolu_first").await;
    drop(session);

    world.model.script("go", [Reply::Blocks(vec![touch("toolu_other")]), text("done")]);
    let mut session = resume(&world, id).await;
    let ask = session.ask().await;
    assert_eq!(ask.tool_use_id, "toolu_other");
    session
        .handle
        .answer(&ask.request_id, PermissionAnswer::deny("that was not the question"))
        .await
        .unwrap();
    assert!(session.result().await.outcome.is_success());
    assert!(!world.made("toolu_first") && !world.made("toolu_other"));
    session.close().await;
}

/// A deferred call comes back as it was, without a model call.
#[tokio::test]
async fn a_deferred_call_comes_back_without_a_model_call() {
    let world = World::new().await;
    let hooked = |options: Options| options.hook(HookEvent::PreToolUse, HookMatcher::all("pre"));
    world.model.script("go", [Reply::Blocks(vec![touch("toolu_deferred")]), text("done")]);
    let mut session = world.session_with(hooked).await;
    let id = session.handle.session();
    session.say("#go").await;
    let hook = |event: &Event| match event {
        Event::HookCall(call) => Some((call.request_id.clone(), call.tool_use_id.clone())),
        _ => None,
    };
    let (request, _) = session.until(hook).await;
    session.handle.answer_hook(&request, HookAnswer::defer("later")).await.unwrap();
    let turn = session.result().await;
    match &turn.outcome {
        holdpoint_claude::Outcome::Success(success) => {
            assert_eq!(success.deferred_tool_use.as_ref().unwrap().id, "toolu_deferred");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(session.close().await.exit.code, Some(0));

    let calls = world.model.requests().len();
    let mut session = world.spawn(hooked(world.options(SessionChoice::resume(id)))).await.unwrap();
    let (request, tool_use) = session.until(hook).await;
    assert_eq!(tool_use.as_deref(), Some("toolu_deferred"));
    assert_eq!(world.model.requests().len(), calls);
    session.handle.answer_hook(&request, HookAnswer::allow("now")).await.unwrap();
    assert!(session.result().await.outcome.is_success());
    assert!(world.made("toolu_deferred"));
    session.close().await;
}

#[tokio::test]
async fn case_39_graceful_close_keeps_the_transcript() {
    let world = World::new().await;
    world.model.script("go", [text("remember me")]);
    let mut session = world.session().await;
    let id = session.handle.session();
    let message = session.say("#go").await;
    let last = loop {
        match session.next().await {
            Event::Assistant(block) => break block.uuid.unwrap(),
            Event::Result(turn) => panic!("{:?}", turn.outcome),
            _ => {}
        }
    };
    session.result().await;
    let report = session.close().await;
    assert_eq!((report.exit.code, report.forced), (Some(0), false));
    let transcript = world.transcript(id);
    assert!(!transcript.torn);
    assert!(transcript.contains_user_message(message) && transcript.contains(last));

    world.model.script("next", [text("I do")]);
    let mut session = world.spawn(world.options(SessionChoice::resume(id))).await.unwrap();
    session.say("#next").await;
    let turn = session.result().await;
    assert_eq!(turn.session_id, id.to_string());
    assert!(world.model.requests().last().unwrap()["messages"].to_string().contains("remember me"));
    session.close().await;
}

#[tokio::test]
async fn a_fork_leaves_the_original_alone() {
    let world = World::new().await;
    world.model.script("go", [text("the trunk")]);
    let mut session = world.session().await;
    let from = session.handle.session();
    session.say("#go").await;
    session.result().await;
    session.close().await;
    let original = std::fs::read(transcript::path(&world.config(), &world.work(), from)).unwrap();

    let into = Uuid::new_v4();
    world.model.script("branch", [text("a branch")]);
    let mut session = world.spawn(world.options(SessionChoice::fork(from, into))).await.unwrap();
    session.say("#branch").await;
    assert_eq!(session.result().await.session_id, into.to_string());
    assert!(world.model.requests().last().unwrap()["messages"].to_string().contains("the trunk"));
    session.close().await;
    assert_eq!(std::fs::read(transcript::path(&world.config(), &world.work(), from)).unwrap(), original);
    assert!(transcript::path(&world.config(), &world.work(), into).is_file());
}

/// Found before the start when there is no transcript at all, and told by the CLI when it belongs to another
/// folder.
#[tokio::test]
async fn case_41_missing_resume_id() {
    let world = World::new().await;
    let id = Uuid::new_v4();
    match world.spawn(world.options(SessionChoice::resume(id))).await.map(drop) {
        Err(SpawnError::UnknownSession { session, .. }) => assert_eq!(session, id),
        other => panic!("{other:?}"),
    }

    let elsewhere = world.config().join("projects/-another-folder");
    std::fs::create_dir_all(&elsewhere).unwrap();
    std::fs::write(elsewhere.join(format!("{id}.jsonl")), "{}\n").unwrap();
    let mut session = world.spawn(world.options(SessionChoice::resume(id))).await.unwrap();
    let turn = session.result().await;
    assert_eq!(turn.outcome.failure(), Some(&Failure::UnknownSession), "{}", turn.raw);
    let exit = session.exit().await;
    assert_eq!((exit.code, exit.expected), (Some(1), false));
    assert!(exit.stderr_tail.contains(&id.to_string()));
    tokio::time::timeout(Duration::from_secs(5), session.handle.initialized()).await.unwrap().unwrap_err();
}

/// An id is a UUID and cannot begin with `-`; the flag's value could, and stays a value all the same.
#[tokio::test]
async fn case_46_a_value_that_looks_like_a_flag_stays_a_value() {
    let world = World::new().await;
    world.model.script("go", [bash("touch asked"), text("done")]);
    let options = world
        .options(SessionChoice::new())
        .model("--version")
        .append_system_prompt("--help")
        .allow_tool("--dangerously-skip-permissions");
    let mut session = world.spawn(options).await.unwrap();
    session.say("#go").await;
    session.ask().await;
    let request = &world.model.requests()[0];
    assert_eq!(request["model"], "--version");
    assert!(request["system"].to_string().contains("--help"));
    session.close().await;

    let raw = |value| {
        world.options(SessionChoice::new()).extra_arg("fork-session", None).extra_arg("resume", Some(value))
    };
    let mut session = world.spawn(raw("--version")).await.unwrap();
    let exit = session.exit().await;
    assert_eq!(exit.code, Some(1), "it looked for a session of that name: {}", exit.stderr_tail);
    assert!(exit.stderr_tail.contains("--version"), "{}", exit.stderr_tail);
}
