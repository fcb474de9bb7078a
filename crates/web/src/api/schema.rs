//! `GET /v1/openapi.json`: this API's own description. Without signing in: it is the same for everybody.

use axum::Json;
use serde_json::Value;

use crate::openapi::{DOCUMENT, Doc, Group};

pub(super) const SCHEMA: Doc = Doc::new(Group::About, "getOpenApi", "This document")
    .text("Needs no signing in. `holdpoint api schema` prints it too.");

pub(super) async fn schema() -> Json<&'static Value> {
    Json(&DOCUMENT)
}
