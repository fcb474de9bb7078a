//! A real registry on this machine, and configuration repositories to build from.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::PATIENCE;

/// Debian's `docker-registry`, for one user with one password. It ends with this.
#[derive(Debug)]
pub struct Registry {
    /// `127.0.0.1:PORT`
    pub host: String,
    child: Child,
    _folder: TempDir,
}

impl Registry {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not listen in time.
    pub fn start(user: &str, password: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let host = format!("127.0.0.1:{port}");
        let root = folder.path().display();
        let line = output(Command::new("htpasswd").args(["-nbB", user, password]))?;
        fs::write(folder.path().join("htpasswd"), line)?;
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {root}/data\nhttp:\n  addr: {host}\nauth:\n  htpasswd:\n    realm: tests\n    path: {root}/htpasswd\n"
        );
        let file = folder.path().join("config.yml");
        fs::write(&file, config)?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("docker-registry is missing: run `cargo xtask tools`")?;
        let registry = Self { host, child, _folder: folder };
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(&registry.host).is_err() {
            ensure!(Instant::now() < deadline, "docker-registry does not listen");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Ok(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A configuration repository in real git.
#[derive(Clone, Debug)]
pub struct Repository {
    folder: PathBuf,
}

impl Repository {
    /// Makes an empty one.
    ///
    /// # Errors
    /// When git fails.
    pub fn make(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let repository = Self { folder: folder.to_owned() };
        repository.git(&["init", "--quiet", "--initial-branch", "main"])?;
        Ok(repository)
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("file://{}", self.folder.display())
    }

    /// Writes files and commits them.
    ///
    /// # Errors
    /// When git fails.
    pub fn commit(&self, files: &[(&str, &str)]) -> Result<()> {
        for (path, text) in files {
            let path = self.folder.join(path);
            fs::create_dir_all(path.parent().context("a folder")?)?;
            fs::write(path, text)?;
        }
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", "a change"])
    }

    fn git(&self, args: &[&str]) -> Result<()> {
        let name = ["-c", "user.name=Tess", "-c", "user.email=tess@example.org", "-c", "safe.directory=*"];
        output(Command::new("git").arg("-C").arg(&self.folder).args(name).args(args)).map(drop)
    }
}

fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("failed to start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(String::from_utf8(output.stdout)?)
}
