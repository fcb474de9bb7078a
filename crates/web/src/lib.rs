//! The router, the HTTP API and the panel.
//!
//! * `api/` — `/v1`, for scripts; one endpoint, one file.
//! * `compat/` — what clients of other panels know; a thin edge over the same model.
//! * `panel/` — pages for people; one page, one file. A component is a function that both a page
//!   and its live fragments call, so that what arrives later looks like what was there at first.
//! * `auth/` — who calls, and the one place that says who may see and do what.
//! * `assets/` — one style sheet and a few small scripts of our own, embedded.

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
mod panel;
mod problem;
mod state;
pub mod time;
mod worker_link;

use axum::{Router, middleware, routing::get};
use tower_http::{catch_panic::CatchPanicLayer, compression::CompressionLayer};

pub(crate) use api::{collected, dollars, encode, file_path, hold_page, last_event_id, serve_file, statuses};
pub use auth::{fresh_secret, hash_token, password_hash};
pub use panel::INVITATION;
pub use problem::Problem;
pub use state::WebState;

/// Everything that Holdpoint serves over HTTP but the gateway.
pub fn router(state: WebState) -> Router {
    Router::new()
        .merge(api::routes())
        .merge(panel::routes())
        .merge(compat::kodosumi::routes())
        .route("/worker/link", get(worker_link::worker_link))
        .route("/assets/{hash}/{name}", get(assets::asset))
        .fallback(harden::fallback)
        .method_not_allowed_fallback(harden::wrong_method)
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(harden::headers))
        .layer(CatchPanicLayer::custom(harden::panicked))
        .with_state(state)
}
