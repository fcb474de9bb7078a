//! Folding events into an execution, and noting what that changes in the projections.
//!
//! The live path and the rebuild go through the same code, so that they cannot differ.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdpoint_model::hold::Decision;
use holdpoint_model::{
    Event, EventBody, Execution, Hold, HoldId, Incarnation, Seq, UnixMs, UserId, WorkerSeq,
};
use sqlx::SqliteConnection;

use crate::StoreError;
use crate::codec::{data_of, signed, to_json};
use crate::figures::{Adding, Counted};

/// What one request changes: its events, and the rows beside the log that follow from them.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) events: Vec<Arc<Event>>,
    holds: BTreeMap<HoldId, HoldChange>,
    turn_ends: Vec<Seq>,
    counted: Counted,
    /// What people wrote.
    said: Vec<String>,
    /// Whether there is something else to find of the execution.
    found_by: bool,
}

#[derive(Debug)]
struct HoldChange {
    hold: Hold,
    decision: Option<Decision>,
    settled_at: Option<UnixMs>,
}

impl Record {
    /// The first event of a log, and the execution that it makes.
    pub(crate) fn first(event: &Event) -> Result<(Execution, Self), StoreError> {
        let execution = Execution::from_first(event).map_err(StoreError::Corrupt)?;
        let mut record = Self { found_by: true, ..Self::default() };
        record.counted.note(None, event);
        Ok((execution, record))
    }

    /// Makes events of `bodies`, gives out their numbers, and folds them in.
    pub(crate) fn append(
        &mut self,
        execution: &mut Execution,
        bodies: Vec<EventBody>,
        told_by: Option<(Incarnation, WorkerSeq)>,
        at: UnixMs,
    ) {
        let mut worker_seq = told_by.map(|(_, worker_seq)| worker_seq);
        for body in bodies {
            let event = Event {
                execution: execution.id,
                seq: execution.seq + 1,
                at,
                incarnation: told_by.map(|(incarnation, _)| incarnation),
                // Only on the first event of a fact: the pair is unique in the log.
                worker_seq: worker_seq.take(),
                body,
            };
            self.fold(execution, &event);
            self.events.push(Arc::new(event));
        }
    }

    /// Folds a committed event in.
    pub(crate) fn fold(&mut self, execution: &mut Execution, event: &Event) {
        let changed = execution.hold_after(&event.body).and_then(|(id, state)| {
            let before = execution.holds.get(&id)?;
            let decision = state.decision().or(before.state.decision()).cloned();
            Some((Hold { state, ..before.clone() }, decision))
        });
        self.counted.note(Some(execution), event);
        execution.evolve(event);
        match &event.body {
            EventBody::TurnEnded(_) => {
                self.turn_ends.push(event.seq);
                self.found_by = true;
            }
            EventBody::MessageQueued(message) => {
                self.said.push(message.text.clone());
                self.found_by = true;
            }
            EventBody::ExecutionFinished { .. }
            | EventBody::ExecutionFailed { .. }
            | EventBody::ExecutionCancelled { .. } => self.found_by = true,
            EventBody::HoldOpened { hold, .. } => self.note_unsettled(execution, *hold),
            // Nobody's session asks any more, at any hold.
            EventBody::WorkerLost { .. } | EventBody::WorkerStopped { .. } => {
                let all: Vec<HoldId> = execution.holds.keys().copied().collect();
                for hold in all {
                    self.note_unsettled(execution, hold);
                }
            }
            _ => {}
        }
        if let Some((hold, decision)) = changed {
            if execution.holds.contains_key(&hold.id) {
                self.note_unsettled(execution, hold.id);
            } else {
                self.holds.insert(hold.id, HoldChange { hold, decision, settled_at: Some(event.at) });
            }
        }
    }

    fn note_unsettled(&mut self, execution: &Execution, id: HoldId) {
        if let Some(hold) = execution.holds.get(&id) {
            let decision = hold.state.decision().cloned();
            self.holds.insert(id, HoldChange { hold: hold.clone(), decision, settled_at: None });
        }
    }

    /// Writes the events.
    pub(crate) async fn write_events(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        let mut rest = self.events.as_slice();
        while !rest.is_empty() {
            let (rows, sql) = insert_of(rest.len());
            let (now, later) = rest.split_at(rows);
            let mut query = sqlx::query(sql);
            for event in now {
                query = query
                    .bind(event.execution.0)
                    .bind(signed(event.seq))
                    .bind(event.at)
                    .bind(event.incarnation.map(i64::from))
                    .bind(event.worker_seq.map(signed))
                    .bind(event.body.kind())
                    .bind(data_of(&event.body)?);
            }
            query.execute(&mut *conn).await?;
            rest = later;
        }
        Ok(())
    }

    /// Writes what the events change beside the log, but for the execution's own rows and what it is found by.
    pub(crate) async fn write_projections(
        &self,
        conn: &mut SqliteConnection,
        execution: &Execution,
    ) -> Result<(), StoreError> {
        let owner: Option<UserId> = execution.owner.user;
        for change in self.holds.values() {
            let hold = &change.hold;
            sqlx::query(
                "INSERT INTO holds (id, execution, owner_user, state, opened_at, due_at, settled_at, hold, decision,
                    assigned, kind, agent)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
                 ON CONFLICT (id) DO UPDATE SET
                    state = ?4, due_at = ?6, settled_at = ?7, hold = ?8, decision = ?9, assigned = ?10",
            )
            .bind(hold.id.0)
            .bind(execution.id.0)
            .bind(owner.map(|user| user.0))
            .bind(hold.state.as_str())
            .bind(hold.opened_at)
            .bind(hold.expires_at.unwrap_or(UnixMs::MAX))
            .bind(change.settled_at)
            .bind(to_json(hold)?)
            .bind(change.decision.as_ref().map(to_json).transpose()?)
            .bind(hold.assigned.as_ref().map(|assigned| assigned.user.0))
            .bind(hold.kind.as_str())
            .bind(&execution.agent)
            .execute(&mut *conn)
            .await?;
        }
        for seq in &self.turn_ends {
            sqlx::query(
                "UPDATE model_calls SET closed_seq = ?2
                 WHERE execution = ?1 AND state = 'complete' AND closed_seq IS NULL AND seq < ?2",
            )
            .bind(execution.id.0)
            .bind(signed(*seq))
            .execute(&mut *conn)
            .await?;
        }
        self.counted.write(conn, execution, Adding::Counted).await
    }

    /// What people wrote, if there is something else to find of the execution.
    pub(crate) fn take_found(&mut self) -> Option<Vec<String>> {
        std::mem::take(&mut self.found_by).then(|| std::mem::take(&mut self.said))
    }

    /// Makes what was counted of an execution what is left of it.
    pub(crate) async fn keep_figures(
        &self,
        conn: &mut SqliteConnection,
        execution: &Execution,
    ) -> Result<(), StoreError> {
        self.counted.write(conn, execution, Adding::Kept).await
    }
}

/// Rows per statement, largest first: few enough statements to keep prepared, large enough that a
/// hundred facts take a handful of round trips to SQLite's thread.
const CHUNKS: [usize; 4] = [64, 16, 4, 1];

/// The largest prepared insert that takes no more than `rows` rows.
fn insert_of(rows: usize) -> (usize, &'static str) {
    static INSERTS: std::sync::LazyLock<[String; CHUNKS.len()]> = std::sync::LazyLock::new(|| {
        CHUNKS.map(|rows| {
            let values = vec!["(?,?,?,?,?,?,?)"; rows].join(",");
            format!(
                "INSERT INTO events (execution, seq, at, incarnation, worker_seq, kind, data) VALUES {values}"
            )
        })
    });
    let at = CHUNKS.iter().position(|chunk| *chunk <= rows).unwrap_or(CHUNKS.len() - 1);
    (CHUNKS[at], INSERTS[at].as_str())
}
