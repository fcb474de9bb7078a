//! Two people at one hold.

use holdpoint_tests::{Server, Setup, check_log, of_kind};
use serde_json::json;

/// Races in all.
const RACES: usize = 200;

/// Asks in one message of the model.
const AT_ONCE: usize = 20;

fn script() -> String {
    use std::fmt::Write as _;
    let mut script = "scenes:\n  - turns:\n      -\n".to_owned();
    for message in 0..RACES / AT_ONCE {
        script.push_str("        - tools:\n");
        for ask in 0..AT_ONCE {
            let n = message * AT_ONCE + ask;
            let _ =
                writeln!(script, "            - {{tool: Bash, input: {{command: \"true {n}; : race\"}}}}");
        }
    }
    script.push_str("        - text: done\n");
    script
}

#[tokio::test]
async fn two_answers_at_once_one_wins_and_the_other_is_told_who() -> anyhow::Result<()> {
    let server = Server::start(Setup::script(&script())).await?;
    let other = server.run(&["token", "create", "--name", "Rival", "--role", "approver"])?.trim().to_owned();
    let id = server.ask("claude", "race").await?;
    let mut seen = Vec::new();
    let mut won = [0, 0];
    for _ in 0..RACES {
        let hold = server.hold(&id, "tool", &seen).await?;
        let hold_id = hold["id"].as_str().unwrap_or_default().to_owned();
        let path = format!("/v1/holds/{hold_id}/decision");
        // Refused, so that no command has to run: the race is what counts.
        let body = json!({"action": "deny", "message": "raced"}).to_string();
        let (ours, theirs) = tokio::join!(
            server.post_raw(&path, body.clone(), None),
            server.post_raw(&path, body.clone(), Some(&other))
        );
        let (ours, theirs) = (ours?, theirs?);
        let (winner, loser, name) = match (ours.0, theirs.0) {
            (200, 409) => (0, &theirs.1, "Tess"),
            (409, 200) => (1, &ours.1, "Rival"),
            both => panic!("exactly one must win: {both:?} {} {}", ours.1, theirs.1),
        };
        won[winner] += 1;
        assert_eq!(loser["answered_by"]["name"], name, "{loser}");
        assert!(loser["answered_at"].as_str().is_some_and(|at| at.starts_with("20")), "{loser}");
        seen.push(hold_id);
    }
    server.hold(&id, "reply", &[]).await?;
    let events = server.export(&id)?;
    check_log(&events)?;
    assert_eq!(of_kind(&events, "hold_answered").len(), RACES);
    assert_eq!(of_kind(&events, "release_intent").len(), RACES);
    println!("won: {won:?}");
    Ok(())
}
