//! The processes of an execution, found by the mark in their environment.

use std::path::Path;

use anyhow::Context as _;

/// Which part of an incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The worker.
    Worker,
    /// The Claude CLI and everything that it started.
    Session,
}

impl Part {
    fn mark(self) -> &'static str {
        match self {
            Self::Worker => "HOLDPOINT_WORKER=",
            Self::Session => "HOLDPOINT_SESSION=",
        }
    }
}

/// The processes of one part of an execution, of every incarnation.
#[must_use]
pub fn of(execution: &str, part: Part) -> Vec<u32> {
    let mark = format!("{}{execution}/", part.mark());
    matching(|variable| variable.starts_with(mark.as_bytes()))
}

/// Kills processes with -9.
pub fn kill(pids: &[u32]) {
    for pid in pids {
        if let Some(pid) = i32::try_from(*pid).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Kills whatever runs as this user.
pub(crate) fn kill_all_of_user(uid: u32) {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = entries.filter(|entry| entry.metadata().is_ok_and(|meta| meta.uid() == uid));
    let pids: Vec<u32> = own.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    kill(&pids);
}

/// The processor time that a process has used, in hundredths of a second.
///
/// # Errors
/// When it is gone.
pub fn cpu_ticks(pid: u32) -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(") ").context("stat")?.1.split_whitespace().collect();
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}

/// The memory that a process has resident, in MiB.
///
/// # Errors
/// When it is gone.
pub fn rss_mib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.split_whitespace().next().context("VmRSS")?.parse::<f64>()? / 1024.0)
}

/// Stops processes where they are.
pub fn pause(pids: &[u32]) {
    for pid in pids {
        if let Some(pid) = i32::try_from(*pid).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::STOP);
        }
    }
}

/// Kills every worker and session of a data folder.
pub fn kill_all_of(data: &Path) {
    for entry in std::fs::read_dir(data.join("executions")).into_iter().flatten().flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        for _ in 0..50 {
            let left = [of(&id, Part::Worker), of(&id, Part::Session)].concat();
            if left.is_empty() {
                break;
            }
            kill(&left);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// Living processes with a matching variable.
fn matching(fits: impl Fn(&[u8]) -> bool) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(environ) = std::fs::read(entry.path().join("environ")) else { continue };
        let state = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let alive = state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']));
        if alive && environ.split(|byte| *byte == 0).any(&fits) {
            found.push(pid);
        }
    }
    found
}
