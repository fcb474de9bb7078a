//! A conversation as it happens. Goes on by itself when the control plane is restarted: it asks
//! for what follows the last event it has seen.

use std::{pin::pin, time::Duration};

use eventsource_stream::Eventsource as _;
use futures::{Stream, StreamExt as _, stream};
use holdpoint_model::{Seq, wire::Delta};
use reqwest::Method;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{
    client::{Api, ApiError, ErrorKind, types::LogEvent},
    failure::Failure,
};

/// Items that wait to be shown; more wait at the control plane.
const ITEMS_KEPT: usize = 256;

/// Before the first try after the stream broke, and at most between tries.
const PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Without any byte for so long, sign of life included, the connection counts as broken.
const SILENCE: Duration = Duration::from_secs(60);

/// What comes.
#[derive(Debug)]
pub enum Item {
    /// An event of the log.
    Event(Box<LogEvent>),
    /// Part of what the model is writing.
    Delta(Delta),
    /// The stream broke; it is being taken up again.
    Reconnecting,
    /// It goes on.
    Reconnected,
    /// Nothing more will come.
    End,
    /// It cannot go on.
    Failed(ApiError),
}

/// Follows a conversation from after `after`, for as long as the receiver is kept. `connect` looks
/// up where the control plane is now.
#[must_use]
pub fn follow(
    connect: impl Fn() -> Result<Api, Failure> + Send + Sync + 'static,
    execution: String,
    after: Seq,
    deltas: bool,
) -> mpsc::Receiver<Item> {
    let (sender, receiver) = mpsc::channel(ITEMS_KEPT);
    tokio::spawn(async move {
        let mut feed = Feed { connect, execution, after, deltas, sender };
        feed.run().await;
    });
    receiver
}

struct Feed<C> {
    connect: C,
    execution: String,
    after: Seq,
    deltas: bool,
    sender: mpsc::Sender<Item>,
}

/// How one connection ended.
enum Ending {
    /// At the end of the log.
    Complete,
    /// The receiver went away.
    Unwanted,
    /// It may go on later.
    Broken,
    /// It cannot go on.
    Failed(ApiError),
}

impl<C: Fn() -> Result<Api, Failure> + Send + Sync> Feed<C> {
    async fn run(&mut self) {
        let mut pause = PAUSE;
        let mut broken = false;
        loop {
            let before = self.after;
            match self.connection(&mut broken).await {
                Ending::Complete => {
                    let _ = self.sender.send(Item::End).await;
                    return;
                }
                Ending::Unwanted => return,
                Ending::Failed(error) => {
                    let _ = self.sender.send(Item::Failed(error)).await;
                    return;
                }
                Ending::Broken => {}
            }
            if !broken {
                broken = true;
                if self.sender.send(Item::Reconnecting).await.is_err() {
                    return;
                }
            }
            pause = if self.after > before { PAUSE } else { (pause * 2).min(MAX_PAUSE) };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.sender.closed() => return,
            }
        }
    }

    /// The control plane may be elsewhere after a restart, so it is looked up each time. While it
    /// is away there is no file to look in, which is no error once it was there.
    async fn connection(&mut self, broken: &mut bool) -> Ending {
        let api = match (self.connect)() {
            Ok(api) => api,
            Err(_) if *broken => return Ending::Broken,
            Err(failure) => return Ending::Failed(ApiError { kind: ErrorKind::Unreachable, failure }),
        };
        match self.read(&api, broken).await {
            Ok(ending) => ending,
            Err(error) if error.kind.is_passing() && (*broken || self.after > 0) => Ending::Broken,
            Err(error) => Ending::Failed(error),
        }
    }

    async fn read(&mut self, api: &Api, broken: &mut bool) -> Result<Ending, ApiError> {
        let deltas = if self.deltas { "&deltas=1" } else { "" };
        let path = format!("/v1/executions/{}/events?after={}{deltas}", self.execution, self.after);
        let request = api.request(Method::GET, &path).header("accept", "text/event-stream");
        let request = if self.after > 0 { request.header("last-event-id", self.after) } else { request };
        let response = api.send(request).await?;
        if std::mem::take(broken) && self.sender.send(Item::Reconnected).await.is_err() {
            return Ok(Ending::Unwanted);
        }
        let mut stream = pin!(until_silent(response.bytes_stream(), SILENCE).eventsource());
        loop {
            let next = tokio::select! {
                next = stream.next() => next,
                () = self.sender.closed() => return Ok(Ending::Unwanted),
            };
            let Some(Ok(event)) = next else { return Ok(Ending::Broken) };
            let item = match event.event.as_str() {
                "end" => return Ok(Ending::Complete),
                "delta" => match serde_json::from_str(&event.data) {
                    Ok(delta) => Item::Delta(delta),
                    Err(_) => continue,
                },
                _ => {
                    let Ok(raw) = serde_json::from_str::<Value>(&event.data) else { continue };
                    let event = LogEvent::new(raw);
                    // What was seen already is not shown twice, whatever the server sends.
                    if event.seq <= self.after {
                        continue;
                    }
                    self.after = event.seq;
                    Item::Event(Box::new(event))
                }
            };
            if self.sender.send(item).await.is_err() {
                return Ok(Ending::Unwanted);
            }
        }
    }
}

/// The chunks until none came for so long. This stands before the parser: signs of life are comments,
/// which it swallows, so that behind it a stream where nothing happens looks like one that broke.
fn until_silent<T, E>(
    chunks: impl Stream<Item = Result<T, E>>,
    silence: Duration,
) -> impl Stream<Item = Result<T, E>> {
    stream::unfold(Box::pin(chunks), move |mut chunks| async move {
        let chunk = tokio::time::timeout(silence, chunks.next()).await.ok().flatten()?;
        Some((chunk, chunks))
    })
}

/// The whole log so far, in pages.
///
/// # Errors
/// When it cannot be reached, or refuses.
pub async fn pages(
    api: &Api,
    execution: &str,
    mut each: impl FnMut(LogEvent) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut after = 0;
    loop {
        let page = api.get(&format!("/v1/executions/{execution}/events?after={after}&limit=500")).await?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        let before = after;
        for raw in items {
            let event = LogEvent::new(raw);
            after = after.max(event.seq);
            each(event)?;
        }
        if page["next"].is_null() {
            return Ok(());
        }
        if after == before {
            return Err(Failure::new("the log cannot be read on").why("a page repeats itself").into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sign_of_life_is_no_silence() {
        let silence = Duration::from_millis(400);
        let (sender, chunks) = mpsc::channel::<Result<&[u8], std::io::Error>>(1);
        let server = tokio::spawn(async move {
            // Together longer than the silence; each alone much shorter.
            for _ in 0..8 {
                tokio::time::sleep(silence / 4).await;
                sender.send(Ok(b":\n\n")).await.expect("wanted");
            }
            sender.send(Ok(b"event: notice\ndata: {}\n\n")).await.expect("wanted");
            sender
        });
        let chunks = stream::unfold(chunks, |mut chunks| async { Some((chunks.recv().await?, chunks)) });
        let mut events = pin!(until_silent(chunks, silence).eventsource());
        let event = events.next().await.expect("still there").expect("an event");
        assert_eq!(event.event, "notice");
        assert!(events.next().await.is_none(), "now it is silent");
        drop(server);
    }
}
