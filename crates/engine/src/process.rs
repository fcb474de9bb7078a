//! The `process` engine: a worker is a process of its own on this machine. It isolates nothing.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{process::Command, sync::broadcast};

use crate::{
    Boxed, BridgeSide, Engine, EngineError, Exec, Instance, Running, StartWorker, Usage, WORKER_MARK,
    WorkerId, exec,
    instance::measure,
    proc_scan::{Found, is_marked, kill_now, scan},
};

/// How many exits may go unread before the oldest hint is dropped; the reconciler looks anyway.
const EXITS_KEPT: usize = 256;

/// Rounds of "find and kill" before giving up. A process can fork between look and kill, so one
/// round may not do; a process in uninterruptible sleep may need a moment.
const END_ROUNDS: u32 = 100;

/// How long a new process may take to carry its mark, and how often to look.
const SEEN_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Between two rounds.
const END_PAUSE: Duration = Duration::from_millis(20);

/// Starts workers as detached processes of the same program.
#[derive(Clone, Debug)]
pub struct ProcessEngine {
    program: PathBuf,
    path: String,
    exits: broadcast::Sender<WorkerId>,
}

impl ProcessEngine {
    /// Workers are `program worker --spec FILE`, with `path` as their `PATH`.
    #[must_use]
    pub fn new(program: PathBuf, path: String) -> Self {
        Self { program, path, exits: broadcast::channel(EXITS_KEPT).0 }
    }

    /// See [`Engine::start`].
    pub(crate) async fn start(&self, start: StartWorker) -> Result<(), EngineError> {
        let failed = |source| EngineError::Start { program: self.program.clone(), source };
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(start.run_dir.join("worker.log"))
            .map_err(failed)?;
        let mut child = Command::new(&self.program)
            .arg("worker")
            .arg("--spec")
            .arg(&start.spec)
            .env_clear()
            .env("PATH", &self.path)
            .env(WORKER_MARK, start.id.to_string())
            .current_dir(&start.run_dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            // Away from the terminal's foreground group: Ctrl-C is for the control plane.
            .process_group(0)
            .kill_on_drop(false)
            .spawn()
            .map_err(failed)?;
        // The kernel lets us go on before the new program's environment is in place. Until then nobody who looks
        // for the worker by its mark finds it, and would take it for lost while it lives.
        let seen_by = Instant::now() + SEEN_WITHIN;
        while let Some(pid) = child.id()
            && !is_marked(pid)
            && child.try_wait().map_err(failed)?.is_none()
            && Instant::now() < seen_by
        {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let (id, exits) = (start.id, self.exits.clone());
        // Somebody has to wait for it as long as we are its parent, or it stays as a zombie.
        tokio::spawn(async move {
            let _ = child.wait().await;
            let _ = exits.send(id);
        });
        Ok(())
    }

    /// See [`Engine::end`].
    pub(crate) async fn end(&self, id: WorkerId) -> Result<(), EngineError> {
        let mut left = Vec::new();
        for _ in 0..END_ROUNDS {
            let found = scan().map_err(EngineError::Look)?.remove(&id).unwrap_or_default();
            left = [found.workers, found.sessions].concat();
            if left.is_empty() {
                return Ok(());
            }
            kill_now(&left);
            tokio::time::sleep(END_PAUSE).await;
        }
        Err(EngineError::StillThere { id, pids: left })
    }
}

impl Engine for ProcessEngine {
    fn name(&self) -> &'static str {
        "process"
    }

    fn start(&self, start: StartWorker) -> Boxed<'_, Result<(), EngineError>> {
        Box::pin(self.start(start))
    }

    fn alive<'a>(&'a self, ids: &'a [WorkerId]) -> Boxed<'a, Result<Vec<WorkerId>, EngineError>> {
        Box::pin(async move {
            let found = scan().map_err(EngineError::Look)?;
            Ok(ids
                .iter()
                .filter(|id| found.get(id).is_some_and(|found| !found.workers.is_empty()))
                .copied()
                .collect())
        })
    }

    fn end(&self, id: WorkerId) -> Boxed<'_, Result<Option<String>, EngineError>> {
        Box::pin(async move { self.end(id).await.map(|()| None) })
    }

    fn exits(&self) -> broadcast::Receiver<WorkerId> {
        self.exits.subscribe()
    }

    fn bridge(&self) -> Option<BridgeSide> {
        None
    }

    fn look<'a>(&'a self, ids: &'a [WorkerId]) -> Boxed<'a, Result<Vec<Instance>, EngineError>> {
        Box::pin(async move {
            let ids = ids.to_vec();
            let look = tokio::task::spawn_blocking(move || -> std::io::Result<Vec<Instance>> {
                let found = scan()?;
                let running = |id: &WorkerId| found.get(id).filter(|found| !found.workers.is_empty());
                Ok(ids.iter().filter_map(|id| Some(instance(*id, running(id)?))).collect())
            });
            look.await.map_err(std::io::Error::other).flatten().map_err(EngineError::Look)
        })
    }

    fn exec(&self, exec: Exec) -> Boxed<'_, Result<Running, EngineError>> {
        Box::pin(async move {
            if Engine::alive(self, &[exec.id]).await?.is_empty() {
                return Err(EngineError::Gone(exec.id));
            }
            exec::run(&exec)
        })
    }

    fn container_log(&self, _: WorkerId, _: usize) -> Boxed<'_, Result<Option<Vec<u8>>, EngineError>> {
        Box::pin(async { Ok(None) })
    }
}

/// A worker and its session as processes of this machine.
fn instance(id: WorkerId, found: &Found) -> Instance {
    let measured = measure(&[&found.workers[..], &found.sessions].concat());
    Instance {
        id,
        engine: "process",
        state: "running".into(),
        started_at: measured.started_at,
        worker_pid: found.workers.first().copied(),
        session_pids: found.sessions.clone(),
        memory: Usage { used: measured.resident, limit: None },
        processes: Usage { used: measured.tasks, limit: None },
        cpu_ms: measured.cpu_ms,
        cpus: None,
        container: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SESSION_MARK;
    use holdpoint_model::ExecutionId;

    fn worker(incarnation: u32) -> WorkerId {
        // Distinct per test process, so that parallel runs do not find each other's.
        WorkerId { execution: ExecutionId(uuid_of(std::process::id(), incarnation)), incarnation }
    }

    fn uuid_of(pid: u32, n: u32) -> uuid::Uuid {
        uuid::Uuid::from_u128((u128::from(pid) << 64) | u128::from(n))
    }

    fn start_of(id: WorkerId, dir: &std::path::Path) -> StartWorker {
        StartWorker {
            id,
            spec: dir.join("spec.json"),
            run_dir: dir.to_owned(),
            workspace: dir.to_owned(),
            home: dir.to_owned(),
            read_only: Vec::new(),
            container: holdpoint_model::ContainerDef::default(),
        }
    }

    /// A program that ignores its arguments and starts a child in a session of its own.
    fn script(dir: &std::path::Path) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.join("worker.sh");
        std::fs::write(
            &path,
            format!("#!/bin/sh\n{SESSION_MARK}=$HOLDPOINT_WORKER setsid sleep 1000 &\nexec sleep 1000\n"),
        )
        .expect("script");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
        path
    }

    #[tokio::test]
    async fn a_worker_starts_is_seen_and_ends_with_its_whole_tree() {
        let dir = tempfile::tempdir().expect("dir");
        let engine = ProcessEngine::new(script(dir.path()), "/usr/bin:/bin".into());
        let id = worker(1);
        let mut exits = Engine::exits(&engine);
        let start = start_of(id, dir.path());
        Engine::start(&engine, start).await.expect("start");
        assert_eq!(Engine::alive(&engine, &[id, worker(2)]).await.expect("look"), vec![id]);
        for _ in 0..200 {
            if scan().expect("scan").get(&id).is_some_and(|found| !found.sessions.is_empty()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Engine::end(&engine, id).await.expect("end");
        assert!(!scan().expect("scan").contains_key(&id), "something of the worker still runs");
        assert_eq!(exits.recv().await.expect("exit"), id);
        Engine::end(&engine, id).await.expect("ending it again is no error");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().expect("dir");
        let engine = ProcessEngine::new("/nowhere/holdpoint".into(), String::new());
        let start = start_of(worker(3), dir.path());
        let error = Engine::start(&engine, start).await.expect_err("must fail").to_string();
        assert!(error.contains("/nowhere/holdpoint"), "{error}");
    }
}
