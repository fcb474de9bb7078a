//! Releases over the API: begun, tried out, made current, moved to, given up; and whatever one may get wrong.

use holdpoint_model::{AgentDef, EventBody, ExecutionId, Lock, Role};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{
    World, person,
    seed::{Seed, lock},
};

/// An operator's world.
async fn world() -> (World, String) {
    let world = World::new().await;
    let (_, token) = world.user("olga", Role::Operator).await;
    (world, token)
}

async fn begin(world: &World, token: &str, lock: &Lock) -> Value {
    world.post("/v1/releases", token, &json!({"lock": lock})).await.expect(200).json()
}

async fn act(world: &World, token: &str, number: u32, what: &str) -> Value {
    world.post(&format!("/v1/releases/{number}/{what}"), token, &json!({})).await.expect(200).json()
}

fn execution_of(verification: &Value) -> ExecutionId {
    verification["execution"].as_str().expect("an execution").parse().expect("an id")
}

/// Begun, tried out by a worker that finds nothing wrong, and made current.
pub(crate) async fn deploy(world: &World, token: &str, lock: &Lock) -> u32 {
    let begun = begin(world, token, lock).await;
    let number = u32::try_from(begun["number"].as_u64().expect("a number")).expect("small");
    let running = act(world, token, number, "verify").await;
    assert_eq!(running["state"], "running");
    let mut seed = Seed::of(&world.store, execution_of(&running));
    seed.work().await;
    seed.turn_ended("All there").await;
    assert_eq!(act(world, token, number, "verify").await["state"], "passed");
    assert_eq!(act(world, token, number, "activate").await["state"], "current");
    number
}

async fn start(world: &World, token: &str) -> Value {
    let body = json!({"agent": "claude", "inputs": {"prompt": "work"}});
    world.post("/v1/executions", token, &body).await.expect(201).json()
}

#[tokio::test]
async fn a_release_is_begun_tried_out_made_current_and_followed_by_another() {
    let (world, token) = world().await;
    assert_eq!(world.get("/v1/releases", &token).await.expect(200).json(), json!({"items": []}));
    assert!(start(&world, &token).await.get("release").is_none(), "nothing was deployed yet");

    let begun = begin(&world, &token, &lock("1")).await;
    assert_eq!((&begun["number"], &begun["state"]), (&json!(1), &json!("building")));
    assert_eq!((&begun["agents"], &begun["by"]["name"]), (&json!(["claude", "reviewer"]), &json!("olga")));
    assert_eq!(begin(&world, &token, &lock("1")).await["number"], 1, "taken up");
    let untried = world.post("/v1/releases/1/activate", &token, &json!({})).await.expect(409).problem();
    assert_eq!(untried["code"], "release_untried");
    assert!(untried["detail"].as_str().expect("text").contains("holdpoint deploy"), "{untried}");
    assert_eq!(deploy(&world, &token, &lock("1")).await, 1);
    assert_eq!(act(&world, &token, 1, "activate").await["state"], "current", "said again");

    let old = start(&world, &token).await;
    assert_eq!(old["release"], json!({"number": 1, "image": null}));
    assert_eq!(deploy(&world, &token, &lock("2")).await, 2);
    let list = world.get("/v1/releases", &token).await.expect(200).json();
    let of = |n: usize, key: &str| list["items"][n][key].clone();
    assert_eq!((of(0, "number"), of(0, "state"), of(0, "going_on")), (json!(2), json!("current"), json!(0)));
    assert_eq!((of(1, "number"), of(1, "state"), of(1, "going_on")), (json!(1), json!("retired"), json!(1)));
    let changed = json!([{"what": "plugin review@tools", "from": "1", "to": "2", "effort": "redeploy"}]);
    assert_eq!(of(0, "changes"), changed);
    assert!(of(1, "changes").as_array().expect("changes").iter().all(|change| change["from"].is_null()));
    let shown = world.get("/v1/releases/2", &token).await.expect(200).json();
    assert_eq!((&shown["changes"], &shown["lock"]), (&changed, &json!(lock("2"))));
    let steps: Vec<&str> =
        shown["steps"].as_array().expect("steps").iter().filter_map(|step| step["step"].as_str()).collect();
    assert_eq!(steps, ["begun", "verification", "current"]);

    // Back, and forward again.
    assert_eq!(act(&world, &token, 1, "activate").await["state"], "current");
    assert_eq!(start(&world, &token).await["release"]["number"], 1);
    assert_eq!(act(&world, &token, 2, "activate").await["state"], "current");
    assert_eq!(start(&world, &token).await["release"]["number"], 2);
}

#[tokio::test]
async fn a_conversation_keeps_its_release_until_somebody_moves_it() {
    let (world, token) = world().await;
    deploy(&world, &token, &lock("1")).await;
    let id = start(&world, &token).await["id"].as_str().expect("an id").to_owned();
    let mut seed = Seed::of(&world.store, id.parse().expect("an id"));
    deploy(&world, &token, &lock("2")).await;
    let path = format!("/v1/executions/{id}");
    assert_eq!(world.get(&path, &token).await.expect(200).json()["release"]["number"], 1);
    let refused = world.post("/v1/releases/1/remove", &token, &json!({})).await.expect(409).problem();
    assert_eq!((&refused["code"], &refused["state"]), (&json!("release_refused"), &json!("retired")));

    seed.work().await;
    let to = |release: u32| json!({"release": release});
    let at_work = world.post(&format!("{path}/move"), &token, &to(2)).await.expect(409).problem();
    assert_eq!(at_work["code"], "at_work");
    assert!(at_work["detail"].as_str().expect("text").contains("interrupt"), "{at_work}");
    let hold = seed.ask("toolu_1", "Bash", json!({"command": "ls"})).await;
    let decided = json!({"action": "allow"});
    let decision =
        world.post(&format!("/v1/holds/{hold}/decision"), &token, &decided).await.expect(200).json();
    assert_eq!(decision["decision"]["release"], 1, "{decision}");
    seed.release(hold).await;
    seed.result("toolu_1", "a", None).await;
    seed.turn_ended("Done").await;
    let moved = world.post(&format!("{path}/move"), &token, &to(2)).await.expect(200).json();
    assert_eq!(moved["release"]["number"], 2);
    let again = world.post(&format!("{path}/move"), &token, &to(2)).await.expect(200).json();
    assert_eq!(moved["seq"], again["seq"], "nothing was added");
    let events = world.store.events_of_kind(seed.id, &["release_changed"], 0, 10).await.expect("events");
    let [event] = &events[..] else { panic!("{events:?}") };
    let EventBody::ReleaseChanged { release, by, .. } = &event.body else { panic!("{event:?}") };
    assert_eq!((release.number, by.name.as_str()), (2, "olga"));
    let old = world.get(&format!("/v1/holds/{hold}"), &token).await.expect(200).json();
    assert_eq!(old["decision"]["release"], 1, "a decision keeps what it was taken on");

    // Nobody needs the first one any more.
    assert_eq!(act(&world, &token, 1, "remove").await["state"], "removed");
    assert_eq!(act(&world, &token, 1, "remove").await["state"], "removed", "said again");
    for (path, body) in [("/v1/releases/1/activate".to_owned(), json!({})), (format!("{path}/move"), to(1))] {
        let problem = world.post(&path, &token, &body).await.expect(409).problem();
        assert_eq!((&problem["code"], &problem["state"]), (&json!("release_refused"), &json!("removed")));
    }
    world.post(&format!("{path}/cancel"), &token, &json!({})).await.expect(200);
    let ended = world.post(&format!("{path}/move"), &token, &to(2)).await.expect(409).problem();
    assert_eq!(ended["code"], "ended");
}

#[tokio::test]
async fn one_that_goes_wrong_says_why_and_is_given_up() {
    let (world, token) = world().await;
    begin(&world, &token, &lock("1")).await;
    let image = json!({"id": "sha256:1", "reference": "registry.example.org/a@sha256:2"});
    let built = world.post("/v1/releases/1/image", &token, &image).await.expect(200).json();
    assert_eq!(built["lock"]["image"], image);
    let running = act(&world, &token, 1, "verify").await;
    assert_eq!(act(&world, &token, 1, "verify").await, running, "the same one");
    let mut seed = Seed::of(&world.store, execution_of(&running));
    seed.work().await;
    seed.ask("toolu_1", "Bash", json!({"command": "rm -r /"})).await;
    let failed = act(&world, &token, 1, "verify").await;
    assert_eq!(failed["state"], "failed");
    assert!(failed["why"].as_str().expect("why").contains("asked for something"), "{failed}");
    let why = json!({"why": format!("  {}", "x".repeat(10_000))});
    let given_up = world.post("/v1/releases/1/fail", &token, &why).await.expect(200).json();
    assert_eq!(given_up["state"], "failed");
    assert_eq!(given_up["problem"].as_str().expect("why").len(), 4_000);
    // An unfinished one ends by another being begun.
    begin(&world, &token, &lock("2")).await;
    begin(&world, &token, &lock("3")).await;
    let list = world.get("/v1/releases", &token).await.expect(200).json();
    assert_eq!((&list["items"][1]["number"], &list["items"][1]["state"]), (&json!(2), &json!("failed")));
    let image = world.post("/v1/releases/2/image", &token, &json!({"id": "x"})).await.expect(409).problem();
    assert_eq!(image["code"], "release_refused");
}

#[rstest]
#[case("abc")]
#[case("0")]
#[case("-1")]
#[case("7")]
#[case("01")]
#[case("1.0")]
#[case("4294967296")]
#[case("1099511627776")]
#[case("99999999999999999999999999999999999999")]
#[case("%00")]
#[tokio::test]
async fn what_is_no_releases_number_is_not_found(#[case] number: &str) {
    let (world, token) = world().await;
    begin(&world, &token, &lock("1")).await;
    let found = world.get(&format!("/v1/releases/{number}"), &token).await.expect(404).problem();
    assert_eq!(found["code"], "not_found");
    assert!(found["detail"].as_str().expect("text").contains("holdpoint releases"), "{found}");
    for (what, body) in [
        ("image", json!({"id": "x"})),
        ("verify", json!({})),
        ("activate", json!({})),
        ("fail", json!({"why": "x"})),
        ("remove", json!({})),
    ] {
        let answer = world.post(&format!("/v1/releases/{number}/{what}"), &token, &body).await;
        assert_eq!(answer.expect(404).problem()["code"], "not_found", "{what}");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_says_so() {
    let (world, token) = world().await;
    let with = |key: &str, value: Value| {
        let mut lock = json!(lock("1"));
        lock[key] = value;
        json!({"lock": lock})
    };
    begin(&world, &token, &lock("1")).await;
    let long = "x".repeat(100_000);
    for (path, body, status, code) in [
        ("/v1/releases", json!({}), 422, "invalid_request"),
        ("/v1/releases", json!({"lock": {}}), 422, "invalid_request"),
        ("/v1/releases", with("unknown", json!(1)), 422, "invalid_request"),
        ("/v1/releases", with("version", json!(2)), 422, "invalid_request"),
        ("/v1/releases", with("claude_cli", json!(long)), 413, "too_large"),
        ("/v1/releases", with("policy", json!("sha256:other")), 409, "configuration_changed"),
        ("/v1/releases", with("settings", json!("sha256:other")), 409, "configuration_changed"),
        ("/v1/releases/1/image", json!({}), 422, "invalid_request"),
        ("/v1/releases/1/image", json!({"id": ""}), 422, "invalid_request"),
        ("/v1/releases/1/image", json!({"id": "a b"}), 422, "invalid_request"),
        ("/v1/releases/1/image", json!({"id": long}), 422, "invalid_request"),
        ("/v1/releases/1/image", json!({"id": "x", "reference": "\n"}), 422, "invalid_request"),
        ("/v1/releases/1/fail", json!({"why": " "}), 422, "invalid_request"),
        ("/v1/releases/1/remove", json!({}), 409, "release_refused"),
    ] {
        let problem = world.post(path, &token, &body).await.expect(status).problem();
        assert_eq!(problem["code"], code, "{path}");
    }
    assert_eq!(world.get("/v1/releases", &token).await.expect(200).json()["items"][0]["state"], "building");

    deploy(&world, &token, &lock("1")).await;
    let owner = person(world.store.user_by_name("olga").await.expect("read").expect("olga").id, "olga");
    let ghost =
        Seed::create_with(&world.store, &owner, "Ghost", "x", "ghost", AgentDef::builtin(), true).await;
    let path = format!("/v1/executions/{}/move", ghost.id);
    let nowhere = "/v1/executions/00000000-0000-7000-8000-000000000000/move".to_owned();
    for (path, body, status, code) in [
        (&path, json!({"release": 1}), 422, "no_agent"),
        (&path, json!({"release": 9}), 404, "not_found"),
        (&path, json!({"release": 0}), 404, "not_found"),
        (&path, json!({"release": -1}), 422, "invalid_request"),
        (&path, json!({"release": 1_u64 << 40}), 422, "invalid_request"),
        (&path, json!({"release": "1"}), 422, "invalid_request"),
        (&nowhere, json!({"release": 1}), 404, "not_found"),
    ] {
        let problem = world.post(path, &token, &body).await.expect(status).problem();
        assert_eq!(problem["code"], code, "{body}");
    }
    let nothing = world.store.events_of_kind(ghost.id, &["release_changed"], 0, 10).await.expect("events");
    assert!(nothing.is_empty());
}
