//! What a session is made of: the handshake's reply and each turn's `system/init`.

use serde::Deserialize;
use serde_json::Value;

/// The CLI's reply to `initialize`.
///
/// Holds no session id: the host chooses it ([`SessionChoice`](crate::SessionChoice)).
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct InitializeResponse {
    /// The CLI's process.
    pub pid: Option<u32>,
    /// The CLI's version; absent before 2.1.2xx.
    pub claude_code_version: Option<String>,
    /// The permission mode it starts in.
    pub current_permission_mode: Option<String>,
    /// `idle` or `running` (a resumed turn goes on at once).
    pub session_state: Option<String>,
    /// Slash commands, raw.
    #[serde(default)]
    pub commands: Vec<Value>,
    /// Subagents, raw.
    #[serde(default)]
    pub agents: Vec<Value>,
    /// Models, raw.
    #[serde(default)]
    pub models: Vec<Value>,
}

/// `system/init`: what the turn that begins has to work with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SystemInit {
    /// The session.
    pub session_id: String,
    /// The working directory.
    pub cwd: String,
    /// The model.
    pub model: String,
    /// The permission mode.
    #[serde(rename = "permissionMode")]
    pub permission_mode: String,
    /// The tools.
    #[serde(default)]
    pub tools: Vec<String>,
    /// The MCP servers with their status, raw.
    #[serde(default)]
    pub mcp_servers: Vec<Value>,
    /// Slash commands.
    #[serde(default)]
    pub slash_commands: Vec<String>,
    /// Subagents.
    #[serde(default)]
    pub agents: Vec<String>,
    /// Skills.
    #[serde(default)]
    pub skills: Vec<String>,
    /// Plugins, raw.
    #[serde(default)]
    pub plugins: Vec<Value>,
    /// Where the API key comes from.
    #[serde(rename = "apiKeySource")]
    pub api_key_source: Option<String>,
    /// The CLI's version.
    pub claude_code_version: Option<String>,
}
