//! Where sessions run: chosen once, at the start.

use std::{
    fmt,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use holdpoint_bridge::GATEWAY_SOCKET;
use holdpoint_containers::Containers;
use holdpoint_engine::{ContainerEngine, ContainerOptions, Engine, ProcessEngine};
use holdpoint_model::{
    Digest,
    image::{self, BaseLabels},
};

use tokio::net::UnixListener;
use tracing::{info, warn};

use super::Plan;
use crate::{
    config::{Container, EngineChoice},
    containers,
    data::DataDir,
    failure::{Exit, Failure},
    install,
};

/// The name of the folder in the data folder with the gateway's socket, which sessions in containers see.
const GATEWAY_FOLDER: &str = "gateway";

/// The name of the folder for mounts, beside our own sockets.
const MOUNTS_FOLDER: &str = "mounts";

/// Characters of a short name.
const SHORT_NAME: usize = 16;

/// Where sessions run, in words for whoever starts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Each in a container of its own.
    Containers {
        /// Whose: `rootless Podman 4.3.1`.
        by: String,
        /// Bounds that this engine cannot set: `memory`, `processes`, `processors`.
        unbounded: Vec<&'static str>,
    },
    /// As processes of this user: nothing is between them and the machine.
    Nothing {
        /// Why not in containers, where nobody chose that.
        why: Option<String>,
        /// What to type to have containers.
        next: Vec<String>,
    },
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Containers { by, unbounded } => {
                write!(f, "Each session runs in a container of its own ({by}).")?;
                if !unbounded.is_empty() {
                    let what = unbounded.join(" and ");
                    write!(f, " This engine cannot bound {what}; Holdpoint watches over memory itself.")?;
                }
                Ok(())
            }
            Self::Nothing { why, next } => {
                f.write_str("WARNING: sessions run as processes of your user, and nothing isolates them: they can read and change what you can. Run only agents you trust.")?;
                if let Some(why) = why {
                    write!(f, "\nContainers are not used: {why}")?;
                }
                for next in next {
                    write!(f, "\n→ {next}")?;
                }
                Ok(())
            }
        }
    }
}

/// The engine, and what to say of it.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) engine: Arc<dyn Engine>,
    /// The same engine, where it is the container engine.
    pub(super) containers: Option<Arc<ContainerEngine>>,
    pub(super) isolation: Isolation,
}

/// Takes the engine that the configuration asks for; by itself, containers where they work.
pub(super) async fn choose(plan: &Plan) -> anyhow::Result<Chosen> {
    let program = own_program()?;
    let process = |why, next| Chosen {
        engine: Arc::new(ProcessEngine::new(program.clone(), plan.path.clone())),
        containers: None,
        isolation: Isolation::Nothing { why, next },
    };
    if plan.config.engine == EngineChoice::Process {
        return Ok(process(None, Vec::new()));
    }
    match in_containers(plan, program.clone()).await {
        Ok(chosen) => Ok(chosen),
        Err(failure) if plan.config.engine == EngineChoice::Auto => {
            let why: Vec<&str> = std::iter::once(failure.what.as_str()).chain(failure.why.lines()).collect();
            Ok(process(Some(why.join("\n  ")), failure.next))
        }
        Err(failure) => Err(failure.next("or `engine = \"process\"`, which isolates nothing").into()),
    }
}

async fn in_containers(plan: &Plan, program: PathBuf) -> Result<Chosen, Failure> {
    let containers =
        Arc::new(Containers::connect(&plan.connect).await.map_err(|error| containers::failure(&error))?);
    let by = format!("{} {}", containers.kind(), containers.version());
    let image = image_of_sessions(&containers, &plan.config.container).await?;
    let options = ContainerOptions {
        program,
        path: plan.path.clone(),
        data: plan.data.root().to_owned(),
        gateway_dir: plan.data.root().join(GATEWAY_FOLDER),
        mounts: plan.connect.own_folder.join(MOUNTS_FOLDER).join(short_name(plan.data.root())),
        image,
    };
    let engine = ContainerEngine::new(containers, options).await;
    let engine = Arc::new(engine.map_err(|error| Failure::new(format!("{by} cannot be used")).why(error))?);
    let isolation = Isolation::Containers { by, unbounded: engine.unbounded() };
    Ok(Chosen { engine: engine.clone(), containers: Some(engine), isolation })
}

/// The image of agents that name none, if the engine has it.
pub(crate) async fn image_of_sessions(
    containers: &Containers,
    container: &Container,
) -> Result<String, Failure> {
    match &container.image {
        Some(image) => own_image(containers, image).await,
        None => base_image(containers).await,
    }
}

/// The image that the configuration names, if the engine has it.
async fn own_image(containers: &Containers, image: &str) -> Result<String, Failure> {
    let tool = if containers.kind().is_podman() { "podman" } else { "docker" };
    let found = containers.client().inspect_image(image).await;
    found.map(|_| image.to_owned()).map_err(|error| {
        Failure::new(format!("{} does not have the image that sessions run in", containers.kind()))
            .why(format!("`[container] image` in holdpoint.toml is {image}: {error}"))
            .next(format!(
                "{tool} pull {image}     (or take `image` out of holdpoint.toml, for Holdpoint's own)"
            ))
            .exit(Exit::NotFound)
    })
}

/// The base image of this version, if the engine has it.
async fn base_image(containers: &Containers) -> Result<String, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let name = image::base_name(version, install::VERSION);
    let build = "holdpoint image build --base";
    let found = containers.client().inspect_image(&name).await.map_err(|_| {
        Failure::new(format!("{} does not have the image that sessions run in", containers.kind()))
            .why(format!("there is no {name}"))
            .next(build)
            .exit(Exit::NotFound)
    })?;
    let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
    match BaseLabels::parse(&labels) {
        Ok(base) if base.holdpoint == version => Ok(name),
        Ok(base) => Err(Failure::new(format!("{name} is of another version of Holdpoint"))
            .why(format!("it has {}, this is {version}", base.holdpoint))
            .next(build)),
        Err(error) => Err(Failure::new(format!("{name} cannot be used")).why(error).next(build)),
    }
}

/// Where sessions in containers find the gateway. Only the gateway is served there: whoever is talked into
/// calling it finds neither panel nor API.
pub(super) fn listen(data: &DataDir) -> anyhow::Result<UnixListener> {
    let folder = data.root().join(GATEWAY_FOLDER);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    holdpoint_bridge::bind(&folder, GATEWAY_SOCKET)
        .with_context(|| format!("failed to listen in {}", folder.display()))
}

/// Removes containers that were left behind, by a control plane that was killed or by `down`.
pub(super) async fn reap(containers: Arc<ContainerEngine>) {
    match containers.reap().await {
        Ok(0) => {}
        Ok(reaped) => info!(reaped, "removed containers that were left behind"),
        Err(error) => warn!(%error, "failed to remove containers that were left behind"),
    }
}

/// A short name for a data folder, for folders that several share.
fn short_name(data: &Path) -> String {
    let digest = Digest::of_bytes(data.as_os_str().as_encoded_bytes()).to_string();
    digest.trim_start_matches("sha256:").chars().take(SHORT_NAME).collect()
}

/// Our own program file, for workers.
fn own_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("failed to find our own program file")
}
