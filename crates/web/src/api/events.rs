//! `GET /v1/executions/{id}/events`: the log, as a stream of server-sent events or as JSON pages.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use holdpoint_model::{Event, EventBody, ExecutionId, Incarnation, Seq, WorkerSeq};
use http::{HeaderMap, HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use crate::{
    auth::{Act, Caller, execution_as, revoked},
    body::{LastEventId, Page, Path, Query},
    feed::{Fed, Feed},
    limits,
    openapi::{Doc, Gives, Group, Operation},
    paging::cut,
    problem::Problem,
    state::WebState,
    tail::Entry,
    time::At,
};

pub(super) const EVENTS: Doc = Doc::new(Group::Conversations, "followExecution", "Follow a conversation's log")
    .text(
        "A stream, or with `Accept: application/json` a page. In the stream each event has its `seq` as `id`, its \
         kind as `event` and an `Event` as `data`; with `deltas=1` there is also `delta`, what the model is writing \
         right now, which is never stored. At last comes `end`. A client that comes back with `Last-Event-ID` \
         misses nothing.",
    )
    .problems(&[(404, "not_found")]);

/// A fact of a conversation's log.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Event")]
struct EventView<'a> {
    execution: ExecutionId,
    /// Its position in the log, from 1, without a gap.
    seq: Seq,
    /// When it was committed.
    at: At,
    /// Which worker told it, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    incarnation: Option<Incarnation>,
    /// The worker's own number for the fact.
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_seq: Option<WorkerSeq>,
    #[serde(flatten)]
    body: &'a EventBody,
}

/// A stream, or a page.
#[derive(Debug)]
pub(super) struct Log(Response);

impl IntoResponse for Log {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Gives for Log {
    fn describe(operation: &mut Operation<'_>) {
        let page = operation.schema_of::<Page<EventView<'_>, Seq>>();
        let text = "The log from there on.";
        operation.answer(200, text, Some(("application/json", page)));
        operation.events(text, &json!({ "type": "string" }));
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// Events after this one; 0 for all.
    #[serde(default)]
    #[schemars(range(max = u64::MAX))]
    after: Seq,
    /// How many, in a JSON page, at most 200.
    #[schemars(range(max = 4_294_967_295_u32))]
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
    LastEventId(seen): LastEventId,
    headers: HeaderMap,
) -> Result<Log, Problem> {
    let (execution, standing) = execution_as(&state, &caller, &id, Act::See).await?;
    let id = execution.id;
    if wants_json(&headers) {
        return page(&state, id, &params).await.map(Log);
    }
    let after = seen.unwrap_or(params.after);
    let feed = Feed::new(&state, id, after, params.deltas == 1);
    let over = revoked(state, caller, Some((id, standing)));
    let mut response = Response::new(Body::from_stream(pieces(feed).take_until(over)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(Log(response))
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("application/json") && !accept.contains("text/event-stream")
}

/// An event as the API shows it.
fn view(event: &Event) -> EventView<'_> {
    EventView {
        execution: event.execution,
        seq: event.seq,
        at: At(event.at),
        incarnation: event.incarnation,
        worker_seq: event.worker_seq,
        body: &event.body,
    }
}

async fn page(state: &WebState, id: ExecutionId, params: &Params) -> Result<Response, Problem> {
    let limit = params.limit.unwrap_or(limits::EVENTS_PAGE).clamp(1, limits::EVENTS_PAGE);
    let mut events = state.store().events(id, params.after, limit + 1).await?;
    let next = cut(&mut events, limit, |event| event.seq);
    Ok(Json(Page { items: events.iter().map(view).collect(), next }).into_response())
}

/// The stream, in pieces of whole events: whoever was woken gets all that is new in one.
fn pieces(feed: Feed) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(Some(feed), |feed| async move {
        let mut feed = feed?;
        let alive_at = Instant::now() + Duration::from_secs(limits::KEEP_ALIVE_S);
        loop {
            let Ok(fed) = timeout_at(alive_at, feed.next()).await else {
                return Some((Ok(Bytes::from_static(b":\n\n")), Some(feed)));
            };
            match fed {
                Ok(Fed::Events(entries)) => return Some((Ok(Entry::frames(&entries)), Some(feed))),
                Ok(Fed::Delta(delta)) => {
                    return Some((
                        Ok(format!("event: delta\ndata: {}\n\n", json!(delta)).into()),
                        Some(feed),
                    ));
                }
                Ok(Fed::Idle) => {}
                Ok(Fed::End) => return Some((Ok(Bytes::from_static(b"event: end\ndata: {}\n\n")), None)),
                Ok(Fed::Closing) => return None,
                Err(error) => {
                    // The client comes back with the last id it has.
                    tracing::warn!(%error, "failed to read events for a stream");
                    return None;
                }
            }
        }
    })
}

/// A fact as a server-sent event. JSON has no line ends of its own: one `data` line is enough.
pub(crate) fn event_frame(event: &Event) -> Bytes {
    format!("id: {}\nevent: {}\ndata: {}\n\n", event.seq, event.body.kind(), json!(view(event))).into()
}
