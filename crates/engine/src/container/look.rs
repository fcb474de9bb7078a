//! Looking into a session's container: what it is, a command in it, what it said.

use std::time::Duration;

use bollard::{
    container::LogOutput,
    errors::Error,
    exec::{CreateExecOptions, StartExecResults},
    models::ContainerInspectResponse,
    query_parameters::LogsOptionsBuilder,
};
use futures::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use super::{ContainerEngine, name};
use crate::{
    ContainerView, Engine as _, EngineError, Exec, Instance, MountView, Piece, Running, Usage, WorkerId,
    instance::{by_namespace, counted, measure, namespace_of},
};

/// How long an engine may take to know how a command has ended whose output has ended.
const KNOWS_WITHIN: (u32, Duration) = (100, Duration::from_millis(20));

/// The longest log of a container that is handed on, in bytes; it says little by itself.
const MAX_LOG_BYTES: usize = 1024 * 1024;

impl ContainerEngine {
    pub(super) async fn look(&self, ids: &[WorkerId]) -> Result<Vec<Instance>, EngineError> {
        let mut workers = self.processes.look(ids).await?;
        if workers.is_empty() {
            return Ok(workers);
        }
        self.ensure().await?;
        let namespaces = tokio::task::spawn_blocking(by_namespace).await;
        let namespaces = namespaces.map_err(std::io::Error::other).flatten().map_err(EngineError::Look)?;
        let inspected = futures::future::join_all(workers.iter().map(|worker| self.inspect(worker.id))).await;
        for (worker, found) in workers.iter_mut().zip(inspected) {
            worker.engine = self.name();
            let Some(found) = found? else {
                worker.state = "without its container".into();
                continue;
            };
            let pid = found.state.as_ref().and_then(|state| i32::try_from(state.pid?).ok());
            let pid = pid.filter(|pid| *pid > 0);
            let inside =
                pid.and_then(|pid| namespaces.get(&namespace_of(pid)?)).map_or(&[][..], Vec::as_slice);
            self.fill(worker, &found, pid, inside);
        }
        Ok(workers)
    }

    /// What its worker takes is not the session's, and is left out.
    fn fill(
        &self,
        worker: &mut Instance,
        found: &ContainerInspectResponse,
        first: Option<i32>,
        inside: &[i32],
    ) {
        let measured = measure(inside);
        let host = found.host_config.clone().unwrap_or_default();
        let limit = |limit: Option<i64>| limit.and_then(|limit| u64::try_from(limit).ok()).filter(|n| *n > 0);
        let group = |controller, files| first.and_then(|pid| counted(pid, controller, files));
        // A group of its own is certain only where the engine bounds what is in it.
        let memory = self.bounds.memory.then(|| group("memory", ("memory.usage_in_bytes", "memory.current")));
        let tasks = self.bounds.processes.then(|| group("pids", ("pids.current", "pids.current")));
        worker.memory =
            Usage { used: memory.flatten().unwrap_or(measured.resident), limit: limit(host.memory) };
        worker.processes =
            Usage { used: tasks.flatten().unwrap_or(measured.tasks), limit: limit(host.pids_limit) };
        worker.cpu_ms = measured.cpu_ms;
        #[allow(clippy::cast_precision_loss)]
        let cpus = limit(host.nano_cpus).map(|nanos| nanos as f64 / 1e9);
        worker.cpus = cpus;
        worker.started_at = measured.started_at.or(worker.started_at);
        worker.session_pids = first.into_iter().collect();
        let state = found.state.as_ref().and_then(|state| state.status);
        worker.state = state.map_or_else(|| "unknown".into(), |state| state.to_string());
        worker.container = Some(view(found, &host.network_mode.unwrap_or_default()));
    }

    async fn inspect(&self, id: WorkerId) -> Result<Option<ContainerInspectResponse>, EngineError> {
        match self.containers.client().inspect_container(&name(id), None).await {
            Ok(found) => Ok(Some(found)),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(self.explain(&error, &self.options.image)),
        }
    }

    pub(super) async fn exec(&self, exec: Exec) -> Result<Running, EngineError> {
        self.ensure().await?;
        let found = self.inspect(exec.id).await?.ok_or(EngineError::Gone(exec.id))?;
        if found.state.as_ref().is_none_or(|state| state.running != Some(true)) {
            return Err(EngineError::Gone(exec.id));
        }
        let options = CreateExecOptions {
            attach_stdin: Some(exec.stdin.is_some()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(false),
            privileged: Some(false),
            env: Some(exec.env().into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
            cmd: Some(exec.command.clone()),
            // Said, and not left to the engine: as what the session is.
            user: found.config.and_then(|config| config.user),
            working_dir: Some(exec.workspace.display().to_string()),
            ..CreateExecOptions::default()
        };
        let client = self.containers.client().clone();
        let created = client.create_exec(&name(exec.id), options).await;
        let created = created.map_err(|error| self.explain(&error, &self.options.image))?.id;
        let (mut output, mut input) = match client.start_exec(&created, None).await {
            Ok(StartExecResults::Attached { output, input }) => (output, input),
            Ok(StartExecResults::Detached) => return Ok(Running::ended(Vec::new())),
            Err(error) => return self.not_started(&exec, &error),
        };
        Ok(Running::of(exec.mark.clone(), |sender| async move {
            let feed = async {
                // A command need not read all that it is given.
                let _ = input.write_all(exec.stdin.as_deref().unwrap_or_default()).await;
                let _ = input.shutdown().await;
            };
            let read = async {
                while let Some(piece) = output.next().await {
                    let piece = match piece {
                        Ok(LogOutput::StdErr { message }) => Piece::Err(message.to_vec()),
                        Ok(other) => Piece::Out(other.into_bytes().to_vec()),
                        Err(error) => return Err(error),
                    };
                    if sender.send(piece).await.is_err() {
                        break;
                    }
                }
                Ok(())
            };
            let stopped = |why: String| Piece::Stopped(format!("nobody knows how it ended: {why}"));
            if let (Err(error), ()) = tokio::join!(read, feed) {
                return stopped(error.to_string());
            }
            for _ in 0..KNOWS_WITHIN.0 {
                match client.inspect_exec(&created).await {
                    Ok(end) if end.running == Some(false) => {
                        return end.exit_code.map_or_else(|| stopped("no exit code".into()), Piece::Exit);
                    }
                    Ok(_) => tokio::time::sleep(KNOWS_WITHIN.1).await,
                    Err(error) => return stopped(error.to_string()),
                }
            }
            stopped("something that it has started goes on".into())
        }))
    }

    /// Some engines say in the answer that there is no such program, others on the command's stderr.
    fn not_started(&self, exec: &Exec, error: &Error) -> Result<Running, EngineError> {
        let said = error.to_string().to_lowercase();
        let is_missing = ["executable file not found", "no such file"].iter().any(|word| said.contains(word));
        if is_missing || said.contains("permission denied") {
            let program = exec.command.first().map_or("", String::as_str);
            return Ok(Running::not_started(program, is_missing));
        }
        Err(self.explain(error, &self.options.image))
    }

    pub(super) async fn log(&self, id: WorkerId, lines: usize) -> Result<Option<Vec<u8>>, EngineError> {
        self.ensure().await?;
        let options =
            LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&lines.to_string()).build();
        let mut log = self.containers.client().logs(&name(id), Some(options));
        let mut text = Vec::new();
        while let Some(piece) = log.next().await {
            match piece {
                Ok(piece) => text.extend_from_slice(&piece.into_bytes()),
                Err(Error::DockerResponseServerError { status_code: 404, .. }) => return Ok(None),
                Err(error) => return Err(self.explain(&error, &self.options.image)),
            }
            if text.len() > MAX_LOG_BYTES {
                break;
            }
        }
        Ok(Some(text))
    }
}

fn view(found: &ContainerInspectResponse, network: &str) -> ContainerView {
    let config = found.config.clone().unwrap_or_default();
    let mounts = found.mounts.iter().flatten();
    let mut mounts: Vec<MountView> = mounts
        .filter_map(|mount| {
            Some(MountView {
                source: mount.source.clone()?.into(),
                target: mount.destination.clone()?.into(),
                read_only: mount.rw == Some(false),
            })
        })
        .collect();
    mounts.sort_by(|a, b| a.target.cmp(&b.target));
    ContainerView {
        id: found.id.clone().unwrap_or_default(),
        name: found.name.clone().unwrap_or_default().trim_start_matches('/').to_owned(),
        image: config.image.unwrap_or_default(),
        image_digest: found.image.clone().unwrap_or_default(),
        network: network.to_owned(),
        user: config.user.unwrap_or_default(),
        mounts,
    }
}
