//! What a conversation was: taken along, replayed, its events, links to its points; and the pages of files and
//! operations.

use holdpoint_model::{ExecutionId, Role};
use http::header;
use serde_json::json;

use crate::support::{World, person, seed::Seed};

/// Everything that a conversation can have, written by somebody who wants to break out of it.
async fn hostile(world: &World, owner: &holdpoint_model::Actor) -> ExecutionId {
    let mut seed = Seed::create(
        &world.store,
        owner,
        "Title | with `ticks` and <script>alert(1)</script>",
        "# Please\n\nlook at <img src=x onerror=alert(1)>",
    )
    .await;
    seed.work().await;
    seed.thinking("I think <b>hard</b>.").await;
    seed.text("# A heading of mine\n\n<script>alert(2)</script>\n\n[link](javascript:alert(3)) ![pic](https://evil.example/p.png)\n\n```\ncode\n```").await;
    let hold = seed
        .ask("toolu_1", "Bash", json!({"command": "cat <<'X'\n```\n# not a heading\n````\nX", "timeout": 5}))
        .await;
    seed.decide(hold, owner, json!({"action": "allow"})).await;
    seed.result("toolu_1", "```\n</pre><script>alert(4)</script>\n# still output", None).await;
    let no = seed.ask("toolu_2", "Write", json!({"file_path": "/etc/`x`", "content": "a\nb"})).await;
    seed.decide(no, owner, json!({"action": "deny", "message": "Never <i>there</i>."})).await;
    seed.failed("toolu_2", "refused").await;
    seed.files(&[("out/report.pdf", 12_345), ("a`b.txt", 1)]).await;
    seed.turn_ended("All | done.").await;
    seed.id
}

/// With every time of day written as TIME.
fn timeless(text: &str) -> String {
    let mut parts = text.split(" UTC").peekable();
    let mut steady = String::new();
    while let Some(part) = parts.next() {
        match parts.peek() {
            Some(_) => steady.push_str(&format!("{}TIME", &part[..part.len() - "2026-01-01 00:00".len()])),
            None => steady.push_str(part),
        }
    }
    steady
}

#[tokio::test]
async fn a_conversation_is_taken_along_whole_and_harmless() {
    let world = World::new().await;
    let (ada, _) = world.user("ada", Role::Asker).await;
    let cookie = world.cookie(ada).await;
    let id = hostile(&world, &person(ada, "ada")).await;
    let markdown = world.page(&format!("/executions/{id}/export.md"), &cookie).await.expect(200);
    assert_eq!(markdown.header(header::CONTENT_TYPE), "text/markdown; charset=utf-8");
    assert_eq!(
        markdown.header(header::CONTENT_DISPOSITION),
        format!("attachment; filename*=UTF-8''claude-{id}.md")
    );
    let text = markdown.text();
    for part in [
        "## ada, ",
        "#### A heading of mine",
        "### Bash: done",
        "**Allowed** by ada",
        "**Denied** by ada",
        "report.pdf",
        "*Thinking*",
        "### Write: failed",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    for part in ["<script>alert(2)", "<img", "javascript:", "!["] {
        assert!(!text.contains(part), "{part} in\n{text}");
    }
    // How long it took is the machine's business.
    let steady: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("| Elapsed") && !line.starts_with("| Waited")).collect();
    let steady = timeless(&steady.join("\n")).replace(&id.to_string(), "UUID");
    insta::assert_snapshot!("a conversation as Markdown", steady);

    let html = world.page(&format!("/executions/{id}/export.html"), &cookie).await.expect(200);
    let policy = html.header(header::CONTENT_SECURITY_POLICY);
    assert!(
        policy.contains("style-src 'sha256-") && policy.contains("sandbox") && !policy.contains("script"),
        "{policy}"
    );
    assert!(html.header(header::CONTENT_DISPOSITION).starts_with("attachment"));
    let text = html.text();
    assert!(text.contains("http-equiv=\"Content-Security-Policy\""));
    for part in ["<script", "<img", "<link", "onerror=\"", "javascript:", " src=\"", "<b>hard", "<i>there"] {
        assert!(!text.contains(part), "{part} in\n{text}");
    }
    // What was written is there all the same, as text.
    for part in ["alert(2)", "alert(4)", "# still output", "# not a heading"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[tokio::test]
async fn every_part_has_a_link_that_stays_good() {
    let world = World::new().await;
    let (ada, _) = world.user("ada", Role::Asker).await;
    let cookie = world.cookie(ada).await;
    let mut seed = Seed::create(&world.store, &person(ada, "ada"), "Long", "Count").await;
    seed.work().await;
    for n in 0..450 {
        seed.text(&format!("number {n} ends here.")).await;
    }
    let place = format!("/executions/{}", seed.id);
    let page = world.page(&place, &cookie).await.expect(200);
    assert!(!page.text().contains("number 3 ends") && page.text().contains("number 449 ends"));
    let execution = world.store.execution(seed.id).await.expect("read").expect("execution");
    // The events of the texts are the last ones.
    let seq = execution.seq - 446;
    let link = format!("{place}?at={seq}#e-{seq}");
    let all = world.page(&format!("{place}?all=1"), &cookie).await.expect(200);
    assert!(all.text().contains(&format!("href=\"{link}\"")));
    let page = world.page(&format!("{place}?at={seq}"), &cookie).await.expect(200);
    assert!(page.text().contains(&format!("id=\"e-{seq}\"")) && page.text().contains("number 3 ends"));
    assert!(!page.text().contains("number 2 ends"), "no more than is asked for");
    // It goes on from there to where it is now, and back.
    assert!(!page.text().contains("number 449 ends") && !page.text().contains("data-live"));
    assert!(!page.text().contains("id=\"composer\""), "what goes on is answered where it is now");
    let later = seq + holdpoint_web::limits::CONVERSATION_EVENTS;
    assert!(page.text().contains(&format!("href=\"{place}?at={later}\"")));
    let newest = world.page(&format!("{place}?at={later}"), &cookie).await.expect(200);
    assert!(newest.text().contains("number 449 ends") && newest.text().contains("data-live"));
    assert!(newest.text().contains("id=\"composer\"") && !newest.text().contains("number 3 ends"));
    // An event without a part of its own: what was there then.
    world.page(&format!("{place}?at=3"), &cookie).await.expect(200);
    world.page(&format!("{place}?at=99999999"), &cookie).await.expect(200);
    assert!(all.text().contains("id=\"m-") && all.text().contains("id=\"e-2\""), "messages too");
}

#[tokio::test]
async fn a_conversation_is_replayed_step_by_step() {
    let world = World::new().await;
    let (ada, _) = world.user("ada", Role::Asker).await;
    let cookie = world.cookie(ada).await;
    let me = person(ada, "ada");
    let mut seed = Seed::create(&world.store, &me, "Work", "Do it").await;
    seed.work().await;
    seed.text("I begin.").await;
    let hold = seed.ask("toolu_1", "Bash", json!({"command": "touch a"})).await;
    seed.decide(hold, &me, json!({"action": "allow"})).await;
    seed.result("toolu_1", "made", None).await;
    seed.turn_ended("Done.").await;
    let place = format!("/executions/{}/replay", seed.id);
    let mut page = world.page(&place, &cookie).await.expect(200);
    assert!(page.text().contains("Do it") && !page.text().contains("I begin."));
    let link = |page: &crate::support::Answer, action: &str| {
        let (_, rest) = page.text().split_once(&format!("data-action=\"{action}\""))?;
        let (tag, _) = rest.split_once('>')?;
        let (_, rest) = tag.split_once("href=\"")?;
        let (href, _) = rest.split_once('#')?;
        Some(href.to_owned())
    };
    assert_eq!(link(&page, "back"), None);
    let mut steps = 1;
    let mut asked = false;
    while let Some(next) = link(&page, "on") {
        page = world.page(&next, &cookie).await.expect(200);
        steps += 1;
        assert!(page.text().contains(&format!("Step {steps} of ")), "{}", page.text());
        if page.text().contains("data-state=\"open\"") {
            asked = true;
            assert!(!page.text().contains("data-action=\"allow\""), "nothing is answered in the past");
            assert!(!page.text().contains("Somebody else has to answer"));
        }
        assert!(steps < 50);
    }
    assert!(asked && steps >= 6, "{steps}");
    assert!(
        page.text().contains(&format!("Step {steps} of {steps}"))
            && page.text().contains("Waiting for a person")
    );
    let back = link(&page, "back").expect("back");
    let page = world.page(&back, &cookie).await.expect(200);
    assert!(page.text().contains(&format!("Step {} of {steps}", steps - 1)));
    world.page(&format!("{place}?at=99999"), &cookie).await.expect(200);
    let page = world.page(&format!("{place}?at=x"), &cookie).await.expect(400);
    assert!(page.text().contains("invalid_query"));
}

#[tokio::test]
async fn the_log_is_read_page_by_page() {
    let world = World::new().await;
    let (ada, _) = world.user("ada", Role::Asker).await;
    let cookie = world.cookie(ada).await;
    let mut seed = Seed::create(&world.store, &person(ada, "ada"), "Long", "Count").await;
    seed.work().await;
    for n in 0..150 {
        seed.text(&format!("<b>number {n}</b>")).await;
    }
    let place = format!("/executions/{}/events", seed.id);
    let first = world.page(&place, &cookie).await.expect(200);
    assert!(
        first.text().contains("data-event=\"execution_created\"") && first.text().contains("id=\"e-100\"")
    );
    assert!(!first.text().contains("id=\"e-101\"") && !first.text().contains("<b>number"));
    assert!(first.text().contains("events?after=100\""));
    let second = world.page(&format!("{place}?after=100"), &cookie).await.expect(200);
    assert!(second.text().contains("id=\"e-101\"") && second.text().contains("rel=\"prev\""));
    assert!(!second.text().contains("rel=\"next\""));
    let only = world.page(&format!("{place}?kind=worker_ready"), &cookie).await.expect(200);
    assert_eq!(only.text().matches("data-event=").count(), 1);
    let none = world.page(&format!("{place}?kind=%3Cscript%3E"), &cookie).await.expect(200);
    assert!(none.text().contains("id=\"empty\"") && !none.text().contains("<script>"));
    world.page(&format!("{place}?after=99999999"), &cookie).await.expect(200);
}

#[tokio::test]
async fn files_are_found_by_name_over_conversations() {
    let world = World::new().await;
    let (ada, _) = world.user("ada", Role::Asker).await;
    let (grace, _) = world.user("grace", Role::Asker).await;
    let (hers, his) = (world.cookie(ada).await, world.cookie(grace).await);
    assert!(world.page("/files", &hers).await.expect(200).text().contains("id=\"empty\""));
    for (n, file) in ["out/Report.pdf", "notes.txt"].iter().enumerate() {
        let mut seed = Seed::create(&world.store, &person(ada, "ada"), &format!("Work {n}"), "Work").await;
        seed.work().await;
        seed.files(&[(file, 10), (".claude/settings.json", 3)]).await;
    }
    let all = world.page("/files", &hers).await.expect(200);
    assert!(all.text().contains("Report.pdf") && all.text().contains("notes.txt"));
    assert!(!all.text().contains("settings.json"), "what the agent keeps to itself");
    let some = world.page("/files?q=report", &hers).await.expect(200);
    assert!(some.text().contains("data-file=\"out/Report.pdf\"") && !some.text().contains("notes.txt"));
    assert!(
        world.page("/files?q=nothing", &hers).await.expect(200).text().contains("No file is called that.")
    );
    assert!(!world.page("/files", &his).await.expect(200).text().contains("Report.pdf"), "another's");
    world.page("/files?cursor=x", &hers).await.expect(422);

    // What waits for a conversation, and can be given up.
    let upload = world
        .control
        .keep_as_upload(
            ada,
            holdpoint_control::Attachment { name: "big.bin".into(), bytes: vec![1; 10].into() },
        )
        .await
        .expect("upload");
    let page = world.page("/files", &hers).await.expect(200);
    assert!(
        page.text().contains(&format!("data-upload-id=\"{}\"", upload.id)) && page.text().contains("big.bin")
    );
    let remove = format!("/uploads/{}/remove", upload.id);
    world.form(&remove, &his, &[]).await.expect(404);
    world.form(&remove, &hers, &[]).await.expect(303);
    assert!(!world.page("/files", &hers).await.expect(200).text().contains("big.bin"));
}

#[tokio::test]
async fn operators_see_how_the_machine_is_doing() {
    let world = World::new().await;
    let (ada, _) = world.user("ada", Role::Operator).await;
    let cookie = world.cookie(ada).await;
    let page = world.page("/operations", &cookie).await.expect(200);
    assert!(page.text().contains("No session runs."));
    for part in ["0 of 4", "data-figure=\"disk\"", "data-fact=\"due\"", "Version", "none"] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    assert!(!page.text().contains("/people/audit"), "that is for administrators");
    let (asker, _) = world.user("asker", Role::Asker).await;
    let other = world.cookie(asker).await;
    let refused = world.page("/operations", &other).await.expect(403);
    assert!(refused.text().contains("data-problem=\"forbidden\""));
    assert!(!world.page("/", &other).await.expect(200).text().contains("/operations"));
    assert!(world.page("/", &cookie).await.expect(200).text().contains("/operations"));
}
