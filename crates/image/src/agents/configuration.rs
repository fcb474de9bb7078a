//! The layer on top: settings, plugins, and the manifest of what is installed. The same bytes from the same inputs.

use std::collections::BTreeMap;

use holdpoint_model::{Tree, image::AGENT_UID};
use serde::Serialize;

use super::inputs::AgentsInputs;
use crate::{
    Problem,
    layer::{Content, Entry, Layer, Node},
};

/// The user's folder: `HOME`.
pub(super) const USER_HOME: &str = "/app/template_user";

/// Where the CLI is started.
pub(super) const WORKING_DIR: &str = "/app";

/// Where the manifest is.
const MANIFEST: &str = "app/.dependency-manifest.json";

/// Where a configuration is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceNote {
    /// What it is to the agent: `master`, `project`, `plugin NAME`.
    pub role: String,
    /// Its address, without a password.
    pub from: String,
    /// The commit; a digest where it is no repository.
    pub revision: String,
}

/// What is installed in an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// Python, and its packages.
    pub python: Runtime,
    /// Node, and npm's packages.
    pub nodejs: Runtime,
    /// Debian's packages: their versions by their names.
    pub system: BTreeMap<String, String>,
}

/// What runs packages, and the packages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Runtime {
    /// Its version; None where it is not there.
    pub version: Option<String>,
    /// Names and versions, by name. npm may have several versions of one.
    #[serde(serialize_with = "as_list")]
    pub packages: Vec<(String, String)>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    version: &'a str,
}

fn as_list<S: serde::Serializer>(packages: &[(String, String)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(packages.iter().map(|(name, version)| Named { name, version }))
}

#[derive(Serialize)]
struct Manifest<'a> {
    timestamp: String,
    sources: &'a [SourceNote],
    #[serde(flatten)]
    installed: &'a Installed,
}

/// The layer.
pub(super) fn layer(inputs: &AgentsInputs, installed: &Installed) -> Result<Layer, Problem> {
    let time = u64::try_from(inputs.created.as_second()).unwrap_or_default();
    let mut layer = Layer::default();
    let manifest = Manifest { timestamp: inputs.created.to_string(), sources: &inputs.sources, installed };
    let text = serde_json::to_string_pretty(&manifest)
        .map_err(|error| Problem::new("failed to write the manifest", error))?;
    put_folder(&mut layer, "app", time);
    put_file(&mut layer, MANIFEST, (text + "\n").into_bytes(), false, time);
    for (folder, tree) in [
        ("app/template_user/.claude", &inputs.user_claude),
        ("app/.claude", &inputs.project_claude),
        ("app/plugins", &inputs.plugins),
    ] {
        put_folder(&mut layer, folder, time);
        put_tree(&mut layer, folder, tree, time);
    }
    // The CLI writes there; whoever makes the root writable to it wants the folders to be the agent's.
    for folder in ["app/template_user/.claude/debug", "app/.claude/debug"] {
        if layer.get(folder).is_none() {
            put_folder(&mut layer, folder, time);
        }
    }
    Ok(layer)
}

fn put_tree(layer: &mut Layer, folder: &str, tree: &Tree, time: u64) {
    for (path, file) in tree.iter() {
        let path = format!("{folder}/{path}");
        if let Some((above, _)) = path.rsplit_once('/') {
            put_folder(layer, above, time);
        }
        put_file(layer, &path, file.bytes.clone(), file.executable, time);
    }
}

/// A folder of the agent, and those above it.
fn put_folder(layer: &mut Layer, path: &str, time: u64) {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    for end in ends {
        let entry = Entry { node: Node::Folder, mode: 0o755, uid: AGENT_UID, gid: AGENT_UID, mtime: time };
        layer.put(&path[..end], entry);
    }
}

fn put_file(layer: &mut Layer, path: &str, bytes: Vec<u8>, executable: bool, time: u64) {
    let mode = if executable { 0o755 } else { 0o644 };
    let entry = Entry::file(Content::Bytes(bytes), mode, time);
    layer.put(path, Entry { uid: AGENT_UID, gid: AGENT_UID, ..entry });
}
