//! Figures for people, for spreadsheets and for scripts.

use holdpoint_model::{Command, Role, event::Problem};
use http::header;
use serde_json::json;

use crate::support::{World, person, seed::Seed};

/// One that was answered and finished, and one that failed, of another person.
async fn two(world: &World) -> (String, String, String) {
    let (ada, _) = world.user("ada", Role::Admin).await;
    let (lin, _) = world.user("=lin", Role::Asker).await;
    let (nobody, _) = world.user("nobody", Role::Asker).await;
    let definition = holdpoint_model::AgentDef::builtin();
    let by = person(ada, "ada");
    let mut one =
        Seed::create_with(&world.store, &by, "One", "One", "claude", definition.clone(), false).await;
    one.work().await;
    let hold = one.ask("toolu_1", "Bash", json!({"command": "make"})).await;
    one.paid("claude-opus-5-5", 1_200, 300, 42_000).await;
    one.decide(hold, &by, json!({"action": "allow"})).await;
    one.result("toolu_1", "made", None).await;
    one.turn_ended("made").await;
    one.command(Command::Finish { by: by.clone() }).await;
    let owner = person(lin, "=lin");
    let two = Seed::create_with(&world.store, &owner, "Two", "Two", "claude", definition, false).await;
    let error = Problem {
        code: "disk_full".into(),
        title: "there is no room".into(),
        detail: String::new(),
        hint: String::new(),
    };
    two.command(Command::Fail { error }).await;
    Seed::create(&world.store, &owner, "Rehearsed", "Rehearsed").await;
    (world.cookie(ada).await, world.cookie(lin).await, world.cookie(nobody).await)
}

#[tokio::test]
async fn a_page_has_charts_and_a_table_behind_each() {
    let world = World::new().await;
    let (cookie, lins, nobodys) = two(&world).await;
    let page = world.page("/analytics", &cookie).await.expect(200);
    let text = page.text();
    for of in ["runs", "errors", "waits-by-kind", "waits-by-person", "agents", "people"] {
        let section = text.split(&format!("data-of=\"{of}\"")).nth(1).expect(of);
        let section = section.split("</section>").next().expect("a section");
        assert!(section.contains("<svg role=\"img\"") && section.contains("<title>"), "{of}: {section}");
        assert!(section.contains("<details>") && section.contains("<table>"), "{of}: {section}");
        assert!(section.contains(&format!("/analytics/{of}.csv?from=")), "{of}: {section}");
    }
    assert!(text.contains("disk_full") && text.contains("$0.042"), "{text}");
    assert!(!text.contains("style="), "the policy forbids it");

    let own = world.page("/analytics?days=7", &lins).await.expect(200);
    assert!(own.text().contains("disk_full") && !own.text().contains("$0.042"), "{}", own.text());
    let none = world.page("/analytics", &nobodys).await.expect(200);
    assert!(none.text().contains("id=\"empty\""));
    let all = world.page("/analytics?rehearsals=1", &lins).await.expect(200);
    let tile = |page: &str| {
        page.split("Started</dt><dd>").nth(1).and_then(|rest| rest.split('<').next().map(str::to_owned))
    };
    assert_eq!((tile(own.text()), tile(all.text())), (Some("1".into()), Some("2".into())));
}

#[tokio::test]
async fn tables_are_files_for_spreadsheets() {
    let world = World::new().await;
    let (cookie, lins, _) = two(&world).await;
    let people = world.page("/analytics/people.csv?days=1", &cookie).await.expect(200);
    assert_eq!(people.header(header::CONTENT_TYPE), "text/csv; charset=utf-8");
    assert!(people.header(header::CONTENT_DISPOSITION).starts_with("attachment; filename=\"people-"));
    let lines: Vec<&str> = people.text().lines().collect();
    assert_eq!(
        lines[0],
        "name,started,finished,failed,calls,input_tokens,output_tokens,cache_read_tokens,cache_made_tokens,cost_usd"
    );
    assert_eq!(lines[1], "\"ada\",1,1,0,1,1200,300,0,0,0.042000");
    assert_eq!(lines[2], "\"'=lin\",1,0,1,0,0,0,0,0,0.000000");
    let own = world.page("/analytics/people.csv", &lins).await.expect(200);
    assert_eq!(own.text().lines().count(), 2, "{}", own.text());
    world.page("/analytics/people", &cookie).await.expect(404);
    world.page("/analytics/nothing.csv", &cookie).await.expect(404);
    for query in ["days=0", "days=x", "from=2026-02-30", "from=2026-02-02&to=2026-02-01", "from=1990-01-01"] {
        world.page(&format!("/analytics?{query}"), &cookie).await.expect(422);
        world.page(&format!("/analytics/runs.csv?{query}"), &cookie).await.expect(422);
    }
}

#[tokio::test]
async fn scripts_get_json() {
    let world = World::new().await;
    two(&world).await;
    let all = world.get("/v1/analytics?days=1", "token-of-ada").await.expect(200).json();
    assert_eq!((&all["of"], &all["rehearsals"]), (&json!("everybody"), &json!(false)));
    assert_eq!(all["runs"][0]["finished"], 1);
    assert_eq!(all["runs"][0]["failed"], 1);
    assert_eq!(all["agents"][0]["name"], "claude");
    assert_eq!(all["agents"][0]["cost_usd"], 0.042);
    assert_eq!(all["errors"], json!([{"what": "conversation", "reason": "disk_full", "times": 1}]));
    let kinds: Vec<&str> = all["waits_by_kind"]
        .as_array()
        .expect("rows")
        .iter()
        .filter_map(|row| row["name"].as_str())
        .collect();
    assert_eq!(kinds, ["tool"]);
    assert_eq!(all["waits_by_person"][0]["name"], "ada");
    let own = world.get("/v1/analytics", "token-of-=lin").await.expect(200).json();
    assert_eq!((&own["of"], own["agents"].as_array().map(Vec::len)), (&json!("own"), Some(1)));
    assert_eq!(own["agents"][0]["cost_usd"], 0.0);
    world.get("/v1/analytics?days=-1", "token-of-ada").await.expect(422);
}
