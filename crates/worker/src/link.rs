//! The connection to the control plane: opened by the worker, opened again whenever it breaks.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use holdpoint_model::wire::{Down, MAX_FRAME_BYTES, Up};
use tokio::{sync::mpsc, time::Instant};
use tokio_tungstenite::{
    connect_async_with_config,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderValue, protocol::WebSocketConfig},
};
use tracing::{debug, info, warn};

/// Frames that wait to be written. Deltas beyond it are dropped, facts wait.
const UP_QUEUE: usize = 256;

/// Frames that wait to be acted on.
const DOWN_QUEUE: usize = 256;

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(1);

/// A connection that has lasted so long is a good one, whether or not there was anything to tell.
const GOOD_AFTER: Duration = Duration::from_secs(2);

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
        let (mut retry, mut news) = (Retry::default(), News::default());
        while !events.is_closed() {
            let was_good = match connect(&url, &token).await {
                Ok(socket) => {
                    let ended = serve(socket, &events, &mut news).await;
                    news.trouble(ended.reason);
                    if events.send(FromLink::Disconnected).await.is_err() {
                        return;
                    }
                    ended.was_good
                }
                Err(ConnectError::Unwanted(reason)) => {
                    let _ = events.send(FromLink::Unwanted(reason)).await;
                    return;
                }
                Err(ConnectError::Failed(error)) => {
                    news.trouble(format!("failed to connect: {error}"));
                    false
                }
            };
            tokio::time::sleep(retry.after(was_good)).await;
        }
    });
    receiver
}

/// How long to wait before the next try. A connection that is opened and ended again at once, because nothing can be
/// committed say, is no better than none: only a good one makes the next wait short.
#[derive(Debug)]
struct Retry {
    next: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { next: RETRY_FIRST }
    }
}

impl Retry {
    fn after(&mut self, was_good: bool) -> Duration {
        let now = if was_good { RETRY_FIRST } else { self.next };
        self.next = (now * 2).min(RETRY_MOST);
        now
    }
}

/// What the log has said of the connection: each change once, however often it is tried again.
#[derive(Debug, Default)]
struct News {
    said_good: bool,
    trouble: Option<String>,
}

impl News {
    fn opened(&mut self) {
        if self.trouble.is_none() {
            self.good();
        }
    }

    fn good(&mut self) {
        if self.trouble.take().is_some() || !self.said_good {
            info!("connected to the control plane");
        }
        self.said_good = true;
    }

    fn trouble(&mut self, reason: String) {
        if self.trouble.as_ref() == Some(&reason) {
            debug!(%reason, "disconnected from the control plane");
        } else {
            warn!(%reason, "disconnected from the control plane; trying again");
            self.trouble = Some(reason);
        }
    }
}

/// How a connection ended.
#[derive(Debug)]
struct Ended {
    reason: String,
    /// Facts were committed over it, or it lasted.
    was_good: bool,
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

async fn serve(socket: Socket, events: &mpsc::Sender<FromLink>, news: &mut News) -> Ended {
    let since = Instant::now();
    let (mut write, mut read) = socket.split();
    let (up, mut queue) = mpsc::channel::<Up>(UP_QUEUE);
    let mut ended = Ended { reason: "the connection ended".into(), was_good: false };
    if events.send(FromLink::Connected(up)).await.is_err() {
        return ended;
    }
    news.opened();
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
        while let Some(message) = read.next().await {
            let frame = match message {
                Ok(Message::Text(text)) => serde_json::from_str::<Down>(&text),
                Ok(Message::Close(_)) => break,
                Ok(_) => continue,
                Err(error) => {
                    ended.reason = error.to_string();
                    break;
                }
            };
            if matches!(frame, Ok(Down::Ack { .. })) || since.elapsed() >= GOOD_AFTER {
                ended.was_good = true;
                news.good();
            }
            match frame {
                Ok(Down::TryAgain { reason }) => {
                    ended.reason = reason;
                    break;
                }
                Ok(frame) => {
                    if events.send(FromLink::Frame(Box::new(frame))).await.is_err() {
                        break;
                    }
                }
                Err(error) => debug!(%error, "a frame of the control plane could not be read"),
            }
        }
    };
    tokio::select! {
        () = writer => {}
        () = reader => {}
    }
    ended
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn only_a_good_connection_makes_the_next_wait_short() {
        let mut retry = Retry::default();
        let waits: Vec<u128> =
            [false, false, false, false, false, false, false, true, false, true, true, false]
                .map(|was_good| retry.after(was_good).as_millis())
                .into();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000, 50, 100, 50, 50, 100]);
    }

    /// A control plane that welcomes everybody and commits nothing.
    async fn full(listener: TcpListener) {
        loop {
            let (socket, _) = listener.accept().await.expect("a connection");
            let mut socket = tokio_tungstenite::accept_async(socket).await.expect("a WebSocket");
            for frame in [
                Down::Welcome { acked: 0, lease_ms: 60_000 },
                Down::TryAgain { reason: "the disk is full".into() },
            ] {
                let text = serde_json::to_string(&frame).expect("json");
                socket.send(Message::text(text)).await.expect("sent");
            }
            let _ = socket.close(None).await;
        }
    }

    #[tokio::test]
    async fn a_control_plane_that_commits_nothing_is_not_asked_all_the_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("ws://{}/worker/link", listener.local_addr().expect("address"));
        let control = tokio::spawn(full(listener));
        let mut link = keep_connected(url, "token".into());
        let mut seen = Vec::new();
        let end = tokio::time::Instant::now() + Duration::from_millis(1_200);
        while let Ok(Some(frame)) = tokio::time::timeout_at(end, link.recv()).await {
            seen.push(match frame {
                FromLink::Connected(_) => "connected",
                FromLink::Frame(frame) => match *frame {
                    Down::Welcome { .. } => "welcome",
                    other => panic!("not for the supervisor: {other:?}"),
                },
                FromLink::Disconnected => "disconnected",
                FromLink::Unwanted(reason) => panic!("{reason}"),
            });
        }
        control.abort();
        // At 0, 50, 150, 350 and 750 ms: later ones are for a slow machine to miss.
        let connections = seen.iter().filter(|what| **what == "connected").count();
        assert!((2..=5).contains(&connections), "{seen:?}");
        assert_eq!(seen[..4], ["connected", "welcome", "disconnected", "connected"]);
    }

    #[test]
    fn each_trouble_is_news_once() {
        let mut news = News::default();
        news.opened();
        assert!(news.said_good && news.trouble.is_none());
        news.trouble("full".into());
        news.opened();
        assert_eq!(news.trouble.as_deref(), Some("full"), "to be connected alone is not good news");
        news.good();
        assert_eq!(news.trouble, None);
    }
}
