//! Who logs in to a registry: said outright, or found where Podman and Docker keep it, or asked of a helper.

use std::{collections::BTreeMap, fs, io, path::PathBuf, process::Stdio, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::Problem;

/// How long a helper may take. Some ask a person for a password of their own.
const HELPER_LIMIT: Duration = Duration::from_secs(60);

/// What Docker's own registry is called, and how its log-in is stored.
const DOCKER_HUB: &[&str] = &["docker.io", "index.docker.io", "registry-1.docker.io"];

/// What a helper says where it has nothing (docker-credential-helpers, `errCredentialsNotFoundMessage`).
const NOTHING_FOUND: &str = "credentials not found";

/// What stands for the user where a token of Docker's own kind is stored.
const TOKEN_USER: &str = "<token>";

/// A user and a password.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password, or a token that is used as one.
    pub password: SecretString,
}

/// Where to look for a log-in; the caller reads it from the environment.
#[derive(Clone, Debug, Default)]
pub struct LoginSources {
    /// What was said outright; nothing else is looked at then.
    pub explicit: Option<Login>,
    /// The files, in order: `REGISTRY_AUTH_FILE`, `$XDG_RUNTIME_DIR/containers/auth.json`,
    /// `~/.docker/config.json`. One that is not there is passed over.
    pub files: Vec<PathBuf>,
    /// `PATH`, where helpers are looked for.
    pub path: String,
    /// The rest of a helper's environment: `HOME`, and whatever else it needs.
    pub helper_env: Vec<(String, String)>,
}

/// containers-auth.json(5), and Docker's config.json.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    auths: BTreeMap<String, Stored>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Stored {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FromHelper {
    username: String,
    secret: String,
}

/// What a file has for a repository.
enum Way {
    Stored(Login),
    Helper(String),
}

/// The log-in for a repository: `registry.example/group/name`. None where there is none, as for one that anybody may
/// use.
///
/// # Errors
/// When a file or a helper is there and cannot be used.
pub async fn login(sources: &LoginSources, repository: &str) -> Result<Option<Login>, Problem> {
    if let Some(login) = &sources.explicit {
        return Ok(Some(login.clone()));
    }
    for path in &sources.files {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Problem::file("read", path, &error)),
        };
        let found = in_file(&text, repository).map_err(|why| {
            let (registry, what) = (registry(repository), format!("failed to use {}", path.display()));
            Problem::new(what, why)
                .next(format!("podman login {registry}     (or `docker login {registry}`)"))
        })?;
        match found {
            Some(Way::Stored(login)) => return Ok(Some(login)),
            Some(Way::Helper(name)) => {
                if let Some(login) = ask(sources, &name, registry(repository)).await? {
                    return Ok(Some(login));
                }
            }
            None => {}
        }
    }
    Ok(None)
}

fn registry(repository: &str) -> &str {
    repository.split('/').next().unwrap_or(repository)
}

fn in_file(text: &str, repository: &str) -> Result<Option<Way>, String> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    let file: File = serde_json::from_str(text).map_err(|error| format!("it is no such file: {error}"))?;
    if let Some(helper) = file.cred_helpers.get(registry(repository)) {
        return Ok(Some(Way::Helper(helper.clone())));
    }
    // The most particular first: Podman stores log-ins of single repositories too.
    let mut keys: Vec<_> = file.auths.iter().filter(|(key, _)| covers(key, repository)).collect();
    keys.sort_by_key(|(key, _)| std::cmp::Reverse(bare(key).len()));
    for (key, stored) in keys {
        if let Some(login) = stored.login().map_err(|why| format!("the log-in of {key}: {why}"))? {
            return Ok(Some(Way::Stored(login)));
        }
    }
    Ok(file.creds_store.filter(|name| !name.is_empty()).map(Way::Helper))
}

/// Docker keeps addresses where Podman keeps names: `https://index.docker.io/v1/`.
fn bare(key: &str) -> &str {
    let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key)
}

fn covers(key: &str, repository: &str) -> bool {
    let key = bare(key);
    let is_hub = |name: &str| DOCKER_HUB.contains(&name);
    key == repository
        || repository.strip_prefix(key).is_some_and(|rest| rest.starts_with('/'))
        || (is_hub(key) && is_hub(registry(repository)))
}

impl Stored {
    fn login(&self) -> Result<Option<Login>, String> {
        if self.identitytoken.as_ref().is_some_and(|token| !token.is_empty()) {
            return Err("it is a token of Docker's own kind, which nothing else takes; log in with a password or an access token".into());
        }
        if let (Some(user), Some(password)) = (&self.username, &self.password) {
            return Ok(Some(Login { user: user.clone(), password: password.clone().into() }));
        }
        let Some(auth) = self.auth.as_ref().filter(|auth| !auth.is_empty()) else { return Ok(None) };
        let decoded =
            BASE64_STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_ref().and_then(|text| text.trim_end_matches('\0').split_once(':'));
        let (user, password) = pair.ok_or("it is not user:password in Base64")?;
        Ok(Some(Login { user: user.to_owned(), password: password.to_owned().into() }))
    }
}

/// Asks a helper by its protocol (<https://github.com/docker/docker-credential-helpers>): the address comes on stdin.
async fn ask(sources: &LoginSources, name: &str, registry: &str) -> Result<Option<Login>, Problem> {
    let program = format!("docker-credential-{name}");
    let problem = |why: String| {
        Problem::new(format!("failed to ask {program} for the log-in to {registry}"), why)
            .next(format!("echo {registry} | {program} get"))
    };
    if name.contains('/') {
        return Err(problem("that is no name of a helper".into()));
    }
    let Some(path) = found(&program, &sources.path) else {
        return Err(problem("it is not on the PATH".into()));
    };
    let address = if DOCKER_HUB.contains(&registry) { "https://index.docker.io/v1/" } else { registry };
    let mut child = Command::new(path)
        .arg("get")
        .env_clear()
        .env("PATH", &sources.path)
        .envs(sources.helper_env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| problem(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it says what it wants on its own.
        let _ = stdin.write_all(address.as_bytes()).await;
    }
    let output = tokio::time::timeout(HELPER_LIMIT, child.wait_with_output())
        .await
        .map_err(|_| problem(format!("it said nothing within {} s", HELPER_LIMIT.as_secs())))?
        .map_err(|error| problem(error.to_string()))?;
    if !output.status.success() {
        // What it printed may be half a secret where it succeeded; not here.
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        if said.contains(NOTHING_FOUND) {
            return Ok(None);
        }
        return Err(problem(format!("it ended with {}: {}", output.status, said.trim())));
    }
    let answer: FromHelper =
        serde_json::from_slice(&output.stdout).map_err(|_| problem("what it printed is no log-in".into()))?;
    if answer.username == TOKEN_USER {
        return Err(problem("it has a token of Docker's own kind, which nothing else takes".into())
            .next(format!("docker login {registry}     (with a password or an access token)")));
    }
    let secret = SecretString::from(answer.secret);
    if secret.expose_secret().is_empty() {
        return Ok(None);
    }
    Ok(Some(Login { user: answer.username, password: secret }))
}

/// A program on the PATH, by our own search: that of the environment is not passed on.
fn found(program: &str, path: &str) -> Option<PathBuf> {
    let folders = path.split(':').filter(|folder| !folder.is_empty());
    folders.map(|folder| PathBuf::from(folder).join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn shown(login: Option<Login>) -> Option<String> {
        login.map(|login| format!("{} {}", login.user, login.password.expose_secret()))
    }

    async fn found_in(text: &str, repository: &str) -> Result<Option<String>, Problem> {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("auth.json");
        fs::write(&file, text).expect("file");
        let helper = dir.path().join("docker-credential-test");
        fs::write(
            &helper,
            "#!/bin/sh\nread -r host\n[ \"$host\" = none.example ] && { echo credentials not found in native keychain; exit 1; }\n\
             [ \"$host\" = bad.example ] && { echo locked >&2; exit 1; }\necho \"{\\\"ServerURL\\\":\\\"$host\\\",\\\"Username\\\":\\\"h\\\",\\\"Secret\\\":\\\"$SECRET\\\"}\"\n",
        )
        .expect("helper");
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("mode");
        let sources = LoginSources {
            explicit: None,
            files: vec![dir.path().join("missing"), file],
            path: format!("{}:/usr/bin:/bin", dir.path().display()),
            helper_env: vec![("SECRET".into(), "s3".into())],
        };
        login(&sources, repository).await.map(shown)
    }

    #[tokio::test]
    async fn log_ins_are_found_where_they_are_kept() {
        // user:pass
        let plain = r#"{"auths":{"r.example":{"auth":"dXNlcjpwYXNz"},"r.example/team":{"username":"t","password":"p:q"},
                        "https://index.docker.io/v1/":{"auth":"ZDpl"},"empty.example":{}}}"#;
        let helpers = r#"{"credsStore":"test","credHelpers":{"h.example":"test"},"auths":{"h.example":{}}}"#;
        for (text, repository, expected) in [
            (plain, "r.example/x", Some("user pass")),
            (plain, "r.example/team/x", Some("t p:q")),
            (plain, "r.example/teams/x", Some("user pass")),
            (plain, "r.example.evil/x", None),
            (plain, "docker.io/library/x", Some("d e")),
            (plain, "empty.example/x", None),
            (helpers, "h.example/x", Some("h s3")),
            (helpers, "other.example/x", Some("h s3")),
            (helpers, "none.example/x", None),
            ("", "r.example/x", None),
            ("{}", "r.example/x", None),
        ] {
            let found = found_in(text, repository).await.expect(repository);
            assert_eq!(found.as_deref(), expected, "{repository} in {text}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_said_and_no_secret_with_it() {
        for (text, repository, why) in [
            ("nonsense", "r.example/x", "it is no such file"),
            (r#"{"auths":{"r.example":{"auth":"c2VjcmV0"}}}"#, "r.example/x", "not user:password"),
            (r#"{"auths":{"r.example":{"identitytoken":"secret"}}}"#, "r.example/x", "Docker's own kind"),
            (r#"{"credsStore":"missing"}"#, "r.example/x", "not on the PATH"),
            (r#"{"credsStore":"test"}"#, "bad.example/x", "locked"),
            (r#"{"credsStore":"../test"}"#, "r.example/x", "no name of a helper"),
        ] {
            let problem = found_in(text, repository).await.expect_err(text);
            assert!(problem.why.contains(why) && !problem.next.is_empty(), "{text}: {problem:?}");
            assert!(!format!("{problem:?}").contains("c2VjcmV0"), "{problem:?}");
        }
        let explicit = Login { user: "u".into(), password: "secret".to_owned().into() };
        assert!(!format!("{explicit:?}").contains("secret"));
    }
}
