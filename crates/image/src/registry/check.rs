//! Reads what a registry serves, and believes none of it unseen. Pure.

use serde::Deserialize;

use super::explain::Refusal;
use crate::{layer::digest_bytes, packages::architecture};

/// What is asked for: manifests and indexes, as OCI and as Docker call them.
pub(super) const MANIFEST_TYPES: &[&str] = &[
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// An image as a registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Served {
    /// Of the manifest: `sha256:…`.
    pub(super) digest: String,
    /// Of the configuration, which is the image's id: `sha256:…`.
    pub(super) config: String,
}

/// What a digest leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Manifest {
    Image(Served),
    /// The digests of the manifests for this kind of machine.
    Index(Vec<String>),
}

#[derive(Deserialize)]
struct Wire {
    config: Option<Descriptor>,
    manifests: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

#[derive(Deserialize)]
struct Entry {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

/// Reads the manifest that was given for a digest.
pub(super) fn read(text: &[u8], digest: &str) -> Result<Manifest, Refusal> {
    let own = format!("sha256:{}", digest_bytes(text).sha256);
    if own != digest {
        return Err(Refusal::said(format!("what it serves for {digest} has the digest {own}")));
    }
    let wire: Wire = serde_json::from_slice(text)
        .map_err(|error| Refusal::said(format!("what it serves for {digest} is no manifest: {error}")))?;
    match (wire.config, wire.manifests) {
        (Some(config), _) => Ok(Manifest::Image(Served { digest: digest.to_owned(), config: config.digest })),
        (None, Some(entries)) => {
            let fits = |entry: &Entry| {
                let is_ours = |on: &Platform| on.os == "linux" && on.architecture == architecture();
                entry.platform.as_ref().is_some_and(is_ours)
            };
            Ok(Manifest::Index(entries.into_iter().filter(fits).map(|entry| entry.digest).collect()))
        }
        (None, None) => Err(Refusal::said(format!("what it serves for {digest} is no image"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Manifest, Refusal> {
        read(text.as_bytes(), &format!("sha256:{}", digest_bytes(text.as_bytes()).sha256))
    }

    #[test]
    fn a_manifest_is_taken_only_for_the_digest_that_it_has() {
        let text = r#"{"schemaVersion":2,"config":{"digest":"sha256:c","size":1},"layers":[]}"#;
        let Ok(Manifest::Image(served)) = of(text) else { panic!("an image") };
        assert_eq!(served.config, "sha256:c");
        let other = read(text.as_bytes(), "sha256:0").expect_err("must fail");
        assert!(other.said.contains("has the digest"), "{other:?}");
        assert!(of("{}").is_err() && of("nothing").is_err());
    }

    #[test]
    fn of_several_kinds_of_machine_ours_is_taken_and_no_attestation() {
        let ours = architecture();
        let text = format!(
            r#"{{"manifests":[
                {{"digest":"sha256:a","platform":{{"os":"linux","architecture":"s390x"}}}},
                {{"digest":"sha256:b","platform":{{"os":"linux","architecture":"{ours}"}}}},
                {{"digest":"sha256:c","platform":{{"os":"unknown","architecture":"unknown"}}}},
                {{"digest":"sha256:d","platform":{{"os":"windows","architecture":"{ours}"}}}},
                {{"digest":"sha256:e"}}]}}"#
        );
        assert_eq!(of(&text).expect("an index"), Manifest::Index(vec!["sha256:b".into()]));
    }
}
