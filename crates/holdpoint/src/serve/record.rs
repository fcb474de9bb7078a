//! The gateway's record in the database.

use std::sync::Arc;

use futures::{FutureExt as _, future::BoxFuture};
use holdpoint_gateway::{Failure, NewCall, RecordError, Recorded, RecordedCall, Recorder};
use holdpoint_model::{CallId, ExecutionId, Incarnation, Refusal};
use holdpoint_store::{ApplyError, CompletedCall, FailedCall, Store, StoreError};
use serde_json::Value;

pub(super) struct StoreRecorder {
    store: Store,
}

impl StoreRecorder {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    async fn begin(&self, call: NewCall) -> Result<CallId, RecordError> {
        let begun = holdpoint_store::NewCall {
            execution: call.execution,
            incarnation: call.incarnation,
            thread: call.thread.to_string(),
            place: json(&call.place)?,
            request_digest: call.request_digest,
            model: call.model,
            reserved_micros: call.reserved_micros,
            asked: json(&call.asked)?,
        };
        self.store.begin_call(begun).await.map_err(refused)
    }

    async fn complete(&self, id: CallId, recorded: Recorded) -> Result<(), RecordError> {
        let done = CompletedCall {
            status: recorded.status,
            model: recorded.response["model"].as_str().unwrap_or_default().to_owned(),
            response: Arc::unwrap_or_clone(recorded.response),
            footprint: json(&recorded.footprint)?,
            stop_reason: recorded.stop_reason,
            tokens: recorded.tokens,
            cost_micros: recorded.cost_micros,
        };
        self.store.complete_call(id, done).await.map(drop).map_err(refused)
    }

    async fn fail(&self, id: CallId, failure: Failure) -> Result<(), RecordError> {
        let failed_call = FailedCall {
            status: failure.status,
            reason: failure.reason,
            incomplete: failure.incomplete,
            tokens: failure.tokens,
            cost_micros: failure.cost_micros,
        };
        self.store.fail_call(id, failed_call).await.map_err(refused)
    }

    async fn delivered(&self, id: CallId, incarnation: Incarnation) -> Result<(), RecordError> {
        let (execution, made_for) = self.store.mark_delivered(id, incarnation).await.map_err(refused)?;
        if made_for != incarnation {
            // Said in the log, so that people see that nothing was generated or paid twice.
            self.store.note_replay(execution, incarnation, id).await.map_err(refused)?;
        }
        Ok(())
    }

    async fn current_turn(&self, execution: ExecutionId) -> Result<Vec<RecordedCall>, RecordError> {
        let calls = self.store.turn_calls(execution).await.map_err(failed)?;
        calls
            .into_iter()
            .filter(|call| call.thread != "side")
            .map(|call| {
                Ok(RecordedCall {
                    id: call.id,
                    incarnation: call.incarnation,
                    thread: call.thread.parse().map_err(|error| RecordError::Failed(format!("{error}")))?,
                    place: from_json(call.place)?,
                    footprint: from_json(call.footprint)?,
                    delivered_to: call.delivered_to,
                })
            })
            .collect()
    }

    async fn response(&self, id: CallId) -> Result<Arc<Value>, RecordError> {
        let response = self.store.call_response(id).await.map_err(failed)?;
        response
            .map(Arc::new)
            .ok_or_else(|| RecordError::Failed(format!("there is no response of call {id}")))
    }
}

impl Recorder for StoreRecorder {
    fn begin(&self, call: NewCall) -> BoxFuture<'_, Result<CallId, RecordError>> {
        self.begin(call).boxed()
    }

    fn complete(&self, id: CallId, recorded: Recorded) -> BoxFuture<'_, Result<(), RecordError>> {
        self.complete(id, recorded).boxed()
    }

    fn fail(&self, id: CallId, failure: Failure) -> BoxFuture<'_, Result<(), RecordError>> {
        self.fail(id, failure).boxed()
    }

    fn delivered(&self, id: CallId, incarnation: Incarnation) -> BoxFuture<'_, Result<(), RecordError>> {
        self.delivered(id, incarnation).boxed()
    }

    fn current_turn(&self, execution: ExecutionId) -> BoxFuture<'_, Result<Vec<RecordedCall>, RecordError>> {
        self.current_turn(execution).boxed()
    }

    fn response(&self, id: CallId) -> BoxFuture<'_, Result<Arc<Value>, RecordError>> {
        self.response(id).boxed()
    }
}

fn json(value: &impl serde::Serialize) -> Result<Value, RecordError> {
    serde_json::to_value(value).map_err(|error| RecordError::Failed(error.to_string()))
}

fn from_json<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, RecordError> {
    serde_json::from_value(value).map_err(|error| RecordError::Failed(error.to_string()))
}

fn failed(error: StoreError) -> RecordError {
    RecordError::Failed(error.to_string())
}

fn refused(error: impl Into<ApplyError>) -> RecordError {
    match error.into() {
        ApplyError::Refused(Refusal::Fenced { .. } | Refusal::Stale(_)) | ApplyError::UnknownExecution => {
            RecordError::Fenced
        }
        ApplyError::Refused(refusal) => RecordError::Refused(refusal.to_string()),
        ApplyError::Store(error) => failed(error),
    }
}
