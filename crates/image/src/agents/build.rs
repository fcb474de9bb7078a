//! Builds an image of agents.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io,
    path::Path,
    time::Duration,
};

use bollard::{
    Docker,
    models::ContainerConfig,
    query_parameters::{CommitContainerOptions, ImportImageOptions, TagImageOptions},
};
use bytes::Bytes;
use futures::StreamExt as _;
use holdpoint_containers::Containers;
use holdpoint_model::image::{BaseLabels, LABEL_KIND};

use super::{
    Progress,
    clean::leftovers,
    configuration::{self, Installed, USER_HOME, WORKING_DIR},
    container::{Container, Job},
    explain::explain,
    inputs::AgentsInputs,
    installed,
    labels::{KIND_AGENTS, LABEL_BASE, LABEL_KEY, LABEL_REPOSITORY, LAYER_REPOSITORY},
    look::{Inspected, inspect, look},
    plan::{LayerKind, PlannedLayer, plan_layers},
    script::{self, FOLDER},
};
use crate::{
    Problem,
    archive::{Blob, Data, ImageArchive, Parts, Run},
    engine::explain as refused,
    layer::Digested,
};

/// How many of the last lines are repeated when a layer fails.
const SAID_LINES: usize = 20;

/// The longest of these lines, in characters.
const SAID_WIDTH: usize = 400;

/// How long one layer may take. Large sets are compiled for half an hour on small machines.
const LAYER_LIMIT: Duration = Duration::from_secs(2 * 3600);

/// How long the engine may take to put a layer away, or to take an image.
const COMMIT_LIMIT: Duration = Duration::from_secs(1800);

/// How often the lock is tried that another build has.
const LOCK_EVERY: Duration = Duration::from_millis(200);

/// An image that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Its id in the engine: `sha256:…`. A registry that it is pushed to has it as the digest of the configuration.
    pub id: String,
    /// The layers above the base, from the bottom.
    pub layers: Vec<BuiltLayer>,
    /// What is installed in it.
    pub installed: Installed,
}

/// A layer of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltLayer {
    /// What it is.
    pub kind: LayerKind,
    /// The digest of the layer as it is, not compressed: `sha256:…`.
    pub digest: String,
    /// Whether it was there from an earlier build.
    pub was_cached: bool,
}

/// Builds an image of agents, and gives it its name. Dropping the future ends what runs, and removes it; whatever a
/// build that was killed left is removed by the next one with the same `cache`, or taken up where it is whole.
///
/// # Errors
/// What failed, why, and what to type next: of packages, which one, and the last that was said.
pub async fn build(
    containers: &Containers,
    inputs: &AgentsInputs,
    progress: &dyn Progress,
) -> Result<Built, Problem> {
    inputs.check()?;
    let _lock = lock(&inputs.cache).await?;
    leftovers(containers, &inputs.cache).await?;
    let known = look(containers, &inputs.base).await?;
    let base = inspect(containers, &inputs.base).await?;
    let plan = plan_layers(inputs, &known);
    let mut top = base.id.clone();
    for layer in &plan {
        progress.layer(layer.kind, layer.cached);
        if !layer.cached {
            top = install(containers, inputs, layer, &top, progress).await?;
        } else if let Some(id) = known.kept.get(&layer.key) {
            top.clone_from(id);
        }
    }
    let below = inspect(containers, &top).await?;
    if below.layers.len() != base.layers.len() + plan.len() || !below.layers.starts_with(&base.layers) {
        return Err(Problem::new(
            "the layers in the engine do not fit together",
            format!("{top} has {} layers on {}", below.layers.len(), base.id),
        )
        .next("build again with --fresh"));
    }
    progress.layer(LayerKind::Configuration, false);
    let installed = ask(containers, inputs, &top).await?;
    let digested = |error: io::Error| Problem::new("failed to put the configuration together", error);
    let layer = configuration::layer(inputs, &installed)?;
    let own = Blob::layer(layer).map_err(digested)?;
    let digest = format!("sha256:{}", own.digested.sha256);
    let key = plan.last().map_or("", |layer| &layer.key);
    let archive = archive(inputs, &base, &below, &plan, key, own)?;
    let id = load(containers, inputs, &archive).await?;
    let digests = below.layers[base.layers.len()..].iter();
    let mut layers: Vec<_> = plan
        .iter()
        .zip(digests)
        .map(|(layer, digest)| BuiltLayer {
            kind: layer.kind,
            digest: digest.clone(),
            was_cached: layer.cached,
        })
        .collect();
    layers.push(BuiltLayer { kind: LayerKind::Configuration, digest, was_cached: false });
    Ok(Built { id, layers, installed })
}

/// One builder at a time in a folder; the end of the process lets it go.
async fn lock(cache: &Path) -> Result<File, Problem> {
    let failed = |error: io::Error| Problem::file("use", cache, &error);
    fs::create_dir_all(cache).map_err(failed)?;
    let file = cache.join("agents.lock");
    let lock = fs::OpenOptions::new().create(true).append(true).open(file).map_err(failed)?;
    loop {
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(rustix::io::Errno::WOULDBLOCK) => tokio::time::sleep(LOCK_EVERY).await,
            Err(error) => return Err(failed(error.into())),
        }
    }
}

/// Makes a layer of dependencies, and gives the id of the image that keeps it.
async fn install(
    containers: &Containers,
    inputs: &AgentsInputs,
    layer: &PlannedLayer,
    below: &str,
    progress: &dyn Progress,
) -> Result<String, Problem> {
    let failed = |error| refused(containers, &format!("failed to install the {}", layer.kind), &error);
    let mut files = Vec::new();
    script::files(inputs, layer.kind)
        .write(&mut files)
        .map_err(|error| Problem::new("failed to put the files of a build together", error))?;
    let job = Job {
        image: below,
        user: "0:0",
        command: vec!["sh".into(), format!("/{FOLDER}/run.sh")],
        network: inputs.network.as_deref(),
        builder: &inputs.cache,
        key: &layer.key,
    };
    let mut client = containers.client().clone();
    client.set_timeout(COMMIT_LIMIT);
    let container = Container::create(&client, &job, Some(files.into())).await.map_err(failed)?;
    let made = make(containers, layer, &client, &container, progress).await;
    // Whatever came of it. Dropping it alone would leave it behind where the program ends at once.
    let removed = container.remove().await.map_err(failed);
    let id = made?;
    removed?;
    Ok(inspect(containers, &id).await?.id)
}

/// Runs a container to its end and puts away what it made: the id of that image.
async fn make(
    containers: &Containers,
    layer: &PlannedLayer,
    client: &Docker,
    container: &Container,
    progress: &dyn Progress,
) -> Result<String, Problem> {
    let what = format!("failed to install the {}", layer.kind);
    let failed = |error| refused(containers, &what, &error);
    let mut said = VecDeque::new();
    let run = container.run(|line| {
        let line: String = line.chars().take(SAID_WIDTH).collect();
        progress.line(layer.kind, &line);
        if said.len() == SAID_LINES {
            said.pop_front();
        }
        said.push_back(line);
    });
    let code = tokio::time::timeout(LAYER_LIMIT, run).await.map_err(|_| {
        Problem::new(&what, format!("it has not ended within {} hours", LAYER_LIMIT.as_secs() / 3600))
            .next("look at the last that was said, and build again")
    })?;
    let code = code.map_err(failed)?;
    if code != 0 {
        return Err(explain(layer.kind, code, &Vec::from(said)));
    }
    let options = CommitContainerOptions {
        container: Some(container.name().to_owned()),
        repo: Some(LAYER_REPOSITORY.into()),
        tag: Some(layer.key[..16].to_owned()),
        ..CommitContainerOptions::default()
    };
    let committed = client.commit_container(options, ContainerConfig::default()).await.map_err(failed)?;
    Ok(committed.id)
}

/// What is installed in an image.
async fn ask(containers: &Containers, inputs: &AgentsInputs, image: &str) -> Result<Installed, Problem> {
    let failed = |error| refused(containers, "failed to ask what is installed", &error);
    let job = Job {
        image,
        user: "0:0",
        command: vec!["sh".into(), "-c".into(), installed::SCRIPT.into()],
        network: Some("none"),
        builder: &inputs.cache,
        key: "",
    };
    let container = Container::create(containers.client(), &job, None).await.map_err(failed)?;
    let mut said = String::new();
    let code = container
        .run(|line| {
            said.push_str(line);
            said.push('\n');
        })
        .await;
    let removed = container.remove().await.map_err(failed);
    let code = code.map_err(failed)?;
    removed?;
    installed::parse(&said).filter(|_| code == 0).ok_or_else(|| {
        Problem::new(
            "failed to ask what is installed",
            format!("it ended with exit code {code}: {}", said.trim()),
        )
    })
}

/// The image, without the layers that the engine has.
fn archive(
    inputs: &AgentsInputs,
    base: &Inspected,
    below: &Inspected,
    plan: &[PlannedLayer],
    key: &str,
    own: Blob,
) -> Result<ImageArchive, Problem> {
    let mut labels: BTreeMap<String, String> = BaseLabels::parse(&base.labels)
        .map_err(|why| Problem::new(format!("cannot build on the image {}", base.id), why))?
        .labels();
    labels.extend(inputs.labels.clone());
    labels.insert(LABEL_KIND.into(), KIND_AGENTS.into());
    labels.insert(LABEL_BASE.into(), base.id.clone());
    labels.insert(LABEL_REPOSITORY.into(), inputs.repository_and_tag().0.into());
    labels.insert(LABEL_KEY.into(), key.into());
    let mut env = base.run.env.clone();
    env.retain(|variable| !variable.starts_with("HOME="));
    env.push(format!("HOME={USER_HOME}"));
    let names =
        std::iter::repeat_n("base", base.layers.len()).chain(plan.iter().map(|layer| layer.kind.name()));
    let mut layers: Vec<_> = names
        .zip(&below.layers)
        .map(|(name, digest)| {
            let sha256 = digest.trim_start_matches("sha256:").to_owned();
            (name, Blob { digested: Digested { sha256, size: 0 }, data: Data::InEngine })
        })
        .collect();
    layers.push((LayerKind::Configuration.name(), own));
    let (repository, tag) = inputs.repository_and_tag();
    ImageArchive::new(Parts {
        name: format!("{repository}:{tag}"),
        labels,
        created: inputs.created.to_string(),
        layers,
        run: Run { env, working_dir: WORKING_DIR.into(), ..base.run.clone() },
    })
    .map_err(|error| Problem::new("failed to describe the image", error))
}

async fn load(
    containers: &Containers,
    inputs: &AgentsInputs,
    archive: &ImageArchive,
) -> Result<String, Problem> {
    let failed = |error| refused(containers, "failed to load the image", &error);
    let mut bytes = Vec::new();
    archive.write(&mut bytes).map_err(|error| Problem::new("failed to put the image together", error))?;
    let mut client = containers.client().clone();
    client.set_timeout(COMMIT_LIMIT);
    let archive_bytes = futures::stream::iter([Bytes::from(bytes)]);
    let mut answers =
        client.import_image(ImportImageOptions::default(), bollard::body_stream(archive_bytes), None);
    while let Some(answer) = answers.next().await {
        answer.map_err(failed)?;
    }
    drop(answers);
    let id = format!("sha256:{}", archive.id);
    let loaded = inspect(containers, &id).await?;
    let (repository, tag) = inputs.repository_and_tag();
    let options = TagImageOptions { repo: Some(repository.to_owned()), tag: Some(tag.to_owned()) };
    client.tag_image(&loaded.id, Some(options)).await.map_err(failed)?;
    Ok(loaded.id)
}
