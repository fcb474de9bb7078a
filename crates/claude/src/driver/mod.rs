//! One running session.
//!
//! A task for each pipe and one for the process. The reader never waits for the host's decisions: a question
//! is noted, passed on as an event, and the next line is read. What the host wants goes to the writer, one
//! whole line at a time. So no question, however long it stays open, holds up another or an interrupt.

mod asks;
mod control;
mod ending;
mod handle;
mod queue;
mod shared;
mod tasks;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::process::Command;
use uuid::Uuid;

pub use control::{Interrupted, Rewound};
pub use ending::{Close, CloseReport};
pub use handle::Handle;
pub use queue::{DELTA_QUEUE_LEN, EVENT_QUEUE_LEN, Events};

use crate::error::SpawnError;
use crate::options::Options;
use crate::preflight;
use crate::process;
use crate::wire::Line;
use shared::{Fixed, INITIALIZE_ID, Outgoing, Shared};

/// Starts sessions.
#[derive(Debug)]
pub struct Claude;

impl Claude {
    /// Checks what can be checked, starts the CLI and begins the handshake.
    ///
    /// Returns as soon as the process runs; [`Event::Initialized`](crate::Event::Initialized) says when it is
    /// ready (0.5 s). Messages may be sent before that. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`SpawnError`]; nothing was started then.
    pub async fn spawn(options: Options) -> Result<(Handle, Events), SpawnError> {
        let run_marker = Uuid::new_v4().to_string();
        let environment = options.environment(&run_marker);
        let initialize = Line::request(INITIALIZE_ID, "initialize", initialize_fields(&options))?;
        let cleared = preflight::check(&options, environment.get(std::ffi::OsStr::new("PATH")))?;

        let mut command = match options.through.split_first() {
            None => Command::new(&cleared.cli),
            Some((program, args)) => {
                let mut command = Command::new(program);
                command.args(args).arg(&cleared.cli);
                command
            }
        };
        command.args(options.argv(&cleared.files)).env_clear().envs(&environment).current_dir(&options.cwd);
        let start = |source| SpawnError::Start { path: cleared.cli.clone(), source };
        let mut child = process::spawn(command).await.map_err(start)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let ((Some(stdin), Some(stdout), Some(stderr)), Some(pid)) = (pipes, child.id()) else {
            return Err(start(std::io::Error::other("the process has no pipes")));
        };
        tracing::debug!(pid, session = %options.session.id(), "the CLI was started");

        let (shared, lines) = Shared::new(Fixed {
            session: options.session.id(),
            pid,
            run_marker,
            control_timeout: options.control_timeout,
            schema_asked: options.json_schema.is_some(),
        });
        let shared = Arc::new(shared);
        // The first line of all; the queue is empty, so there is room.
        let _ = shared.outgoing.try_send(Outgoing::Line(initialize, None));
        let (sender, events) = queue::queue();
        tokio::spawn(tasks::write(stdin, lines));
        let tail = Arc::new(tasks::Tail::default());
        let stderr = tokio::spawn(tasks::drain_stderr(stderr, tail.clone(), options.stderr_tail_bytes));
        let reader = tasks::Reader {
            shared: shared.clone(),
            events: sender,
            servers: options.sdk_mcp_servers.clone(),
            abort_on_auth_failure: options.abort_on_auth_failure,
        };
        let reader = tokio::spawn(reader.run(stdout));
        tokio::spawn(tasks::supervise(child, shared.clone(), reader, stderr, tail));
        Ok((Handle::new(shared, cleared.lock, options.sdk_server_configs()), events))
    }
}

/// What goes with the handshake rather than on the command line: arguments are public and limited in length.
fn initialize_fields(options: &Options) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    if !options.hooks.is_empty() {
        let hooks: Map<_, _> = options
            .hooks
            .iter()
            .map(|(event, matchers)| {
                let matchers: Vec<_> = matchers.iter().map(|matcher| matcher.to_json()).collect();
                (event.as_str().to_owned(), Value::Array(matchers))
            })
            .collect();
        set("hooks", hooks.into());
    }
    if !options.sdk_mcp_servers.is_empty() {
        set("sdkMcpServers", json!(options.sdk_mcp_servers.keys().collect::<Vec<_>>()));
    }
    if !options.agents.is_empty() {
        set("agents", options.agents.clone().into());
    }
    if let Some(schema) = &options.json_schema {
        set("jsonSchema", schema.clone());
    }
    if let Some(prompt) = &options.system_prompt {
        set("systemPrompt", json!([prompt]));
    }
    if let Some(prompt) = &options.append_system_prompt {
        set("appendSystemPrompt", json!(prompt));
    }
    fields
}
