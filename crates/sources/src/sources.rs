//! The two questions: what a source is at now, and what its files are at a revision.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use holdpoint_model::{problem::Problem, tree::Tree};
use secrecy::SecretString;

use crate::{
    git::{self, Access, Cache, Git, Unread},
    local,
    options::Options,
    revision::Revision,
    source::{Location, Remote, Source},
};

/// Sources, and the cache of what was fetched of them.
pub struct Sources {
    git: Git,
    cache: Cache,
    tokens: BTreeMap<String, SecretString>,
}

/// The files of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// What it was at.
    pub revision: Revision,
    /// Its files; those of `folder` alone, if the source names one.
    pub tree: Tree,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl Sources {
    /// With a cache and a git. Nothing is made and nothing started yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let Options { cache, git, path, env, tokens } = options;
        let tokens = tokens.into_iter().map(|(host, token)| (host.to_ascii_lowercase(), token)).collect();
        Self { git: Git::new(git, path, env), cache: Cache::new(&cache), tokens }
    }

    /// What it is at now, without fetching it. One that names a whole commit is at that, and nobody is asked; of a
    /// folder it is the digest of its files.
    ///
    /// # Errors
    /// If the remote cannot be asked, or has no such branch or tag; if the folder cannot be read.
    pub async fn look(&self, source: &Source) -> Result<Revision, Problem> {
        let folder = source.checked_folder()?;
        match &source.from {
            Location::Folder(path) => {
                let (tree, _) = read_local(source, path.clone(), folder).await?;
                Ok(Revision::Tree(tree.digest()))
            }
            Location::Git(url) => {
                let access = self.access(url, source.token.as_ref())?;
                if let Some(commit) = source.commit() {
                    return Ok(Revision::Commit(commit));
                }
                git::look(&self.git, &access, source.reference.as_deref()).await.map(Revision::Commit)
            }
        }
    }

    /// Its files at a revision. A commit that is in the cache needs no network; a folder has to be at that revision
    /// still.
    ///
    /// # Errors
    /// If it cannot be fetched or read, or has more in it than configuration has.
    pub async fn files(&self, source: &Source, at: &Revision) -> Result<Fetched, Problem> {
        let folder = source.checked_folder()?;
        let (tree, notes) = match (&source.from, at) {
            (Location::Folder(path), Revision::Tree(digest)) => {
                let (tree, notes) = read_local(source, path.clone(), folder).await?;
                if tree.digest() != *digest {
                    let what = format!("failed to read {source} as it was");
                    let why =
                        "its files have changed since it was looked at, and a folder keeps nothing of before";
                    return Err(Problem::new(what, why).next("try again; or keep it in a repository"));
                }
                (tree, notes)
            }
            (Location::Git(url), Revision::Commit(commit)) => {
                let access = self.access(url, source.token.as_ref())?;
                self.commit(source, &access, commit, folder.as_deref()).await?
            }
            (Location::Folder(_), Revision::Commit(commit)) => {
                let why = format!("it is a folder, and {commit} is a commit");
                return Err(Problem::new(format!("failed to read {source}"), why));
            }
            (Location::Git(_), Revision::Tree(_)) => {
                let why = format!("it is a repository, and {at} is no commit");
                return Err(Problem::new(format!("failed to read {source}"), why));
            }
        };
        Ok(Fetched { revision: at.clone(), tree, notes })
    }

    /// Whether its files can be had at a commit without the network.
    pub(crate) fn has(&self, source: &Source, at: &Revision) -> bool {
        let (Location::Git(url), Revision::Commit(commit)) = (&source.from, at) else { return false };
        Remote::parse(url).is_ok_and(|remote| self.cache.have(&remote, commit).is_some())
    }

    async fn commit(
        &self,
        source: &Source,
        access: &Access,
        commit: &str,
        folder: Option<&str>,
    ) -> Result<(Tree, Vec<String>), Problem> {
        let of = source.to_string();
        let reference = source.reference.as_deref();
        let held = self.cache.get(&self.git, access, reference, commit).await?;
        match git::read(&self.git, &held, folder, &of).await {
            Ok(read) => return Ok(read),
            Err(Unread::Problem(problem)) => return Err(problem),
            // The disk was full once, or the power failed: what is there is no use to anybody.
            Err(Unread::Damaged(_)) => self.cache.forget(held).await?,
        }
        let held = self.cache.get(&self.git, access, reference, commit).await?;
        match git::read(&self.git, &held, folder, &of).await {
            Ok(read) => Ok(read),
            Err(Unread::Problem(problem)) => Err(problem),
            Err(Unread::Damaged(why)) => {
                let next = format!("rm -r {}, and fsck the disk that it is on", held.folder.display());
                Err(Problem::new(format!("failed to read {of}, though it was just fetched"), why).next(next))
            }
        }
    }

    fn access(&self, url: &str, token: Option<&SecretString>) -> Result<Access, Problem> {
        let remote = Remote::parse(url)?;
        let token = token.or_else(|| self.tokens.get(&remote.host)).cloned();
        Access::new(remote, token)
    }
}

async fn read_local(
    source: &Source,
    path: PathBuf,
    folder: Option<String>,
) -> Result<(Tree, Vec<String>), Problem> {
    if let Some(reference) = &source.reference {
        let what = format!("failed to read {source}");
        let why = format!("it is a folder, which has no branch, tag or commit {reference:?}");
        let next = format!("leave {reference:?} out, or use file://{}", path.display());
        return Err(Problem::new(what, why).next(next));
    }
    let read = tokio::task::spawn_blocking(move || local::read(&path, folder.as_deref())).await;
    read.map_err(|error| Problem::new(format!("failed to read {source}"), error))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_may_move_between_threads() {
        fn sendable<T: Send>(_: T) {}
        let options = Options {
            cache: "c".into(),
            git: "git".into(),
            path: String::new(),
            env: vec![],
            tokens: BTreeMap::new(),
        };
        let sources = Sources::new(options);
        let source = Source::local("x");
        let at = Revision::Commit("a".repeat(40));
        sendable(sources.look(&source));
        sendable(sources.files(&source, &at));
        sendable(sources.plugins(&[], &[]));
        sendable(sources.look_plugins(&[], &[]));
    }
}
