//! `[deploy]`: what images of agents are made of, and where they go.

use std::path::{Path, PathBuf};

use super::{
    NamedSecret,
    file::{DeployTable, FromEnv, SourceTable},
};
use crate::{
    env::Environment,
    failure::{Exit, Failure},
};

/// How many earlier releases keep their image where nothing is said.
const DEFAULT_KEEP: u32 = 5;

/// What images of agents are made of, and where they go.
#[derive(Clone, Debug)]
pub struct Deploy {
    /// The repository that images are pushed to, without a tag; None where they stay on this machine.
    pub registry: Option<String>,
    /// The registry is reached without TLS.
    pub plain_http: bool,
    /// User and password of the registry, where the usual files are not to be asked.
    pub credentials: Option<(NamedSecret, NamedSecret)>,
    /// The network of the containers that install; the engine's default where absent.
    pub network: Option<String>,
    /// Earlier releases that can be gone back to.
    pub keep: u32,
    /// The repository that several projects share.
    pub master: Option<SourceConfig>,
    /// The project's own.
    pub project: Option<SourceConfig>,
}

/// A configuration repository.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Where it is.
    pub at: SourceAt,
    /// The branch, tag or commit; the default branch where absent.
    pub reference: Option<String>,
    /// The folder within it, where not all of it is meant.
    pub subfolder: Option<String>,
    /// A token for HTTPS.
    pub token: Option<NamedSecret>,
}

/// Where a configuration repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceAt {
    /// A git address.
    Git(String),
    /// A folder of this machine.
    Folder(PathBuf),
}

impl Default for Deploy {
    fn default() -> Self {
        Self {
            registry: None,
            plain_http: false,
            credentials: None,
            network: None,
            keep: DEFAULT_KEEP,
            master: None,
            project: None,
        }
    }
}

impl Deploy {
    /// Of a table that was checked, whose relative paths start at `folder`.
    pub(super) fn resolve(table: DeployTable, folder: &Path, environment: &Environment) -> Self {
        let named =
            |FromEnv { env }: FromEnv| NamedSecret { value: (environment.named.0)(&env), variable: env };
        let source = |source: SourceTable| {
            let at = match (source.git, source.folder) {
                (Some(git), _) => SourceAt::Git(git.trim().to_owned()),
                (None, path) => SourceAt::Folder(folder.join(path.unwrap_or_default())),
            };
            SourceConfig {
                at,
                reference: source.reference,
                subfolder: source.subfolder,
                token: source.token.map(named),
            }
        };
        Self {
            registry: table.registry.map(|registry| registry.trim().trim_end_matches('/').to_owned()),
            plain_http: table.plain_http,
            credentials: table.credentials.map(|pair| (named(pair.user), named(pair.password))),
            network: table.network,
            keep: table.keep.unwrap_or(DEFAULT_KEEP),
            master: table.master.map(source),
            project: table.project.map(source),
        }
    }

    /// The repositories, by what they are.
    pub fn sources(&self) -> impl Iterator<Item = (&'static str, &SourceConfig)> {
        let both = [("master", &self.master), ("project", &self.project)];
        both.into_iter().filter_map(|(name, source)| Some((name, source.as_ref()?)))
    }
}

impl NamedSecret {
    /// What it holds.
    ///
    /// # Errors
    /// When the variable is not set. `what` needs it.
    pub fn needed(&self, what: &str) -> Result<secrecy::SecretString, Failure> {
        self.value.clone().ok_or_else(|| {
            Failure::new(format!("{what} needs a secret that is not there"))
                .exit(Exit::Config)
                .why(format!("{} is not set", self.variable))
                .next(format!("export {}=…", self.variable))
        })
    }
}

/// What is wrong with the name of a repository in a registry, if anything is.
pub(super) fn registry_fault(name: &str) -> Option<&'static str> {
    let name = name.trim();
    if name.contains("://") {
        return Some("it has a scheme: write `registry.example.org/team/agents`");
    }
    if name.contains('@') {
        return Some("it has a digest or a user: write `registry.example.org/team/agents`");
    }
    let Some((host, path)) = name.split_once('/') else {
        return Some("it names no registry: write `registry.example.org/team/agents`");
    };
    let is_host = host == "localhost" || host.contains('.') || host.contains(':');
    let fits = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'))
    };
    if !is_host {
        return Some("its first part is no host: write `registry.example.org/team/agents`");
    }
    if path.contains(':') {
        return Some("it has a tag: each release has its own");
    }
    (!path.split('/').all(fits)).then_some("a repository has small letters, digits, `.`, `_` and `-`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_a_host_and_a_path_and_nothing_else() {
        for good in [
            "registry.example.org/team/agents",
            "localhost/agents",
            "127.0.0.1:5000/a",
            "r.example.org:5000/a_b/c-d",
        ] {
            assert_eq!(registry_fault(good), None, "{good}");
        }
        for bad in [
            "agents",
            "https://r.example.org/a",
            "r.example.org/a:1",
            "r.example.org/a@sha256:0",
            "team/agents",
            "r.example.org/Team",
            "r.example.org/",
            "u:p@r.example.org/a",
        ] {
            assert!(registry_fault(bad).is_some(), "{bad}");
        }
    }
}
