//! What is looked at before the CLI starts, because the CLI itself finds out late or never.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use holdpoint_beneath::Folder;
use rustix::fs::{Access, access};
use tokio::process::Command;
use uuid::Uuid;

use crate::error::{ProbeError, SpawnError};
use crate::lock::{LockError, SessionLock};
use crate::options::{Options, PrivateFiles, SessionChoice, driver_dir};
use crate::transcript;

/// How long `claude --version` may take. It takes 0.1 s; a cold disk has to load 380 MB first.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything that is ready for the start.
#[derive(Debug)]
pub(crate) struct Cleared {
    pub(crate) cli: PathBuf,
    pub(crate) files: PrivateFiles,
    pub(crate) lock: SessionLock,
}

/// Checks and prepares. In the order in which an operator would look.
pub(crate) fn check(options: &Options, path_variable: Option<&OsString>) -> Result<Cleared, SpawnError> {
    let cli =
        if options.through.is_empty() { find_cli(&options.cli, path_variable)? } else { options.cli.clone() };
    if !options.cwd.is_dir() {
        return Err(SpawnError::CwdMissing { path: options.cwd.clone() });
    }
    let driver = writable_config_dir(&options.config_dir)?;
    let session = options.session.id();
    let lock = SessionLock::take(&driver, session).map_err(|error| match error {
        LockError::InUse { holder } => SpawnError::SessionInUse { session, holder },
        LockError::Unwritable(source) => {
            SpawnError::ConfigDirUnwritable { path: driver_dir(&options.config_dir), source }
        }
    })?;
    check_session(options)?;
    let files = write_files(options, &driver, session)?;
    Ok(Cleared { cli, files, lock })
}

fn find_cli(cli: &Path, path_variable: Option<&OsString>) -> Result<PathBuf, SpawnError> {
    let missing = || SpawnError::CliMissing { path: cli.to_owned() };
    let found = if cli.components().count() == 1 && !cli.is_absolute() {
        let dirs = path_variable.map(std::env::split_paths).into_iter().flatten();
        dirs.map(|dir| dir.join(cli)).find(|path| path.is_file()).ok_or_else(missing)?
    } else {
        cli.to_owned()
    };
    if !found.exists() {
        return Err(missing());
    }
    if !found.is_file() || access(&found, Access::EXEC_OK).is_err() {
        return Err(SpawnError::CliNotExecutable { path: found });
    }
    Ok(found)
}

/// Makes the folders the CLI writes to, and writes to each: permission bits say nothing about a read-only
/// mount, nor to root. Gives the driver's own.
///
/// A session that went before may have put a link in the place of any of them; none is followed.
fn writable_config_dir(config_dir: &Path) -> Result<Folder, SpawnError> {
    let unwritable = |path: PathBuf| move |source| SpawnError::ConfigDirUnwritable { path, source };
    let config = open_or_make(config_dir).map_err(unwritable(config_dir.to_owned()))?;
    let writable = |path: PathBuf| {
        let below = path.strip_prefix(config_dir).unwrap_or(&path);
        config.make_folder(below).and_then(|folder| probe(&folder).map(|()| folder)).map_err(unwritable(path))
    };
    probe(&config).map_err(unwritable(config_dir.to_owned()))?;
    writable(config_dir.join("projects"))?;
    writable(config_dir.join("debug"))?;
    writable(driver_dir(config_dir))
}

fn open_or_make(dir: &Path) -> io::Result<Folder> {
    use std::os::unix::fs::DirBuilderExt;
    match Folder::open(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Transcripts are nobody else's business.
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            Folder::open(dir)
        }
        other => other,
    }
}

fn probe(folder: &Folder) -> io::Result<()> {
    let probe = format!(".driver-probe-{}", Uuid::new_v4());
    folder.create_new(&probe)?;
    folder.remove_file(&probe)
}

fn check_session(options: &Options) -> Result<(), SpawnError> {
    if let Some(session) = options.session.source()
        && transcript::find(&options.config_dir, session).is_none()
    {
        return Err(SpawnError::UnknownSession { session, projects: options.config_dir.join("projects") });
    }
    let fresh = match options.session {
        SessionChoice::New(id) | SessionChoice::Fork { into: id, .. } => Some(id),
        SessionChoice::Resume { .. } => None,
    };
    match fresh.and_then(|id| Some((id, transcript::find(&options.config_dir, id)?))) {
        Some((session, found)) => {
            Err(SpawnError::SessionExists { session, transcript: found.path().to_owned() })
        }
        None => Ok(()),
    }
}

fn write_files(options: &Options, driver: &Folder, session: Uuid) -> Result<PrivateFiles, SpawnError> {
    let dir = driver_dir(&options.config_dir);
    let write = |kind: &str, content: &serde_json::Value| -> Result<PathBuf, SpawnError> {
        let name = format!("{session}.{kind}.json");
        driver
            .replace(&name, &serde_json::to_vec(content)?)
            .map_err(|source| SpawnError::ConfigDirUnwritable { path: dir.clone(), source })?;
        Ok(dir.join(name))
    };
    let mcp_config = options.mcp_config().map(|config| write("mcp", &config)).transpose()?;
    let settings =
        options.settings.clone().map(|settings| write("settings", &settings.into())).transpose()?;
    Ok(PrivateFiles { mcp_config, settings })
}

/// A version of the CLI, comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CliVersion {
    /// Major.
    pub major: u32,
    /// Minor.
    pub minor: u32,
    /// Patch.
    pub patch: u32,
}

impl std::fmt::Display for CliVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl CliVersion {
    fn read(output: &str) -> Option<Self> {
        let mut numbers = output.split_whitespace().next()?.splitn(3, '.').map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self { major: next()?, minor: next()?, patch: next()? })
    }
}

/// Asks a CLI for its version, with an empty environment.
///
/// # Errors
///
/// [`ProbeError`] when it cannot be run, does not end, or is no Claude CLI.
pub async fn probe_version(cli: &Path) -> Result<CliVersion, ProbeError> {
    let path = cli.to_owned();
    let run = Command::new(cli)
        .arg("--version")
        .env_clear()
        .env("DISABLE_AUTOUPDATER", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(PROBE_TIMEOUT, run).await {
        Err(_) => return Err(ProbeError::Timeout { path, after: PROBE_TIMEOUT }),
        Ok(Err(source)) => return Err(ProbeError::Run { path, source }),
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    };
    CliVersion::read(&output).ok_or(ProbeError::Unreadable { path, output })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_of_an_earlier_session_is_written_through() {
        use std::os::unix::fs::symlink;
        for case in [".claude", ".claude/projects", ".claude/debug", ".claude/driver"] {
            let dir = tempfile::tempdir().unwrap();
            let (home, host) = (dir.path().join("home"), dir.path().join("host"));
            fs::create_dir_all(home.join(case).parent().unwrap()).unwrap();
            fs::create_dir(&host).unwrap();
            symlink(&host, home.join(case)).unwrap();
            let refused = writable_config_dir(&home.join(".claude")).unwrap_err();
            assert!(
                matches!(&refused, SpawnError::ConfigDirUnwritable { path, .. } if *path == home.join(case))
            );
            assert_eq!(fs::read_dir(&host).unwrap().count(), 0, "{case}");
        }
    }

    #[test]
    fn versions_compare_by_number() {
        let new = CliVersion::read("2.1.330 (Claude Code)").unwrap();
        assert_eq!(new.to_string(), "2.1.330");
        assert!(new > CliVersion::read("2.1.197").unwrap());
        assert_eq!(CliVersion::read("GNU bash, version 5.2"), None);
    }
}
