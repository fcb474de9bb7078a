//! Figures over many executions: what was started and what became of it, what went wrong, how long people were
//! waited for, what it cost. Counted by day of UTC, in the transaction of the event that is counted, so that a
//! page over a quarter reads some thousand rows and no log (`docs/decisions/0020`).

mod read;
mod wait;

use std::collections::BTreeMap;

use holdpoint_model::budget::day_of;
use holdpoint_model::{Actor, Event, EventBody, Execution, HoldId};
use sqlx::SqliteConnection;

use crate::StoreError;
use crate::codec::signed;

pub use read::{CountedErrors, CountedRuns, CountedWaits, Figures, FiguresFilter, Subject};

/// The scope of everybody's executions.
const EVERYBODY: &str = "";

/// The longest word for what went wrong, in characters: some come from the session.
const REASON_CHARS: usize = 60;

/// What some events add.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    runs: BTreeMap<i64, Runs>,
    errors: BTreeMap<(i64, &'static str, String), i64>,
    /// Times and milliseconds by day, whose ('kind' or 'person'), name and bucket.
    waits: BTreeMap<(i64, &'static str, String, i64), (i64, i64)>,
}

#[derive(Debug, Default)]
struct Runs {
    started: i64,
    finished: i64,
    failed: i64,
    cancelled: i64,
    calls: i64,
    input_tokens: i64,
    output_tokens: i64,
    cache_read_tokens: i64,
    cache_made_tokens: i64,
    cost_micros: i64,
}

/// Whether to add what was counted, or to make it what a deleted execution has left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adding {
    Counted,
    Kept,
}

impl Counted {
    /// Notes an event; `before` is the state before it, None for the first one.
    pub(crate) fn note(&mut self, before: Option<&Execution>, event: &Event) {
        let day = day_of(event.at);
        match &event.body {
            EventBody::ExecutionCreated(_) => self.runs(day).started += 1,
            EventBody::ExecutionFinished { .. } => self.runs(day).finished += 1,
            EventBody::ExecutionCancelled { .. } => self.runs(day).cancelled += 1,
            EventBody::ExecutionFailed { error } => {
                self.runs(day).failed += 1;
                self.error(day, "conversation", &error.code);
            }
            EventBody::TurnEnded(turn) if !turn.ok && !turn.interrupted => {
                self.error(day, "turn", &turn.reason);
            }
            EventBody::WorkerLost { problem, .. } => {
                let code = problem.as_ref().map_or("lost", |problem| problem.code.as_str());
                self.error(day, "worker", code);
            }
            EventBody::HoldExpired { .. } => self.error(day, "hold", "expired"),
            EventBody::HoldAnswered { hold, decision } => self.wait(before, *hold, &decision.by, event),
            EventBody::ModelCall(call) => {
                let runs = self.runs(day);
                runs.calls += i64::from(!call.replayed);
                runs.input_tokens += signed(call.tokens.input_tokens);
                runs.output_tokens += signed(call.tokens.output_tokens);
                runs.cache_read_tokens += signed(call.tokens.cache_read_input_tokens);
                runs.cache_made_tokens += signed(call.tokens.cache_creation_input_tokens);
                runs.cost_micros += signed(call.cost_micros);
            }
            _ => {}
        }
    }

    fn runs(&mut self, day: i64) -> &mut Runs {
        self.runs.entry(day).or_default()
    }

    fn error(&mut self, day: i64, what: &'static str, reason: &str) {
        let reason = reason.chars().take(REASON_CHARS).collect();
        *self.errors.entry((day, what, reason)).or_default() += 1;
    }

    /// What a rule answers nobody was waited for.
    fn wait(&mut self, before: Option<&Execution>, hold: HoldId, by: &Actor, event: &Event) {
        let Some(hold) = before.and_then(|before| before.holds.get(&hold)) else { return };
        if by.user.is_none() {
            return;
        }
        let ms = (event.at - hold.opened_at).max(0);
        for (whose, name) in [("kind", hold.kind.as_str().to_owned()), ("person", name_of(by))] {
            let key = (day_of(event.at), whose, name, wait::bucket(ms));
            let (times, sum_ms) = self.waits.entry(key).or_default();
            *times += 1;
            *sum_ms += ms;
        }
    }

    /// Adds what was counted.
    pub(crate) async fn write(
        &self,
        conn: &mut SqliteConnection,
        execution: &Execution,
        adding: Adding,
    ) -> Result<(), StoreError> {
        let scopes = [Some(EVERYBODY.to_owned()), execution.owner.user.map(|_| name_of(&execution.owner))];
        for scope in scopes.into_iter().flatten() {
            let to = Totals { scope: &scope, rehearsal: execution.rehearsal };
            match adding {
                Adding::Counted => self.add(conn, execution, &to, false, 1).await?,
                Adding::Kept => {
                    self.add(conn, execution, &to, false, -1).await?;
                    self.add(conn, execution, &to, true, 1).await?;
                }
            }
        }
        Ok(())
    }

    async fn add(
        &self,
        conn: &mut SqliteConnection,
        execution: &Execution,
        to: &Totals<'_>,
        kept: bool,
        sign: i64,
    ) -> Result<(), StoreError> {
        let subjects = [("agent", execution.agent.clone()), ("person", name_of(&execution.owner))];
        for (day, runs) in &self.runs {
            for (whose, name) in &subjects {
                sqlx::query(
                    "INSERT INTO figures VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
                     ON CONFLICT DO UPDATE SET started = started + ?7, finished = finished + ?8,
                        failed = failed + ?9, cancelled = cancelled + ?10, calls = calls + ?11,
                        input_tokens = input_tokens + ?12, output_tokens = output_tokens + ?13,
                        cache_read_tokens = cache_read_tokens + ?14,
                        cache_made_tokens = cache_made_tokens + ?15, cost_micros = cost_micros + ?16",
                )
                .bind(to.scope)
                .bind(to.rehearsal)
                .bind(whose)
                .bind(day)
                .bind(name)
                .bind(kept)
                .bind(sign * runs.started)
                .bind(sign * runs.finished)
                .bind(sign * runs.failed)
                .bind(sign * runs.cancelled)
                .bind(sign * runs.calls)
                .bind(sign * runs.input_tokens)
                .bind(sign * runs.output_tokens)
                .bind(sign * runs.cache_read_tokens)
                .bind(sign * runs.cache_made_tokens)
                .bind(sign * runs.cost_micros)
                .execute(&mut *conn)
                .await?;
            }
        }
        for ((day, what, reason), times) in &self.errors {
            sqlx::query(
                "INSERT INTO figures_errors VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT DO UPDATE SET times = times + ?7",
            )
            .bind(to.scope)
            .bind(to.rehearsal)
            .bind(day)
            .bind(what)
            .bind(reason)
            .bind(kept)
            .bind(sign * times)
            .execute(&mut *conn)
            .await?;
        }
        for ((day, whose, name, bucket), (times, sum_ms)) in &self.waits {
            sqlx::query(
                "INSERT INTO figures_waits VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT DO UPDATE SET times = times + ?8, wait_ms = wait_ms + ?9",
            )
            .bind(to.scope)
            .bind(to.rehearsal)
            .bind(whose)
            .bind(day)
            .bind(name)
            .bind(bucket)
            .bind(kept)
            .bind(sign * times)
            .bind(sign * sum_ms)
            .execute(&mut *conn)
            .await?;
        }
        Ok(())
    }
}

/// Where something is added.
struct Totals<'a> {
    scope: &'a str,
    rehearsal: bool,
}

/// Deletes what the log can make again.
pub(crate) async fn clear(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    for clear in [
        "DELETE FROM figures WHERE kept = 0",
        "DELETE FROM figures_errors WHERE kept = 0",
        "DELETE FROM figures_waits WHERE kept = 0",
    ] {
        sqlx::query(clear).execute(&mut *conn).await?;
    }
    Ok(())
}

/// How figures know somebody: a person by their id, in 32 hexadecimal digits, and what has none by its name.
fn name_of(actor: &Actor) -> String {
    match actor.user {
        Some(user) => user.0.simple().to_string(),
        None => format!("{NAMED}{}", actor.name),
    }
}

/// Before the name of what is no person.
const NAMED: char = '~';
