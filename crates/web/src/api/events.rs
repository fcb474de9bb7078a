//! `GET /v1/executions/{id}/events`: the log, as a stream of server-sent events or as JSON pages.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use futures::{Stream, StreamExt as _, stream};
use holdpoint_model::{Event, ExecutionId, Seq};
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    auth::{Act, Caller, execution_as, revoked},
    body::{Path, Query},
    feed::{Fed, Feed},
    limits,
    problem::Problem,
    state::WebState,
    time::rfc3339,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// Events after this one; 0 for all.
    #[serde(default)]
    after: Seq,
    /// How many, in a JSON page.
    limit: Option<u32>,
    /// `1`: also what the model is writing right now.
    #[serde(default)]
    deltas: u8,
}

pub(super) async fn events(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (execution, standing) = execution_as(&state, &caller, &id, Act::See).await?;
    let id = execution.id;
    if wants_json(&headers) {
        return page(&state, id, &params).await;
    }
    let after = last_event_id(&headers).unwrap_or(params.after);
    let feed = Feed::new(&state, id, after, params.deltas == 1);
    let over = revoked(state, caller, Some((id, standing)));
    Ok(Sse::new(stream_of(feed).take_until(over))
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(limits::KEEP_ALIVE_S)))
        .into_response())
}

/// The seq that a reconnecting client saw last. It wins over the address, which is the old one then.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Option<Seq> {
    headers.get("last-event-id")?.to_str().ok()?.trim().parse().ok()
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("application/json") && !accept.contains("text/event-stream")
}

/// An event as the API shows it.
fn view(event: &Event) -> Value {
    let mut view = json!(event);
    view["at"] = json!(rfc3339(event.at));
    view
}

async fn page(state: &WebState, id: ExecutionId, params: &Params) -> Result<Response, Problem> {
    let limit = params.limit.unwrap_or(limits::EVENTS_PAGE).clamp(1, limits::EVENTS_PAGE);
    let mut events = state.store().events(id, params.after, limit + 1).await?;
    let more = events.len() > limit as usize;
    events.truncate(limit as usize);
    let next = more.then(|| events.last().map(|event| event.seq)).flatten();
    let items: Vec<Value> = events.iter().map(view).collect();
    Ok(Json(json!({ "items": items, "next": next })).into_response())
}

fn stream_of(feed: Feed) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    stream::unfold(Some(feed), |feed| async move {
        let mut feed = feed?;
        match feed.next().await {
            Ok(Fed::Events(events)) => Some((events.iter().map(frame).collect(), Some(feed))),
            Ok(Fed::Delta(delta)) => {
                Some((vec![sse::Event::default().event("delta").data(json!(delta).to_string())], Some(feed)))
            }
            Ok(Fed::Idle) => Some((Vec::new(), Some(feed))),
            Ok(Fed::End) => Some((vec![sse::Event::default().event("end").data("{}")], None)),
            Ok(Fed::Closing) => None,
            Err(error) => {
                // The client comes back with the last id it has.
                tracing::warn!(%error, "failed to read events for a stream");
                None
            }
        }
    })
    .flat_map(|frames: Vec<sse::Event>| stream::iter(frames.into_iter().map(Ok)))
}

fn frame(event: &Event) -> sse::Event {
    sse::Event::default().id(event.seq.to_string()).event(event.body.kind()).data(view(event).to_string())
}
