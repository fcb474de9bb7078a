//! What goes wrong with containers, provoked with a real Podman: what people see names the cause, and a command
//! that mends it; and what was mended is gone on with.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, chown},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use holdpoint_tests::{
    PATIENCE, Server, Setup, claude, free_port, holdpoint, of_kind,
    podman::{Account, Kind, Podman},
    processes,
};
use rstest::rstest;
use serde_json::{Value, json};

const SCRIPT: &str = r#"
scenes:
  - name: talk
    when: talk
    turns:
      - - text: "First."
      - - text: "Second."
      - - text: "Third."
"#;

/// Waits for nobody: a conversation parks as soon as its turn is over, and its next worker is a new start.
const PARKS: &str = "[agents.claude]\nlinger = \"0s\"\n";

/// `PATH` where everything is.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

// What `holdpoint up` says.

/// What `holdpoint up` says where it has to use containers and cannot.
fn up_fails(container: &str, account: Option<&Account>, adapt: impl FnOnce(&mut Command)) -> Result<String> {
    let dir = tempfile::Builder::new().prefix("holdpoint-test-").tempdir()?;
    let config = dir.path().join("holdpoint.toml");
    // The folders above the originals may be closed to another account.
    let (program, cli) = match account {
        None => (holdpoint()?, claude()?),
        Some(_) => {
            let podman = Podman::ready(Kind::Rootless)?;
            (podman.program().to_owned(), podman.claude().to_owned())
        }
    };
    fs::write(
        &config,
        format!("engine = \"container\"\n[claude]\ncli = {cli:?}\n[container]\n{container}\n"),
    )?;
    let mut command = Command::new(program);
    command
        .args(["up", "--no-open", "--port", &free_port()?.to_string(), "--data"])
        .arg(dir.path().join("data"))
        .arg("--config")
        .arg(&config)
        .env("ANTHROPIC_API_KEY", "not-a-key")
        .env("NO_COLOR", "1")
        .env("PATH", PATH)
        .env_remove("XDG_RUNTIME_DIR");
    if let Some(account) = account {
        account.takes(dir.path())?;
        account.applies_to(&mut command);
    }
    adapt(&mut command);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            let output = child.wait_with_output()?;
            anyhow::bail!("it came up: {}{}", text(&output.stdout), text(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output()?;
    ensure!(!output.status.success(), "it ended well: {}", text(&output.stderr));
    Ok(text(&output.stderr))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The cause is said, and the command stands on a line that says that it is one.
fn names(said: &str, cause: &str, command: &str) {
    eprintln!("{said}\n");
    assert!(said.contains(cause), "{cause:?} is not in:\n{said}");
    let marked = said.lines().any(|line| line.starts_with('→') && line.contains(command));
    assert!(marked, "{command:?} is no next step in:\n{said}");
}

#[test]
fn no_podman_on_the_path() -> Result<()> {
    let said = up_fails("engine = \"rootful-podman\"", None, |up| {
        up.env("PATH", "/nowhere");
    })?;
    names(&said, "podman is not installed", "sudo apt-get install -y podman runc uidmap");
    Ok(())
}

#[test]
fn a_socket_that_is_not_there_or_that_nobody_listens_on() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("podman.sock");
    let serve = format!("podman system service --time=0 unix://{}", socket.display());
    let engine = format!("engine = {socket:?}");
    names(&up_fails(&engine, None, |_| ())?, "there is no socket", &serve);
    drop(UnixListener::bind(&socket)?);
    names(&up_fails(&engine, None, |_| ())?, "nobody listens on", &serve);
    // The command mends it.
    let (program, args) = ("podman", ["system", "service", "--time=0"]);
    let mut service = Command::new(program)
        .args(args)
        .arg(format!("unix://{}", socket.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let listens = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        std::os::unix::net::UnixStream::connect(&socket).is_ok()
    });
    service.kill()?;
    service.wait()?;
    ensure!(listens, "`{serve}` does not listen");
    Ok(())
}

#[test]
fn a_socket_of_somebody_else() -> Result<()> {
    let account = Account::make("hp-socket", true)?;
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("podman.sock");
    let _listener = UnixListener::bind(&socket)?;
    let said = up_fails(&format!("engine = {socket:?}"), Some(&account), |_| ())?;
    names(&said, "this user may not use", "setfacl");
    Ok(())
}

#[test]
fn an_account_without_subordinate_ids() -> Result<()> {
    let account = Account::make("hp-nosub", false)?;
    let said = up_fails("engine = \"rootless-podman\"", Some(&account), |_| ())?;
    names(&said, "this user has no subordinate user ids", "usermod --add-subuids");
    Ok(())
}

#[test]
fn newuidmap_is_missing() -> Result<()> {
    let account = Account::make("hp-nomap", true)?;
    let bin = account.home().join("bin");
    fs::create_dir(&bin)?;
    for program in ["podman", "runc", "conmon", "slirp4netns", "fuse-overlayfs", "newgidmap"] {
        let found = PATH.split(':').map(|folder| Path::new(folder).join(program)).find(|path| path.is_file());
        std::os::unix::fs::symlink(found.with_context(|| program.to_owned())?, bin.join(program))?;
    }
    let said = up_fails("engine = \"rootless-podman\"", Some(&account), |up| {
        up.env("PATH", &bin);
    })?;
    names(&said, "newuidmap is missing", "sudo apt-get install -y uidmap");
    Ok(())
}

#[test]
fn newuidmap_has_lost_its_setuid_bit() -> Result<()> {
    let account = Account::make("hp-badmap", true)?;
    let bin = account.home().join("bin");
    fs::create_dir(&bin)?;
    fs::copy("/usr/bin/newuidmap", bin.join("newuidmap"))?;
    account.takes(&bin)?;
    let said = up_fails("engine = \"rootless-podman\"", Some(&account), |up| {
        up.env("PATH", format!("{}:{PATH}", bin.display()));
    })?;
    names(&said, "setuid", "--reinstall uidmap");
    Ok(())
}

#[test]
fn no_image_of_holdpoints_own_and_none_of_that_name() -> Result<()> {
    let account = Account::make("hp-noimage", true)?;
    let said = up_fails("engine = \"rootless-podman\"", Some(&account), |_| ())?;
    names(&said, "does not have the image that sessions run in", "holdpoint image build --base");
    let config = "engine = \"rootless-podman\"\nimage = \"localhost/nowhere:7\"";
    let said = up_fails(config, Some(&account), |_| ())?;
    names(&said, "localhost/nowhere:7", "podman pull localhost/nowhere:7");
    Ok(())
}

/// A small disk in memory, gone with the test.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(size: &str) -> Result<Self> {
        let disk = Self(tempfile::Builder::new().prefix("hp-disk-").tempdir()?);
        let options = format!("size={size},mode=755");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(disk.0.path())
            .status()?;
        ensure!(mounted.success(), "a disk in memory cannot be mounted here: it needs root");
        Ok(disk)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self) -> Result<()> {
        use std::io::Write as _;
        let mut file = fs::File::create(self.path().join("filler"))?;
        while file.write_all(&[0; 4096]).is_ok() {}
        Ok(())
    }

    /// A configuration of Podman's storage on this disk, which takes images from another one too.
    fn storage(&self, folder: &Path, more: &str) -> Result<PathBuf> {
        let conf = folder.join("storage.conf");
        let at = |name: &str| self.path().join(name);
        fs::write(
            &conf,
            format!(
                "[storage]\ndriver = \"overlay\"\ngraphroot = {:?}\nrunroot = {:?}\n{more}\n",
                at("graph"),
                at("run")
            ),
        )?;
        Ok(conf)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let overlay = self.path().join("graph/overlay");
        for mount in [&overlay, self.path()] {
            let _ = Command::new("umount").args(["--recursive", "--lazy", "--quiet"]).arg(mount).output();
        }
    }
}

#[test]
fn no_room_for_the_engines_storage() -> Result<()> {
    let (disk, folder) = (Disk::new("64k")?, tempfile::tempdir()?);
    let conf = disk.storage(folder.path(), "")?;
    disk.fill()?;
    let runtime = tempfile::Builder::new().prefix("hp-").tempdir()?;
    let said = up_fails("engine = \"rootful-podman\"", None, |up| {
        up.env("CONTAINERS_STORAGE_CONF", &conf).env("XDG_RUNTIME_DIR", runtime.path());
    })?;
    names(&said, "the disk with the engine's storage is full", "podman system df");
    Ok(())
}

// What a conversation shows.

/// A server whose conversations meet what was made wrong with this Podman.
async fn server(podman: &Podman, toml: &str) -> Result<Server> {
    Server::start(Setup::script(SCRIPT).toml(toml).podman(podman.clone())).await
}

fn apart(conf: Option<&str>) -> Result<Podman> {
    Podman::ready(Kind::Rootful)?.apart(conf, &[])
}

/// It is said why the conversation waits, with the command: in its view, in its log, and to whoever follows it.
async fn waits(server: &Server, id: &str, cause: &str, command: &str) -> Result<()> {
    let says =
        |queue: &Value| queue.as_str().is_some_and(|queue| queue.contains(cause) && queue.contains(command));
    let execution = server.until(id, cause, |execution| says(&execution["queue"])).await;
    let execution = execution.with_context(|| server.output())?;
    eprintln!("{}\n", execution["queue"].as_str().unwrap_or_default());
    let events = server.export(id)?;
    let lost = of_kind(&events, "worker_lost");
    let problem = &lost.last().context("a loss")?["data"]["problem"];
    ensure!(problem["code"] == "container_failed", "{problem}");
    ensure!(problem["title"].as_str().is_some_and(|title| title.contains(cause)), "{problem}");
    ensure!(problem["hint"].as_str().is_some_and(|hint| hint.contains(command)), "{problem}");
    ensure!(execution["status"] != "error", "{execution}");
    Ok(())
}

async fn answers(server: &Server, id: &str) -> Result<()> {
    let hold = server.hold(id, "reply", &[]).await?;
    let execution = server.execution(id).await?;
    ensure!(execution["queue"].is_null(), "{execution}: it is up, and said to wait; {hold}");
    Ok(())
}

/// A conversation that has had its first turn, and is parked.
async fn parked(server: &Server) -> Result<(String, Value)> {
    let id = server.ask("claude", "talk").await?;
    let hold = server.hold(&id, "reply", &[]).await?;
    let parked = server.until(&id, "to be parked", |execution| execution["residency"] == "parked").await;
    parked.with_context(|| server.output())?;
    Ok((id, hold))
}

#[tokio::test]
async fn crun_where_the_control_groups_are_half_of_the_old_kind() -> Result<()> {
    let hybrid = Path::new("/sys/fs/cgroup/unified").is_dir();
    ensure!(hybrid, "this machine's control groups are all of the new kind, which crun takes");
    let podman = Podman::ready(Kind::Rootful)?;
    let tools = tempfile::tempdir()?;
    let crun = crun(tools.path())?;
    let conf = format!(
        "[engine]\nruntime = \"crun\"\n[engine.runtimes]\ncrun = [{crun:?}]\n[containers]\ndefault_ulimits = [\"nofile=1024:1024\"]\n"
    );
    let server = server(&podman.apart(Some(&conf), &[])?, "").await?;
    let id = server.ask("claude", "talk").await?;
    waits(&server, &id, "crun does not take this machine's control groups", "sudo apt-get install -y runc")
        .await
}

/// The program from Debian's package, which is not installed: Podman would take it for everything else.
fn crun(folder: &Path) -> Result<PathBuf> {
    let run = |program: &str, args: &[&str]| -> Result<()> {
        let output = Command::new(program).args(args).current_dir(folder).output()?;
        ensure!(output.status.success(), "{program} {args:?}: {}", text(&output.stderr));
        Ok(())
    };
    run("apt-get", &["download", "-q", "crun"]).context("Debian's package crun cannot be had")?;
    run("sh", &["-c", "dpkg-deb --extract crun_*.deb ."])?;
    Ok(folder.join("usr/bin/crun"))
}

#[tokio::test]
async fn limits_that_may_not_be_raised() -> Result<()> {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nproc).maximum;
    ensure!(most.is_some(), "processes are unlimited here, so every limit may be set");
    let status = fs::read_to_string("/proc/self/status")?;
    let capabilities =
        status.lines().find_map(|line| line.strip_prefix("CapEff:")).context("capabilities")?;
    let may_raise = u64::from_str_radix(capabilities.trim(), 16)? & (1 << 24) != 0;
    ensure!(!may_raise, "root has CAP_SYS_RESOURCE here, so every limit may be raised");
    let toml = "[agents.claude.container]\nprocesses = 4000000\n";
    // Rootless Podman asks for no more than is allowed, whatever it is told.
    let server = server(&Podman::ready(Kind::Rootful)?, toml).await?;
    let id = server.ask("claude", "talk").await?;
    waits(&server, &id, "limits of processes may not be raised", "ulimit -Hu").await
}

/// An image, made of a tar file that is made here.
struct Made {
    podman: Podman,
    name: &'static str,
}

impl Made {
    fn new(name: &'static str, arch: &str, program: Option<&[u8]>) -> Result<Self> {
        let podman = Podman::ready(Kind::Rootful)?;
        let dir = tempfile::tempdir()?;
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("usr/local/bin"))?;
        fs::create_dir_all(root.join("etc"))?;
        if let Some(program) = program {
            let path = root.join("usr/local/bin/holdpoint");
            fs::write(&path, program)?;
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        }
        let tar = dir.path().join("image.tar");
        let packed = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").status()?;
        ensure!(packed.success(), "tar ended with {packed}");
        podman.run(&["import", "--quiet", "--arch", arch, &tar.display().to_string(), name])?;
        Ok(Self { podman, name })
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = self.podman.run(&["rmi", "--force", self.name]);
    }
}

fn native_arch() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

fn agent_with(image: &str) -> String {
    format!("[agents.claude.container]\nimage = {image:?}\n")
}

#[tokio::test]
async fn an_image_of_an_agent_that_is_not_there() -> Result<()> {
    let server = server(&apart(None)?, &agent_with("localhost/nowhere:7")).await?;
    let id = server.ask("claude", "talk").await?;
    waits(
        &server,
        &id,
        "the image localhost/nowhere:7 is not on this machine",
        "podman pull localhost/nowhere:7",
    )
    .await
}

#[tokio::test]
async fn an_image_that_is_not_built_on_the_base() -> Result<()> {
    let image = Made::new("localhost/holdpoint-tests/tiny:1", native_arch(), None)?;
    let server = server(&apart(None)?, &agent_with(image.name)).await?;
    let id = server.ask("claude", "talk").await?;
    waits(&server, &id, "not built on Holdpoint's base image", "holdpoint image build --base").await
}

#[tokio::test]
async fn an_image_for_another_processor() -> Result<()> {
    // The beginning of a program for a processor that nobody has here (e_machine 0xffff).
    let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xff\xff\x01\0\0\0".to_vec();
    program.resize(4096, 0);
    let image = Made::new("localhost/holdpoint-tests/foreign:1", native_arch(), Some(&program))?;
    let server = server(&apart(None)?, &agent_with(image.name)).await?;
    let id = server.ask("claude", "talk").await?;
    waits(&server, &id, "another kind of processor", "holdpoint image build --base").await
}

#[tokio::test]
async fn a_full_disk_below_the_engines_storage() -> Result<()> {
    let podman = Podman::ready(Kind::Rootful)?;
    let (disk, folder) = (Disk::new("4m")?, tempfile::tempdir()?);
    let store = podman.run(&["info", "--format", "{{.Store.GraphRoot}}"])?;
    let more = format!("[storage.options]\nadditionalimagestores = [{:?}]", store.trim());
    let conf = disk.storage(folder.path(), &more)?;
    let server = server(&podman.apart(None, &[("CONTAINERS_STORAGE_CONF", &conf)])?, "").await?;
    disk.fill()?;
    let id = server.ask("claude", "talk").await?;
    waits(&server, &id, "the disk with the engine's storage is full", "podman system df").await?;
    fs::remove_file(disk.path().join("filler"))?;
    answers(&server, &id).await
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn a_plugin_that_is_gone_and_comes_back(#[case] kind: Kind) -> Result<()> {
    let podman = Podman::ready(kind)?;
    let dir = tempfile::Builder::new().prefix("holdpoint-test-").tempdir()?;
    let plugin = dir.path().join("review");
    let make = || -> Result<()> {
        fs::create_dir_all(plugin.join(".claude-plugin"))?;
        fs::write(
            plugin.join(".claude-plugin/plugin.json"),
            "{\"name\": \"review\", \"version\": \"1.0.0\"}",
        )?;
        podman.takes(dir.path())
    };
    make()?;
    let server = server(&podman, &format!("[agents.claude]\nplugins = [{plugin:?}]\n")).await?;
    fs::remove_dir_all(&plugin)?;
    let id = server.ask("claude", "talk").await?;
    waits(&server, &id, "is gone, which the agent's `plugins` name", &format!("ls -ld {}", plugin.display()))
        .await?;
    make()?;
    answers(&server, &id).await
}

#[rstest]
#[case::rootful_debug(Kind::Rootful, "home/.claude/debug")]
#[case::rootful_config(Kind::Rootful, "home/.claude")]
#[case::rootful_home(Kind::Rootful, "home")]
#[case::rootful_workspace(Kind::Rootful, "workspace")]
#[case::rootless_workspace(Kind::Rootless, "workspace")]
#[case::rootless_home(Kind::Rootless, "home")]
#[tokio::test]
async fn a_folder_of_the_session_that_belongs_to_somebody_else(
    #[case] kind: Kind,
    #[case] folder: &str,
) -> Result<()> {
    let podman = Podman::ready(kind)?;
    let server = server(&podman, PARKS).await?;
    let (id, hold) = parked(&server).await?;
    let folder = server.data.join("executions").join(&id).join(folder);
    chown(&folder, Some(4242), Some(4242))?;
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let operator = fs::metadata(server.folder())?;
    let (user, group) = (operator.uid(), operator.gid());
    server.decide(&hold, json!({"action": "reply", "message": "go on"})).await?;
    let cause = format!("{} belongs to user 4242", folder.display());
    let command = format!("sudo chown -R {user}:{group} {}", folder.display());
    waits(&server, &id, &cause, &command).await?;
    // The command as it is said.
    let mended = Command::new("sh").arg("-c").arg(command.trim_start_matches("sudo ")).status()?;
    ensure!(mended.success(), "`{command}` ended with {mended}");
    answers(&server, &id).await
}

#[tokio::test]
async fn a_debug_folder_that_was_replaced_by_a_file() -> Result<()> {
    let server = server(&apart(None)?, PARKS).await?;
    let (id, hold) = parked(&server).await?;
    let debug = server.data.join("executions").join(&id).join("home/.claude/debug");
    fs::remove_dir_all(&debug)?;
    fs::write(&debug, "")?;
    server.decide(&hold, json!({"action": "reply", "message": "go on"})).await?;
    let execution = server.until_status(&id, "error").await?;
    eprintln!("{:#}\n", execution["error"]);
    let title = execution["error"]["title"].as_str().context("a title")?;
    ensure!(title.contains(&debug.display().to_string()), "{title}");
    ensure!(execution["error"]["code"] == "config_replaced", "{execution}");
    ensure!(
        execution["error"]["hint"].as_str().is_some_and(|hint| hint.contains("Branch off")),
        "{execution}"
    );
    Ok(())
}

#[tokio::test]
async fn a_podman_that_dies_is_served_again() -> Result<()> {
    let podman = apart(None)?;
    let server = server(&podman, PARKS).await?;
    let (id, hold) = parked(&server).await?;
    let service = podman.service()?;
    processes::kill(&[service]);
    server.decide(&hold, json!({"action": "reply", "message": "go on"})).await?;
    server
        .until(&id, "its next turn", |execution| execution["totals"]["turns"].as_u64() >= Some(2))
        .await
        .ok();
    answers(&server, &id).await?;
    ensure!(podman.service()? != service, "another one serves");
    ensure!(of_kind(&server.export(&id)?, "worker_lost").is_empty(), "nobody lost anything by it");
    Ok(())
}

#[tokio::test]
async fn a_container_of_that_name_that_was_left_over() -> Result<()> {
    let podman = apart(None)?;
    let server = server(&podman, PARKS).await?;
    let (id, hold) = parked(&server).await?;
    let image = podman.run(&[
        "images",
        "--format",
        "{{.Repository}}:{{.Tag}}",
        "--filter",
        "reference=localhost/holdpoint/base",
    ])?;
    let image = image.lines().next().context("the base image")?;
    podman.run(&["create", "--name", &format!("holdpoint-{id}-2"), "--network", "none", image])?;
    server.decide(&hold, json!({"action": "reply", "message": "go on"})).await?;
    server.hold(&id, "reply", &[hold["id"].as_str().context("an id")?.to_owned()]).await?;
    let events = server.export(&id)?;
    let lost = of_kind(&events, "worker_lost");
    ensure!(lost.is_empty(), "it was in the way: {lost:?}");
    Ok(())
}
