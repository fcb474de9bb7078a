//! `GET /v1/analytics`: what was started and what became of it, waiting times, tokens and cost, over some days.

use axum::{Json, extract::State};
use serde_json::{Map, Value, json};

use crate::{
    analytics::{self, Cell, Of, Params, Table, date},
    auth::Caller,
    body::Query,
    dollars,
    problem::Problem,
    state::WebState,
};

pub(super) async fn analytics(
    State(state): State<WebState>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Json<Value>, Problem> {
    let (span, figures) = analytics::figures(&state, &caller, &params).await?;
    let mut view = json!({
        "from": date(span.from),
        "to": date(span.to),
        "rehearsals": !params.rehearsals.is_empty(),
        "of": if caller.is_operator() { "everybody" } else { "own" },
    });
    for of in Of::ALL {
        let table = Table::of(of, &figures);
        let rows: Vec<Value> = table.rows.iter().map(|row| object(table.columns, row)).collect();
        view[of.as_str().replace('-', "_")] = json!(rows);
    }
    Ok(Json(view))
}

#[allow(clippy::cast_precision_loss)]
fn object(columns: &[&str], row: &[Cell]) -> Value {
    let value = |cell: &Cell| match cell {
        Cell::Text(text) => json!(text),
        Cell::Count(count) => json!(count),
        Cell::Ms(ms) => json!(*ms as f64 / 1000.0),
        Cell::Micros(micros) => json!(dollars(*micros)),
    };
    let members = columns.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), value(cell)));
    Value::Object(members.collect::<Map<_, _>>())
}
