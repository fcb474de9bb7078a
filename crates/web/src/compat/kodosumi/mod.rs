//! The HTTP API of Kodosumi 1.1, for clients that were written for it: the same addresses, shapes, event
//! names and status codes, over Holdpoint's own commands and access rules (`docs/kodosumi.md`).
//!
//! One group of endpoints, one file. What is translated is in files of its own: `elements` (forms), `ask`
//! (holds as forms, and their fields as decisions), `kinds` (events), `payload` (results as HTML).
//! What was unsafe there is safe here: `docs/decisions/0018` lists the differences.

mod ask;
mod client;
mod dashboard;
mod deploy;
mod elements;
mod entry;
mod fault;
mod fields;
mod files;
mod flows;
mod health;
mod kinds;
mod locks;
mod login;
mod outputs;
mod payload;
mod roles;
mod run;
mod stream;
mod timeline;
mod uploads;

use axum::{extract::DefaultBodyLimit, middleware};

pub(crate) use fault::{answers_at, fault};
pub(crate) use health::health;

use crate::routes::{Routes, delete, get, post};

/// Every address that Kodosumi's clients know, but for `/health`, which is Holdpoint's own too.
pub(crate) fn routes() -> Routes {
    Routes::new()
        // Also the panel's: who asks decides which of the two answers.
        .route("/login", get(login::get).post(login::post))
        .route("/logout", get(login::sign_out).post(login::post_sign_out))
        .route("/api/login", post(login::api))
        .route("/flow", get(flows::list))
        .route("/flow/tags", get(flows::tags))
        .route("/flow/register", get(flows::registered).post(flows::register).put(flows::refresh))
        .route("/flow/unregister", post(flows::unregister))
        .route("/-/{*path}", get(entry::form).post(entry::launch))
        .route("/inputs/-/{*path}", get(entry::page))
        .route("/outputs", delete(outputs::delete_several))
        .route("/outputs/{fid}", delete(outputs::delete_one))
        .route("/outputs/status/{fid}", get(outputs::status))
        .route("/outputs/raw/{fid}", get(outputs::raw))
        .route("/outputs/html/{fid}", get(outputs::html))
        .route("/outputs/{of}/{fid}", get(stream::stream))
        .route("/lock/{fid}/{lid}", get(locks::form).post(locks::release))
        .route("/files/init_batch", post(files::init_batch))
        .route("/files/init", post(files::init))
        .route("/files/chunk", post(files::chunk))
        .route("/files/cancel/{upload}", delete(files::cancel))
        .route("/files/complete/{dir}", post(files::complete))
        .route("/files/complete/{fid}/{batch}/{dir}", post(files::complete_batch))
        // The Python client joins its address and the path with one slash too many.
        .route("//files/complete/{fid}/{batch}/{dir}", post(files::complete_batch))
        .route("/files/{fid}/{*path}", get(files::get).delete(files::delete))
        .route("/timeline", get(timeline::page))
        .route("/timeline/list", get(timeline::list))
        .route("/timeline/changes", get(timeline::changes))
        .route("/api/dashboard/running-agents", get(dashboard::running))
        .route("/api/dashboard/errors", get(dashboard::errors))
        .route("/api/dashboard/timeline", get(dashboard::timeline))
        .route("/api/dashboard/agent-stats", get(dashboard::stats))
        .route("/api/dashboard/debug/user", get(dashboard::me))
        .route("/api/dashboard/execution/{fid}/details", get(dashboard::details))
        .route("/api/dashboard/execution/{fid}/files", get(dashboard::files))
        .route("/role", get(roles::list).post(roles::create))
        .route("/role/{role}", get(roles::one).put(roles::change).delete(roles::close))
        .route(
            "/deploy",
            get(deploy::elsewhere).post(deploy::elsewhere).put(deploy::elsewhere).delete(deploy::elsewhere),
        )
        .route(
            "/deploy/{*path}",
            get(deploy::elsewhere).post(deploy::elsewhere).put(deploy::elsewhere).delete(deploy::elsewhere),
        )
        .route(
            "/serve",
            get(deploy::elsewhere).post(deploy::elsewhere).put(deploy::elsewhere).delete(deploy::elsewhere),
        )
        .route(
            "/serve/{*path}",
            get(deploy::elsewhere).post(deploy::elsewhere).put(deploy::elsewhere).delete(deploy::elsewhere),
        )
        // The extractors count bytes themselves, and say so better.
        .around(|router| {
            router.layer(DefaultBodyLimit::disable()).layer(middleware::from_fn(fault::as_faults))
        })
}
