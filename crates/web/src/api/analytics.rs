//! `GET /v1/analytics`: what was started and what became of it, waiting times, tokens and cost, over some days.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    analytics::{self, Cell, Of, Params, Table, date},
    auth::Caller,
    body::Query,
    dollars,
    openapi::{Doc, Group},
    problem::Problem,
    state::WebState,
};

pub(super) const ANALYTICS: Doc =
    Doc::new(Group::About, "getAnalytics", "What was started, waited for and spent, over some days")
        .text("Of everybody's conversations for operators; of one's own for others.")
        .problems(&[(422, "invalid_request")]);

/// Figures over some days.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Analytics")]
pub(super) struct Figures {
    /// The first day, of UTC.
    from: String,
    /// The last day.
    to: String,
    /// Executions in which a script answered count too.
    rehearsals: bool,
    /// `everybody` or `own`: whose conversations these are.
    of: &'static str,
    /// A table under each name, its columns as on the page: seconds, and US dollars as text.
    #[serde(flatten)]
    tables: BTreeMap<String, Vec<Map<String, Value>>>,
}

pub(super) async fn analytics(
    State(state): State<WebState>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Json<Figures>, Problem> {
    let (span, figures) = analytics::figures(&state, &caller, &params).await?;
    let tables = Of::ALL.into_iter().map(|of| {
        let table = Table::of(of, &figures);
        let rows = table.rows.iter().map(|row| object(table.columns, row)).collect();
        (of.as_str().replace('-', "_"), rows)
    });
    Ok(Json(Figures {
        from: date(span.from),
        to: date(span.to),
        rehearsals: !params.rehearsals.is_empty(),
        of: if caller.is_operator() { "everybody" } else { "own" },
        tables: tables.collect(),
    }))
}

#[allow(clippy::cast_precision_loss)]
fn object(columns: &[&str], row: &[Cell]) -> Map<String, Value> {
    let value = |cell: &Cell| match cell {
        Cell::Text(text) => json!(text),
        Cell::Count(count) => json!(count),
        Cell::Ms(ms) => json!(*ms as f64 / 1000.0),
        Cell::Micros(micros) => json!(dollars(*micros)),
    };
    let members = columns.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), value(cell)));
    members.collect()
}
