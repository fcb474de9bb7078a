//! What the engine has: the base image, and layers that were kept.

use std::collections::{BTreeMap, HashMap};

use bollard::{errors::Error, models::ImageInspect, query_parameters::ListImagesOptions};
use holdpoint_containers::Containers;
use holdpoint_model::image::{BaseLabels, LABEL_KIND};

use super::labels::{KIND_LAYER, LABEL_KEY};
use crate::{Problem, archive::Run, engine::with_prefix};

/// What is there, as far as it decides which layers have to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The digests of the base image's layers, from the bottom: `sha256:…`.
    pub base_layers: Vec<String>,
    /// The ids of the images of kept layers, by the layers' keys.
    pub kept: BTreeMap<String, String>,
}

/// Asks the engine what is there.
///
/// # Errors
/// When the engine does not say, or the base image is none.
pub async fn look(containers: &Containers, base: &str) -> Result<Known, Problem> {
    let base = inspect(containers, base).await?;
    BaseLabels::parse(&base.labels).map_err(|why| {
        Problem::new(format!("cannot build on the image {}", base.id), why)
            .next("holdpoint image build --base")
    })?;
    let images = labelled(containers, &format!("{LABEL_KIND}={KIND_LAYER}")).await?;
    let mut kept = BTreeMap::new();
    for (id, labels) in images {
        if let Some(key) = labels.get(LABEL_KEY) {
            kept.entry(key.clone()).or_insert(id);
        }
    }
    Ok(Known { base_layers: base.layers, kept })
}

/// The ids and labels of the images that have a label, the newest first: what was made anew comes before what it
/// replaces.
pub(super) async fn labelled(
    containers: &Containers,
    label: &str,
) -> Result<Vec<(String, HashMap<String, String>)>, Problem> {
    let options = ListImagesOptions {
        filters: Some(HashMap::from([("label".to_owned(), vec![label.to_owned()])])),
        ..Default::default()
    };
    let failed = |error| Problem::new(format!("{} does not list its images", containers.kind()), error);
    let mut images = containers.client().list_images(Some(options)).await.map_err(failed)?;
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    Ok(images.into_iter().map(|image| (with_prefix(&image.id), image.labels)).collect())
}

/// An image, as far as it matters to one on top of it.
#[derive(Clone, Debug)]
pub(super) struct Inspected {
    pub(super) id: String,
    pub(super) layers: Vec<String>,
    pub(super) run: Run,
    pub(super) labels: HashMap<String, String>,
}

pub(super) async fn inspect(containers: &Containers, image: &str) -> Result<Inspected, Problem> {
    match containers.client().inspect_image(image).await {
        Ok(found) => Ok(inspected(found)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Err(Problem::new(
            format!("there is no image {image}"),
            format!("{} does not have it", containers.kind()),
        )
        .next("holdpoint image list")),
        Err(error) => Err(Problem::new(format!("failed to look at the image {image}"), error)),
    }
}

fn inspected(found: ImageInspect) -> Inspected {
    let config = found.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    Inspected {
        id: with_prefix(&found.id.unwrap_or_default()),
        layers: found.root_fs.and_then(|root| root.layers).unwrap_or_default(),
        run: Run {
            user: config.user.unwrap_or_default(),
            env: config.env.unwrap_or_default(),
            cmd: config.cmd.unwrap_or_default(),
            working_dir: config.working_dir.unwrap_or_default(),
            labels: BTreeMap::new(),
        },
        labels,
    }
}
