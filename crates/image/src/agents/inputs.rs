//! What an image of agents is made of. Data alone: the caller read it from repositories, files and the environment.

use std::{collections::BTreeMap, path::PathBuf};

use holdpoint_model::Tree;
use jiff::Timestamp;

use super::configuration::SourceNote;
use crate::Problem;

/// What an image of agents is made of.
#[derive(Clone, Debug)]
pub struct AgentsInputs {
    /// The base image's id in the engine: `sha256:…`.
    pub base: String,
    /// The user's settings: `/app/template_user/.claude`.
    pub user_claude: Tree,
    /// The project's settings: `/app/.claude`.
    pub project_claude: Tree,
    /// Plugins, by `<marketplace>/plugins/<plugin>/…`: below `/app/plugins`.
    pub plugins: Tree,
    /// What is to be installed.
    pub dependencies: Dependencies,
    /// Where the configuration is from, for the manifest.
    pub sources: Vec<SourceNote>,
    /// The image's name with a tag: `localhost/holdpoint/agents:3`.
    pub name: String,
    /// More labels.
    pub labels: BTreeMap<String, String>,
    /// When it is made. The same time and the same inputs are the same bytes.
    pub created: Timestamp,
    /// Variables of the containers that install; those of proxies, as a rule. They get into no image.
    pub env: BTreeMap<String, String>,
    /// Certificates (PEM) to trust while installing, of a proxy that looks into TLS. They get into no image.
    pub certificates: Option<Vec<u8>>,
    /// Where packages come from.
    pub mirrors: Mirrors,
    /// The network of the containers that install: `host`, or what the engine calls one of its own. The engine's
    /// default where nothing is said.
    pub network: Option<String>,
    /// A folder of one builder: it has the lock that builders wait for, and its path tells which containers and
    /// layers are ours. Made when needed.
    pub cache: PathBuf,
    /// Install anew what could be kept.
    pub fresh: bool,
}

/// What is to be installed, as `holdpoint-dependencies` merges it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// `requirements.txt`; it names `constraints.txt` itself.
    pub requirements: Option<String>,
    /// `constraints.txt`.
    pub constraints: Option<String>,
    /// `package.json`.
    pub package_json: Option<String>,
    /// Debian's packages: `name`, `name:arch` or either with `=version`.
    pub system: Vec<String>,
}

/// Where packages come from. What is not said is taken from this machine (apt), or is the tool's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// A mirror of Debian, as in `http://deb.debian.org/debian`.
    pub apt: Option<String>,
    /// A Python index, as in `https://pypi.org/simple`.
    pub pip: Option<String>,
    /// An npm registry, as in `https://registry.npmjs.org`.
    pub npm: Option<String>,
}

impl AgentsInputs {
    /// The name without the tag, and the tag.
    #[must_use]
    pub(super) fn repository_and_tag(&self) -> (&str, &str) {
        match self.name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ => (&self.name, "latest"),
        }
    }

    /// Looks at what goes into commands.
    pub(super) fn check(&self) -> Result<(), Problem> {
        for package in &self.dependencies.system {
            if !is_package(package) {
                return Err(Problem::new(
                    format!("cannot install {package:?}"),
                    "Debian has no package of such a name",
                )
                .next("edit dependencies/system-packages.txt"));
            }
        }
        if let Some(name) = self.env.keys().find(|name| !is_variable(name)) {
            return Err(Problem::new(
                format!("cannot pass on the variable {name:?}"),
                "no shell takes such a name",
            ));
        }
        Ok(())
    }
}

/// No option, no pattern, no removal (`name-`): what apt would take for something else.
fn is_package(text: &str) -> bool {
    let (package, version) =
        text.split_once('=').map_or((text, None), |(name, version)| (name, Some(version)));
    let (name, architecture) =
        package.split_once(':').map_or((package, None), |(name, architecture)| (name, Some(architecture)));
    let all = |text: &str, more: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
    };
    all(name, "+-.")
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && (!name.ends_with(['-', '+']) || name.ends_with("++"))
        && architecture.is_none_or(|text| all(text, "-"))
        && version.is_none_or(|text| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".+-:~".contains(c))
        })
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_packages_reach_apt() {
        for good in ["tree", "g++", "libc6:amd64", "jq=1.6-2.1+deb12u1", "libstdc++6", "python3.11"] {
            assert!(is_package(good), "{good}");
        }
        for bad in
            ["", "-o", "tree-", "tree+", "a b", "x;y", "tree/backports", "*", "jq=", "a:", "$(x)", "Tree"]
        {
            assert!(!is_package(bad), "{bad}");
        }
        assert!(is_variable("http_proxy") && !is_variable("a-b") && !is_variable("") && !is_variable("1a"));
    }
}
