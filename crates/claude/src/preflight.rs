//! What is looked at before the CLI starts, because the CLI itself finds out late or never.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{Access, access};
use tokio::process::Command;
use uuid::Uuid;

use crate::error::{ProbeError, SpawnError};
use crate::lock::{SessionLock, write_private};
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
    writable_config_dir(&options.config_dir)?;
    let session = options.session.id();
    let lock = SessionLock::take(&options.config_dir, session)?;
    check_session(options)?;
    let files = write_files(options, session)?;
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
/// mount, nor to root.
fn writable_config_dir(config_dir: &Path) -> Result<(), SpawnError> {
    for dir in
        [config_dir.to_owned(), config_dir.join("projects"), config_dir.join("debug"), driver_dir(config_dir)]
    {
        probe_dir(&dir).map_err(|source| SpawnError::ConfigDirUnwritable { path: dir, source })?;
    }
    Ok(())
}

fn probe_dir(dir: &Path) -> io::Result<()> {
    if !dir.is_dir() {
        use std::os::unix::fs::DirBuilderExt;
        // Transcripts are nobody else's business.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let probe = dir.join(format!(".driver-probe-{}", Uuid::new_v4()));
    fs::write(&probe, b"")?;
    fs::remove_file(&probe)
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
        Some((session, transcript)) => Err(SpawnError::SessionExists { session, transcript }),
        None => Ok(()),
    }
}

fn write_files(options: &Options, session: Uuid) -> Result<PrivateFiles, SpawnError> {
    let dir = driver_dir(&options.config_dir);
    let write = |kind: &str, content: &serde_json::Value| -> Result<PathBuf, SpawnError> {
        let path = dir.join(format!("{session}.{kind}.json"));
        write_private(&path, &serde_json::to_vec(content)?)
            .map_err(|source| SpawnError::ConfigDirUnwritable { path: dir.clone(), source })?;
        Ok(path)
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
    fn versions_compare_by_number() {
        let new = CliVersion::read("2.1.330 (Claude Code)").unwrap();
        assert_eq!(new.to_string(), "2.1.330");
        assert!(new > CliVersion::read("2.1.197").unwrap());
        assert_eq!(CliVersion::read("GNU bash, version 5.2"), None);
    }
}
