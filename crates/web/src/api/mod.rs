//! The HTTP API, `/v1`. One endpoint, one file. Scripts rely on it: extend, and keep.

mod account;
mod agents;
mod assign;
mod audit;
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
mod shares;
mod snooze;
mod start;
mod status;
mod tokens;
mod uploads;
mod users;
mod views;
mod worker;
mod workers;

use axum::extract::DefaultBodyLimit;
use http::StatusCode;

pub(crate) use audit::audit_page;
pub(crate) use events::last_event_id;
pub(crate) use exec::audit_exec;
pub(crate) use executions::statuses;
pub(crate) use files::{collected, encode, file_path, serve_file};
pub(crate) use holds::hold_page;
pub(crate) use shares::{give_share, take_share};
pub(crate) use views::dollars;

use crate::{
    problem::Problem,
    routes::{Routes, delete, get, post},
};

/// Every endpoint of the API.
pub(crate) fn routes() -> Routes {
    // A chunk is counted as it comes.
    let chunks = Routes::new()
        .route("/v1/uploads/{id}", get(uploads::show).put(uploads::chunk).delete(uploads::give_up))
        .around(|router| router.layer(DefaultBodyLimit::disable()));
    chunks
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
        .route("/v1/executions/{id}/shares", get(shares::list).post(shares::share))
        .route("/v1/executions/{id}/shares/{user}", delete(shares::unshare))
        .route("/v1/executions/{id}/worker", get(worker::worker))
        .route("/v1/executions/{id}/exec", post(exec::exec))
        .route("/v1/executions/{id}/logs/{of}", get(logs::logs))
        .route("/v1/workers", get(workers::workers))
        .route("/v1/holds", get(holds::holds))
        .route("/v1/holds/{id}", get(hold::hold))
        .route("/v1/holds/{id}/assign", post(assign::assign))
        .route("/v1/holds/{id}/decision", post(decision::decision))
        .route("/v1/holds/{id}/snooze", post(snooze::snooze))
        .route("/v1/me", get(me::me))
        .route("/v1/retention", get(retention::due).post(retention::delete))
        .route("/v1/deletions", get(deletions::deletions))
        .route("/v1/status", get(status::status))
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/v1/tokens/{id}", delete(tokens::revoke))
        .route("/v1/uploads", get(uploads::list).post(uploads::begin))
        .route("/v1/links", post(links::create))
        .route("/v1/users", get(users::list).post(users::create))
        .route("/v1/users/{id}", get(users::one).patch(users::change))
        .route("/v1/users/{id}/link", post(users::link))
        .route("/v1/users/{id}/tokens", get(account::tokens).post(account::make_token))
        .route("/v1/users/{id}/sessions", get(account::sessions).delete(account::end_sessions))
        .route("/v1/users/{id}/sessions/{session}", delete(account::end_session))
        .route("/v1/audit", get(audit::audit))
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
