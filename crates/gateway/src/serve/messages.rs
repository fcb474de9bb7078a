//! `POST /v1/messages`: from the record, or from upstream.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    response::Response,
};
use holdpoint_model::{CallId, Digest};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::{
    Gateway,
    relay::{self, Busy, Listener},
    upstream_path,
};
use crate::{
    desk::{Asked, InFlight},
    error::ApiError,
    gist::Gist,
    headers::upwards,
    limits::MAX_REQUEST_BYTES,
    record::NewCall,
    replay::{self, Part, Plan},
    reserve,
    thread::{self, Thread},
    ticket::Ticket,
    upstream::Call,
    wire,
};

pub(super) async fn post(State(gateway): State<Gateway>, request: Request) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let (token, ticket) = gateway.authenticate(&head.headers).await?;
    let body = read_body(body).await?;
    let request = Arc::new(wire::Request::read(&body)?);
    let thread = Thread::of(&head.headers, &request);

    let listener = |asked: &Asked| Listener {
        gateway: gateway.clone(),
        token: token.clone(),
        execution: asked.execution,
        incarnation: asked.incarnation,
        stream: request.stream,
    };
    match decide(&gateway, &ticket, &thread, &request).await? {
        Decided::Replay(asked, call, part) => {
            gateway.recorder.replaying(call, asked.incarnation).await?;
            let response = gateway.recorder.response(call).await?;
            let message = replay::cut(&response, &part, asked.incarnation);
            tracing::info!(execution = %asked.execution, incarnation = asked.incarnation, thread = %asked.thread,
                           %call, whole = (part == Part::Whole), "answered from the record");
            Ok(relay::replay(listener(&asked), call, &message))
        }
        Decided::Upstream(asked, in_flight) => {
            let is_live = ticket.rehearsal_script.is_none();
            let pass = if is_live { Some(gateway.gate.pass(asked.execution).await?) } else { None };
            let new = new_call(&asked, &request, &body, &ticket.place);
            let id = gateway.recorder.begin(new.clone()).await?;
            let call = upstream_call(&head.headers, &head.uri, body, &request, &asked, ticket);
            relay::upstream(listener(&asked), id, &new, call, Busy { in_flight, _pass: pass }).await
        }
    }
}

enum Decided {
    Replay(Asked, CallId, Part),
    Upstream(Asked, InFlight),
}

/// Asks the record until it is clear: when the same question is being answered right now, that answer
/// will be in the record, and paying for a second one would be waste.
async fn decide(
    gateway: &Gateway,
    ticket: &Ticket,
    thread: &Thread,
    request: &wire::Request,
) -> Result<Decided, ApiError> {
    let merged = request.merged();
    let root = thread::root(request);
    let Ticket { execution, incarnation, .. } = *ticket;
    loop {
        let answered = gateway.desk.answered();
        let record =
            if thread.is_replayed() { gateway.recorder.current_turn(execution).await? } else { Vec::new() };
        let taken = gateway.desk.taken(execution, incarnation, thread);
        let asking = replay::Asking { thread, incarnation, root: &root, merged: &merged, taken: &taken };
        let asked = |place| Asked { execution, incarnation, thread: thread.clone(), place };
        match replay::plan(asking, &record) {
            Plan::Replay { call, part } => {
                let place = record.iter().find(|recorded| recorded.id == call).map(|call| call.place.clone());
                let asked = asked(place.unwrap_or_else(|| thread::Place::start(&root)));
                if gateway.desk.take(call, &asked) {
                    return Ok(Decided::Replay(asked, call, part));
                }
            }
            Plan::Upstream(place) => match gateway.desk.ask(asked(place.clone())) {
                Ok(in_flight) => {
                    // The same question may have been answered between the look at the record and the
                    // entry here: an answer is recorded before its question leaves the desk.
                    if thread.is_replayed() && gateway.desk.answered() != answered {
                        continue;
                    }
                    return Ok(Decided::Upstream(asked(place), in_flight));
                }
                Err(already) => already.ended().await,
            },
        }
    }
}

fn new_call(asked: &Asked, request: &wire::Request, body: &Bytes, place: &str) -> NewCall {
    let model = request.model.clone().unwrap_or_default();
    let request_bytes = body.len() as u64;
    NewCall {
        execution: asked.execution,
        incarnation: asked.incarnation,
        thread: asked.thread.clone(),
        place: asked.place.clone(),
        reserved_micros: reserve::micros(&model, request_bytes, request.max_tokens),
        model,
        request_digest: Digest::of_bytes(body).as_str().to_owned(),
        request_bytes,
        stream: request.stream,
        asked: Gist::of(&asked.thread, request, place),
    }
}

fn upstream_call(
    headers: &HeaderMap,
    uri: &http::Uri,
    body: Bytes,
    request: &Arc<wire::Request>,
    asked: &Asked,
    ticket: Ticket,
) -> Call {
    Call {
        method: http::Method::POST,
        path: upstream_path(uri),
        headers: upwards(headers),
        body,
        request: request.clone(),
        execution: asked.execution,
        incarnation: asked.incarnation,
        thread: asked.thread.clone(),
        script: ticket.rehearsal_script,
        place: ticket.place,
    }
}

/// The whole body, within [`MAX_REQUEST_BYTES`].
pub(super) async fn read_body(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, MAX_REQUEST_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("Request exceeds the maximum size of {MAX_REQUEST_BYTES} bytes"),
        )),
        Err(_) => Err(ApiError::invalid("The request body ended too early")),
    }
}
