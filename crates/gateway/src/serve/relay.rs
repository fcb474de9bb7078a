//! The way of one call: upstream, through the record, to whoever still listens.
//!
//! It runs as a task of its own, so that a session that goes away in the middle stops nothing: the call
//! is paid, and the next incarnation gets it from the record.

use std::time::Duration;

use axum::{body::Bytes, response::Response};
use futures::StreamExt as _;
use holdpoint_model::{
    CallId, ExecutionId, Incarnation,
    pricing::{Price, Tokens},
};
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde_json::Value;
use tokio::sync::oneshot;

use super::{
    Gateway,
    outgoing::{self, Outgoing},
};
use crate::{
    assemble::{self, Assembler, Seen},
    desk::InFlight,
    emit,
    error::ApiError,
    gate::Pass,
    headers::downwards,
    limits::MAX_RESPONSE_BYTES,
    record::{Failure, NewCall, RecordError, Recorded},
    replay,
    sse::Splitter,
    upstream::{Call, Reply},
};

/// Longest wait for the end of a connection whose last event has come.
const TRAILING_BYTES_TIMEOUT: Duration = Duration::from_secs(2);

/// Who gets the answer, and how it wants it.
pub(super) struct Listener {
    pub(super) gateway: Gateway,
    pub(super) token: String,
    pub(super) execution: ExecutionId,
    pub(super) incarnation: Incarnation,
    pub(super) stream: bool,
}

impl Listener {
    /// Sends an answer's last bytes, unless the incarnation was fenced off meanwhile, and notes that
    /// they were taken.
    async fn finish(&self, call: CallId, outgoing: Outgoing, bytes: Bytes) {
        match self.gateway.tickets.check(&self.token).await {
            Ok(Some(_)) => {}
            Ok(None) => return outgoing.break_off("this incarnation no longer acts".into()).await,
            // It asks again, and gets the answer from the record.
            Err(error) => return outgoing.break_off(error.to_string()).await,
        }
        if !outgoing.finish(bytes).await {
            tracing::info!(execution = %self.execution, incarnation = self.incarnation, %call,
                           "the session went away before the end of a response; it is in the record");
            return;
        }
        self.gateway.desk.delivered(call, self.execution, self.incarnation);
        match self.gateway.recorder.delivered(call, self.incarnation).await {
            Ok(()) => self.gateway.desk.delivery_recorded(call, self.execution),
            Err(error) => tracing::warn!(%call, %error, "a delivery could not be recorded"),
        }
    }
}

/// Answers with a recorded message.
pub(super) fn replay(listener: Listener, call: CallId, message: &Value) -> Response {
    let (mut outgoing, body) = outgoing::body();
    let mut response = Response::new(body);
    let kind = if listener.stream { "text/event-stream; charset=utf-8" } else { "application/json" };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let (first, last) = if listener.stream {
        let mut events = emit::events(message, emit::REPLAY_CHUNK_CHARS);
        let last = events.pop().map(|event| event.text).unwrap_or_default();
        (events.into_iter().map(|event| event.text).collect(), last)
    } else {
        (String::new(), message.to_string())
    };
    let tasks = listener.gateway.tasks.clone();
    tasks.spawn(async move {
        outgoing.send(first.into()).await;
        listener.finish(call, outgoing, last.into()).await;
    });
    response
}

/// Answers with what the upstream says, once its first bytes are there.
pub(super) async fn upstream(
    listener: Listener,
    id: CallId,
    new: &NewCall,
    call: Call,
    busy: Busy,
) -> Result<Response, ApiError> {
    let (head, answer) = oneshot::channel();
    let price = Price::of(&new.model);
    let tasks = listener.gateway.tasks.clone();
    tasks.spawn(async move {
        let paid = Paid { listener, id, price };
        match paid.listener.gateway.upstream.send(call).await {
            Ok(reply) => paid.relay(reply, head, busy).await,
            Err(error) => {
                let error = ApiError::new(StatusCode::BAD_GATEWAY, format!("the model's API: {error}"));
                paid.fail(None, error.message.clone(), false, Tokens::default()).await;
                let _ = head.send(Err(error));
            }
        }
    });
    answer.await.unwrap_or_else(|_| Err(ApiError::internal("the call ended without an answer")))
}

/// What a call holds until its answer is recorded: its question's place among those in flight, and its
/// place upstream.
pub(super) struct Busy {
    pub(super) in_flight: InFlight,
    pub(super) _pass: Option<Pass>,
}

/// A call that has been made.
struct Paid {
    listener: Listener,
    id: CallId,
    price: Price,
}

type Head = oneshot::Sender<Result<Response, ApiError>>;

impl Paid {
    async fn relay(self, reply: Reply, head: Head, busy: Busy) {
        let kind = reply.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if reply.status.is_success() && kind.starts_with("text/event-stream") {
            self.relay_stream(reply, head, busy).await;
        } else {
            self.relay_whole(reply, head, busy).await;
        }
    }

    /// A stream: passed on event by event, the last one held back until the response is recorded.
    async fn relay_stream(self, reply: Reply, head: Head, busy: Busy) {
        let (mut outgoing, body) = outgoing::body();
        let status = reply.status;
        let _ = head.send(Ok(respond(status, downwards(&reply.headers), body)));

        let mut upstream = reply.body;
        let mut splitter = Splitter::default();
        let mut assembler = Assembler::default();
        let end = 'stream: loop {
            let chunk = match upstream.next().await {
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) => break End::Broken(error.to_string()),
                None => break End::Broken("the stream ended before its message_stop".into()),
            };
            if let Err(error) = splitter.push(&chunk) {
                break End::Broken(error.to_string());
            }
            while let Some(frame) = splitter.next_frame() {
                match assembler.push(&frame.event, &frame.data) {
                    Seen::Stop => break 'stream End::Whole(frame.raw),
                    Seen::Part | Seen::Error => outgoing.send(frame.raw).await,
                }
            }
        };
        match end {
            End::Whole(last) => {
                if assembler.unreadable() > 0 {
                    tracing::warn!(call = %self.id, events = assembler.unreadable(),
                                   "a response held events that could not be read; its record may lack something");
                }
                let tokens = assembler.tokens();
                busy.in_flight.answered(self.id);
                let recorded = self.complete(status, assembler.into_message(), tokens).await;
                drop(busy);
                match recorded {
                    Ok(()) => self.listener.finish(self.id, outgoing, last).await,
                    // Unrecorded is unfinished: the session has to ask again.
                    Err(error) => outgoing.break_off(error.to_string()).await,
                }
                let _ = tokio::time::timeout(TRAILING_BYTES_TIMEOUT, async {
                    while upstream.next().await.is_some() {}
                })
                .await;
            }
            End::Broken(why) => {
                // An error event ends a stream as well; then the end of the connection is in order.
                let in_order = assembler.error().map(str::to_owned);
                let reason = in_order.clone().unwrap_or_else(|| why.clone());
                self.fail(Some(status), reason, true, assembler.tokens()).await;
                drop(busy);
                let rest = splitter.rest();
                if !rest.is_empty() {
                    outgoing.send(rest).await;
                }
                if in_order.is_none() {
                    outgoing.break_off(why).await;
                }
            }
        }
    }

    /// A whole answer: recorded if it is a Message, noted as failed if not, then passed on.
    async fn relay_whole(self, reply: Reply, head: Head, busy: Busy) {
        let status = reply.status;
        let headers = downwards(&reply.headers);
        let body = match collect(reply).await {
            Ok(body) => body,
            Err(why) => {
                self.fail(Some(status), why.clone(), true, Tokens::default()).await;
                let _ = head.send(Err(ApiError::new(StatusCode::BAD_GATEWAY, why)));
                return;
            }
        };
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        if !status.is_success() || value["type"] != "message" {
            self.fail(Some(status), reason(&value, &body), false, Tokens::default()).await;
            drop(busy);
            let _ = head.send(Ok(respond(status, headers, body.into())));
            return;
        }
        let tokens = value["usage"].as_object().map(assemble::tokens).unwrap_or_default();
        busy.in_flight.answered(self.id);
        let recorded = self.complete(status, value, tokens).await;
        drop(busy);
        if let Err(error) = recorded {
            let _ = head.send(Err(error.into()));
            return;
        }
        let (outgoing, out) = outgoing::body();
        let _ = head.send(Ok(respond(status, headers, out)));
        self.listener.finish(self.id, outgoing, body).await;
    }

    async fn complete(&self, status: StatusCode, response: Value, tokens: Tokens) -> Result<(), RecordError> {
        let recorded = Recorded {
            status: status.as_u16(),
            footprint: replay::footprint(&response),
            stop_reason: response["stop_reason"].as_str().map(str::to_owned),
            response: response.into(),
            tokens,
            cost_micros: self.price.cost_micros(&tokens),
        };
        let done = self.listener.gateway.recorder.complete(self.id, recorded).await;
        if let Err(error) = &done {
            tracing::error!(call = %self.id, execution = %self.listener.execution, %error,
                            "a response could not be recorded, so it is withheld");
        }
        done
    }

    async fn fail(&self, status: Option<StatusCode>, reason: String, incomplete: bool, tokens: Tokens) {
        let status = status.map(|status| status.as_u16());
        tracing::info!(call = %self.id, execution = %self.listener.execution, status, reason, incomplete,
                       "a model call failed");
        let cost_micros = self.price.cost_micros(&tokens);
        let failure = Failure { status, reason, incomplete, tokens, cost_micros };
        if let Err(error) = self.listener.gateway.recorder.fail(self.id, failure).await {
            tracing::error!(call = %self.id, %error, "a failed call could not be recorded");
        }
    }
}

enum End {
    /// All of it came; these are the bytes held back.
    Whole(Bytes),
    Broken(String),
}

async fn collect(reply: Reply) -> Result<Bytes, String> {
    let mut body = bytes::BytesMut::new();
    let mut chunks = reply.body;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| error.to_string())?;
        if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
            return Err(format!("the answer is larger than {MAX_RESPONSE_BYTES} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// What an error answer says, for the record.
fn reason(value: &Value, body: &[u8]) -> String {
    match (value["error"]["type"].as_str(), value["error"]["message"].as_str()) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        _ => String::from_utf8_lossy(body).chars().take(200).collect(),
    }
}

fn respond(status: StatusCode, headers: HeaderMap, body: axum::body::Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
