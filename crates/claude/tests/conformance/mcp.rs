//! Servers in the host's process, elicitation, and requests nobody knows.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use holdpoint_claude::{
    ElicitationAnswer, ElicitationMode, Event, Options, PermissionAnswer, SessionChoice, ToolServer,
};
use serde_json::{Map, json};

use crate::model::{call, text};
use crate::world::{Live, World, cli};

/// An MCP server that asks a person before it answers, in plain shell. Id 900 is its own request.
const ASKING_SERVER: &str = r#"
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case $line in
    *'"id":900'*) answer=$(printf '%s' "$line" | tr -d '"\\')
      printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"told: %s"}]}}\n' "$call" "$answer" ;;
    *'"initialize"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"asking","version":"1"}}}\n' "$id" ;;
    *'"tools/list"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"ask","description":"asks","inputSchema":{"type":"object"}}]}}\n' "$id" ;;
    *'"tools/call"'*) call=$id
      printf '{"jsonrpc":"2.0","id":900,"method":"elicitation/create","params":{"message":"Your name?","requestedSchema":{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}}}\n' ;;
  esac
done
"#;

async fn allow_next(session: &mut Live) {
    let ask = session.ask().await;
    session.handle.answer(&ask.request_id, PermissionAnswer::allow()).await.unwrap();
}

/// Accepted, declined, and without anybody to ask.
#[tokio::test]
async fn case_28_elicitation() {
    let world = World::new().await;
    let server = json!({"type": "stdio", "command": "sh", "args": ["-c", ASKING_SERVER]});
    let mut session = world.session_with(|options| options.mcp_server("asking", server)).await;
    let name = json!({"name": "Ada"}).as_object().cloned().unwrap();
    let rounds = [
        (ElicitationAnswer::Accept(name), "Ada"),
        (ElicitationAnswer::Decline, "action:decline"),
        (ElicitationAnswer::Cancel, "action:cancel"),
    ];
    for (answer, told) in rounds {
        world.model.script("go", [call("mcp__asking__ask", json!({})), text("done")]);
        session.say("#go").await;
        allow_next(&mut session).await;
        let call = session
            .until(|event| match event {
                Event::Elicitation(call) => Some((**call).clone()),
                _ => None,
            })
            .await;
        assert_eq!((call.server.as_str(), call.message.as_str()), ("asking", "Your name?"));
        assert!(matches!(&call.mode, ElicitationMode::Form { schema } if schema["required"][0] == "name"));
        session.handle.answer_elicitation(&call.request_id, answer).await.unwrap();
        assert!(session.result().await.outcome.is_success());
        assert!(world.model.saw(told), "{told}: {:#?}", world.model.requests().last().unwrap()["messages"]);
    }
    session.close().await;
}

/// A shim in front of the real CLI puts in a request and a frame from a future version, and keeps what the
/// driver writes.
#[tokio::test]
async fn case_29_unknown_inbound_subtype() {
    let world = World::new().await;
    let (shim, log) = (world.work().join("shim"), world.work().join("stdin.log"));
    let script = format!(
        "#!/bin/sh\necho '{}'\necho '{}'\ntee {} | {} \"$@\"\n",
        json!({"type": "control_request", "request_id": "future-1", "request": {"subtype": "read_mind"}}),
        json!({"type": "telepathy", "thought": "hm"}),
        log.display(),
        cli().display(),
    );
    std::fs::write(&shim, script).unwrap();
    std::fs::set_permissions(&shim, std::fs::Permissions::from_mode(0o755)).unwrap();
    let options = Options::new(&shim, world.work(), world.config(), SessionChoice::new())
        .env("ANTHROPIC_BASE_URL", &world.model.url)
        .env("ANTHROPIC_API_KEY", "test");
    world.model.script("go", [text("unimpressed")]);
    let mut session = world.spawn(options).await.unwrap();
    session.say("#go").await;
    assert!(session.result().await.outcome.is_success());
    let unknown: Vec<_> = session
        .seen
        .iter()
        .filter_map(|event| match event {
            Event::Unknown { raw, .. } => Some(raw["type"].clone()),
            _ => None,
        })
        .collect();
    assert_eq!(unknown, ["control_request", "telepathy"]);
    let written = std::fs::read_to_string(&log).unwrap();
    let reply = written.lines().find(|line| line.contains("future-1")).expect("a reply");
    let reply: serde_json::Value = serde_json::from_str(reply).unwrap();
    assert_eq!(reply["response"]["subtype"], "error");
    session.close().await;
}

#[tokio::test]
async fn case_31_set_servers_keeps_those_in_process() {
    let world = World::new().await;
    let slow = ToolServer::new("host", "1").tool("wait", "waits", json!({"type": "object"}), |_| {
        async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok("waited".to_owned())
        }
        .boxed()
    });
    let mut session = world.session_with(|options| options.sdk_mcp_server("host", Arc::new(slow))).await;
    let server = json!({"type": "stdio", "command": "sh", "args": ["-c", ASKING_SERVER]});
    let servers: Map<_, _> = [("added".to_owned(), server)].into_iter().collect();
    for change in [None, Some(servers), Some(Map::new())] {
        if let Some(servers) = change {
            let added = !servers.is_empty();
            let reply = session.handle.mcp_set_servers(servers).await.unwrap();
            assert!(!reply["removed"].to_string().contains("host"), "{reply}");
            let status = session.handle.mcp_status().await.unwrap();
            let named = |name| status.iter().any(|server| server["name"] == name);
            assert_eq!((named("host"), named("added")), (true, added), "{status:?}");
        }
        world.model.script("go", [call("mcp__host__wait", json!({})), text("done")]);
        session.say("#go").await;
        allow_next(&mut session).await;
        assert!(session.result().await.outcome.is_success());
        let last = world.model.requests().last().unwrap()["messages"].to_string();
        assert!(last.contains("waited"), "it still answers");
    }
    session.close().await;
}

/// A tool that fails is a result the model reads, one that panics too, and the session goes on.
#[tokio::test]
async fn a_panicking_tool_is_an_error_result() {
    let world = World::new().await;
    let server = ToolServer::new("host", "1")
        .tool("fail", "fails", json!({"type": "object"}), |_| async { Err("no luck".to_owned()) }.boxed())
        .tool("panic", "panics", json!({"type": "object"}), |_| async { panic!("on purpose") }.boxed());
    let options = |options: Options| {
        options
            .sdk_mcp_server("host", Arc::new(server))
            .allow_tool("mcp__host__fail")
            .allow_tool("mcp__host__panic")
    };
    let mut session = world.session_with(options).await;
    let script = [call("mcp__host__fail", json!({})), call("mcp__host__panic", json!({})), text("done")];
    world.model.script("go", script);
    session.say("#go").await;
    assert!(session.result().await.outcome.is_success());
    assert!(world.model.saw("no luck"));
    assert!(world.model.saw("the server failed"));
    session.close().await;
}
