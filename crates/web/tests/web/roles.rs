//! Who may see and do what, role by role, over the API.

use holdpoint_model::Role;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{World, person, seed::Seed};

/// What each role gets from: see, list, events, files, decide, message, interrupt, start.
/// `own` first, then somebody else's.
#[rstest]
#[case(Role::Admin, [200, 200, 200, 200], [200, 200, 200, 200], 201)]
#[case(Role::Operator, [200, 200, 200, 200], [200, 200, 200, 200], 201)]
#[case(Role::Approver, [200, 200, 200, 200], [200, 200, 403, 403], 201)]
#[case(Role::Asker, [200, 200, 200, 200], [404, 404, 404, 404], 201)]
#[case(Role::Viewer, [200, 403, 403, 403], [200, 403, 403, 403], 403)]
#[tokio::test]
async fn roles(#[case] role: Role, #[case] own: [u16; 4], #[case] others: [u16; 4], #[case] start: u16) {
    let world = World::new().await;
    let (user, token) = world.user("me", role).await;
    let (other, _) = world.user("other", Role::Asker).await;
    for (owner, name, expected) in [(user, "me", own), (other, "other", others)] {
        let [see, decide, message, interrupt] = expected;
        let mut seed = Seed::create(&world.store, &person(owner, name), "Work", "Work").await;
        seed.work().await;
        let hold = seed.ask("toolu_1", "Bash", json!({"command": "touch a"})).await;
        let id = seed.id;
        for path in [
            format!("/v1/executions/{id}"),
            format!("/v1/executions/{id}/files"),
            format!("/v1/holds/{hold}"),
        ] {
            assert_eq!(world.get(&path, &token).await.status, see, "{role} {name} {path}");
        }
        if see == 404 {
            world.get(&format!("/v1/executions/{id}/events"), &token).await.expect(404).problem();
            world.get(&format!("/v1/executions/{id}/files/a"), &token).await.expect(404).problem();
        }
        let listed = |list: Value, key: &str, id: String| {
            list["items"].as_array().expect("items").iter().any(|item| item[key] == id.as_str())
        };
        let executions = world.get("/v1/executions", &token).await.expect(200).json();
        assert_eq!(listed(executions, "id", id.to_string()), see == 200, "{role} {name} list");
        let holds = world.get("/v1/holds", &token).await.expect(200).json();
        assert_eq!(listed(holds, "id", hold.to_string()), see == 200, "{role} {name} inbox");

        for (path, body, status) in [
            (format!("/v1/holds/{hold}/decision"), json!({"action": "allow"}), decide),
            (format!("/v1/executions/{id}/messages"), json!({"text": "x"}), message),
            (format!("/v1/executions/{id}/interrupt"), json!({}), interrupt),
            (format!("/v1/executions/{id}/finish"), json!({}), interrupt),
            (format!("/v1/executions/{id}/cancel"), json!({}), interrupt),
        ] {
            let answer = world.post(&path, &token, &body).await;
            assert_eq!(answer.status, status, "{role} {name} {path}: {}", answer.text());
        }
        // Where sessions are is for operators.
        if see == 200 {
            let shown = world.get(&format!("/v1/executions/{id}"), &token).await.json();
            let is_operator = matches!(role, Role::Admin | Role::Operator);
            assert_eq!(shown.get("residency").is_some(), is_operator, "{role}");
        }
    }
    let started =
        world.post("/v1/executions", &token, &json!({"agent": "claude", "inputs": {"prompt": "x"}})).await;
    assert_eq!(started.status, start);
}
