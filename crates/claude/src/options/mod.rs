//! What a session is started with.

mod argv;
mod choices;
mod environment;
mod hooks;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

pub(crate) use argv::{PrivateFiles, driver_dir};
pub use choices::{PermissionMode, SessionChoice, SettingSource};
pub use environment::{INHERITED_ENV, RUN_MARKER_ENV};
pub use hooks::{HookEvent, HookMatcher, OnHookFailure};

use crate::mcp::SdkMcpServer;

/// How long a control request waits for its reply, unless the options say otherwise.
///
/// Replies take about 10 ms, some that start servers a few seconds. A minute means that the CLI is stuck.
pub const CONTROL_TIMEOUT: Duration = Duration::from_secs(60);

/// How much of stderr's end is kept, in bytes, unless the options say otherwise: a stack trace fits.
pub const STDERR_TAIL_BYTES: usize = 64 * 1024;

/// How to start a session: a builder with safe defaults.
///
/// The environment of the CLI is **cleared**: it sees [`INHERITED_ENV`] of the host's environment, what
/// [`env`](Self::env) adds, and what the driver itself needs. Every other setting of the CLI can be reached
/// through [`extra_arg`](Self::extra_arg).
#[derive(Clone)]
pub struct Options {
    pub(crate) cli: PathBuf,
    pub(crate) through: Vec<OsString>,
    pub(crate) cwd: PathBuf,
    pub(crate) config_dir: PathBuf,
    pub(crate) session: SessionChoice,
    pub(crate) env: BTreeMap<OsString, OsString>,
    pub(crate) inherit_env: Vec<String>,
    pub(crate) quiet_network: bool,
    pub(crate) model: Option<String>,
    pub(crate) fallback_model: Option<String>,
    pub(crate) system_prompt: Option<String>,
    pub(crate) append_system_prompt: Option<String>,
    pub(crate) permission_mode: Option<PermissionMode>,
    pub(crate) setting_sources: Vec<SettingSource>,
    pub(crate) settings: Option<Map<String, Value>>,
    pub(crate) plugin_dirs: Vec<PathBuf>,
    pub(crate) add_dirs: Vec<PathBuf>,
    pub(crate) mcp_servers: Map<String, Value>,
    pub(crate) strict_mcp_config: bool,
    pub(crate) sdk_mcp_servers: BTreeMap<String, Arc<dyn SdkMcpServer>>,
    pub(crate) allowed_tools: Vec<String>,
    pub(crate) disallowed_tools: Vec<String>,
    pub(crate) tools: Option<Vec<String>>,
    pub(crate) agents: Map<String, Value>,
    pub(crate) hooks: BTreeMap<HookEvent, Vec<HookMatcher>>,
    pub(crate) max_turns: Option<u32>,
    pub(crate) max_budget_usd: Option<f64>,
    pub(crate) max_retries: Option<u32>,
    pub(crate) background_tasks: bool,
    pub(crate) json_schema: Option<Value>,
    pub(crate) include_partial_messages: bool,
    pub(crate) replay_user_messages: bool,
    pub(crate) forward_subagent_text: bool,
    pub(crate) resume_interrupted_turn: bool,
    pub(crate) file_checkpointing: bool,
    pub(crate) abort_on_auth_failure: bool,
    pub(crate) extra_args: Vec<(String, Option<OsString>)>,
    pub(crate) stderr_tail_bytes: usize,
    pub(crate) control_timeout: Duration,
}

impl Options {
    /// The four things without which there is no session.
    ///
    /// `cli` may be a bare name; it is then looked up in the `PATH` the CLI will have. `config_dir` becomes
    /// `CLAUDE_CONFIG_DIR` and holds transcripts, credentials and settings. It and `cwd` must be the same
    /// absolute paths whenever a session is resumed: transcripts name them.
    pub fn new(
        cli: impl Into<PathBuf>,
        cwd: impl Into<PathBuf>,
        config_dir: impl Into<PathBuf>,
        session: SessionChoice,
    ) -> Self {
        Self {
            cli: cli.into(),
            through: Vec::new(),
            cwd: cwd.into(),
            config_dir: config_dir.into(),
            session,
            env: BTreeMap::new(),
            inherit_env: INHERITED_ENV.iter().map(|name| (*name).to_owned()).collect(),
            quiet_network: true,
            model: None,
            fallback_model: None,
            system_prompt: None,
            append_system_prompt: None,
            permission_mode: None,
            setting_sources: vec![SettingSource::User, SettingSource::Project, SettingSource::Local],
            settings: None,
            plugin_dirs: Vec::new(),
            add_dirs: Vec::new(),
            mcp_servers: Map::new(),
            strict_mcp_config: true,
            sdk_mcp_servers: BTreeMap::new(),
            allowed_tools: Vec::new(),
            disallowed_tools: Vec::new(),
            tools: None,
            agents: Map::new(),
            hooks: BTreeMap::new(),
            max_turns: None,
            max_budget_usd: None,
            max_retries: None,
            background_tasks: true,
            json_schema: None,
            include_partial_messages: false,
            replay_user_messages: false,
            forward_subagent_text: false,
            resume_interrupted_turn: false,
            file_checkpointing: false,
            abort_on_auth_failure: true,
            extra_args: Vec::new(),
            stderr_tail_bytes: STDERR_TAIL_BYTES,
            control_timeout: CONTROL_TIMEOUT,
        }
    }

    /// Starts the CLI through another program: its path, then the arguments that come before the CLI's own
    /// path and arguments. The CLI may be in another file system then and is not looked for in this one; the
    /// program has to pass on stdio, environment and working directory, and to end with the CLI.
    #[must_use]
    pub fn through<S: Into<OsString>>(mut self, program: impl IntoIterator<Item = S>) -> Self {
        self.through = program.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a variable of the CLI's environment. Wins over everything the driver sets, except
    /// `CLAUDE_CONFIG_DIR` and [`RUN_MARKER_ENV`].
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Which variables of the host's own environment the CLI sees, instead of [`INHERITED_ENV`].
    #[must_use]
    pub fn inherit_env<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.inherit_env = names.into_iter().map(Into::into).collect();
        self
    }

    /// Whether updates, telemetry and other traffic besides the model calls are switched off. On by default.
    #[must_use]
    pub fn quiet_network(mut self, quiet: bool) -> Self {
        self.quiet_network = quiet;
        self
    }

    /// The model, by name or alias.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// The model that takes over when the first is overloaded.
    #[must_use]
    pub fn fallback_model(mut self, model: impl Into<String>) -> Self {
        self.fallback_model = Some(model.into());
        self
    }

    /// Replaces the CLI's system prompt. The CLI records the prompt of a conversation's first request and
    /// goes on using it when the session is resumed.
    #[must_use]
    pub fn system_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.system_prompt = Some(prompt.into());
        self
    }

    /// Adds to the end of the system prompt.
    #[must_use]
    pub fn append_system_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.append_system_prompt = Some(prompt.into());
        self
    }

    /// The permission mode to start in.
    #[must_use]
    pub fn permission_mode(mut self, mode: PermissionMode) -> Self {
        self.permission_mode = Some(mode);
        self
    }

    /// Which settings files count; an empty list means none. All three by default.
    #[must_use]
    pub fn setting_sources(mut self, sources: impl IntoIterator<Item = SettingSource>) -> Self {
        self.setting_sources = sources.into_iter().collect();
        self
    }

    /// Settings that come before those of any file. They reach the CLI through a file that only its user can
    /// read.
    #[must_use]
    pub fn settings(mut self, settings: Map<String, Value>) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Adds a plugin.
    #[must_use]
    pub fn plugin_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.plugin_dirs.push(dir.into());
        self
    }

    /// Adds a directory that the session may work in.
    #[must_use]
    pub fn add_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.add_dirs.push(dir.into());
        self
    }

    /// Adds an MCP server by its configuration (`{"type":"stdio","command":…}`). The configuration reaches
    /// the CLI through a file that only its user can read: arguments are public on most machines.
    #[must_use]
    pub fn mcp_server(mut self, name: impl Into<String>, config: Value) -> Self {
        self.mcp_servers.insert(name.into(), config);
        self
    }

    /// Whether MCP servers of the project and the user are left out. On by default: without it a project's
    /// `.mcp.json` starts processes unasked.
    #[must_use]
    pub fn strict_mcp_config(mut self, strict: bool) -> Self {
        self.strict_mcp_config = strict;
        self
    }

    /// Adds an MCP server that lives in this process. Its tools are called `mcp__<name>__<tool>`.
    #[must_use]
    pub fn sdk_mcp_server(mut self, name: impl Into<String>, server: Arc<dyn SdkMcpServer>) -> Self {
        self.sdk_mcp_servers.insert(name.into(), server);
        self
    }

    /// Adds a rule for tools that run unasked (`Read`, `Bash(git status)`).
    #[must_use]
    pub fn allow_tool(mut self, rule: impl Into<String>) -> Self {
        self.allowed_tools.push(rule.into());
        self
    }

    /// Adds a rule for tools that never run.
    #[must_use]
    pub fn disallow_tool(mut self, rule: impl Into<String>) -> Self {
        self.disallowed_tools.push(rule.into());
        self
    }

    /// The built-in tools that exist at all; an empty list means none.
    #[must_use]
    pub fn tools<S: Into<String>>(mut self, tools: impl IntoIterator<Item = S>) -> Self {
        self.tools = Some(tools.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a subagent by its definition (`{"description":…,"prompt":…}`).
    #[must_use]
    pub fn agent(mut self, name: impl Into<String>, definition: Value) -> Self {
        self.agents.insert(name.into(), definition);
        self
    }

    /// Adds a hook; it arrives as [`Event::HookCall`](crate::Event::HookCall).
    #[must_use]
    pub fn hook(mut self, event: HookEvent, matcher: HookMatcher) -> Self {
        self.hooks.entry(event).or_default().push(matcher);
        self
    }

    /// Model calls allowed per message.
    #[must_use]
    pub fn max_turns(mut self, turns: u32) -> Self {
        self.max_turns = Some(turns);
        self
    }

    /// US dollars allowed, checked by the CLI after each model call.
    #[must_use]
    pub fn max_budget_usd(mut self, dollars: f64) -> Self {
        self.max_budget_usd = Some(dollars);
        self
    }

    /// How often the CLI tries a model call again.
    #[must_use]
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = Some(retries);
        self
    }

    /// Whether work may go on in the background (shells, subagents beside the session), which is the
    /// CLI's default. Without it the session waits for each tool, and is idle whenever it says so.
    #[must_use]
    pub fn background_tasks(mut self, allowed: bool) -> Self {
        self.background_tasks = allowed;
        self
    }

    /// Asks for an answer of this shape. A turn that ends without one is a
    /// [`Failure::StructuredOutputMissing`](crate::Failure::StructuredOutputMissing).
    #[must_use]
    pub fn json_schema(mut self, schema: Value) -> Self {
        self.json_schema = Some(schema);
        self
    }

    /// Whether [`Event::StreamEvent`](crate::Event::StreamEvent)s come. Off by default.
    #[must_use]
    pub fn include_partial_messages(mut self, include: bool) -> Self {
        self.include_partial_messages = include;
        self
    }

    /// Whether the CLI repeats user messages on its output. Off by default.
    #[must_use]
    pub fn replay_user_messages(mut self, replay: bool) -> Self {
        self.replay_user_messages = replay;
        self
    }

    /// Whether text and thinking of subagents come too, and not only their tool calls. Off by default.
    #[must_use]
    pub fn forward_subagent_text(mut self, forward: bool) -> Self {
        self.forward_subagent_text = forward;
        self
    }

    /// With [`SessionChoice::Resume`]: go on at once with the turn that was interrupted, without a message.
    ///
    /// The CLI drops the unanswered part of the last assistant message and **calls the model again**. Without
    /// this, nothing happens until a message is sent, and the dangling call gets an "outcome is unknown"
    /// result.
    #[must_use]
    pub fn resume_interrupted_turn(mut self, resume: bool) -> Self {
        self.resume_interrupted_turn = resume;
        self
    }

    /// Whether the CLI keeps what it needs for [`rewind_files`](crate::Handle::rewind_files). Off by default.
    #[must_use]
    pub fn file_checkpointing(mut self, keep: bool) -> Self {
        self.file_checkpointing = keep;
        self
    }

    /// Whether a turn is ended at the first sign of wrong credentials, instead of ten retries. On by default.
    #[must_use]
    pub fn abort_on_auth_failure(mut self, abort: bool) -> Self {
        self.abort_on_auth_failure = abort;
        self
    }

    /// Adds any other flag of the CLI: `extra_arg("effort", Some("low"))` becomes `--effort=low`.
    #[must_use]
    pub fn extra_arg(mut self, flag: impl Into<String>, value: Option<&str>) -> Self {
        self.extra_args.push((flag.into(), value.map(OsString::from)));
        self
    }

    /// How much of stderr's end is kept, in bytes. [`STDERR_TAIL_BYTES`] by default.
    #[must_use]
    pub fn stderr_tail_bytes(mut self, bytes: usize) -> Self {
        self.stderr_tail_bytes = bytes;
        self
    }

    /// How long a control request waits for its reply. [`CONTROL_TIMEOUT`] by default.
    #[must_use]
    pub fn control_timeout(mut self, timeout: Duration) -> Self {
        self.control_timeout = timeout;
        self
    }

    /// The session this starts.
    pub fn session(&self) -> &SessionChoice {
        &self.session
    }
}

impl fmt::Debug for Options {
    /// Leaves out what may be secret: values of variables, settings, server configurations, prompts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("cli", &self.cli)
            .field("cwd", &self.cwd)
            .field("config_dir", &self.config_dir)
            .field("session", &self.session)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("model", &self.model)
            .field("permission_mode", &self.permission_mode)
            .field("mcp_servers", &self.mcp_servers.keys().collect::<Vec<_>>())
            .field("sdk_mcp_servers", &self.sdk_mcp_servers.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
