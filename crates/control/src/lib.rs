//! The control plane without its surfaces: commands that people give, connections that workers
//! open, and one reconciler that makes what the log says happen.
//!
//! What may happen is decided in `holdpoint_model`; what has happened is in `holdpoint_store`.
//! Here is only the doing, and all of it may be done again after a crash at any line.

mod attach;
mod checkpoint;
mod clock;
mod commands;
mod fork;
mod inside;
mod launch;
mod layout;
mod links;
mod notify;
mod places;
mod ready;
mod reconcile;
mod recover;
mod releases;
mod retention;
mod space;
mod tokens;
mod uploads;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use holdpoint_checkpoint::Checkpoints;
use holdpoint_engine::Engine;
use holdpoint_model::{AgentDef, Execution, ExecutionId, Keep, UnixMs, event::Problem, wire::Delta};
use holdpoint_store::Store;
use tokio::sync::broadcast;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use attach::Attachment;
pub use commands::{
    CommandError, Content, DecideError, NewExecution, NewFile, NewMessage, StartError, Started,
};
pub use fork::{ForkError, NewFork};
pub use holdpoint_engine::{ContainerView, Instance, MountView, Piece, Usage};
pub use inside::{ExecBounds, Executing, InsideError, LogOf, NewExec, Seen};
pub use layout::Layout;
pub use links::{LinkRefused, WorkerLink};
pub use notify::Outlets;
pub use reconcile::Shutdown;
pub use releases::{DeployError, VERIFICATION_AGENT, VERIFICATION_SCRIPT, Verification};
pub use retention::{DeleteError, DeletedNow, Due, DuePage, RetentionError};
pub use space::{Room, room};
pub use tokens::{Purpose, Tokens};
pub use uploads::{MAX_UPLOAD_BYTES, UPLOAD_KEPT_MS, UPLOAD_QUOTA, UploadError, check_upload_name};

use crate::{
    checkpoint::Taking, clock::Clock, links::Links, places::Places, reconcile::Work, releases::Releases,
};

/// How many deltas a slow viewer may lag behind before it loses some; they are for the eye only.
const DELTAS_KEPT: usize = 512;

/// What the control plane is made of. The binary puts it together.
pub struct ControlOptions {
    /// The log.
    pub store: Store,
    /// Where workers run.
    pub engine: Arc<dyn Engine>,
    /// Agents by name, as they are configured: what runs before the first deployment.
    pub agents: BTreeMap<String, AgentDef>,
    /// Reads them again, as they are configured now; says what is wrong where they cannot be.
    pub read_agents: ReadAgents,
    /// How long conversations are kept whose agent says nothing; None for ever.
    pub keep: Option<Keep>,
    /// The folders of the data folder.
    pub layout: Layout,
    /// Where checkpoints are.
    pub checkpoints: Checkpoints,
    /// Signs the tokens of workers and sessions.
    pub tokens: Tokens,
    /// How many sessions may run at once.
    pub max_sessions: usize,
    /// Where workers connect, `ws://…`.
    pub worker_url: String,
    /// Where sessions call the model, `http://…`.
    pub gateway_url: String,
    /// The Claude CLI's program file.
    pub cli: PathBuf,
    /// Environment handed to every session (`PATH`, `LANG`, …).
    pub environment: BTreeMap<String, String>,
    /// Whether a script answers every conversation instead of a model.
    pub rehearsal: bool,
    /// Wall-clock milliseconds.
    pub now: fn() -> UnixMs,
}

/// Reads agents by name.
pub type ReadAgents = Arc<dyn Fn() -> Result<BTreeMap<String, AgentDef>, String> + Send + Sync>;

/// The control plane. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) options: ControlOptions,
    pub(crate) links: Links,
    pub(crate) places: Places,
    pub(crate) work: Work,
    pub(crate) clock: Clock,
    pub(crate) releases: Releases,
    pub(crate) taking: Taking,
    pub(crate) waiting_for_room: space::Waiting,
    /// Commands that people run beside sessions.
    pub(crate) executing: Arc<tokio::sync::Semaphore>,
    /// Held by whoever deletes by rule.
    pub(crate) deleting: tokio::sync::Mutex<()>,
    /// Something was deleted: its words are to go from the search index.
    pub(crate) purging: tokio::sync::Notify,
    deltas: Mutex<HashMap<ExecutionId, broadcast::Sender<Delta>>>,
    pub(crate) uploads: uploads::Writing,
    pub(crate) started_at: UnixMs,
    pub(crate) stopping: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("max_sessions", &self.inner.options.max_sessions)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ControlOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlOptions").field("max_sessions", &self.max_sessions).finish_non_exhaustive()
    }
}

impl Control {
    /// Puts the control plane together. Nothing happens before [`Control::run`].
    #[must_use]
    pub fn new(options: ControlOptions) -> Self {
        let places = Places::new(options.max_sessions);
        let started_at = (options.now)();
        let releases = Releases::new(options.agents.clone());
        Self {
            inner: Arc::new(Inner {
                options,
                links: Links::default(),
                places,
                work: Work::default(),
                clock: Clock::default(),
                releases,
                taking: Taking::default(),
                waiting_for_room: space::Waiting::default(),
                executing: Arc::new(tokio::sync::Semaphore::new(inside::AT_ONCE)),
                deleting: tokio::sync::Mutex::default(),
                purging: tokio::sync::Notify::new(),
                deltas: Mutex::default(),
                uploads: uploads::Writing::default(),
                started_at,
                stopping: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// The log and its projections, for reading.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.options.store
    }

    /// Agents by name, as new conversations get them.
    #[must_use]
    pub fn agents(&self) -> Arc<BTreeMap<String, AgentDef>> {
        self.inner.releases.deployed().agents
    }

    /// Whether a script answers every conversation instead of a model.
    #[must_use]
    pub fn rehearsal(&self) -> bool {
        self.inner.options.rehearsal
    }

    /// Whether something is between sessions and this machine.
    #[must_use]
    pub fn isolates(&self) -> bool {
        self.inner.options.engine.bridge().is_some()
    }

    /// Signs and checks the tokens of workers and sessions.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.inner.options.tokens
    }

    /// Why an execution that should run has no session yet: it waits for a free place, or for somebody to see
    /// to what keeps its session from being started.
    #[must_use]
    pub fn queued(&self, execution: &Execution) -> Option<String> {
        let problem = execution.start_problem.as_ref().filter(|_| !execution.status.is_final());
        problem.map(waits_for_mending).or_else(|| self.inner.places.reason(execution.id))
    }

    /// Sessions that run now, and how many may.
    #[must_use]
    pub fn places(&self) -> (usize, usize) {
        (self.inner.places.taken(), self.inner.options.max_sessions)
    }

    /// Conversations that wait for one of those places.
    #[must_use]
    pub fn waiting_for_places(&self) -> usize {
        self.inner.places.waiting()
    }

    /// What workers run in: `process`, `container`.
    #[must_use]
    pub fn engine(&self) -> &'static str {
        self.inner.options.engine.name()
    }

    /// Since when this process is the control plane.
    #[must_use]
    pub fn started_at(&self) -> UnixMs {
        self.inner.started_at
    }

    /// How much room there is on the disk that the data folder is on.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn room(&self) -> std::io::Result<Room> {
        let root = self.inner.options.layout.root().to_owned();
        commands::blocking(move || space::room(&root)).await
    }

    /// The workspace folder of an execution.
    #[must_use]
    pub fn workspace(&self, id: ExecutionId) -> PathBuf {
        self.inner.options.layout.workspace(id)
    }

    /// The folder of everything that is one execution's.
    #[must_use]
    pub fn folder(&self, id: ExecutionId) -> PathBuf {
        self.inner.options.layout.execution(id)
    }

    /// Where files are kept that arrive in pieces, over an API that knows them so.
    #[must_use]
    pub fn uploads_folder(&self) -> PathBuf {
        self.inner.options.layout.root().join("uploads-compat")
    }

    /// The log of an execution's newest worker.
    #[must_use]
    pub fn worker_log(&self, id: ExecutionId, incarnation: u32) -> PathBuf {
        self.inner.options.layout.run(id, incarnation).join("worker.log")
    }

    /// What the model is writing right now. For the eye only: nothing of it is a fact.
    #[must_use]
    pub fn deltas(&self, id: ExecutionId) -> broadcast::Receiver<Delta> {
        let mut deltas = lock(&self.inner.deltas);
        // What nobody looks at any more goes now, or every conversation ever looked at would stay.
        deltas.retain(|_, sender| sender.receiver_count() > 0);
        deltas.entry(id).or_insert_with(|| broadcast::channel(DELTAS_KEPT).0).subscribe()
    }
}

impl Inner {
    pub(crate) fn now(&self) -> UnixMs {
        (self.options.now)()
    }

    pub(crate) fn send_delta(&self, id: ExecutionId, delta: Delta) {
        let mut deltas = lock(&self.deltas);
        // Nobody listens any more: forget the channel, so that memory does not grow with the past.
        if let Some(sender) = deltas.get(&id)
            && sender.send(delta).is_err()
        {
            deltas.remove(&id);
        }
    }
}

fn waits_for_mending(problem: &Problem) -> String {
    format!("waiting, and trying again: {}; try: {}", problem.title, problem.hint)
}

/// A lock whose holder panicked is still good: every critical section here leaves valid data.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
