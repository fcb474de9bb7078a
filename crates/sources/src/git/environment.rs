//! What git is told beside its arguments: nothing is asked of a terminal, nothing of ours is in an argument.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use holdpoint_model::problem::Problem;
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    options::PASSED_ON,
    source::{Remote, Scheme},
};

/// The name that goes with a token where the user gave none. GitHub takes this one; GitLab and Gitea take any.
const TOKEN_USER: &str = "x-access-token";

/// SSH without questions, and with an end to waiting for a host that is silent.
const SSH: &str =
    "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4";

/// Settings for every call. The user's own hooks are for their repositories; what is in ours is never cleaned up, so
/// that a commit that is there stays readable.
const ALWAYS: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("protocol.version", "2"),
    ("fetch.recurseSubmodules", "false"),
    ("fetch.writeCommitGraph", "false"),
    // A pack, however few objects there are: one file instead of thousands.
    ("fetch.unpackLimit", "1"),
    // A server that sends less than 1000 bytes a second for half a minute is given up.
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "30"),
];

/// A remote, and the right to it.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) remote: Remote,
    token: Option<SecretString>,
}

impl Access {
    /// # Errors
    /// If the token cannot be sent, or not without others seeing it.
    pub(crate) fn new(remote: Remote, token: Option<SecretString>) -> Result<Self, Problem> {
        // SSH and files have rights of their own.
        let token = token.filter(|_| matches!(remote.scheme, Scheme::Https | Scheme::Http));
        if let Some(token) = &token {
            let what = format!("failed to use the token for {}", remote.host);
            let token = token.expose_secret();
            if token.is_empty() || token.contains(|c: char| c.is_control() || c.is_whitespace()) {
                let why = "it is empty, or has a space or line break in it";
                return Err(Problem::new(what, why)
                    .next("set the variable that holds it again, without a line break at its end"));
            }
            if remote.scheme == Scheme::Http && !remote.is_loopback() {
                let why = "over http:// everybody on the way could read it";
                return Err(Problem::new(what, why).next("use the https:// address"));
            }
        }
        Ok(Self { remote, token })
    }

    /// Whether git sends a token of ours.
    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Settings for calls that speak to this remote.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let Some(token) = &self.token else { return Vec::new() };
        let scheme = if self.remote.scheme == Scheme::Http { "http" } else { "https" };
        let header = format!("http.{scheme}://{}/.extraHeader", self.remote.host);
        vec![
            // An empty one takes back what the user's own settings say: two rights in one request are none.
            (header.clone(), String::new()),
            (header, format!("Authorization: Basic {}", self.encoded(token))),
            // Once redirected, git would send what it was told to whatever host it was sent to.
            ("http.followRedirects".to_owned(), "false".to_owned()),
            // A helper has nothing to add, and might ask somebody.
            ("credential.helper".to_owned(), String::new()),
        ]
    }

    /// A text without the token in it, in any form that it was handed over in.
    pub(crate) fn redact(&self, text: &str) -> String {
        let Some(token) = &self.token else { return text.to_owned() };
        let secret = token.expose_secret();
        let last = secret.rsplit(':').next().unwrap_or(secret);
        let text = text.replace(&self.encoded(token), "[token]").replace(secret, "[token]");
        if last.is_empty() { text } else { text.replace(last, "[token]") }
    }

    fn encoded(&self, token: &SecretString) -> String {
        let secret = token.expose_secret();
        BASE64_STANDARD.encode(match secret.contains(':') {
            true => secret.to_owned(),
            false => format!("{TOKEN_USER}:{secret}"),
        })
    }
}

/// The whole environment of a call.
pub(crate) fn environment(
    path: &str,
    users: &[(String, String)],
    users_own_ssh: bool,
    settings: &[(String, String)],
) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> =
        users.iter().filter(|(name, _)| PASSED_ON.contains(&name.as_str())).cloned().collect();
    let mut set = |name: &str, value: &str| all.push((name.to_owned(), value.to_owned()));
    set("PATH", path);
    // Messages are read, by `trouble`.
    set("LC_ALL", "C");
    set("GIT_TERMINAL_PROMPT", "0");
    // Empty, and not unset: git then looks no further for a program that asks.
    set("GIT_ASKPASS", "");
    set("SSH_ASKPASS_REQUIRE", "never");
    set("GCM_INTERACTIVE", "never");
    set("GIT_ALLOW_PROTOCOL", "file:http:https:ssh");
    set("GIT_NO_LAZY_FETCH", "1");
    set("GIT_OPTIONAL_LOCKS", "0");
    if !users_own_ssh {
        set("GIT_SSH_COMMAND", SSH);
    }
    let always = ALWAYS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let settings: Vec<_> = always.chain(settings.iter().cloned()).collect();
    set("GIT_CONFIG_COUNT", &settings.len().to_string());
    for (i, (key, value)) in settings.into_iter().enumerate() {
        all.push((format!("GIT_CONFIG_KEY_{i}"), key));
        all.push((format!("GIT_CONFIG_VALUE_{i}"), value));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(url: &str, token: &str) -> Result<Access, Problem> {
        Access::new(Remote::parse(url).expect("address"), Some(token.to_owned().into()))
    }

    #[test]
    fn a_token_is_for_one_host_and_is_in_no_text() {
        let access = access("https://git.example.com:8443/a/b.git", "ghp_hunter2").expect("fits");
        let settings = access.settings();
        assert_eq!(settings[1].0, "http.https://git.example.com:8443/.extraHeader");
        let encoded = BASE64_STANDARD.encode("x-access-token:ghp_hunter2");
        assert_eq!(settings[1].1, format!("Authorization: Basic {encoded}"));
        let said = access.redact(&format!("a ghp_hunter2 b {encoded} c"));
        assert_eq!(said, "a [token] b [token] c");
        assert!(!format!("{access:?}").contains("hunter2"));
    }

    #[test]
    fn a_token_that_cannot_go_safely_does_not_go() {
        for (url, token) in [
            ("http://git.example.com/a", "t"),
            ("https://git.example.com/a", "t\n"),
            ("https://git.example.com/a", "t\r\nHost: evil"),
            ("https://git.example.com/a", ""),
        ] {
            assert!(access(url, token).is_err(), "{url} {token:?}");
        }
        assert!(access("http://127.0.0.1:1/a", "t").expect("stays here").has_token());
        assert!(!access("ssh://git@host/a", "t").expect("has keys").has_token());
    }

    #[test]
    fn only_what_is_named_is_passed_on() {
        let users: Vec<(String, String)> =
            ["HOME", "GIT_DIR", "GIT_TRACE_CURL", "GITHUB_TOKEN", "SSH_ASKPASS"]
                .map(|name| (name.to_owned(), "x".to_owned()))
                .to_vec();
        let all = environment("/bin", &users, false, &[]);
        let has = |name: &str| all.iter().any(|(it, _)| it == name);
        assert!(has("HOME") && has("GIT_SSH_COMMAND"));
        assert!(!has("GIT_DIR") && !has("GIT_TRACE_CURL") && !has("GITHUB_TOKEN") && !has("SSH_ASKPASS"));
        assert!(!environment("/bin", &users, true, &[]).iter().any(|(name, _)| name == "GIT_SSH_COMMAND"));
    }
}
