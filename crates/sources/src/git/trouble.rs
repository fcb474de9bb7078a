//! What git says when it fails, for the person who has to do something about it.

use holdpoint_model::problem::Problem;

use super::environment::Access;
use crate::source::Scheme;

/// How much of git's words is repeated, in lines and in characters of each.
const MAX_LINES: usize = 6;
const MAX_CHARS: usize = 300;

/// Why git failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    UnknownHost,
    HostKeyUnknown,
    HostKeyChanged,
    KeyRefused,
    NoSsh,
    RightsRefused,
    Redirected,
    Certificate,
    NotThere,
    NotReached,
    NoSpace,
    Ownership,
    NotAllowed,
    /// The commit was asked for by its number, and the server does not give it that way.
    NotAdvertised,
    /// It has no part of the history to give, only all of it.
    NotShallow,
    Other,
}

/// What git and SSH say, in the order in which they are asked: what is told more exactly comes first.
const WORDS: &[(Cause, &[&str])] = &[
    (Cause::NoSpace, &["No space left on device", "Disk quota exceeded"]),
    (Cause::Ownership, &["dubious ownership"]),
    (
        Cause::UnknownHost,
        &["Could not resolve host", "Name or service not known", "Temporary failure in name resolution"],
    ),
    (Cause::HostKeyChanged, &["REMOTE HOST IDENTIFICATION HAS CHANGED"]),
    (Cause::HostKeyUnknown, &["Host key verification failed", "host key is known for"]),
    (
        Cause::KeyRefused,
        &["Permission denied (", "Too many authentication failures", "no mutual signature algorithm"],
    ),
    (Cause::NoSsh, &["cannot run ssh", "ssh: not found", "error: cannot spawn ssh"]),
    (
        Cause::Redirected,
        &[
            "returned error: 301",
            "returned error: 302",
            "returned error: 303",
            "returned error: 307",
            "returned error: 308",
        ],
    ),
    (
        Cause::RightsRefused,
        &[
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "returned error: 401",
            "returned error: 403",
            "Permission to ",
            "Write access to repository not granted",
            "HTTP Basic: Access denied",
            "Invalid username or password",
            "Invalid username or token",
        ],
    ),
    (
        Cause::Certificate,
        &[
            "SSL certificate problem",
            "certificate verification failed",
            "SSL_ERROR",
            "unable to get local issuer",
        ],
    ),
    (Cause::NotAllowed, &["transport '", "' not allowed"]),
    (
        Cause::NotAdvertised,
        &["not our ref", "unadvertised object", "couldn't find remote ref", "no such remote ref"],
    ),
    (Cause::NotShallow, &["does not support shallow", "shallow capabilities"]),
    (
        Cause::NotThere,
        &[
            "Repository not found",
            "repository not found",
            "does not appear to be a git repository",
            "does not exist",
            "returned error: 404",
            "not found",
            "could not be found",
        ],
    ),
    (
        Cause::NotReached,
        &[
            "Connection refused",
            "Connection timed out",
            "Connection reset",
            "Connection closed",
            "Failed to connect",
            "Couldn't connect to server",
            "Network is unreachable",
            "No route to host",
            "Operation timed out",
            "Operation too slow",
            "timed out",
            "early EOF",
            "unexpected disconnect",
            "Could not read from remote repository",
        ],
    ),
];

/// The cause that git's words tell.
pub(super) fn cause(said: &str) -> Cause {
    let fits = |words: &[&str]| words.iter().any(|word| said.contains(word));
    WORDS.iter().find(|(_, words)| fits(words)).map_or(Cause::Other, |(cause, _)| *cause)
}

/// The problem of a call that failed.
pub(super) fn explain(what: String, access: &Access, said: &str) -> Problem {
    let remote = &access.remote;
    let (host, target, url) = (&remote.host, remote.ssh_target(), &remote.url);
    let name = remote.host_name();
    let quoted = quote(said);
    let of = |why: String| Problem::new(&what, format!("{why}\n{quoted}"));
    match cause(said) {
        Cause::UnknownHost => of(format!("no host of the name {name} is known here"))
            .next(format!("getent hosts {name}"))
            .next("see whether the address is right, and whether this machine needs a proxy (https_proxy)"),
        Cause::HostKeyUnknown => of(format!("SSH does not know {name} yet, and nobody is asked here"))
            .next(format!("ssh -T {target}, compare the fingerprint with what the host publishes, and say yes")),
        Cause::HostKeyChanged => of(format!(
            "{name} shows another key than the one SSH knows: it was set up anew, or somebody stands in between"
        ))
        .next("ask whoever runs the host; only if the key really changed:")
        .next(format!("ssh-keygen -R {}, then ssh -T {target}", key_name(remote))),
        Cause::KeyRefused => of(format!("{name} takes none of the keys that SSH has here"))
            .next(format!("ssh -T {target}"))
            .next("ssh-add -l, and ssh-add ~/.ssh/id_ed25519 if yours is not there")
            .next("add the public key where the host keeps yours, or as a deploy key of the repository"),
        Cause::NoSsh => of("the program ssh is not installed, or not in PATH".into())
            .next("apt-get install openssh-client, or use the https:// address with a token"),
        Cause::RightsRefused if access.has_token() => of(format!("{host} refuses the token"))
            .next("see whether it has expired, and whether it may read this repository (contents: read)")
            .next("an organization with single sign-on wants the token authorized for it, too"),
        Cause::RightsRefused => of(format!("{host} wants to know who asks, and there is no token for it"))
            .next("set a token, and name its variable in holdpoint.toml: token = { env = \"GITHUB_TOKEN\" }")
            .next(format!("or use SSH: git@{name}:OWNER/REPOSITORY.git")),
        Cause::Redirected => of(format!(
            "{host} says that the repository is elsewhere; a token is not sent after it"
        ))
        .next(format!("open {url} in a browser, and use the address that it leads to")),
        Cause::Certificate => of(format!("the certificate of {host} is not one that is trusted here"))
            .next("apt-get install ca-certificates")
            .next(format!("for an authority of your own: git config --global http.https://{host}/.sslCAInfo FILE")),
        Cause::NotAllowed => of("git is not to fetch from such an address".into())
            .next("see what url.*.insteadOf in your git settings makes of it: git config --get-regexp url"),
        Cause::NotThere => {
            let problem = of(match (remote.scheme, access.has_token()) {
                (Scheme::File, _) => "there is no repository at that path".into(),
                (Scheme::Https | Scheme::Http, false) => {
                    format!("{host} knows no such repository; private ones it hides from whoever comes without a token")
                }
                (Scheme::Https | Scheme::Http, true) => {
                    format!("{host} knows no such repository, or hides it from this token")
                }
                (Scheme::Ssh, _) => format!("{name} knows no such repository, or hides it from this key"),
            });
            match remote.scheme {
                Scheme::Ssh => problem.next(format!("ssh -T {target}, to see who you are there")),
                Scheme::File => problem.next(format!("ls -la {}", url.trim_start_matches("file://"))),
                _ => problem.next("see whether the address is right, and the token may read the repository"),
            }
        }
        Cause::NotReached => of(format!("{} does not answer", if host.is_empty() { url } else { host }))
            .next(format!("git ls-remote {url}"))
            .next("see whether this machine needs a proxy (https_proxy), or a firewall is in the way"),
        Cause::NoSpace => of("there is no space left on the disk of the cache".into()).next("df -h"),
        Cause::Ownership => of("the repository is another user's, whom git does not trust".into()).next(format!(
            "git config --global --add safe.directory {}",
            url.trim_start_matches("file://")
        )),
        Cause::NotAdvertised | Cause::NotShallow | Cause::Other => {
            Problem::new(&what, format!("git says:\n{quoted}")).next(format!("git ls-remote {url}"))
        }
    }
}

/// How SSH names a host among the keys that it knows.
fn key_name(remote: &crate::source::Remote) -> String {
    match remote.port() {
        Some(port) => format!("'[{}]:{port}'", remote.host_name()),
        None => remote.host_name().to_owned(),
    }
}

/// The last words, without what moves a terminal's cursor.
pub(super) fn quote(said: &str) -> String {
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<String> = lines
        .map(|line| line.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect::<String>())
        .collect();
    let end = &lines[lines.len().saturating_sub(MAX_LINES)..];
    if end.is_empty() { "(nothing)".to_owned() } else { end.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Remote;

    #[test]
    fn causes_are_told_by_gits_words() {
        for (said, is) in [
            ("fatal: unable to access 'https://x/': Could not resolve host: x", Cause::UnknownHost),
            (
                "ssh: Could not resolve hostname x: Name or service not known\nfatal: Could not read from remote repository.",
                Cause::UnknownHost,
            ),
            (
                "git@github.com: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                Cause::KeyRefused,
            ),
            (
                "Host key verification failed.\nfatal: Could not read from remote repository.",
                Cause::HostKeyUnknown,
            ),
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
                Cause::HostKeyChanged,
            ),
            (
                "fatal: could not read Username for 'https://github.com': terminal prompts disabled",
                Cause::RightsRefused,
            ),
            (
                "remote: Invalid username or token.\nfatal: Authentication failed for 'https://github.com/a/b/'",
                Cause::RightsRefused,
            ),
            (
                "fatal: unable to access 'https://x/': The requested URL returned error: 403",
                Cause::RightsRefused,
            ),
            (
                "fatal: unable to access 'https://x/': The requested URL returned error: 301",
                Cause::Redirected,
            ),
            (
                "remote: Repository not found.\nfatal: repository 'https://github.com/a/b/' not found",
                Cause::NotThere,
            ),
            ("ERROR: Repository not found.\nfatal: Could not read from remote repository.", Cause::NotThere),
            ("fatal: '/srv/x' does not appear to be a git repository", Cause::NotThere),
            (
                "fatal: unable to access 'https://x/': SSL certificate problem: self-signed certificate",
                Cause::Certificate,
            ),
            (
                "ssh: connect to host x port 22: Connection refused\nfatal: Could not read from remote repository.",
                Cause::NotReached,
            ),
            (
                "fatal: unable to access 'https://x/': Failed to connect to x port 443 after 3 ms: Couldn't connect to server",
                Cause::NotReached,
            ),
            (
                "fatal: write error: No space left on device\nfatal: fetch-pack: invalid index-pack output",
                Cause::NoSpace,
            ),
            ("fatal: detected dubious ownership in repository at '/srv/x'", Cause::Ownership),
            ("fatal: remote error: upload-pack: not our ref 0123", Cause::NotAdvertised),
            ("error: Server does not allow request for unadvertised object 0123", Cause::NotAdvertised),
            ("fatal: dumb http transport does not support shallow capabilities", Cause::NotShallow),
            ("fatal: transport 'ext' not allowed", Cause::NotAllowed),
            ("fatal: something new", Cause::Other),
        ] {
            assert_eq!(cause(said), is, "{said}");
        }
    }

    #[test]
    fn what_to_type_next_names_the_host() {
        let problem = |url: &str, token: Option<&str>, said: &str| {
            let token = token.map(|token| token.to_owned().into());
            let access = Access::new(Remote::parse(url).expect("address"), token).expect("fits");
            explain("failed to look".into(), &access, said)
        };
        let refused = problem("ssh://git@h.example:22022/a", None, "Permission denied (publickey).");
        assert_eq!(refused.next[0], "ssh -T -p 22022 git@h.example");
        assert!(refused.next[1].contains("ssh-add"));
        let without = problem("https://h.example/a", None, "The requested URL returned error: 403");
        assert!(without.why.contains("there is no token"), "{without}");
        let with = problem("https://h.example/a", Some("t0ken"), "The requested URL returned error: 403");
        assert!(with.why.contains("refuses the token"), "{with}");
        let other = problem("file:///srv/a", None, "\u{1b}[31mfatal: new\u{7}\n");
        assert!(other.why.ends_with("[31mfatal: new"), "{other:?}");
    }
}
