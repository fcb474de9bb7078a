//! Addresses of git repositories, without what is secret in them.

use crate::expand;

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// As git takes it, without user and password.
    pub(crate) git: String,
    /// Whether a user, password or token stood in it.
    pub(crate) had_secret: bool,
    /// Whether git wants a token for it, and no key of SSH.
    pub(crate) is_https: bool,
}

/// Where a configuration is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A repository.
    Git(Address),
    /// A folder.
    Folder(String),
}

/// Reads what stands for a repository. None for what is none.
pub(crate) fn parse(text: &str) -> Option<Source> {
    let text = text.trim();
    if text.starts_with("./") || text.starts_with("../") || text.starts_with('/') {
        return is_path(text).then(|| Source::Folder(text.to_owned()));
    }
    let Some((scheme, rest)) = text.split_once("://") else { return scp(text) };
    let scheme = scheme.to_ascii_lowercase();
    let (authority, path) = rest.split_at(rest.find('/')?);
    let (user, host) =
        authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if path.len() < 2 || !is_path(path) || !is_host(host) && scheme != "file" {
        return None;
    }
    match scheme.as_str() {
        "file" if authority.is_empty() => {}
        "https" | "http" => {}
        "ssh" => {
            let (account, password) = user
                .unwrap_or("git")
                .split_once(':')
                .map_or((user.unwrap_or("git"), false), |(a, _)| (a, true));
            if !is_account(account) {
                return None;
            }
            let git = format!("ssh://{account}@{host}{path}");
            return Some(Source::Git(Address { git, had_secret: password, is_https: false }));
        }
        _ => return None,
    }
    let git = format!("{scheme}://{host}{path}");
    Some(Source::Git(Address {
        git,
        had_secret: user.is_some_and(|user| user != "git"),
        is_https: scheme != "file",
    }))
}

/// `user@host:path`
fn scp(text: &str) -> Option<Source> {
    let (place, path) = text.split_once(':')?;
    let (account, host) = place.split_once('@')?;
    let fits = is_account(account) && is_host(host) && !path.is_empty() && is_path(path);
    fits.then(|| Source::Git(Address { git: text.to_owned(), had_secret: false, is_https: false }))
}

/// The variable that stands where an address has its user or password, as in `https://${TOKEN}@host/…`.
pub(crate) fn variable_of(text: &str) -> Option<String> {
    let authority = text.split_once("://")?.1.split('/').next()?;
    let (user, _) = authority.rsplit_once('@')?;
    expand::variables(user).last().map(|variable| variable.name.to_owned())
}

/// The address without its user and password, whatever they are.
pub(crate) fn without_user(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/')?);
    Some(format!("{scheme}://{}{path}", authority.rsplit_once('@').map_or(authority, |(_, host)| host)))
}

fn is_account(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 32
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_path(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~/+%".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_off() {
        let git = |git: &str, had_secret, is_https| {
            Some(Source::Git(Address { git: git.into(), had_secret, is_https }))
        };
        let cases = [
            ("git@github.com:o/r.git", git("git@github.com:o/r.git", false, false)),
            ("https://github.com/o/r.git", git("https://github.com/o/r.git", false, true)),
            ("https://tok@github.com/o/r", git("https://github.com/o/r", true, true)),
            ("https://u:p@github.com/o/r", git("https://github.com/o/r", true, true)),
            ("ssh://git@h:22/o/r", git("ssh://git@h:22/o/r", false, false)),
            ("ssh://git:pw@h/o/r", git("ssh://git@h/o/r", true, false)),
            ("file:///srv/git/r.git", git("file:///srv/git/r.git", false, false)),
            ("../master", Some(Source::Folder("../master".into()))),
            ("https://h/r?token=x", None),
            ("https://h/a b", None),
            ("https://h", None),
            ("https://user:passwordh/r", None),
            ("ext::sh -c x", None),
            ("--upload-pack=x", None),
            ("https://${H}/r", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text}");
        }
        assert_eq!(variable_of("https://x:${TOKEN}@h/r").as_deref(), Some("TOKEN"));
        assert_eq!(without_user("https://x:${TOKEN}@h/r").as_deref(), Some("https://h/r"));
    }
}
