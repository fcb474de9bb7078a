//! What passes without a record: `count_tokens` and the list of models, which cost nothing.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use http::StatusCode;

use super::{Gateway, messages::read_body, upstream_path};
use crate::{
    error::ApiError,
    headers::{downwards, upwards},
    thread::Thread,
    upstream::Call,
    wire,
};

pub(super) async fn pass_on(State(gateway): State<Gateway>, request: Request) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let (_, ticket) = gateway.authenticate(&head.headers).await?;
    let body = read_body(body).await?;
    let call = Call {
        method: head.method,
        path: upstream_path(&head.uri),
        headers: upwards(&head.headers),
        // What cannot be read is for the upstream to refuse; the model says which one.
        request: Arc::new(wire::Request::read(&body).unwrap_or_default()),
        body,
        execution: ticket.execution,
        incarnation: ticket.incarnation,
        thread: Thread::Side,
        script: ticket.rehearsal_script,
        place: ticket.place,
    };
    let reply = gateway
        .upstream
        .send(call)
        .await
        .map_err(|error| ApiError::new(StatusCode::BAD_GATEWAY, format!("the model's API: {error}")))?;
    let mut response = Response::new(Body::from_stream(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = downwards(&reply.headers);
    Ok(response)
}
