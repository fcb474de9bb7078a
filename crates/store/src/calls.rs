//! Model calls: the gateway's record. Not a projection: responses are nowhere else.

use holdpoint_model::event::ModelCall;
use holdpoint_model::pricing::Tokens;
use holdpoint_model::{CallId, Command, ExecutionId, Incarnation, Refusal};
use serde_json::Value;
use sqlx::Row as _;
use uuid::Uuid;

use crate::codec::{narrow, signed, to_json, unsigned};
use crate::spending;
use crate::store::of;
use crate::writer::Tx;
use crate::{Applied, ApplyError, Store, StoreError};

/// A model call that begins.
#[derive(Clone, Debug)]
pub struct NewCall {
    /// Whose.
    pub execution: ExecutionId,
    /// Which worker's session makes it.
    pub incarnation: Incarnation,
    /// Which line of the conversation: the main one or a subagent's.
    pub thread: String,
    /// Where in its thread, in the gateway's own words.
    pub place: Value,
    /// The digest of the request, `sha256:…`.
    pub request_digest: String,
    /// The model asked for.
    pub model: String,
    /// Millionths of a US dollar set aside for it.
    pub reserved_micros: u64,
    /// What is new in the request, in the gateway's own words.
    pub asked: Value,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct CompletedCall {
    /// The HTTP status given to the session.
    pub status: u16,
    /// The whole response, as one message.
    pub response: Value,
    /// What the gateway compares later requests with.
    pub footprint: Value,
    /// Why the model stopped.
    pub stop_reason: Option<String>,
    /// Tokens, as the upstream counted them.
    pub tokens: Tokens,
    /// Millionths of a US dollar.
    pub cost_micros: u64,
    /// The model that answered.
    pub model: String,
}

/// A call without a whole response.
#[derive(Clone, Debug)]
pub struct FailedCall {
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// In words.
    pub reason: String,
    /// A stream had begun: what was seen of it is paid, but it is never replayed.
    pub incomplete: bool,
    /// Tokens, as far as known.
    pub tokens: Tokens,
    /// Millionths of a US dollar, as far as known.
    pub cost_micros: u64,
}

impl Store {
    /// Records that a call begins; durable when it returns.
    ///
    /// # Errors
    /// Refused as `Fenced` for another incarnation than the present one, as `Ended` when the
    /// execution is over, as `OverBudget` when what is spent and set aside leaves no room for it: no
    /// money is spent for any of them.
    pub async fn begin_call(&self, call: NewCall) -> Result<CallId, ApplyError> {
        let (id, _) = self
            .shared
            .writer
            .run(move |tx: &mut Tx| {
                Box::pin(async move {
                    acting(tx, call.execution, call.incarnation).await?;
                    let account = spending::afford(tx, call.execution, call.reserved_micros).await?;
                    let id = CallId(tx.fresh_id());
                    let now = tx.now();
                    sqlx::query(
                        "INSERT INTO model_calls
                            (id, execution, incarnation, thread, place, request_digest, model, state,
                             started_at, reserved_micros, agent, owner_user, asked)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'open', ?8, ?9, ?10, ?11, ?12)",
                    )
                    .bind(id.0)
                    .bind(call.execution.0)
                    .bind(i64::from(call.incarnation))
                    .bind(call.thread)
                    .bind(to_json(&call.place)?)
                    .bind(call.request_digest)
                    .bind(call.model)
                    .bind(now)
                    .bind(signed(call.reserved_micros))
                    .bind(account.agent)
                    .bind(account.owner.map(|user| user.0))
                    .bind(to_json(&call.asked)?)
                    .execute(tx.writing().await?)
                    .await?;
                    Ok::<_, ApplyError>(id)
                })
            })
            .await?;
        Ok(id)
    }

    /// Records the response and appends the `model_call` event, in one transaction; durable when
    /// it returns. Taken from fenced incarnations and after the end too: the money is spent.
    ///
    /// # Errors
    /// [`StoreError::Missing`] for an unknown call; refused as `Stale` when it was settled before.
    pub async fn complete_call(&self, call: CallId, done: CompletedCall) -> Result<Applied, ApplyError> {
        let ((execution, events), committed) =
            self.shared.writer.run(move |tx: &mut Tx| Box::pin(complete(tx, call, done))).await?;
        Ok(Applied { events, execution: of(&committed, execution)? })
    }

    /// Records that a call came to nothing. What was seen of a stream is paid, so that has its
    /// `model_call` event in the same transaction; otherwise the session's own retry tells of it.
    ///
    /// # Errors
    /// [`StoreError::Missing`] for an unknown call; refused as `Stale` when it was settled before.
    pub async fn fail_call(&self, call: CallId, failed: FailedCall) -> Result<(), ApplyError> {
        self.shared.writer.run(move |tx: &mut Tx| Box::pin(fail(tx, call, failed, Cost::Seen))).await?;
        Ok(())
    }

    /// Fails every call that has neither a response nor a failure: at start, what a crash cut short.
    /// Nobody saw what they cost, so each is settled at what was set aside for it. Returns how many.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn fail_open_calls(&self, note: &str) -> Result<u64, ApplyError> {
        let note = note.to_owned();
        let (failed, _) = self
            .shared
            .writer
            .run(move |tx: &mut Tx| {
                Box::pin(async move {
                    let rows =
                        sqlx::query("SELECT id, reserved_micros FROM model_calls WHERE state = 'open'")
                            .fetch_all(tx.reading())
                            .await?;
                    for row in &rows {
                        let cut_short = FailedCall {
                            status: None,
                            reason: note.clone(),
                            incomplete: true,
                            tokens: Tokens::default(),
                            cost_micros: unsigned("a reservation", row.try_get(1)?)?,
                        };
                        fail(tx, CallId(row.try_get(0)?), cut_short, Cost::Estimated).await?;
                    }
                    Ok::<_, ApplyError>(rows.len() as u64)
                })
            })
            .await?;
        Ok(failed)
    }

    /// Appends the event that a call was answered from the record. Costs nothing.
    ///
    /// # Errors
    /// Refused as `Fenced` for another incarnation than the present one; [`StoreError::Missing`]
    /// when that execution has no such whole call.
    pub async fn note_replay(
        &self,
        execution: ExecutionId,
        incarnation: Incarnation,
        of_call: CallId,
    ) -> Result<Applied, ApplyError> {
        let (events, committed) = self
            .shared
            .writer
            .run(move |tx: &mut Tx| {
                Box::pin(async move {
                    acting(tx, execution, incarnation).await?;
                    let row = sqlx::query(
                        "SELECT model, status FROM model_calls
                         WHERE id = ?1 AND execution = ?2 AND state = 'complete'",
                    )
                    .bind(of_call.0)
                    .bind(execution.0)
                    .fetch_optional(tx.reading())
                    .await?
                    .ok_or(StoreError::Missing { what: "whole model call" })?;
                    let replay = ModelCall {
                        call: of_call,
                        model: row.try_get(0)?,
                        status: row.try_get(1)?,
                        tokens: Tokens::default(),
                        cost_micros: 0,
                        replayed: true,
                        incomplete: false,
                        estimated: false,
                    };
                    tx.command(execution, Command::ModelCall(replay)).await
                })
            })
            .await?;
        Ok(Applied { events, execution: of(&committed, execution)? })
    }

    /// Records that the session of `incarnation` got the whole response. Safe to repeat. Returns
    /// for which execution and incarnation the response was generated.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such call.
    pub async fn mark_delivered(
        &self,
        call: CallId,
        incarnation: Incarnation,
    ) -> Result<(ExecutionId, Incarnation), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let known = sqlx::query("SELECT execution, incarnation FROM model_calls WHERE id = ?1")
                    .bind(call.0)
                    .fetch_optional(tx.reading())
                    .await?
                    .ok_or(StoreError::Missing { what: "model call" })?;
                let execution = ExecutionId(known.try_get::<Uuid, _>(0)?);
                let made_for = narrow("incarnation", known.try_get(1)?)?.unwrap_or_default();
                let now = tx.now();
                sqlx::query(
                    "INSERT INTO call_deliveries (call, incarnation, at) VALUES (?1, ?2, ?3)
                     ON CONFLICT DO NOTHING",
                )
                .bind(call.0)
                .bind(i64::from(incarnation))
                .bind(now)
                .execute(tx.writing().await?)
                .await?;
                Ok((execution, made_for))
            })
        })
        .await
    }
}

/// Refuses what only the acting worker of a running execution may do.
async fn acting(tx: &mut Tx, id: ExecutionId, incarnation: Incarnation) -> Result<(), ApplyError> {
    let execution = tx.execution(id).await?.ok_or(ApplyError::UnknownExecution)?;
    if execution.incarnation != incarnation {
        return Err(Refusal::Fenced { told: incarnation, current: execution.incarnation }.into());
    }
    if execution.status.is_final() {
        return Err(Refusal::Ended(execution.status.as_str()).into());
    }
    Ok(())
}

type Completed = (ExecutionId, Vec<std::sync::Arc<holdpoint_model::Event>>);

async fn complete(tx: &mut Tx, call: CallId, done: CompletedCall) -> Result<Completed, ApplyError> {
    let row = sqlx::query("SELECT execution, state, started_at FROM model_calls WHERE id = ?1")
        .bind(call.0)
        .fetch_optional(tx.reading())
        .await?
        .ok_or(StoreError::Missing { what: "model call" })?;
    if row.try_get::<&str, _>(1)? != "open" {
        return Err(Refusal::Stale("the model call was settled before").into());
    }
    let execution = ExecutionId(row.try_get::<Uuid, _>(0)?);
    let started_at = row.try_get(2)?;
    let event = ModelCall {
        call,
        model: done.model.clone(),
        status: done.status,
        tokens: done.tokens,
        cost_micros: done.cost_micros,
        replayed: false,
        incomplete: false,
        estimated: false,
    };
    let events = tx.command(execution, Command::ModelCall(event)).await?;
    let seq = events.first().map(|event| event.seq);
    let now = tx.now();
    sqlx::query(
        "UPDATE model_calls SET state = 'complete', ended_at = ?2, seq = ?3, status = ?4, footprint = ?5,
            stop_reason = ?6, tokens = ?7, cost_micros = ?8, response = ?9, model = ?10
         WHERE id = ?1",
    )
    .bind(call.0)
    .bind(now)
    .bind(seq.map(signed))
    .bind(done.status)
    .bind(to_json(&done.footprint)?)
    .bind(done.stop_reason)
    .bind(to_json(&done.tokens)?)
    .bind(signed(done.cost_micros))
    .bind(to_json(&done.response)?)
    .bind(done.model)
    .execute(tx.writing().await?)
    .await?;
    spending::settle(tx, execution, started_at, done.cost_micros).await?;
    Ok((execution, events))
}

/// How the cost of a failed call is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cost {
    /// The gateway counted what came.
    Seen,
    /// It ended with the gateway: at most what was set aside.
    Estimated,
}

async fn fail(tx: &mut Tx, call: CallId, failed: FailedCall, cost: Cost) -> Result<(), ApplyError> {
    let row = sqlx::query("SELECT execution, state, model, started_at FROM model_calls WHERE id = ?1")
        .bind(call.0)
        .fetch_optional(tx.reading())
        .await?
        .ok_or(StoreError::Missing { what: "model call" })?;
    if row.try_get::<&str, _>(1)? != "open" {
        return Err(Refusal::Stale("the model call was settled before").into());
    }
    let execution = ExecutionId(row.try_get::<Uuid, _>(0)?);
    let started_at = row.try_get(3)?;
    let mut seq = None;
    if failed.incomplete {
        let event = ModelCall {
            call,
            model: row.try_get(2)?,
            status: failed.status.unwrap_or_default(),
            tokens: failed.tokens,
            cost_micros: failed.cost_micros,
            replayed: false,
            incomplete: true,
            estimated: cost == Cost::Estimated,
        };
        let events = tx.command(execution, Command::ModelCall(event)).await?;
        seq = events.first().map(|event| event.seq);
    }
    let now = tx.now();
    sqlx::query(
        "UPDATE model_calls SET state = 'failed', ended_at = ?2, seq = ?3, status = ?4, incomplete = ?5,
            tokens = ?6, cost_micros = ?7, note = ?8
         WHERE id = ?1",
    )
    .bind(call.0)
    .bind(now)
    .bind(seq.map(signed))
    .bind(failed.status)
    .bind(failed.incomplete)
    .bind(to_json(&failed.tokens)?)
    .bind(signed(failed.cost_micros))
    .bind(failed.reason)
    .execute(tx.writing().await?)
    .await?;
    if failed.incomplete {
        spending::settle(tx, execution, started_at, failed.cost_micros).await?;
    }
    Ok(())
}
