//! Hooks that call back, and how they stand to permission asks.

use std::time::Duration;

use holdpoint_claude::{
    Event, HookAnswer, HookCall, HookEvent, HookMatcher, OnHookFailure, Options, PermissionAnswer,
    PermissionMode,
};
use serde_json::{Map, Value, json};

use crate::model::{bash, call, calls, text};
use crate::world::{Live, World};

fn pre_tool_use(options: Options) -> Options {
    options.hook(HookEvent::PreToolUse, HookMatcher::all("pre"))
}

async fn hook(session: &mut Live) -> HookCall {
    session
        .until(|event| match event {
            Event::HookCall(call) => Some(HookCall::clone(call)),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn case_27_hook_deny() {
    let world = World::new().await;
    world.model.script("go", [bash("touch denied"), text("as you wish")]);
    let mut session = world.session_with(pre_tool_use).await;
    session.say("#go").await;
    let hook = hook(&mut session).await;
    assert_eq!(hook.tool_name.as_deref(), Some("Bash"));
    session.handle.answer_hook(&hook.request_id, HookAnswer::deny("the hook says no")).await.unwrap();
    assert!(session.result().await.outcome.is_success());
    assert_eq!(session.asks(), 0, "nobody is asked after a hook's no");
    assert!(!world.made("denied"));
    assert!(world.model.saw("the hook says no"), "the model reads the reason");
    session.close().await;
}

#[tokio::test]
async fn case_27_hook_allow_with_rewrite_skips_the_ask() {
    let world = World::new().await;
    world.model.script("go", [bash("touch original"), text("done")]);
    let mut session = world.session_with(pre_tool_use).await;
    session.say("#go").await;
    let hook = hook(&mut session).await;
    let edited = json!({"command": "touch edited"}).as_object().cloned().unwrap();
    let answer = HookAnswer::allow("the hook says yes").with_input(edited);
    session.handle.answer_hook(&hook.request_id, answer).await.unwrap();
    assert!(session.result().await.outcome.is_success());
    assert_eq!(session.asks(), 0);
    assert!(world.made("edited") && !world.made("original"));
    session.close().await;
}

/// `ask` puts the question to the host, also for a tool that runs unasked by itself, with the same call.
#[tokio::test]
async fn case_27_hook_ask_leads_to_the_same_call() {
    let world = World::new().await;
    std::fs::write(world.work().join("file"), "readable").unwrap();
    let read = json!({"file_path": world.work().join("file")});
    world.model.script(
        "go",
        [calls([("Read", read.clone()), ("Bash", json!({"command": "touch asked"}))]), text("done")],
    );
    let mut session = world.session_with(pre_tool_use).await;
    session.say("#go").await;
    let mut hooks = Vec::new();
    let mut asks = Vec::new();
    while asks.len() < 2 {
        match session.next().await {
            Event::HookCall(call) => {
                session
                    .handle
                    .answer_hook(&call.request_id, HookAnswer::ask("a person decides"))
                    .await
                    .unwrap();
                hooks.push((call.tool_use_id.clone(), call.tool_input.clone()));
            }
            Event::Ask(ask) => {
                asks.push((Some(ask.tool_use_id.clone()), Some(ask.input.clone())));
                session.handle.answer(&ask.request_id, PermissionAnswer::allow()).await.unwrap();
            }
            Event::Result(turn) => panic!("over without asking: {}", turn.raw),
            _ => {}
        }
    }
    assert!(session.result().await.outcome.is_success());
    hooks.sort_by_key(|(id, _)| id.clone());
    asks.sort_by_key(|(id, _)| id.clone());
    assert_eq!(hooks, asks, "the same ids and inputs");
    assert!(world.made("asked"));
    session.close().await;
}

#[tokio::test]
async fn case_27_hook_ask_in_a_subagent() {
    let world = World::new().await;
    let task = json!({
        "description": "a helper", "prompt": "do it #sub", "subagent_type": "general-purpose",
        "run_in_background": false,
    });
    world.model.script("go", [call("Task", task), text("main done")]);
    world.model.script("sub", [bash("touch by-the-helper"), text("helper done")]);
    let mut session = world.session_with(pre_tool_use).await;
    session.say("#go").await;
    let mut hooked = None;
    loop {
        match session.next().await {
            Event::HookCall(call) if call.tool_name.as_deref() == Some("Bash") => {
                assert!(call.agent_id.is_some(), "{}", call.raw);
                hooked = call.tool_use_id.clone();
                session
                    .handle
                    .answer_hook(&call.request_id, HookAnswer::ask("a person decides"))
                    .await
                    .unwrap();
            }
            Event::HookCall(call) => {
                session.handle.answer_hook(&call.request_id, HookAnswer::pass()).await.unwrap();
            }
            Event::Ask(ask) => {
                assert_eq!(Some(&ask.tool_use_id), hooked.as_ref());
                assert_eq!(ask.input["command"], "touch by-the-helper");
                assert!(ask.agent_id.is_some());
                session.handle.answer(&ask.request_id, PermissionAnswer::allow()).await.unwrap();
            }
            Event::Result(turn) => {
                assert!(turn.outcome.is_success());
                break;
            }
            _ => {}
        }
    }
    assert_eq!(session.asks(), 1);
    assert!(world.made("by-the-helper"));
    session.close().await;
}

/// An error of a hook opens the door, unless the hook was declared otherwise.
#[tokio::test]
async fn case_27_hook_error() {
    for (on_failure, runs) in [(OnHookFailure::Continue, true), (OnHookFailure::Block, false)] {
        let world = World::new().await;
        world.model.script("go", [bash("touch ran"), text("done")]);
        let matcher = HookMatcher::all("pre").tools("Bash").on_failure(on_failure);
        let options = |options: Options| options.hook(HookEvent::PreToolUse, matcher).allow_tool("Bash");
        let mut session = world.session_with(options).await;
        session.say("#go").await;
        let hook = hook(&mut session).await;
        session.handle.answer_hook(&hook.request_id, HookAnswer::error("it broke")).await.unwrap();
        session.result().await;
        assert_eq!(world.made("ran"), runs, "{on_failure:?}");
        session.close().await;
    }
}

/// A hook that never answers is withdrawn when its time is up, and the tool is not run.
#[tokio::test]
async fn case_27_hook_hang() {
    let world = World::new().await;
    world.model.script("go", [bash("touch ran"), text("done")]);
    let matcher = HookMatcher::all("pre").timeout(Duration::from_secs(2));
    let options = |options: Options| options.hook(HookEvent::PreToolUse, matcher).allow_tool("Bash");
    let mut session = world.session_with(options).await;
    session.say("#go").await;
    let hook = hook(&mut session).await;
    session
        .until(|event| match event {
            Event::AskWithdrawn(id) => (*id == hook.request_id).then_some(()),
            _ => None,
        })
        .await;
    let late = session.handle.answer_hook(&hook.request_id, HookAnswer::allow("late")).await.unwrap();
    assert_eq!(late, holdpoint_claude::AnswerOutcome::Withdrawn);
    session.result().await;
    assert!(!world.made("ran"));
    session.close().await;
}

/// One Bash call, with a hook that gives `verdict`: how many asks followed, and whether the command ran once
/// a person had allowed it.
async fn after_hook(verdict: HookAnswer, change: impl FnOnce(Options) -> Options) -> (usize, bool) {
    let world = World::new().await;
    world.model.script("go", [bash("touch ran"), text("done")]);
    let mut session = world.session_with(|options| change(pre_tool_use(options))).await;
    session.say("#go").await;
    let called = hook(&mut session).await;
    session.handle.answer_hook(&called.request_id, verdict).await.unwrap();
    loop {
        match session.next().await {
            Event::Ask(ask) => {
                assert_eq!(Some(&ask.tool_use_id), called.tool_use_id.as_ref());
                session.handle.answer(&ask.request_id, PermissionAnswer::allow()).await.unwrap();
            }
            Event::Result(_) => break,
            _ => {}
        }
    }
    let asks = session.asks();
    session.close().await;
    (asks, world.made("ran"))
}

fn rules(kind: &str) -> Map<String, Value> {
    json!({"permissions": {kind: ["Bash(touch *)"]}}).as_object().cloned().unwrap()
}

/// `ask` reaches the host in every mode, and whatever an allow rule says. Only a deny rule is stronger.
#[tokio::test]
async fn a_hooks_ask_outranks_everything_but_a_deny() {
    use PermissionMode::{AcceptEdits, Auto, DontAsk, Plan};
    let ask = || HookAnswer::ask("a person decides");
    assert_eq!(after_hook(ask(), |options| options.allow_tool("Bash")).await, (1, true));
    for mode in [AcceptEdits, Plan, DontAsk, Auto] {
        assert_eq!(after_hook(ask(), |options| options.permission_mode(mode)).await, (1, true), "{mode:?}");
    }
    assert_eq!(after_hook(ask(), |options| options.settings(rules("deny"))).await, (0, false));
}

/// `allow` saves the question, also in `dontAsk`, but not where a rule denies or asks, nor in plan mode.
#[tokio::test]
async fn a_hooks_allow_outranks_no_rule() {
    let allow = || HookAnswer::allow("the policy says yes");
    assert_eq!(after_hook(allow(), |options| options).await, (0, true));
    let dont_ask = |options: Options| options.permission_mode(PermissionMode::DontAsk);
    assert_eq!(after_hook(allow(), dont_ask).await, (0, true));
    assert_eq!(after_hook(allow(), |options| options.settings(rules("ask"))).await, (1, true));
    assert_eq!(after_hook(allow(), |options| options.settings(rules("deny"))).await, (0, false));
    let plan = |options: Options| options.permission_mode(PermissionMode::Plan);
    assert_eq!(after_hook(allow(), plan).await, (0, false));
}

/// The question carries the hook's reason and its edit; no lasting permission is offered with it.
#[tokio::test]
async fn a_hooks_ask_carries_its_reason_and_its_edit() {
    let world = World::new().await;
    world.model.script("go", [bash("touch original"), text("done")]);
    let mut session = world.session_with(pre_tool_use).await;
    session.say("#go").await;
    let hook = hook(&mut session).await;
    let edited = json!({"command": "touch edited"});
    let answer = HookAnswer::ask("it looks odd").with_input(edited.as_object().cloned().unwrap());
    session.handle.answer_hook(&hook.request_id, answer).await.unwrap();
    let ask = session.ask().await;
    assert_eq!(ask.input, edited);
    assert_eq!(ask.decision_reason.as_deref(), Some("it looks odd"));
    assert_eq!(ask.decision_reason_type.as_deref(), Some("hook"));
    assert!(ask.suggestions.is_empty());
    session.handle.answer(&ask.request_id, PermissionAnswer::allow()).await.unwrap();
    assert!(session.result().await.outcome.is_success());
    assert!(world.made("edited") && !world.made("original"));
    session.close().await;
}
