//! `GET /pulse`: a stream that says "something changed", for pages that then fetch themselves anew.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, StreamExt as _, stream};
use tokio::sync::broadcast::error::RecvError;

use crate::{
    auth::{Caller, revoked},
    limits,
    state::WebState,
};

/// After a change was told, further ones within this time are told as one: a page need not be
/// fetched for every event. Milliseconds.
const GATHER_MS: u64 = 1_000;

pub(super) async fn pulse(
    State(state): State<WebState>,
    caller: Caller,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let hints = state.store().hints();
    let start = (hints, state.closing.clone(), Duration::ZERO);
    let over = revoked(state, caller, None);
    let stream = stream::unfold(start, move |(mut hints, closing, rest)| async move {
        tokio::select! {
            () = closing.cancelled() => return None,
            // The first of many is told at once.
            hint = async { tokio::time::sleep(rest).await; hints.recv().await } => {
                if matches!(hint, Err(RecvError::Closed)) {
                    return None;
                }
            }
        }
        let event = Event::default().event("changed").data("{}");
        Some((Ok(event), (hints.resubscribe(), closing, Duration::from_millis(GATHER_MS))))
    });
    Sse::new(stream.take_until(over))
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(limits::KEEP_ALIVE_S)))
}
