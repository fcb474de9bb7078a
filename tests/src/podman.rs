//! A real Podman for tests: rootful, and rootless as an ordinary user.
//!
//! `cargo xtask tools` installs it and makes that user. Where a machine cannot run it, the test fails and
//! names the deciding fact.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::{build_dir, claude, holdpoint};

/// The account that rootless containers run as where tests run as root; `cargo xtask tools` makes it.
pub const USER: &str = "holdpoint-tests";

/// runc, since crun refuses machines whose control groups are half of the old kind; and limits that are never
/// above those of the machine, which may not be raised everywhere.
pub const CONTAINERS_CONF: &str = "[engine]\nruntime = \"runc\"\n[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n";

/// Overlays of the kernel's own: without a word Podman may take copies instead, which are slow and large.
const STORAGE_CONF: &str = "[storage]\ndriver = \"overlay\"\n";

/// Which Podman.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Root's.
    Rootful,
    /// An ordinary user's.
    Rootless,
}

/// An account of this machine.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) uid: u32,
    gid: u32,
    home: PathBuf,
}

/// A Podman that works, with the base image of the program under test.
#[derive(Clone, Debug)]
pub struct Podman {
    kind: Kind,
    folder: PathBuf,
    user: Option<User>,
    /// The program under test, and the Claude CLI, where the account can reach them.
    program: PathBuf,
    claude: PathBuf,
    apart: Option<Arc<Apart>>,
}

/// What makes a Podman another than that of the other tests, on the same storage.
#[derive(Debug)]
struct Apart {
    runtime: TempDir,
    env: Vec<(&'static str, PathBuf)>,
}

impl Drop for Apart {
    fn drop(&mut self) {
        // Of a server that was killed: it would end by itself in ten minutes.
        let pid = fs::read_to_string(self.runtime.path().join("holdpoint/podman.pid"));
        crate::processes::kill(pid.ok().and_then(|pid| pid.trim().parse().ok()).as_slice());
    }
}

/// An account for one test, which is gone with it.
#[derive(Debug)]
pub struct Account {
    name: String,
    user: User,
}

impl Account {
    /// Makes one, with subordinate ids or without.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(name: &str, subordinate_ids: bool) -> Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "accounts are made by root alone: run the tests as root"
        );
        let name = format!("{name}-{}", std::process::id());
        let mut command = Command::new("useradd");
        command.args(["--create-home", "--shell", "/bin/bash"]);
        if !subordinate_ids {
            command.args(["--key", "SUB_UID_COUNT=0", "--key", "SUB_GID_COUNT=0"]);
        }
        let output = command.arg(&name).output()?;
        ensure!(output.status.success(), "useradd failed: {}", String::from_utf8_lossy(&output.stderr));
        let account = Self { user: user(&name)?, name };
        let runtime = account.user.runtime_dir();
        fs::create_dir_all(&runtime)?;
        account.user.takes(&runtime)?;
        fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        let configuration = account.user.home.join(".holdpoint-tests");
        fs::create_dir_all(&configuration)?;
        fs::write(configuration.join("containers.conf"), CONTAINERS_CONF)?;
        fs::write(configuration.join("storage.conf"), account.user.storage_conf())?;
        account.user.takes(&account.user.home)?;
        Ok(account)
    }

    /// Its home.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.user.home
    }

    /// Gives it a folder and what is in it.
    ///
    /// # Errors
    /// When it cannot be given.
    pub fn takes(&self, folder: &Path) -> Result<()> {
        self.user.takes(folder)
    }

    /// Makes a command one of its own.
    pub fn applies_to(&self, command: &mut Command) {
        let folder = self.user.home.join(".holdpoint-tests");
        command
            .env("HOME", &self.user.home)
            .env("USER", &self.name)
            .env("XDG_RUNTIME_DIR", self.user.runtime_dir())
            .env("CONTAINERS_CONF", folder.join("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", folder.join("storage.conf"))
            .uid(self.user.uid)
            .gid(self.user.gid)
            .current_dir("/");
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // Podman leaves a process behind that keeps the account's user namespace.
        crate::processes::kill_all_of_user(self.user.uid);
        let _ = Command::new("umount").arg("--recursive").arg("--quiet").arg(&self.user.home).output();
        let _ = fs::remove_dir_all(self.user.runtime_dir());
        let _ = Command::new("userdel").args(["--remove", &self.name]).output();
    }
}

impl Podman {
    /// Ready to be used: configured, and with the image, which is built once.
    ///
    /// # Errors
    /// What this machine lacks.
    pub fn ready(kind: Kind) -> Result<Self> {
        static READY: Mutex<BTreeMap<Kind, Podman>> = Mutex::new(BTreeMap::new());
        let mut ready =
            READY.lock().map_err(|_| anyhow::anyhow!("an earlier test could not get Podman ready"))?;
        if let Some(podman) = ready.get(&kind) {
            return Ok(podman.clone());
        }
        let podman = Self::new(kind)?;
        podman.image()?;
        ready.insert(kind, podman.clone());
        Ok(podman)
    }

    fn new(kind: Kind) -> Result<Self> {
        let tools = build_dir()?.parent().context("no target folder")?.join("test-tools");
        let is_root = rustix::process::geteuid().is_root();
        let user = match kind {
            Kind::Rootful => {
                ensure!(is_root, "rootful Podman is tried by root alone: run the tests as root");
                None
            }
            Kind::Rootless if is_root => Some(user(USER)?),
            Kind::Rootless => None,
        };
        let folder = match &user {
            None => tools.join(format!("podman-{kind:?}").to_lowercase()),
            Some(user) => user.home.join(".holdpoint-tests"),
        };
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("containers.conf"), CONTAINERS_CONF)?;
        let storage = user.as_ref().map_or_else(|| STORAGE_CONF.to_owned(), User::storage_conf);
        fs::write(folder.join("storage.conf"), storage)?;
        if let Some(user) = &user {
            let runtime = user.runtime_dir();
            fs::create_dir_all(&runtime)?;
            chown(&runtime, Some(user.uid), Some(user.gid))?;
            fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
            user.takes(&folder)?;
        }
        let (program, claude) = match &user {
            None => (holdpoint()?, claude()?),
            Some(_) => (copied(&holdpoint()?, &folder)?, copied(&claude()?, &folder)?),
        };
        Ok(Self { kind, folder, user, program, claude, apart: None })
    }

    /// The program under test, where the account can reach it.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The Claude CLI, where the account can reach it.
    #[must_use]
    pub fn claude(&self) -> &Path {
        &self.claude
    }

    /// The same, but served apart, with another `containers.conf` if one is given, and more variables.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn apart(&self, conf: Option<&str>, env: &[(&'static str, &Path)]) -> Result<Self> {
        // Short: the path of a socket has little room.
        let runtime = tempfile::Builder::new().prefix("hp-").tempdir()?;
        let mut env: Vec<_> = env.iter().map(|(name, value)| (*name, value.to_path_buf())).collect();
        if let Some(conf) = conf {
            let file = runtime.path().join("containers.conf");
            fs::write(&file, conf)?;
            env.push(("CONTAINERS_CONF", file));
        }
        env.push(("XDG_RUNTIME_DIR", runtime.path().to_owned()));
        self.takes(runtime.path())?;
        Ok(Self { apart: Some(Arc::new(Apart { runtime, env })), ..self.clone() })
    }

    /// The process that serves it, where it is served apart.
    ///
    /// # Errors
    /// When it is not.
    pub fn service(&self) -> Result<u32> {
        let file = self.own_folder().join("podman.pid");
        fs::read_to_string(&file)
            .with_context(|| file.display().to_string())?
            .trim()
            .parse()
            .context("a number")
    }

    /// Where Holdpoint has its sockets and mounts.
    fn own_folder(&self) -> PathBuf {
        match &self.apart {
            Some(apart) => apart.runtime.path().join("holdpoint"),
            None => "/run/holdpoint".into(),
        }
    }

    /// Which it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Makes a command one of the account and configuration that this Podman belongs to.
    pub fn applies_to(&self, command: &mut Command) {
        for (name, value) in self.env() {
            command.env(name, value);
        }
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid).current_dir("/");
        }
    }

    fn env(&self) -> Vec<(&'static str, PathBuf)> {
        let mut env = vec![("CONTAINERS_CONF", self.folder.join("containers.conf"))];
        if let Some(user) = &self.user {
            env.push(("CONTAINERS_STORAGE_CONF", self.folder.join("storage.conf")));
            env.extend([("HOME", user.home.clone()), ("XDG_RUNTIME_DIR", user.runtime_dir())]);
        }
        env.extend(self.apart.iter().flat_map(|apart| apart.env.iter().cloned()));
        env
    }

    /// Gives a folder and what is in it to the account.
    ///
    /// # Errors
    /// When it cannot be given.
    pub fn takes(&self, folder: &Path) -> Result<()> {
        self.user.as_ref().map_or(Ok(()), |user| user.takes(folder))
    }

    /// The account's user id; None for whoever runs the tests.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        self.user.as_ref().map(|user| user.uid)
    }

    /// The lines for `holdpoint.toml`.
    #[must_use]
    pub fn toml(&self) -> &'static str {
        match self.kind {
            Kind::Rootful => "[container]\nengine = \"rootful-podman\"\n",
            Kind::Rootless => "[container]\nengine = \"rootless-podman\"\n",
        }
    }

    /// What `podman …` prints.
    ///
    /// # Errors
    /// When it fails; with what it said.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new("podman");
        command.args(args);
        self.output(command)
    }

    fn output(&self, mut command: Command) -> Result<String> {
        self.applies_to(&mut command);
        let output =
            command.stdin(Stdio::null()).output().with_context(|| format!("failed to start {command:?}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command:?} failed: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Builds the base image of the program under test; seconds where its parts are there from before.
    fn image(&self) -> Result<()> {
        // Several test programs at once would each build it.
        let lock = File::create(self.folder.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let config = self.folder.join("holdpoint.toml");
        fs::write(&config, format!("[claude]\ncli = {:?}\n{}", self.claude, self.toml()))?;
        self.takes(&self.folder)?;
        let mut command = Command::new(&self.program);
        command
            .args(["image", "build", "--base", "--data"])
            .arg(self.folder.join("data"))
            .arg("--config")
            .arg(config);
        self.output(command).map(drop)
    }

    /// Takes away what a server left: containers, and mounts for them.
    pub(crate) fn clean(&self, data: &Path) {
        let label = format!("label=io.holdpoint.data={}", data.display());
        let left = self.run(&["ps", "--all", "--quiet", "--filter", &label]).unwrap_or_default();
        for id in left.lines() {
            let _ = self.run(&["rm", "--force", "--time", "0", id]);
        }
        let executions = fs::read_dir(data.join("executions")).into_iter().flatten().flatten();
        let executions: Vec<_> =
            executions.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        let folders = fs::read_dir(self.own_folder().join("mounts")).into_iter().flatten().flatten();
        for entry in folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten()) {
            let name = entry.file_name();
            if !executions.iter().any(|id| name.to_string_lossy().contains(id.as_str())) {
                continue;
            }
            for mount in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
                let _ = rustix::mount::unmount(mount.path(), rustix::mount::UnmountFlags::DETACH);
                let _ = fs::remove_dir(mount.path());
            }
            let _ = fs::remove_dir(entry.path());
            let _ = entry.path().parent().map(fs::remove_dir);
        }
    }
}

/// A copy of a program in a folder; folders above the original may be closed to others.
fn copied(program: &Path, folder: &Path) -> Result<PathBuf> {
    let copy = folder.join(program.file_name().context("a file's name")?);
    let is_newer = |copied: fs::Metadata, original: fs::Metadata| {
        Ok::<_, std::io::Error>(copied.len() == original.len() && copied.modified()? >= original.modified()?)
    };
    if !copy.exists() || !is_newer(fs::metadata(&copy)?, fs::metadata(program)?)? {
        // Beside its place first: another test may be running the old one.
        let new = folder.join(format!("new-{}", std::process::id()));
        fs::copy(program, &new)?;
        fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        fs::rename(&new, &copy)?;
    }
    Ok(copy)
}

impl User {
    /// With both folders named: rootless Podman 4.3 puts layers away only where they are, if there is such a file.
    fn storage_conf(&self) -> String {
        let (run, home) = (self.runtime_dir(), self.home.display());
        format!(
            "{STORAGE_CONF}runroot = \"{}/containers\"\ngraphroot = \"{home}/.local/share/containers/storage\"\n",
            run.display()
        )
    }

    fn runtime_dir(&self) -> PathBuf {
        PathBuf::from(format!("/run/user/{}", self.uid))
    }

    fn takes(&self, folder: &Path) -> Result<()> {
        let owner = format!("{}:{}", self.uid, self.gid);
        let done =
            Command::new("chown").args(["--recursive", "--no-dereference", &owner]).arg(folder).status()?;
        ensure!(done.success(), "chown {} ended with {done}", folder.display());
        Ok(())
    }
}

fn user(name: &str) -> Result<User> {
    let accounts = fs::read_to_string("/etc/passwd")?;
    let line = accounts.lines().find(|line| line.split(':').next() == Some(name));
    let Some(line) = line else {
        bail!(
            "there is no account {name}, which rootless containers run as: run `cargo xtask tools`, which makes it"
        );
    };
    let fields: Vec<&str> = line.split(':').collect();
    let [_, _, uid, gid, _, home, ..] = fields[..] else { bail!("{line:?} is no account") };
    Ok(User { uid: uid.parse()?, gid: gid.parse()?, home: home.into() })
}
