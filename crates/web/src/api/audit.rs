//! `GET /v1/audit`: what was done about who may do what, the latest first. For administrators.

use axum::{Json, extract::State};
use holdpoint_model::{Actor, ExecutionId, TokenScope, UserId};
use holdpoint_store::{Audited, Deed};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{
    auth::Caller,
    body::{Page, Query},
    openapi::{Doc, Group},
    paging::{cut, page_size},
    problem::Problem,
    state::WebState,
    time::At,
};

pub(super) const AUDIT: Doc =
    Doc::new(Group::People, "listAudit", "Read what was done about who may do what")
        .text("The latest first.")
        .scope(TokenScope::Admin)
        .problems(&[(422, "invalid_request")]);

/// A line of the audit log.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuditLine")]
pub(super) struct Line {
    /// Its number; later ones are higher.
    id: u64,
    at: At,
    /// What was done.
    #[schemars(schema_with = "deeds")]
    kind: Deed,
    /// Who did it, as they were called then.
    by: Actor,
    /// To whom, if to somebody.
    subject: Option<UserId>,
    /// How they are called now.
    subject_name: Option<String>,
    /// About which conversation, if about one.
    execution: Option<ExecutionId>,
    /// More, for people.
    detail: String,
    /// The address that it came from, where that is known.
    address: Option<String>,
}

fn deeds(_: &mut SchemaGenerator) -> Schema {
    let known: Vec<&str> = Deed::ALL.iter().map(|deed| deed.as_str()).collect();
    json_schema!({ "type": "string", "enum": known })
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// Only lines of this kind.
    #[serde(default)]
    #[schemars(schema_with = "deeds")]
    kind: Option<String>,
    /// The `next` of the page before.
    #[schemars(range(max = u64::MAX))]
    cursor: Option<u64>,
    /// How many, at most 200.
    #[schemars(range(max = 4_294_967_295_u32))]
    limit: Option<u32>,
}

pub(super) async fn audit(
    State(state): State<WebState>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Json<Page<Line, u64>>, Problem> {
    caller.check_administer()?;
    let kind = params.kind.map(|kind| kind.parse::<Deed>()).transpose().map_err(Problem::invalid)?;
    let limit = page_size(params.limit);
    let (lines, next) = audit_page(&state, kind, params.cursor, limit).await?;
    let items = lines.into_iter().map(|line| Line {
        id: line.id,
        at: At(line.at),
        kind: line.kind,
        by: line.by,
        subject: line.subject,
        subject_name: line.subject_name,
        execution: line.execution,
        detail: line.detail,
        address: line.address,
    });
    Ok(Json(Page { items: items.collect(), next }))
}

/// A page of the audit log, and where the next one begins, if there is one.
pub(crate) async fn audit_page(
    state: &WebState,
    kind: Option<Deed>,
    before: Option<u64>,
    limit: u32,
) -> Result<(Vec<Audited>, Option<u64>), Problem> {
    let mut lines = state.store().audited(kind, before, limit + 1).await?;
    let next = cut(&mut lines, limit, |line| line.id);
    Ok((lines, next))
}
