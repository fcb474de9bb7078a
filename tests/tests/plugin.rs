//! The Claude Code plugin: installed from its marketplace by the real CLI, its commands run by the real CLI against a
//! script, over the real program. What the program said is what the model was told.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures::future::BoxFuture;
use holdpoint_gateway::{
    Call, MemoryRecorder, Rehearsal, Reply, Script, Upstream, UpstreamError,
    rehearsal::{Always, Journal},
    testing::{TestHandle, TestTickets, serve},
};
use holdpoint_model::ExecutionId;
use holdpoint_tests::{Server, Setup, claude, free_port, holdpoint};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{process::Command, sync::Semaphore};
use uuid::Uuid;

/// Longest wait for a command of the CLI. It starts in half a second; two busy cores take longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many CLIs run at once: each needs some 200 MB and a core while it starts.
static PLACES: Semaphore = Semaphore::const_new(2);

/// A model that has nothing to add.
const LISTENS: &str = "scenes: [{turns: [[{text: I see.}]]}]";

/// The scripted model, and every request that reached it.
struct Listener {
    script: Rehearsal,
    heard: Arc<Mutex<Vec<Value>>>,
}

impl Upstream for Listener {
    fn send(&self, call: Call) -> BoxFuture<'_, Result<Reply, UpstreamError>> {
        if let Ok(request) = serde_json::from_slice(&call.body) {
            self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        }
        self.script.send(call)
    }
}

/// A person's Claude Code with the plugin, and `holdpoint` on its PATH.
struct Stage {
    folder: TempDir,
    data: PathBuf,
    config: PathBuf,
    base_url: String,
    heard: Arc<Mutex<Vec<Value>>>,
    _gateway: TestHandle,
}

impl Stage {
    /// With a data folder that nothing has ever been in.
    async fn new(script: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("holdpoint-plugin-").tempdir()?;
        let config = folder.path().join("holdpoint.toml");
        let toml =
            format!("engine = \"process\"\nport = {}\n[claude]\ncli = {:?}\n", free_port()?, claude()?);
        std::fs::write(&config, toml)?;
        let data = folder.path().join("data");
        Self::over(script, folder, data, config).await
    }

    /// With the data folder of a control plane that runs.
    async fn of(server: &Server, script: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("holdpoint-plugin-").tempdir()?;
        Self::over(script, folder, server.data.clone(), server.folder().join("holdpoint.toml")).await
    }

    async fn over(script: &str, folder: TempDir, data: PathBuf, config: PathBuf) -> Result<Self> {
        for name in ["home", "work", "bin"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        std::os::unix::fs::symlink(holdpoint()?, folder.path().join("bin/holdpoint"))?;
        let heard = Arc::new(Mutex::default());
        let journal = Journal::memory();
        let script = Rehearsal::new(Always(Arc::new(Script::parse(script, "plugin.yaml")?)), journal.clone());
        let listener = Listener { script, heard: Arc::clone(&heard) };
        let (base_url, gateway) = serve(Arc::new(listener), MemoryRecorder::new(), journal).await?;
        let stage = Self { folder, data, config, base_url, heard, _gateway: gateway };
        stage.install().await?;
        Ok(stage)
    }

    /// As a person does it, from a checkout of the repository.
    async fn install(&self) -> Result<()> {
        let marketplace = repository()?.display().to_string();
        self.succeeds(&["plugin", "marketplace", "add", &marketplace]).await?;
        self.succeeds(&["plugin", "install", "holdpoint@holdpoint"]).await?;
        Ok(())
    }

    fn command(&self, program: &Path) -> Command {
        let at = |name: &str| self.folder.path().join(name);
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", at("bin").display()))
            .env("HOME", at("home"))
            .env("CLAUDE_CONFIG_DIR", at("home").join(".claude"))
            .env("ANTHROPIC_API_KEY", TestTickets::token(ExecutionId(Uuid::now_v7()), 1))
            .env("ANTHROPIC_BASE_URL", &self.base_url)
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("DISABLE_TELEMETRY", "1")
            .env("HOLDPOINT_DATA", &self.data)
            .env("HOLDPOINT_CONFIG", &self.config)
            .env("NO_COLOR", "1")
            .current_dir(at("work"))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// The CLI with these arguments.
    async fn claude(&self, args: &[&str]) -> Result<Output> {
        let _place = PLACES.acquire().await?;
        let run = self.command(&claude()?).args(args).output();
        Ok(tokio::time::timeout(PATIENCE, run)
            .await
            .with_context(|| format!("claude {args:?} does not end"))??)
    }

    async fn succeeds(&self, args: &[&str]) -> Result<String> {
        let output = self.claude(args).await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "claude {args:?} ended with {}:\n{said}{words}", output.status);
        Ok(said)
    }

    /// Types a command of the plugin, and returns the CLI's result.
    async fn types(&self, command: &str) -> Result<Value> {
        let said = self.succeeds(&["-p", command, "--output-format", "json"]).await?;
        let result: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
        ensure!(result["is_error"] == false, "{command} failed: {said}");
        Ok(result)
    }

    /// What the program itself says.
    async fn holdpoint(&self, args: &[&str]) -> Result<Value> {
        let output = self.command(&holdpoint()?).args(args).output().await?;
        let said = String::from_utf8(output.stdout)?;
        serde_json::from_str(&said)
            .with_context(|| format!("holdpoint {args:?}: {said}{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// All that the model was told in the name of the person.
    fn heard(&self) -> String {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let messages = heard.iter().filter_map(|request| request["messages"].as_array()).flatten();
        let texts = messages.filter(|message| message["role"] == "user").flat_map(|message| {
            let blocks = message["content"].as_array().cloned().unwrap_or_default();
            let text = message["content"].as_str().map(str::to_owned);
            text.into_iter()
                .chain(blocks.into_iter().filter_map(|block| Some(block["text"].as_str()?.to_owned())))
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// The JSON that the model was told, a line each.
    fn heard_json(&self) -> Vec<Value> {
        let heard = self.heard();
        heard
            .lines()
            .filter(|line| line.starts_with('{'))
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

/// The root of the repository.
fn repository() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?)
}

/// Each check with its verdict: what else is said may differ from one moment to the next.
fn verdicts(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let checks = report["checks"].as_array().into_iter().flatten();
    checks.map(|check| (text(&check["check"]), text(&check["verdict"]))).collect()
}

#[tokio::test]
async fn the_cli_finds_marketplace_and_plugin_valid() -> Result<()> {
    let stage = Stage::new(LISTENS).await?;
    let root = repository()?;
    for path in [root.clone(), root.join("plugin")] {
        let said = stage.succeeds(&["plugin", "validate", "--strict", &path.display().to_string()]).await?;
        assert!(said.contains("Validation passed"), "{said}");
    }
    let listed: Value = serde_json::from_str(&stage.succeeds(&["plugin", "list", "--json"]).await?)?;
    assert_eq!(
        (&listed[0]["id"], &listed[0]["enabled"]),
        (&"holdpoint@holdpoint".into(), &true.into()),
        "{listed}"
    );
    Ok(())
}

#[tokio::test]
async fn doctor_tells_the_model_what_is_wrong() -> Result<()> {
    let stage = Stage::new(LISTENS).await?;
    // A port that another has is a problem: the program ends with 1, and what it found arrives all the same.
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let config = std::fs::read_to_string(&stage.config)?;
    let port = format!("port = {}\n", taken.local_addr()?.port());
    let config: String = config
        .lines()
        .map(|line| if line.starts_with("port") { port.clone() } else { format!("{line}\n") })
        .collect();
    std::fs::write(&stage.config, config)?;

    let own = stage.holdpoint(&["doctor", "--json"]).await?;
    assert_eq!(own["verdict"], "problem", "{own}");
    stage.types("/holdpoint:doctor").await?;
    let heard = stage.heard_json();
    let report = heard.iter().find(|json| json["checks"].is_array()).with_context(|| stage.heard())?;
    assert_eq!(verdicts(report), verdicts(&own));
    assert!(verdicts(report).contains(&("ports".into(), "problem".into())), "{report}");
    assert!(stage.heard().contains("holdpoint up --port "), "{}", stage.heard());
    assert!(!stage.data.exists(), "it makes nothing");
    Ok(())
}

#[tokio::test]
async fn setup_begins_with_what_is_missing() -> Result<()> {
    let stage = Stage::new(LISTENS).await?;
    stage.types("/holdpoint:setup").await?;
    let report = stage.heard_json().into_iter().find(|json| json["checks"].is_array());
    let report = report.with_context(|| stage.heard())?;
    assert!(verdicts(&report).contains(&("control plane".into(), "warning".into())), "{report}");
    // What `status` said.
    assert!(stage.heard().contains("error: Holdpoint is not running"), "{}", stage.heard());
    Ok(())
}

#[tokio::test]
async fn down_stops_what_runs() -> Result<()> {
    let mut server = Server::start(Setup::script(LISTENS)).await?;
    let stage = Stage::of(&server, LISTENS).await?;
    stage.types("/holdpoint:down").await?;
    let heard = stage.heard_json();
    let said = heard.iter().find(|json| json["was_running"].is_boolean()).with_context(|| stage.heard())?;
    assert_eq!(said["was_running"], true, "{said}");
    assert!(!server.is_up(), "it still runs");
    Ok(())
}

#[tokio::test]
async fn deploy_shows_the_plan_first() -> Result<()> {
    let stage = Stage::new(LISTENS).await?;
    let own = stage.holdpoint(&["deploy", "--plan", "--json"]).await?;
    stage.types("/holdpoint:deploy").await?;
    let keys = |value: &Value| -> Vec<String> {
        value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
    };
    let heard = stage.heard_json();
    let plan = heard.iter().find(|json| keys(json) == keys(&own)).with_context(|| stage.heard())?;
    assert!(!keys(plan).is_empty(), "{plan}");
    Ok(())
}

#[tokio::test]
async fn no_command_lets_the_model_do_what_the_person_did_not_agree_to() -> Result<()> {
    for (command, tried) in [
        ("/holdpoint:deploy", "holdpoint deploy --yes --json"),
        ("/holdpoint:doctor", "holdpoint down --json"),
        ("/holdpoint:setup", "holdpoint up --no-open"),
    ] {
        let tries = format!(
            "scenes: [{{turns: [[{{tool: Bash, input: {{command: {tried:?}, description: Try it}}}}, {{text: It was refused.}}]]}}]"
        );
        let stage = Stage::new(&tries).await?;
        let result = stage.types(command).await?;
        let denied = &result["permission_denials"];
        assert_eq!(denied[0]["tool_input"]["command"], tried, "{command}: {result}");
        assert!(!stage.data.exists(), "{command} has made something");
    }
    Ok(())
}
