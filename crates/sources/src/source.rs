//! Where files come from.

use std::{fmt, path::PathBuf};

use holdpoint_model::problem::Problem;
use secrecy::SecretString;

use crate::revision::commit;

/// A repository or a local folder, or a folder within it.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it is.
    pub from: Location,
    /// A branch, a tag or a whole commit; none is the branch that the repository's own `HEAD` names.
    pub reference: Option<String>,
    /// The folder within it.
    pub folder: Option<String>,
    /// For HTTPS: a token, or `name:token` for hosts that want a certain name. It goes to this host alone.
    pub token: Option<SecretString>,
}

/// Where a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// `https://…`, `ssh://…`, `git@host:path` or `file:///…`.
    Git(String),
    /// A folder of this machine; git is not asked about it.
    Folder(PathBuf),
}

impl Source {
    /// A repository's default branch.
    #[must_use]
    pub fn git(url: impl Into<String>) -> Self {
        Self { from: Location::Git(url.into()), reference: None, folder: None, token: None }
    }

    /// A local folder.
    #[must_use]
    pub fn local(folder: impl Into<PathBuf>) -> Self {
        Self { from: Location::Folder(folder.into()), reference: None, folder: None, token: None }
    }

    /// At a branch, a tag or a whole commit.
    #[must_use]
    pub fn at(mut self, reference: Option<String>) -> Self {
        self.reference = reference;
        self
    }

    /// A folder within.
    #[must_use]
    pub fn within(mut self, folder: Option<String>) -> Self {
        self.folder = folder;
        self
    }

    /// The commit that it names itself.
    pub(crate) fn commit(&self) -> Option<String> {
        self.reference.as_deref().and_then(commit)
    }

    /// The folder within it, by names that stay within.
    pub(crate) fn checked_folder(&self) -> Result<Option<String>, Problem> {
        let Some(folder) = &self.folder else { return Ok(None) };
        inside(folder).ok_or_else(|| {
            Problem::new(
                format!("failed to use the folder {folder:?} of {self}"),
                "it is no path within: names joined by `/`, without `..` and not from `/`",
            )
        })
    }
}

/// The source as a text that two have in common exactly if they name the same; without the token.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.from {
            Location::Git(url) => f.write_str(&without_user(url))?,
            Location::Folder(path) => path.display().fmt(f)?,
        }
        if let Some(reference) = &self.reference {
            write!(f, "#{reference}")?;
        }
        match &self.folder {
            Some(folder) => write!(f, " ({folder})"),
            None => Ok(()),
        }
    }
}

/// A path within a folder, tidied: `./a//b/` is `a/b`, and the folder itself is none. `None` if it leads out.
pub(crate) fn inside(path: &str) -> Option<Option<String>> {
    if path.starts_with('/') || path.contains(['\\', '\0', '\n']) {
        return None;
    }
    let names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    if names.contains(&"..") {
        return None;
    }
    Some((!names.is_empty()).then(|| names.join("/")))
}

/// How a repository is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Https,
    Http,
    Ssh,
    File,
}

/// An address that git may be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) url: String,
    pub(crate) scheme: Scheme,
    /// With the user for SSH, if the address has one.
    pub(crate) user: Option<String>,
    /// With the port, if the address has one; empty for files.
    pub(crate) host: String,
}

impl Remote {
    /// Reads an address.
    ///
    /// # Errors
    /// If git is not to be given it: it is none, starts a program, or has a secret in it.
    pub(crate) fn parse(url: &str) -> Result<Self, Problem> {
        let shown = without_user(url);
        let refuse = |why: &str| Problem::new(format!("failed to use the address {shown:?}"), why);
        if url.is_empty() || url.starts_with('-') || url.contains(|c: char| c.is_control() || c == ' ') {
            return Err(refuse("it is no address of a repository"));
        }
        let of = |scheme, user: Option<&str>, host: &str| Self {
            url: url.to_owned(),
            scheme,
            user: user.map(str::to_owned),
            host: host.to_ascii_lowercase(),
        };
        let Some((scheme, rest)) = url.split_once("://") else { return Self::short(url, &refuse, &of) };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            "ssh" => Scheme::Ssh,
            "file" if host.is_empty() && !path.is_empty() => return Ok(of(Scheme::File, None, "")),
            "file" => {
                return Err(refuse("an address of a local repository is `file:///` and its whole path"));
            }
            _ => {
                return Err(refuse("only https://, ssh://, git@host:path and file:/// are fetched from"));
            }
        };
        if host.is_empty() || host.starts_with('-') || path.is_empty() {
            return Err(refuse("it has no host or no path"));
        }
        let web = scheme != Scheme::Ssh;
        if user.is_some_and(|user| web || user.contains(':')) {
            let next = "name the variable that holds the token in holdpoint.toml: token = { env = \"GITHUB_TOKEN\" }";
            return Err(refuse(
                "it has a name or password in it, which would be written wherever the address is",
            )
            .next(format!("use {shown}"))
            .next(next));
        }
        if web && url.contains(['?', '#']) {
            return Err(refuse("it has a query or fragment, which no address of a repository has"));
        }
        if user.is_some_and(|user| user.starts_with('-') || user.is_empty()) {
            return Err(refuse("it has no user before the `@`"));
        }
        Ok(of(scheme, user, host))
    }

    /// `git@host:path`.
    fn short(
        url: &str,
        refuse: &dyn Fn(&str) -> Problem,
        of: &dyn Fn(Scheme, Option<&str>, &str) -> Self,
    ) -> Result<Self, Problem> {
        let none = || {
            let problem = refuse("it is no address of a repository");
            match inside(url) {
                Some(Some(path)) if path.split('/').count() == 2 => problem
                    .next(format!("use https://github.com/{path}.git, or git@github.com:{path}.git"))
                    .next("for a folder of this machine, say that it is a folder"),
                _ => problem,
            }
        };
        let (before, path) = url.split_once(':').ok_or_else(none)?;
        if before.contains('/') || path.is_empty() || path.starts_with(':') {
            return Err(none());
        }
        let (user, host) = match before.split_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, before),
        };
        let bad = |name: &str| name.is_empty() || name.starts_with('-') || name.contains('@');
        if bad(host) || user.is_some_and(bad) {
            return Err(none());
        }
        Ok(of(Scheme::Ssh, user, host))
    }

    /// The host without its port.
    pub(crate) fn host_name(&self) -> &str {
        match self.host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => &self.host,
        }
    }

    /// The port, if it is said.
    pub(crate) fn port(&self) -> Option<&str> {
        self.host.strip_prefix(self.host_name())?.strip_prefix(':').filter(|port| !port.is_empty())
    }

    /// `user@host`, as SSH is told it.
    pub(crate) fn ssh_target(&self) -> String {
        let port = self.port().map_or_else(String::new, |port| format!("-p {port} "));
        let user = self.user.as_ref().map_or_else(String::new, |user| format!("{user}@"));
        format!("{port}{user}{}", self.host_name())
    }

    /// Whether what is sent stays on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let name = self.host_name().trim_start_matches('[').trim_end_matches(']');
        name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// An address without what stands before the `@`, which may be a secret. `git@host:path` has none.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, _)) if scheme != "ssh" || user.contains(':') => {
            format!("{scheme}://{}", &rest[user.len() + 1..])
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        for (url, scheme, host, target) in [
            ("https://github.com/a/b.git", Scheme::Https, "github.com", "github.com"),
            ("HTTPS://GitHub.com/a/b", Scheme::Https, "github.com", "github.com"),
            ("http://127.0.0.1:80/a", Scheme::Http, "127.0.0.1:80", "-p 80 127.0.0.1"),
            ("ssh://git@host:2222/a.git", Scheme::Ssh, "host:2222", "-p 2222 git@host"),
            ("ssh://host/a.git", Scheme::Ssh, "host", "host"),
            ("git@github.com:a/b.git", Scheme::Ssh, "github.com", "git@github.com"),
            ("host:a", Scheme::Ssh, "host", "host"),
            ("file:///srv/a.git", Scheme::File, "", ""),
        ] {
            let remote = Remote::parse(url).expect(url);
            assert_eq!(
                (remote.scheme, &*remote.host, &*remote.ssh_target()),
                (scheme, host, target),
                "{url}"
            );
        }
    }

    #[test]
    fn what_git_is_not_to_be_given_is_refused() {
        for url in [
            "",
            "-u",
            "--upload-pack=x",
            "a b",
            "a\nb",
            "ext::sh -c id",
            "ext::sh",
            "fd::7",
            "git://host/a",
            "ftp://host/a",
            "file://host/a",
            "file://",
            "https://",
            "https:///a",
            "https://host",
            "/srv/a.git",
            "./a",
            "a/b",
            "ssh://-oProxyCommand=x/a",
            "-host:a",
            "ssh://-x@host/a",
            "https://host/a?token=x",
            "@host:a",
            "host:",
            "a::b",
        ] {
            assert!(Remote::parse(url).is_err(), "{url:?}");
        }
        let short = Remote::parse("a/b").expect_err("no address");
        assert!(short.next[0].contains("https://github.com/a/b.git"), "{short:?}");
    }

    #[test]
    fn a_secret_in_an_address_is_refused_and_not_repeated() {
        for url in ["https://me:hunter2@host/a.git", "https://hunter2@host/a", "ssh://me:hunter2@host/a"] {
            let problem = Remote::parse(url).expect_err("a secret");
            assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
            assert!(!Source::git(url).to_string().contains("hunter2"));
        }
    }

    #[test]
    fn paths_stay_inside() {
        for (path, to) in [("./a//b/", Some("a/b")), (".", None), ("./", None), ("", None), ("a", Some("a"))]
        {
            assert_eq!(inside(path), Some(to.map(str::to_owned)), "{path}");
        }
        for path in ["/a", "..", "a/../b", "a\\b", "a\0"] {
            assert_eq!(inside(path), None, "{path}");
        }
    }
}
