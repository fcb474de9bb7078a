//! The base image that sessions run in, as those know it who build it and those who start it: its name,
//! its labels, and where things are in it.

use std::collections::{BTreeMap, HashMap};

use thiserror::Error;

/// The repository part of the base image's name. `localhost/` keeps engines from asking a registry for it.
pub const BASE_REPOSITORY: &str = "localhost/holdpoint/base";

/// Says what an image of Holdpoint is; [`KIND_BASE`] for the base image.
pub const LABEL_KIND: &str = "io.holdpoint.image";

/// The version of Holdpoint in it.
pub const LABEL_HOLDPOINT: &str = "io.holdpoint.version";

/// The SHA-256 of the `holdpoint` program in it, 64 hexadecimal digits. Two builds of one version differ.
pub const LABEL_PROGRAM: &str = "io.holdpoint.program.sha256";

/// The version of the Claude CLI in it.
pub const LABEL_CLI: &str = "io.holdpoint.cli.version";

/// The SHA-256 of the file at [`MANIFEST_PATH`], 64 hexadecimal digits.
pub const LABEL_MANIFEST: &str = "io.holdpoint.manifest.sha256";

/// The value of [`LABEL_KIND`] of the base image.
pub const KIND_BASE: &str = "base";

/// Where the `holdpoint` program is in the image.
pub const PROGRAM_PATH: &str = "/usr/local/bin/holdpoint";

/// Where the Claude CLI is in the image.
pub const CLI_PATH: &str = "/usr/local/bin/claude";

/// What says what is in the image, as JSON.
pub const MANIFEST_PATH: &str = "/usr/share/holdpoint/manifest.json";

/// The user and group of sessions, where nothing maps them to others: `agent`.
pub const AGENT_UID: u32 = 1000;

/// That user's home folder.
pub const AGENT_HOME: &str = "/home/agent";

/// The longest tag that engines take, in characters
/// (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>).
const TAG_LIMIT: usize = 128;

/// The name of the base image of these versions: `localhost/holdpoint/base:0.1.0-cli2.1.330`.
#[must_use]
pub fn base_name(holdpoint: &str, cli: &str) -> String {
    format!("{BASE_REPOSITORY}:{}", base_tag(holdpoint, cli))
}

/// The tag of the base image of these versions: `0.1.0-cli2.1.330`. What no tag may hold (the `+` of a
/// build) becomes `_`.
#[must_use]
pub fn base_tag(holdpoint: &str, cli: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    format!("{holdpoint}-cli{cli}").chars().map(allowed).take(TAG_LIMIT).collect()
}

/// What the labels of a base image say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseLabels {
    /// Holdpoint's version.
    pub holdpoint: String,
    /// The SHA-256 of its program.
    pub program_sha256: String,
    /// The Claude CLI's version.
    pub cli: String,
    /// The SHA-256 of the manifest.
    pub manifest_sha256: String,
}

/// Why the labels of an image are not those of a base image.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotABase {
    /// It is no image of ours, or another one.
    #[error("it is no base image: the label {LABEL_KIND} is not {KIND_BASE:?}")]
    OtherKind,
    /// A label is missing.
    #[error("it has no label {0}")]
    Missing(&'static str),
}

impl BaseLabels {
    /// As labels, in the order in which they are written.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        [
            (LABEL_KIND, KIND_BASE),
            (LABEL_HOLDPOINT, &self.holdpoint),
            (LABEL_PROGRAM, &self.program_sha256),
            (LABEL_CLI, &self.cli),
            (LABEL_MANIFEST, &self.manifest_sha256),
        ]
        .into_iter()
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .collect()
    }

    /// From an image's labels.
    ///
    /// # Errors
    /// When they are not those of a base image.
    pub fn parse(labels: &HashMap<String, String>) -> Result<Self, NotABase> {
        if labels.get(LABEL_KIND).map(String::as_str) != Some(KIND_BASE) {
            return Err(NotABase::OtherKind);
        }
        let get = |label| labels.get(label).cloned().ok_or(NotABase::Missing(label));
        Ok(Self {
            holdpoint: get(LABEL_HOLDPOINT)?,
            program_sha256: get(LABEL_PROGRAM)?,
            cli: get(LABEL_CLI)?,
            manifest_sha256: get(LABEL_MANIFEST)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_they_were_written_and_missed_by_name() {
        let base = BaseLabels {
            holdpoint: "0.1.0".into(),
            program_sha256: "ab".into(),
            cli: "2.1.330".into(),
            manifest_sha256: "cd".into(),
        };
        let mut labels: HashMap<_, _> = base.labels().into_iter().collect();
        assert_eq!(BaseLabels::parse(&labels), Ok(base));
        labels.remove(LABEL_CLI);
        assert_eq!(BaseLabels::parse(&labels), Err(NotABase::Missing(LABEL_CLI)));
        labels.insert(LABEL_KIND.into(), "agent".into());
        assert_eq!(BaseLabels::parse(&labels), Err(NotABase::OtherKind));
    }

    #[test]
    fn a_tag_holds_only_what_tags_may() {
        assert_eq!(base_name("0.1.0", "2.1.330"), "localhost/holdpoint/base:0.1.0-cli2.1.330");
        assert_eq!(base_tag("0.1.0+dirty", "2"), "0.1.0_dirty-cli2");
        assert_eq!(base_tag(&"9".repeat(200), "2").len(), TAG_LIMIT);
    }
}
