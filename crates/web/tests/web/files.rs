//! Result files, and what must never be one.

use std::os::unix::fs::symlink;

use holdpoint_model::{AgentDef, Role};
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

#[tokio::test]
async fn what_an_agent_keeps_to_itself_is_neither_listed_nor_downloaded() {
    let world = World::new().await;
    let (user, token) = world.user("ada", Role::Asker).await;
    let cookie = world.cookie(user).await;
    let definition = AgentDef { exclude: vec!["*.log".into(), "private".into()], ..AgentDef::builtin() };
    let me = person(user, "ada");
    let mut seed = Seed::create_with(&world.store, &me, "Work", "Work", "claude", definition, true).await;
    let workspace = world.control.workspace(seed.id);
    let (shown, kept) = (
        ["out/report.md", "attachments/in.csv", ".env"],
        [".claude/settings.json", "sub/.claude/a", "run.log", "private/key"],
    );
    for path in shown.iter().chain(&kept) {
        let path = workspace.join(path);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(path, "content").expect("file");
    }
    seed.work().await;
    // Even if a worker tells of them all.
    let all: Vec<(&str, u64)> = shown.iter().chain(&kept).map(|path| (*path, 7)).collect();
    seed.files(&all).await;
    let list = world.get(&format!("/v1/executions/{}/files", seed.id), &token).await.expect(200).json();
    let listed: Vec<&str> =
        list["items"].as_array().expect("items").iter().filter_map(|file| file["path"].as_str()).collect();
    assert_eq!(listed, shown);
    let page = world.page(&format!("/executions/{}", seed.id), &cookie).await.expect(200);
    for path in shown {
        world.get(&format!("/v1/executions/{}/files/{path}", seed.id), &token).await.expect(200);
        assert!(page.text().contains(&format!("data-file=\"{path}\"")), "{path}");
    }
    for path in kept.iter().copied().chain(["./run.log", "private//key", ".claude/./settings.json"]) {
        let path = path.replace("./", "%2E/");
        let answer = world.get(&format!("/v1/executions/{}/files/{path}", seed.id), &token).await;
        assert_eq!(answer.expect(404).problem()["code"], "no_such_file", "{path}");
        assert!(!page.text().contains(&format!("data-file=\"{path}\"")), "{path}");
    }
}
