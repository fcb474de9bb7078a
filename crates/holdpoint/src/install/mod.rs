//! Installing the Claude CLI: a pinned version, through the user's own package clients, checked
//! against checksums that are in this source.

mod fetch;
mod platform;
mod progress;
mod unpack;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use holdpoint_claude::probe_version;
use holdpoint_image::digest_file;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::{
    config::{Claude, CliSource},
    data::{DataDir, create_private, describe},
    env::{Environment, on_path},
    failure::Failure,
    term::Term,
};
use progress::Progress;

/// The version that Holdpoint is tested with.
pub const VERSION: &str = "2.1.330";

/// The program's file in its folder.
const PROGRAM: &str = "claude";

/// Says that the program beside it was checked, and what it was then.
const STAMP: &str = "stamp.json";

/// How often a second installer looks whether the first is done.
const LOCK_PAUSE: Duration = Duration::from_millis(200);

/// What was installed; lets later starts check cheaply.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    version: String,
    sha256: String,
    size: u64,
    modified_ns: u128,
}

/// The CLI that the configuration asks for; installs it if that is Holdpoint's own.
///
/// # Errors
/// When it is not there, or of another version than it should be.
pub async fn resolve(
    claude: &Claude,
    data: &DataDir,
    environment: &Environment,
    term: Term,
) -> anyhow::Result<PathBuf> {
    let program = match &claude.cli {
        CliSource::Installed => {
            let folder = data.cli_folder().join(VERSION);
            return Installer::new(folder, environment.path.clone(), term).install().await;
        }
        CliSource::File(path) => path.clone(),
        CliSource::Path => on_path(&environment.path, PROGRAM).ok_or_else(|| {
            Failure::new("there is no `claude` on the PATH")
                .why("`[claude] cli = \"path\"` in holdpoint.toml asks for it")
                .next("remove that line, and Holdpoint installs its own")
        })?,
    };
    let version = version_of(&program).await?;
    if !claude.any_version && version != VERSION {
        return Err(Failure::new(format!("the Claude CLI at {} is version {version}", program.display()))
            .why(format!("Holdpoint is tested with {VERSION}; another may speak another protocol"))
            .next("holdpoint cli install     (and remove `cli` from [claude] in holdpoint.toml)")
            .next("any_version = true        (in [claude], to use it all the same)")
            .into());
    }
    Ok(program)
}

/// The version that a Claude CLI says it has: so it runs.
///
/// # Errors
/// When it does not run.
pub async fn version_of(program: &Path) -> Result<String, Failure> {
    let version = probe_version(program).await.map_err(|error| {
        Failure::new(format!("failed to use the Claude CLI at {}", program.display()))
            .why(error)
            .next("holdpoint cli install     (and remove `cli` from [claude] in holdpoint.toml)")
    })?;
    Ok(version.to_string())
}

/// Installs the CLI into one folder.
#[derive(Debug)]
pub struct Installer {
    folder: PathBuf,
    path: String,
    term: Term,
}

impl Installer {
    /// Into `folder`, with the package clients found in `path`.
    #[must_use]
    pub fn new(folder: PathBuf, path: String, term: Term) -> Self {
        Self { folder, path, term }
    }

    /// The program; installed now if it is not there, or not as it was checked.
    ///
    /// # Errors
    /// What was tried, and what to type next.
    pub async fn install(&self) -> anyhow::Result<PathBuf> {
        if self.is_as_stamped() {
            return Ok(self.program());
        }
        create_private(&self.folder).map_err(|error| {
            Failure::new(format!("failed to make {}", self.folder.display())).why(describe(&error))
        })?;
        let _lock = self.lock().await?;
        // Somebody else may have installed it while we waited for the lock.
        if self.is_as_stamped() {
            return Ok(self.program());
        }
        let platform = platform::current()?;
        let work = tempfile::Builder::new().prefix(".install-").tempdir_in(&self.folder)?;
        let progress = Progress::new(self.term);
        progress.say(&format!("Installing the Claude CLI {VERSION}, once."));
        let fetched = fetch::fetch(&platform, work.path(), &self.path, &progress).await?;
        progress.step("unpacking");
        let staged = work.path().join(PROGRAM);
        let (archive, to) = (fetched.clone(), staged.clone());
        tokio::task::spawn_blocking(move || unpack::program(&archive, &to)).await??;
        progress.step("checking");
        let stamp = self.check(&staged, platform.program_sha256).await?;
        self.put_in_place(&staged, &stamp)?;
        progress.done(&format!("Claude CLI {VERSION} is installed in {}", self.folder.display()));
        Ok(self.program())
    }

    /// The installed program, every byte of it checked.
    ///
    /// # Errors
    /// When it is not there or not what was installed.
    pub async fn verify(&self) -> anyhow::Result<PathBuf> {
        let program = self.program();
        if !program.is_file() {
            return Err(Failure::new(format!(
                "the Claude CLI is not installed in {}",
                self.folder.display()
            ))
            .next("holdpoint cli install")
            .into());
        }
        let expected =
            platform::current()?.program_sha256.map(str::to_owned).or(self.stamp().map(|stamp| stamp.sha256));
        self.check(&program, expected.as_deref()).await?;
        Ok(program)
    }

    /// The program, if it is there and as it was when every byte of it was checked.
    #[must_use]
    pub fn installed(&self) -> Option<PathBuf> {
        self.is_as_stamped().then(|| self.program())
    }

    /// Why it cannot be installed with the programs there are, where that is so. Asks no registry.
    #[must_use]
    pub fn cannot_install(&self) -> Option<Failure> {
        fetch::without_clients(&self.path)
    }

    fn program(&self) -> PathBuf {
        self.folder.join(PROGRAM)
    }

    fn stamp(&self) -> Option<Stamp> {
        serde_json::from_slice(&fs::read(self.folder.join(STAMP)).ok()?).ok()
    }

    /// Whether the program is the one that was checked, by size and time of change.
    fn is_as_stamped(&self) -> bool {
        let (Some(stamp), Ok((size, modified_ns))) = (self.stamp(), facts(&self.program())) else {
            return false;
        };
        stamp.version == VERSION && (stamp.size, stamp.modified_ns) == (size, modified_ns)
    }

    async fn check(&self, program: &Path, expected_sha256: Option<&str>) -> anyhow::Result<Stamp> {
        let path = program.to_owned();
        let sha256 = tokio::task::spawn_blocking(move || digest_file(&path)).await??.sha256;
        if expected_sha256.is_some_and(|expected| expected != sha256) {
            return Err(Failure::new(format!("{} is not the program it should be", program.display()))
                .why(format!("its SHA-256 is {sha256}, expected {}", expected_sha256.unwrap_or_default()))
                .next(format!("rm -r {}", self.folder.display()))
                .next("holdpoint cli install")
                .into());
        }
        fs::set_permissions(program, fs::Permissions::from_mode(0o755))?;
        let version = probe_version(program).await?;
        anyhow::ensure!(
            version.to_string() == VERSION,
            "the installed Claude CLI says it is {version}, not {VERSION}"
        );
        let (size, modified_ns) = facts(program)?;
        Ok(Stamp { version: VERSION.to_owned(), sha256, size, modified_ns })
    }

    /// The program first, then the stamp: without a stamp the program is installed again.
    fn put_in_place(&self, staged: &Path, stamp: &Stamp) -> io::Result<()> {
        fs::File::open(staged)?.sync_all()?;
        let _ = fs::remove_file(self.folder.join(STAMP));
        fs::rename(staged, self.program())?;
        let temporary = self.folder.join(".stamp");
        fs::write(&temporary, serde_json::to_vec(stamp)?)?;
        fs::rename(temporary, self.folder.join(STAMP))
    }

    /// One installer at a time; the lock ends with the process, however it ends.
    async fn lock(&self) -> anyhow::Result<fs::File> {
        let file = fs::OpenOptions::new().create(true).append(true).open(self.folder.join(".lock"))?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK) => tokio::time::sleep(LOCK_PAUSE).await,
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }
}

fn facts(program: &Path) -> io::Result<(u64, u128)> {
    let meta = fs::metadata(program)?;
    let modified = meta.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok((meta.len(), modified.as_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_without_a_stamp_or_changed_since_is_installed_again() {
        let dir = tempfile::tempdir().expect("dir");
        let installer = Installer::new(dir.path().to_owned(), String::new(), Term::default());
        assert!(!installer.is_as_stamped(), "nothing is there");
        let staged = dir.path().join("staged");
        fs::write(&staged, "program").expect("file");
        let (size, modified_ns) = facts(&staged).expect("facts");
        let stamp = Stamp { version: VERSION.into(), sha256: "x".into(), size, modified_ns };
        installer.put_in_place(&staged, &stamp).expect("in place");
        assert!(installer.is_as_stamped());
        fs::write(installer.program(), "tampered!").expect("file");
        assert!(!installer.is_as_stamped(), "it was changed");
        fs::remove_file(dir.path().join(STAMP)).expect("remove");
        assert!(!installer.is_as_stamped(), "the stamp is gone");
    }

    #[tokio::test]
    async fn a_wrong_checksum_says_what_to_do() {
        let dir = tempfile::tempdir().expect("dir");
        let installer = Installer::new(dir.path().to_owned(), String::new(), Term::default());
        fs::write(installer.program(), "not it").expect("file");
        let error =
            installer.check(&installer.program(), Some("00")).await.expect_err("must not pass").to_string();
        assert!(error.contains("not the program") && error.contains("holdpoint cli install"), "{error}");
    }

    #[tokio::test]
    async fn without_npm_and_pip_both_are_named() {
        let dir = tempfile::tempdir().expect("dir");
        let installer = Installer::new(dir.path().to_owned(), "/nowhere".into(), Term::default());
        let error = installer.install().await.expect_err("must not pass").to_string();
        assert!(error.contains("npm") && error.contains("pip"), "{error}");
    }
}
