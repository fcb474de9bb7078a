//! A worker's connection over a real socket: facts become events, deltas reach those who look.

use futures::{SinkExt as _, StreamExt as _};
use holdpoint_control::Purpose;
use holdpoint_engine::WorkerId;
use holdpoint_model::{
    Command, Role,
    wire::{Delta, Down, Fact, NumberedFact, Up, WIRE_VERSION},
};
use http::{Request, header};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

use crate::support::{World, person, seed::Seed};

async fn connect(address: std::net::SocketAddr, token: &str) -> Result<WebSocketStream<TcpStream>, Error> {
    let mut request = format!("ws://{address}/worker/link").into_client_request()?;
    request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().expect("header"));
    let socket = TcpStream::connect(address).await?;
    client_async(request, socket).await.map(|(socket, _)| socket)
}

fn frame(up: &Up) -> Message {
    Message::Text(serde_json::to_string(up).expect("json").into())
}

async fn hear(socket: &mut WebSocketStream<TcpStream>) -> Down {
    let frame = socket.next().await.expect("a frame").expect("a frame");
    serde_json::from_str(frame.to_text().expect("text")).expect("a frame of ours")
}

#[tokio::test]
async fn a_worker_tells_facts_and_deltas() {
    let world = World::new().await;
    let (user, token) = world.user("ada", Role::Asker).await;
    let seed = Seed::create(&world.store, &person(user, "ada"), "Work", "Work").await;
    seed.command(Command::StartWorker { engine: "none".into(), reason: "a test".into() }).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
    let address = listener.local_addr().expect("address");
    let router = world.router.clone();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    let stranger = connect(address, "guess").await.expect_err("a stranger is turned away");
    assert!(matches!(stranger, Error::Http(response) if response.status() == 401));

    let id = WorkerId { execution: seed.id, incarnation: 1 };
    let worker_token = world.control.tokens().sign(Purpose::Worker, id);
    let plain = world.get("/worker/link", &worker_token).await;
    assert_eq!(plain.problem()["code"], "no_websocket");
    let mut socket = connect(address, &worker_token).await.expect("connect");
    let hello = Up::Hello {
        wire: WIRE_VERSION,
        execution: seed.id,
        incarnation: 1,
        last_seq: 0,
        releases: Vec::new(),
        messages: Vec::new(),
    };
    socket.send(frame(&hello)).await.expect("send");
    assert!(matches!(hear(&mut socket).await, Down::Welcome { acked: 0, .. }));

    let request = Request::get(format!("/v1/executions/{}/events?deltas=1", seed.id))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(axum::body::Body::empty())
        .expect("request");
    let response = tower::ServiceExt::oneshot(world.router.clone(), request).await.expect("infallible");
    let mut stream = response.into_body().into_data_stream();
    let mut seen = String::new();

    let fact = Fact::SessionReady { cli_version: "2.1.330".into(), resumed: false };
    let facts = vec![NumberedFact { seq: 1, at: 0, fact }];
    socket.send(frame(&Up::Facts { facts })).await.expect("send");
    assert!(matches!(hear(&mut socket).await, Down::Ack { up_to: 1 }));
    while !seen.contains("event: worker_ready\n") {
        seen.push_str(
            std::str::from_utf8(&stream.next().await.expect("open").expect("chunk")).expect("text"),
        );
    }
    let delta = Delta {
        attempt: "a1".into(),
        index: 0,
        kind: "text".into(),
        text: "Hel".into(),
        parent_tool_use_id: None,
    };
    socket.send(frame(&Up::Delta(delta))).await.expect("send");
    while !seen.contains("event: delta\n") {
        seen.push_str(
            std::str::from_utf8(&stream.next().await.expect("open").expect("chunk")).expect("text"),
        );
    }
    let frame_of_delta = seen.split("\n\n").find(|frame| frame.contains("event: delta")).expect("delta");
    assert!(!frame_of_delta.contains("id:"), "a delta is no event: {frame_of_delta}");
    assert!(frame_of_delta.contains("\"text\":\"Hel\""), "{frame_of_delta}");

    // What is no frame of ours ends the connection.
    socket.send(Message::Text("nonsense".into())).await.expect("send");
    while let Some(Ok(_)) = socket.next().await {}
    server.abort();
}
