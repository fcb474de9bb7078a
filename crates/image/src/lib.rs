//! Builds the base image that sessions run in: a small Debian with the Claude CLI and the `holdpoint`
//! program, the same bytes from the same inputs, and loads it into the container engine of this machine.
//!
//! Three layers, so that what changes most often is small: Debian | the CLI | Holdpoint and the manifest.

pub mod agents;
mod archive;
mod debian;
mod elf;
mod engine;
mod layer;
mod manifest;
mod packages;
pub mod registry;
mod rootfs;
mod sources;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use holdpoint_model::image::{
    AGENT_HOME, AGENT_UID, BaseLabels, CLI_PATH, MANIFEST_PATH, PROGRAM_PATH, base_name,
};

pub use engine::{Found, list, load, manifest_in};
pub use holdpoint_model::problem::Problem;
pub use layer::{Digested, digest_file};
pub use manifest::{Debian, Manifest, Program};
pub use rootfs::Package;

use archive::{Blob, Data, ImageArchive, Parts, Run};
use layer::{Content, Entry, Layer, Node, digest_bytes};

/// What the base image is made of; the binary reads it from configuration and environment.
#[derive(Clone, Debug)]
pub struct BaseInputs {
    /// Where the Debian layer is kept between builds. Made when needed.
    pub cache: PathBuf,
    /// Make the Debian layer anew, with today's packages.
    pub fresh: bool,
    /// A mirror of Debian, as in `http://deb.debian.org/debian`.
    pub mirror: Option<String>,
    /// The Claude CLI's program.
    pub cli: PathBuf,
    /// Its version.
    pub cli_version: String,
    /// The `holdpoint` program.
    pub program: PathBuf,
    /// Its version.
    pub holdpoint_version: String,
    /// `PATH`, where mmdebstrap is looked for.
    pub path: String,
    /// The rest of its environment: [`PASSED_ON`] has the names that matter.
    pub env: Vec<(String, String)>,
    /// Whether this is root, who needs no user namespace for it.
    pub is_root: bool,
}

/// The variables that matter to mmdebstrap and apt.
pub const PASSED_ON: &[&str] =
    &["HOME", "TMPDIR", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// What takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Debian's packages are unpacked and set up; each counts twice.
    Packages,
    /// Layers are put together and digested; counts layers.
    Layers,
    /// The engine takes the image; counts bytes.
    Load,
}

/// Is told how far it is.
pub trait Progress: Send + Sync {
    /// A step begins, or turns out to be longer.
    fn step(&self, step: Step, total: u64);
    /// So much of the step is done.
    fn at(&self, done: u64);
}

/// An image that was built, ready to be loaded.
#[derive(Debug)]
pub struct Image {
    name: String,
    id: String,
    digest: String,
    manifest: Manifest,
    layers: Vec<LayerInfo>,
    debian_was_kept: bool,
    archive: ImageArchive,
    /// Nobody makes the kept layer anew while it is read.
    _lock: File,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// What is in it.
    pub what: &'static str,
    /// `sha256:…`
    pub digest: String,
    /// In bytes.
    pub size: u64,
}

impl Image {
    /// `localhost/holdpoint/base:…`
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id in the engine: `sha256:…`, the digest of the configuration, which names the layers.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The digest of the OCI manifest as built here: `sha256:…`. A registry to which it is pushed has
    /// another, since layers are compressed on the way.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What is in it.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its layers, from the bottom.
    #[must_use]
    pub fn layers(&self) -> &[LayerInfo] {
        &self.layers
    }

    /// Whether the Debian layer was there from an earlier build.
    #[must_use]
    pub fn debian_was_kept(&self) -> bool {
        self.debian_was_kept
    }

    /// The size of the archive that engines load, in bytes.
    #[must_use]
    pub fn archive_size(&self) -> u64 {
        self.archive.size()
    }

    /// Writes the archive that `podman load` and `docker load` take.
    ///
    /// # Errors
    /// When it cannot be written, or one of the inputs has changed since.
    pub fn write_archive(&self, to: impl Write) -> io::Result<()> {
        self.archive.write(to)
    }
}

/// Builds the base image. Blocks: for seconds where the Debian layer is kept, for about a minute where not.
///
/// # Errors
/// What failed, why, and what to type next.
pub fn build_base(inputs: &BaseInputs, progress: &dyn Progress) -> Result<Image, Problem> {
    elf::check(&inputs.program, "this holdpoint")?;
    elf::check(&inputs.cli, "the Claude CLI")?;
    let lock = debian::take(&inputs.cache)?;
    let debian = debian::layer(inputs, progress)?;
    progress.step(Step::Layers, 3);
    progress.at(1);
    let time = debian.kept.snapshot;
    let program = |version: &str, path: &Path| {
        let digested = digest_file(path).map_err(|error| Problem::file("read", path, &error))?;
        Ok(Program { version: version.to_owned(), sha256: digested.sha256 })
    };
    let cli = program(&inputs.cli_version, &inputs.cli)?;
    let holdpoint = program(&inputs.holdpoint_version, &inputs.program)?;
    let manifest = Manifest::new(holdpoint, cli, &debian.kept);
    let text = manifest.text().map_err(|error| Problem::new("failed to write the manifest", error))?;

    let mut cli_layer = Layer::default();
    put_program(&mut cli_layer, CLI_PATH, &inputs.cli, time)?;
    let cli_blob = blob(cli_layer, &inputs.cli)?;
    progress.at(2);
    let mut own_layer = Layer::default();
    put_program(&mut own_layer, PROGRAM_PATH, &inputs.program, time)?;
    let folder = Entry { node: Node::Folder, mode: 0o755, uid: 0, gid: 0, mtime: time };
    own_layer.put("usr/share/holdpoint", folder);
    own_layer.put(inside(MANIFEST_PATH), Entry::file(Content::Bytes(text.clone().into_bytes()), 0o644, time));
    let own_blob = blob(own_layer, &inputs.program)?;
    progress.at(3);

    let labels = BaseLabels {
        holdpoint: manifest.holdpoint.version.clone(),
        program_sha256: manifest.holdpoint.sha256.clone(),
        cli: manifest.cli.version.clone(),
        manifest_sha256: digest_bytes(text.as_bytes()).sha256,
    };
    let digested = Digested { sha256: debian.kept.sha256.clone(), size: debian.kept.size };
    let layers = vec![
        ("Debian", Blob { digested, data: Data::File(debian.archive.clone()) }),
        ("Claude CLI", cli_blob),
        ("Holdpoint", own_blob),
    ];
    let info = |(what, blob): &(&'static str, Blob)| LayerInfo {
        what,
        digest: format!("sha256:{}", blob.digested.sha256),
        size: blob.digested.size,
    };
    let infos = layers.iter().map(info).collect();
    let name = base_name(&inputs.holdpoint_version, &inputs.cli_version);
    let created = manifest.debian.snapshot.clone();
    let parts = Parts { name: name.clone(), labels: labels.labels(), created, layers, run: run() };
    let archive =
        ImageArchive::new(parts).map_err(|error| Problem::new("failed to describe the image", error))?;
    Ok(Image {
        name,
        id: format!("sha256:{}", archive.id),
        digest: format!("sha256:{}", archive.digest),
        manifest,
        layers: infos,
        debian_was_kept: debian.was_kept,
        archive,
        _lock: lock,
    })
}

/// How the image runs where nothing else is said: as the agent, in its home. There is no entry point, so
/// that whoever starts a container says all of what it runs.
fn run() -> Run {
    Run {
        user: format!("{AGENT_UID}:{AGENT_UID}"),
        env: vec![
            "PATH=/usr/local/bin:/usr/bin:/bin".into(),
            "LANG=C.UTF-8".into(),
            format!("HOME={AGENT_HOME}"),
        ],
        cmd: vec!["bash".into()],
        working_dir: AGENT_HOME.into(),
        labels: BTreeMap::new(),
    }
}

fn put_program(layer: &mut Layer, path: &str, program: &Path, time: u64) -> Result<(), Problem> {
    let content = Content::of_file(program).map_err(|error| Problem::file("read", program, &error))?;
    layer.put(inside(path), Entry::file(content, 0o755, time));
    Ok(())
}

fn blob(layer: Layer, of: &Path) -> Result<Blob, Problem> {
    Blob::layer(layer).map_err(|error| Problem::file("read", of, &error))
}

/// A path in the image, as layers have it.
fn inside(path: &str) -> &str {
    path.trim_start_matches('/')
}
