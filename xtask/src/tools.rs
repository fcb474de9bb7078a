//! What tests need on the machine: the real Claude CLI, a real browser and axe-core, an S3 server, a reader of the
//! API's document, and Podman with what makes images.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{bail, ensure};

use crate::run;

/// The S3 server, as Python's package index has it.
const MOTO: &str = "moto[server]==5.2.5";

/// What looks for faults that shut people out of a page, as npm has it.
const AXE_CORE: &str = "axe-core@4.14.1";

/// What looks for answers that the API's document does not have, as Python's package index has it.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// Debian's packages for containers; Podman alone recommends most of them, and apt is not asked for those.
const PODMAN_PACKAGES: &[&str] = &[
    "podman",
    "runc",
    "uidmap",
    "slirp4netns",
    "fuse-overlayfs",
    "netavark",
    "aardvark-dns",
    "mmdebstrap",
    "libyajl2",
];

/// A registry of images, and what writes its file of passwords.
const REGISTRY_PACKAGES: &[&str] = &["docker-registry", "apache2-utils"];

/// A library of crun, which one test takes out of its package.
const CRUN_LIBRARY: &str = "libyajl.so.2";

/// A program of each of them that is on the PATH; the others are Podman's own helpers.
const PODMAN_PROGRAMS: &[&str] =
    &["podman", "runc", "newuidmap", "slirp4netns", "fuse-overlayfs", "mmdebstrap"];

/// Where tests look for the CLI, below the target folder.
const CLI_FOLDER: &str = "test-tools/claude-2.1.330";

/// Installs what is missing.
pub(crate) fn install() -> anyhow::Result<()> {
    claude()?;
    chromium()?;
    containers()?;
    ssh()?;
    axe_core()?;
    python("moto", MOTO)?;
    python("schemathesis", SCHEMATHESIS)
}

/// Podman, and who uses it.
pub(crate) fn containers() -> anyhow::Result<()> {
    podman()?;
    registry()?;
    ordinary_user()
}

/// What images are pushed to. Debian starts one with its package where there is systemd; tests start their own.
fn registry() -> anyhow::Result<()> {
    if is_on_path("docker-registry") && is_on_path("htpasswd") {
        return Ok(());
    }
    ensure!(
        Path::new("/usr/bin/apt-get").exists(),
        "the tests of registries need docker-registry and htpasswd on the PATH"
    );
    apt_install(REGISTRY_PACKAGES)
}

/// What repositories are fetched from over SSH. Tests start one of their own, with keys of their own.
fn ssh() -> anyhow::Result<()> {
    if is_on_path("git") && (is_on_path("sshd") || Path::new("/usr/sbin/sshd").exists()) {
        return Ok(());
    }
    ensure!(Path::new("/usr/bin/apt-get").exists(), "the tests of repositories need git and sshd");
    apt_install(&["git", "openssh-server"])
}

/// The account that rootless containers run as where tests run as root; `holdpoint_tests::podman::USER`.
fn ordinary_user() -> anyhow::Result<()> {
    let accounts = std::fs::read_to_string("/etc/passwd")?;
    if !is_root() || accounts.lines().any(|line| line.starts_with("holdpoint-tests:")) {
        return Ok(());
    }
    let mut command = Command::new("useradd");
    // An ordinary account, so that it gets subordinate ids.
    command.args(["--create-home", "--shell", "/bin/bash", "holdpoint-tests"]).stdin(Stdio::null());
    run::program(command, "useradd holdpoint-tests")
}

/// A Python package in a folder of its own below the target folder.
fn python(module: &str, package: &str) -> anyhow::Result<()> {
    let folder = target_dir()?.join("test-tools").join(module);
    if folder.join(module).is_dir() {
        return Ok(());
    }
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
    command.args(["--target"]).arg(&folder).arg(package).stdin(Stdio::null());
    run::program(command, &format!("python3 -m pip install {package}"))
}

/// For the test of all pages, below the target folder.
fn axe_core() -> anyhow::Result<()> {
    let folder = target_dir()?.join("test-tools/axe-core");
    if folder.join("node_modules/axe-core/axe.min.js").is_file() {
        return Ok(());
    }
    let mut command = Command::new("npm");
    command.args([
        "install",
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--silent",
        "--prefix",
    ]);
    command.arg(&folder).arg(AXE_CORE).stdin(Stdio::null());
    run::program(command, &format!("npm install {AXE_CORE}"))
}

/// By the program's own installer, so that it is used every time.
pub(crate) fn claude() -> anyhow::Result<()> {
    let folder = target_dir()?.join(CLI_FOLDER);
    if folder.join("claude").is_file() {
        return Ok(());
    }
    run::build()?;
    let mut command = Command::new(target_dir()?.join("debug/holdpoint"));
    command.args(["cli", "install", "--to"]).arg(&folder).stdin(Stdio::null());
    run::program(command, &format!("holdpoint cli install --to {}", folder.display()))
}

/// The folder that cargo builds into: this program is in `<target>/<profile>`.
pub(crate) fn target_dir() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    match own.ancestors().nth(2) {
        Some(target) => Ok(target.to_owned()),
        None => bail!("{} is in no target folder", own.display()),
    }
}

fn chromium() -> anyhow::Result<()> {
    if has("chromium") && has("chromedriver") {
        return Ok(());
    }
    ensure!(
        Path::new("/usr/bin/apt-get").exists(),
        "the browser tests need Chromium and its driver: install `chromium` and `chromedriver` so that both are on the PATH"
    );
    apt_install(&["chromium", "chromium-driver"])
}

/// The container engine, rootless too, and mmdebstrap, which the base image is made with.
fn podman() -> anyhow::Result<()> {
    if PODMAN_PROGRAMS.iter().all(|program| is_on_path(program)) && has_library(CRUN_LIBRARY) {
        return Ok(());
    }
    ensure!(
        Path::new("/usr/bin/apt-get").exists(),
        "the tests of containers need {} on the PATH",
        PODMAN_PROGRAMS.join(", ")
    );
    apt_install(PODMAN_PACKAGES)
}

fn apt_install(packages: &[&str]) -> anyhow::Result<()> {
    let install = [&["install", "-y", "-q", "--no-install-recommends"], packages].concat();
    for args in [&["update", "-q"][..], &install] {
        let mut command = if is_root() { Command::new("apt-get") } else { Command::new("sudo") };
        if !is_root() {
            command.arg("apt-get");
        }
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        run::program(command, &format!("apt-get {}", args.join(" ")))?;
    }
    Ok(())
}

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// Whether there is such a program. Not every one knows `--version`.
fn is_on_path(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

fn has_library(name: &str) -> bool {
    let known = Command::new("sh").args(["-c", "PATH=$PATH:/sbin:/usr/sbin ldconfig -p"]).output();
    known.is_ok_and(|known| String::from_utf8_lossy(&known.stdout).contains(name))
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}
