//! The HTTP API, `/v1`. One endpoint, one file. Scripts rely on it: extend, and keep.

mod account;
mod agents;
mod analytics;
mod assign;
mod audit;
mod calls;
mod changes;
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
mod move_to;
mod releases;
mod retention;
mod schema;
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
pub(crate) use events::event_frame;
pub(crate) use exec::audit_exec;
pub(crate) use executions::statuses;
pub(crate) use files::{collected, collected_of_all, encode, file_path, serve_file};
pub(crate) use holds::hold_page;
pub(crate) use shares::{give_share, take_share};
pub(crate) use views::dollars;

use crate::{
    openapi::{delete, get, patch, post, put},
    problem::Problem,
    routes::Routes,
};

/// Every endpoint of the API.
pub(crate) fn routes() -> Routes {
    // A chunk is counted as it comes.
    let chunks = Routes::new()
        .route(
            "/v1/uploads/{id}",
            get(uploads::show, &uploads::UPLOAD)
                .and(put(uploads::chunk, &uploads::CHUNK))
                .and(delete(uploads::give_up, &uploads::GIVE_UP)),
        )
        .around(|router| router.layer(DefaultBodyLimit::disable()));
    chunks
        .route("/health", get(health::health, &health::HEALTH))
        .route("/v1/openapi.json", get(schema::schema, &schema::SCHEMA))
        .route("/v1/me", get(me::me, &me::ME))
        .route("/v1/status", get(status::status, &status::STATUS))
        .route("/v1/agents", get(agents::agents, &agents::AGENTS))
        .route("/v1/analytics", get(analytics::analytics, &analytics::ANALYTICS))
        .route("/v1/changes", get(changes::changes, &changes::CHANGES))
        .route(
            "/v1/executions",
            get(executions::executions, &executions::EXECUTIONS).and(post(start::start, &start::START)),
        )
        .route("/v1/executions/{id}", get(execution::execution, &execution::EXECUTION))
        .route("/v1/executions/{id}/events", get(events::events, &events::EVENTS))
        .route("/v1/executions/{id}/calls", get(calls::calls, &calls::CALLS))
        .route("/v1/executions/{id}/messages", post(messages::messages, &messages::MESSAGES))
        .route("/v1/executions/{id}/interrupt", post(commands::interrupt, &commands::INTERRUPT))
        .route("/v1/executions/{id}/cancel", post(commands::cancel, &commands::CANCEL))
        .route("/v1/executions/{id}/finish", post(commands::finish, &commands::FINISH))
        .route("/v1/executions/{id}/move", post(move_to::move_to, &move_to::MOVE))
        .route("/v1/executions/{id}/checkpoints", get(fork::checkpoints, &fork::CHECKPOINTS))
        .route("/v1/executions/{id}/fork", post(fork::fork, &fork::FORK))
        .route("/v1/executions/{id}/files", get(files::list, &files::FILES))
        .route("/v1/executions/{id}/files/{*path}", get(files::download, &files::FILE))
        .route(
            "/v1/executions/{id}/shares",
            get(shares::list, &shares::SHARES).and(post(shares::share, &shares::SHARE)),
        )
        .route("/v1/executions/{id}/shares/{user}", delete(shares::unshare, &shares::UNSHARE))
        .route("/v1/executions/{id}/worker", get(worker::worker, &worker::WORKER))
        .route("/v1/executions/{id}/exec", post(exec::exec, &exec::EXEC))
        .route("/v1/executions/{id}/logs/{of}", get(logs::logs, &logs::LOGS))
        .route(
            "/v1/releases",
            get(releases::list, &releases::RELEASES).and(post(releases::begin, &releases::BEGIN)),
        )
        .route("/v1/releases/{number}", get(releases::show, &releases::RELEASE))
        .route("/v1/releases/{number}/image", post(releases::image, &releases::IMAGE))
        .route("/v1/releases/{number}/verify", post(releases::verify, &releases::VERIFY))
        .route("/v1/releases/{number}/activate", post(releases::activate, &releases::ACTIVATE))
        .route("/v1/releases/{number}/fail", post(releases::fail, &releases::FAIL))
        .route("/v1/releases/{number}/remove", post(releases::remove, &releases::REMOVE))
        .route("/v1/workers", get(workers::workers, &workers::WORKERS))
        .route("/v1/holds", get(holds::holds, &holds::HOLDS))
        .route("/v1/holds/{id}", get(hold::hold, &hold::HOLD))
        .route("/v1/holds/{id}/assign", post(assign::assign, &assign::ASSIGN))
        .route("/v1/holds/{id}/decision", post(decision::decision, &decision::DECISION))
        .route("/v1/holds/{id}/snooze", post(snooze::snooze, &snooze::SNOOZE))
        .route(
            "/v1/retention",
            get(retention::due, &retention::DUE).and(post(retention::delete, &retention::DELETE)),
        )
        .route("/v1/deletions", get(deletions::deletions, &deletions::DELETIONS))
        .route("/v1/tokens", get(tokens::list, &tokens::TOKENS).and(post(tokens::create, &tokens::CREATE)))
        .route("/v1/tokens/{id}", delete(tokens::revoke, &tokens::REVOKE))
        .route(
            "/v1/uploads",
            get(uploads::list, &uploads::UPLOADS).and(post(uploads::begin, &uploads::BEGIN)),
        )
        .route("/v1/links", post(links::create, &links::LINK))
        .route("/v1/users", get(users::list, &users::USERS).and(post(users::create, &users::CREATE)))
        .route("/v1/users/{id}", get(users::one, &users::USER).and(patch(users::change, &users::CHANGE)))
        .route("/v1/users/{id}/link", post(users::link, &users::INVITE))
        .route(
            "/v1/users/{id}/tokens",
            get(account::tokens, &account::TOKENS).and(post(account::make_token, &account::MAKE_TOKEN)),
        )
        .route(
            "/v1/users/{id}/sessions",
            get(account::sessions, &account::SESSIONS)
                .and(delete(account::end_sessions, &account::END_SESSIONS)),
        )
        .route("/v1/users/{id}/sessions/{session}", delete(account::end_session, &account::END_SESSION))
        .route("/v1/audit", get(audit::audit, &audit::AUDIT))
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
