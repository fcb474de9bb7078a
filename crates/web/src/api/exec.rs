//! `POST /v1/executions/{id}/exec`: runs a command beside a session, as what the session is. For operators.
//!
//! The answer is a line of JSON for each piece of output as it comes: `{"out": "text"}` or `{"err": "text"}`,
//! with `out_base64` or `err_base64` in their place where a piece is no text; at last `{"exit": 0}`, or
//! `{"stopped": "why"}` where nobody knows how it ended. Whoever goes away ends the command.

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{StreamExt as _, stream};
use holdpoint_control::{ExecBounds, Executing, NewExec, Piece};
use holdpoint_model::{ExecutionId, TokenScope};
use holdpoint_store::{Deed, Entry};
use http::{HeaderValue, header};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    auth::{Act, Caller, execution_as, revoked},
    body::{Json, Path},
    limits,
    openapi::{Doc, Gives, Group, Operation},
    problem::Problem,
    state::WebState,
};

pub(super) const EXEC: Doc = Doc::new(Group::Sessions, "exec", "Run a command beside a session")
    .text(
        "As what the session is, and noted in the conversation's log before it runs. The answer comes as it is \
         written, a line of JSON for each piece: `{\"out\": \"text\"}` or `{\"err\": \"text\"}` (`out_base64`, \
         `err_base64` where it is no text), at last `{\"exit\": 0}`, or `{\"stopped\": \"why\"}` where nobody knows how \
         it ended. Whoever goes away ends the command. Sent again, it runs again.",
    )
    .scope(TokenScope::Operate)
    .problems(&[
        (404, "not_found"),
        (409, "no_container"),
        (409, "no_worker"),
        (410, "worker_gone"),
        (429, "busy"),
        (502, "engine_failed"),
    ])
    .example(r#"{"command": ["ls", "-la"]}"#);

/// Lines of JSON.
#[derive(Debug)]
pub(super) struct Lines(Response);

impl IntoResponse for Lines {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Gives for Lines {
    fn describe(operation: &mut Operation<'_>) {
        let schema = json!({ "type": "string" });
        operation.answer(200, "What it writes, as it comes.", Some(("application/x-ndjson", schema)));
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// The program and its arguments; no shell is in between.
    command: Vec<String>,
    /// What it reads.
    #[serde(default)]
    stdin: Option<String>,
    /// The same, where it is no text.
    #[serde(default)]
    stdin_base64: Option<String>,
}

pub(super) async fn exec(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(request): Json<Request>,
) -> Result<Lines, Problem> {
    caller.check_look_inside()?;
    let (execution, standing) = execution_as(&state, &caller, &id, Act::See).await?;
    let id = execution.id;
    let stdin = match (request.stdin, request.stdin_base64) {
        (Some(_), Some(_)) => return Err(Problem::invalid("either `stdin` or `stdin_base64`, not both")),
        (None, Some(encoded)) => Some(
            STANDARD
                .decode(encoded)
                .map_err(|error| Problem::invalid(format!("`stdin_base64` is not base64: {error}")))?,
        ),
        (text, None) => text.map(String::into_bytes),
    };
    let bounds = ExecBounds {
        output_bytes: limits::EXEC_OUTPUT_BYTES,
        time: std::time::Duration::from_secs(limits::EXEC_S),
    };
    let new = NewExec { command: request.command, stdin, by: caller.actor(), bounds };
    audit_exec(&state, &caller, id, &new.command).await?;
    let executing = state.control.exec(id, new).await?;
    let lines = stream::unfold(executing, |mut executing: Executing| async move {
        let line = format!("{}\n", line(executing.next().await?));
        Some((Ok::<_, std::convert::Infallible>(line), executing))
    })
    .take_until(revoked(state, caller, Some((id, standing))));
    let mut response = Response::new(Body::from_stream(lines));
    let media = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    Ok(Lines(response))
}

/// Notes who is about to run what beside a session.
pub(crate) async fn audit_exec(
    state: &WebState,
    caller: &Caller,
    id: ExecutionId,
    command: &[String],
) -> Result<(), Problem> {
    let detail: String = command.join(" ").chars().take(limits::AUDITED_COMMAND_CHARS).collect();
    let entry = Entry::new(Deed::Exec, detail).about(id);
    Ok(state.store().audit(caller.by(), entry).await?)
}

fn line(piece: Piece) -> Value {
    let output = |name: &str, bytes: Vec<u8>| match String::from_utf8(bytes) {
        Ok(text) => json!({ name: text }),
        Err(error) => json!({ format!("{name}_base64"): STANDARD.encode(error.into_bytes()) }),
    };
    match piece {
        Piece::Out(bytes) => output("out", bytes),
        Piece::Err(bytes) => output("err", bytes),
        Piece::Exit(code) => json!({ "exit": code }),
        Piece::Stopped(why) => json!({ "stopped": why }),
    }
}
