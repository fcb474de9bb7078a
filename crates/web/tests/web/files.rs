//! Result files, and what must never be one.

use std::os::unix::fs::symlink;

use holdpoint_model::Role;
use http::header;

use crate::support::{World, person, seed::Seed};

#[tokio::test]
async fn files_are_listed_and_downloaded_as_files() {
    let world = World::new().await;
    let (user, token) = world.user("ada", Role::Asker).await;
    let mut seed = Seed::create(&world.store, &person(user, "ada"), "Work", "Work").await;
    let list = format!("/v1/executions/{}/files", seed.id);
    assert_eq!(world.get(&list, &token).await.expect(200).json()["items"], serde_json::json!([]));

    let workspace = world.control.workspace(seed.id);
    std::fs::create_dir_all(workspace.join("out")).expect("folder");
    std::fs::write(workspace.join("out/a ü#1.html"), "<script>alert(1)</script>").expect("file");
    seed.work().await;
    seed.files(&[("out/a ü#1.html", 25)]).await;
    let items = world.get(&list, &token).await.expect(200).json()["items"].clone();
    assert_eq!(items[0]["path"], "out/a ü#1.html");
    let url = items[0]["url"]
        .as_str()
        .expect("url")
        .strip_prefix("http://holdpoint.test")
        .expect("ours")
        .to_owned();

    let file = world.get(&url, &token).await.expect(200);
    assert_eq!(file.text(), "<script>alert(1)</script>");
    assert_eq!(file.header(header::CONTENT_TYPE), "application/octet-stream");
    assert_eq!(file.header(header::CONTENT_DISPOSITION), "attachment; filename*=UTF-8''a%20%C3%BC%231.html");
    assert_eq!(file.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
    assert!(file.header(header::CONTENT_SECURITY_POLICY).contains("sandbox"));
}

#[tokio::test]
async fn nothing_outside_the_workspace_is_a_file() {
    let world = World::new().await;
    let (user, token) = world.user("ada", Role::Asker).await;
    let seed = Seed::create(&world.store, &person(user, "ada"), "Work", "Work").await;
    let workspace = world.control.workspace(seed.id);
    std::fs::create_dir_all(workspace.join("in")).expect("folder");
    std::fs::write(workspace.parent().expect("parent").join("secret"), "secret").expect("secret");
    symlink("../secret", workspace.join("link")).expect("link");
    symlink("..", workspace.join("up")).expect("link");
    symlink("/etc", workspace.join("etc")).expect("link");

    for path in [
        "link",
        "up/secret",
        "etc/passwd",
        "..%2Fsecret",
        "%2E%2E/secret",
        "in/..%2F..%2Fsecret",
        "in/%2e%2e/%2e%2e/secret",
        "%2Fetc%2Fpasswd",
        "/etc/passwd",
        "in",
        "a%00b",
    ] {
        let answer = world.get(&format!("/v1/executions/{}/files/{path}", seed.id), &token).await;
        assert!([400, 404].contains(&answer.status.as_u16()), "{path}: {}", answer.status);
        assert!(!answer.text().contains("secret\n"), "{path}");
    }
    let answer =
        world.get(&format!("/v1/executions/{}/files/up%2Fsecret", seed.id), &token).await.expect(404);
    insta::assert_json_snapshot!("out_of_the_workspace", answer.problem());
}
