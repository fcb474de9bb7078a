//! Looking inside: which workers run and how they are doing, a command beside a session, and what worker,
//! CLI and container have written.

use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use holdpoint_beneath::{Folder, is_the_trees_doing};
use holdpoint_engine::{EngineError, Exec, Instance, Piece, Running, WorkerId};
use holdpoint_model::{Actor, Command, Execution, ExecutionId, Incarnation, Residency, UnixMs};
use holdpoint_store::StoreError;
use thiserror::Error;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use uuid::Uuid;

use crate::{CommandError, Control, Layout, commands::blocking};

/// Commands beside sessions at once, of everybody: each may keep a processor busy.
pub(crate) const AT_ONCE: usize = 8;

/// The longest command, in bytes: it stays in the log for ever.
const MAX_COMMAND_BYTES: usize = 16 * 1024;

/// The longest part of a log that is read, in bytes; from its end.
const MAX_LOG_BYTES: u64 = 2 * 1024 * 1024;

/// Names looked at in the CLI's folder for its logs; there is one for each time it was started.
const MAX_DEBUG_FILES: usize = 2_000;

/// A worker that runs, whose it is, and what its engine says of it, unless that knows nothing (any more).
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whose.
    pub execution: Arc<Execution>,
    /// What is seen.
    pub instance: Option<Instance>,
}

/// A command that a person wants to run.
#[derive(Clone, Debug)]
pub struct NewExec {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// What it reads; nothing where absent.
    pub stdin: Option<Vec<u8>>,
    /// Who.
    pub by: Actor,
    /// How much it may take.
    pub bounds: ExecBounds,
}

/// How much a command may take.
#[derive(Clone, Copy, Debug)]
pub struct ExecBounds {
    /// Of its output, in bytes.
    pub output_bytes: usize,
    /// How long it runs.
    pub time: Duration,
}

/// What of a session has a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogOf {
    /// Its worker.
    Worker,
    /// The Claude CLI.
    Cli,
    /// The first process of its container.
    Container,
}

/// Why nothing can be seen.
#[derive(Debug, Error)]
pub enum InsideError {
    /// No such execution.
    #[error("there is no such execution")]
    Unknown,
    /// There is no worker now; says where it stands instead.
    #[error("{}", no_worker(*.0))]
    NoWorker(Residency),
    /// There should be a worker, and it does not run any more.
    #[error("its worker or container has just gone; another one takes its place where it is needed")]
    Gone,
    /// The session is beside its worker, in no container.
    #[error("this session runs in no container")]
    NoContainer,
    /// Nothing was written.
    #[error("{0}")]
    NoLog(String),
    /// It does not fit.
    #[error("{0}")]
    Invalid(String),
    /// Too many commands run.
    #[error("{AT_ONCE} commands run beside sessions already")]
    Busy,
    /// The engine failed.
    #[error(transparent)]
    Engine(EngineError),
    /// A file could not be read.
    #[error("failed to read a log: {0}")]
    Read(io::Error),
    /// The log could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn no_worker(residency: Residency) -> &'static str {
    match residency {
        Residency::Parked => "no worker: it waits for people, and waits without one",
        Residency::Lost => "no worker: the last one was lost, and the next has not been started",
        Residency::Starting => "no worker yet: it is being started",
        _ => "no worker: nothing runs for this conversation",
    }
}

impl From<EngineError> for InsideError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Gone(_) => Self::Gone,
            error => Self::Engine(error),
        }
    }
}

/// A command that runs, within its bounds. Dropped, it ends.
#[derive(Debug)]
pub struct Executing {
    running: Running,
    left_bytes: usize,
    ends: Instant,
    bounds: ExecBounds,
    stopping: tokio_util::sync::CancellationToken,
    over: bool,
    _place: OwnedSemaphorePermit,
}

impl Executing {
    /// The next piece of output; the last one is [`Piece::Exit`] or [`Piece::Stopped`].
    pub async fn next(&mut self) -> Option<Piece> {
        if self.over {
            return None;
        }
        let piece = tokio::select! {
            piece = self.running.next() => piece,
            () = tokio::time::sleep_until(self.ends) => {
                let time = self.bounds.time.as_secs();
                Some(Piece::Stopped(format!("stopped: it has run for {time} s, which is all it gets")))
            }
            () = self.stopping.cancelled() => Some(Piece::Stopped("stopped: Holdpoint is going down".into())),
        };
        let piece = match piece? {
            Piece::Out(bytes) | Piece::Err(bytes) if bytes.len() > self.left_bytes => {
                let most = self.bounds.output_bytes / 1024;
                Piece::Stopped(format!("stopped: it has written {most} KiB, which is all that is shown"))
            }
            piece => piece,
        };
        match &piece {
            Piece::Out(bytes) | Piece::Err(bytes) => self.left_bytes -= bytes.len(),
            Piece::Exit(_) | Piece::Stopped(_) => self.over = true,
        }
        Some(piece)
    }
}

impl Control {
    /// The workers that run, oldest first.
    ///
    /// # Errors
    /// [`InsideError`].
    pub async fn workers(&self) -> Result<Vec<Seen>, InsideError> {
        let mut running = Vec::new();
        for (id, _) in self.inner.places.holders() {
            let execution = self.store().execution(id).await?;
            running.extend(execution.filter(|execution| execution.residency.has_worker()));
        }
        running.sort_by_key(|execution| (execution.created_at, execution.id));
        let ids: Vec<WorkerId> = running.iter().map(|execution| worker_of(execution)).collect();
        let mut found = self.inner.options.engine.look(&ids).await?;
        let seen = running.into_iter().map(|execution| {
            let at = found.iter().position(|instance| instance.id == worker_of(&execution));
            Seen { instance: at.map(|at| found.swap_remove(at)), execution }
        });
        Ok(seen.collect())
    }

    /// What is seen of an execution's worker.
    ///
    /// # Errors
    /// [`InsideError`].
    pub async fn look_inside(&self, id: ExecutionId) -> Result<Instance, InsideError> {
        self.look(&*self.with_worker(id).await?).await
    }

    async fn look(&self, execution: &Execution) -> Result<Instance, InsideError> {
        let found = self.inner.options.engine.look(&[worker_of(execution)]).await?.pop();
        found.ok_or(match execution.residency {
            Residency::Starting => InsideError::NoWorker(Residency::Starting),
            _ => InsideError::Gone,
        })
    }

    async fn with_worker(&self, id: ExecutionId) -> Result<Arc<Execution>, InsideError> {
        let execution = self.store().execution(id).await?.ok_or(InsideError::Unknown)?;
        if execution.residency.has_worker() {
            Ok(execution)
        } else {
            Err(InsideError::NoWorker(execution.residency))
        }
    }

    /// Runs a command beside an execution's session. That it does is in the log before it runs.
    ///
    /// # Errors
    /// [`InsideError`]; nothing ran then.
    pub async fn exec(&self, id: ExecutionId, what: NewExec) -> Result<Executing, InsideError> {
        check(&what.command)?;
        let execution = self.with_worker(id).await?;
        let place = self.inner.executing.clone().try_acquire_owned().map_err(|_| InsideError::Busy)?;
        let worker = worker_of(&execution);
        let options = &self.inner.options;
        self.look(&execution).await?;
        let audited = Command::RunCommand {
            by: what.by,
            incarnation: worker.incarnation,
            command: what.command.clone(),
        };
        self.store().apply(id, audited).await.map_err(|error| match CommandError::from(error) {
            CommandError::Unknown => InsideError::Unknown,
            CommandError::Store(error) => InsideError::Store(error),
            _ => InsideError::Gone,
        })?;
        let running = options.engine.exec(Exec {
            id: worker,
            command: what.command,
            workspace: options.layout.workspace(id),
            environment: self.environment_beside(id),
            stdin: what.stdin,
            mark: Uuid::new_v4().to_string(),
        });
        Ok(Executing {
            running: running.await?,
            left_bytes: what.bounds.output_bytes,
            ends: Instant::now() + what.bounds.time,
            bounds: what.bounds,
            stopping: self.inner.stopping.clone(),
            over: false,
            _place: place,
        })
    }

    /// The session's environment without what opens anything: it has a token for the gateway, this has none.
    fn environment_beside(&self, id: ExecutionId) -> std::collections::BTreeMap<String, String> {
        let options = &self.inner.options;
        let home = options.layout.home(id);
        let mut environment = options.environment.clone();
        let config = Layout::claude_config(&home);
        for (name, path) in [("HOME", &home), ("CLAUDE_CONFIG_DIR", &config)] {
            environment.insert(name.into(), path.display().to_string());
        }
        environment
    }

    /// The last lines of a log: of the worker with this number, or of the newest.
    ///
    /// # Errors
    /// [`InsideError`].
    pub async fn log_of(
        &self,
        id: ExecutionId,
        which: LogOf,
        incarnation: Option<Incarnation>,
        lines: usize,
    ) -> Result<String, InsideError> {
        let execution = self.store().execution(id).await?.ok_or(InsideError::Unknown)?;
        let worker =
            WorkerId { incarnation: incarnation.unwrap_or(execution.incarnation), ..worker_of(&execution) };
        let engine = &self.inner.options.engine;
        let bytes = match which {
            LogOf::Container if engine.bridge().is_none() => return Err(InsideError::NoContainer),
            LogOf::Container => engine.container_log(worker, lines).await?.ok_or_else(|| {
                if execution.residency.has_worker() {
                    InsideError::Gone
                } else {
                    InsideError::NoLog("its container is gone, and what it had said with it".into())
                }
            })?,
            LogOf::Worker => {
                let path = self.worker_log(id, worker.incarnation);
                let none = || InsideError::NoLog(format!("there is no log of worker {}", worker.incarnation));
                blocking(move || end_of(&path)).await.map_err(InsideError::Read)?.ok_or_else(none)?
            }
            LogOf::Cli => {
                let (home, path) =
                    (self.inner.options.layout.home(id), self.worker_log(id, worker.incarnation));
                let none = "the Claude CLI has written no log, and nothing to its stderr";
                let read = blocking(move || cli_log(&home, &path)).await.map_err(InsideError::Read)?;
                read.ok_or_else(|| InsideError::NoLog(none.into()))?
            }
        };
        Ok(last_lines(&String::from_utf8_lossy(&bytes), lines))
    }
}

fn worker_of(execution: &Execution) -> WorkerId {
    WorkerId { execution: execution.id, incarnation: execution.incarnation }
}

fn check(command: &[String]) -> Result<(), InsideError> {
    let invalid = |text: &str| Err(InsideError::Invalid(text.into()));
    if command.first().is_none_or(String::is_empty) {
        return invalid("`command` names a program and its arguments");
    }
    if command.iter().any(|word| word.contains('\0')) {
        return invalid("`command` has a zero byte in it");
    }
    if command.iter().map(String::len).sum::<usize>() > MAX_COMMAND_BYTES {
        return invalid("`command` is too long: give the rest on its stdin");
    }
    Ok(())
}

/// The end of a file of ours; None where there is none.
fn end_of(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::File::open(path) {
        Ok(file) => read_end(file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_end(mut file: fs::File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_LOG_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(MAX_LOG_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The newest log in the CLI's own folder, and what it had last said on its stderr, which its worker has in
/// its own log.
fn cli_log(home: &Path, worker_log: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    if let Some((name, bytes)) = newest_debug_log(home)? {
        text.extend(format!("── .claude/debug/{}\n", name.display()).into_bytes());
        text.extend(bytes);
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
    }
    let worker = end_of(worker_log)?.unwrap_or_default();
    let worker = String::from_utf8_lossy(&worker);
    if let Some(said) = worker.lines().rev().find(|line| line.contains("the session ended")) {
        text.extend(format!("── its end, and the end of its stderr\n{said}\n").into_bytes());
    }
    Ok((!text.is_empty()).then_some(text))
}

/// The session may have made anything of its home: nothing but a regular file in real folders is a log.
fn newest_debug_log(home: &Path) -> io::Result<Option<(PathBuf, Vec<u8>)>> {
    let nothing = |error: io::Error| {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        if is_missing || is_the_trees_doing(&error) { Ok(None) } else { Err(error) }
    };
    let folder = match Folder::open(home).and_then(|home| home.folder(".claude/debug")) {
        Ok(folder) => folder,
        Err(error) => return nothing(error),
    };
    let (names, _) = folder.names(MAX_DEBUG_FILES)?;
    let mut newest: Option<(UnixMs, PathBuf, fs::File)> = None;
    for name in names {
        use std::os::unix::ffi::OsStrExt as _;
        let name = PathBuf::from(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let Ok((file, stat)) = folder.file(&name) else { continue };
        #[allow(clippy::unnecessary_cast)]
        let at = stat.st_mtime as UnixMs;
        if newest.as_ref().is_none_or(|(best, ..)| *best < at) {
            newest = Some((at, name, file));
        }
    }
    newest.map(|(_, name, file)| Ok((name, read_end(file)?))).transpose()
}

fn last_lines(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let mut last = all[all.len().saturating_sub(lines)..].join("\n");
    if !last.is_empty() {
        last.push('\n');
    }
    last
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_end_of_a_log_is_its_last_lines() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last_lines("a", 2), "a\n");
        assert_eq!(last_lines("", 2), "");
    }

    #[test]
    fn the_clis_log_is_the_newest_file_and_no_link_of_the_sessions() {
        let dir = tempfile::tempdir().expect("dir");
        let (home, worker, host) =
            (dir.path().join("home"), dir.path().join("worker.log"), dir.path().join("host"));
        let debug = home.join(".claude/debug");
        assert_eq!(cli_log(&home, &worker).expect("nothing"), None);
        fs::create_dir_all(&debug).expect("folder");
        fs::write(&host, "secret of the host").expect("file");
        symlink(&host, debug.join("latest")).expect("link");
        assert_eq!(cli_log(&home, &worker).expect("nothing"), None);
        fs::write(debug.join("one.txt"), "first words").expect("file");
        fs::write(&worker, "INFO the session ended code=1 stderr=boom\n").expect("file");
        let log = String::from_utf8(cli_log(&home, &worker).expect("log").expect("some")).expect("text");
        assert!(
            log.contains("first words\n") && log.contains("stderr=boom") && !log.contains("secret"),
            "{log}"
        );
        fs::remove_dir_all(&debug).expect("folder");
        symlink(dir.path(), &debug).expect("link");
        let log = String::from_utf8(cli_log(&home, &worker).expect("log").expect("some")).expect("text");
        assert!(!log.contains("secret"), "{log}");
    }

    #[test]
    fn a_command_is_a_program_and_not_endless() {
        assert!(check(&["ls".into(), String::new()]).is_ok());
        for bad in [vec![], vec![String::new()], vec!["a\0".into()], vec!["x".repeat(20_000)]] {
            assert!(matches!(check(&bad), Err(InsideError::Invalid(_))));
        }
    }
}
