//! The image of a release: built, and pushed where that is asked for.

use std::sync::{Mutex, PoisonError};

use holdpoint_containers::Containers;
use holdpoint_image::{
    agents::{self, AgentsInputs, LayerKind, Mirrors},
    registry::{self, Access, Login, LoginSources},
};
use holdpoint_model::{Digest, ReleaseNumber, lock::ImageLock};
use jiff::Timestamp;

use super::Prepared;
use crate::{cli::Context, config::Config, data::DataDir, env::Environment, failure::Failure, term::Term};

/// What images of agents are called on this machine, before the mark of their data folder.
const REPOSITORY: &str = "localhost/holdpoint/agents";

/// Digits of the mark of a data folder, and of an image's id in a tag.
const MARK: usize = 12;

/// The name of the folder for builds in the cache of the data folder.
const CACHE: &str = "agents-images";

/// An image that was built.
#[derive(Clone, Debug)]
pub struct AgentsImage {
    /// Its id, and where it was pushed to.
    pub lock: ImageLock,
    /// Its name on this machine.
    pub name: String,
    /// Its layers above the base, from the bottom, and whether each was there from an earlier build.
    pub layers: Vec<(&'static str, bool)>,
}

/// Builds the image of what is prepared.
///
/// # Errors
/// What failed, why, and what to type next.
pub async fn build(
    context: &Context,
    config: &Config,
    prepared: &Prepared,
    number: ReleaseNumber,
    created: Timestamp,
) -> anyhow::Result<AgentsImage> {
    let (Some(engine), Some(base)) = (&prepared.engine, &prepared.lock.base) else {
        return Err(Failure::new("there is no container engine to build an image with").into());
    };
    let name = format!("{}:{number}", repository(&context.data));
    let inputs = AgentsInputs {
        base: base.clone(),
        user_claude: prepared.user_claude.clone(),
        project_claude: prepared.project_claude.clone(),
        plugins: prepared.plugins.clone(),
        dependencies: prepared.dependencies.clone(),
        sources: prepared.sources.clone(),
        name: name.clone(),
        labels: [("io.holdpoint.lock".to_owned(), prepared.lock.inputs().to_string())].into(),
        created,
        env: context.environment.for_images.iter().filter(|(name, _)| is_proxy(name)).cloned().collect(),
        certificates: certificates(&context.environment)?,
        mirrors: Mirrors {
            apt: config.container.mirror.clone(),
            pip: context.environment.pip_index.clone(),
            npm: context.environment.npm_registry.clone(),
        },
        network: config.deploy.network.clone(),
        cache: cache(&context.data),
        fresh: false,
    };
    let told = Told { term: context.term, last: Mutex::default() };
    let built = agents::build(engine, &inputs, &told).await.map_err(Failure::from)?;
    let layers = built.layers.iter().map(|layer| (layer.kind.name(), layer.was_cached)).collect();
    let reference = match &config.deploy.registry {
        Some(repository) => Some(push(context, config, engine, &built.id, repository, number).await?),
        None => None,
    };
    Ok(AgentsImage { lock: ImageLock { id: built.id, reference }, name, layers })
}

async fn push(
    context: &Context,
    config: &Config,
    engine: &Containers,
    id: &str,
    repository: &str,
    number: ReleaseNumber,
) -> anyhow::Result<String> {
    let access = access(context, config, repository).await?;
    // Another installation's release of this number is another image.
    let tag = format!("{number}-{}", mark(id));
    if context.term.has_error_screen {
        eprintln!("  pushing to {repository}:{tag}");
    }
    let quiet = |_: &str| {};
    let pushed =
        registry::push(engine, id, repository, &tag, &access, &quiet).await.map_err(Failure::from)?;
    Ok(pushed.reference)
}

/// How the registry is reached.
async fn access(context: &Context, config: &Config, repository: &str) -> anyhow::Result<Access> {
    let explicit = match &config.deploy.credentials {
        Some((user, password)) => {
            use secrecy::ExposeSecret as _;
            let what = "`credentials` of [deploy]";
            Some(Login {
                user: user.needed(what)?.expose_secret().to_owned(),
                password: password.needed(what)?,
            })
        }
        None => None,
    };
    let environment = &context.environment;
    let of_runtime = environment.xdg_runtime_dir.as_ref().map(|dir| dir.join("containers/auth.json"));
    let of_home = environment.home.as_ref().map(|home| home.join(".docker/config.json"));
    let config_home = environment.home.as_ref().map(|home| home.join(".config/containers/auth.json"));
    let sources = LoginSources {
        explicit,
        files: environment
            .registry_auth_file
            .iter()
            .cloned()
            .chain(of_runtime)
            .chain(config_home)
            .chain(of_home)
            .collect(),
        path: environment.path.clone(),
        helper_env: environment.for_git.clone(),
    };
    let login = registry::login(&sources, repository).await.map_err(Failure::from)?;
    Ok(Access { login, plain_http: config.deploy.plain_http, certificates: certificates(environment)? })
}

/// Certificates of a proxy that looks into TLS, where the environment names a file of them.
fn certificates(environment: &Environment) -> Result<Option<Vec<u8>>, Failure> {
    let Some(path) = &environment.certificates else { return Ok(None) };
    let read = std::fs::read(path);
    read.map(Some).map_err(|error| {
        Failure::new(format!("failed to read the certificates {}", path.display()))
            .why(format!("SSL_CERT_FILE names it: {error}"))
            .next("unset SSL_CERT_FILE     (or name a file of certificates)")
    })
}

fn is_proxy(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with("_proxy")
}

/// What images of this data folder are called on this machine: several may share an engine.
pub(super) fn repository(data: &DataDir) -> String {
    let folder = Digest::of_bytes(data.root().as_os_str().as_encoded_bytes()).to_string();
    format!("{REPOSITORY}-{}", mark(&folder))
}

pub(super) fn cache(data: &DataDir) -> std::path::PathBuf {
    data.cache_folder().join(CACHE)
}

fn mark(digest: &str) -> String {
    digest.trim_start_matches("sha256:").chars().take(MARK).collect()
}

/// Says what is done, for whoever waits.
struct Told {
    term: Term,
    last: Mutex<Option<LayerKind>>,
}

impl agents::Progress for Told {
    fn layer(&self, layer: LayerKind, cached: bool) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(layer);
        if self.term.has_error_screen {
            let how = if cached { "there already" } else { "being made" };
            eprintln!("  {:14} {how}", layer.name());
        }
    }

    fn line(&self, layer: LayerKind, line: &str) {
        if self.term.has_error_screen {
            eprintln!("  {:14} {}", layer.name(), crate::render::one_line(line, 90));
        }
    }
}
