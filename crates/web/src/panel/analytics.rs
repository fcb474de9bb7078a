//! `/analytics`: runs, outcomes, errors, waiting times, tokens and cost over chosen days; charts with a table behind
//! each. `/analytics/{of}.csv`: such a table for a spreadsheet.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use holdpoint_model::budget::day_of;
use holdpoint_store::{CountedRuns, CountedWaits, Figures, Subject};
use http::header;
use maud::{Markup, html};

use super::{
    PageError, inbox,
    layout::Page,
    parts::{
        chart::{self, Bar, Column},
        count, dollars, text,
    },
};
use crate::{
    analytics::{self, Cell, Of, Params, Span, Table, date, total},
    auth::{Caller, Visitor},
    body::{Path, Query},
    encode,
    problem::Problem,
    state::WebState,
    time,
};

/// Days that are one click away.
const PRESETS: [(i64, &str); 4] = [(1, "Today"), (7, "7 days"), (30, "30 days"), (90, "90 days")];

/// Columns of a chart at most: longer times are drawn by the week, or by four.
const MAX_COLUMNS: i64 = 100;

pub(super) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Query(params): Query<Params>,
) -> Result<Response, PageError> {
    let (span, figures) = analytics::figures(&state, &caller, &params).await?;
    let open = inbox::count_for(&state, &caller).await?;
    let query = query(&params, span);
    let body = html! {
        main #main .wide {
            h1 { "Analytics" }
            (chooser(&params, span, day_of(state.now())))
            p.quiet { (whose(&caller)) " Days are those of UTC." @if params.rehearsals.is_empty() { " Rehearsals are left out." } }
            @if figures == Figures::default() {
                div #empty .card .empty { p { "Nothing happened in that time." } }
            } @else {
                (tiles(&figures))
                @for of in Of::ALL { (section(of, &figures, span, &query)) }
            }
        }
    };
    let page = Page { title: "Analytics", name: "analytics", caller: Some(&caller), open_holds: Some(open) };
    Ok(page.show(&body))
}

/// `GET /analytics/{of}`: the table of that name with `.csv` after it.
pub(super) async fn csv(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(name): Path<String>,
    Query(params): Query<Params>,
) -> Result<Response, PageError> {
    let of = name.strip_suffix(".csv").and_then(|name| Of::ALL.into_iter().find(|of| of.as_str() == name));
    let of = of.ok_or_else(|| Problem::not_found("table"))?;
    let (span, figures) = analytics::figures(&state, &caller, &params).await?;
    let name = format!("{}-{}-{}.csv", of.as_str(), date(span.from), date(span.to));
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, Table::of(of, &figures).csv()).into_response())
}

fn whose(caller: &Caller) -> &'static str {
    if caller.is_operator() {
        "Everybody's conversations, also those that were deleted since."
    } else {
        "Your own conversations, also those that were deleted since."
    }
}

/// The same choice, for another address.
fn query(params: &Params, span: Span) -> String {
    let mut query = format!("from={}&to={}", date(span.from), date(span.to));
    if !params.rehearsals.is_empty() {
        query.push_str(&format!("&rehearsals={}", encode(&params.rehearsals)));
    }
    query
}

fn chooser(params: &Params, span: Span, today: i64) -> Markup {
    let preset = |days: i64| (span.to == today && span.days() == days).then_some("true");
    let rehearsals = if params.rehearsals.is_empty() { "" } else { "&rehearsals=1" };
    html! {
        nav.row aria-label="Days" {
            @for (days, words) in PRESETS {
                a.button href={ "/analytics?days=" (days) (rehearsals) } aria-current=[preset(days)] { (words) }
            }
        }
        form #span .row .span method="get" action="/analytics" {
            label { span { "From" } input type="date" name="from" value=(date(span.from)) required; }
            label { span { "To" } input type="date" name="to" value=(date(span.to)) required; }
            label.check {
                input type="checkbox" name="rehearsals" value="1" checked[!params.rehearsals.is_empty()];
                span { "With rehearsals" }
            }
            button type="submit" { "Show" }
        }
    }
}

fn tiles(figures: &Figures) -> Markup {
    let total = total(figures);
    let tokens = total.input_tokens + total.output_tokens + total.cache_read_tokens + total.cache_made_tokens;
    let answers: u64 = figures.waits_by_kind.iter().map(|wait| wait.answers).sum();
    let tiles = [
        ("Started", count(total.started)),
        ("Finished", count(total.finished)),
        ("Failed", count(total.failed)),
        ("Cancelled", count(total.cancelled)),
        ("Answers of people", count(answers)),
        ("Model calls", count(total.calls)),
        ("Tokens", count(tokens)),
        ("Cost", dollars(total.cost_micros)),
    ];
    html! {
        dl.tiles { @for (what, figure) in tiles { div.card { dt { (what) } dd { (figure) } } } }
    }
}

fn section(of: Of, figures: &Figures, span: Span, query: &str) -> Markup {
    let table = Table::of(of, figures);
    let name = of.as_str();
    html! {
        section.card.stack data-of=(name) aria-labelledby={ "of-" (name) } {
            h2 id={ "of-" (name) } { (heading(of)) }
            @if table.rows.is_empty() { p.quiet { (nothing(of)) } } @else {
                (drawn(of, figures, span))
                details {
                    summary { "Table" }
                    (rows(of, &table))
                }
                p { a href={ "/analytics/" (name) ".csv?" (query) } data-csv=(name) { "Download as CSV" } }
            }
        }
    }
}

fn heading(of: Of) -> &'static str {
    match of {
        Of::Runs => "Runs and how they ended",
        Of::Errors => "What went wrong",
        Of::WaitsByKind => "How long agents waited, by what they asked for",
        Of::WaitsByPerson => "How long agents waited, by who answered",
        Of::Agents => "Tokens and cost by agent",
        Of::People => "Tokens and cost by person",
    }
}

fn nothing(of: Of) -> &'static str {
    match of {
        Of::Errors => "Nothing went wrong.",
        Of::WaitsByKind | Of::WaitsByPerson => "Nobody was waited for.",
        Of::Runs | Of::Agents | Of::People => "Nothing was started.",
    }
}

#[allow(clippy::cast_precision_loss)]
fn drawn(of: Of, figures: &Figures, span: Span) -> Markup {
    match of {
        Of::Runs => {
            chart::columns(heading(of), &["Finished", "Failed", "Cancelled"], &ends(&figures.days, span))
        }
        Of::Errors => {
            let bars: Vec<Bar> = figures
                .errors
                .iter()
                .map(|error| Bar {
                    name: format!("{}: {}", error.what, text::visible_text(&error.reason)),
                    value: error.times as f64,
                    reaches: 0.0,
                    words: count(error.times),
                })
                .collect();
            chart::bars(heading(of), &bars)
        }
        Of::WaitsByKind => chart::bars(heading(of), &waits(&figures.waits_by_kind)),
        Of::WaitsByPerson => chart::bars(heading(of), &waits(&figures.waits_by_person)),
        Of::Agents => chart::bars(heading(of), &costs(&figures.agents)),
        Of::People => chart::bars(heading(of), &costs(&figures.people)),
    }
}

/// How runs ended, in as many columns as there is room for; those of a day stand where it is.
#[allow(clippy::cast_precision_loss)]
fn ends(days: &[(i64, CountedRuns)], span: Span) -> Vec<Column> {
    let wide = match span.days() {
        ..=MAX_COLUMNS => 1,
        days if days <= 7 * MAX_COLUMNS => 7,
        _ => 28,
    };
    let mut columns: Vec<Column> = (span.from..=span.to)
        .step_by(wide)
        .map(|day| Column { label: date(day), values: vec![0.0; 3] })
        .collect();
    for (day, runs) in days {
        let at = usize::try_from(day - span.from).unwrap_or_default() / wide;
        if let Some(column) = columns.get_mut(at) {
            for (sum, n) in column.values.iter_mut().zip([runs.finished, runs.failed, runs.cancelled]) {
                *sum += n as f64;
            }
        }
    }
    columns
}

#[allow(clippy::cast_precision_loss)]
fn waits(waits: &[CountedWaits]) -> Vec<Bar> {
    let bar = |wait: &CountedWaits| Bar {
        name: text::visible_text(&wait.subject.name),
        value: wait.p50_ms as f64,
        reaches: wait.p95_ms as f64,
        words: format!("half {}, 95 % {}", time::length(wait.p50_ms), time::length(wait.p95_ms)),
    };
    waits.iter().map(bar).collect()
}

#[allow(clippy::cast_precision_loss)]
fn costs(subjects: &[(Subject, CountedRuns)]) -> Vec<Bar> {
    let costs_something = subjects.iter().any(|(_, runs)| runs.cost_micros > 0);
    let bar = |(subject, runs): &(Subject, CountedRuns)| {
        let tokens = runs.input_tokens + runs.output_tokens;
        Bar {
            name: text::visible_text(&subject.name),
            value: if costs_something { runs.cost_micros as f64 } else { tokens as f64 },
            reaches: 0.0,
            words: format!("{}, {} tokens", dollars(runs.cost_micros), count(tokens)),
        }
    };
    subjects.iter().map(bar).collect()
}

fn rows(of: Of, table: &Table) -> Markup {
    html! {
        div.table tabindex="0" {
            table {
                caption.unseen { (heading(of)) }
                thead { tr { @for column in table.columns { th scope="col" { (words(column)) } } } }
                tbody {
                    @for row in &table.rows {
                        tr {
                            @for cell in row {
                                @match cell {
                                    Cell::Text(words) => td { (text::visible(words)) },
                                    Cell::Count(n) => td.number { (count(*n)) },
                                    Cell::Ms(ms) => td.number { (time::length(*ms)) },
                                    Cell::Micros(micros) => td.number { (dollars(*micros)) },
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn words(column: &str) -> &str {
    match column {
        "day" => "Day",
        "name" => "Name",
        "started" => "Started",
        "finished" => "Finished",
        "failed" => "Failed",
        "cancelled" => "Cancelled",
        "calls" => "Model calls",
        "input_tokens" => "Tokens in",
        "output_tokens" => "Tokens out",
        "cache_read_tokens" => "Read from cache",
        "cache_made_tokens" => "Put into cache",
        "cost_usd" => "Cost",
        "answers" => "Answers",
        "mean_s" => "On average",
        "p50_s" => "Half within",
        "p95_s" => "95 % within",
        "what" => "Where",
        "reason" => "Reason",
        "times" => "Times",
        other => other,
    }
}
