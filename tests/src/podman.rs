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
    sync::Mutex,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};

use crate::{build_dir, claude, holdpoint};

/// The account that rootless containers run as where tests run as root; `cargo xtask tools` makes it.
pub const USER: &str = "holdpoint-tests";

/// runc, since crun refuses machines whose control groups are half of the old kind; and limits that are never
/// above those of the machine, which may not be raised everywhere.
const CONTAINERS_CONF: &str = "[engine]\nruntime = \"runc\"\n[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n";

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
        fs::write(folder.join("storage.conf"), STORAGE_CONF)?;
        if let Some(user) = &user {
            let runtime = user.runtime_dir();
            fs::create_dir_all(&runtime)?;
            chown(&runtime, Some(user.uid), Some(user.gid))?;
            fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
            user.takes(&folder)?;
        }
        Ok(Self { kind, folder, user })
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
        fs::write(&config, format!("[claude]\ncli = {:?}\n{}", claude()?, self.toml()))?;
        self.takes(&self.folder)?;
        let mut command = Command::new(holdpoint()?);
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
        for entry in fs::read_dir("/run/holdpoint/mounts").into_iter().flatten().flatten() {
            let name = entry.file_name();
            if !executions.iter().any(|id| name.to_string_lossy().contains(id.as_str())) {
                continue;
            }
            for mount in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
                let _ = rustix::mount::unmount(mount.path(), rustix::mount::UnmountFlags::DETACH);
                let _ = fs::remove_dir(mount.path());
            }
            let _ = fs::remove_dir(entry.path());
        }
    }
}

impl User {
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
