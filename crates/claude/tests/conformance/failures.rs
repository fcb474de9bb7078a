//! Turns that fail, and how a host is told.

use std::time::{Duration, Instant};

use holdpoint_claude::{Event, Failure, Options, Outcome};
use serde_json::json;

use crate::model::{Block, Reply, bash, call, named_call, text};
use crate::world::World;

fn retries(session: &crate::world::Live) -> Vec<Option<u16>> {
    session
        .seen
        .iter()
        .filter_map(|event| match event {
            Event::ApiRetry(retry) => Some(retry.error_status),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn case_32_api_retry_then_success() {
    let world = World::new().await;
    world.model.script("go", [Reply::Status(529), Reply::Status(529), text("at last")]);
    let mut session = world.session().await;
    session.say("#go").await;
    assert!(session.result().await.outcome.is_success());
    assert_eq!(retries(&session), [Some(529), Some(529)]);
    session.close().await;
}

#[tokio::test]
async fn case_33_exhausted_retries_are_a_failure() {
    let world = World::new().await;
    world.model.script("go", vec![Reply::Status(529); 3]);
    let mut session = world.session_with(|options| options.max_retries(2)).await;
    session.say("#go").await;
    let turn = session.result().await;
    assert_eq!(turn.subtype, "success", "the CLI's word for it");
    match turn.outcome.failure() {
        Some(Failure::Api { status: Some(529), .. }) => {}
        other => panic!("{other:?} from {}", turn.raw),
    }
    session.close().await;
}

#[tokio::test]
async fn case_34_wrong_credentials_end_the_turn_at_once() {
    let world = World::new().await;
    world.model.script("go", vec![Reply::Status(401); 20]);
    world.model.script("next", [text("with another key, say")]);
    let mut session = world.session().await;
    let begun = Instant::now();
    session.say("#go").await;
    let turn = session.result().await;
    assert_eq!(turn.outcome.failure(), Some(&Failure::Authentication), "{}", turn.raw);
    assert!(world.model.requests().len() <= 3, "{} calls", world.model.requests().len());
    assert!(begun.elapsed() < Duration::from_secs(30), "ten retries take longer");
    session.say("#next").await;
    assert!(session.result().await.outcome.is_success());
    session.close().await;
}

#[tokio::test]
async fn case_34_retries_go_on_when_asked_to() {
    let world = World::new().await;
    world.model.script("go", [Reply::Status(401), Reply::Status(401), text("a hiccup")]);
    let mut session = world.session_with(|options| options.abort_on_auth_failure(false)).await;
    session.say("#go").await;
    assert!(session.result().await.outcome.is_success());
    assert_eq!(retries(&session).len(), 2);
    session.close().await;
}

#[tokio::test]
async fn case_35_max_turns() {
    let world = World::new().await;
    world.model.script("go", [bash("true"), bash("true"), bash("true"), text("never said")]);
    world.model.script("next", [text("the limit is per message")]);
    let options = |options: Options| options.max_turns(2).allow_tool("Bash");
    let mut session = world.session_with(options).await;
    session.say("#go").await;
    assert_eq!(session.result().await.outcome.failure(), Some(&Failure::MaxTurns));
    session.say("#next").await;
    assert!(session.result().await.outcome.is_success());
    session.close().await;
}

#[tokio::test]
async fn case_35_max_budget() {
    let world = World::new().await;
    let blocks: Vec<Block> = vec![named_call("toolu_costly", "Bash", json!({"command": "true"}))];
    let costly = Reply::Costly { blocks, output_tokens: 1_000_000 };
    world.model.script("go", [costly, text("never said")]);
    let options = |options: Options| options.max_budget_usd(0.5).allow_tool("Bash");
    let mut session = world.session_with(options).await;
    session.say("#go").await;
    let turn = session.result().await;
    assert_eq!(turn.outcome.failure(), Some(&Failure::MaxBudget), "{}", turn.raw);
    assert!(turn.total_cost_usd > 0.5);
    session.close().await;
}

#[tokio::test]
async fn case_36_structured_output() {
    let world = World::new().await;
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
    let mut session = world.session_with(|options| options.json_schema(schema)).await;

    world.model.script("good", [call("StructuredOutput", json!({"name": "x"})), text("done")]);
    session.say("#good").await;
    match session.result().await.outcome.clone() {
        Outcome::Success(success) => assert_eq!(success.structured_output, Some(json!({"name": "x"}))),
        other => panic!("{other:?}"),
    }

    // A model that never complies: the CLI reminds it a few times and then reports success.
    world.model.script("bad", (0..20).map(|number| text(&format!("just text {number}"))));
    session.say("#bad").await;
    let turn = session.result().await;
    assert_eq!(turn.outcome.failure(), Some(&Failure::StructuredOutputMissing), "{}", turn.raw);
    session.close().await;
}
