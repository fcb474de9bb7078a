//! The `container` engine: the session of each worker is in a container of its own, in Podman or Docker.
//!
//! The worker itself stays outside, as a process of the operator (`process`), with its token and journal. It
//! reaches the session over a socket in its run folder (`holdpoint_bridge`), so neither needs the container
//! engine once the container has started: that may restart, or end with the control plane that served it.

mod explain;
mod idmap;
mod look;
mod settings;

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::{
    errors::Error,
    query_parameters::{
        CreateContainerOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
        RemoveContainerOptionsBuilder,
    },
};
use futures::StreamExt as _;
use holdpoint_containers::{Containers, Kind, recognise};
use holdpoint_model::{Network, container::Note};
use tokio::sync::broadcast;
use tracing::warn;

use crate::{
    Boxed, BridgeSide, Engine, EngineError, Exec, Instance, ProcessEngine, Running, StartWorker, WorkerId,
};
use explain::{Attempt, explain};
use idmap::Mapping;
use settings::{Bounds, Plan, User, body, name, shared};

pub use settings::{LABEL_DATA, LABEL_WORKER};

/// The name of the folder in a worker's run folder that its container sees.
pub const SESSION_FOLDER: &str = "session";

/// The name of the file in a worker's run folder where is written what people should know of its container.
pub const NOTES_FILE: &str = "notes.jsonl";

/// The name of the socket in [`SESSION_FOLDER`], which is there until the container has connected.
const SESSION_SOCKET: &str = "session.sock";

/// When a container that has not connected is looked at, each after the one before.
const LOOKS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10)];

/// How often a container is removed before that counts as failed, and the pause between.
const REMOVE_ATTEMPTS: u32 = 10;
const REMOVE_PAUSE: Duration = Duration::from_millis(100);

/// How much is repeated of what a container said before it ended, in bytes.
const SAID_LIMIT: usize = 1000;

/// Where things are.
#[derive(Clone, Debug)]
pub struct ContainerOptions {
    /// The `holdpoint` program, for workers and their bridges.
    pub program: PathBuf,
    /// `PATH` of workers.
    pub path: String,
    /// The data folder: containers are labelled with it.
    pub data: PathBuf,
    /// The folder with the gateway's socket.
    pub gateway_dir: PathBuf,
    /// A folder for mounts of this data folder, and outside of it: whoever deletes there must not reach
    /// through them.
    pub mounts: PathBuf,
    /// The image of agents that name none.
    pub image: String,
}

/// Starts workers as processes and their sessions in containers.
#[derive(Debug)]
pub struct ContainerEngine {
    processes: ProcessEngine,
    containers: Arc<Containers>,
    bounds: Bounds,
    operator: (u32, u32),
    /// Those that this process has started: their worker may be a moment behind their container.
    started: Mutex<HashSet<WorkerId>>,
    options: ContainerOptions,
}

impl ContainerEngine {
    /// Over a connected engine.
    ///
    /// # Errors
    /// When it does not say what it can do.
    pub async fn new(containers: Arc<Containers>, options: ContainerOptions) -> Result<Self, EngineError> {
        let attempt = Attempt { kind: containers.kind(), image: &options.image };
        let info = containers.client().info().await.map_err(|error| explain(&error, &attempt))?;
        let bounds = Bounds {
            memory: info.memory_limit.unwrap_or(false),
            processes: info.pids_limit.unwrap_or(false),
            cpus: info.cpu_cfs_quota.unwrap_or(false),
        };
        Ok(Self {
            processes: ProcessEngine::new(options.program.clone(), options.path.clone()),
            bounds,
            operator: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            containers,
            started: Mutex::default(),
            options,
        })
    }

    /// What kind of engine it is, and its version.
    #[must_use]
    pub fn containers(&self) -> &Containers {
        &self.containers
    }

    /// What the engine cannot bound on this machine, in words: `memory`, `processes`, `processors`.
    #[must_use]
    pub fn unbounded(&self) -> Vec<&'static str> {
        let Bounds { memory, processes, cpus } = self.bounds;
        [(memory, "memory"), (processes, "processes"), (cpus, "processors")]
            .into_iter()
            .filter(|(bounded, _)| !bounded)
            .map(|(_, what)| what)
            .collect()
    }

    /// Removes containers of this data folder whose worker is gone: nobody would ever talk to them again.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn reap(&self) -> Result<usize, EngineError> {
        let label = format!("{LABEL_DATA}={}", self.options.data.display());
        let filters = std::collections::HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        self.ensure().await?;
        let found = self.containers.client().list_containers(Some(options)).await;
        let found = found.map_err(|error| self.explain(&error, &self.options.image))?;
        let mut ids: Vec<WorkerId> = found
            .into_iter()
            .filter_map(|container| container.labels?.get(LABEL_WORKER)?.parse().ok())
            .collect();
        ids.extend(self.mounted());
        ids.sort_by_key(ToString::to_string);
        ids.dedup();
        let alive = self.processes.alive(&ids).await?;
        let mut reaped = 0;
        for id in ids.into_iter().filter(|id| !alive.contains(id)) {
            if self.started.lock().unwrap_or_else(PoisonError::into_inner).contains(&id) {
                continue;
            }
            self.end(id).await?;
            reaped += 1;
        }
        Ok(reaped)
    }

    async fn start(&self, start: StartWorker) -> Result<(), EngineError> {
        let id = start.id;
        self.started.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        self.ensure().await?;
        let def = &start.container;
        let image = def.image.as_deref().unwrap_or(&self.options.image);
        let session = start.run_dir.join(SESSION_FOLDER);
        make_private(&session)?;
        let (uid, gid) = self.operator;
        let user = User::of(self.containers.kind(), uid, gid, id);
        // Without any network not even the gateway's socket is there for the session's commands.
        let gateway = (def.network != Network::None).then_some(&*self.options.gateway_dir);
        let mut shared =
            shared(&start.workspace, &start.home, &session, gateway, &start.read_only, &def.folders);
        for plugin in &start.read_only {
            there(plugin, "plugins")?;
        }
        for folder in &def.folders {
            there(&folder.path, "container.folders")?;
        }
        if let User::Mapped { uid } = user {
            let (mounts, sources) = (self.mounts_of(id), shared.clone());
            let mapped = tokio::task::spawn_blocking(move || -> io::Result<Vec<PathBuf>> {
                idmap::unmount_all(&mounts)?;
                make_private_io(&mounts)?;
                let mapping = Mapping::own_to(uid)?;
                let mount = |(n, shared): (usize, &settings::Shared)| {
                    let target = mounts.join(n.to_string());
                    mapping.mount(&shared.source, &target).map(|()| target)
                };
                sources.iter().enumerate().map(mount).collect()
            });
            let mapped = mapped.await.map_err(io::Error::other).flatten().map_err(|error| {
                EngineError::Container {
                    why: "the session's folders could not be mounted with the ids of an unprivileged user".into(),
                    next: "run Holdpoint as an ordinary user with rootless Podman, or use Linux 5.12 and ext4, xfs or btrfs".into(),
                    said: error.to_string(),
                }
            })?;
            for (shared, source) in shared.iter_mut().zip(mapped) {
                shared.source = source;
            }
        }
        let body = body(&Plan {
            id,
            data: &self.options.data,
            image,
            def,
            user,
            bounds: self.bounds,
            shared: &shared,
        });
        let client = self.containers.client();
        let name = name(id);
        let create = || CreateContainerOptionsBuilder::default().name(&name).build();
        let mut created = client.create_container(Some(create()), body.clone()).await;
        if created.as_ref().is_err_and(is_name_taken) {
            // An attempt that was cut short left one of this name, which nobody talks to.
            self.remove(id).await?;
            created = client.create_container(Some(create()), body).await;
        }
        created.map_err(|error| self.explain(&error, image))?;
        client.start_container(&name, None).await.map_err(|error| self.explain(&error, image))?;
        let watch = Watch {
            containers: Arc::clone(&self.containers),
            processes: self.processes.clone(),
            id,
            image: image.to_owned(),
            socket: session.join(SESSION_SOCKET),
            notes: start.run_dir.join(NOTES_FILE),
        };
        self.processes.start(start).await?;
        tokio::spawn(watch.until_connected());
        Ok(())
    }

    async fn end(&self, id: WorkerId) -> Result<Option<String>, EngineError> {
        self.processes.end(id).await?;
        self.ensure().await?;
        let how = self.how_it_ended(id).await;
        self.remove(id).await?;
        self.started.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let mounts = self.mounts_of(id);
        let unmounted = tokio::task::spawn_blocking(move || idmap::unmount_all(&mounts)).await;
        unmounted.map_err(io::Error::other).flatten().map_err(EngineError::Look)?;
        Ok(how)
    }

    /// What a dead container's engine knows about its death.
    async fn how_it_ended(&self, id: WorkerId) -> Option<String> {
        let state = self.containers.client().inspect_container(&name(id), None).await.ok()?.state?;
        if state.running == Some(true) {
            return None;
        }
        if state.oom_killed == Some(true) {
            return Some("its container had used up its memory (the agent's `container.memory`)".into());
        }
        state.exit_code.filter(|code| *code != 0).map(|code| format!("its container ended with code {code}"))
    }

    async fn remove(&self, id: WorkerId) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let mut attempts = 1;
        loop {
            match self.containers.client().remove_container(&name(id), Some(options.clone())).await {
                Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => return Ok(()),
                // Podman fails to kill what is just ending by itself.
                Err(Error::DockerResponseServerError { .. }) if attempts < REMOVE_ATTEMPTS => {
                    attempts += 1;
                    tokio::time::sleep(REMOVE_PAUSE).await;
                }
                Err(error) => return Err(self.explain(&error, &self.options.image)),
            }
        }
    }

    /// A Podman that is served for us may have gone.
    async fn ensure(&self) -> Result<(), EngineError> {
        self.containers.ensure().await.map_err(|error| EngineError::Container {
            why: format!("{} cannot be reached any more", self.containers.kind()),
            next: error.next().into_iter().next().unwrap_or_else(|| "podman info".into()),
            said: error.to_string(),
        })
    }

    fn explain(&self, error: &Error, image: &str) -> EngineError {
        explain(error, &Attempt { kind: self.containers.kind(), image })
    }

    fn mounts_of(&self, id: WorkerId) -> PathBuf {
        self.options.mounts.join(name(id))
    }

    /// Workers that have mounts.
    fn mounted(&self) -> Vec<WorkerId> {
        let entries = std::fs::read_dir(&self.options.mounts).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let (execution, incarnation) = name.strip_prefix("holdpoint-")?.rsplit_once('-')?;
                format!("{execution}/{incarnation}").parse().ok()
            })
            .collect()
    }
}

/// A folder that somebody else sees to. The engine would say that something could not be mounted.
fn there(folder: &Path, key: &str) -> Result<(), EngineError> {
    let shown = folder.display();
    std::fs::read_dir(folder).map(drop).map_err(|error| EngineError::Container {
        why: match error.kind() {
            io::ErrorKind::NotFound => format!("{shown} is gone, which the agent's `{key}` name"),
            io::ErrorKind::NotADirectory => format!("{shown} is no folder, and the agent's `{key}` name it"),
            _ => format!("{shown} cannot be read, which the agent's `{key}` name"),
        },
        next: match error.kind() {
            io::ErrorKind::PermissionDenied => format!("sudo chmod -R a+rX {shown}"),
            _ => format!("ls -ld {shown}     (put it back there, or start the conversation again with an agent without it)"),
        },
        said: error.to_string(),
    })
}

/// Docker says so by the code; Podman 4.3 says 500, as to everything.
fn is_name_taken(error: &Error) -> bool {
    match error {
        Error::DockerResponseServerError { status_code: 409, .. } => true,
        Error::DockerResponseServerError { message, .. } => message.contains("name is already in use"),
        _ => false,
    }
}

fn make_private(folder: &Path) -> Result<(), EngineError> {
    make_private_io(folder).map_err(|source| EngineError::Prepare { path: folder.to_owned(), source })
}

fn make_private_io(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// A container that has started and not connected yet.
struct Watch {
    containers: Arc<Containers>,
    processes: ProcessEngine,
    id: WorkerId,
    image: String,
    socket: PathBuf,
    notes: PathBuf,
}

impl Watch {
    /// Tells at once of one that ended before it connected: its worker would wait for it for a long time.
    async fn until_connected(self) {
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            if !self.socket.exists() {
                return;
            }
            let inspected = self.containers.client().inspect_container(&name(self.id), None).await;
            let Some(state) = inspected.ok().and_then(|container| container.state) else { continue };
            if state.running == Some(true) || !self.socket.exists() {
                continue;
            }
            let code = state.exit_code.unwrap_or_default();
            let said = self.said().await;
            let (why, next) = match recognise(&said) {
                Some(symptom) => (symptom.why.to_owned(), symptom.next.to_owned()),
                None => (
                    format!("the container of image {} ended at once with code {code}", self.image),
                    "holdpoint image build --base     (and build other images on it)".to_owned(),
                ),
            };
            let written = self.write(&Note::NotStarted { why, next, said });
            if let Err(error) = written.and(self.processes.end(self.id).await.map_err(io::Error::other)) {
                warn!(worker = %self.id, %error, "failed to tell of a container that ended at once");
            }
            return;
        }
    }

    async fn said(&self) -> String {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail("20").build();
        let mut lines = self.containers.client().logs(&name(self.id), Some(options));
        let mut said = String::new();
        while let Some(Ok(line)) = lines.next().await {
            said.push_str(&String::from_utf8_lossy(&line.into_bytes()));
            if said.len() > SAID_LIMIT {
                break;
            }
        }
        said.truncate(said.floor_char_boundary(SAID_LIMIT));
        said.trim().to_owned()
    }

    fn write(&self, note: &Note) -> io::Result<()> {
        use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
        let mut file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&self.notes)?;
        file.write_all(format!("{}\n", serde_json::to_string(note)?).as_bytes())
    }
}

impl Engine for ContainerEngine {
    fn name(&self) -> &'static str {
        match self.containers.kind() {
            Kind::RootlessPodman | Kind::RootfulPodman => "podman",
            Kind::Docker => "docker",
        }
    }

    fn start(&self, start: StartWorker) -> Boxed<'_, Result<(), EngineError>> {
        Box::pin(self.start(start))
    }

    fn alive<'a>(&'a self, ids: &'a [WorkerId]) -> Boxed<'a, Result<Vec<WorkerId>, EngineError>> {
        // A worker ends when its container does, so it is enough to look for workers.
        self.processes.alive(ids)
    }

    fn end(&self, id: WorkerId) -> Boxed<'_, Result<Option<String>, EngineError>> {
        Box::pin(self.end(id))
    }

    fn exits(&self) -> broadcast::Receiver<WorkerId> {
        Engine::exits(&self.processes)
    }

    fn bridge(&self) -> Option<BridgeSide> {
        Some(BridgeSide {
            program: self.options.program.clone(),
            gateway_dir: self.options.gateway_dir.clone(),
        })
    }

    fn look<'a>(&'a self, ids: &'a [WorkerId]) -> Boxed<'a, Result<Vec<Instance>, EngineError>> {
        Box::pin(self.look(ids))
    }

    fn exec(&self, exec: Exec) -> Boxed<'_, Result<Running, EngineError>> {
        Box::pin(self.exec(exec))
    }

    fn container_log(&self, id: WorkerId, lines: usize) -> Boxed<'_, Result<Option<Vec<u8>>, EngineError>> {
        Box::pin(self.log(id, lines))
    }
}
