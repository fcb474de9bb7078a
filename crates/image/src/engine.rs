//! Images in the container engine: loading one, and finding those that are there.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use bollard::{
    Docker,
    errors::Error,
    models::ContainerCreateBody,
    query_parameters::{
        CreateContainerOptions, DownloadFromContainerOptions, ImportImageOptions, ListImagesOptions,
        RemoveContainerOptions, TagImageOptions,
    },
};
use bytes::Bytes;
use futures::StreamExt as _;
use holdpoint_containers::{Containers, recognise};
use holdpoint_model::image::{BASE_REPOSITORY, BaseLabels, KIND_BASE, LABEL_KIND, MANIFEST_PATH};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{Image, Problem, Progress, Step};

/// How long an engine may take to put half a gigabyte away on a slow disk.
const LOAD_LIMIT: Duration = Duration::from_secs(900);

/// The image is handed over in pieces of so many bytes.
const PIECE: usize = 1 << 20;

/// What fails where a base image is not taken.
const LOADING: &str = "failed to load the image";

/// So many pieces wait for an engine that is slower than the disk.
const PIECES_WAITING: usize = 4;

/// A base image that an engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its id: `sha256:…`.
    pub id: String,
    /// Its names with tags; none where a later image took them.
    pub names: Vec<String>,
    /// What it says of itself.
    pub labels: BaseLabels,
    /// In bytes; layers that it shares with others are counted in each.
    pub size: u64,
    /// When it was built, by its packages, in seconds since 1970.
    pub created: i64,
}

/// Loads an image and gives it its name. Whether it was there already: then nothing is sent.
///
/// # Errors
/// When the engine refuses it.
pub async fn load(
    containers: &Containers,
    image: &Arc<Image>,
    progress: Arc<dyn Progress>,
) -> Result<bool, Problem> {
    let refused = |error: &Error| explain(containers, LOADING, error);
    let mut client = containers.client().clone();
    client.set_timeout(LOAD_LIMIT);
    let was_there = is_there(&client, image).await.map_err(|error| refused(&error))?;
    if !was_there {
        send(&client, image, progress).await.map_err(|error| refused(&error))?;
        if !is_there(&client, image).await.map_err(|error| refused(&error))? {
            let why = format!("{} took it, and has no image {} now", containers.kind(), image.id());
            return Err(Problem::new("failed to load the image", why).next("holdpoint image list"));
        }
    }
    let (repo, tag) = image.name().rsplit_once(':').unwrap_or((image.name(), "latest"));
    let options = TagImageOptions { repo: Some(repo.to_owned()), tag: Some(tag.to_owned()) };
    client.tag_image(image.id(), Some(options)).await.map_err(|error| refused(&error))?;
    Ok(was_there)
}

/// The base images that the engine has, the newest first.
///
/// # Errors
/// When the engine does not say.
pub async fn list(containers: &Containers) -> Result<Vec<Found>, Problem> {
    let filter = vec![format!("{LABEL_KIND}={KIND_BASE}")];
    let options = ListImagesOptions {
        filters: Some(HashMap::from([("label".to_owned(), filter)])),
        ..Default::default()
    };
    let failed = |error| Problem::new(format!("{} does not list its images", containers.kind()), error);
    let images = containers.client().list_images(Some(options)).await.map_err(failed)?;
    let mut found: Vec<_> = images
        .into_iter()
        .filter_map(|image| {
            let named = |name: &String| name.starts_with(BASE_REPOSITORY);
            Some(Found {
                labels: BaseLabels::parse(&image.labels).ok()?,
                id: with_prefix(&image.id),
                names: image.repo_tags.into_iter().filter(named).collect(),
                size: u64::try_from(image.size).unwrap_or_default(),
                created: image.created,
            })
        })
        .collect();
    // Those with a name are what is used.
    found.sort_by_key(|image| (image.names.is_empty(), -image.created));
    Ok(found)
}

/// The text of the manifest in an image; None where there is no such image, or nothing in it.
///
/// # Errors
/// When the engine does not give it out.
pub async fn manifest_in(containers: &Containers, image: &str) -> Result<Option<String>, Problem> {
    let failed =
        |error: Error| Problem::new(format!("failed to look into {image} in {}", containers.kind()), error);
    let client = containers.client();
    // Files can be read only of containers; this one is never started.
    let body = ContainerCreateBody { image: Some(image.to_owned()), ..Default::default() };
    let made = match client.create_container(None::<CreateContainerOptions>, body).await {
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => return Ok(None),
        made => made.map_err(failed)?.id,
    };
    let options = DownloadFromContainerOptions { path: MANIFEST_PATH.into() };
    let mut pieces = client.download_from_container(&made, Some(options));
    let mut archive = Ok(Vec::new());
    while let (Ok(bytes), Some(piece)) = (&mut archive, pieces.next().await) {
        match piece {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(error) => archive = Err(error),
        }
    }
    drop(pieces);
    let removed = client.remove_container(&made, None::<RemoveContainerOptions>).await;
    let archive = match archive {
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => None,
        archive => Some(archive.map_err(failed)?),
    };
    removed.map_err(failed)?;
    archive.map(|archive| only_file(&archive).map_err(|error| failed(error.into()))).transpose()
}

fn only_file(archive: &[u8]) -> io::Result<String> {
    let mut archive = tar::Archive::new(archive);
    let mut file = archive.entries()?.next().ok_or_else(|| io::Error::other("an empty archive"))??;
    io::read_to_string(&mut file)
}

/// Podman leaves the name of the algorithm out where Docker has it.
pub(crate) fn with_prefix(id: &str) -> String {
    if id.starts_with("sha256:") { id.to_owned() } else { format!("sha256:{id}") }
}

async fn is_there(client: &Docker, image: &Image) -> Result<bool, Error> {
    match client.inspect_image(image.id()).await {
        Ok(_) => Ok(true),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn send(client: &Docker, image: &Arc<Image>, progress: Arc<dyn Progress>) -> Result<(), Error> {
    let (pieces, stream) = mpsc::channel(PIECES_WAITING);
    progress.step(Step::Load, image.archive_size());
    let writer = {
        let image = Arc::clone(image);
        tokio::task::spawn_blocking(move || {
            let to = Pieces { to: pieces, progress, sent: 0 };
            image.write_archive(io::BufWriter::with_capacity(PIECE, to))
        })
    };
    let options = ImportImageOptions::default();
    let mut answers = client.import_image_stream(options, ReceiverStream::new(stream), None);
    let mut result = Ok(());
    while let Some(answer) = answers.next().await {
        result = result.and(answer.map(|_| ()));
    }
    drop(answers);
    // What the engine says comes first: the writer fails as well where nobody takes its pieces.
    let written = writer.await.map_err(io::Error::other).and_then(|written| written);
    result.and(written.map_err(Error::from))
}

/// Hands the archive on piece by piece.
struct Pieces {
    to: mpsc::Sender<io::Result<Bytes>>,
    progress: Arc<dyn Progress>,
    sent: u64,
}

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Ok(Bytes::copy_from_slice(bytes));
        self.to.blocking_send(piece).map_err(|_| io::Error::other("the engine takes no more"))?;
        self.sent += bytes.len() as u64;
        self.progress.at(self.sent);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What an engine refused, in words. `what` failed.
pub(crate) fn explain(containers: &Containers, what: &str, error: &Error) -> Problem {
    let said = match error {
        Error::DockerResponseServerError { message, .. } => message.clone(),
        error => error.to_string(),
    };
    let what = format!("{what} ({})", containers.kind());
    let problem = Problem::new(&what, &said);
    if said.contains("no space left") {
        return problem
            .next("podman system df     (or `docker system df`: what images and containers take)")
            .next("podman image prune     (or `docker image prune`: removes what has no name)");
    }
    if let Some(symptom) = recognise(&said) {
        return Problem::new(what, format!("{} ({said})", symptom.why)).next(symptom.next);
    }
    // A storage.conf that says one thing has to say all (Podman 4.3, at a commit).
    if said.contains("runroot must be set") {
        return problem.next(
            "add `runroot` and `graphroot` below `[storage]` in storage.conf (podman info shows both)",
        );
    }
    if said.contains("lchown") {
        return problem
            .next("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER")
            .next("podman system migrate");
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_algorithm() {
        assert_eq!(with_prefix("ab"), "sha256:ab");
        assert_eq!(with_prefix("sha256:ab"), "sha256:ab");
    }
}
