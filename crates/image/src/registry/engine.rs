//! What the engine does about registries: push and pull.
//!
//! Over its socket by our own requests: whether TLS is checked is a parameter of Podman's that the client library
//! does not have, and Podman's own interface pushes an id without giving it a name first.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE};
use bollard::query_parameters::TagImageOptions;
use futures::StreamExt as _;
use holdpoint_containers::Containers;
use oci_client::Reference;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::json;

use super::{Access, explain::Refusal};

/// How long an engine may say nothing. It compresses the largest layer in one go.
const SILENCE_LIMIT: Duration = Duration::from_secs(1800);

/// The version of Podman's own interface: what every Podman since 4.0 takes.
const PODMAN: &str = "http://podman/v4.0.0/libpod";

/// That of Docker's.
const DOCKER: &str = "http://docker/v1.40";

/// The longest line of an answer that is looked at, in bytes.
const LINE_LIMIT: usize = 1 << 20;

/// A line of an answer: of Docker, or of Podman.
#[derive(Deserialize)]
struct Line {
    status: Option<String>,
    stream: Option<String>,
    error: Option<String>,
}

/// Pushes an image.
pub(super) async fn push(
    containers: &Containers,
    image: &str,
    to: &Reference,
    tag: &str,
    access: &Access,
    plain: bool,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Refusal> {
    let repository = format!("{}/{}", to.registry(), to.repository());
    let url = if containers.kind().is_podman() {
        let image = image.trim_start_matches("sha256:");
        let mut url = url(&format!("{PODMAN}/images/{image}/push"))?;
        url.query_pairs_mut()
            .append_pair("destination", &format!("{repository}:{tag}"))
            .append_pair("tlsVerify", if plain { "false" } else { "true" })
            .append_pair("quiet", "false");
        url
    } else {
        let options = TagImageOptions { repo: Some(repository.clone()), tag: Some(tag.to_owned()) };
        let tagged = containers.client().tag_image(image, Some(options)).await;
        tagged.map_err(|error| Refusal::said(error.to_string()))?;
        let mut url = url(&format!("{DOCKER}/images/{repository}/push"))?;
        url.query_pairs_mut().append_pair("tag", tag);
        url
    };
    ask(containers, url, to.resolve_registry(), access, progress).await
}

/// Pulls an image.
pub(super) async fn pull(
    containers: &Containers,
    reference: &str,
    access: &Access,
    plain: bool,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Refusal> {
    let url = if containers.kind().is_podman() {
        let mut url = url(&format!("{PODMAN}/images/pull"))?;
        url.query_pairs_mut()
            .append_pair("reference", reference)
            .append_pair("tlsVerify", if plain { "false" } else { "true" });
        url
    } else {
        let mut url = url(&format!("{DOCKER}/images/create"))?;
        url.query_pairs_mut().append_pair("fromImage", reference);
        url
    };
    let registry = reference.split('/').next().unwrap_or(reference);
    ask(containers, url, registry, access, progress).await
}

fn url(text: &str) -> Result<reqwest::Url, Refusal> {
    text.parse().map_err(|error| Refusal::said(format!("{text} is no address: {error}")))
}

/// Asks the engine, and reads its answer to the end: what goes wrong on the way is in there.
async fn ask(
    containers: &Containers,
    url: reqwest::Url,
    registry: &str,
    access: &Access,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Refusal> {
    let failed = |error: reqwest::Error| Refusal::from(oci_client::errors::OciDistributionError::from(error));
    let client = reqwest::Client::builder()
        .unix_socket(containers.socket())
        .read_timeout(SILENCE_LIMIT)
        .build()
        .map_err(failed)?;
    // Docker wants the header where there is no log-in too.
    let auth = match &access.login {
        Some(login) => json!({
            "username": login.user,
            "password": login.password.expose_secret(),
            "serveraddress": registry,
        }),
        None => json!({}),
    };
    let header = BASE64_URL_SAFE.encode(auth.to_string());
    let answer = client.post(url).header("X-Registry-Auth", header).send().await.map_err(failed)?;
    let status = answer.status();
    if !status.is_success() {
        let text = answer.text().await.unwrap_or_default();
        // The status is the engine's, 500 for whatever a registry refuses: the words decide.
        return Err(Refusal::said(message(&text)));
    }
    let mut pieces = answer.bytes_stream();
    let mut begun = Vec::new();
    let mut refused = None;
    let mut look = |line: &[u8]| {
        let Ok(line) = serde_json::from_slice::<Line>(line) else { return };
        if let Some(error) = line.error {
            refused = Some(Refusal::said(error));
        } else if let Some(text) = line.stream.or(line.status) {
            progress(text.trim_end());
        }
    };
    while let Some(piece) = pieces.next().await {
        for part in piece.map_err(failed)?.split_inclusive(|byte| *byte == b'\n') {
            begun.extend_from_slice(part);
            if part.ends_with(b"\n") || begun.len() > LINE_LIMIT {
                look(&begun);
                begun.clear();
            }
        }
    }
    look(&begun);
    refused.map_or(Ok(()), Err)
}

/// The message in an engine's error.
fn message(text: &str) -> String {
    #[derive(Deserialize)]
    struct Error {
        message: String,
        cause: Option<String>,
    }
    match serde_json::from_str::<Error>(text) {
        Ok(Error { message, cause: Some(cause) }) if !message.contains(&cause) => {
            format!("{message}: {cause}")
        }
        Ok(error) => error.message,
        Err(_) => text.to_owned(),
    }
}
