//! From configuration repositories to a release that runs: real git, a real registry, real Podman, the real CLI.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use holdpoint_tests::{
    Server, Setup, check_log, of_kind,
    podman::{Kind, Podman},
    registry::{Registry, Repository},
};
use rstest::rstest;
use serde_json::{Value, json};

const SCRIPT: &str = r#"
scenes:
  - name: look
    when: "^look"
    turns:
      - - tool: Bash
          input: {command: "cat /app/.claude/CLAUDE.md; hello --version | head -1; cat .claude/CLAUDE.md", description: look}
        - text: "Seen."
      - - tool: Bash
          input: {command: "cat /app/.claude/CLAUDE.md", description: look again}
        - text: "Seen again."
      - - tool: Bash
          input: {command: "cat /app/.claude/CLAUDE.md .claude/CLAUDE.md", description: look a third time}
        - text: "Seen a third time."
  - name: suggest
    when: "^suggest"
    turns:
      - - tool: mcp__holdpoint__suggest_dependency
          input: {name: pandas, kind: python, purpose: read tables, workaround: the csv module}
        - text: "Done without: {{last_result}}"
"#;

const AGENTS: &str = "[agents.claude]\nlinger = \"3s\"\n[agents.claude.policy]\nallow = [\"Bash\"]\n";

struct World {
    server: Server,
    podman: Podman,
    registry: Registry,
    master: Repository,
    project: Repository,
}

impl World {
    async fn new(kind: Kind) -> Result<Self> {
        let podman = Podman::ready(kind)?;
        let registry = Registry::start("ada", "pa:ss")?;
        let setup = Setup::script(SCRIPT)
            .toml(AGENTS)
            .podman(podman.clone())
            .env("TEST_REGISTRY_USER", "ada")
            .env("TEST_REGISTRY_PASSWORD", "pa:ss");
        let server = Server::start(setup).await?;
        let (master, project) = (
            Repository::make(&server.folder().join("master"))?,
            Repository::make(&server.folder().join("project"))?,
        );
        master.commit(&[(".claude/settings.json", "{}"), ("dependencies/requirements.txt", "")])?;
        project.commit(&[
            (".claude/CLAUDE.md", "the first\n"),
            ("dependencies/system-packages.txt", "hello\n"),
        ])?;
        let world = Self { server, podman, registry, master, project };
        let deploy = format!(
            "\n[deploy]\nregistry = \"{}/team/agents\"\nnetwork = \"host\"\nkeep = 1\ncredentials = {{ user = {{ env = \"TEST_REGISTRY_USER\" }}, password = {{ env = \"TEST_REGISTRY_PASSWORD\" }} }}\nmaster = {{ git = \"{}\" }}\nproject = {{ git = \"{}\", ref = \"main\" }}\n",
            world.registry.host,
            world.master.url(),
            world.project.url()
        );
        let file = world.server.folder().join("holdpoint.toml");
        std::fs::write(&file, format!("{}{deploy}", std::fs::read_to_string(&file)?))?;
        world.owned()?;
        Ok(world)
    }

    /// What was written since belongs to whoever runs the server.
    fn owned(&self) -> Result<()> {
        self.podman.takes(&self.server.folder().join("master"))?;
        self.podman.takes(&self.server.folder().join("project"))?;
        self.podman.takes(&self.server.folder().join("holdpoint.toml"))
    }

    fn commit(&self, files: &[(&str, &str)]) -> Result<()> {
        self.project.commit(files)?;
        self.owned()
    }

    fn json(&self, args: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.server.run(&[args, &["--json"]].concat())?)?)
    }

    fn deploy(&self) -> Result<Value> {
        self.json(&["deploy", "--yes"])
    }

    /// The ids of this server's agents' images in the engine.
    fn images(&self) -> Result<Vec<String>> {
        let mark = self.mark()?;
        let found = self.podman.run(&["images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}"])?;
        let mut ids: Vec<String> = found
            .lines()
            .filter(|line| line.contains(&format!("holdpoint/agents-{mark}")))
            .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
            .collect();
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    /// What tells the images of this data folder from those of others.
    fn mark(&self) -> Result<String> {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(self.server.data.as_os_str().as_encoded_bytes());
        Ok(digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect())
    }

    /// The image that a conversation's session runs in.
    fn runs_in(&self, id: &str) -> Result<String> {
        let seen = self.json(&["inspect", id])?;
        let digest = seen["container"]["image_digest"].as_str();
        Ok(digest.with_context(|| format!("no container: {seen}"))?.to_owned())
    }

    fn seen(&self, id: &str) -> Result<String> {
        let events = self.server.export(id)?;
        let results = of_kind(&events, "tool_result");
        let last = results.last().context("a result")?;
        Ok(last["data"]["content"].as_str().unwrap_or_default().to_owned())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The engine is everybody's: what was built for this test goes with it.
        let (Ok(mark), Ok(found)) =
            (self.mark(), self.podman.run(&["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]))
        else {
            return;
        };
        for line in found.lines().filter(|line| line.contains(&mark)) {
            if let Some(name) = line.split_whitespace().next() {
                let _ = self.podman.run(&["rmi", "--force", name]);
            }
        }
        let cache = self.server.data.join("cache");
        let _ = self.podman.run(&[
            "image",
            "prune",
            "--all",
            "--force",
            "--filter",
            &format!("label=io.holdpoint.builder={}", cache.join("agents-images").display()),
        ]);
    }
}

fn id_of(done: &Value) -> Result<String> {
    Ok(done["done"]["image"].as_str().with_context(|| format!("no image: {done}"))?.to_owned())
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn an_edit_is_deployed_and_each_conversation_keeps_its_release(#[case] kind: Kind) -> Result<()> {
    let world = World::new(kind).await?;
    let plan = world.json(&["deploy", "--plan"])?;
    assert_eq!(plan["plan"]["effort"], "rebuild", "{plan}");
    assert_eq!(world.json(&["releases"])?["items"], json!([]), "a plan does nothing");

    let first = world.deploy()?;
    let image = id_of(&first)?;
    let reference = first["done"]["reference"].as_str().context("a reference")?;
    served(&world.registry.host, reference).await?;
    let lock = std::fs::read_to_string(world.server.folder().join("holdpoint.lock"))?;
    assert!(lock.contains(reference), "{lock}");

    let id = world.server.ask("claude", "look").await?;
    let hold = world.server.hold(&id, "reply", &[]).await?;
    assert_eq!(world.runs_in(&id)?, image);
    let seen = world.seen(&id)?;
    assert!(seen.starts_with("the first\nhello") && seen.ends_with("the first"), "{seen}");
    let execution = world.server.execution(&id).await?;
    assert_eq!(execution["release"]["number"], 1, "{execution}");

    // The same again is nothing.
    let begun = std::time::Instant::now();
    let nothing = world.deploy()?;
    eprintln!("nothing to do: {} ms", begun.elapsed().as_millis());
    assert_eq!(nothing["plan"]["effort"], "nothing", "{nothing}");
    assert!(nothing.get("done").is_none(), "{nothing}");

    world.commit(&[(".claude/CLAUDE.md", "the second\n")])?;
    let begun = std::time::Instant::now();
    let second = world.deploy()?;
    eprintln!("settings alone: {} ms", begun.elapsed().as_millis());
    assert_eq!(second["plan"]["effort"], "redeploy", "{second}");
    let newer = id_of(&second)?;
    assert_ne!(newer, image);

    // The next one runs on it; the old one goes on with its own, with another worker too.
    let next = world.server.ask("claude", "look").await?;
    world.server.hold(&next, "reply", &[]).await?;
    assert_eq!(world.runs_in(&next)?, newer);
    world.server.until(&id, "parked", |execution| execution["residency"] == "parked").await?;
    world.server.decide(&hold, json!({"action": "reply", "message": "again"})).await?;
    let first_hold = hold["id"].as_str().context("an id")?.to_owned();
    let hold = world.server.hold(&id, "reply", std::slice::from_ref(&first_hold)).await?;
    assert_eq!(world.runs_in(&id)?, image);
    assert_eq!(world.seen(&id)?.trim(), "the first");

    // Until it is moved.
    world.server.run(&["move", &id])?;
    world.server.until(&id, "parked", |execution| execution["residency"] == "parked").await?;
    world.server.decide(&hold, json!({"action": "reply", "message": "once more"})).await?;
    let second_hold = hold["id"].as_str().context("an id")?.to_owned();
    world.server.hold(&id, "reply", &[first_hold, second_hold]).await?;
    assert_eq!(world.runs_in(&id)?, newer);
    assert_eq!(world.seen(&id)?.trim(), "the second\nthe second", "the workspace's own, too");
    let events = world.server.export(&id)?;
    check_log(&events)?;
    assert_eq!(of_kind(&events, "release_changed").len(), 1);
    let releases: Vec<&Value> =
        of_kind(&events, "hold_answered").iter().map(|event| &event["data"]["decision"]["release"]).collect();
    assert_eq!(releases.first().map(|release| release.as_u64()), Some(Some(1)), "{releases:?}");
    assert_eq!(releases.last().map(|release| release.as_u64()), Some(Some(2)), "{releases:?}");

    // Back, and what differs.
    let diff = world.json(&["diff", "1", "2"])?;
    let what: Vec<&str> =
        diff["changes"].as_array().context("changes")?.iter().filter_map(|it| it["what"].as_str()).collect();
    assert_eq!(what, ["configuration", "project"], "{diff}");
    world.server.run(&["rollback"])?;
    let back = world.server.ask("claude", "look").await?;
    world.server.hold(&back, "reply", &[]).await?;
    assert_eq!(world.runs_in(&back)?, image);
    Ok(())
}

/// The registry serves what a reference says.
async fn served(host: &str, reference: &str) -> Result<()> {
    let (_, digest) = reference.split_once('@').context("a digest")?;
    let answer = reqwest::Client::new()
        .get(format!("http://{host}/v2/team/agents/manifests/{digest}"))
        .header("accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json")
        .basic_auth("ada", Some("pa:ss"))
        .send()
        .await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    use sha2::Digest as _;
    let found: String =
        sha2::Sha256::digest(answer.bytes().await?).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, format!("sha256:{found}"));
    Ok(())
}

#[tokio::test]
async fn killed_anywhere_the_next_deployment_finishes_and_leaves_nothing_over() -> Result<()> {
    let mut world = World::new(Kind::Rootful).await?;
    world.deploy()?;
    // At spread moments: while it looks, builds, pushes, tries out, and makes current.
    for round in 0..6_u64 {
        world.commit(&[(".claude/CLAUDE.md", &format!("round {round}\n"))])?;
        let mut client = world.server.command(&["deploy", "--yes"]);
        let mut client = client.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        tokio::time::sleep(Duration::from_millis(300 + 1_100 * round)).await;
        if round % 2 == 1 {
            world.server.kill()?;
            client.wait()?;
            world.server.up().await?;
        } else {
            client.kill()?;
            client.wait()?;
        }
        let done = world.deploy()?;
        let current = current(&world)?;
        if let Some(release) = done["done"]["release"].as_u64() {
            assert_eq!(release, current.0, "round {round}");
        }
        let id = world.server.ask("claude", "look").await?;
        world.server.hold(&id, "reply", &[]).await?;
        assert_eq!(world.runs_in(&id)?, current.1, "round {round}");
        assert!(world.seen(&id)?.starts_with(&format!("round {round}\n")), "round {round}");
        world.server.run(&["cancel", &id])?;
    }
    // One more, so that what those conversations needed may go.
    world.commit(&[(".claude/CLAUDE.md", "the last\n")])?;
    world.deploy()?;
    let releases = world.json(&["releases"])?;
    let releases = releases["items"].as_array().context("releases")?;
    let mut kept: Vec<String> = releases
        .iter()
        .filter(|release| release["state"] == "current" || release["state"] == "retired")
        .filter_map(|release| release["lock"]["image"]["id"].as_str().map(str::to_owned))
        .collect();
    kept.sort();
    kept.dedup();
    assert_eq!(kept.len(), 2, "the current one and one to go back to: {releases:#?}");
    assert_eq!(world.images()?, kept, "{releases:#?}");
    assert!(releases.iter().all(|release| release["state"] != "building"), "{releases:#?}");
    let containers = world.podman.run(&["ps", "--all", "--format", "{{.Names}} {{.Labels}}"])?;
    let cache = world.server.data.join("cache").display().to_string();
    assert!(!containers.contains(&cache), "a container of a build was left: {containers}");
    Ok(())
}

fn current(world: &World) -> Result<(u64, String)> {
    let releases = world.json(&["releases"])?;
    let current = releases["items"].as_array().context("releases")?;
    let current = current.iter().find(|release| release["state"] == "current").context("a current one")?;
    let image = current["lock"]["image"]["id"].as_str().context("an image")?;
    Ok((current["number"].as_u64().context("a number")?, image.to_owned()))
}

#[tokio::test]
async fn what_does_not_go_together_or_does_not_work_is_said_and_changes_nothing() -> Result<()> {
    let world = World::new(Kind::Rootful).await?;
    let fails = |world: &World| -> Result<String> {
        let output = world.server.command(&["deploy", "--yes"]).stdin(Stdio::null()).output()?;
        ensure!(!output.status.success(), "it went through");
        Ok(String::from_utf8(output.stderr)?)
    };
    // Lines that contradict each other: told with both places, before anything is built.
    world.master.commit(&[("dependencies/requirements.txt", "requests>=2.28\n")])?;
    world.commit(&[("dependencies/requirements.txt", "requests<2.27\n")])?;
    let said = fails(&world)?;
    for part in
        ["master: dependencies/requirements.txt:1", "project: dependencies/requirements.txt:1", "requests"]
    {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    assert_eq!(world.json(&["releases"])?["items"], json!([]));
    // A package that there is not.
    world.master.commit(&[("dependencies/requirements.txt", "\n")])?;
    world.commit(&[
        ("dependencies/requirements.txt", "\n"),
        ("dependencies/system-packages.txt", "no-such-package-of-debian\n"),
    ])?;
    let said = fails(&world)?;
    assert!(said.contains("no-such-package-of-debian"), "{said}");
    let releases = world.json(&["releases"])?;
    assert_eq!(releases["items"][0]["state"], "failed", "{releases}");
    // One that works, whose image goes: nobody can go back to it, and what is current stays so.
    world.commit(&[("dependencies/system-packages.txt", "hello\n")])?;
    let done = world.deploy()?;
    world.commit(&[(".claude/CLAUDE.md", "the second\n")])?;
    world.deploy()?;
    let number = done["done"]["release"].to_string();
    world.podman.run(&["rmi", "--force", &id_of(&done)?])?;
    // A conversation says what is missing in its image, and where to ask for it.
    let id = world.server.ask("claude", "suggest").await?;
    world.server.hold(&id, "reply", &[]).await?;
    let events = world.server.export(&id)?;
    let suggested = of_kind(&events, "dependency_suggested");
    assert_eq!(suggested.len(), 1, "{events:#?}");
    assert_eq!(suggested[0]["data"]["name"], "pandas");
    assert_eq!(of_kind(&events, "hold_opened").len(), 2, "only the one by rule, and the reply: {events:#?}");
    let diff = world.json(&["diff", &number, "99"]);
    assert!(diff.is_err_and(|error| error.to_string().contains("99")));
    Ok(())
}

#[tokio::test]
async fn without_repositories_a_deployment_is_new_settings() -> Result<()> {
    let server = Server::start(Setup::script(SCRIPT).toml(AGENTS)).await?;
    let deploy = |server: &Server| -> Result<Value> {
        Ok(serde_json::from_str(&server.run(&["deploy", "--yes", "--json"])?)?)
    };
    let first = deploy(&server)?;
    assert_eq!((&first["done"]["release"], &first["done"]["image"]), (&json!(1), &json!(null)), "{first}");
    let file = server.folder().join("holdpoint.toml");
    edit(&file, "allow = [\"Bash\"]", "allow = [\"Read\"]")?;
    let second = deploy(&server)?;
    assert_eq!(second["plan"]["effort"], "reload", "{second}");
    // New conversations ask now; nothing was restarted.
    let id = server.ask("claude", "look").await?;
    server.hold(&id, "tool", &[]).await?;
    server.run(&["rollback", "1"])?;
    let id = server.ask("claude", "look").await?;
    server.hold(&id, "reply", &[]).await?;
    Ok(())
}

fn edit(file: &Path, from: &str, to: &str) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    ensure!(text.contains(from), "{from:?} is not in {text}");
    Ok(std::fs::write(file, text.replace(from, to))?)
}
