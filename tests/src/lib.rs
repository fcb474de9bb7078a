//! A real server for end-to-end tests: the real binary, the real Claude CLI, a scripted model.
//!
//! Each [`Server`] has a data folder, a port and a script of its own, and leaves no process behind.

pub mod browser;
pub mod chaos;
pub mod podman;
pub mod processes;
pub mod registry;
pub mod whole;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::StreamExt as _;
use podman::Podman;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take before a test gives up and says what it saw. Generous: two cores may
/// be busy with other sessions.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The folder that `cargo` builds into: the test's own program is in `<target>/<profile>/deps`.
///
/// # Errors
/// When it is not in one.
pub fn build_dir() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let dir = own.ancestors().nth(2).context("the test program is not in a build folder")?;
    Ok(dir.to_owned())
}

/// The `holdpoint` program under test.
///
/// # Errors
/// When it was not built.
pub fn holdpoint() -> Result<PathBuf> {
    let path = build_dir()?.join("holdpoint");
    ensure!(path.is_file(), "{} is not there: run `cargo xtask test`, which builds it", path.display());
    Ok(path)
}

/// The Claude CLI that `cargo xtask test` installed.
///
/// # Errors
/// When it was not installed.
pub fn claude() -> Result<PathBuf> {
    test_tool("claude-2.1.330/claude")
}

/// The script of axe-core that `cargo xtask test` installed.
///
/// # Errors
/// When it was not installed.
pub fn axe_core() -> Result<PathBuf> {
    test_tool("axe-core/node_modules/axe-core/axe.min.js")
}

/// Something that `cargo xtask test` installed.
///
/// # Errors
/// When it was not installed.
pub fn test_tool(name: &str) -> Result<PathBuf> {
    let path = build_dir()?.parent().context("no target folder")?.join("test-tools").join(name);
    ensure!(path.exists(), "{} is not there: run `cargo xtask test`, which installs it", path.display());
    Ok(path)
}

/// How a server is set up.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The rehearsal script, as YAML. `@DIR@` becomes a folder outside every workspace.
    pub script: String,
    /// More of `holdpoint.toml`, after the top-level keys.
    pub toml: String,
    /// More top-level keys of `holdpoint.toml`.
    pub top: String,
    /// More environment.
    pub env: Vec<(String, String)>,
    /// Where its folder is made, if not where temporary files are.
    pub folder: Option<PathBuf>,
    /// Sessions run in its containers, not as processes.
    pub podman: Option<Podman>,
}

impl Setup {
    /// With this script.
    #[must_use]
    pub fn script(script: &str) -> Self {
        Self { script: script.to_owned(), ..Self::default() }
    }

    /// With more configuration tables.
    #[must_use]
    pub fn toml(mut self, toml: &str) -> Self {
        self.toml = toml.to_owned();
        self
    }

    /// With sessions in containers.
    #[must_use]
    pub fn podman(mut self, podman: Podman) -> Self {
        self.podman = Some(podman);
        self
    }

    /// With another variable in the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With more top-level configuration keys.
    #[must_use]
    pub fn top(mut self, top: &str) -> Self {
        self.top = top.to_owned();
        self
    }
}

/// Events as they come.
pub type EventStream = std::pin::Pin<Box<dyn futures::Stream<Item = Value> + Send>>;

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Its data folder.
    pub data: PathBuf,
    /// Where it listens.
    pub url: String,
    /// An administrator's token.
    pub token: String,
    /// The one-time link of the first start, if it was printed.
    pub first_link: Option<String>,
    /// Which program is run: another copy of it is an upgrade.
    pub program: PathBuf,
    child: Option<Child>,
    env: Vec<(String, String)>,
    http: reqwest::Client,
    podman: Option<Podman>,
    _dir: TempDir,
}

impl Server {
    /// Starts a server.
    ///
    /// # Errors
    /// When it does not answer in time; with what it printed.
    pub async fn start(setup: Setup) -> Result<Self> {
        let mut dir = tempfile::Builder::new();
        dir.prefix("holdpoint-test-");
        let dir = match &setup.folder {
            Some(folder) => dir.tempdir_in(folder)?,
            None => dir.tempdir()?,
        };
        let data = dir.path().join("data");
        let script = dir.path().join("script.yaml");
        std::fs::write(&script, setup.script.replace("@DIR@", &dir.path().display().to_string()))?;
        let cli = setup.podman.as_ref().map_or_else(claude, |podman| Ok(podman.claude().to_owned()))?;
        let engine = if setup.podman.is_some() { "container" } else { "process" };
        let mut toml = format!("engine = {engine:?}\n{}\n[claude]\ncli = {cli:?}\n", setup.top);
        if let Some(podman) = &setup.podman {
            toml.push_str(podman.toml());
        }
        if !setup.script.is_empty() {
            write!(toml, "\n[rehearsal]\nscript = {script:?}\n")?;
        }
        write!(toml, "\n{}\n", setup.toml)?;
        std::fs::write(dir.path().join("holdpoint.toml"), toml)?;
        if let Some(podman) = &setup.podman {
            podman.takes(dir.path())?;
        }
        let program =
            setup.podman.as_ref().map_or_else(holdpoint, |podman| Ok(podman.program().to_owned()))?;
        let port = free_port()?;
        let mut server = Self {
            url: format!("http://127.0.0.1:{port}"),
            data,
            token: String::new(),
            first_link: None,
            program,
            child: None,
            env: setup.env,
            http: reqwest::Client::new(),
            podman: setup.podman,
            _dir: dir,
        };
        server.up().await?;
        server.token =
            server.run(&["token", "create", "--name", "Tess", "--role", "admin"])?.trim().to_owned();
        ensure!(!server.token.is_empty(), "no token was made");
        server.first_link = server.output().lines().find_map(|line| {
            line.split_whitespace().find(|word| word.contains("/welcome?token=")).map(str::to_owned)
        });
        Ok(server)
    }

    /// The folder with configuration and script.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self._dir.path()
    }

    /// What the server printed.
    #[must_use]
    pub fn output(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.folder().join(name)).unwrap_or_default();
        format!("{}{}", read("out.log"), read("err.log"))
    }

    /// Starts the control plane on the data folder there is.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn up(&mut self) -> Result<()> {
        let command = self.command(&["up", "--no-open", "--port", self.port()]);
        self.start_with(command).await
    }

    /// Starts the control plane in mounts of its own, where another folder stands in the data folder's
    /// place: another machine, as far as files go.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn up_with_mount(&mut self, data: &Path) -> Result<()> {
        let plain = self.command(&["up", "--no-open", "--port", self.port()]);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"", "sh"]);
        command.arg(data).arg(&self.data).arg(plain.get_program()).args(plain.get_args());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.start_with(command).await
    }

    fn port(&self) -> &str {
        self.url.rsplit(':').next().unwrap_or_default()
    }

    async fn start_with(&mut self, mut command: Command) -> Result<()> {
        let log = |name: &str| {
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.folder().join(name))
                .context("log")
        };
        let child = command.stdin(Stdio::null()).stdout(log("out.log")?).stderr(log("err.log")?).spawn()?;
        self.child = Some(child);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(answer) = self.http.get(format!("{}/health", self.url)).send().await
                && answer.status().is_success()
            {
                return Ok(());
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!("the server ended with {status}:\n{}", self.output());
            }
            ensure!(Instant::now() < deadline, "the server does not answer:\n{}", self.output());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// A command of the program on this server's data folder.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .arg("--data")
            .arg(&self.data)
            .arg("--config")
            .arg(self.folder().join("holdpoint.toml"))
            .env_remove("ANTHROPIC_API_KEY")
            .env_remove("ANTHROPIC_BASE_URL")
            .env_remove("HOLDPOINT_DATA")
            .env("NO_COLOR", "1")
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(podman) = &self.podman {
            podman.applies_to(&mut command);
        }
        command
    }

    /// Runs a command of the program and returns what it printed.
    ///
    /// # Errors
    /// When it fails; with what it said.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let output = self.command(args).stdin(Stdio::null()).output()?;
        ensure!(
            output.status.success(),
            "`holdpoint {}` ended with {}:\n{}{}\nserver:\n{}",
            args.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.output()
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Kills the control plane with -9.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the server is not running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Whether sessions run in containers.
    #[must_use]
    pub fn in_containers(&self) -> bool {
        self.podman.is_some()
    }

    /// Whether the control plane runs.
    pub fn is_up(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// How the control plane ended, if it did.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// Ends the control plane as a service manager does before it starts another: workers go on.
    ///
    /// # Errors
    /// When it is not running, or does not end.
    pub fn terminate(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the server is not running")?;
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id())?).context("a process id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        child.wait()?;
        Ok(())
    }

    /// The control plane's process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// GET, as status and JSON.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn get(&self, path: &str) -> Result<(u16, Value)> {
        answer(self.request(reqwest::Method::GET, path).header("accept", "application/json").send().await?)
            .await
    }

    /// POST of JSON, as status and JSON.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn post(&self, path: &str, body: Value) -> Result<(u16, Value)> {
        answer(self.request(reqwest::Method::POST, path).json(&body).send().await?).await
    }

    /// POST of anything, with another token if given.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn post_raw(&self, path: &str, body: String, token: Option<&str>) -> Result<(u16, Value)> {
        let request = self
            .http
            .post(format!("{}{path}", self.url))
            .bearer_auth(token.unwrap_or(&self.token))
            .header("content-type", "application/json")
            .body(body);
        answer(request.send().await?).await
    }

    /// Starts a conversation and returns its id.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn ask(&self, agent: &str, prompt: &str) -> Result<String> {
        let (status, body) =
            self.post("/v1/executions", json!({"agent": agent, "inputs": {"prompt": prompt}})).await?;
        ensure!(status == 201, "{status}: {body}");
        Ok(body["id"].as_str().context("an id")?.to_owned())
    }

    /// The execution as the API shows it.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn execution(&self, id: &str) -> Result<Value> {
        let (status, body) = self.get(&format!("/v1/executions/{id}")).await?;
        ensure!(status == 200, "{status}: {body}");
        Ok(body)
    }

    /// Waits until the execution has this status.
    ///
    /// # Errors
    /// When it takes too long, or ends otherwise; with its log.
    pub async fn until_status(&self, id: &str, wanted: &str) -> Result<Value> {
        self.until(id, &format!("status {wanted}"), |execution| execution["status"] == wanted).await
    }

    /// Waits until a condition on the execution holds.
    ///
    /// # Errors
    /// When it takes too long; with its log.
    pub async fn until(&self, id: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let execution = self.execution(id).await?;
            if holds(&execution) {
                return Ok(execution);
            }
            let over = matches!(execution["status"].as_str(), Some("finished" | "error" | "cancelled"));
            if over || Instant::now() > deadline {
                bail!(
                    "waited for {what}, it is {execution:#}\nlog:\n{}\n{}\nserver:\n{}",
                    self.story(id).await,
                    self.worker_logs(id),
                    self.output()
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the log tells of this kind of thing.
    ///
    /// # Errors
    /// When it takes too long; with the log.
    pub async fn until_told(&self, id: &str, kind: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, body) = self.get(&format!("/v1/executions/{id}/events?after=0&limit=1000")).await?;
            if body["items"].as_array().into_iter().flatten().any(|event| event["kind"] == kind) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "nothing is told of {kind}\nlog:\n{}\n{}\nserver:\n{}",
                self.story(id).await,
                self.worker_logs(id),
                self.output()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits for an open hold of this kind that is not among `seen`.
    ///
    /// # Errors
    /// When none opens.
    pub async fn hold(&self, id: &str, kind: &str, seen: &[String]) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, body) = self.get(&format!("/v1/holds?status=open&execution={id}")).await?;
            let found =
                body["items"].as_array().into_iter().flatten().find(|hold| {
                    hold["kind"] == kind && !seen.iter().any(|seen| hold["id"] == seen.as_str())
                });
            if let Some(hold) = found {
                return Ok(hold.clone());
            }
            if Instant::now() > deadline {
                bail!(
                    "no open {kind} hold; {body:#}\nlog:\n{}\n{}\nserver:\n{}",
                    self.story(id).await,
                    self.worker_logs(id),
                    self.output()
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Decides a hold.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn decide(&self, hold: &Value, decision: Value) -> Result<Value> {
        let id = hold["id"].as_str().context("a hold's id")?;
        let (status, body) = self.post(&format!("/v1/holds/{id}/decision"), decision).await?;
        ensure!(status == 200, "{status}: {body}");
        Ok(body)
    }

    /// The log from there on, live.
    ///
    /// # Errors
    /// When the stream is refused.
    pub async fn events(&self, id: &str, after: u64) -> Result<EventStream> {
        use eventsource_stream::Eventsource as _;
        let events = self.stream(id, after).await?.bytes_stream().eventsource();
        Ok(Box::pin(events.filter_map(|event| async move { serde_json::from_str(&event.ok()?.data).ok() })))
    }

    /// The same, as the bytes come.
    ///
    /// # Errors
    /// When the stream is refused.
    pub async fn stream(&self, id: &str, after: u64) -> Result<reqwest::Response> {
        let path = format!("/v1/executions/{id}/events?after={after}");
        let request = self.request(reqwest::Method::GET, &path).header("accept", "text/event-stream");
        Ok(request.send().await?.error_for_status()?)
    }

    /// The whole log, by `holdpoint export`.
    ///
    /// # Errors
    /// When the export fails.
    pub fn export(&self, id: &str) -> Result<Vec<Value>> {
        let text = self.run(&["export", id])?;
        text.lines().map(|line| serde_json::from_str(line).context(line.to_owned())).collect()
    }

    /// The log in short, for messages.
    pub async fn story(&self, id: &str) -> String {
        let Ok((_, body)) = self.get(&format!("/v1/executions/{id}/events?after=0&limit=1000")).await else {
            return "(no log)".into();
        };
        let mut story = String::new();
        for event in body["items"].as_array().into_iter().flatten() {
            let mut data = event["data"].to_string();
            data.truncate(data.floor_char_boundary(300));
            let _ =
                writeln!(story, "{:>4} {:<20} {data}", event["seq"], event["kind"].as_str().unwrap_or("?"));
        }
        story
    }

    /// What the workers of an execution wrote.
    #[must_use]
    pub fn worker_logs(&self, id: &str) -> String {
        let run = self.data.join("executions").join(id).join("run");
        let mut text = String::new();
        for entry in std::fs::read_dir(run).into_iter().flatten().flatten() {
            let log = std::fs::read_to_string(entry.path().join("worker.log")).unwrap_or_default();
            let _ = writeln!(text, "--- worker {}:\n{log}", entry.file_name().to_string_lossy());
        }
        text
    }

    /// Every call that the script answered, from the rehearsal's own record: how often the
    /// upstream was really asked.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn upstream_calls(&self, execution: &str) -> Result<Vec<Value>> {
        let path = self.data.join("rehearsal.jsonl");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let all: Vec<Value> =
            text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect::<Result<_>>()?;
        Ok(all.into_iter().filter(|call| call["execution"] == execution).collect())
    }

    /// A file of the workspace.
    #[must_use]
    pub fn workspace(&self, id: &str) -> PathBuf {
        self.data.join("executions").join(id).join("workspace")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        processes::kill_all_of(&self.data);
        if let Some(podman) = &self.podman {
            podman.clean(&self.data);
        }
    }
}

async fn answer(response: reqwest::Response) -> Result<(u16, Value)> {
    let status = response.status().as_u16();
    let text = response.text().await?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

/// A port that was free a moment ago.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The lines of a file in the folder outside every workspace: what tools really did, how often.
#[must_use]
pub fn nonces(server: &Server, file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(server.folder().join(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Checks that a log has no gap and tells no fact twice.
///
/// # Errors
/// Says where it is broken.
pub fn check_log(events: &[Value]) -> Result<()> {
    let mut facts = BTreeSet::new();
    let mut results = BTreeSet::new();
    for (at, event) in events.iter().enumerate() {
        ensure!(event["seq"] == json!(at + 1), "event {} has seq {}", at + 1, event["seq"]);
        if let (Some(incarnation), Some(fact)) = (event["incarnation"].as_u64(), event["worker_seq"].as_u64())
        {
            ensure!(facts.insert((incarnation, fact)), "fact {incarnation}/{fact} is told twice: {event}");
        }
        if event["kind"] == "tool_result" {
            let call = event["data"]["tool_use_id"].as_str().unwrap_or_default().to_owned();
            ensure!(results.insert(call.clone()), "{call} has two results");
        }
    }
    Ok(())
}

/// The events of one kind.
#[must_use]
pub fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["kind"] == kind).collect()
}
