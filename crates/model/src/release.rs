//! A release: what new conversations run on, numbered, and pinned by its lock.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Digest,
    event::{AssistantBlock, Block},
};

/// The number of a release, from 1.
pub type ReleaseNumber = u32;

/// Where plugins are in an agents' image.
pub const IMAGE_PLUGINS: &str = "/app/plugins";

/// Where an agents' image says what was installed in it.
pub const IMAGE_DEPENDENCIES: &str = "/app/.dependency-manifest.json";

/// The folder in an agents' image whose `.claude` every session's home begins with.
pub const IMAGE_USER: &str = "/app/template_user";

/// The folder in an agents' image whose `.claude` every workspace begins with.
pub const IMAGE_PROJECT: &str = "/app";

/// The name of the tools that a session has from Holdpoint itself.
pub const OWN_TOOLS: &str = "holdpoint";

/// The tool by which an agent says what is missing in its image.
pub const SUGGEST_TOOL: &str = "suggest_dependency";

/// That tool by the name that the CLI knows it by.
pub const SUGGEST_TOOL_NAME: &str = "mcp__holdpoint__suggest_dependency";

/// What an agent is told of the image that it runs in.
pub const IMAGE_INSTRUCTIONS: &str = "You run in a container image that cannot be changed: what you install is gone with \
the session, and there is no network to install from. /app/.dependency-manifest.json says which system, Python and npm \
packages there are. When one is missing, say so once with the tool mcp__holdpoint__suggest_dependency (its name, its kind, \
what it is for, and how you do without it), and go on with what there is.";

/// What a conversation was started on, or moved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stamp {
    /// Which release.
    pub number: ReleaseNumber,
    /// The digest of its lock.
    pub lock: Digest,
    /// Its image's id in the engine; None where it has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The repository whose files name its dependencies, as people know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// Where a release is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseState {
    /// Its image is being made, or it is being tried out.
    Building,
    /// New conversations run on it. One at most.
    Current,
    /// It was current, and can be again.
    Retired,
    /// It never became current.
    Failed,
    /// Its image is gone: it cannot be again.
    Removed,
}

impl ReleaseState {
    /// The name as stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Current => "current",
            Self::Retired => "retired",
            Self::Failed => "failed",
            Self::Removed => "removed",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Building, Self::Current, Self::Retired, Self::Failed, Self::Removed]
            .into_iter()
            .find(|state| state.as_str() == name)
    }
}

/// A package that an agent did without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suggestion {
    /// Its name.
    pub name: String,
    /// Where it would come from.
    pub kind: PackageKind,
    /// What it is for.
    pub purpose: String,
    /// How the agent did without it.
    pub workaround: String,
}

/// Where a package comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PackageKind {
    /// PyPI.
    Python,
    /// npm.
    Npm,
    /// Debian.
    System,
}

impl PackageKind {
    /// As people read it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Python => "Python package",
            Self::Npm => "npm package",
            Self::System => "system package",
        }
    }

    /// The file that asks for such packages, in a configuration repository.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Python => "dependencies/requirements.txt",
            Self::Npm => "dependencies/package.json",
            Self::System => "dependencies/system-packages.txt",
        }
    }
}

/// The most characters of each text of a suggestion. What a model writes is bounded before it is kept.
const MAX_SUGGESTION_CHARS: usize = 500;

impl Suggestion {
    /// The suggestion that a block of the model's answer makes, if it makes one.
    #[must_use]
    pub fn in_block(block: &AssistantBlock) -> Option<Self> {
        match &block.block {
            Block::ToolUse { name, input, .. } if name == SUGGEST_TOOL_NAME => Self::parse(input).ok(),
            _ => None,
        }
    }

    /// From the arguments of [`SUGGEST_TOOL`].
    ///
    /// # Errors
    /// What is missing, for the model to read.
    pub fn parse(arguments: &Value) -> Result<Self, String> {
        let text = |key: &str| {
            let text = arguments.get(key).and_then(Value::as_str).unwrap_or_default().trim();
            if text.is_empty() {
                return Err(format!("`{key}` is missing: a text is expected"));
            }
            Ok(text.chars().take(MAX_SUGGESTION_CHARS).collect::<String>())
        };
        let kind = match text("kind")?.as_str() {
            "python" => PackageKind::Python,
            "npm" => PackageKind::Npm,
            "system" => PackageKind::System,
            other => {
                return Err(format!("`kind` is {other:?}: it is one of \"python\", \"npm\", \"system\""));
            }
        };
        Ok(Self { name: text("name")?, kind, purpose: text("purpose")?, workaround: text("workaround")? })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_suggestion_has_all_four_or_says_what_is_missing() {
        let whole = json!({"name": "pandas", "kind": "python", "purpose": "tables", "workaround": "csv"});
        assert_eq!(Suggestion::parse(&whole).expect("whole").kind.file(), "dependencies/requirements.txt");
        for key in ["name", "kind", "purpose", "workaround"] {
            for bad in [json!(null), json!(" "), json!(7)] {
                let mut part = whole.clone();
                part[key] = bad;
                assert!(Suggestion::parse(&part).expect_err(key).contains(key));
            }
        }
        let mut long = whole.clone();
        long["purpose"] = json!("x".repeat(10_000));
        assert_eq!(Suggestion::parse(&long).expect("cut").purpose.len(), MAX_SUGGESTION_CHARS);
        assert_eq!(SUGGEST_TOOL_NAME, format!("mcp__{OWN_TOOLS}__{SUGGEST_TOOL}"));
    }

    #[test]
    fn states_read_and_print_alike() {
        for state in ["building", "current", "retired", "failed", "removed"] {
            assert_eq!(ReleaseState::parse(state).expect(state).as_str(), state);
        }
    }
}
