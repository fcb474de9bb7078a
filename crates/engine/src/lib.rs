//! Where workers run. An engine starts a worker, can say whether it still lives, and can end it
//! with everything it started. It knows nothing of what a worker does.

pub mod container;
mod exec;
mod instance;
mod proc_scan;
pub mod process;

use std::{future::Future, io, path::PathBuf, pin::Pin};

use holdpoint_model::{ContainerDef, ExecutionId, Incarnation};
use thiserror::Error;

pub use container::{ContainerEngine, ContainerOptions};
pub use exec::{Exec, Piece, Running};
pub use instance::{ContainerView, Instance, MountView, Usage};
pub use process::ProcessEngine;

/// The environment variable that marks a worker process with its [`WorkerId`].
pub const WORKER_MARK: &str = "HOLDPOINT_WORKER";

/// The environment variable that marks a session and all that it starts with the [`WorkerId`].
pub const SESSION_MARK: &str = "HOLDPOINT_SESSION";

/// One worker: the n-th of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkerId {
    /// Whose.
    pub execution: ExecutionId,
    /// Which.
    pub incarnation: Incarnation,
}

impl std::fmt::Display for WorkerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.execution, self.incarnation)
    }
}

impl std::str::FromStr for WorkerId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || format!("{text:?} is not EXECUTION/INCARNATION");
        let (execution, incarnation) = text.split_once('/').ok_or_else(bad)?;
        Ok(Self {
            execution: execution.parse().map_err(|_| bad())?,
            incarnation: incarnation.parse().map_err(|_| bad())?,
        })
    }
}

/// What an engine needs to start a worker.
#[derive(Clone, Debug)]
pub struct StartWorker {
    /// Which.
    pub id: WorkerId,
    /// Its specification file, written already.
    pub spec: PathBuf,
    /// Its own folder: its log goes there.
    pub run_dir: PathBuf,
    /// The session's working directory.
    pub workspace: PathBuf,
    /// The session's HOME.
    pub home: PathBuf,
    /// More folders that the session reads.
    pub read_only: Vec<PathBuf>,
    /// What the session gets, where it runs in a container.
    pub container: ContainerDef,
}

/// Why an engine could not do what it was asked.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The worker could not be started.
    #[error("failed to start a worker with {program}: {source}")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder could not be made.
    #[error("failed to make {path}: {source}")]
    Prepare {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The session's container could not be started, or ended.
    #[error("{why}; try: {next} ({said})")]
    Container {
        /// The cause.
        why: String,
        /// What to type.
        next: String,
        /// What the container engine said.
        said: String,
    },
    /// Processes of a worker outlived several attempts to end them.
    #[error("failed to end worker {id}: processes {pids:?} are still there")]
    StillThere {
        /// Which worker.
        id: WorkerId,
        /// The processes.
        pids: Vec<i32>,
    },
    /// A worker that was to be looked into does not run.
    #[error("worker {0} does not run any more")]
    Gone(WorkerId),
    /// The list of processes could not be read.
    #[error("failed to look at the running processes: {0}")]
    Look(io::Error),
}

/// What a worker needs to reach a session in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeSide {
    /// The program: `program bridge …`.
    pub program: PathBuf,
    /// The folder with the gateway's socket.
    pub gateway_dir: PathBuf,
}

/// A boxed future, so that engines can be used as trait objects.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Somewhere workers run.
pub trait Engine: Send + Sync + std::fmt::Debug {
    /// `process`, `podman`, `docker`.
    fn name(&self) -> &'static str;

    /// Starts a worker that outlives this process.
    fn start(&self, start: StartWorker) -> Boxed<'_, Result<(), EngineError>>;

    /// The workers among `ids` that live. Costs one look for all of them.
    fn alive<'a>(&'a self, ids: &'a [WorkerId]) -> Boxed<'a, Result<Vec<WorkerId>, EngineError>>;

    /// Ends a worker and everything it started, its session's tools included. When it returns
    /// `Ok`, nothing of it runs; a worker that is gone already is no error. Says what is known of how it
    /// had ended before, in words.
    fn end(&self, id: WorkerId) -> Boxed<'_, Result<Option<String>, EngineError>>;

    /// Workers that this engine saw exit, as they do. Only a hint: those it adopted are not told.
    fn exits(&self) -> tokio::sync::broadcast::Receiver<WorkerId>;

    /// How workers reach their sessions in containers; None where sessions run beside their workers, with
    /// nothing between them and this machine.
    fn bridge(&self) -> Option<BridgeSide>;

    /// What can be seen of those among `ids` that run.
    fn look<'a>(&'a self, ids: &'a [WorkerId]) -> Boxed<'a, Result<Vec<Instance>, EngineError>>;

    /// Runs a command where a session is, as what the session is, in its workspace. It gets no more than it
    /// is given: none of the session's tokens.
    fn exec(&self, exec: Exec) -> Boxed<'_, Result<Running, EngineError>>;

    /// The last lines of what a session's container has said itself; None where there is none.
    fn container_log(&self, id: WorkerId, lines: usize) -> Boxed<'_, Result<Option<Vec<u8>>, EngineError>>;
}
