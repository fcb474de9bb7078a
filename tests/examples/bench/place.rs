//! This program in a worker's place: connected with the worker's own token while the real one is stopped.

use anyhow::{Context as _, Result};
use futures::{Sink, SinkExt as _, StreamExt as _};
use holdpoint_model::wire::{Down, Fact, NumberedFact, Up, WIRE_VERSION, WorkerSpec};
use holdpoint_tests::{
    Server,
    processes::{self, Part},
};
use tokio_tungstenite::tungstenite::{Error as WsError, Message, client::IntoClientRequest as _};

pub(crate) type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// A conversation whose worker is stopped, and a connection in its place.
pub(crate) async fn take_the_place(server: &Server) -> Result<(String, Socket, u64, WorkerSpec)> {
    let id = server.ask("claude", "x").await?;
    server.hold(&id, "reply", &[]).await?;
    for pid in processes::of(&id, Part::Worker) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::STOP)?;
    }
    let spec = server.data.join("executions").join(&id).join("run/1/spec.json");
    let spec: WorkerSpec = serde_json::from_str(&std::fs::read_to_string(spec)?)?;
    let mut request = spec.control_url.as_str().into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {}", spec.worker_token).parse()?);
    let (mut socket, _) = tokio_tungstenite::connect_async_with_config(request, None, true).await?;
    let hello = Up::Hello {
        wire: WIRE_VERSION,
        execution: spec.execution,
        incarnation: spec.incarnation,
        last_seq: 0,
        releases: Vec::new(),
        messages: Vec::new(),
    };
    socket.send(Message::text(serde_json::to_string(&hello)?)).await?;
    let Down::Welcome { acked, .. } = next_frame(&mut socket).await? else { anyhow::bail!("no welcome") };
    Ok((id, socket, acked, spec))
}

pub(crate) async fn next_frame(socket: &mut Socket) -> Result<Down> {
    loop {
        if let Message::Text(text) = socket.next().await.context("the connection ended")?? {
            return Ok(serde_json::from_str(&text)?);
        }
    }
}

pub(crate) async fn tell(
    socket: &mut (impl Sink<Message, Error = WsError> + Unpin),
    seq: u64,
    fact: Fact,
) -> Result<()> {
    let frame = Up::Facts { facts: vec![NumberedFact { seq, at: 0, fact }] };
    socket.send(Message::text(serde_json::to_string(&frame)?)).await?;
    Ok(())
}
