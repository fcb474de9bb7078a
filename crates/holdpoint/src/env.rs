//! The one place that reads the environment. Everything else is handed what it needs.

use std::path::PathBuf;

use secrecy::SecretString;

use crate::proxy::Proxies;

/// What of the environment matters to Holdpoint, apart from those `HOLDPOINT_…` that stand for flags
/// of every command and are read with them.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Where programs are looked for.
    pub path: String,
    /// The person's folder.
    pub home: Option<PathBuf>,
    /// Where programs keep their data.
    pub xdg_data_home: Option<PathBuf>,
    /// Where sockets of this user are.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// The socket of Podman, where the person named one.
    pub container_host: Option<String>,
    /// The socket of Docker, where the person named one.
    pub docker_host: Option<String>,
    /// The environment of a Podman that is served for us.
    pub for_podman: Vec<(String, String)>,
    /// The environment of what makes images.
    pub for_images: Vec<(String, String)>,
    /// The environment of git, and of the programs that know log-ins.
    pub for_git: Vec<(String, String)>,
    /// Where log-ins of registries are, where the person named a file.
    pub registry_auth_file: Option<PathBuf>,
    /// Certificates to trust besides those of the system.
    pub certificates: Option<PathBuf>,
    /// The index of Python packages, where the person set one for pip.
    pub pip_index: Option<String>,
    /// The npm registry, where the person set one.
    pub npm_registry: Option<String>,
    /// The key for the model endpoint.
    pub anthropic_api_key: Option<SecretString>,
    /// The model endpoint.
    pub anthropic_base_url: Option<String>,
    /// The way to the model endpoint.
    pub proxies: Proxies,
    /// The port to listen on, as it was written.
    pub port: Option<String>,
    /// The program to edit text with.
    pub editor: Option<String>,
    /// Whether a browser could show anything to the person at this terminal.
    pub has_display: bool,
    /// What the person set for the log, in place of the configuration.
    pub rust_log: Option<String>,
    /// The person wants no colours (<https://no-color.org>).
    pub no_color: bool,
    /// Variables that only the configuration names.
    pub named: Named,
}

/// Looks up variables by the names that the configuration gives to secrets.
#[derive(Clone, Copy, Debug)]
pub struct Named(pub fn(&str) -> Option<SecretString>);

impl Default for Named {
    /// There are none.
    fn default() -> Self {
        Self(|_| None)
    }
}

impl Environment {
    /// As it is now.
    #[must_use]
    pub fn read() -> Self {
        let remote = var("SSH_CONNECTION").is_some() || var("CI").is_some();
        let window_system =
            cfg!(target_os = "macos") || var("DISPLAY").is_some() || var("WAYLAND_DISPLAY").is_some();
        Self {
            path: var("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned()),
            home: var("HOME").map(PathBuf::from),
            xdg_data_home: var("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute()),
            xdg_runtime_dir: var("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute()),
            container_host: var("CONTAINER_HOST"),
            docker_host: var("DOCKER_HOST"),
            for_podman: these(holdpoint_containers::PASSED_ON),
            for_images: these(holdpoint_image::PASSED_ON),
            for_git: these(holdpoint_sources::PASSED_ON),
            registry_auth_file: var("REGISTRY_AUTH_FILE").map(PathBuf::from),
            certificates: var("SSL_CERT_FILE").map(PathBuf::from),
            pip_index: var("PIP_INDEX_URL"),
            npm_registry: any(&["npm_config_registry", "NPM_CONFIG_REGISTRY"]),
            anthropic_api_key: var("ANTHROPIC_API_KEY").map(|key| key.trim().to_owned().into()),
            anthropic_base_url: var("ANTHROPIC_BASE_URL"),
            proxies: Proxies {
                http: any(&["HTTP_PROXY", "http_proxy"]).map(Into::into),
                https: any(&["HTTPS_PROXY", "https_proxy"]).map(Into::into),
                all: any(&["ALL_PROXY", "all_proxy"]).map(Into::into),
                no: any(&["NO_PROXY", "no_proxy"]),
            },
            port: var("HOLDPOINT_PORT"),
            editor: var("VISUAL").or_else(|| var("EDITOR")),
            has_display: window_system && !remote,
            rust_log: var("RUST_LOG"),
            no_color: var("NO_COLOR").is_some() || var("TERM").as_deref() == Some("dumb"),
            named: Named(|name| var(name).map(|secret| secret.trim().to_owned().into())),
        }
    }
}

/// The program's file in the folders of a `PATH`.
#[must_use]
pub fn on_path(path: &str, program: &str) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Those of these that are set, with their names.
fn these(names: &[&str]) -> Vec<(String, String)> {
    names.iter().filter_map(|name| Some(((*name).to_owned(), var(name)?))).collect()
}

/// The first of these that is set.
fn any(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| var(name))
}

/// A variable that is set to something.
fn var(name: &str) -> Option<String> {
    #[allow(clippy::disallowed_methods)]
    let value = std::env::var(name);
    value.ok().filter(|value| !value.trim().is_empty())
}

/// All of it, for a process that stands for another. What is no text is left out.
#[must_use]
pub fn whole() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
