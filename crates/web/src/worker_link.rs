//! `GET /worker/link`: the connection that a worker opens, as a WebSocket of JSON text frames.

use axum::{
    extract::{
        State,
        ws::{Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    response::Response,
};
use futures::{SinkExt as _, StreamExt as _, future};
use holdpoint_control::WorkerLink;
use holdpoint_model::wire::{Down, MAX_FRAME_BYTES, Up};
use http::{HeaderMap, StatusCode};

use crate::{auth::bearer, problem::Problem, state::WebState};

/// The token is checked before the upgrade, so that a stranger gets no further than a 401.
pub(crate) async fn worker_link(
    State(state): State<WebState>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let unknown = |detail: String| {
        Problem::new(StatusCode::UNAUTHORIZED, "unknown_worker", "this worker is not expected", detail)
    };
    let token = bearer(&headers).ok_or_else(|| unknown("send `Authorization: Bearer TOKEN`".to_owned()))?;
    let link = state.control.expect_worker(token).await.map_err(|error| unknown(error.to_string()))?;
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            return Err(Problem::new(
                rejection.status(),
                "no_websocket",
                "this address speaks WebSocket alone",
                rejection.body_text(),
            ));
        }
    };
    Ok(upgrade
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .on_upgrade(move |socket| serve(link, socket)))
}

async fn serve(link: WorkerLink, socket: WebSocket) {
    let (sink, stream) = socket.split();
    let up = stream.filter_map(|message| {
        future::ready(match message {
            Ok(Message::Text(text)) => Some(
                serde_json::from_str::<Up>(&text).map_err(|error| format!("understand a frame: {error}")),
            ),
            Ok(Message::Binary(_)) => Some(Err("understand a frame that is no text".to_owned())),
            // Pings are answered by the WebSocket itself; the stream ends by itself after a close.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => None,
            // A worker that ends does not say goodbye; the stream is over with it.
            Err(error) => {
                tracing::debug!(%error, "a worker's connection broke");
                None
            }
        })
    });
    let down = sink.with(|frame: Down| {
        future::ready(
            serde_json::to_string(&frame).map(|text| Message::Text(text.into())).map_err(axum::Error::new),
        )
    });
    link.serve(up, down).await;
}
