//! The real Claude CLI, killed where it hurts, goes on where it was: the same asks under the same ids
//! and inputs, nothing asked of the upstream twice, every tool run once.

mod driver;

use std::time::Duration;

use anyhow::ensure;
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use driver::{Ask, Stage};

/// What a person does is slow; by then the transcript is on disk.
const A_WHILE: Duration = Duration::from_millis(1_000);

#[tokio::test]
async fn a_lone_ask_is_asked_again_however_often_the_session_is_killed() -> anyhow::Result<()> {
    let mut stage = Stage::new().await?;
    let mut cli = stage.start().await?;
    stage.say(&mut cli, "approve this").await?;
    let (_, first) = cli.ask().await?;
    tokio::time::sleep(A_WHILE).await;
    cli.kill().await?;
    for _ in 0..2 {
        let mut cli = stage.resume().await?;
        let (_, again) = cli.ask().await?;
        ensure!(again == first, "{again:?}");
        tokio::time::sleep(A_WHILE).await;
        cli.kill().await?;
    }
    ensure!(stage.upstream().len() == 1, "{:#?}", stage.upstream());

    let mut cli = stage.resume().await?;
    let ask = cli.ask().await?;
    ensure!(ask.1 == first);
    cli.allow(&ask).await?;
    let result = cli.result().await?;
    ensure!(result.starts_with("Done."), "{result}");
    ensure!(stage.read("approved.txt").lines().count() == 1);
    ensure!(stage.upstream().len() == 2, "{:#?}", stage.upstream());

    // The session goes on as if nothing had been.
    stage.say(&mut cli, "and now").await?;
    ensure!(cli.result().await? == "You said: and now");
    cli.kill().await
}

#[rstest]
#[case::at_the_first(0)]
#[case::at_the_second(1)]
#[case::at_the_third(2)]
#[tokio::test]
async fn of_three_asks_only_the_unanswered_ones_come_again(#[case] answered: usize) -> anyhow::Result<()> {
    let mut stage = Stage::new().await?;
    let mut cli = stage.start().await?;
    stage.say(&mut cli, "three").await?;
    for _ in 0..answered {
        let ask = cli.ask().await?;
        cli.allow(&ask).await?;
        cli.tool_result(&ask.1.tool_use_id).await?;
    }
    let (_, open) = cli.ask().await?;
    tokio::time::sleep(A_WHILE).await;
    cli.kill().await?;

    let mut cli = stage.resume().await?;
    let ask = cli.ask().await?;
    ensure!(ask.1 == open, "{:?} instead of {open:?}", ask.1);
    ensure!(stage.upstream().len() == 1, "{:#?}", stage.upstream());
    cli.allow(&ask).await?;
    for _ in answered + 1..3 {
        let ask = cli.ask().await?;
        cli.allow(&ask).await?;
    }
    ensure!(cli.result().await? == "All three are done.");
    ensure!(stage.read("three.txt") == "one\ntwo\nthree\n", "{:?}", stage.read("three.txt"));
    ensure!(stage.upstream().len() == 2, "{:#?}", stage.upstream());
    cli.kill().await
}

#[rstest]
#[case::none_answered(0)]
#[case::one_answered(1)]
#[case::two_answered(2)]
#[tokio::test]
async fn asks_that_came_at_once_come_again_unless_they_were_answered(
    #[case] answered: usize,
) -> anyhow::Result<()> {
    let mut stage = Stage::new().await?;
    let mut cli = stage.start().await?;
    stage.say(&mut cli, "parallel").await?;
    let asks = cli.asks(3).await?;
    // Answered in reverse, as people do.
    for ask in asks.iter().rev().take(answered) {
        cli.allow(ask).await?;
        cli.tool_result(&ask.1.tool_use_id).await?;
    }
    tokio::time::sleep(A_WHILE).await;
    cli.kill().await?;

    let mut cli = stage.resume().await?;
    let open = cli.asks(3 - answered).await?;
    let ids = |asks: &[(String, Ask)]| asks.iter().map(|ask| ask.1.clone()).collect::<Vec<_>>();
    ensure!(ids(&open) == ids(&asks[..3 - answered]), "{open:#?}");
    ensure!(stage.upstream().len() == 1, "{:#?}", stage.upstream());
    for ask in &open {
        cli.allow(ask).await?;
    }
    ensure!(cli.result().await? == "I have read all three.");
    ensure!(stage.upstream().len() == 2, "{:#?}", stage.upstream());
    cli.kill().await
}

/// In its first moments an ask is on nobody's disk. Whatever is there then, the same ask comes again.
#[rstest]
#[case(0)]
#[case(20)]
#[case(50)]
#[case(100)]
#[tokio::test]
async fn a_kill_in_the_first_moments_of_an_ask_loses_nothing(#[case] delay_ms: u64) -> anyhow::Result<()> {
    let mut stage = Stage::new().await?;
    let mut cli = stage.start().await?;
    let message = Uuid::new_v4();
    cli.say("thinking of it", message).await?;
    let (_, first) = cli.ask().await?;
    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    cli.kill().await?;

    let ask = match stage.transcript() {
        Some(_) => {
            let mut cli = stage.resume().await?;
            let ask = cli.ask().await?;
            cli.kill().await?;
            ask
        }
        None => {
            let mut cli = stage.start().await?;
            cli.say("thinking of it", message).await?;
            let ask = cli.ask().await?;
            cli.kill().await?;
            ask
        }
    };
    ensure!(ask.1 == first, "{:?} instead of {first:?}", ask.1);
    ensure!(stage.upstream().len() == 1, "{:#?}", stage.upstream());
    Ok(())
}

/// No transcript at all: the same message under the same id begins the session again.
#[tokio::test]
async fn a_session_without_a_transcript_begins_again_from_the_record() -> anyhow::Result<()> {
    let mut stage = Stage::new().await?;
    let mut cli = stage.start().await?;
    let message = Uuid::new_v4();
    cli.say("three", message).await?;
    let ask = cli.ask().await?;
    cli.allow(&ask).await?;
    cli.tool_result(&ask.1.tool_use_id).await?;
    let second = cli.ask().await?;
    cli.kill().await?;
    if let Some(transcript) = stage.transcript() {
        std::fs::remove_file(transcript)?;
    }

    let mut cli = stage.start().await?;
    cli.say("three", message).await?;
    let first_again = cli.ask().await?;
    ensure!(first_again.1 == ask.1, "the whole response is there again");
    cli.allow(&first_again).await?;
    let second_again = cli.ask().await?;
    ensure!(second_again.1 == second.1);
    ensure!(stage.upstream().len() == 1, "{:#?}", stage.upstream());
    cli.kill().await
}

#[tokio::test]
async fn thinking_goes_before_its_tool_uses_in_a_part_too() -> anyhow::Result<()> {
    let mut stage = Stage::new().await?;
    let mut cli = stage.start().await?;
    stage.say(&mut cli, "thinking").await?;
    let ask = cli.ask().await?;
    cli.allow(&ask).await?;
    cli.tool_result(&ask.1.tool_use_id).await?;
    let (_, second) = cli.ask().await?;
    tokio::time::sleep(A_WHILE).await;
    cli.kill().await?;

    let mut cli = stage.resume().await?;
    let again = cli.ask().await?;
    ensure!(again.1 == second);
    cli.allow(&again).await?;
    ensure!(cli.result().await? == "Both files are written.");
    // The upstream is as strict about thinking as the API: it would have refused this one.
    ensure!(stage.upstream().iter().all(|entry| entry.outcome == "answered"), "{:#?}", stage.upstream());
    ensure!(stage.upstream().len() == 2);
    ensure!(stage.read("a.txt") == "a\n" && stage.read("b.txt") == "b\n");
    cli.kill().await
}

#[tokio::test]
async fn a_question_is_asked_again() -> anyhow::Result<()> {
    let mut stage = Stage::new().await?;
    let mut cli = stage.start().await?;
    stage.say(&mut cli, "question").await?;
    let (_, first) = cli.ask().await?;
    ensure!(first.tool == "AskUserQuestion");
    tokio::time::sleep(A_WHILE).await;
    cli.kill().await?;

    let mut cli = stage.resume().await?;
    let (request, again) = cli.ask().await?;
    ensure!(again == first);
    let answers =
        json!({"Which colour should the report have?": "Blue", "Which parts should it have?": "Table"});
    cli.allow_with(&request, json!({"questions": again.input["questions"], "answers": answers})).await?;
    let result = cli.result().await?;
    ensure!(result.contains("Blue") && result.contains("Table"), "{result}");
    ensure!(stage.upstream().len() == 2, "{:#?}", stage.upstream());
    cli.kill().await
}

#[tokio::test]
async fn a_plan_is_shown_again() -> anyhow::Result<()> {
    let mut stage = Stage::new().await?.with_arguments(&["--permission-mode", "plan"]);
    let mut cli = stage.start().await?;
    stage.say(&mut cli, "plan").await?;
    let (_, first) = cli.ask().await?;
    ensure!(first.tool == "ExitPlanMode");
    tokio::time::sleep(A_WHILE).await;
    cli.kill().await?;

    let mut cli = stage.resume().await?;
    let again = cli.ask().await?;
    ensure!(again.1 == first, "{:?} instead of {first:?}", again.1);
    ensure!(stage.upstream().len() == 1, "{:#?}", stage.upstream());
    cli.allow(&again).await?;
    let bash = cli.ask().await?;
    ensure!(bash.1.tool == "Bash");
    cli.allow(&bash).await?;
    ensure!(cli.result().await? == "The plan is carried out.");
    cli.kill().await
}

/// A subagent gets a new id in the new process; its asks stay the same. Of two with one prompt it does
/// not matter which is which.
#[rstest]
#[case::one("subagent", 1)]
#[case::two("two-subagents", 2)]
#[case::twins("twins", 2)]
#[tokio::test]
async fn the_ask_of_a_subagent_comes_again(#[case] scene: &str, #[case] asking: usize) -> anyhow::Result<()> {
    let mut stage = Stage::new().await?;
    let mut cli = stage.start().await?;
    stage.say(&mut cli, scene).await?;
    let asks = cli.asks(asking).await?;
    tokio::time::sleep(A_WHILE).await;
    cli.kill().await?;
    let called = stage.upstream().len();
    ensure!(called == 1 + asking, "{:#?}", stage.upstream());

    let mut cli = stage.resume().await?;
    let again = cli.asks(asking).await?;
    let ids = |asks: &[(String, Ask)]| asks.iter().map(|ask| ask.1.clone()).collect::<Vec<_>>();
    ensure!(ids(&again) == ids(&asks), "{again:#?} instead of {asks:#?}");
    ensure!(stage.upstream().len() == called, "{:#?}", stage.upstream());
    for ask in &again {
        cli.allow(ask).await?;
    }
    let result = cli.result().await?;
    ensure!(result.contains("done"), "{result}");
    ensure!(stage.read("errands.txt").lines().count() == asking);
    ensure!(stage.upstream().len() == called + asking + 1, "{:#?}", stage.upstream());
    cli.kill().await
}

/// The second errand's ask is killed when the first errand is done: it is not run again.
#[tokio::test]
async fn a_finished_subagent_is_not_sent_again() -> anyhow::Result<()> {
    let mut stage = Stage::new().await?;
    let mut cli = stage.start().await?;
    stage.say(&mut cli, "twins").await?;
    let asks = cli.asks(2).await?;
    cli.allow(&asks[0]).await?;
    // The tool use that the finished errand answers is an `Agent` one, of the main conversation.
    cli.until(|message| {
        message["type"] == "user"
            && message["parent_tool_use_id"].is_null()
            && message["tool_use_result"].is_object()
    })
    .await?;
    tokio::time::sleep(A_WHILE).await;
    cli.kill().await?;
    let called = stage.upstream().len();

    let mut cli = stage.resume().await?;
    let again = cli.ask().await?;
    ensure!(again.1 == asks[1].1, "{:?} instead of {:?}", again.1, asks[1].1);
    ensure!(stage.upstream().len() == called, "{:#?}", stage.upstream());
    cli.allow(&again).await?;
    ensure!(cli.result().await? == "Both errands are done.");
    ensure!(stage.read("errands.txt").lines().count() == 2);
    cli.kill().await
}

/// Killed while the model still speaks: the gateway hears it out, and the session gets it whole.
#[tokio::test]
async fn a_response_that_was_cut_by_a_kill_is_not_paid_for_twice() -> anyhow::Result<()> {
    let mut stage = Stage::new().await?;
    let mut cli = stage.start().await?;
    stage.say(&mut cli, "long").await?;
    cli.until(|message| message["event"]["type"] == "content_block_delta").await?;
    cli.kill().await?;

    let mut cli = match stage.transcript() {
        Some(_) => stage.resume().await?,
        None => {
            let mut cli = stage.start().await?;
            cli.say("long", Uuid::new_v4()).await?;
            cli
        }
    };
    let result = cli.result().await?;
    ensure!(result.trim_end().ends_with("answer."), "{result}");
    ensure!(stage.upstream().len() == 1, "{:#?}", stage.upstream());
    cli.kill().await
}

/// An interrupt ends the turn, and what was recorded of it is not brought up again.
#[tokio::test]
async fn what_was_interrupted_stays_interrupted() -> anyhow::Result<()> {
    let mut stage = Stage::new().await?;
    let mut cli = stage.start().await?;
    stage.say(&mut cli, "approve").await?;
    cli.ask().await?;
    cli.interrupt().await?;
    cli.until(|message| message["type"] == "result").await?;
    tokio::time::sleep(A_WHILE).await;
    cli.kill().await?;

    let mut cli = stage.resume().await?;
    stage.say(&mut cli, "something else").await?;
    ensure!(cli.result().await? == "You said: something else");
    cli.kill().await
}

/// What the model refuses, or cannot finish, is not said again to the process that has heard it.
#[rstest]
#[case("refusal")]
#[case("max-tokens")]
#[tokio::test]
async fn an_answer_that_the_cli_does_not_keep_is_no_endless_loop(#[case] scene: &str) -> anyhow::Result<()> {
    let mut stage = Stage::new().await?;
    let mut cli = stage.start().await?;
    stage.say(&mut cli, scene).await?;
    cli.until(|message| message["type"] == "result").await?;
    let called = stage.upstream().len();
    ensure!((1..10).contains(&called), "{:#?}", stage.upstream());
    stage.say(&mut cli, "go on").await?;
    cli.until(|message| message["type"] == "result").await?;
    ensure!(stage.upstream().len() > called);
    cli.kill().await
}

#[tokio::test]
async fn trouble_upstream_is_the_clis_to_retry() -> anyhow::Result<()> {
    for (scene, calls) in [("flaky", 3), ("cut", 2), ("sse-error", 2), ("limited", 2)] {
        let mut stage = Stage::new().await?;
        let mut cli = stage.start().await?;
        stage.say(&mut cli, scene).await?;
        let result = cli.result().await?;
        ensure!(!result.is_empty());
        ensure!(stage.upstream().len() == calls, "{scene}: {:#?}", stage.upstream());
        cli.kill().await?;
    }
    Ok(())
}
