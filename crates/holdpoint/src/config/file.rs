//! `holdpoint.toml` as it is written. What is not known is refused.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use holdpoint_model::AgentDef;
use schemars::JsonSchema;
use serde::Deserialize;

/// The configuration of Holdpoint. Everything is optional.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "holdpoint.toml")]
pub struct FileConfig {
    /// The port of panel and API; 3370 where absent. `--port` and HOLDPOINT_PORT come first.
    pub port: Option<u16>,
    /// The address to listen on; 127.0.0.1 where absent, which only this machine reaches.
    pub host: Option<IpAddr>,
    /// How others reach the panel, where that is not `http://HOST:PORT`: behind a proxy, for instance.
    pub base_url: Option<String>,
    /// Sessions that may run at once; more wait in line. Derived from memory and cores where absent.
    pub max_sessions: Option<u32>,
    /// What is logged: `error`, `warn`, `info`, `debug`, or directives as in `info,holdpoint_web=debug`.
    pub log: Option<String>,
    /// The Claude CLI.
    pub claude: ClaudeTable,
    /// The way to the model.
    pub gateway: GatewayTable,
    /// Answers from a script in place of a model: offline, free, repeatable.
    pub rehearsal: RehearsalTable,
    /// The agents, by the name that scripts use. `claude` is there without being written.
    pub agents: BTreeMap<String, AgentDef>,
}

/// `[claude]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClaudeTable {
    /// The CLI's program file, or `path` for the `claude` on PATH. Where absent, Holdpoint installs
    /// the version it was tested with into its data folder.
    pub cli: Option<String>,
    /// Accepts other versions of the CLI than the one Holdpoint was tested with.
    pub any_version: bool,
}

/// `[gateway]`. The API key is never written here: set ANTHROPIC_API_KEY.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayTable {
    /// The model endpoint. ANTHROPIC_BASE_URL comes first.
    pub upstream: Option<String>,
}

/// `[rehearsal]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RehearsalTable {
    /// The script that answers every agent, relative to this file.
    pub script: Option<PathBuf>,
}

/// The JSON Schema of `holdpoint.toml`, for editors.
#[must_use]
pub fn schema() -> String {
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(FileConfig)).unwrap_or_default();
    text.push('\n');
    text
}
