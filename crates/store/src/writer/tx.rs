//! One batch of requests in one transaction: what they read, change and write.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use holdpoint_model::event::{Created, EventBody};
use holdpoint_model::execution::create;
use holdpoint_model::{
    Budgets, Command, DecideCtx, Event, Execution, ExecutionId, Incarnation, Refusal, Status, UnixMs,
    WorkerSeq,
};
use sqlx::{Connection as _, SqliteConnection};

use super::{record::Record, row::write_execution};
use crate::cache::Cache;
use crate::{ApplyError, StoreError, StoreOptions};
use crate::{load, outbox, search};

/// The state of an execution inside a batch.
enum Working {
    /// As it is committed.
    Clean(Arc<Execution>),
    /// With events of this batch folded in.
    Changed(Box<Execution>),
}

impl Working {
    fn state(&self) -> &Execution {
        match self {
            Self::Clean(execution) => execution,
            Self::Changed(execution) => execution,
        }
    }
}

/// What was committed about an execution before this batch.
struct Before {
    /// None for an execution that this batch creates.
    status: Option<Status>,
    /// The request of this batch that changed it first.
    first_changed_by: usize,
}

/// An execution that this batch deletes.
struct Deleted {
    /// As it was then, for the answers of those who came before.
    last: Arc<Execution>,
    /// The request that deletes it.
    by: usize,
}

/// What a commit leaves: every state here is on the disk.
pub(super) struct CommittedBatch {
    /// The states that the batch has seen, changed or not.
    pub(super) seen: HashMap<ExecutionId, Arc<Execution>>,
    /// Those that it changed.
    pub(super) changed: Vec<Arc<Execution>>,
}

/// The one write connection with the batch under way.
pub(crate) struct Tx {
    pub(super) conn: SqliteConnection,
    cache: Arc<Cache>,
    options: StoreOptions,
    working: HashMap<ExecutionId, Working>,
    changed: HashMap<ExecutionId, Before>,
    /// What requests have looked at. Each finds it in the answer, also where a later request of the
    /// batch has taken it out of `working` and was undone.
    looked_at: HashSet<ExecutionId>,
    /// Of which executions there is something else to find, by request, with what people wrote.
    found: Vec<(usize, ExecutionId, Vec<String>)>,
    /// What requests of this batch have deleted: nobody finds it any more.
    deleted: HashMap<ExecutionId, Deleted>,
    /// Whether a transaction is open.
    begun: bool,
    /// Whether the request under way has its savepoint.
    saved: bool,
    /// Which request of the batch is under way.
    request: usize,
    /// Whether it has changed anything, in memory or in the database.
    touched: bool,
    /// A batch of one needs no savepoint: rolling back the request is rolling back the batch.
    alone: bool,
}

impl Tx {
    pub(super) fn new(conn: SqliteConnection, cache: Arc<Cache>, options: StoreOptions) -> Self {
        Self {
            conn,
            cache,
            options,
            working: HashMap::new(),
            changed: HashMap::new(),
            looked_at: HashSet::new(),
            found: Vec::new(),
            deleted: HashMap::new(),
            begun: false,
            saved: false,
            request: 0,
            touched: false,
            alone: false,
        }
    }

    pub(crate) fn now(&self) -> UnixMs {
        self.options.clock.now()
    }

    pub(crate) fn budgets(&self) -> Arc<Budgets> {
        Arc::clone(&self.options.budgets)
    }

    pub(crate) fn fresh_id(&self) -> uuid::Uuid {
        self.options.ids.fresh()
    }

    /// The connection, for reading: sees what earlier requests of the batch wrote.
    pub(crate) fn reading(&mut self) -> &mut SqliteConnection {
        &mut self.conn
    }

    /// The connection, for writing: whatever follows is undone if the request fails.
    pub(crate) async fn writing(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        self.touched = true;
        if !self.begun {
            sqlx::query("BEGIN IMMEDIATE").execute(&mut self.conn).await?;
            self.begun = true;
        }
        if !self.saved && !self.alone {
            sqlx::query("SAVEPOINT request").execute(&mut self.conn).await?;
            self.saved = true;
        }
        Ok(&mut self.conn)
    }

    /// The state of an execution as this request sees it.
    pub(crate) async fn execution(&mut self, id: ExecutionId) -> Result<Option<&Execution>, StoreError> {
        if self.deleted.contains_key(&id) {
            return Ok(None);
        }
        if !self.working.contains_key(&id) {
            let loaded = match self.cache.get(id).filter(|_| !self.changed.contains_key(&id)) {
                Some(committed) => Working::Clean(committed),
                None => match load::execution(&mut self.conn, id).await? {
                    Some(execution) if self.changed.contains_key(&id) => {
                        Working::Changed(Box::new(execution))
                    }
                    Some(execution) => Working::Clean(Arc::new(execution)),
                    None => return Ok(None),
                },
            };
            self.working.insert(id, loaded);
            self.looked_at.insert(id);
        }
        Ok(self.working.get(&id).map(Working::state))
    }

    /// Creates an execution.
    pub(crate) async fn create(
        &mut self,
        id: ExecutionId,
        created: Created,
        prompt: String,
        files: Vec<String>,
    ) -> Result<(), StoreError> {
        if self.execution(id).await?.is_some() || self.deleted.contains_key(&id) {
            return Err(StoreError::Exists { what: "execution" });
        }
        let now = self.now();
        let ids = Arc::clone(&self.options.ids);
        let mut bodies =
            create(created, prompt, files, &mut DecideCtx { now, fresh_id: &mut || ids.fresh() }).into_iter();
        let first = bodies
            .next()
            .ok_or_else(|| StoreError::Corrupt("an execution was created without an event".into()))?;
        let first =
            Event { execution: id, seq: 1, at: now, incarnation: None, worker_seq: None, body: first };
        let (mut execution, mut record) = Record::first(&first)?;
        record.events.push(Arc::new(first));
        record.append(&mut execution, bodies.collect(), None, now);
        self.write(Box::new(execution), None, record).await?;
        Ok(())
    }

    /// Decides a command and writes its events.
    pub(crate) async fn command(
        &mut self,
        id: ExecutionId,
        command: Command,
    ) -> Result<Vec<Arc<Event>>, ApplyError> {
        let told_by = match &command {
            Command::Fact { incarnation, worker_seq, .. } => Some((*incarnation, *worker_seq)),
            _ => None,
        };
        let mut record = Record::default();
        let now = self.now();
        let ids = Arc::clone(&self.options.ids);
        let execution = self.execution(id).await?.ok_or(ApplyError::UnknownExecution)?;
        let bodies = execution.decide(command, &mut DecideCtx { now, fresh_id: &mut || ids.fresh() })?;
        if bodies.is_empty() {
            return Ok(Vec::new());
        }
        let (mut execution, before) = self.take(id)?;
        record.append(&mut execution, bodies, told_by, now);
        Ok(self.write(execution, before, record).await?)
    }

    /// Decides facts one after the other and writes the events of all at once.
    pub(crate) async fn facts(
        &mut self,
        id: ExecutionId,
        incarnation: Incarnation,
        facts: Vec<(WorkerSeq, holdpoint_model::wire::Fact)>,
    ) -> Result<Vec<Arc<Event>>, ApplyError> {
        self.execution(id).await?.ok_or(ApplyError::UnknownExecution)?;
        let now = self.now();
        let ids = Arc::clone(&self.options.ids);
        // Taken out: if a later fact is refused, what the earlier ones changed goes with it.
        let (mut execution, before) = self.take(id)?;
        let mut record = Record::default();
        for (worker_seq, fact) in facts {
            let bodies = execution.decide(
                Command::Fact { incarnation, worker_seq, fact },
                &mut DecideCtx { now, fresh_id: &mut || ids.fresh() },
            )?;
            record.append(&mut execution, bodies, Some((incarnation, worker_seq)), now);
        }
        Ok(self.write(execution, before, record).await?)
    }

    /// What a settled hold answers to a late decision. The aggregate does not know settled holds any
    /// more; the projection does.
    pub(crate) async fn refusal_of_settled(
        &mut self,
        id: ExecutionId,
        hold: holdpoint_model::HoldId,
    ) -> Result<Refusal, StoreError> {
        let row = crate::holds::by_id(&mut self.conn, hold).await?;
        Ok(match row.filter(|row| row.execution == id) {
            None => Refusal::UnknownHold,
            Some(row) => match (&row.hold.state, row.decision) {
                (holdpoint_model::HoldState::Expired { .. }, _) => Refusal::Expired,
                (holdpoint_model::HoldState::Released { .. }, Some(decision)) => Refusal::AlreadyAnswered {
                    by: Box::new(decision.by),
                    at: decision.at,
                    answer: Box::new(decision.answer),
                },
                (state, _) => Refusal::NotOpen(state.as_str()),
            },
        })
    }

    /// Takes a loaded execution out of the batch to change it. Should the request fail, it stays
    /// out, and the next one that needs it reads it again.
    fn take(&mut self, id: ExecutionId) -> Result<(Box<Execution>, Option<Status>), StoreError> {
        self.touched = true;
        match self.working.remove(&id) {
            Some(Working::Clean(committed)) => {
                let status = committed.status;
                Ok((Box::new(Arc::unwrap_or_clone(committed)), Some(status)))
            }
            Some(Working::Changed(execution)) => Ok((execution, None)),
            None => Err(StoreError::Missing { what: "execution in the batch" }),
        }
    }

    async fn write(
        &mut self,
        execution: Box<Execution>,
        before: Option<Status>,
        mut record: Record,
    ) -> Result<Vec<Arc<Event>>, StoreError> {
        let ids = Arc::clone(&self.options.ids);
        let conn = self.writing().await?;
        record.write_events(conn).await?;
        record.write_projections(conn, &execution).await?;
        outbox::note_opened(conn, &execution, &record.events, ids.as_ref()).await?;
        let first_changed_by = self.request;
        self.found.extend(record.take_found().map(|said| (first_changed_by, execution.id, said)));
        let entry = self.changed.entry(execution.id).or_insert(Before { status: before, first_changed_by });
        if record.events.iter().any(|event| matches!(event.body, EventBody::ReleaseChanged { .. })) {
            // Another indexed column has changed: all of them are written.
            entry.status = None;
        }
        self.working.insert(execution.id, Working::Changed(execution));
        Ok(record.events)
    }

    /// The rows of a loaded execution are gone, which becomes true with the commit.
    pub(crate) fn forget_deleted(&mut self, id: ExecutionId) -> Result<(), StoreError> {
        let last = match self.working.remove(&id) {
            Some(Working::Clean(committed)) => committed,
            Some(Working::Changed(execution)) => Arc::from(execution),
            None => return Err(StoreError::Missing { what: "execution in the batch" }),
        };
        self.deleted.insert(id, Deleted { last, by: self.request });
        Ok(())
    }

    /// A request begins.
    pub(super) fn begin_request(&mut self, request: usize, alone: bool) {
        self.request = request;
        self.alone = alone;
        self.saved = false;
        self.touched = false;
    }

    /// A request has done its work.
    pub(super) async fn keep_request(&mut self) -> Result<(), StoreError> {
        if self.saved {
            sqlx::query("RELEASE request").execute(&mut self.conn).await?;
            self.saved = false;
        }
        Ok(())
    }

    /// A request failed: undoes what it wrote. An error means that the whole batch is undone.
    pub(super) async fn undo_request(&mut self) -> Result<(), StoreError> {
        if !self.touched {
            return Ok(());
        }
        let request = self.request;
        self.changed.retain(|_, before| before.first_changed_by != request);
        self.found.retain(|(by, ..)| *by != request);
        self.deleted.retain(|_, deleted| deleted.by != request);
        // What it changed in memory may be wrong now; what is needed again is read again.
        self.working.clear();
        if self.saved {
            self.saved = false;
            // Fails when SQLite has rolled the whole transaction back by itself, as on a full disk.
            sqlx::query("ROLLBACK TO request").execute(&mut self.conn).await?;
            sqlx::query("RELEASE request").execute(&mut self.conn).await?;
        } else if self.alone && self.begun {
            self.begun = false;
            sqlx::query("ROLLBACK").execute(&mut self.conn).await?;
        }
        Ok(())
    }

    /// Writes the rows of every changed execution and commits.
    pub(super) async fn commit(&mut self) -> Result<CommittedBatch, StoreError> {
        let changed = self.changed.keys().filter(|id| !self.deleted.contains_key(id));
        let changed: Vec<ExecutionId> = changed.copied().collect();
        self.write_found().await?;
        for &id in &changed {
            // Read again, if a later request that failed had changed it too.
            self.execution(id).await?;
            let (Some(execution), Some(before)) = (self.working.get(&id), self.changed.get(&id)) else {
                return Err(StoreError::Corrupt(format!("the log of {id} is gone")));
            };
            write_execution(&mut self.conn, execution.state(), before.status).await?;
        }
        for id in std::mem::take(&mut self.looked_at) {
            self.execution(id).await?;
        }
        if self.begun {
            // From here on an error leaves open whether the batch is on the disk.
            sqlx::query("COMMIT")
                .execute(&mut self.conn)
                .await
                .map_err(|error| StoreError::Unsettled(Arc::new(error)))?;
            self.begun = false;
        }
        self.changed.clear();
        self.looked_at.clear();
        let mut seen: HashMap<ExecutionId, Arc<Execution>> = self
            .working
            .drain()
            .map(|(id, working)| match working {
                Working::Clean(execution) => (id, execution),
                Working::Changed(execution) => (id, Arc::from(execution)),
            })
            .inspect(|(_, execution)| self.cache.publish(Arc::clone(execution)))
            .collect();
        for (id, deleted) in self.deleted.drain() {
            self.cache.forget(id);
            seen.insert(id, deleted.last);
        }
        let changed = changed.iter().filter_map(|id| seen.get(id).cloned()).collect();
        Ok(CommittedBatch { seen, changed })
    }

    /// Brings the search index up to date, once for all that the batch has changed.
    async fn write_found(&mut self) -> Result<(), StoreError> {
        let mut said = BTreeMap::<ExecutionId, Vec<String>>::new();
        for (_, id, texts) in std::mem::take(&mut self.found) {
            said.entry(id).or_default().extend(texts);
        }
        let mut changes = Vec::with_capacity(said.len());
        for (id, said) in said {
            // None for what the batch has deleted since.
            if self.execution(id).await?.is_none() {
                continue;
            }
            if let Some(execution) = self.working.get(&id).map(Working::state) {
                changes.extend(search::write(&mut self.conn, execution, &said).await?);
            }
        }
        search::index(&mut self.conn, changes).await
    }

    /// Gives the batch up and makes the connection fit for the next one.
    pub(super) async fn recover(&mut self, reopen: &sqlx::sqlite::SqliteConnectOptions) {
        for id in self.changed.keys().chain(self.deleted.keys()) {
            self.cache.forget(*id);
        }
        self.changed.clear();
        self.deleted.clear();
        self.found.clear();
        self.looked_at.clear();
        self.working.clear();
        self.saved = false;
        if self.begun {
            self.begun = false;
            // Refused when SQLite has rolled back by itself, which is as good.
            if let Err(error) = sqlx::query("ROLLBACK").execute(&mut self.conn).await {
                tracing::debug!(%error, "no transaction was left to roll back");
            }
        }
        // A connection that cannot begin and end an empty transaction is replaced.
        let sound = async {
            sqlx::query("BEGIN IMMEDIATE").execute(&mut self.conn).await?;
            sqlx::query("ROLLBACK").execute(&mut self.conn).await
        };
        if let Err(error) = sound.await {
            tracing::warn!(%error, "the write connection is unusable; opening another");
            self.cache.clear();
            match SqliteConnection::connect_with(reopen).await {
                Ok(fresh) => {
                    let broken = std::mem::replace(&mut self.conn, fresh);
                    drop(broken);
                }
                Err(error) => tracing::error!(%error, "failed to open the database again"),
            }
        }
    }
}
