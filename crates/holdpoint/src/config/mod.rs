//! The one configuration: `holdpoint.toml`, the environment and the command line.

mod check;
mod checkpoints;
mod deploy;
pub mod diagnostic;
pub mod file;
mod gateway;
mod machine;
mod notify;
mod server;
#[cfg(test)]
mod tests;
mod words;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use holdpoint_containers::Choice;
use holdpoint_model::{AgentDef, Keep};

pub use checkpoints::CheckpointStore;
pub use deploy::{Deploy, SourceAt, SourceConfig};
pub use file::{EngineChoice, schema};
pub use gateway::{DEFAULT_UPSTREAM, Gateway, NamedUpstream};
pub use notify::{Endpoint, NamedSecret, Notify};
pub use server::{DEFAULT_TLS_PORT, Server, Tls};

use crate::{
    data::{DataDir, describe},
    env::Environment,
    failure::{Exit, Failure},
};
use diagnostic::Diagnostic;
use file::FileConfig;

/// The port of panel and API.
pub const DEFAULT_PORT: u16 = 3370;

/// What is logged where nothing is said.
pub const DEFAULT_LOG: &str = "info";

/// The name of the file, in the working directory or the data folder.
pub const FILE_NAME: &str = "holdpoint.toml";

/// The name of the agent that is always there.
pub const BUILTIN_AGENT: &str = "claude";

/// The configuration, whole and checked. All paths are absolute.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from, if there is one.
    pub file: Option<PathBuf>,
    /// The address to listen on.
    pub host: IpAddr,
    /// The port; 0 lets the machine choose.
    pub port: u16,
    /// How others reach the panel; None for `http://HOST:PORT`.
    pub base_url: Option<String>,
    /// How others than this machine reach the panel.
    pub server: Server,
    /// Sessions that may run at once.
    pub max_sessions: u32,
    /// How long conversations are kept after their end where their agent says nothing; None for ever.
    pub keep: Option<Keep>,
    /// What is logged, as directives.
    pub log: String,
    /// The Claude CLI.
    pub claude: Claude,
    /// The way to the model.
    pub gateway: Gateway,
    /// The script that answers in place of a model.
    pub rehearsal: Option<PathBuf>,
    /// Where people are told that something waits for them.
    pub notify: Notify,
    /// Where sessions run.
    pub engine: EngineChoice,
    /// The container engine and its images.
    pub container: Container,
    /// What images of agents are made of, and where they go.
    pub deploy: Deploy,
    /// Where checkpoints are kept.
    pub checkpoints: CheckpointStore,
    /// The agents by name; at least the built-in one.
    pub agents: BTreeMap<String, AgentDef>,
}

/// The container engine, and what images are built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Which engine.
    pub engine: Choice,
    /// The image of agents that name none, if not the base image.
    pub image: Option<String>,
    /// The mirror of Debian, if one is set.
    pub mirror: Option<String>,
}

/// Which Claude CLI runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claude {
    /// Where it is.
    pub cli: CliSource,
    /// Whether other versions than the tested one will do.
    pub any_version: bool,
}

/// Where the Claude CLI is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CliSource {
    /// In the data folder, installed by Holdpoint.
    Installed,
    /// The `claude` on PATH.
    Path,
    /// This file.
    File(PathBuf),
}

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--port`
    pub port: Option<u16>,
    /// `--host`
    pub host: Option<IpAddr>,
    /// `--rehearsal`
    pub rehearsal: Option<PathBuf>,
}

impl Config {
    /// Reads the file (`asked`, or the one in the working directory or data folder) and puts
    /// environment and command line over it.
    ///
    /// # Errors
    /// Everything that is wrong, with its place.
    pub fn load(
        asked: Option<&Path>,
        data: &DataDir,
        environment: &Environment,
        overrides: &Overrides,
    ) -> Result<Self, Failure> {
        let (path, text) = match find(asked, data)? {
            Some(path) => {
                let text = read(&path)?;
                (Some(path), text)
            }
            None => (None, String::new()),
        };
        let shown = path.clone().unwrap_or_default();
        let folder = match &path {
            Some(path) => {
                let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                absolute.parent().map_or_else(PathBuf::new, Path::to_owned)
            }
            None => data.root().to_owned(),
        };
        let file =
            parse(&text, &folder).map_err(|diagnostics| diagnostic::failure(&shown, &text, &diagnostics))?;
        Self::resolve(file, path, &folder, environment, overrides)
    }

    /// What there is without any file or environment: for what has to work whatever is wrong in them.
    ///
    /// # Errors
    /// None that a person can do anything about.
    pub fn built_in(data: &DataDir) -> Result<Self, Failure> {
        let nothing = (FileConfig::default(), Environment::default(), Overrides::default());
        Self::resolve(nothing.0, None, data.root(), &nothing.1, &nothing.2)
    }

    fn resolve(
        file: FileConfig,
        path: Option<PathBuf>,
        folder: &Path,
        environment: &Environment,
        overrides: &Overrides,
    ) -> Result<Self, Failure> {
        let port = match (overrides.port, &environment.port) {
            (Some(port), _) => Some(port),
            (None, Some(text)) => Some(port_of(text)?),
            (None, None) => file.port,
        };
        let rehearsal = match &overrides.rehearsal {
            Some(script) => Some(existing(script)?),
            None => file.rehearsal.script.map(|script| folder.join(script)),
        };
        let cli = match file.claude.cli.as_deref() {
            None => CliSource::Installed,
            Some("path") => CliSource::Path,
            Some(path) => CliSource::File(folder.join(path)),
        };
        let mut agents = file.agents;
        let builtin = AgentDef::builtin();
        agents.entry(BUILTIN_AGENT.to_owned()).or_insert_with(|| builtin.clone());
        for (name, agent) in &mut agents {
            anchor(agent, folder);
            if agent.title.trim().is_empty() {
                agent.title = if name == BUILTIN_AGENT { builtin.title.clone() } else { name.clone() };
            }
            if agent.description.trim().is_empty() && name == BUILTIN_AGENT {
                agent.description.clone_from(&builtin.description);
            }
        }
        Ok(Self {
            file: path,
            host: overrides.host.or(file.host).unwrap_or(Ipv4Addr::LOCALHOST.into()),
            port: port.unwrap_or(DEFAULT_PORT),
            base_url: trimmed(file.base_url),
            server: Server::resolve(file.server, folder),
            max_sessions: file.max_sessions.unwrap_or_else(machine::default_max_sessions),
            keep: file.keep,
            log: environment.rust_log.clone().or(file.log).unwrap_or_else(|| DEFAULT_LOG.to_owned()),
            claude: Claude { cli, any_version: file.claude.any_version },
            gateway: Gateway::resolve(file.gateway, &agents, environment)?,
            rehearsal,
            notify: Notify::resolve(file.notify, environment)?,
            engine: file.engine,
            container: Container {
                // Checked with the file already.
                engine: file.container.engine.and_then(|engine| engine.parse().ok()).unwrap_or_default(),
                image: file.container.image,
                mirror: trimmed(file.container.mirror),
            },
            deploy: Deploy::resolve(file.deploy, folder, environment),
            checkpoints: CheckpointStore::resolve(file.checkpoints.s3, environment),
            agents,
        })
    }
}

/// Parses and checks the text of a file whose relative paths start at `folder`.
///
/// # Errors
/// Everything that is wrong.
pub fn parse(text: &str, folder: &Path) -> Result<FileConfig, Vec<Diagnostic>> {
    let file: FileConfig = toml::from_str(text).map_err(|error| vec![Diagnostic::of_parser(&error)])?;
    let diagnostics = check::check(&file, text, folder);
    if diagnostics.is_empty() { Ok(file) } else { Err(diagnostics) }
}

fn find(asked: Option<&Path>, data: &DataDir) -> Result<Option<PathBuf>, Failure> {
    if let Some(asked) = asked {
        if asked.is_file() {
            return Ok(Some(asked.to_owned()));
        }
        return Err(Failure::new(format!("there is no configuration file {}", asked.display()))
            .exit(Exit::Config)
            .why("--config or HOLDPOINT_CONFIG asks for it")
            .next("holdpoint config example > holdpoint.toml     (to begin with)"));
    }
    let here = PathBuf::from(FILE_NAME);
    let in_data = data.root().join(FILE_NAME);
    Ok([here, in_data].into_iter().find(|path| path.is_file()))
}

fn read(path: &Path) -> Result<String, Failure> {
    let failed = |why: String| {
        Failure::new(format!("failed to read the configuration {}", path.display()))
            .exit(Exit::Config)
            .why(why)
    };
    let bytes = std::fs::read(path).map_err(|error| failed(describe(&error)))?;
    String::from_utf8(bytes).map_err(|error| failed(error.to_string()))
}

fn existing(script: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(script).unwrap_or_else(|_| script.to_owned());
    if absolute.is_file() {
        return Ok(absolute);
    }
    Err(Failure::new(format!("there is no rehearsal script {}", script.display())).exit(Exit::NotFound))
}

fn port_of(text: &str) -> Result<u16, Failure> {
    text.trim().parse().map_err(|error| {
        Failure::new(format!("HOLDPOINT_PORT is {text:?}, which is no port"))
            .exit(Exit::Config)
            .why(error)
            .next("export HOLDPOINT_PORT=3370     (or unset it)")
    })
}

fn trimmed(url: Option<String>) -> Option<String> {
    url.map(|url| url.trim().trim_end_matches('/').to_owned())
}

/// Makes an agent's paths absolute.
fn anchor(agent: &mut AgentDef, folder: &Path) {
    for shared in &mut agent.container.folders {
        shared.path = folder.join(&shared.path);
    }
    for path in agent.claude_folder.iter_mut().chain(&mut agent.rehearsal).chain(&mut agent.plugins) {
        *path = folder.join(&*path);
    }
}

/// An annotated `holdpoint.toml` to begin with.
pub const EXAMPLE: &str = include_str!("../../../../docs/holdpoint.example.toml");
