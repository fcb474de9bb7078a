//! The real parts.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use holdpoint_containers::{Choice, ConnectOptions, Containers};
use holdpoint_image::{
    BaseInputs, Problem, Progress, Step,
    agents::{AgentsInputs, Dependencies, Mirrors},
    build_base, load,
};
use holdpoint_model::{Tree, TreeFile};
use tempfile::TempDir;

/// runc, and limits that need not be raised: what machines without systemd have.
const CONTAINERS_CONF: &str = "[engine]\nruntime = \"runc\"\n[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n";

/// The account that `cargo xtask tools` makes for rootless containers.
const ACCOUNT: &str = "holdpoint-tests";

/// A Podman, and a folder.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) containers: Containers,
    folder: TempDir,
    account: Option<(u32, u32, PathBuf)>,
    service: Option<Child>,
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(service) = &mut self.service {
            let _ = service.kill();
            let _ = service.wait();
        }
    }
}

fn folder() -> Result<TempDir> {
    // Short: a socket's path has little room.
    let folder = tempfile::Builder::new().prefix("hpi-").tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    fs::write(folder.path().join("containers.conf"), CONTAINERS_CONF)?;
    Ok(folder)
}

impl World {
    /// Root's Podman.
    pub(crate) async fn rootful() -> Result<Self> {
        ensure!(is_root(), "rootful Podman is tried by root alone: run the tests as root");
        let folder = folder()?;
        let conf = folder.path().join("containers.conf").display().to_string();
        let options = ConnectOptions {
            choice: Choice::RootfulPodman,
            uid: 0,
            runtime_dir: None,
            container_host: None,
            docker_host: None,
            path: path()?,
            own_folder: folder.path().join("own"),
            service_env: vec![("CONTAINERS_CONF".into(), conf), ("HOME".into(), "/root".into())],
        };
        let containers = Containers::connect(&options).await?;
        Ok(Self { containers, folder, account: None, service: None })
    }

    /// That of an ordinary user.
    pub(crate) async fn rootless() -> Result<Self> {
        ensure!(is_root(), "the account {ACCOUNT} is used by root: run the tests as root");
        let folder = folder()?;
        let accounts = fs::read_to_string("/etc/passwd")?;
        let line = accounts.lines().find(|line| line.split(':').next() == Some(ACCOUNT));
        let line = line.with_context(|| format!("there is no account {ACCOUNT}: run `cargo xtask tools`"))?;
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, uid, gid, _, home, ..] = fields[..] else { bail!("{line:?} is no account") };
        let account = (uid.parse()?, gid.parse()?, PathBuf::from(home));
        let runtime = PathBuf::from(format!("/run/user/{uid}"));
        fs::create_dir_all(&runtime)?;
        // Overlays of the kernel's own, where Podman would take copies. A commit wants the folders to be named too.
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\nrunroot = \"{}\"\ngraphroot = \"{home}/.local/share/containers/storage\"\n",
            runtime.join("containers").display()
        );
        fs::write(folder.path().join("storage.conf"), storage)?;
        for path in [folder.path(), &runtime] {
            std::os::unix::fs::chown(path, Some(account.0), Some(account.1))?;
        }
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700))?;
        let socket = folder.path().join("s");
        let mut command = Command::new("podman");
        command.args(["system", "service", "--time", "0"]).arg(format!("unix://{}", socket.display()));
        let account = Some(account);
        own(&mut command, folder.path(), account.as_ref());
        let service = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        until("Podman listens", || socket.exists()).await?;
        let options = ConnectOptions {
            choice: Choice::Socket(socket),
            uid: 0,
            runtime_dir: None,
            container_host: None,
            docker_host: None,
            path: path()?,
            own_folder: folder.path().join("own"),
            service_env: Vec::new(),
        };
        let containers = Containers::connect(&options).await?;
        Ok(Self { containers, folder, account, service: Some(service) })
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `podman …` prints.
    pub(crate) fn podman(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new("podman");
        own(command.args(args), self.folder.path(), self.account.as_ref());
        output(&mut command)
    }

    /// What a command of a shell prints in an image, locked up as sessions are.
    pub(crate) fn inside(&self, image: &str, script: &str) -> Result<String> {
        let mut args = vec!["run", "--rm", "--read-only", "--network", "none", "--cap-drop", "all"];
        args.extend(["--security-opt", "no-new-privileges", image, "sh", "-ec", script]);
        self.podman(&args)
    }

    /// A base image with programs that do nothing in the place of the large ones: its id.
    pub(crate) async fn base(&self) -> Result<String> {
        let tools = target()?.join("test-tools");
        let inputs = BaseInputs {
            cache: tools.join("image-cache"),
            fresh: false,
            mirror: None,
            cli: "/usr/bin/true".into(),
            cli_version: "0".into(),
            program: "/usr/bin/true".into(),
            holdpoint_version: "0.0.0-agents-test".into(),
            path: path()?,
            env: proxies().into_iter().collect(),
            is_root: true,
        };
        let image =
            tokio::task::spawn_blocking(move || build_base(&inputs, &Silent)).await?.map_err(shown)?;
        let image = Arc::new(image);
        load(&self.containers, &image, Arc::new(Silent)).await.map_err(shown)?;
        Ok(image.id().to_owned())
    }

    /// Inputs with nothing in them, of a name that no other test has.
    pub(crate) fn inputs(&self, base: &str) -> AgentsInputs {
        let unique = self.folder.path().file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let certificates = std::env::var_os("SSL_CERT_FILE").and_then(|file| fs::read(file).ok());
        AgentsInputs {
            base: base.to_owned(),
            user_claude: Tree::default(),
            project_claude: Tree::default(),
            plugins: Tree::default(),
            dependencies: Dependencies::default(),
            sources: Vec::new(),
            name: format!("localhost/holdpoint-test/{unique}:1"),
            labels: BTreeMap::new(),
            created: jiff::Timestamp::from_second(1_790_000_000).unwrap_or_default(),
            env: proxies(),
            certificates,
            mirrors: Mirrors::default(),
            // Machines without iptables have no other that works for all.
            network: Some("host".into()),
            cache: self.at("cache"),
            fresh: false,
        }
    }
}

fn own(command: &mut Command, folder: &Path, account: Option<&(u32, u32, PathBuf)>) {
    command.env("CONTAINERS_CONF", folder.join("containers.conf"));
    if let Some((uid, gid, home)) = account {
        command.env("CONTAINERS_STORAGE_CONF", folder.join("storage.conf")).env("HOME", home);
        command.env("XDG_RUNTIME_DIR", format!("/run/user/{uid}")).uid(*uid).gid(*gid).current_dir("/");
    }
}

/// A registry on this machine, gone with its images when dropped.
#[derive(Debug)]
pub(crate) struct Registry {
    child: Child,
    pub(crate) host: String,
    _folder: TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// One that anybody may use, or only this user with this password.
    pub(crate) async fn start(login: Option<(&str, &str)>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let host = format!("127.0.0.1:{port}");
        let mut config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {host}\n",
            folder.path().display()
        );
        if let Some((user, password)) = login {
            let line = output(Command::new("htpasswd").args(["-nbB", user, password]))?;
            let file = folder.path().join("htpasswd");
            fs::write(&file, line)?;
            config.push_str(&format!("auth:\n  htpasswd:\n    realm: tests\n    path: {}\n", file.display()));
        }
        let file = folder.path().join("config.yml");
        fs::write(&file, config)?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("docker-registry is missing: run `cargo xtask tools`")?;
        let registry = Self { child, host, _folder: folder };
        until("the registry listens", || std::net::TcpStream::connect(&registry.host).is_ok()).await?;
        Ok(registry)
    }
}

struct Silent;

impl Progress for Silent {
    fn step(&self, _: Step, _: u64) {}
    fn at(&self, _: u64) {}
}

/// A problem as a person sees it.
pub(crate) fn shown(problem: Problem) -> anyhow::Error {
    anyhow::anyhow!("{problem}\nnext: {:?}", problem.next)
}

/// Waits for something that comes soon.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let since = Instant::now();
    while !is_so() {
        ensure!(since.elapsed() < Duration::from_secs(60), "it never came that {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("failed to start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

pub(crate) fn file(text: &str) -> TreeFile {
    TreeFile { bytes: text.into(), executable: false }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn path() -> Result<String> {
    Ok(std::env::var_os("PATH").context("no PATH")?.to_string_lossy().into_owned())
}

fn proxies() -> BTreeMap<String, String> {
    let names = ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
    let value = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
    names.into_iter().filter_map(|name| Some((name.to_owned(), value(name)?))).collect()
}

/// The folder that cargo builds into: this program is in `<target>/<profile>/deps`.
fn target() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    own.ancestors().nth(3).map(Path::to_owned).context("the tests are in no target folder")
}
