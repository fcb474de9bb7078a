//! Podman's API, served for ourselves where nobody serves it.
//!
//! All processes of a user share one service, at one socket. It ends with the last of them: each holds a
//! shared lock while it uses the service, and whoever can get it alone when done ends it. Should they all
//! be killed, it ends by itself once nobody has asked it anything for [`IDLE_LIMIT_S`]; until then the
//! next one to come finds it and goes on with it. The containers are not its children and outlive it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::FlockOperation,
    process::{Pid, Signal},
};
use tokio::{process::Command, task::JoinHandle, time::Instant};

use crate::{ConnectOptions, client, error::Fact, knock};

/// The longest path of a Unix socket on Linux, in bytes (`sun_path` in unix(7), less its final zero).
pub const SOCKET_PATH_LIMIT: usize = 107;

/// The variables that matter to Podman (podman(1), "ENVIRONMENT VARIABLES"). Proxies are left out: it
/// would hand them on into containers, and the user's password with them.
pub const PASSED_ON: &[&str] = &[
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "CONTAINERS_CONF",
    "CONTAINERS_STORAGE_CONF",
    "CONTAINERS_REGISTRIES_CONF",
    "STORAGE_DRIVER",
    "STORAGE_OPTS",
    "REGISTRY_AUTH_FILE",
];

/// A service that nobody has asked anything for so long ends by itself, in seconds.
const IDLE_LIMIT_S: u64 = 600;

/// How often a service that is in use is looked at; three times within the limit above.
const LOOK_EVERY: Duration = Duration::from_secs(200);

/// How long Podman may take until it listens. The first start of a user sets up its storage.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Between two looks whether it listens, or whether another process is done starting it.
const PAUSE: Duration = Duration::from_millis(20);

/// What Podman says of a user without subordinate ids, before it goes on without.
const NO_IDS: [&str; 2] = ["no subuid ranges found", "no subgid ranges found"];

/// How much is repeated of what Podman said before it failed, in bytes.
const SAID_LIMIT: usize = 1000;

/// A service in use. Dropping it ends the service if nobody else uses it.
#[derive(Debug)]
pub(crate) struct Service {
    inner: Arc<Inner>,
    /// Held shared by everybody who uses the service.
    users: File,
    keeper: JoinHandle<()>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    podman: PathBuf,
    path: String,
    env: Vec<(String, String)>,
    socket: PathBuf,
}

impl Service {
    /// Finds the running service of this user, or starts it.
    pub(crate) async fn start(options: &ConnectOptions) -> Result<Self, Fact> {
        let podman = find(&options.path, "podman").ok_or(Fact::NoPodman)?;
        let socket = options.own_folder.join("podman.sock");
        let inner = Inner {
            folder: options.own_folder.clone(),
            podman,
            path: options.path.clone(),
            env: options.service_env.clone(),
            socket,
        };
        if inner.socket.as_os_str().len() > SOCKET_PATH_LIMIT {
            return Err(inner.not_served(format!("a socket's path has at most {SOCKET_PATH_LIMIT} bytes")));
        }
        private_folder(&inner.folder, options.uid).map_err(|error| inner.not_served(error))?;
        let failed = |error: io::Error| inner.not_served(error.to_string());
        let users = open(&inner.folder.join("podman.users")).map_err(failed)?;
        // A starter never waits for users: they hold this lock shared, and for a moment alone at their end.
        lock(&users, FlockOperation::NonBlockingLockShared).await.map_err(failed)?;
        inner.ensure().await?;
        let inner = Arc::new(inner);
        let keeper = tokio::spawn(keep(Arc::clone(&inner)));
        let service = Self { inner, users, keeper };
        match service.inner.useless() {
            Some(said) => Err(service.inner.not_served(said)),
            None => Ok(service),
        }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.inner.socket
    }

    pub(crate) async fn ensure(&self) -> Result<(), Fact> {
        self.inner.ensure().await
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.keeper.abort();
        let alone = rustix::fs::flock(&self.users, FlockOperation::NonBlockingLockExclusive).is_ok();
        if alone {
            self.inner.end();
        }
    }
}

/// Keeps the service from ending because it is idle, and serves again if it ended all the same.
async fn keep(inner: Arc<Inner>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // Whoever needs it next is told why it cannot be served; here nobody listens.
        let _ = inner.ensure().await;
    }
}

impl Inner {
    fn pid_file(&self) -> PathBuf {
        self.folder.join("podman.pid")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("podman.log")
    }

    fn arguments(&self) -> [String; 4] {
        let address = format!("unix://{}", self.socket.display());
        ["system".into(), "service".into(), format!("--time={IDLE_LIMIT_S}"), address]
    }

    fn not_served(&self, error: impl Into<String>) -> Fact {
        let command = format!("{} {}", self.podman.display(), self.arguments().join(" "));
        Fact::NotServed { command, error: error.into() }
    }

    /// Starts it unless it answers; one process of this user at a time.
    async fn ensure(&self) -> Result<(), Fact> {
        if self.answers().await {
            return Ok(());
        }
        let failed = |error: io::Error| self.not_served(error.to_string());
        let starters = open(&self.folder.join("podman.start")).map_err(failed)?;
        lock(&starters, FlockOperation::NonBlockingLockExclusive).await.map_err(failed)?;
        if self.answers().await {
            return Ok(());
        }
        self.launch().await
    }

    async fn answers(&self) -> bool {
        if knock(&self.socket).await.is_err() {
            return false;
        }
        // A whole request, since a bare connection does not count as use.
        let Ok(client) = client(&self.socket) else { return false };
        matches!(tokio::time::timeout(START_LIMIT, client.ping()).await, Ok(Ok(_)))
    }

    async fn launch(&self) -> Result<(), Fact> {
        let failed = |error: io::Error| self.not_served(error.to_string());
        // One that hangs, of a starter that was killed.
        self.end();
        // Into a file: a pipe would end the service at its next word after we are gone.
        let log =
            OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(self.log_file());
        let log = log.map_err(failed)?;
        let mut command = Command::new(&self.podman);
        command.args(self.arguments()).env_clear().env("PATH", &self.path);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir("/").stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(failed)?).stderr(log);
        // Ctrl-C at our terminal is for us: we may need it for a moment still.
        command.process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        if let Some(pid) = child.id() {
            fs::write(self.pid_file(), pid.to_string()).map_err(failed)?;
        }
        let until = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                return Err(self.not_served(format!("it ended with {status}{}", self.said())));
            }
            if self.answers().await {
                return Ok(());
            }
            if Instant::now() > until {
                self.end();
                let limit = START_LIMIT.as_secs();
                return Err(self.not_served(format!("it did not listen within {limit} s{}", self.said())));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What it said, if it serves and yet can start nothing for us: without subordinate ids it takes the one
    /// id of this user for everybody, and refuses to keep that of whoever runs us.
    fn useless(&self) -> Option<String> {
        let log = fs::read_to_string(self.log_file()).unwrap_or_default();
        log.lines().find(|line| NO_IDS.iter().any(|words| line.contains(words))).map(str::to_owned)
    }

    /// The end of what it said, to be put after what happened.
    fn said(&self) -> String {
        let log = fs::read(self.log_file()).unwrap_or_default();
        let end = &log[log.len().saturating_sub(SAID_LIMIT)..];
        match String::from_utf8_lossy(end).trim() {
            "" => String::new(),
            said => format!("; it said: {said}"),
        }
    }

    /// Ends the service, if it is one: the number may have gone to another process since.
    fn end(&self) {
        let pid = fs::read_to_string(self.pid_file()).ok().and_then(|text| text.parse().ok());
        if let Some(pid) = pid.and_then(Pid::from_raw)
            && is_service(pid, &self.arguments()[3])
        {
            // Podman passes the signal on to the part of it that is in the user namespace.
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        for file in [self.pid_file(), self.socket.clone()] {
            let _ = fs::remove_file(file);
        }
    }
}

fn is_service(pid: Pid, address: &str) -> bool {
    let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    line.split(|byte| *byte == 0).any(|argument| argument == address.as_bytes())
}

/// The program of this name in a list of folders.
fn find(path: &str, program: &str) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(program)).find(|program| program.is_file())
}

/// Makes a folder for this user alone. It may be in a place where others can make folders too: one of
/// theirs is refused.
fn private_folder(folder: &Path, uid: u32) -> Result<(), String> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| format!("failed to make {}: {error}", folder.display()))?;
    let meta = fs::symlink_metadata(folder).map_err(|error| error.to_string())?;
    if !meta.is_dir() || meta.uid() != uid || meta.mode() & 0o077 != 0 {
        return Err(format!("{} is not a folder of this user alone", folder.display()));
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Gets a lock; nobody holds one for longer than a start takes.
async fn lock(file: &File, operation: FlockOperation) -> io::Result<()> {
    let until = Instant::now() + 2 * START_LIMIT;
    loop {
        match rustix::fs::flock(file, operation) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Choice;

    fn options(own_folder: PathBuf, path: String) -> ConnectOptions {
        ConnectOptions {
            choice: Choice::Auto,
            uid: rustix::process::geteuid().as_raw(),
            runtime_dir: None,
            container_host: None,
            docker_host: None,
            path,
            own_folder,
            service_env: Vec::new(),
        }
    }

    /// A folder with a `podman` that does this.
    fn fake(script: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("dir");
        let program = dir.path().join("podman");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("script");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&program, mode).expect("mode");
        dir
    }

    fn path_of(dir: &tempfile::TempDir) -> String {
        format!("{}:/usr/bin:/bin", dir.path().display())
    }

    #[tokio::test]
    async fn without_podman_that_is_the_fact() {
        let dir = tempfile::tempdir().expect("dir");
        let fact =
            Service::start(&options(dir.path().join("own"), "/nowhere".into())).await.expect_err("none");
        assert_eq!(fact, Fact::NoPodman);
    }

    #[tokio::test]
    async fn a_podman_that_fails_is_quoted() {
        let bin = fake("echo \"no subuid ranges\" >&2; exit 125");
        let fact = Service::start(&options(bin.path().join("own"), path_of(&bin))).await.expect_err("fails");
        let text = fact.to_string();
        for part in ["system service --time=600 unix://", "exit status: 125", "no subuid ranges"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[tokio::test]
    async fn too_long_a_path_is_refused_before_anything_is_made() {
        let bin = fake("exit 0");
        let folder = bin.path().join("x".repeat(SOCKET_PATH_LIMIT));
        let fact = Service::start(&options(folder.clone(), path_of(&bin))).await.expect_err("too long");
        assert!(fact.to_string().contains("at most 107 bytes"), "{fact}");
        assert!(!folder.exists());
    }

    #[tokio::test]
    async fn a_folder_that_others_may_use_is_refused() {
        let bin = fake("exit 0");
        let folder = bin.path().join("open");
        fs::DirBuilder::new().mode(0o755).create(&folder).expect("folder");
        let fact = Service::start(&options(folder, path_of(&bin))).await.expect_err("not private");
        assert!(fact.to_string().contains("not a folder of this user alone"), "{fact}");
    }

    /// The real one. Where it cannot be served this fails with the fact, and never passes silently.
    #[tokio::test]
    async fn users_share_one_podman_that_ends_with_the_last_and_comes_back_when_killed() {
        let dir = tempfile::tempdir().expect("dir");
        let options = options(dir.path().join("own"), "/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin".into());
        let start = async || match Service::start(&options).await {
            Ok(service) => service,
            Err(fact) => panic!("{fact}\n→ {}", fact.next().unwrap_or_default()),
        };
        let first = start().await;
        let pid = fs::read_to_string(first.inner.pid_file()).expect("pid");
        let second = start().await;
        assert_eq!(
            fs::read_to_string(second.inner.pid_file()).expect("pid"),
            pid,
            "a second one was started"
        );
        drop(first);
        assert!(second.inner.answers().await, "it ended although it is in use");

        let raw = Pid::from_raw(pid.parse().expect("number")).expect("pid");
        rustix::process::kill_process(raw, Signal::KILL).expect("kill");
        while second.inner.answers().await {
            tokio::time::sleep(PAUSE).await;
        }
        second.ensure().await.expect("served again");
        assert!(second.inner.answers().await);

        let pid = fs::read_to_string(second.inner.pid_file()).expect("pid").parse().expect("number");
        let (pid, address) = (Pid::from_raw(pid).expect("pid"), second.inner.arguments()[3].clone());
        assert!(is_service(pid, &address));
        drop(second);
        let until = Instant::now() + START_LIMIT;
        while is_service(pid, &address) && Instant::now() < until {
            tokio::time::sleep(PAUSE).await;
        }
        assert!(!is_service(pid, &address), "it outlived its last user");
    }
}
