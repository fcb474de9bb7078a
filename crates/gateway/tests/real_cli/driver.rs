//! Just enough of the CLI's control protocol to stop it where it hurts. The proper driver is
//! `holdpoint-claude`, which is tested against this crate and so cannot be used here.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail};
use holdpoint_gateway::{
    MemoryRecorder, Script,
    rehearsal::{Entry, HOLDS},
    testing::{TestHandle, TestTickets, test_server},
};
use holdpoint_model::ExecutionId;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use uuid::Uuid;

/// Longest wait for anything the CLI says. It starts in half a second; two busy cores take longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many CLIs run at once: each needs some 200 MB and a core while it starts.
static PLACES: Semaphore = Semaphore::const_new(2);

/// A gateway with the `holds.yaml` script, and the folders of one session.
pub(crate) struct Stage {
    pub(crate) recorder: MemoryRecorder,
    pub(crate) handle: TestHandle,
    pub(crate) execution: ExecutionId,
    pub(crate) session: Uuid,
    base_url: String,
    folder: TempDir,
    incarnation: u32,
    arguments: Vec<String>,
}

impl Stage {
    pub(crate) async fn new() -> anyhow::Result<Self> {
        let recorder = MemoryRecorder::new();
        let script = Script::parse(HOLDS, "holds.yaml")?;
        let (base_url, handle) = test_server(script, recorder.clone()).await?;
        let folder = tempfile::tempdir()?;
        for name in ["home", "config", "work"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        Ok(Self {
            recorder,
            handle,
            execution: ExecutionId(Uuid::now_v7()),
            session: Uuid::new_v4(),
            base_url,
            folder,
            incarnation: 0,
            arguments: Vec::new(),
        })
    }

    pub(crate) fn with_arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self
    }

    /// A first process of the session.
    pub(crate) async fn start(&mut self) -> anyhow::Result<Cli> {
        self.launch(&format!("--session-id={}", self.session), false).await
    }

    /// A process that goes on where the last one was killed: the way the worker does it.
    pub(crate) async fn resume(&mut self) -> anyhow::Result<Cli> {
        self.launch(&format!("--resume={}", self.session), true).await
    }

    async fn launch(&mut self, session: &str, resumes: bool) -> anyhow::Result<Cli> {
        let place = PLACES.acquire().await?;
        self.incarnation += 1;
        // One incarnation acts: the one before is fenced off before the next begins.
        self.handle.tickets().fence(self.execution, self.incarnation);
        let mut command = Command::new(cli()?);
        command
            .args(["-p", "--output-format", "stream-json", "--verbose", "--input-format", "stream-json"])
            .args(["--permission-prompt-tool", "stdio", "--include-partial-messages"])
            .args(["--setting-sources=user,project,local", "--strict-mcp-config"])
            .arg(session)
            .args(&self.arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.folder.path().join("home"))
            .env("CLAUDE_CONFIG_DIR", self.folder.path().join("config"))
            .env("ANTHROPIC_API_KEY", TestTickets::token(self.execution, self.incarnation))
            .env("ANTHROPIC_BASE_URL", &self.base_url)
            .env("CLAUDE_CODE_ENTRYPOINT", "sdk-rs")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("DISABLE_TELEMETRY", "1")
            .current_dir(self.work())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        if resumes {
            command.env("CLAUDE_CODE_RESUME_INTERRUPTED_TURN", "1");
        }
        let mut child = command.spawn().context("starting the Claude CLI")?;
        let stdin = child.stdin.take().context("stdin")?;
        let lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
        let mut cli = Cli { child, stdin, lines, messages: Vec::new(), _place: place };
        cli.send(
            &json!({"type": "control_request", "request_id": "init", "request": {"subtype": "initialize"}}),
        )
        .await?;
        cli.until(|message| message["type"] == "control_response").await?;
        Ok(cli)
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub(crate) fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.work().join(file)).unwrap_or_default()
    }

    /// The session's transcript, if the CLI has written any of it.
    pub(crate) fn transcript(&self) -> Option<PathBuf> {
        let projects = self.folder.path().join("config").join("projects");
        let mut folders = std::fs::read_dir(projects).ok()?.flatten();
        folders.find_map(|folder| {
            let file = folder.path().join(format!("{}.jsonl", self.session));
            file.exists().then_some(file)
        })
    }

    /// What reached the script, refusals included.
    pub(crate) fn upstream(&self) -> Vec<Entry> {
        self.handle.journal().entries()
    }

    /// The session's new message from a person: what was recorded before belongs to the past.
    pub(crate) async fn say(&self, cli: &mut Cli, text: &str) -> anyhow::Result<()> {
        self.recorder.turn_boundary(self.execution);
        cli.say(text, Uuid::new_v4()).await
    }
}

/// A running CLI.
pub(crate) struct Cli {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// Everything it said, partial messages left out.
    pub(crate) messages: Vec<Value>,
    _place: SemaphorePermit<'static>,
}

/// An ask, as far as it must be the same again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ask {
    pub(crate) tool: String,
    pub(crate) tool_use_id: String,
    pub(crate) input: Value,
}

impl Cli {
    pub(crate) async fn say(&mut self, text: &str, uuid: Uuid) -> anyhow::Result<()> {
        self.send(&json!({"type": "user", "message": {"role": "user", "content": text},
                          "parent_tool_use_id": null, "session_id": "", "uuid": uuid}))
            .await
    }

    /// The next ask, with the id to answer it by.
    pub(crate) async fn ask(&mut self) -> anyhow::Result<(String, Ask)> {
        let message = self.until(|message| message["request"]["subtype"] == "can_use_tool").await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let request = &message["request"];
        let ask = Ask {
            tool: text(&request["tool_name"]),
            tool_use_id: text(&request["tool_use_id"]),
            input: request["input"].clone(),
        };
        Ok((text(&message["request_id"]), ask))
    }

    /// The next asks, in the order of their ids, for those that come at once come in any.
    pub(crate) async fn asks(&mut self, count: usize) -> anyhow::Result<Vec<(String, Ask)>> {
        let mut asks = Vec::new();
        for _ in 0..count {
            asks.push(self.ask().await?);
        }
        asks.sort_by(|a, b| a.1.tool_use_id.cmp(&b.1.tool_use_id));
        Ok(asks)
    }

    pub(crate) async fn allow(&mut self, (request_id, ask): &(String, Ask)) -> anyhow::Result<()> {
        self.allow_with(request_id, ask.input.clone()).await
    }

    pub(crate) async fn allow_with(&mut self, request_id: &str, input: Value) -> anyhow::Result<()> {
        let response = json!({"behavior": "allow", "updatedInput": input});
        self.send(&json!({"type": "control_response", "response":
            {"subtype": "success", "request_id": request_id, "response": response}}))
            .await
    }

    /// Waits for a tool's result.
    pub(crate) async fn tool_result(&mut self, tool_use_id: &str) -> anyhow::Result<Value> {
        self.until(|message| {
            message["type"] == "user"
                && message["message"]["content"]
                    .as_array()
                    .is_some_and(|blocks| blocks.iter().any(|block| block["tool_use_id"] == tool_use_id))
        })
        .await
    }

    /// The turn's result; an error if it failed.
    pub(crate) async fn result(&mut self) -> anyhow::Result<String> {
        let result = self.until(|message| message["type"] == "result").await?;
        if result["is_error"] != false {
            bail!("the turn failed: {result}");
        }
        Ok(result["result"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) async fn interrupt(&mut self) -> anyhow::Result<()> {
        self.send(
            &json!({"type": "control_request", "request_id": "stop", "request": {"subtype": "interrupt"}}),
        )
        .await
    }

    /// `kill -9`.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.start_kill()?;
        self.child.wait().await?;
        Ok(())
    }

    pub(crate) async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let reading = async {
            loop {
                let Some(line) = self.lines.next_line().await? else {
                    bail!(
                        "the CLI ended; it had said: {:#?}",
                        self.messages.iter().rev().take(3).collect::<Vec<_>>()
                    );
                };
                let message: Value = serde_json::from_str(&line)?;
                if message["type"] != "stream_event" {
                    self.messages.push(message.clone());
                }
                if wanted(&message) {
                    return Ok(message);
                }
            }
        };
        match timeout(PATIENCE, reading).await {
            Ok(found) => found,
            Err(_) => bail!("the CLI did not say what was waited for; last: {:#?}", self.messages.last()),
        }
    }

    async fn send(&mut self, message: &Value) -> anyhow::Result<()> {
        self.stdin.write_all(format!("{message}\n").as_bytes()).await?;
        Ok(self.stdin.flush().await?)
    }
}

/// Where the CLI is.
fn cli() -> anyhow::Result<PathBuf> {
    // A test has no binary that would read the environment for it.
    #[allow(clippy::disallowed_methods)]
    let named = std::env::var("HOLDPOINT_TEST_CLAUDE").map(PathBuf::from);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = named.unwrap_or_else(|_| workspace.join("target/test-tools/claude-2.1.330/claude"));
    if !path.exists() {
        bail!("no Claude CLI at {}: run `cargo xtask test`, which installs it", path.display());
    }
    Ok(path)
}
