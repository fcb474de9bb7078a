//! MCP servers inside the host's process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::{Value, json};

/// An MCP server that lives in the host.
///
/// Its messages come over the control channel, also **before** the handshake's reply. The driver calls
/// [`handle`](Self::handle) in a task of its own, so a slow tool holds nothing else up.
pub trait SdkMcpServer: Send + Sync + 'static {
    /// Takes one JSON-RPC message and gives the JSON-RPC response; `None` for notifications.
    fn handle(&self, message: Value) -> BoxFuture<'static, Option<Value>>;
}

/// What a tool gives back: text, or an error the model reads.
pub type ToolOutcome = Result<String, String>;

type ToolFn = Arc<dyn Fn(Value) -> BoxFuture<'static, ToolOutcome> + Send + Sync>;

/// An [`SdkMcpServer`] made of functions.
///
/// ```
/// use futures::FutureExt;
/// use holdpoint_claude::ToolServer;
///
/// let server = ToolServer::new("clock", "1.0").tool(
///     "hour",
///     "The hour of the day.",
///     serde_json::json!({"type": "object", "properties": {}}),
///     |_arguments| async { Ok("noon".to_owned()) }.boxed(),
/// );
/// ```
#[derive(Clone)]
pub struct ToolServer {
    name: String,
    version: String,
    tools: BTreeMap<String, Tool>,
}

#[derive(Clone)]
struct Tool {
    description: String,
    schema: Value,
    run: ToolFn,
}

impl fmt::Debug for ToolServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolServer")
            .field("name", &self.name)
            .field("tools", &self.tools.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl ToolServer {
    /// A server without tools.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), tools: BTreeMap::new() }
    }

    /// Adds a tool; `schema` is the JSON schema of its arguments.
    #[must_use]
    pub fn tool(
        mut self,
        name: impl Into<String>,
        description: impl Into<String>,
        schema: Value,
        run: impl Fn(Value) -> BoxFuture<'static, ToolOutcome> + Send + Sync + 'static,
    ) -> Self {
        self.tools.insert(name.into(), Tool { description: description.into(), schema, run: Arc::new(run) });
        self
    }

    fn respond(&self, message: &Value) -> Reply {
        match message["method"].as_str().unwrap_or_default() {
            "initialize" => Reply::Now(Ok(json!({
                // The version the client speaks is one we speak: tools have not changed shape.
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": self.name, "version": self.version},
            }))),
            "ping" => Reply::Now(Ok(json!({}))),
            "tools/list" => {
                let list: Vec<_> = self
                    .tools
                    .iter()
                    .map(|(name, tool)| {
                        json!({"name": name, "description": tool.description, "inputSchema": tool.schema})
                    })
                    .collect();
                Reply::Now(Ok(json!({ "tools": list })))
            }
            "tools/call" => match self.tools.get(message["params"]["name"].as_str().unwrap_or_default()) {
                Some(tool) => Reply::Run((tool.run)(message["params"]["arguments"].clone())),
                None => Reply::Now(Err((-32602, "no such tool"))),
            },
            _ => Reply::Now(Err((-32601, "no such method"))),
        }
    }
}

enum Reply {
    Now(Result<Value, (i64, &'static str)>),
    Run(BoxFuture<'static, ToolOutcome>),
}

impl SdkMcpServer for ToolServer {
    fn handle(&self, message: Value) -> BoxFuture<'static, Option<Value>> {
        let Some(id) = message.get("id").cloned() else { return Box::pin(async { None }) };
        let reply = self.respond(&message);
        Box::pin(async move {
            let result = match reply {
                Reply::Now(result) => result,
                Reply::Run(run) => Ok(match run.await {
                    Ok(text) => json!({"content": [{"type": "text", "text": text}]}),
                    Err(text) => json!({"content": [{"type": "text", "text": text}], "isError": true}),
                }),
            };
            Some(match result {
                Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
                Err((code, text)) => {
                    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": text}})
                }
            })
        })
    }
}
