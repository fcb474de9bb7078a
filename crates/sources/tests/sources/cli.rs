//! The real CLI finds the plugins in the layout of the image, without a network.

use std::{fs, path::PathBuf, process::Stdio, time::Duration};

use holdpoint_model::tree::Tree;
use holdpoint_sources::{marketplace_trees, settled};

use crate::{plugins::World, site::PATH};

/// How long the CLI may take; it tells its plugins before it asks the model, which it will not reach.
const LIMIT: Duration = Duration::from_secs(60);

fn cli() -> PathBuf {
    // Tests are in `target/PROFILE/deps`.
    let own = std::env::current_exe().expect("this program");
    let cli = own.ancestors().nth(3).expect("a target folder").join("test-tools/claude-2.1.330/claude");
    assert!(cli.is_file(), "no Claude CLI at {}: run `cargo xtask test`, which installs it", cli.display());
    cli
}

fn write(tree: &Tree, to: &std::path::Path) {
    for (path, file) in tree.iter() {
        let path = to.join(path);
        fs::create_dir_all(path.parent().expect("above")).expect("folder");
        fs::write(path, &file.bytes).expect("file");
    }
}

#[tokio::test]
async fn the_cli_finds_the_plugins_where_they_lie() {
    let world = World::new();
    let sources = world.site.sources();
    let configuration = world.configuration(&sources).await;
    let plugins = sources.plugins(&configuration.plugins, &[]).await.expect("fetched").plugins;
    let app = world.site.path("app");
    let folder = app.join("plugins");
    write(&marketplace_trees(&plugins).expect("fits"), &folder);
    let settled = settled(&configuration, &plugins, &folder.display().to_string()).expect("fits");
    write(&settled.user_claude, &app.join("template_user/.claude"));
    write(&settled.project_claude, &app.join(".claude"));

    let child = tokio::process::Command::new(cli())
        .args(["-p", "--output-format", "stream-json", "--verbose", "hi"])
        .env_clear()
        .envs([
            ("PATH", PATH),
            ("ANTHROPIC_API_KEY", "none"),
            // Nobody listens there, and nothing else is asked.
            ("ANTHROPIC_BASE_URL", "http://127.0.0.1:9"),
            ("HTTPS_PROXY", "http://127.0.0.1:9"),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            ("CLAUDE_CODE_MAX_RETRIES", "0"),
        ])
        .env("HOME", app.join("template_user"))
        .current_dir(&app)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, child).await.expect("in time").expect("runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let init = lines.into_iter().find(|line| line["subtype"] == "init").expect("it tells what it has");
    let plugins = init["plugins"].as_array().expect("a list");
    for (name, marketplace) in
        [("inside", "market"), ("bare", "market"), ("own", "market"), ("sub", "market"), ("here", "local")]
    {
        let path = folder.join(marketplace).join("plugins").join(name).display().to_string();
        let found = plugins.iter().any(|it| it["path"] == path.as_str());
        assert!(found, "{name} is not at {path}: {plugins:#?}");
    }
    let commands = init["slash_commands"].to_string();
    for command in ["inside:hi", "bare:b", "own:own", "sub:sub", "here:here"] {
        assert!(commands.contains(command), "{command} is missing in {commands}");
    }
}
