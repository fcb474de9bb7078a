//! Figures of some days.

use std::collections::BTreeMap;

use holdpoint_model::UserId;
use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{EVERYBODY, NAMED, wait};
use crate::codec::unsigned;
use crate::{Store, StoreError};

/// Which executions, and when.
#[derive(Clone, Copy, Debug)]
pub struct FiguresFilter {
    /// Only executions that this user owns.
    pub owner: Option<UserId>,
    /// The first day, since 1970-01-01, of UTC.
    pub from_day: i64,
    /// The last day.
    pub to_day: i64,
    /// Also executions in which a script answered.
    pub rehearsals: bool,
}

/// What figures are about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Subject {
    /// The person's id; None for an agent, a kind of hold, and what is no person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// How they are called now, or what it is called.
    pub name: String,
}

/// Executions and what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CountedRuns {
    /// Begun.
    pub started: u64,
    /// Ended as they should.
    pub finished: u64,
    /// Could not go on.
    pub failed: u64,
    /// Ended by a person.
    pub cancelled: u64,
    /// Model calls that reached the upstream.
    pub calls: u64,
    /// Tokens, as the upstream counted them.
    pub input_tokens: u64,
    /// Written by the model.
    pub output_tokens: u64,
    /// Read from its cache.
    pub cache_read_tokens: u64,
    /// Put into its cache.
    pub cache_made_tokens: u64,
    /// Millionths of a US dollar.
    pub cost_micros: u64,
}

impl CountedRuns {
    /// Adds others to these.
    pub fn add(&mut self, other: &Self) {
        self.started += other.started;
        self.finished += other.finished;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.calls += other.calls;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cache_read_tokens += other.cache_read_tokens;
        self.cache_made_tokens += other.cache_made_tokens;
        self.cost_micros += other.cost_micros;
    }
}

/// What went wrong, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CountedErrors {
    /// `conversation`, `turn`, `worker` or `hold`.
    pub what: String,
    /// The word for it.
    pub reason: String,
    /// How often.
    pub times: u64,
}

/// How long was waited for answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CountedWaits {
    /// For whose, or at which kind of hold.
    #[serde(flatten)]
    pub subject: Subject,
    /// Answers.
    pub answers: u64,
    /// Milliseconds, on average.
    pub mean_ms: i64,
    /// Half were there within so many milliseconds, about.
    pub p50_ms: i64,
    /// 95 of 100 were.
    pub p95_ms: i64,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// By day, with those on which nothing happened left out.
    pub days: Vec<(i64, CountedRuns)>,
    /// By agent, the most expensive first.
    pub agents: Vec<(Subject, CountedRuns)>,
    /// By owner, the most expensive first.
    pub people: Vec<(Subject, CountedRuns)>,
    /// The most frequent first.
    pub errors: Vec<CountedErrors>,
    /// By kind of hold.
    pub waits_by_kind: Vec<CountedWaits>,
    /// By person, whoever was waited for longest first.
    pub waits_by_person: Vec<CountedWaits>,
}

const SUMS: &str = "sum(started), sum(finished), sum(failed), sum(cancelled), sum(calls), sum(input_tokens),
    sum(output_tokens), sum(cache_read_tokens), sum(cache_made_tokens), sum(cost_micros)";

const OF: &str = "scope = ?1 AND rehearsal IN (0, ?2) AND day BETWEEN ?3 AND ?4";

impl Store {
    /// Figures over executions, those of deleted ones included.
    pub async fn figures(&self, filter: &FiguresFilter) -> Result<Figures, StoreError> {
        let names = self.names().await?;
        let mut figures = Figures::default();
        // Every run counts for one agent: those of all agents are all.
        let by_day = format!(
            "SELECT day, {SUMS} FROM figures WHERE {OF} AND whose = 'agent' GROUP BY day ORDER BY day"
        );
        for row in self.of(filter, by_day).await? {
            figures.days.push((row.try_get(0)?, runs(&row)?));
        }
        for (whose, subjects) in [("agent", &mut figures.agents), ("person", &mut figures.people)] {
            let by_name =
                format!("SELECT name, {SUMS} FROM figures WHERE {OF} AND whose = '{whose}' GROUP BY name");
            for row in self.of(filter, by_name).await? {
                subjects.push((subject(&names, row.try_get(0)?), runs(&row)?));
            }
            subjects.sort_by(|a, b| {
                (b.1.cost_micros, b.1.started)
                    .cmp(&(a.1.cost_micros, a.1.started))
                    .then_with(|| a.0.cmp(&b.0))
            });
        }
        figures.days.retain(|(_, runs)| *runs != CountedRuns::default());
        figures.agents.retain(|(_, runs)| *runs != CountedRuns::default());
        figures.people.retain(|(_, runs)| *runs != CountedRuns::default());
        let errors = format!(
            "SELECT what, reason, sum(times) FROM figures_errors WHERE {OF}
             GROUP BY what, reason HAVING sum(times) > 0 ORDER BY 3 DESC, what, reason"
        );
        for row in self.of(filter, errors).await? {
            let times = unsigned("a count", row.try_get(2)?)?;
            figures.errors.push(CountedErrors { what: row.try_get(0)?, reason: row.try_get(1)?, times });
        }
        figures.waits_by_kind = self.waits(filter, &names, "kind").await?;
        figures.waits_by_person = self.waits(filter, &names, "person").await?;
        Ok(figures)
    }

    async fn of(&self, filter: &FiguresFilter, sql: String) -> Result<Vec<SqliteRow>, StoreError> {
        let scope = filter.owner.map_or_else(|| EVERYBODY.to_owned(), |user| user.0.simple().to_string());
        // Made of constants alone.
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(scope)
            .bind(filter.rehearsals)
            .bind(filter.from_day)
            .bind(filter.to_day)
            .fetch_all(&self.shared.readers)
            .await?;
        Ok(rows)
    }

    async fn waits(
        &self,
        filter: &FiguresFilter,
        names: &BTreeMap<String, (UserId, String)>,
        whose: &'static str,
    ) -> Result<Vec<CountedWaits>, StoreError> {
        let sql = format!(
            "SELECT name, bucket, sum(times), sum(wait_ms) FROM figures_waits WHERE {OF} AND whose = '{whose}'
             GROUP BY name, bucket HAVING sum(times) > 0 ORDER BY name, bucket"
        );
        let mut buckets = BTreeMap::<String, (Vec<(i64, i64)>, i64)>::new();
        for row in self.of(filter, sql).await? {
            let (of, sum_ms) = buckets.entry(row.try_get(0)?).or_default();
            of.push((row.try_get(1)?, row.try_get(2)?));
            *sum_ms += row.try_get::<i64, _>(3)?;
        }
        let mut waits = Vec::with_capacity(buckets.len());
        for (name, (of, sum_ms)) in buckets {
            let answers: i64 = of.iter().map(|(_, times)| times).sum();
            waits.push(CountedWaits {
                subject: subject(names, name),
                answers: unsigned("a count", answers)?,
                mean_ms: sum_ms / answers.max(1),
                p50_ms: wait::percentile(&of, 0.5),
                p95_ms: wait::percentile(&of, 0.95),
            });
        }
        waits.sort_by(|a, b| b.p95_ms.cmp(&a.p95_ms).then_with(|| a.subject.cmp(&b.subject)));
        Ok(waits)
    }

    /// People's names now, by how figures know them.
    async fn names(&self) -> Result<BTreeMap<String, (UserId, String)>, StoreError> {
        let rows = sqlx::query("SELECT id, name FROM users").fetch_all(&self.shared.readers).await?;
        rows.iter()
            .map(|row| {
                let user = UserId(row.try_get(0)?);
                Ok((user.0.simple().to_string(), (user, row.try_get(1)?)))
            })
            .collect()
    }
}

fn subject(names: &BTreeMap<String, (UserId, String)>, name: String) -> Subject {
    match names.get(&name) {
        Some((user, name)) => Subject { user: Some(*user), name: name.clone() },
        None => Subject { user: None, name: name.strip_prefix(NAMED).unwrap_or(&name).to_owned() },
    }
}

fn runs(row: &SqliteRow) -> Result<CountedRuns, StoreError> {
    let sum = |column: usize| unsigned("a sum", row.try_get(column)?);
    Ok(CountedRuns {
        started: sum(1)?,
        finished: sum(2)?,
        failed: sum(3)?,
        cancelled: sum(4)?,
        calls: sum(5)?,
        input_tokens: sum(6)?,
        output_tokens: sum(7)?,
        cache_read_tokens: sum(8)?,
        cache_made_tokens: sum(9)?,
        cost_micros: sum(10)?,
    })
}
