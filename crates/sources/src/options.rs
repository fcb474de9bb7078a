//! What this crate is told by the binary, which alone reads the environment.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use secrecy::SecretString;

/// The variables that matter to git, SSH and credential helpers; no others are passed on. `GIT_DIR` and the like are
/// not among them: they would have git work in another repository than ours.
pub const PASSED_ON: &[&str] = &[
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "KRB5CCNAME",
    "SSH_AUTH_SOCK",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_EXEC_PATH",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_NO_VERIFY",
    "GIT_PROXY_SSL_CAINFO",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// Where things are, and with what git is started.
#[derive(Clone)]
pub struct Options {
    /// The folder of the cache; what is below `git` in it is this crate's alone.
    pub cache: PathBuf,
    /// The git program: a name to be looked for in `path`, or a path.
    pub git: PathBuf,
    /// The `PATH` that git is given, to find itself, `ssh` and credential helpers.
    pub path: String,
    /// Variables of the user's; of these, what [`PASSED_ON`] names is passed on.
    pub env: Vec<(String, String)>,
    /// Tokens by host (`github.com`, `git.example.com:8443`), for addresses that come without one of their own: those
    /// of marketplaces and plugins. Each goes to its host alone.
    pub tokens: BTreeMap<String, SecretString>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the variables: a proxy's address holds a password.
        f.debug_struct("Options")
            .field("cache", &self.cache)
            .field("git", &self.git)
            .field("path", &self.path)
            .field("tokens", &self.tokens.keys())
            .finish_non_exhaustive()
    }
}
