//! What was kept for long enough: seen, deleted, and listed; by operators alone.

use holdpoint_model::{AgentDef, Keep, Role};
use serde_json::json;

use crate::support::{World, person, seed::Seed};

#[tokio::test]
async fn what_is_due_is_shown_then_deleted_then_listed() {
    let world = World::new().await;
    let (user, token) = world.user("ada", Role::Operator).await;
    let mut ids = Vec::new();
    for n in 0..3 {
        let seed = Seed::create(&world.store, &person(user, "ada"), &format!("Old {n}"), "do it").await;
        let workspace = world.control.workspace(seed.id);
        std::fs::create_dir_all(&workspace).expect("folder");
        std::fs::write(workspace.join("result.txt"), "12345").expect("file");
        world.post(&format!("/v1/executions/{}/cancel", seed.id), &token, &json!({})).await.expect(200);
        ids.push(seed.id);
    }
    let forever = AgentDef { keep: Some(Keep::Forever), ..AgentDef::builtin() };
    let kept =
        Seed::create_with(&world.store, &person(user, "ada"), "Kept", "do it", "claude", forever, true).await;
    world.post(&format!("/v1/executions/{}/cancel", kept.id), &token, &json!({})).await.expect(200);
    let going = Seed::create(&world.store, &person(user, "ada"), "Going on", "do it").await;

    let page = world.get("/v1/retention?limit=2", &token).await.expect(200).json();
    assert_eq!((page["total"].as_u64(), page["items"].as_array().map(Vec::len)), (Some(3), Some(2)));
    let first = &page["items"][0];
    assert_eq!(first["execution"], json!(ids[0]));
    assert_eq!((&first["files_bytes"], &first["why"]), (&json!(5), &json!("keep = \"0s\"")));
    let cursor = page["next"].as_str().expect("more");
    let rest = world.get(&format!("/v1/retention?cursor={cursor}"), &token).await.expect(200).json();
    assert_eq!((&rest["items"][0]["execution"], &rest["next"]), (&json!(ids[2]), &json!(null)));
    assert!(world.control.workspace(ids[0]).exists(), "looking deletes nothing");

    let deleted = world.post("/v1/retention", &token, &json!({"limit": 2})).await.expect(200).json();
    assert_eq!((&deleted["more"], &deleted["files_left"]), (&json!(true), &json!([])));
    assert_eq!(deleted["items"][0]["by"]["name"], "ada");
    let deleted = world.post("/v1/retention", &token, &json!({})).await.expect(200).json();
    assert_eq!((&deleted["more"], deleted["items"].as_array().map(Vec::len)), (&json!(false), Some(1)));
    for id in ids.iter().copied() {
        world.get(&format!("/v1/executions/{id}"), &token).await.expect(404).problem();
        world.get(&format!("/v1/executions/{id}/events"), &token).await.expect(404).problem();
        let folder = world.control.workspace(id);
        assert!(!folder.parent().expect("a parent").exists(), "its files are gone");
    }
    for id in [kept.id, going.id] {
        world.get(&format!("/v1/executions/{id}"), &token).await.expect(200);
    }
    let log = world.get("/v1/deletions?limit=2", &token).await.expect(200).json();
    let item = &log["items"][0];
    assert_eq!(
        (&item["execution"], &item["title"], &item["files_bytes"]),
        (&json!(ids[2]), &json!("Old 2"), &json!(5))
    );
    assert!(item["files_deleted_at"].is_string() && item["events"].as_u64() > Some(2), "{item}");
    let cursor = log["next"].as_str().expect("more");
    let rest = world.get(&format!("/v1/deletions?cursor={cursor}"), &token).await.expect(200).json();
    assert_eq!((rest["items"].as_array().map(Vec::len), &rest["next"]), (Some(1), &json!(null)));
}

#[tokio::test]
async fn only_operators_may_look_or_delete() {
    let world = World::new().await;
    for (role, status) in [
        (Role::Admin, 200),
        (Role::Operator, 200),
        (Role::Approver, 403),
        (Role::Asker, 403),
        (Role::Viewer, 403),
    ] {
        let (_, token) = world.user(&role.to_string(), role).await;
        assert_eq!(world.get("/v1/retention", &token).await.status, status, "{role}");
        assert_eq!(world.post("/v1/retention", &token, &json!({})).await.status, status, "{role}");
        assert_eq!(world.get("/v1/deletions", &token).await.status, status, "{role}");
    }
    let (_, token) = world.user("ada", Role::Admin).await;
    for path in ["/v1/retention?cursor=x", "/v1/deletions?cursor=1.x"] {
        world.get(path, &token).await.expect(422).problem();
    }
}
