//! Finds the container engine of this machine and connects to it: rootless Podman, rootful Podman or
//! Docker, through its socket. Where Podman is installed but serves none, it is served for as long as
//! it is used (`service`). Knows nothing of images or sessions.

mod candidates;
mod error;
mod service;
mod symptoms;

use std::{
    fmt, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::net::UnixStream;

pub use error::{ConnectError, Fact, Tried};
pub use service::{PASSED_ON, SOCKET_PATH_LIMIT};
pub use symptoms::{Symptom, recognise};

use candidates::{Candidate, Way};
use service::Service;

/// How long one request may take, in seconds, until its answer begins. Starting a container on a busy
/// machine takes seconds; whoever loads an image sets more ([`Docker::set_timeout`]).
const REQUEST_LIMIT_S: u64 = 120;

/// How long an engine may take to say what it is. Podman asks the system's package manager for the version of
/// each of its helpers, which on a busy machine with cold disks was seen to take half a minute.
const HELLO_LIMIT: Duration = Duration::from_secs(90);

/// Which container engine to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The first that works, in the order of [`Kind`]'s variants; what `CONTAINER_HOST` or
    /// `DOCKER_HOST` name comes before all.
    #[default]
    Auto,
    /// Podman of this user.
    RootlessPodman,
    /// Podman of root.
    RootfulPodman,
    /// Docker.
    Docker,
    /// Whatever listens on this socket.
    Socket(PathBuf),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "rootless-podman" => Ok(Self::RootlessPodman),
            "rootful-podman" => Ok(Self::RootfulPodman),
            "docker" => Ok(Self::Docker),
            _ => match text.strip_prefix("unix://").unwrap_or(text) {
                path if path.starts_with('/') => Ok(Self::Socket(path.into())),
                _ => Err(format!(
                    "{text:?} is none of auto, rootless-podman, rootful-podman, docker, or the path of a socket"
                )),
            },
        }
    }
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Podman of an ordinary user.
    RootlessPodman,
    /// Podman of root.
    RootfulPodman,
    /// Docker, whoever runs it.
    Docker,
}

impl Kind {
    /// `rootless-podman`, `rootful-podman` or `docker`, as [`Choice`] is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RootlessPodman => "rootless-podman",
            Self::RootfulPodman => "rootful-podman",
            Self::Docker => "docker",
        }
    }

    /// Whether it is Podman.
    #[must_use]
    pub fn is_podman(self) -> bool {
        self != Self::Docker
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RootlessPodman => "rootless Podman",
            Self::RootfulPodman => "rootful Podman",
            Self::Docker => "Docker",
        })
    }
}

/// What connecting needs to know; the binary reads it from the environment.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Which engine.
    pub choice: Choice,
    /// The effective user of this process.
    pub uid: u32,
    /// `XDG_RUNTIME_DIR`; `/run/user/UID` is looked into as well.
    pub runtime_dir: Option<PathBuf>,
    /// `CONTAINER_HOST`, Podman's variable for the address of its socket.
    pub container_host: Option<String>,
    /// `DOCKER_HOST`, Docker's.
    pub docker_host: Option<String>,
    /// `PATH`, where `podman` is looked for.
    pub path: String,
    /// A folder for the socket of a Podman that is served for us. Made when needed, for this user alone.
    /// Its path must be short: a socket's has at most [`SOCKET_PATH_LIMIT`] bytes.
    pub own_folder: PathBuf,
    /// The whole environment of a Podman that is served for us, but for `PATH`: nothing else is passed
    /// on, so that no secret of ours gets there. [`PASSED_ON`] has the names that matter to Podman.
    pub service_env: Vec<(String, String)>,
}

/// A connection to a container engine. Dropping it ends the Podman that was served for it, unless
/// another process uses that as well.
#[derive(Debug)]
pub struct Containers {
    client: Docker,
    kind: Kind,
    version: String,
    socket: PathBuf,
    service: Option<Service>,
    passed_over: Vec<Tried>,
}

impl Containers {
    /// Connects to the first engine that works.
    ///
    /// # Errors
    /// When none does: with the deciding fact about each that was tried.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, ConnectError> {
        let mut tried = Vec::new();
        for candidate in candidates::candidates(options) {
            match Self::try_one(&candidate, options).await {
                Ok(containers) => return Ok(Self { passed_over: tried, ..containers }),
                Err(fact) => tried.push(Tried { what: candidate.what, fact }),
            }
        }
        Err(ConnectError { tried })
    }

    async fn try_one(candidate: &Candidate, options: &ConnectOptions) -> Result<Self, Fact> {
        let (socket, service) = match &candidate.way {
            Way::Socket(path) => {
                knock(path).await?;
                (path.clone(), None)
            }
            Way::Serve => {
                let service = Service::start(options).await?;
                (service.socket().to_owned(), Some(service))
            }
            Way::Never(fact) => return Err(fact.clone()),
        };
        let broken = |error: String| Fact::Refused { socket: socket.clone(), error };
        let client = client(&socket).map_err(|error| broken(error.to_string()))?;
        let hello = tokio::time::timeout(HELLO_LIMIT, hello(client, &socket)).await;
        let (client, kind, version) = hello
            .map_err(|_| broken(format!("no answer within {} s", HELLO_LIMIT.as_secs())))?
            .map_err(|error| broken(error.to_string()))?;
        if candidate.must_be.is_some_and(|must_be| must_be != kind) {
            return Err(Fact::OtherKind { socket, kind });
        }
        Ok(Self { client, kind, version, socket, service, passed_over: Vec::new() })
    }

    /// To talk to it. Its requests fail after two minutes without an answer.
    #[must_use]
    pub fn client(&self) -> &Docker {
        &self.client
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its version, as it says it: `4.3.1`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The socket that it listens on.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Those that come before it in the order of [`Choice::Auto`], and would not do.
    #[must_use]
    pub fn passed_over(&self) -> &[Tried] {
        &self.passed_over
    }

    /// Whether it is served for us, and ends with us.
    #[must_use]
    pub fn is_own_service(&self) -> bool {
        self.service.is_some()
    }

    /// Serves Podman again where that was done for us and it has gone since. Costs one connection where
    /// it has not, nothing where somebody else serves it; [`Self::client`] stays good.
    ///
    /// # Errors
    /// When it cannot be served any more.
    pub async fn ensure(&self) -> Result<(), ConnectError> {
        let Some(service) = &self.service else { return Ok(()) };
        service.ensure().await.map_err(|fact| ConnectError {
            tried: vec![Tried { what: format!("{} that is served for us", self.kind), fact }],
        })
    }
}

/// A client of what listens on this socket.
fn client(socket: &Path) -> Result<Docker, bollard::errors::Error> {
    Docker::connect_with_unix(&socket.to_string_lossy(), REQUEST_LIMIT_S, API_DEFAULT_VERSION)
}

/// Asks an engine what it is. Podman names a component "Podman Engine"; later ones list `name=rootless`
/// among their security options (<https://docs.podman.io/en/latest/_static/api.html>, "compat"), 4.3.1 does
/// not: there the socket, which belongs to whoever serves it, tells.
async fn hello(client: Docker, socket: &Path) -> Result<(Docker, Kind, String), bollard::errors::Error> {
    let client = client.negotiate_version().await?;
    let version = client.version().await?;
    let components = version.components.unwrap_or_default();
    let podman = components.into_iter().find(|component| component.name == "Podman Engine");
    let Some(podman) = podman else {
        return Ok((client, Kind::Docker, version.version.unwrap_or_default()));
    };
    let options = client.info().await?.security_options.unwrap_or_default();
    let is_of_root = std::fs::metadata(socket).is_ok_and(|meta| meta.uid() == 0);
    let is_rootless = !is_of_root || options.iter().any(|option| option == "name=rootless");
    let kind = if is_rootless { Kind::RootlessPodman } else { Kind::RootfulPodman };
    Ok((client, kind, podman.version))
}

/// Whether somebody listens, and lets us in.
async fn knock(socket: &Path) -> Result<(), Fact> {
    match UnixStream::connect(socket).await {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound => Fact::NoSocket { socket: socket.to_owned() },
            io::ErrorKind::PermissionDenied => Fact::NotAllowed { socket: socket.to_owned() },
            io::ErrorKind::ConnectionRefused => Fact::NobodyListens { socket: socket.to_owned() },
            _ => Fact::Refused { socket: socket.to_owned(), error: error.to_string() },
        }),
    }
}
