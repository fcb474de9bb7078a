//! The connection to the control plane: opened by the worker, opened again whenever it breaks.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use holdpoint_model::wire::{Down, MAX_FRAME_BYTES, Up};
use tokio::sync::mpsc;
use tokio_tungstenite::{
    connect_async_with_config,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderValue, protocol::WebSocketConfig},
};
use tracing::{debug, info};

/// Frames that wait to be written. Deltas beyond it are dropped, facts wait.
const UP_QUEUE: usize = 256;

/// Frames that wait to be acted on.
const DOWN_QUEUE: usize = 256;

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(1);

/// What the connection brings.
#[derive(Debug)]
pub(crate) enum FromLink {
    /// A new connection; frames for it go here. Nothing that was given to an earlier one arrives.
    Connected(mpsc::Sender<Up>),
    /// A frame.
    Frame(Box<Down>),
    /// The connection is gone; another follows.
    Disconnected,
    /// The control plane does not want this worker any more.
    Unwanted(String),
}

/// Keeps a connection open for as long as the receiver lives.
pub(crate) fn keep_connected(url: String, token: String) -> mpsc::Receiver<FromLink> {
    let (events, receiver) = mpsc::channel(DOWN_QUEUE);
    tokio::spawn(async move {
        let mut pause = RETRY_FIRST;
        while !events.is_closed() {
            match connect(&url, &token).await {
                Ok(socket) => {
                    pause = RETRY_FIRST;
                    info!("connected to the control plane");
                    serve(socket, &events).await;
                    info!("disconnected from the control plane");
                    if events.send(FromLink::Disconnected).await.is_err() {
                        return;
                    }
                }
                Err(ConnectError::Unwanted(reason)) => {
                    let _ = events.send(FromLink::Unwanted(reason)).await;
                    return;
                }
                Err(ConnectError::Failed(error)) => debug!(%error, "failed to connect to the control plane"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MOST);
        }
    });
    receiver
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

enum ConnectError {
    Unwanted(String),
    Failed(String),
}

async fn connect(url: &str, token: &str) -> Result<Socket, ConnectError> {
    let failed = |error: String| ConnectError::Failed(error);
    let mut request = url.into_client_request().map_err(|error| failed(error.to_string()))?;
    let value =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| failed(error.to_string()))?;
    request.headers_mut().insert("authorization", value);
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_FRAME_BYTES))
        .max_frame_size(Some(MAX_FRAME_BYTES));
    // Nagle's algorithm would hold small frames back: an answer must not wait for it.
    match connect_async_with_config(request, Some(config), true).await {
        Ok((socket, _)) => Ok(socket),
        Err(tokio_tungstenite::tungstenite::Error::Http(response))
            if matches!(response.status().as_u16(), 401 | 403) =>
        {
            Err(ConnectError::Unwanted(format!("the control plane answered {}", response.status())))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

async fn serve(socket: Socket, events: &mpsc::Sender<FromLink>) {
    let (mut write, mut read) = socket.split();
    let (up, mut queue) = mpsc::channel::<Up>(UP_QUEUE);
    if events.send(FromLink::Connected(up)).await.is_err() {
        return;
    }
    let writer = async {
        while let Some(frame) = queue.recv().await {
            let Ok(text) = serde_json::to_string(&frame) else { continue };
            if write.send(Message::text(text)).await.is_err() {
                break;
            }
        }
        let _ = write.close().await;
    };
    let reader = async {
        while let Some(Ok(message)) = read.next().await {
            match message {
                Message::Text(text) => match serde_json::from_str::<Down>(&text) {
                    Ok(frame) => {
                        if events.send(FromLink::Frame(Box::new(frame))).await.is_err() {
                            break;
                        }
                    }
                    Err(error) => debug!(%error, "a frame of the control plane could not be read"),
                },
                Message::Close(_) => break,
                _ => {}
            }
        }
    };
    tokio::select! {
        () = writer => {}
        () = reader => {}
    }
}
