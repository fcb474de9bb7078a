//! What a conversation runs on: kept, stamped on decisions, changed by choice alone.

use serde_json::json;

use super::*;
use crate::event::{AssistantBlock, Block};
use crate::release::{SUGGEST_TOOL_NAME, Stamp};
use crate::{Digest, Residency, Verdict};

fn stamp(number: u32) -> Stamp {
    Stamp { number, lock: Digest::of_bytes(&[1]), image: Some(format!("sha256:{number}")), project: None }
}

fn moved(number: u32) -> Command {
    let definition = AgentDef { title: format!("of {number}"), ..AgentDef::builtin() };
    Command::Move { release: stamp(number), definition: Box::new(definition), by: person("ada") }
}

#[test]
fn it_moves_while_it_waits_and_never_while_it_works() {
    let mut run = Run::working(AgentDef::builtin());
    assert_eq!(run.refused(moved(2)), Refusal::AtWork);
    let mut run = Run::new(AgentDef::builtin());
    assert_eq!(kinds(&run.does(moved(2))), ["release_changed"], "no worker yet");
    assert!(!run.execution.is_moving);
    assert_eq!(run.execution.definition.title, "of 2");
    assert_eq!(kinds(&run.does(moved(2))), [""; 0], "it is there already");

    // A warm worker is of the old release, and is to end as soon as it can.
    let mut run = Run::at_rest(AgentDef::builtin());
    run.does(moved(3));
    assert!(run.execution.is_moving);
    let incarnation = run.execution.incarnation;
    run.does(Command::WorkerGone { incarnation, how: Gone::Parked });
    assert!(!run.execution.is_moving);
    assert_eq!((run.execution.residency, run.execution.release.clone()), (Residency::Parked, Some(stamp(3))));

    run.does(Command::Cancel { by: person("ada") });
    assert!(matches!(run.refused(moved(4)), Refusal::Ended(_)));
    assert_eq!(Execution::rebuild(&run.log).expect("a log"), run.execution);
}

#[test]
fn decisions_say_what_it_ran_on() {
    let (mut run, hold) = Run::asking(AgentDef::builtin(), "a");
    let decided = |events: Vec<EventBody>| match &events[0] {
        EventBody::HoldAnswered { decision, .. } => decision.release,
        other => panic!("{other:?}"),
    };
    let request = DecisionRequest { action: "allow".into(), ..DecisionRequest::default() };
    run.does(moved(7));
    assert_eq!(decided(run.does(Command::Decide { hold, request, by: person("ada") })), Some(7));
}

#[test]
fn a_missing_package_is_in_the_log_once_and_nobody_is_asked() {
    let input = json!({"name": "pandas", "kind": "python", "purpose": "tables", "workaround": "csv"});
    let block = |input: &Value| {
        Fact::Assistant(AssistantBlock {
            message_id: "m".into(),
            block: Block::ToolUse { id: "t".into(), name: SUGGEST_TOOL_NAME.into(), input: input.clone() },
            parent_tool_use_id: None,
        })
    };
    let mut run = Run::working(AgentDef::builtin());
    assert_eq!(kinds(&run.fact(block(&input))), ["assistant", "dependency_suggested"]);
    assert_eq!(kinds(&run.fact(block(&json!({"name": 7})))), ["assistant"], "it is told what is missing");
    let policy = AgentDef::builtin().policy;
    assert!(matches!(policy.verdict(SUGGEST_TOOL_NAME, &input, None), Verdict::Allow(_)));
}
