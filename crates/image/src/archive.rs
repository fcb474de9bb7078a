//! An image as an archive that engines load: an OCI layout
//! (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>) that has Docker's
//! `manifest.json` too, as `docker save` writes it, so that Docker before version 25 loads it as well.
//!
//! Digests are over what is written here, so every structure has its fields in a fixed order.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    path::PathBuf,
};

use serde::Serialize;
use tar::{EntryType, Header};

use crate::{
    layer::{Digested, Layer, digest_bytes},
    packages::architecture,
};

/// Tar archives consist of blocks of so many bytes.
const BLOCK: u64 = 512;

/// A layer that is not compressed.
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// A blob, and its bytes.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) digested: Digested,
    pub(crate) data: Data,
}

#[derive(Debug)]
pub(crate) enum Data {
    Bytes(Vec<u8>),
    File(PathBuf),
    Layer(Layer),
    /// A layer that the engine has: it is named, and not in the archive. Podman and Docker look for a layer by its
    /// digest before they look for its bytes.
    InEngine,
}

/// What an image is made of.
pub(crate) struct Parts {
    /// With the tag.
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// As RFC 3339.
    pub(crate) created: String,
    /// From the bottom, each with what it is.
    pub(crate) layers: Vec<(&'static str, Blob)>,
    pub(crate) run: Run,
}

/// How the image runs where nothing else is said.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Run {
    pub(crate) user: String,
    pub(crate) env: Vec<String>,
    pub(crate) cmd: Vec<String>,
    pub(crate) working_dir: String,
    pub(crate) labels: BTreeMap<String, String>,
}

/// The archive, ready to be written.
#[derive(Debug)]
pub(crate) struct ImageArchive {
    /// SHA-256 of the configuration: what engines call the image's id.
    pub(crate) id: String,
    /// SHA-256 of the manifest.
    pub(crate) digest: String,
    /// By path in the archive.
    files: BTreeMap<String, Blob>,
}

#[derive(Serialize)]
struct Config {
    created: String,
    architecture: &'static str,
    os: &'static str,
    config: Run,
    rootfs: RootFs,
    history: Vec<History>,
}

#[derive(Serialize)]
struct RootFs {
    r#type: &'static str,
    diff_ids: Vec<String>,
}

#[derive(Serialize)]
struct History {
    created: String,
    created_by: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: &'static str,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OciManifest {
    schema_version: u8,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

impl Blob {
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        Self { digested: digest_bytes(&bytes), data: Data::Bytes(bytes) }
    }

    pub(crate) fn layer(layer: Layer) -> io::Result<Self> {
        Ok(Self { digested: layer.digest()?, data: Data::Layer(layer) })
    }

    fn digest(&self) -> String {
        format!("sha256:{}", self.digested.sha256)
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digested.sha256)
    }

    fn descriptor(&self, media_type: &'static str) -> Descriptor {
        let (digest, size) = (self.digest(), self.digested.size);
        Descriptor { media_type, digest, size, annotations: BTreeMap::new() }
    }

    fn write(&self, mut to: impl Write) -> io::Result<()> {
        match &self.data {
            Data::Bytes(bytes) => to.write_all(bytes),
            Data::File(file) => {
                io::copy(&mut io::BufReader::with_capacity(1 << 20, File::open(file)?), &mut to).map(|_| ())
            }
            Data::Layer(layer) => layer.write(to),
            Data::InEngine => Ok(()),
        }
    }
}

impl ImageArchive {
    pub(crate) fn new(parts: Parts) -> serde_json::Result<Self> {
        let diff_ids = parts.layers.iter().map(|(_, blob)| blob.digest()).collect();
        let history =
            |(created_by, _): &(&'static str, Blob)| History { created: parts.created.clone(), created_by };
        let config = Blob::bytes(serde_json::to_vec(&Config {
            created: parts.created.clone(),
            architecture: architecture(),
            os: "linux",
            config: Run { labels: parts.labels.clone(), ..parts.run.clone() },
            rootfs: RootFs { r#type: "layers", diff_ids },
            history: parts.layers.iter().map(history).collect(),
        })?);
        let manifest = Blob::bytes(serde_json::to_vec(&OciManifest {
            schema_version: 2,
            media_type: MANIFEST_TYPE,
            config: config.descriptor(CONFIG_TYPE),
            layers: parts.layers.iter().map(|(_, blob)| blob.descriptor(LAYER_TYPE)).collect(),
        })?);
        let tag = parts.name.rsplit_once(':').map_or("latest", |(_, tag)| tag).to_owned();
        let annotations = BTreeMap::from([
            ("io.containerd.image.name", parts.name.clone()),
            ("org.opencontainers.image.ref.name", tag),
        ]);
        let index = Blob::bytes(serde_json::to_vec(&Index {
            schema_version: 2,
            media_type: INDEX_TYPE,
            manifests: vec![Descriptor { annotations, ..manifest.descriptor(MANIFEST_TYPE) }],
        })?);
        let docker = Blob::bytes(serde_json::to_vec(&[DockerManifest {
            config: config.path(),
            repo_tags: vec![parts.name],
            layers: parts.layers.iter().map(|(_, blob)| blob.path()).collect(),
        }])?);
        let layout = Blob::bytes(br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        let (id, digest) = (config.digested.sha256.clone(), manifest.digested.sha256.clone());
        let mut files = BTreeMap::from([
            ("index.json".to_owned(), index),
            ("manifest.json".to_owned(), docker),
            ("oci-layout".to_owned(), layout),
        ]);
        for blob in [config, manifest].into_iter().chain(parts.layers.into_iter().map(|(_, blob)| blob)) {
            if !matches!(blob.data, Data::InEngine) {
                files.insert(blob.path(), blob);
            }
        }
        Ok(Self { id, digest, files })
    }

    /// The size of what is written, in bytes.
    pub(crate) fn size(&self) -> u64 {
        let padded = |blob: &Blob| BLOCK + blob.digested.size.next_multiple_of(BLOCK);
        self.files.values().map(padded).sum::<u64>() + 2 * BLOCK
    }

    /// Writes the archive.
    pub(crate) fn write(&self, mut to: impl Write) -> io::Result<()> {
        for (path, blob) in &self.files {
            let mut header = Header::new_gnu();
            header.set_path(path)?;
            header.set_entry_type(EntryType::Regular);
            header.set_mode(0o644);
            header.set_size(blob.digested.size);
            header.set_cksum();
            to.write_all(header.as_bytes())?;
            blob.write(&mut to)?;
            let padding = blob.digested.size.next_multiple_of(BLOCK) - blob.digested.size;
            io::copy(&mut io::Read::take(io::repeat(0), padding), &mut to)?;
        }
        io::copy(&mut io::Read::take(io::repeat(0), 2 * BLOCK), &mut to)?;
        to.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::layer::{Content, Entry};

    fn archive(content: &str) -> ImageArchive {
        let mut layer = Layer::default();
        layer.put("file", Entry::file(Content::Bytes(content.into()), 0o644, 1));
        ImageArchive::new(Parts {
            name: "localhost/x:1".into(),
            labels: BTreeMap::from([("b".into(), "2".into()), ("a".into(), "1".into())]),
            created: "2026-11-23T11:22:37Z".into(),
            layers: vec![("one", Blob::layer(layer).expect("layer"))],
            run: Run {
                user: "1000".into(),
                env: Vec::new(),
                cmd: vec!["bash".into()],
                working_dir: "/".into(),
                labels: BTreeMap::new(),
            },
        })
        .expect("archive")
    }

    fn bytes(archive: &ImageArchive) -> Vec<u8> {
        let mut bytes = Vec::new();
        archive.write(&mut bytes).expect("written");
        bytes
    }

    #[test]
    fn the_same_parts_are_the_same_bytes_and_of_the_size_that_was_said() {
        let (one, two) = (archive("x"), archive("x"));
        assert_eq!(bytes(&one), bytes(&two));
        assert_eq!(one.size(), bytes(&one).len() as u64);
        assert_ne!(one.id, archive("y").id);
    }

    #[test]
    fn every_blob_is_what_its_name_says_and_both_lists_name_the_layer() {
        let written = bytes(&archive("x"));
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(written.as_slice()).entries().expect("tar") {
            let mut entry = entry.expect("entry");
            let path = entry.path().expect("path").display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            if let Some(digest) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(digest_bytes(&content).sha256, digest);
            }
            files.insert(path, content);
        }
        let json = |path: &str| serde_json::from_slice::<serde_json::Value>(&files[path]).expect("json");
        let at =
            |digest: &serde_json::Value| digest.as_str().expect("digest").replace("sha256:", "blobs/sha256/");
        let manifest = json(&at(&json("index.json")["manifests"][0]["digest"]));
        let docker = &json("manifest.json")[0];
        assert_eq!(docker["Layers"][0], at(&manifest["layers"][0]["digest"]));
        assert_eq!(docker["Config"], at(&manifest["config"]["digest"]));
        assert_eq!(docker["RepoTags"][0], "localhost/x:1");
        let config = json(&at(&manifest["config"]["digest"]));
        assert_eq!(config["config"]["WorkingDir"], "/");
        assert_eq!(config["config"]["Labels"]["a"], "1");
    }
}
