//! Fetching the archive that holds the program, with `npm`, or with `pip` where there is no npm.
//!
//! Their caches are put into a folder of ours: it is gone afterwards, and its growth is the progress.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdpoint_model::digest::hex;
use sha2::{Digest as _, Sha256, Sha512};
use tokio::process::Command;

use super::{
    VERSION,
    platform::{Platform, WHEEL},
    progress::{LOOK_EVERY, Progress, bytes_below},
};
use crate::{env::on_path, failure::Failure};

/// How long a client may take without a single new byte before it is given up.
const STALLED_AFTER: Duration = Duration::from_secs(120);

/// How much of a client's own words is shown when it fails.
const MAX_WORDS_BYTES: usize = 1_500;

/// The archive, its checksum checked.
pub(super) async fn fetch(
    platform: &Platform,
    work: &Path,
    path: &str,
    progress: &Progress,
) -> Result<PathBuf, Failure> {
    let mut tried = Vec::new();
    match with_npm(platform, work, path, progress).await {
        Ok(archive) => return Ok(archive),
        Err(why) => tried.push(format!("npm: {why}")),
    }
    match with_pip(platform, work, path, progress).await {
        Ok(archive) => return Ok(archive),
        Err(why) => tried.push(format!("pip: {why}")),
    }
    Err(failed(&tried))
}

/// Why nothing can be fetched with the programs there are, where that is so. Asks no registry.
pub(super) fn without_clients(path: &str) -> Option<Failure> {
    let (npm, python) = (npm(path).err()?, python(path).err()?);
    Some(failed(&[format!("npm: {npm}"), format!("pip: {python}")]))
}

fn failed(tried: &[String]) -> Failure {
    Failure::new(format!("failed to install the Claude CLI {VERSION}"))
        .why(tried.join("\n"))
        .next("install npm (with Node.js), or pip (with Python 3), and check that it reaches its registry")
        .next("holdpoint cli install")
        .next("cli = \"/path/to/claude\"     (in [claude] of holdpoint.toml, to use one that is there)")
}

fn npm(path: &str) -> Result<PathBuf, String> {
    on_path(path, "npm").ok_or_else(|| "there is no npm on the PATH".to_owned())
}

fn python(path: &str) -> Result<PathBuf, String> {
    let python = on_path(path, "python3").or_else(|| on_path(path, "python"));
    python.ok_or_else(|| "there is no python3 on the PATH".to_owned())
}

async fn with_npm(
    platform: &Platform,
    work: &Path,
    path: &str,
    progress: &Progress,
) -> Result<PathBuf, String> {
    let npm = npm(path)?;
    let (into, cache) = folders(work, "npm")?;
    progress.fetching("npm", platform.download_bytes);
    let mut command = Command::new(npm);
    command
        .arg("pack")
        .arg(&platform.npm_package)
        .arg("--pack-destination")
        .arg(&into)
        .arg("--cache")
        .arg(&cache);
    command.arg("--silent").current_dir(&into);
    run(command, path, &cache, progress).await?;
    let archive = only_file(&into)?;
    let bytes = fs::read(&archive).map_err(|error| error.to_string())?;
    let integrity = format!("sha512-{}", STANDARD.encode(Sha512::digest(&bytes)));
    if integrity != platform.npm_integrity {
        return Err(format!("what came is not {}: its checksum is {integrity}", platform.npm_package));
    }
    Ok(archive)
}

async fn with_pip(
    platform: &Platform,
    work: &Path,
    path: &str,
    progress: &Progress,
) -> Result<PathBuf, String> {
    let Some(expected) = platform.wheel_sha256 else {
        return Err("no checksum is pinned for this kind of machine's wheel".into());
    };
    let python = python(path)?;
    let (into, cache) = folders(work, "pip")?;
    progress.fetching("pip", platform.download_bytes);
    let mut command = Command::new(python);
    command.args([
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--no-cache-dir",
        "--quiet",
    ]);
    command.arg("--dest").arg(&into).arg(WHEEL).env("TMPDIR", &cache).current_dir(&into);
    run(command, path, &cache, progress).await?;
    let wheel = only_file(&into)?;
    let bytes = fs::read(&wheel).map_err(|error| error.to_string())?;
    let sha256 = hex(&Sha256::digest(&bytes));
    if sha256 != expected {
        return Err(format!("what came is not {WHEEL}: its checksum is {sha256}"));
    }
    Ok(wheel)
}

/// Where the archive goes, and where the client keeps what is on its way.
fn folders(work: &Path, client: &str) -> Result<(PathBuf, PathBuf), String> {
    let (into, cache) = (work.join(client), work.join(format!("{client}-cache")));
    for folder in [&into, &cache] {
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    }
    Ok((into, cache))
}

/// Runs a client to its end and shows what arrives meanwhile.
async fn run(mut command: Command, path: &str, cache: &Path, progress: &Progress) -> Result<(), String> {
    command
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = command.spawn().map_err(|error| error.to_string())?;
    let ended = child.wait_with_output();
    tokio::pin!(ended);
    let (mut last, mut quiet) = (0, Duration::ZERO);
    let output = loop {
        match tokio::time::timeout(LOOK_EVERY, &mut ended).await {
            Ok(output) => break output.map_err(|error| error.to_string())?,
            Err(_) => {
                let bytes = bytes_below(cache);
                quiet = if bytes == last { quiet + LOOK_EVERY } else { Duration::ZERO };
                last = bytes;
                progress.arrived(bytes);
                if quiet > STALLED_AFTER {
                    return Err(format!("nothing arrived for {} s", STALLED_AFTER.as_secs()));
                }
            }
        }
    };
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.trim();
    let words = &words[words.ceil_char_boundary(words.len().saturating_sub(MAX_WORDS_BYTES))..];
    Err(format!("it ended with {}\n{words}", output.status))
}

fn only_file(folder: &Path) -> Result<PathBuf, String> {
    let mut files =
        fs::read_dir(folder).map_err(|error| error.to_string())?.flatten().map(|entry| entry.path());
    files.next().ok_or_else(|| "it ended well and left nothing".to_owned())
}
