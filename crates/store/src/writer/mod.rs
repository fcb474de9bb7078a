//! The one task that writes.
//!
//! Requests wait in a bounded queue; the writer takes all that are there, runs each inside a
//! savepoint of one transaction, commits once for all of them (one fsync), publishes the new
//! states, answers, and sends hints. A request that fails undoes itself alone; a commit that fails
//! fails the batch, with all who were refused in it, after which every state it touched is read again.

mod record;
mod row;
mod tx;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use holdpoint_model::{Execution, ExecutionId};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use crate::cache::Cache;
use crate::hints::Hints;
use crate::{ApplyError, Hint, ReleaseError, StoreError, StoreOptions};

pub(crate) use record::Record;
pub(crate) use row::write_execution;
pub(crate) use tx::Tx;

/// Requests that may wait. More callers than that wait for a place, which is all the backpressure
/// a worker's facts need.
const QUEUE_REQUESTS: usize = 512;

/// Requests in one commit. Enough that the fsync is shared by all who wait, few enough that the
/// first of them does not wait long for the last.
const MAX_BATCH_REQUESTS: usize = 128;

/// The states that a batch has seen, by now committed.
pub(crate) type Committed = Arc<HashMap<ExecutionId, Arc<Execution>>>;

/// A request: its work inside the batch, and its answer after the commit.
trait Job: Send {
    /// Does the work. False when it failed: what it wrote is undone.
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, bool>;
    /// The work panicked.
    fn panicked(&mut self);
    /// Why the work failed, where it was the store that failed.
    fn cause(&self) -> Option<StoreError>;
    /// Answers whoever asked.
    fn answer(self: Box<Self>, committed: Result<Committed, StoreError>);
}

/// Why a request fails.
pub(crate) trait Failure: From<StoreError> + Send {
    /// The store's own failure in it.
    fn of_store(&self) -> Option<&StoreError>;
}

impl Failure for StoreError {
    fn of_store(&self) -> Option<&StoreError> {
        Some(self)
    }
}

impl Failure for ApplyError {
    fn of_store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Refused(_) | Self::UnknownExecution => None,
        }
    }
}

impl Failure for ReleaseError {
    fn of_store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Unknown(_) | Self::Refused { .. } => None,
        }
    }
}

/// A job made of an async function over [`Tx`].
struct FnJob<F, T, E> {
    work: Option<F>,
    outcome: Option<Result<T, E>>,
    asker: oneshot::Sender<Result<(T, Committed), E>>,
}

impl<F, T, E> Job for FnJob<F, T, E>
where
    F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send,
    T: Send,
    E: Failure,
{
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let Some(work) = self.work.take() else { return false };
            let outcome = work(tx).await;
            let worked = outcome.is_ok();
            self.outcome = Some(outcome);
            worked
        })
    }

    fn panicked(&mut self) {
        self.outcome = Some(Err(StoreError::Corrupt("the request panicked; see the log".into()).into()));
    }

    fn cause(&self) -> Option<StoreError> {
        self.outcome.as_ref()?.as_ref().err()?.of_store().cloned()
    }

    fn answer(self: Box<Self>, committed: Result<Committed, StoreError>) {
        let answer = match (committed, self.outcome) {
            (Ok(committed), Some(outcome)) => outcome.map(|value| (value, committed)),
            (Ok(_), None) => Err(StoreError::Closed.into()),
            // Also for whoever was refused: what they were refused for may have gone with the batch, such as
            // another person's answer before theirs.
            (Err(error), _) => Err(error.into()),
        };
        // Nobody may be waiting any more; what is committed stays committed.
        drop(self.asker.send(answer));
    }
}

enum Message {
    Work(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// The way to the writer.
#[derive(Clone)]
pub(crate) struct WriterHandle {
    queue: mpsc::Sender<Message>,
}

impl WriterHandle {
    /// Runs `work` in the next batch and answers after its commit.
    pub(crate) async fn run<F, T, E>(&self, work: F) -> Result<(T, Committed), E>
    where
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Failure + 'static,
    {
        let (asker, answer) = oneshot::channel();
        let job = FnJob { work: Some(work), outcome: None, asker };
        self.queue.send(Message::Work(Box::new(job))).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// Ends the writer after what is in its queue.
    pub(crate) async fn close(&self) {
        let (closed, done) = oneshot::channel();
        if self.queue.send(Message::Close(closed)).await.is_ok() {
            drop(done.await);
        }
    }
}

/// What the writer needs.
pub(crate) struct WriterParts {
    pub(crate) conn: SqliteConnection,
    /// To open the connection again, should it break.
    pub(crate) connect: SqliteConnectOptions,
    pub(crate) cache: Arc<Cache>,
    pub(crate) options: StoreOptions,
    pub(crate) hints: Arc<Hints>,
    /// Held as long as the writer lives: the proof that no other process writes.
    pub(crate) lock: std::fs::File,
}

/// Starts the writer. It ends when it is closed, or when every handle is gone.
pub(crate) fn spawn(parts: WriterParts) -> WriterHandle {
    let (queue, requests) = mpsc::channel(QUEUE_REQUESTS);
    tokio::spawn(write_until_closed(parts, requests));
    WriterHandle { queue }
}

async fn write_until_closed(parts: WriterParts, mut requests: mpsc::Receiver<Message>) {
    let WriterParts { conn, connect, cache, options, hints, lock } = parts;
    let mut tx = Tx::new(conn, cache, options);
    let mut closing = None;
    let mut waiting = Vec::with_capacity(MAX_BATCH_REQUESTS);
    while closing.is_none() && requests.recv_many(&mut waiting, MAX_BATCH_REQUESTS).await > 0 {
        let mut batch = Vec::with_capacity(waiting.len());
        for message in waiting.drain(..) {
            match message {
                Message::Work(job) if closing.is_none() => batch.push(job),
                // What comes after the close is answered as closed, by being dropped.
                Message::Work(_) => {}
                Message::Close(closed) => {
                    requests.close();
                    closing.get_or_insert(closed);
                }
            }
        }
        run_batch(&mut tx, batch, &connect, &hints).await;
    }
    if let Err(error) = tx.conn.close().await {
        tracing::warn!(%error, "failed to close the database");
    }
    // Not only by closing it: a process that is just being started has the same open file until its exec.
    if let Err(error) = lock.unlock() {
        tracing::warn!(%error, "failed to unlock the database");
    }
    drop(lock);
    if let Some(closed) = closing {
        let _ = closed.send(());
    }
}

async fn run_batch(tx: &mut Tx, mut batch: Vec<Box<dyn Job>>, connect: &SqliteConnectOptions, hints: &Hints) {
    let outcome = match run_all(tx, &mut batch).await {
        Ok(()) => tx.commit().await,
        Err(error) => Err(error),
    };
    let committed = match outcome {
        Ok(batch) => {
            for execution in batch.changed {
                hints.send(Hint { execution: execution.id, seq: execution.seq, status: execution.status });
            }
            Ok(Arc::new(batch.seen))
        }
        Err(error) => {
            tracing::error!(%error, requests = batch.len(), "failed to commit a batch");
            tx.recover(connect).await;
            Err(error)
        }
    };
    for job in batch {
        job.answer(committed.clone());
    }
}

/// Runs every request of a batch. An error means that the batch cannot be committed.
async fn run_all(tx: &mut Tx, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    let alone = batch.len() == 1;
    for (at, job) in batch.iter_mut().enumerate() {
        tx.begin_request(at, alone);
        // A request that panics must not take the writer, and with it everybody, down.
        let worked = match AssertUnwindSafe(job.run(tx)).catch_unwind().await {
            Ok(worked) => worked,
            Err(_) => {
                job.panicked();
                false
            }
        };
        if worked {
            tx.keep_request().await?;
        } else {
            // What made SQLite give the whole batch up is everybody's reason.
            tx.undo_request().await.map_err(|error| job.cause().unwrap_or(error))?;
        }
    }
    Ok(())
}
