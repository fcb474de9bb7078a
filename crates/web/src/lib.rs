//! The router, the HTTP API and the panel.
//!
//! * `api/` — `/v1`, for scripts; one endpoint, one file.
//! * `compat/` — what clients of other panels know; a thin edge over the same model.
//! * `panel/` — pages for people; one page, one file. A component is a function that both a page
//!   and its live fragments call, so that what arrives later looks like what was there at first.
//! * `auth/` — who calls, and the one place that says who may see and do what.
//! * `assets/` — one style sheet and a few small scripts of our own, embedded.

mod analytics;
mod api;
mod assets;
mod auth;
mod body;
mod compat;
mod feed;
mod files;
mod harden;
pub mod limits;
pub mod markdown;
mod openapi;
mod paging;
mod panel;
mod people;
mod problem;
mod releases;
mod routes;
mod state;
mod tail;
pub mod time;
mod waiting;
mod worker_link;

use axum::{Router, middleware};
use http::Method;
use tower_http::{catch_panic::CatchPanicLayer, compression::CompressionLayer};

pub(crate) use api::{
    audit_exec, audit_page, collected, collected_of_all, dollars, encode, file_path, give_share, hold_page,
    serve_file, statuses, take_share,
};
pub use auth::{OverTls, fresh_secret, hash_token, password_hash};
pub(crate) use body::last_event_id;
pub use openapi::document as openapi_document;
pub use panel::INVITATION;
pub use problem::Problem;
use routes::{Routes, get};
pub use state::{Traffic, WebState};

fn all() -> Routes {
    Routes::new()
        .merge(api::routes())
        .merge(panel::routes())
        .merge(compat::kodosumi::routes())
        .route("/worker/link", get(worker_link::worker_link))
        .route("/assets/{hash}/{name}", get(assets::asset))
}

/// Every method and address that the router answers, as it was written: `/v1/holds/{id}`.
#[must_use]
pub fn routes() -> Vec<(Method, &'static str)> {
    all().into_parts().1
}

/// Everything that Holdpoint serves over HTTP but the gateway.
pub fn router(state: WebState) -> Router {
    let headers = middleware::from_fn_with_state(state.clone(), harden::headers);
    all()
        .into_parts()
        .0
        .fallback(harden::fallback)
        .method_not_allowed_fallback(harden::wrong_method)
        .layer(CompressionLayer::new())
        .layer(headers)
        .layer(CatchPanicLayer::custom(harden::panicked))
        .with_state(state)
}
