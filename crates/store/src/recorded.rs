//! Reading the gateway's record: to answer from it, and to take it along.

use holdpoint_model::{CallId, ExecutionId, Incarnation, Seq};
use serde_json::Value;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::codec::{from_json, narrow, signed, unsigned};
use crate::{Store, StoreError};

/// A complete call of the present turn.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredCall {
    /// Its id.
    pub id: CallId,
    /// Which worker's session made it.
    pub incarnation: Incarnation,
    /// Which line of the conversation.
    pub thread: String,
    /// Where in its thread, in the gateway's own words.
    pub place: Value,
    /// What the gateway compares later requests with.
    pub footprint: Value,
    /// The incarnations whose sessions got the response in full, in order.
    pub delivered_to: Vec<Incarnation>,
}

/// A whole call with its response, for a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedCall {
    /// The `model_call` event.
    pub seq: Seq,
    /// Which line of the conversation.
    pub thread: String,
    /// What was new in the request, in the gateway's own words; None where an older version recorded it.
    pub asked: Option<Value>,
    /// The whole response.
    pub response: Value,
}

impl Store {
    /// The response of a whole call, if there is such a call.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn call_response(&self, call: CallId) -> Result<Option<Value>, StoreError> {
        let row = sqlx::query("SELECT response FROM model_calls WHERE id = ?1 AND state = 'complete'")
            .bind(call.0)
            .fetch_optional(&self.shared.readers)
            .await?;
        row.map(|row| from_json("a response", row.try_get(0)?)).transpose()
    }

    /// The whole calls since the last turn ended, in the order in which they were completed.
    pub async fn turn_calls(&self, execution: ExecutionId) -> Result<Vec<StoredCall>, StoreError> {
        let rows = sqlx::query(
            "SELECT c.id, c.incarnation, c.thread, c.place, c.footprint,
                    (SELECT json_group_array(incarnation) FROM
                        (SELECT d.incarnation FROM call_deliveries d WHERE d.call = c.id ORDER BY d.incarnation))
             FROM model_calls c
             WHERE c.execution = ?1 AND c.state = 'complete' AND c.closed_seq IS NULL
             ORDER BY c.seq",
        )
        .bind(execution.0)
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter().map(stored_call).collect()
    }

    /// The whole calls after an event, with their responses, in the order in which they were completed.
    pub async fn recorded_calls(
        &self,
        execution: ExecutionId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<RecordedCall>, StoreError> {
        let rows = sqlx::query(
            "SELECT seq, thread, asked, response FROM model_calls
             WHERE execution = ?1 AND seq > ?2 AND state = 'complete' ORDER BY seq LIMIT ?3",
        )
        .bind(execution.0)
        .bind(signed(after))
        .bind(limit)
        .fetch_all(&self.shared.readers)
        .await?;
        let recorded = |row: &SqliteRow| {
            let asked: Option<&str> = row.try_get(2)?;
            Ok(RecordedCall {
                seq: unsigned("seq", row.try_get(0)?)?,
                thread: row.try_get(1)?,
                asked: asked.map(|asked| from_json("a request's gist", asked)).transpose()?,
                response: from_json("a response", row.try_get(3)?)?,
            })
        };
        rows.iter().map(recorded).collect()
    }

    /// What an execution cost so far, in millionths of a US dollar; 0 for an unknown one.
    pub async fn cost_of(&self, execution: ExecutionId) -> Result<u64, StoreError> {
        if let Some(execution) = self.shared.cache.get(execution) {
            return Ok(execution.totals.cost_micros);
        }
        let row = sqlx::query("SELECT cost_micros FROM executions WHERE id = ?1")
            .bind(execution.0)
            .fetch_optional(&self.shared.readers)
            .await?;
        row.map_or(Ok(0), |row| unsigned("a cost", row.try_get(0)?))
    }
}

fn stored_call(row: &SqliteRow) -> Result<StoredCall, StoreError> {
    Ok(StoredCall {
        id: CallId(row.try_get(0)?),
        incarnation: narrow("incarnation", row.try_get(1)?)?.unwrap_or_default(),
        thread: row.try_get(2)?,
        place: from_json("a place", row.try_get(3)?)?,
        footprint: from_json("a footprint", row.try_get(4)?)?,
        delivered_to: from_json("deliveries", row.try_get(5)?)?,
    })
}
