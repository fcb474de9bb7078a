//! The handle: opening, closing, and everything that changes an execution.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use holdpoint_model::event::Created;
use holdpoint_model::wire::{Fact, NumberedFact};
use holdpoint_model::{Command, Execution, ExecutionId, Incarnation, Refusal, Seq};
use sqlx::Row as _;
use sqlx::sqlite::SqlitePool;
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use crate::cache::Cache;
use crate::codec::{signed, to_json};
use crate::hints::Hints;
use crate::releases::refuse_removed;
use crate::writer::{Committed, Tx, WriterHandle, WriterParts, spawn};
use crate::{
    Applied, ApplyError, CreateOutcome, FactsApplied, Hint, Idempotency, OpenError, Rebuilt, StoreError,
    StoreOptions, TakeUpload, rebuild, schema, uploads as upload_rows,
};

/// The event log and its projections. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) writer: WriterHandle,
    pub(crate) readers: SqlitePool,
    pub(crate) cache: Arc<Cache>,
    pub(crate) options: StoreOptions,
    hints: Arc<Hints>,
    access: watch::Sender<u64>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the data file at `path`, creating it (mode 0600) where it does not exist, and brings
    /// its schema up to date. The store is the only writer of the file until it is closed.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it.
    pub async fn open(path: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        let content = |source| OpenError::Content { path: path.to_owned(), source };
        let mut opened = schema::open(path, &options).await?;
        let version = rebuild::version(&mut opened.conn).await.map_err(content)?;
        let cache = Arc::new(Cache::new(options.cached_executions));
        let hints = Arc::new(Hints::new());
        let writer = spawn(WriterParts {
            conn: opened.conn,
            connect: opened.connect,
            cache: Arc::clone(&cache),
            options: options.clone(),
            hints: Arc::clone(&hints),
            lock: opened.lock,
        });
        let (readers, access) = (opened.readers, watch::Sender::new(0));
        let store = Self { shared: Arc::new(Shared { writer, readers, cache, options, hints, access }) };
        if version != rebuild::PROJECTIONS {
            let rebuilt = match store.rebuild_projections().await {
                Ok(rebuilt) => rebuilt,
                Err(error) => {
                    store.close().await;
                    return Err(content(error));
                }
            };
            tracing::info!(
                executions = rebuilt.executions,
                events = rebuilt.events,
                from = version,
                to = rebuild::PROJECTIONS,
                "rebuilt the projections from the log"
            );
        }
        Ok(store)
    }

    /// Creates an execution with its first message.
    ///
    /// # Errors
    /// [`StoreError::IdempotencyConflict`] when the key came with another request before;
    /// [`StoreError::Exists`] when the id is taken.
    pub async fn create(
        &self,
        id: ExecutionId,
        created: Created,
        prompt: String,
        files: Vec<String>,
        idempotency: Option<Idempotency>,
    ) -> Result<CreateOutcome, StoreError> {
        self.create_with_uploads(id, created, prompt, files, Vec::new(), idempotency).await
    }

    /// The same, and the execution takes uploads: all of them, or nothing is created. `files` names them too.
    ///
    /// # Errors
    /// The same; [`StoreError::Missing`] when an upload is not there, not whole, another's, or taken.
    pub async fn create_with_uploads(
        &self,
        id: ExecutionId,
        created: Created,
        prompt: String,
        files: Vec<String>,
        uploads: Vec<TakeUpload>,
        idempotency: Option<Idempotency>,
    ) -> Result<CreateOutcome, StoreError> {
        let (existing, committed) = self
            .shared
            .writer
            .run(move |tx: &mut Tx| {
                Box::pin(async move {
                    if let Some(idempotency) = &idempotency
                        && let Some(existing) = started_before(tx, idempotency).await?
                    {
                        return Ok(Some(existing));
                    }
                    if let Some(release) = &created.release {
                        refuse_removed(tx, release).await?;
                    }
                    tx.create(id, created, prompt, files).await?;
                    upload_rows::take(tx, id, uploads).await?;
                    if let Some(idempotency) = idempotency {
                        remember_start(tx, &idempotency, id).await?;
                    }
                    Ok::<_, StoreError>(None)
                })
            })
            .await?;
        match existing {
            Some(existing) => Ok(CreateOutcome::Existing(existing)),
            None => Ok(CreateOutcome::New(of(&committed, id)?)),
        }
    }

    /// The execution that an earlier request with this key has started, or written to.
    ///
    /// # Errors
    /// [`StoreError::IdempotencyConflict`] when the key came with another request.
    pub async fn started(&self, idempotency: Idempotency) -> Result<Option<ExecutionId>, StoreError> {
        self.write(move |tx| Box::pin(async move { started_before(tx, &idempotency).await })).await
    }

    /// Decides `command` on the present state and commits its events.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] with the reason; nothing is changed then.
    pub async fn apply(&self, id: ExecutionId, command: Command) -> Result<Applied, ApplyError> {
        let decided = match &command {
            Command::Decide { hold, .. } => Some(*hold),
            _ => None,
        };
        let (events, committed) = self
            .shared
            .writer
            .run(move |tx: &mut Tx| {
                Box::pin(async move {
                    match (tx.command(id, command).await, decided) {
                        (Err(ApplyError::Refused(Refusal::UnknownHold)), Some(hold)) => {
                            Err(ApplyError::Refused(tx.refusal_of_settled(id, hold).await?))
                        }
                        (outcome, _) => outcome,
                    }
                })
            })
            .await?;
        Ok(Applied { events, execution: of(&committed, id)? })
    }

    /// The same, once for a key: None where an earlier request with it did so, and nothing is changed then.
    ///
    /// # Errors
    /// The same; [`StoreError::IdempotencyConflict`] when the key came with another request before.
    pub async fn apply_once(
        &self,
        id: ExecutionId,
        command: Command,
        idempotency: Idempotency,
    ) -> Result<Option<Applied>, ApplyError> {
        let (events, committed) = self
            .shared
            .writer
            .run(move |tx: &mut Tx| {
                Box::pin(async move {
                    if started_before(tx, &idempotency).await?.is_some() {
                        return Ok(None);
                    }
                    let events = tx.command(id, command).await?;
                    remember_start(tx, &idempotency, id).await?;
                    Ok::<_, ApplyError>(Some(events))
                })
            })
            .await?;
        let applied = events.map(|events| Ok(Applied { events, execution: of(&committed, id)? }));
        applied.transpose()
    }

    /// Commits a worker's facts, all or none; those that are committed already are skipped.
    ///
    /// # Errors
    /// Refused as `Gap` when a number is missing. Refused as `Fenced` (or `Stale`, when its worker is
    /// known to be gone) from a worker that does not act any more: its facts are kept in the side log then.
    pub async fn append_facts(
        &self,
        id: ExecutionId,
        incarnation: Incarnation,
        facts: Vec<NumberedFact>,
    ) -> Result<FactsApplied, ApplyError> {
        let (outcome, committed) = self
            .shared
            .writer
            .run(move |tx: &mut Tx| Box::pin(append_facts(tx, id, incarnation, facts)))
            .await?;
        let (events, up_to) = outcome.map_err(ApplyError::Refused)?;
        Ok(FactsApplied { up_to, execution: of(&committed, id)?, events })
    }

    /// A receiver of hints about what is committed from now on.
    #[must_use]
    pub fn hints(&self) -> broadcast::Receiver<Hint> {
        self.shared.hints.all()
    }

    /// Wakes when the log of this execution grew, with its last `seq` then; 0 before. Only a hint: a receiver
    /// reads by `seq`, and looks again now and then.
    #[must_use]
    pub fn hints_of(&self, id: ExecutionId) -> watch::Receiver<Seq> {
        self.shared.hints.of(id)
    }

    /// Wakes when somebody may have become allowed less than before: a user was changed, a token, session or
    /// share taken away. Only a hint: a receiver looks again.
    #[must_use]
    pub fn access_changes(&self) -> watch::Receiver<u64> {
        self.shared.access.subscribe()
    }

    /// Deletes every projection and rebuilds it from the log, in one transaction. Nothing else is
    /// written meanwhile.
    pub async fn rebuild_projections(&self) -> Result<Rebuilt, StoreError> {
        let (rebuilt, _) = self.shared.writer.run(move |tx: &mut Tx| Box::pin(rebuild::run(tx))).await?;
        Ok(rebuilt)
    }

    /// Sets a small value.
    pub async fn set_setting(&self, key: &str, value: &str) -> Result<(), StoreError> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO settings (key, value) VALUES (?1, ?2)
                     ON CONFLICT (key) DO UPDATE SET value = ?2",
                )
                .bind(key)
                .bind(value)
                .execute(tx.writing().await?)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Ends the writer after what it has taken on, and closes every connection. Every later request is
    /// answered with [`StoreError::Closed`].
    pub async fn close(&self) {
        // Readers first: the last connection to close folds the write-ahead log into the data file.
        self.shared.readers.close().await;
        self.shared.writer.close().await;
    }

    /// Runs a request that concerns no execution.
    pub(crate) async fn write<F, T>(&self, work: F) -> Result<T, StoreError>
    where
        F: for<'a> FnOnce(&'a mut Tx) -> futures::future::BoxFuture<'a, Result<T, StoreError>>
            + Send
            + 'static,
        T: Send + 'static,
    {
        Ok(self.shared.writer.run(work).await?.0)
    }

    /// The same for a request that may take away what somebody is allowed.
    pub(crate) async fn write_access<F, T>(&self, work: F) -> Result<T, StoreError>
    where
        F: for<'a> FnOnce(&'a mut Tx) -> futures::future::BoxFuture<'a, Result<T, StoreError>>
            + Send
            + 'static,
        T: Send + 'static,
    {
        let done = self.write(work).await;
        // Also after a failure: a commit may have taken effect without our knowing.
        self.shared.access.send_modify(|changes| *changes = changes.wrapping_add(1));
        done
    }
}

/// The state that a batch has left of an execution.
pub(crate) fn of(committed: &Committed, id: ExecutionId) -> Result<Arc<Execution>, StoreError> {
    committed.get(&id).cloned().ok_or(StoreError::Missing { what: "execution after its commit" })
}

async fn started_before(tx: &mut Tx, idempotency: &Idempotency) -> Result<Option<ExecutionId>, StoreError> {
    let row = sqlx::query("SELECT request, execution FROM idempotency WHERE user = ?1 AND key = ?2")
        .bind(idempotency.user.0)
        .bind(&idempotency.key)
        .fetch_optional(tx.reading())
        .await?;
    let Some(row) = row else { return Ok(None) };
    let execution = ExecutionId(row.try_get::<Uuid, _>(1)?);
    if row.try_get::<&str, _>(0)? != idempotency.request.as_str() {
        return Err(StoreError::IdempotencyConflict { key: idempotency.key.clone(), execution });
    }
    Ok(Some(execution))
}

async fn remember_start(tx: &mut Tx, idempotency: &Idempotency, id: ExecutionId) -> Result<(), StoreError> {
    let now = tx.now();
    sqlx::query(
        "INSERT INTO idempotency (user, key, request, execution, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(idempotency.user.0)
    .bind(&idempotency.key)
    .bind(idempotency.request.as_str())
    .bind(id.0)
    .bind(now)
    .execute(tx.writing().await?)
    .await?;
    Ok(())
}

type FactsOutcome = Result<(Vec<Arc<holdpoint_model::Event>>, holdpoint_model::WorkerSeq), Refusal>;

/// Ok with a refusal inside where facts went to the side log: that has to be committed.
async fn append_facts(
    tx: &mut Tx,
    id: ExecutionId,
    incarnation: Incarnation,
    facts: Vec<NumberedFact>,
) -> Result<FactsOutcome, ApplyError> {
    let execution = tx.execution(id).await?.ok_or(ApplyError::UnknownExecution)?;
    let refusal = if execution.incarnation != incarnation {
        Some(Refusal::Fenced { told: incarnation, current: execution.incarnation })
    } else if !execution.residency.has_worker() {
        Some(Refusal::Stale("its worker is known to be gone"))
    } else {
        None
    };
    let known = execution.worker_seq;
    if let Some(refusal) = refusal {
        let logged = last_logged(tx, id, incarnation).await?;
        let news = facts.iter().filter(|fact| fact.seq > logged);
        write_side_log(tx, id, incarnation, news.clone()).await?;
        for fact in news {
            if let Fact::AnswerWritten { hold } = fact.fact {
                match tx.command(id, Command::WrittenAfterAll { hold }).await {
                    Ok(_) | Err(ApplyError::Refused(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        return Ok(Err(refusal));
    }
    let news: Vec<NumberedFact> = facts.into_iter().filter(|fact| fact.seq > known).collect();
    // Looked at before anything is decided, so that a gap leaves everything as it was.
    for (expected, fact) in (known + 1..).zip(&news) {
        if fact.seq != expected {
            return Err(Refusal::Gap { expected, got: fact.seq }.into());
        }
    }
    let up_to = news.last().map_or(known, |fact| fact.seq);
    if news.is_empty() {
        return Ok(Ok((Vec::new(), up_to)));
    }
    let facts = news.into_iter().map(|fact| (fact.seq, fact.fact)).collect();
    let events = tx.facts(id, incarnation, facts).await?;
    Ok(Ok((events, up_to)))
}

/// The last fact of an incarnation that the log has: up to there nothing needs a second record.
async fn last_logged(
    tx: &mut Tx,
    id: ExecutionId,
    incarnation: Incarnation,
) -> Result<holdpoint_model::WorkerSeq, StoreError> {
    let row = sqlx::query(
        "SELECT coalesce(max(worker_seq), 0) FROM events
         WHERE execution = ?1 AND incarnation = ?2 AND worker_seq IS NOT NULL",
    )
    .bind(id.0)
    .bind(i64::from(incarnation))
    .fetch_one(tx.reading())
    .await?;
    crate::codec::unsigned("worker_seq", row.try_get(0)?)
}

async fn write_side_log(
    tx: &mut Tx,
    id: ExecutionId,
    incarnation: Incarnation,
    facts: impl Iterator<Item = &NumberedFact>,
) -> Result<(), StoreError> {
    let now = tx.now();
    for fact in facts {
        sqlx::query(
            "INSERT INTO side_log (execution, incarnation, worker_seq, at, fact) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
        )
        .bind(id.0)
        .bind(i64::from(incarnation))
        .bind(signed(fact.seq))
        .bind(now)
        .bind(to_json(fact)?)
        .execute(tx.writing().await?)
        .await?;
    }
    Ok(())
}
