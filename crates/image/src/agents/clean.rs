//! What builds leave behind: containers of one that was killed, and images that nothing needs any more.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use bollard::query_parameters::{ListContainersOptions, RemoveImageOptions};
use holdpoint_containers::Containers;
use holdpoint_model::image::LABEL_KIND;

use super::{
    container::remove,
    labels::{KIND_AGENTS, KIND_LAYER, LABEL_BUILDER, LABEL_KEY, LABEL_REPOSITORY},
    look::{inspect, labelled},
};
use crate::Problem;

/// Removes the containers that a builder left which was killed, and gives their number. The caller knows that none is
/// at work: `build` calls this while it has the lock.
///
/// # Errors
/// When the engine refuses.
pub async fn leftovers(containers: &Containers, cache: &Path) -> Result<usize, Problem> {
    let label = format!("{LABEL_BUILDER}={}", cache.display());
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([("label".to_owned(), vec![label])])),
        ..Default::default()
    };
    let failed = |error| Problem::new("failed to remove the containers of an earlier build", error);
    let left = containers.client().list_containers(Some(options)).await.map_err(failed)?;
    let ids: Vec<_> = left.into_iter().filter_map(|container| container.id).collect();
    for id in &ids {
        remove(containers.client(), id).await.map_err(failed)?;
    }
    Ok(ids.len())
}

/// Removes the images of agents of a repository (a name without its tag) that are not among `keep`, and the layers
/// that this builder kept and no image of agents has any more. Gives the ids of what is gone. What a container still
/// uses stays, and goes the next time.
///
/// # Errors
/// When the engine does not list its images.
pub async fn remove_unused(
    containers: &Containers,
    cache: &Path,
    repository: &str,
    keep: &[&str],
) -> Result<Vec<String>, Problem> {
    let mut gone = Vec::new();
    let agents = labelled(containers, &format!("{LABEL_KIND}={KIND_AGENTS}")).await?;
    let mut needed = BTreeSet::new();
    for (id, labels) in agents {
        let is_ours = labels.get(LABEL_REPOSITORY).is_some_and(|label| label == repository);
        if is_ours && !keep.contains(&id.as_str()) && remove_image(containers, &id).await {
            gone.push(id);
        } else {
            needed.extend(labels.get(LABEL_KEY).cloned());
        }
    }
    let layers = labelled(containers, &format!("{LABEL_KIND}={KIND_LAYER}")).await?;
    // The layers below a needed one are in it. They are kept under names of their own too: a change of npm packages
    // alone begins from them.
    let mut digests = BTreeSet::new();
    for (id, _) in
        layers.iter().filter(|(_, labels)| labels.get(LABEL_KEY).is_some_and(|key| needed.contains(key)))
    {
        digests.extend(inspect(containers, id).await?.layers);
    }
    for (id, labels) in layers {
        let is_own = labels.get(LABEL_BUILDER).is_some_and(|builder| Path::new(builder) == cache);
        if !is_own {
            continue;
        }
        let top = inspect(containers, &id).await?.layers.last().cloned();
        if !top.is_some_and(|top| digests.contains(&top)) && remove_image(containers, &id).await {
            gone.push(id);
        }
    }
    Ok(gone)
}

/// Whether it is gone.
async fn remove_image(containers: &Containers, id: &str) -> bool {
    let client = containers.client();
    // By its names, one by one: an id with several is refused, and force would end what runs from it.
    let names = client.inspect_image(id).await.ok().and_then(|image| image.repo_tags).unwrap_or_default();
    let targets = if names.is_empty() { vec![id.to_owned()] } else { names };
    for target in &targets {
        if client.remove_image(target, None::<RemoveImageOptions>, None).await.is_err() {
            return false;
        }
    }
    client.inspect_image(id).await.is_err()
}
