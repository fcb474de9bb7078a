//! The HTTP API, `/v1`. One endpoint, one file. Scripts rely on it: extend, and keep.

mod agents;
mod calls;
mod commands;
mod decision;
mod deletions;
mod events;
mod exec;
mod execution;
mod executions;
mod files;
mod fork;
mod health;
mod hold;
mod holds;
mod links;
mod logs;
mod me;
mod messages;
mod retention;
mod start;
mod status;
mod tokens;
mod views;
mod worker;
mod workers;

use axum::{
    Router,
    routing::{delete, get, post},
};
use http::StatusCode;

pub(crate) use events::last_event_id;
pub(crate) use executions::statuses;
pub(crate) use files::{collected, encode, file_path, serve_file};
pub(crate) use holds::hold_page;
pub(crate) use views::dollars;

use crate::{problem::Problem, state::WebState};

/// Every endpoint of the API.
pub(crate) fn routes() -> Router<WebState> {
    Router::new()
        .route("/health", get(health::health))
        .route("/v1/agents", get(agents::agents))
        .route("/v1/executions", get(executions::executions).post(start::start))
        .route("/v1/executions/{id}", get(execution::execution))
        .route("/v1/executions/{id}/events", get(events::events))
        .route("/v1/executions/{id}/calls", get(calls::calls))
        .route("/v1/executions/{id}/messages", post(messages::messages))
        .route("/v1/executions/{id}/interrupt", post(commands::interrupt))
        .route("/v1/executions/{id}/cancel", post(commands::cancel))
        .route("/v1/executions/{id}/finish", post(commands::finish))
        .route("/v1/executions/{id}/checkpoints", get(fork::checkpoints))
        .route("/v1/executions/{id}/fork", post(fork::fork))
        .route("/v1/executions/{id}/files", get(files::list))
        .route("/v1/executions/{id}/files/{*path}", get(files::download))
        .route("/v1/executions/{id}/worker", get(worker::worker))
        .route("/v1/executions/{id}/exec", post(exec::exec))
        .route("/v1/executions/{id}/logs/{of}", get(logs::logs))
        .route("/v1/workers", get(workers::workers))
        .route("/v1/holds", get(holds::holds))
        .route("/v1/holds/{id}", get(hold::hold))
        .route("/v1/holds/{id}/decision", post(decision::decision))
        .route("/v1/me", get(me::me))
        .route("/v1/retention", get(retention::due).post(retention::delete))
        .route("/v1/deletions", get(deletions::deletions))
        .route("/v1/status", get(status::status))
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/v1/tokens/{id}", delete(tokens::revoke))
        .route("/v1/links", post(links::create))
}

/// An address that nothing answers at.
pub(crate) fn unknown_route(path: &str) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown_route",
        "there is nothing here",
        format!("no endpoint answers at {path}"),
    )
}

/// A method that an address does not take.
pub(crate) fn wrong_method(method: &http::Method, path: &str) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this address does not take this method",
        format!("{method} is not for {path}; the `Allow` header names what is"),
    )
}
