//! Releases in the panel: the list, the page of each, the way of a conversation to the present one, and the card about a
//! package that is missing.

use holdpoint_model::{Role, release::SUGGEST_TOOL_NAME};
use serde_json::json;

use crate::{
    releases::deploy,
    support::{
        World, person,
        seed::{Seed, lock},
    },
};

/// An operator's world: their token, their cookie.
async fn world() -> (World, String, String) {
    let world = World::new().await;
    let (user, token) = world.user("olga", Role::Operator).await;
    let cookie = world.cookie(user).await;
    (world, token, cookie)
}

#[tokio::test]
async fn releases_are_listed_looked_at_and_made_current_again() {
    let (world, token, cookie) = world().await;
    let empty = world.page("/releases", &cookie).await.expect(200);
    assert!(empty.text().contains("id=\"empty\"") && empty.text().contains("holdpoint deploy"));
    let operations = world.page("/operations", &cookie).await.expect(200);
    assert!(operations.text().contains("Nothing was deployed yet"), "{}", operations.text());

    deploy(&world, &token, &lock("1")).await;
    deploy(&world, &token, &lock("2")).await;
    world.post("/v1/releases", &token, &json!({"lock": lock("3")})).await.expect(200);
    let list = world.page("/releases", &cookie).await.expect(200);
    let places: Vec<_> = [
        "data-release=\"3\" data-state=\"building\"",
        "data-release=\"2\" data-state=\"current\"",
        "<span class=\"row-changes\">plugin review@tools</span>",
        "data-release=\"1\" data-state=\"retired\"",
        "Holdpoint, Claude CLI, plugin review@tools",
    ]
    .iter()
    .map(|part| list.text().rfind(part).unwrap_or_else(|| panic!("{part} in {}", list.text())))
    .collect();
    assert!(places.is_sorted(), "newest first: {places:?}");
    let operations = world.page("/operations", &cookie).await.expect(200);
    assert!(operations.text().contains("href=\"/releases\">Release 2 is current</a>"));

    for (number, button) in [(1, true), (2, false), (3, false)] {
        let page = world.page(&format!("/releases/{number}"), &cookie).await.expect(200);
        assert_eq!(page.text().contains("data-action=\"activate\""), button, "{number}");
    }
    let page = world.page("/releases/2", &cookie).await.expect(200);
    assert!(page.text().contains("plugin review@tools: 1 → 2"), "{}", page.text());
    let page = world.page("/releases/1", &cookie).await.expect(200);
    for part in ["and no longer on release 2", "data-verification", "data-step=\"current\"", "2.1.330"] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    let back = world.form("/releases/1/activate", &cookie, &[]).await.expect(303);
    assert_eq!(back.header("location"), "/releases/1");
    assert_eq!(world.control.release().map(|release| release.number), Some(1));
    let untried = world.form("/releases/3/activate", &cookie, &[]).await.expect(409);
    assert!(untried.text().contains("holdpoint deploy") && untried.text().contains("href=\"/releases/3\""));
    for number in ["0", "7", "abc", "1099511627776"] {
        world.page(&format!("/releases/{number}"), &cookie).await.expect(404);
        world.form(&format!("/releases/{number}/activate"), &cookie, &[]).await.expect(404);
    }
}

#[tokio::test]
async fn an_operator_moves_a_conversation_and_everybody_is_told() {
    let (world, token, cookie) = world().await;
    deploy(&world, &token, &lock("1")).await;
    let (ada, her) = world.user("ada", Role::Asker).await;
    let hers = world.cookie(ada).await;
    let body = json!({"agent": "claude", "inputs": {"prompt": "work"}});
    let started = world.post("/v1/executions", &her, &body).await.expect(201).json();
    let place = format!("/executions/{}", started["id"].as_str().expect("an id"));
    let mut seed = Seed::of(&world.store, started["id"].as_str().expect("an id").parse().expect("an id"));
    seed.work().await;
    seed.turn_ended("Done").await;
    let offered = |text: &str| text.contains("data-action=\"move\"");
    let page = world.page(&place, &cookie).await.expect(200);
    assert!(
        page.text().contains("data-fact=\"release\"") && !offered(page.text()),
        "it is on the current one"
    );

    deploy(&world, &token, &lock("2")).await;
    let page = world.page(&place, &cookie).await.expect(200);
    assert!(offered(page.text()) && page.text().contains("Move to release 2…"), "{}", page.text());
    let page = world.page(&place, &hers).await.expect(200);
    assert!(!offered(page.text()) && !page.text().contains("data-fact=\"release\""), "for operators");
    let path = format!("{place}/move");
    world.form(&path, &hers, &[("release", "2")]).await.expect(403);
    for wrong in ["", "x", "9"] {
        world.form(&path, &cookie, &[("release", wrong)]).await.expect(404);
    }
    world.form(&path, &cookie, &[("release", "2")]).await.expect(303);
    let said = "olga moved this conversation to release 2.";
    for cookie in [&cookie, &hers] {
        let page = world.page(&place, cookie).await.expect(200);
        assert!(page.text().contains(said) && !offered(page.text()), "{}", page.text());
    }
    let markdown = world.page(&format!("{place}/export.md"), &hers).await.expect(200);
    assert!(markdown.text().contains(&format!("> {said}")), "{}", markdown.text());
    let last = world.store.execution(seed.id).await.expect("read").expect("execution").seq;
    let replay = world.page(&format!("{place}/replay?at={last}"), &hers).await.expect(200);
    assert!(replay.text().contains(said));
    let events = world.page(&format!("{place}/events?kind=release_changed"), &hers).await.expect(200);
    assert!(events.text().contains("data-event=\"release_changed\""));
}

#[tokio::test]
async fn a_missing_package_is_a_card_that_says_which_file_to_change() {
    let (world, ..) = world().await;
    let (ada, _) = world.user("ada", Role::Asker).await;
    let cookie = world.cookie(ada).await;
    let mut seed = Seed::create(&world.store, &person(ada, "ada"), "Tables", "Read the tables").await;
    seed.work().await;
    let suggested = json!({"name": "pandas", "kind": "python", "purpose": "Reading *tables*", "workaround": "The `csv` module"});
    seed.call("toolu_1", SUGGEST_TOOL_NAME, suggested).await;
    let hostile =
        json!({"name": "<img src=x>", "kind": "system", "purpose": "\n# Heading", "workaround": "|"});
    seed.call("toolu_2", SUGGEST_TOOL_NAME, hostile).await;
    let place = format!("/executions/{}", seed.id);
    let page = world.page(&place, &cookie).await.expect(200);
    for part in [
        "data-suggestion=\"dependencies/requirements.txt\"",
        "<strong>pandas</strong>",
        "Reading *tables*",
        "The `csv` module",
        "data-suggestion=\"dependencies/system-packages.txt\"",
    ] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    assert!(!page.text().contains("<img"));
    let markdown = world.page(&format!("{place}/export.md"), &cookie).await.expect(200);
    let card = markdown.text().split("\n\n").find(|part| part.contains("was missing")).expect("a card");
    insta::assert_snapshot!(card, @r"
    > **A package was missing:** `pandas` (Python package)
    >
    > - What it is for: Reading \*tables\*
    > - How the agent did without it: The \`csv\` module
    >
    > To have it, add it to `dependencies/requirements.txt` in the project’s configuration repository, and deploy.
    ");
    let html = world.page(&format!("{place}/export.html"), &cookie).await.expect(200);
    assert!(html.text().contains("dependencies/requirements.txt") && !html.text().contains("<img"));
}

#[tokio::test]
async fn what_a_lock_says_stays_text() {
    let (world, token, cookie) = world().await;
    let bad = "<script>alert(1)</script>\"'>";
    let mut made = lock(bad);
    made.claude_cli = bad.into();
    made.base = Some(bad.into());
    made.plugins[0].marketplace = bad.into();
    let source = json!({"from": bad, "reference": bad, "folder": bad, "revision": bad});
    made.sources.insert(bad.into(), serde_json::from_value(source).expect("a source"));
    world.post("/v1/releases", &token, &json!({"lock": made})).await.expect(200);
    let image = json!({"id": "<script>alert(1)</script>", "reference": "<script>alert(1)</script>"});
    world.post("/v1/releases/1/image", &token, &image).await.expect(200);
    world.post("/v1/releases/1/fail", &token, &json!({"why": bad})).await.expect(200);
    for path in ["/releases", "/releases/1"] {
        let page = world.page(path, &cookie).await.expect(200);
        assert!(page.text().contains("alert(1)"), "{path}");
        assert_eq!(page.text().matches("<script").count(), 1, "{path}");
        assert!(!page.text().contains(" style="), "{path}");
    }
}
