//! Control requests, typed.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::handle::Handle;
use crate::error::ControlError;
use crate::options::PermissionMode;

/// The reply to an interrupt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Interrupted {
    /// Messages that are answered next.
    pub still_queued: Vec<Uuid>,
    /// Messages that were taken out of the queue.
    pub cancelled: Vec<Uuid>,
}

/// The reply to [`rewind_files`](Handle::rewind_files).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rewound {
    /// Whether it can be done, or was.
    pub can_rewind: bool,
    /// The files it concerns.
    pub files_changed: Vec<String>,
    /// Lines that come back.
    pub insertions: u64,
    /// Lines that go.
    pub deletions: u64,
    /// Why it cannot be done.
    pub error: Option<String>,
}

/// Every method here fails with [`ControlError`]: when the CLI refuses, does not reply in time, or has ended.
#[allow(clippy::missing_errors_doc)]
impl Handle {
    /// Interrupts the running turn. It takes about 10 ms, whatever else is open; open questions are
    /// withdrawn. Queued messages run next. Nothing happens when no turn runs.
    pub async fn interrupt(&self) -> Result<Interrupted, ControlError> {
        self.typed("interrupt", json!({})).await
    }

    /// Interrupts the running turn and drops the queued messages. Older CLIs keep them.
    pub async fn interrupt_and_drop_queue(&self) -> Result<Interrupted, ControlError> {
        self.typed("interrupt", json!({"cancel_queued": true})).await
    }

    /// Changes the permission mode.
    pub async fn set_permission_mode(&self, mode: PermissionMode) -> Result<(), ControlError> {
        self.control("set_permission_mode", fields(json!({"mode": mode.as_str()}))).await.map(drop)
    }

    /// Changes the model from the next model call on. The CLI takes any name; a wrong one fails later.
    pub async fn set_model(&self, model: &str) -> Result<(), ControlError> {
        self.control("set_model", fields(json!({ "model": model }))).await.map(drop)
    }

    /// Changes the limit on thinking, in tokens.
    pub async fn set_max_thinking_tokens(&self, tokens: u32) -> Result<(), ControlError> {
        self.control("set_max_thinking_tokens", fields(json!({"max_thinking_tokens": tokens})))
            .await
            .map(drop)
    }

    /// The MCP servers and how they are, raw.
    pub async fn mcp_status(&self) -> Result<Vec<Value>, ControlError> {
        #[derive(Deserialize)]
        struct Status {
            #[serde(rename = "mcpServers")]
            servers: Vec<Value>,
        }
        Ok(self.typed::<Status>("mcp_status", json!({})).await?.servers)
    }

    /// Switches an MCP server on or off.
    pub async fn mcp_toggle(&self, server: &str, enabled: bool) -> Result<(), ControlError> {
        self.control("mcp_toggle", fields(json!({"serverName": server, "enabled": enabled}))).await.map(drop)
    }

    /// Connects to an MCP server again.
    pub async fn mcp_reconnect(&self, server: &str) -> Result<(), ControlError> {
        self.control("mcp_reconnect", fields(json!({ "serverName": server }))).await.map(drop)
    }

    /// Replaces the servers that were added by this call before. The in-process ones are always named again:
    /// the CLI drops what is not in the list.
    pub async fn mcp_set_servers(&self, servers: Map<String, Value>) -> Result<Value, ControlError> {
        let mut all = servers;
        all.extend(self.inner.sdk_servers.clone());
        self.control("mcp_set_servers", fields(json!({ "servers": all }))).await
    }

    /// Puts files back to how they were before a message. Needs
    /// [`file_checkpointing`](crate::Options::file_checkpointing); `dry_run` only looks. Files that Bash
    /// changed are not covered.
    pub async fn rewind_files(&self, message: Uuid, dry_run: bool) -> Result<Rewound, ControlError> {
        self.typed("rewind_files", json!({"user_message_id": message, "dry_run": dry_run})).await
    }

    /// The settings in force, raw.
    pub async fn get_settings(&self) -> Result<Value, ControlError> {
        self.control("get_settings", Map::new()).await
    }

    /// How full the context is, raw.
    pub async fn get_context_usage(&self) -> Result<Value, ControlError> {
        self.control("get_context_usage", Map::new()).await
    }

    /// The cost so far, as a text for people.
    pub async fn get_session_cost(&self) -> Result<String, ControlError> {
        #[derive(Deserialize)]
        struct Cost {
            text: String,
        }
        Ok(self.typed::<Cost>("get_session_cost", json!({})).await?.text)
    }

    /// The CLI's version.
    pub async fn get_binary_version(&self) -> Result<String, ControlError> {
        #[derive(Deserialize)]
        struct Version {
            version: String,
        }
        Ok(self.typed::<Version>("get_binary_version", json!({})).await?.version)
    }

    /// Reads the skills from disk again.
    pub async fn reload_skills(&self) -> Result<Value, ControlError> {
        self.control("reload_skills", Map::new()).await
    }

    /// Reads the plugins from disk again.
    pub async fn reload_plugins(&self) -> Result<Value, ControlError> {
        self.control("reload_plugins", Map::new()).await
    }

    /// Gives the session a title.
    pub async fn rename_session(&self, title: &str) -> Result<(), ControlError> {
        self.control("rename_session", fields(json!({ "title": title }))).await.map(drop)
    }

    /// Stops a background task.
    pub async fn stop_task(&self, task_id: &str) -> Result<(), ControlError> {
        self.control("stop_task", fields(json!({ "task_id": task_id }))).await.map(drop)
    }

    /// Any other control request, by its subtype.
    pub async fn control(&self, subtype: &str, fields: Map<String, Value>) -> Result<Value, ControlError> {
        self.shared().call(subtype, fields).await
    }

    async fn typed<T: DeserializeOwned>(&self, subtype: &str, request: Value) -> Result<T, ControlError> {
        let reply = self.control(subtype, fields(request)).await?;
        // Some CLIs leave the payload out when there is nothing in it.
        let reply = if reply.is_null() { json!({}) } else { reply };
        T::deserialize(reply)
            .map_err(|error| ControlError::Shape { subtype: subtype.to_owned(), reason: error.to_string() })
    }
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
