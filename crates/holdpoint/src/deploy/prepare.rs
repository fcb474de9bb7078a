//! What goes into a release: repositories and plugins at their commits, dependencies merged, and the lock of all that.

use std::collections::BTreeMap;

use futures::future::join_all;
use holdpoint_containers::Containers;
use holdpoint_dependencies::{CONSTRAINTS, Merged, PACKAGE_JSON, REQUIREMENTS, Repository, merge};
use holdpoint_image::agents;
use holdpoint_model::{
    Digest, Lock, Tree,
    image::base_name,
    lock::{LOCK_VERSION, PluginLock, SourceLock, policy_digest, settings_digest, short},
    release::IMAGE_PLUGINS,
};
use holdpoint_sources::{
    Configuration, Dependencies, Location, Pin, Revision, Source, Sources, configuration, marketplace_trees,
    settled,
};

use super::{failures, lockfile};
use crate::{
    cli::Context,
    config::{Config, EngineChoice, SourceAt, SourceConfig},
    containers,
    failure::{Exit, Failure},
    install,
};

/// What is wished for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    /// The commits of `holdpoint.lock`, rather than the newest.
    pub locked: bool,
}

/// Everything that goes into a release.
#[derive(Debug)]
pub struct Prepared {
    /// What it comes to; without an image yet.
    pub lock: Lock,
    /// What whoever deploys should know.
    pub notes: Vec<String>,
    /// The container engine, where sessions run in containers.
    pub engine: Option<Containers>,
    pub(super) user_claude: Tree,
    pub(super) project_claude: Tree,
    pub(super) plugins: Tree,
    pub(super) dependencies: agents::Dependencies,
    pub(super) sources: Vec<agents::SourceNote>,
}

impl Prepared {
    /// Looks at everything, and fetches what is not there yet.
    ///
    /// # Errors
    /// What cannot be had, does not go together, or is not written as it should be: all of it before anything is built.
    pub async fn new(context: &Context, config: &Config, wish: Wish) -> anyhow::Result<Self> {
        let locked = match wish.locked {
            true => Some(lockfile::read(&lockfile::path(config, &context.data))?),
            false => None,
        };
        let from_git = of_sources(context, config, locked.as_ref());
        let (from_git, engine) = tokio::join!(from_git, base(context, config));
        let (of_sources, (engine, base)) = (from_git?, engine?);
        let FromSources { configuration, plugins, pins, merged, sources, notes } = of_sources;
        let plugins_tree = marketplace_trees(&plugins).map_err(Failure::from)?;
        let settled = settled(&configuration, &plugins, IMAGE_PLUGINS).map_err(Failure::from)?;
        let has_claude = !settled.user_claude.is_empty() || !settled.project_claude.is_empty();
        let lock = Lock {
            version: LOCK_VERSION,
            holdpoint: env!("CARGO_PKG_VERSION").into(),
            claude_cli: install::VERSION.into(),
            settings: settings_digest(&config.agents),
            policy: policy_digest(&config.agents),
            base,
            dependencies: (!merged.is_empty()).then(|| Digest::of_bytes(merged.canonical().as_bytes())),
            configuration: has_claude.then(|| {
                let both = [settled.user_claude.digest(), settled.project_claude.digest()];
                Digest::of_bytes(both.map(|digest| digest.to_string()).join("\n").as_bytes())
            }),
            image: None,
            sources: sources.iter().map(|(name, source)| ((*name).to_owned(), source.clone())).collect(),
            plugins: pins,
        };
        if lock.needs_image() && engine.is_none() {
            return Err(Failure::new("there is no container engine to build an image with")
                .why("`engine = \"process\"` in holdpoint.toml runs sessions without containers, and [deploy] asks for an image")
                .next("take `engine` out of holdpoint.toml, or the repositories out of [deploy]")
                .exit(Exit::Config)
                .into());
        }
        Ok(Self {
            lock,
            notes,
            engine,
            user_claude: settled.user_claude,
            project_claude: settled.project_claude,
            plugins: plugins_tree,
            dependencies: of_merged(&merged),
            sources: sources
                .into_iter()
                .map(|(role, source)| agents::SourceNote {
                    role: role.to_owned(),
                    from: source.from,
                    revision: source.revision,
                })
                .collect(),
        })
    }
}

/// What each configuration repository is at now, as people read it. Nothing is fetched.
pub async fn look(context: &Context, config: &Config) -> Vec<(&'static str, Result<String, Failure>)> {
    let asked = config.deploy.sources().map(|(name, source)| async move {
        let at = async {
            let sources = Sources::new(options(context, config)?);
            let source = as_source(name, source)?;
            let revision = sources.look(&source).await.map_err(Failure::from)?;
            Ok(format!("{} ({source})", short(&revision.to_string())))
        };
        (name, at.await)
    });
    join_all(asked).await
}

struct FromSources {
    configuration: Configuration,
    plugins: Vec<holdpoint_sources::Plugin>,
    pins: Vec<PluginLock>,
    merged: Merged,
    sources: Vec<(&'static str, SourceLock)>,
    notes: Vec<String>,
}

async fn of_sources(
    context: &Context,
    config: &Config,
    locked: Option<&Lock>,
) -> anyhow::Result<FromSources> {
    let sources = Sources::new(options(context, config)?);
    let wanted: Vec<(&'static str, Source)> = config
        .deploy
        .sources()
        .map(|(name, source)| Ok((name, as_source(name, source)?)))
        .collect::<Result<_, Failure>>()?;
    let fetched = join_all(wanted.iter().map(|(name, source)| fetch(&sources, name, source, locked))).await;
    let (mut trees, mut locks, mut notes, mut problems) =
        (BTreeMap::new(), Vec::new(), Vec::new(), Vec::new());
    for ((name, source), fetched) in wanted.iter().zip(fetched) {
        match fetched {
            Ok(fetched) => {
                notes.extend(fetched.notes.iter().map(|note| format!("{name}: {note}")));
                locks.push((*name, lock_of(source, &fetched.revision)));
                trees.insert(*name, fetched.tree);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(failures("failed to fetch the configuration", problems).into());
    }
    let configuration = configuration(trees.get("master"), trees.get("project"))
        .map_err(|problems| failures("the configuration cannot be used", problems))?;
    notes.extend(configuration.notes.iter().cloned());
    let merged = merged(&configuration.dependencies)?;
    notes.extend(merged.notes.iter().map(ToString::to_string));
    // Of the lock, or the newest.
    let pins: Vec<Pin> = locked.map(|lock| lock.plugins.iter().filter_map(pin).collect()).unwrap_or_default();
    let plugins = sources.plugins(&configuration.plugins, &pins).await;
    let plugins = plugins.map_err(|problems| failures("failed to fetch the plugins", problems))?;
    notes.extend(plugins.notes);
    let mut pins: Vec<PluginLock> = plugins.pins.into_iter().map(plugin_lock).collect();
    pins.sort();
    Ok(FromSources { configuration, plugins: plugins.plugins, pins, merged, sources: locks, notes })
}

async fn fetch(
    sources: &Sources,
    name: &str,
    source: &Source,
    locked: Option<&Lock>,
) -> Result<holdpoint_sources::Fetched, holdpoint_model::problem::Problem> {
    let pinned =
        locked.and_then(|lock| lock.sources.get(name)).and_then(|pinned| pinned.revision.parse().ok());
    let at: Revision = match pinned {
        Some(revision) => revision,
        None => sources.look(source).await?,
    };
    sources.files(source, &at).await
}

/// Where git is, and what it is given.
fn options(context: &Context, config: &Config) -> Result<holdpoint_sources::Options, Failure> {
    let mut tokens = BTreeMap::new();
    for (name, source) in config.deploy.sources() {
        if let (SourceAt::Git(url), Some(token)) = (&source.at, &source.token)
            && let Some(host) = reqwest::Url::parse(url).ok().and_then(|url| host_of(&url))
        {
            tokens.insert(host, token.needed(&format!("`token` of [deploy.{name}]"))?);
        }
    }
    Ok(holdpoint_sources::Options {
        cache: context.data.cache_folder(),
        git: "git".into(),
        path: context.environment.path.clone(),
        env: context.environment.for_git.clone(),
        tokens,
    })
}

fn host_of(url: &reqwest::Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

fn as_source(name: &str, source: &SourceConfig) -> Result<Source, Failure> {
    let token = source.token.as_ref();
    Ok(Source {
        from: match &source.at {
            SourceAt::Git(url) => Location::Git(url.clone()),
            SourceAt::Folder(folder) => Location::Folder(folder.clone()),
        },
        reference: source.reference.clone(),
        folder: source.subfolder.clone(),
        token: token.map(|token| token.needed(&format!("`token` of [deploy.{name}]"))).transpose()?,
    })
}

fn lock_of(source: &Source, revision: &Revision) -> SourceLock {
    SourceLock {
        from: match &source.from {
            Location::Git(url) => url.clone(),
            Location::Folder(folder) => folder.display().to_string(),
        },
        reference: source.reference.clone(),
        folder: source.folder.clone(),
        revision: revision.to_string(),
    }
}

fn plugin_lock(pin: Pin) -> PluginLock {
    PluginLock {
        marketplace: pin.marketplace,
        plugin: pin.plugin,
        from: pin.source,
        revision: pin.revision.to_string(),
    }
}

fn pin(plugin: &PluginLock) -> Option<Pin> {
    Some(Pin {
        marketplace: plugin.marketplace.clone(),
        plugin: plugin.plugin.clone(),
        source: plugin.from.clone(),
        revision: plugin.revision.parse().ok()?,
    })
}

fn merged(dependencies: &[Dependencies]) -> Result<Merged, Failure> {
    let read = |tree: &Tree, path: &str| match tree.get(path) {
        None => Ok(None),
        Some(file) => String::from_utf8(file.bytes.clone()).map(Some).map_err(|_| "it is no text".to_owned()),
    };
    let readers: Vec<_> =
        dependencies.iter().map(|of| (of.repository, move |path: &str| read(&of.files, path))).collect();
    let repositories: Vec<Repository<'_>> =
        readers.iter().map(|(name, read)| Repository { name, read }).collect();
    merge(&repositories).map_err(|refused| {
        Failure::new("the dependencies of master and project do not go together")
            .exit(Exit::Config)
            .why(refused)
            .next("change one of the lines, commit and push it, and deploy again")
    })
}

fn of_merged(merged: &Merged) -> agents::Dependencies {
    let files: BTreeMap<&str, String> = merged.files().into_iter().collect();
    agents::Dependencies {
        requirements: files.get(REQUIREMENTS).cloned(),
        constraints: files.get(CONSTRAINTS).cloned(),
        package_json: files.get(PACKAGE_JSON).cloned(),
        system: merged.system.packages().iter().map(ToString::to_string).collect(),
    }
}

/// The engine, and the id of the base image in it, where sessions run in containers.
async fn base(context: &Context, config: &Config) -> anyhow::Result<(Option<Containers>, Option<String>)> {
    if config.engine == EngineChoice::Process {
        return Ok((None, None));
    }
    let engine = match containers::connect(&config.container, &context.environment).await {
        Ok(engine) => engine,
        // As `up` does: without containers where none work.
        Err(_) if config.engine == EngineChoice::Auto && config.deploy.sources().next().is_none() => {
            return Ok((None, None));
        }
        Err(failure) => return Err(failure.into()),
    };
    let name = config.container.image.clone();
    let name = name.unwrap_or_else(|| base_name(env!("CARGO_PKG_VERSION"), install::VERSION));
    match engine.client().inspect_image(&name).await {
        Ok(image) => {
            let id = image.id.unwrap_or_default();
            let id = if id.contains(':') { id } else { format!("sha256:{id}") };
            Ok((Some(engine), Some(id)))
        }
        Err(_) if config.engine == EngineChoice::Auto && config.deploy.sources().next().is_none() => {
            Ok((None, None))
        }
        Err(error) => Err(Failure::new(format!(
            "{} does not have the image that agents' images are built on",
            engine.kind()
        ))
        .why(format!("{name}: {error}"))
        .next("holdpoint image build --base")
        .exit(Exit::NotFound)
        .into()),
    }
}
