//! Figures over a chosen time, as tables: the page shows them, `/v1/analytics` and the CSV files give them.

use std::fmt::Write as _;

use holdpoint_model::{UnixMs, budget::day_of};
use holdpoint_store::{CountedRuns, CountedWaits, Figures, FiguresFilter, Subject};
use jiff::civil::Date;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{auth::Caller, dollars, limits, problem::Problem, state::WebState};

/// Where days are counted from.
const EPOCH: Date = Date::constant(1970, 1, 1);

/// Days where nothing is chosen.
const DEFAULT_DAYS: i64 = 30;

/// What was chosen, as it stands in the address.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Params {
    /// The last so many days, today included.
    #[schemars(regex(pattern = r"^([1-9][0-9]{0,2})?$"))]
    pub(crate) days: String,
    /// The first day, as `2026-11-28`; it comes before `days`.
    #[schemars(regex(pattern = r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?$"))]
    pub(crate) from: String,
    /// The last day; today where absent.
    #[schemars(regex(pattern = r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?$"))]
    pub(crate) to: String,
    /// Anything: executions in which a script answered count too.
    pub(crate) rehearsals: String,
}

/// Some days, of UTC, both included; since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Span {
    /// How many.
    pub(crate) fn days(self) -> i64 {
        self.to - self.from + 1
    }
}

impl Params {
    pub(crate) fn span(&self, now: UnixMs) -> Result<Span, Problem> {
        let today = day_of(now);
        let to = if self.to.is_empty() { today } else { day(&self.to)? };
        let from = if self.from.is_empty() {
            let days = match self.days.as_str() {
                "" => DEFAULT_DAYS,
                days => {
                    days.parse().map_err(|_| Problem::invalid(format!("{days:?} is no number of days")))?
                }
            };
            to.saturating_sub(days).saturating_add(1)
        } else {
            day(&self.from)?
        };
        let span = Span { from, to };
        if !(1..=limits::ANALYTICS_DAYS).contains(&to.saturating_sub(from).saturating_add(1)) {
            let most = limits::ANALYTICS_DAYS;
            return Err(Problem::invalid(format!(
                "choose between one day and {most}, the first before the last"
            )));
        }
        Ok(span)
    }
}

/// A day as people write it.
pub(crate) fn date(day: i64) -> String {
    let since = jiff::Span::new().try_days(day);
    since.and_then(|days| EPOCH.checked_add(days)).unwrap_or(EPOCH).to_string()
}

fn day(text: &str) -> Result<i64, Problem> {
    let date: Date =
        text.parse().map_err(|_| Problem::invalid(format!("{text:?} is no day: write it as 2026-11-28")))?;
    Ok(date.duration_since(EPOCH).as_hours() / 24)
}

/// The figures that the caller may see: an operator those of all, anybody else those of their own conversations.
pub(crate) async fn figures(
    state: &WebState,
    caller: &Caller,
    params: &Params,
) -> Result<(Span, Figures), Problem> {
    let span = params.span(state.now())?;
    let filter = FiguresFilter {
        owner: (!caller.is_operator()).then_some(caller.user),
        from_day: span.from,
        to_day: span.to,
        rehearsals: !params.rehearsals.is_empty(),
    };
    Ok((span, state.store().figures(&filter).await?))
}

/// All days together.
pub(crate) fn total(figures: &Figures) -> CountedRuns {
    let mut total = CountedRuns::default();
    figures.days.iter().for_each(|(_, runs)| total.add(runs));
    total
}

/// What a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Runs,
    Errors,
    WaitsByKind,
    WaitsByPerson,
    Agents,
    People,
}

impl Of {
    pub(crate) const ALL: [Self; 6] =
        [Self::Runs, Self::Errors, Self::WaitsByKind, Self::WaitsByPerson, Self::Agents, Self::People];

    /// As in addresses.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Errors => "errors",
            Self::WaitsByKind => "waits-by-kind",
            Self::WaitsByPerson => "waits-by-person",
            Self::Agents => "agents",
            Self::People => "people",
        }
    }
}

/// One value of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Text(String),
    Count(u64),
    Ms(i64),
    Micros(u64),
}

/// Columns by their names in CSV files and JSON, and rows.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) columns: &'static [&'static str],
    pub(crate) rows: Vec<Vec<Cell>>,
}

const RUNS: [&str; 5] = ["day", "started", "finished", "failed", "cancelled"];
const COSTS: [&str; 10] = [
    "name",
    "started",
    "finished",
    "failed",
    "calls",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_made_tokens",
    "cost_usd",
];
const WAITS: [&str; 5] = ["name", "answers", "mean_s", "p50_s", "p95_s"];
const ERRORS: [&str; 3] = ["what", "reason", "times"];

impl Table {
    pub(crate) fn of(of: Of, figures: &Figures) -> Self {
        match of {
            Of::Runs => Self { columns: &RUNS, rows: figures.days.iter().map(runs).collect() },
            Of::Agents => Self { columns: &COSTS, rows: figures.agents.iter().map(costs).collect() },
            Of::People => Self { columns: &COSTS, rows: figures.people.iter().map(costs).collect() },
            Of::WaitsByKind => {
                Self { columns: &WAITS, rows: figures.waits_by_kind.iter().map(waits).collect() }
            }
            Of::WaitsByPerson => {
                Self { columns: &WAITS, rows: figures.waits_by_person.iter().map(waits).collect() }
            }
            Of::Errors => {
                let row = |error: &holdpoint_store::CountedErrors| {
                    vec![
                        Cell::Text(error.what.clone()),
                        Cell::Text(error.reason.clone()),
                        Cell::Count(error.times),
                    ]
                };
                Self { columns: &ERRORS, rows: figures.errors.iter().map(row).collect() }
            }
        }
    }

    /// RFC 4180, with a first line of names.
    pub(crate) fn csv(&self) -> String {
        let mut text = self.columns.join(",");
        text.push_str("\r\n");
        for row in &self.rows {
            for (n, cell) in row.iter().enumerate() {
                if n > 0 {
                    text.push(',');
                }
                // Writing to a string never fails.
                let _ = match cell {
                    Cell::Text(words) => write!(text, "{}", quoted(words)),
                    Cell::Count(n) => write!(text, "{n}"),
                    Cell::Ms(ms) => write!(text, "{}.{:03}", ms / 1000, ms % 1000),
                    Cell::Micros(micros) => write!(text, "{:.6}", dollars(*micros)),
                };
            }
            text.push_str("\r\n");
        }
        text
    }
}

/// A field of a CSV file. What a spreadsheet would take for a formula is made a text: names and reasons are others'
/// words.
fn quoted(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, text.replace('"', "\"\""))
}

fn runs((day, runs): &(i64, CountedRuns)) -> Vec<Cell> {
    let counts = [runs.started, runs.finished, runs.failed, runs.cancelled];
    [Cell::Text(date(*day))].into_iter().chain(counts.map(Cell::Count)).collect()
}

fn costs((subject, runs): &(Subject, CountedRuns)) -> Vec<Cell> {
    let counts = [
        runs.started,
        runs.finished,
        runs.failed,
        runs.calls,
        runs.input_tokens,
        runs.output_tokens,
        runs.cache_read_tokens,
        runs.cache_made_tokens,
    ];
    let mut row = vec![Cell::Text(subject.name.clone())];
    row.extend(counts.map(Cell::Count));
    row.push(Cell::Micros(runs.cost_micros));
    row
}

fn waits(waits: &CountedWaits) -> Vec<Cell> {
    vec![
        Cell::Text(waits.subject.name.clone()),
        Cell::Count(waits.answers),
        Cell::Ms(waits.mean_ms),
        Cell::Ms(waits.p50_ms),
        Cell::Ms(waits.p95_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const NOW: UnixMs = 1_764_367_200_000; // 2025-11-28T22:00:00Z

    fn span(days: &str, from: &str, to: &str) -> Result<(String, String), &'static str> {
        let params =
            Params { days: days.into(), from: from.into(), to: to.into(), rehearsals: String::new() };
        params.span(NOW).map(|span| (date(span.from), date(span.to))).map_err(|problem| problem.code)
    }

    #[rstest]
    #[case("", "", "", "2025-10-30", "2025-11-28")]
    #[case("1", "", "", "2025-11-28", "2025-11-28")]
    #[case("7", "", "", "2025-11-22", "2025-11-28")]
    #[case("7", "", "2025-03-01", "2025-02-23", "2025-03-01")]
    #[case("7", "2025-01-01", "2025-01-31", "2025-01-01", "2025-01-31")]
    fn spans(
        #[case] days: &str,
        #[case] from: &str,
        #[case] to: &str,
        #[case] first: &str,
        #[case] last: &str,
    ) {
        assert_eq!(span(days, from, to), Ok((first.to_owned(), last.to_owned())));
    }

    #[rstest]
    #[case("0", "", "")]
    #[case("-3", "", "")]
    #[case("x", "", "")]
    #[case("9223372036854775807", "", "")]
    #[case("", "2025-02-30", "")]
    #[case("", "2025-02-03", "2025-02-02")]
    #[case("", "1990-01-01", "")]
    fn spans_that_are_none(#[case] days: &str, #[case] from: &str, #[case] to: &str) {
        assert!(span(days, from, to).is_err(), "{days} {from} {to}");
    }

    #[test]
    fn csv_is_for_spreadsheets_and_for_nobody_elses_formulas() {
        let row = |name: &str| vec![Cell::Text(name.into()), Cell::Ms(61_002), Cell::Micros(1_250_000)];
        let table = Table { columns: &["name", "s", "usd"], rows: vec![row("a \"b\", c"), row("=cmd()")] };
        let expected = "name,s,usd\r\n\"a \"\"b\"\", c\",61.002,1.250000\r\n\"'=cmd()\",61.002,1.250000\r\n";
        assert_eq!(table.csv(), expected);
    }
}
