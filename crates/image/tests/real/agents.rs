//! Images of agents, installed and used.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use anyhow::{Context as _, Result};
use holdpoint_image::{
    agents::{self, LayerKind, Progress, SourceNote, build, remove_unused},
    list,
    registry::{Access, push},
};
use serde_json::{Value, json};

use crate::parts::{Registry, World, file, shown, until};

/// Keeps what it is told.
#[derive(Default)]
struct Told {
    lines: Mutex<Vec<String>>,
    began: AtomicBool,
}

impl Progress for Told {
    fn layer(&self, _: LayerKind, _: bool) {}

    fn line(&self, layer: LayerKind, line: &str) {
        self.began.store(true, Ordering::SeqCst);
        if let Ok(mut lines) = self.lines.lock() {
            lines.push(format!("{layer}: {line}"));
        }
    }
}

/// What a session does with what was installed, from `/app` and from elsewhere.
const USE: &str = r#"
tree --version >/dev/null
python3 -c 'import six, tabulate; assert six.__version__ == "1.16.0"'
printf '1 2\n' | tabulate >/dev/null
node -e 'require("left-pad")'
semver 1.2.3
cd /
node -e 'require("left-pad")'
node --input-type=module -e 'import "left-pad"'
test "$(pwd -P)" = / && test "$HOME" = /app/template_user
test -d /app/.claude/debug && test -d /app/template_user/.claude/debug
cat /app/plugins/market/plugins/tool/plugin.json /app/.claude/settings.json "$HOME/.claude/CLAUDE.md"
test ! -e /holdpoint-build
find /app ! -user 1000
id -u
"#;

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_asked_for_is_there_and_settings_alone_install_nothing() -> Result<()> {
    let world = World::rootful().await?;
    let base = world.base().await?;
    let mut inputs = world.inputs(&base);
    inputs.dependencies.system = vec!["tree".into()];
    // Layers of these keys are nobody else's, not even those of a test that was killed.
    let unique = inputs.name.clone();
    inputs.dependencies.requirements = Some(format!("# {unique}\nsix==1.16.0\ntabulate\n"));
    let package_json = json!({"private": true, "description": unique,
        "dependencies": {"left-pad": "1.3.0", "semver": "7.6.0"}});
    inputs.dependencies.package_json = Some(package_json.to_string());
    inputs.env.insert("SECRET_OF_THE_BUILD".into(), "it's a $ecret".into());
    inputs.project_claude.insert("settings.json", file("{\"a\":1}\n"))?;
    inputs.user_claude.insert("CLAUDE.md", file("be kind\n"))?;
    inputs.plugins.insert("market/plugins/tool/plugin.json", file("{}\n"))?;
    inputs.sources = vec![SourceNote {
        role: "project".into(),
        from: "https://git.example/x".into(),
        revision: "abc".into(),
    }];
    // Whatever a test that was killed left of system packages.
    inputs.fresh = true;
    let told = Told::default();
    let began = Instant::now();
    let first = build(&world.containers, &inputs, &told).await.map_err(shown)?;
    println!("first build: {:.1} s", began.elapsed().as_secs_f64());
    let kinds: Vec<_> = first.layers.iter().map(|layer| (layer.kind, layer.was_cached)).collect();
    let expected = [LayerKind::System, LayerKind::Python, LayerKind::Npm, LayerKind::Configuration];
    assert_eq!(kinds, expected.map(|kind| (kind, false)));
    let said = told.lines.lock().map(|lines| lines.join("\n")).unwrap_or_default();
    for line in
        ["system packages: Setting up tree", "Python packages: Successfully installed", "npm packages: added"]
    {
        assert!(said.contains(line), "{line} is missing in {said}");
    }

    let used = world.inside(&first.id, USE)?;
    assert_eq!(used, "1.2.3\n{}\n{\"a\":1}\nbe kind\n1000\n");
    let manifest: Value =
        serde_json::from_str(&world.inside(&first.id, "cat /app/.dependency-manifest.json")?)?;
    assert_eq!(
        (&manifest["timestamp"], &manifest["sources"][0]["revision"]),
        (&"2026-09-21T14:13:20Z".into(), &"abc".into())
    );
    assert!(manifest["system"]["tree"].is_string() && manifest["system"]["python3-pip"].is_string());
    let has = |of: &str, name: &str, version: &str| {
        let packages = manifest[of]["packages"].as_array().into_iter().flatten();
        packages.into_iter().any(|one| one["name"] == name && one["version"] == version)
    };
    assert!(
        has("python", "six", "1.16.0")
            && has("nodejs", "left-pad", "1.3.0")
            && has("nodejs", "semver", "7.6.0")
    );
    let shown_image = world.podman(&["image", "inspect", &first.id])?;
    let inspected: Value = serde_json::from_str(&shown_image)?;
    assert_eq!(inspected[0]["Config"]["WorkingDir"], "/app");
    assert_eq!(inspected[0]["Config"]["User"], "1000:1000");
    assert_eq!(inspected[0]["Config"]["Labels"]["io.holdpoint.image"], "agents");
    assert!(!shown_image.contains("SECRET_OF_THE_BUILD"), "variables of the build are in the image");

    // Settings alone.
    inputs.fresh = false;
    let mut settings = inputs.clone();
    settings.project_claude.insert("settings.json", file("{\"a\":2}\n"))?;
    settings.name = settings.name.replace(":1", ":2");
    let began = Instant::now();
    let second = build(&world.containers, &settings, &Told::default()).await.map_err(shown)?;
    println!("settings alone: {:.1} s", began.elapsed().as_secs_f64());
    for (before, after) in first.layers.iter().zip(&second.layers).take(3) {
        assert!(after.was_cached && before.digest == after.digest, "{before:?} {after:?}");
    }
    assert_ne!(first.layers.last(), second.layers.last());
    assert_eq!(world.inside(&second.id, "cat /app/.claude/settings.json")?, "{\"a\":2}\n");
    let again = build(&world.containers, &inputs, &Told::default()).await.map_err(shown)?;
    assert_eq!(
        (&again.id, &again.installed),
        (&first.id, &first.installed),
        "the same inputs are the same image"
    );

    // The registry's digest, not the engine's.
    let registry = Registry::start(None).await?;
    let began = Instant::now();
    let repository = format!("{}/team/agents", registry.host);
    let pushed = push(&world.containers, &second.id, &repository, "2", &Access::default(), &|_: &str| {})
        .await
        .map_err(shown)?;
    println!("push: {:.1} s", began.elapsed().as_secs_f64());
    let local: Value = serde_json::from_str(&world.podman(&["image", "inspect", &second.id])?)?;
    println!("the engine says {}, the registry {}", local[0]["Digest"], pushed.digest);
    assert_ne!(local[0]["Digest"], pushed.digest.as_str(), "layers are compressed on the way");

    // Base images are listed without those on top of them.
    let bases = list(&world.containers).await.map_err(shown)?;
    assert!(bases.iter().all(|found| found.id != first.id), "{bases:?}");
    let (repository, _) = inputs.name.rsplit_once(':').context("a tag")?;
    let gone =
        remove_unused(&world.containers, &inputs.cache, repository, &[&second.id]).await.map_err(shown)?;
    assert_eq!(gone, [first.id], "the layers are those of the second too");
    let gone = remove_unused(&world.containers, &inputs.cache, repository, &[]).await.map_err(shown)?;
    assert_eq!(gone.len(), 4, "the image and three layers: {gone:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_build_leaves_is_removed_and_a_missing_package_is_named() -> Result<()> {
    let world = World::rootful().await?;
    let base = world.base().await?;
    let left = |inputs: &agents::AgentsInputs| {
        let label = format!("label=io.holdpoint.builder={}", inputs.cache.display());
        world.podman(&["ps", "--all", "--quiet", "--filter", &label]).unwrap_or_default()
    };

    let mut inputs = world.inputs(&base);
    inputs.dependencies.system = vec!["no-such-package-of-debian".into()];
    let problem = build(&world.containers, &inputs, &Told::default()).await.expect_err("there is none");
    assert!(problem.what.contains("no-such-package-of-debian"), "{problem:?}");
    assert!(problem.why.contains("Unable to locate package"), "{problem:?}");
    assert_eq!(left(&inputs), "");

    // Somebody lost patience.
    inputs.dependencies.system = vec!["tree".into()];
    inputs.fresh = true;
    let told = Told::default();
    tokio::select! {
        _ = build(&world.containers, &inputs, &told) => panic!("it should not have ended"),
        began = until("apt says something", || told.began.load(Ordering::SeqCst)) => began?,
    }
    until("its container is gone", || left(&inputs).is_empty()).await?;

    // One that was killed has no such chance.
    let builder = format!("io.holdpoint.builder={}", inputs.cache.display());
    let mut args = vec!["run", "--detach", "--network", "none", "--label", &builder];
    args.extend([&*base, "sleep", "600"]);
    world.podman(&args)?;
    let built = build(&world.containers, &inputs, &Told::default()).await.map_err(shown)?;
    assert_eq!(left(&inputs), "");
    let repository = inputs.name.trim_end_matches(":1");
    let kept =
        remove_unused(&world.containers, &inputs.cache, repository, &[&built.id]).await.map_err(shown)?;
    assert_eq!(kept, [""; 0]);
    remove_unused(&world.containers, &inputs.cache, repository, &[]).await.map_err(shown)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_user_builds_too() -> Result<()> {
    let world = World::rootless().await?;
    let base = world.base().await?;
    let mut inputs = world.inputs(&base);
    inputs.dependencies.system = vec!["tree".into()];
    inputs.fresh = true;
    inputs.project_claude.insert("settings.json", file("{}\n"))?;
    let began = Instant::now();
    let built = build(&world.containers, &inputs, &Told::default()).await.map_err(shown)?;
    println!("rootless: {:.1} s", began.elapsed().as_secs_f64());
    assert_eq!(
        world.inside(&built.id, "tree --version >/dev/null; find /app ! -user 1000; id -u")?,
        "1000\n"
    );
    let repository = inputs.name.trim_end_matches(":1");
    let gone = remove_unused(&world.containers, &inputs.cache, repository, &[]).await.map_err(shown)?;
    assert_eq!(gone.len(), 2, "{gone:?}");
    Ok(())
}
