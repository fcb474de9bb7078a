//! The base image, built by the real program, in a real Podman.
//!
//! Where a machine cannot do that, the program's own words fail the test: which part is missing, and what
//! to type. `cargo xtask tools` installs all of them on Debian.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use holdpoint_model::image::{CLI_PATH, MANIFEST_PATH, PROGRAM_PATH};
use holdpoint_tests::{build_dir, claude, holdpoint, podman::CONTAINERS_CONF};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// A data folder whose Debian layer is kept from one run of the tests to the next.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let tools = build_dir()?.parent().context("no target folder")?.join("test-tools/image-cache");
        fs::create_dir_all(&tools)?;
        fs::create_dir(folder.path().join("data"))?;
        std::os::unix::fs::symlink(tools, folder.path().join("data/cache"))?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(folder.path().join("data"), mode)?;
        fs::write(folder.path().join("containers.conf"), CONTAINERS_CONF)?;
        fs::write(
            folder.path().join("holdpoint.toml"),
            format!("[claude]\ncli = {:?}\n", claude()?.display().to_string()),
        )?;
        // As the program does before it writes into it, so that it does not take it for somebody else's.
        fs::write(folder.path().join("data/holdpoint.db"), "")?;
        Ok(Self { folder })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("CONTAINERS_CONF", self.at("containers.conf"));
        command
    }

    /// What `holdpoint image …` prints.
    fn image(&self, args: &[&str]) -> Result<Value> {
        let mut command = self.command(&holdpoint()?);
        command.arg("--data").arg(self.at("data")).arg("--config").arg(self.at("holdpoint.toml"));
        Ok(serde_json::from_str(&output(command.args(["--json", "image"]).args(args))?)?)
    }

    fn podman(&self, args: &[&str]) -> Result<String> {
        output(self.command(Path::new("podman")).args(args))
    }

    /// What a command prints in a container of this image, locked up as sessions are.
    fn inside(&self, image: &str, user: &str, command: &[&str]) -> Result<String> {
        let mut args = vec!["run", "--rm", "--user", user, "--read-only", "--network", "none"];
        args.extend(["--cap-drop", "all", "--security-opt", "no-new-privileges", image]);
        args.extend(command);
        self.podman(&args)
    }
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("failed to start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_base_image_is_the_same_each_time_and_runs_locked_up_as_anybody() -> Result<()> {
    let world = World::new()?;
    let first = world.image(&["build", "--base"])?;
    let second = world.image(&["build", "--base"])?;
    for key in ["name", "id", "digest", "layers", "manifest"] {
        assert_eq!(first[key], second[key], "{key}");
    }
    assert_eq!((&second["was_there"], &second["debian_was_kept"]), (&true.into(), &true.into()));
    let id = text(&first["id"]);

    // By the agent's own account, and by one that the image does not know.
    for user in ["1000", "4711:4711"] {
        assert!(world.inside(&id, user, &["claude", "--version"])?.starts_with("2.1.330"));
        assert!(world.inside(&id, user, &["holdpoint", "--version"])?.starts_with("holdpoint "));
    }
    let tools = "for tool in bash git curl rg jq less ps diff patch unzip; do command -v $tool >/dev/null || echo $tool; done; \
                 python3 -c 'import json, urllib.request, ssl'";
    assert_eq!(world.inside(&id, "1000", &["sh", "-c", tools])?, "", "these are missing");
    let privileged = ["sh", "-c", "find / -xdev -perm /6000; getcap -r / 2>/dev/null; true"];
    assert_eq!(world.inside(&id, "0", &privileged)?, "", "programs with the rights of others");
    let accounts =
        world.inside(&id, "0:0", &["sh", "-c", "cat /etc/shadow; cat /etc/machine-id 2>/dev/null; true"])?;
    assert!(accounts.lines().all(|line| line.ends_with(":*:::::::")), "{accounts}");
    assert_eq!(world.inside(&id, "1000", &["sh", "-c", "echo $LANG $HOME"])?, "C.UTF-8 /home/agent\n");

    // What the image says of itself is what is in it.
    let manifest = world.inside(&id, "1000", &["cat", MANIFEST_PATH])?;
    let digest: String = Sha256::digest(&manifest).iter().map(|byte| format!("{byte:02x}")).collect();
    let listed = world.image(&["list"])?;
    let own = listed["images"].as_array().and_then(|images| images.iter().find(|image| image["id"] == id));
    let own = own.with_context(|| format!("the image is not listed: {listed}"))?;
    assert_eq!((text(&own["manifest_sha256"]), &own["is_of_this_program"]), (digest, &true.into()));
    let manifest: Value = serde_json::from_str(&manifest)?;
    assert_eq!(world.image(&["show", &id])?, manifest);
    assert_eq!(first["manifest"], manifest);
    let sums = world.inside(&id, "1000", &["sha256sum", CLI_PATH, PROGRAM_PATH])?;
    for part in ["cli", "holdpoint"] {
        assert!(sums.contains(&text(&manifest[part]["sha256"])), "{part}: {sums}");
    }
    let versions = world.inside(&id, "1000", &["dpkg-query", "-W", "-f", "${Package} ${Version}\n"])?;
    let packages = manifest["debian"]["packages"].as_array().context("no packages")?;
    let mut said: Vec<_> =
        packages.iter().map(|one| format!("{} {}", text(&one["name"]), text(&one["version"]))).collect();
    let mut there: Vec<_> = versions.lines().map(str::to_owned).collect();
    there.sort();
    said.sort();
    assert_eq!(said, there);

    if first["was_there"] == false {
        world.podman(&["rmi", &id])?;
    }
    Ok(())
}

#[test]
fn without_an_engine_every_place_that_was_looked_at_is_named() -> Result<()> {
    let world = World::new()?;
    fs::write(world.at("holdpoint.toml"), "[container]\nengine = \"/nowhere/engine.sock\"\n")?;
    let mut command = world.command(&holdpoint()?);
    command.arg("--data").arg(world.at("data")).arg("--config").arg(world.at("holdpoint.toml"));
    let output = command.args(["image", "build", "--base"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for part in ["no container engine can be used", "there is no socket /nowhere/engine.sock"] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    Ok(())
}
