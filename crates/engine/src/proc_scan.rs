//! Finding and ending processes by a mark in the environment they were started with. The mark is
//! inherited, so it also finds what a killed worker left behind in process groups of its own.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read as _},
    path::Path,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{SESSION_MARK, WORKER_MARK, WorkerId};

/// What of a worker runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// Worker processes.
    pub(crate) workers: Vec<i32>,
    /// Session processes and their children.
    pub(crate) sessions: Vec<i32>,
}

/// An environment larger than this is not one of ours; the kernel's own limit is far higher.
const MAX_ENVIRON_BYTES: u64 = 1024 * 1024;

/// While a process becomes another program its environment reads as empty for a moment: it is read again so
/// often, after such a pause, before it counts as empty.
const EMPTY_AGAIN: (u32, Duration) = (3, Duration::from_micros(500));

/// Every marked process of this user.
pub(crate) fn scan() -> io::Result<HashMap<WorkerId, Found>> {
    let mut found: HashMap<WorkerId, Found> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(entry) = entry else { continue };
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let environ = match environ(&entry.path()) {
            Ok(environ) => environ,
            Err(error) if is_not_ours(&error) => continue,
            // Anything else (no more file handles, say) must not make a living worker look dead.
            Err(error) => return Err(error),
        };
        if is_zombie(pid) {
            continue;
        }
        let mut ours = None;
        for variable in environ.split(|byte| *byte == 0) {
            let Some((key, value)) = std::str::from_utf8(variable).ok().and_then(|text| text.split_once('='))
            else {
                continue;
            };
            let Ok(id) = (if key == WORKER_MARK || key == SESSION_MARK {
                value.parse::<WorkerId>()
            } else {
                continue;
            }) else {
                continue;
            };
            if !*ours.get_or_insert_with(|| is_outside_of_containers(pid)) {
                break;
            }
            let entry = found.entry(id).or_default();
            if key == WORKER_MARK { entry.workers.push(pid) } else { entry.sessions.push(pid) }
        }
    }
    Ok(found)
}

fn environ(process: &Path) -> io::Result<Vec<u8>> {
    let mut environ = Vec::new();
    for _ in 0..EMPTY_AGAIN.0 {
        fs::File::open(process.join("environ"))?.take(MAX_ENVIRON_BYTES).read_to_end(&mut environ)?;
        // Threads of the kernel have no program, and never have an environment.
        if !environ.is_empty() || fs::read_link(process.join("exe")).is_err() {
            break;
        }
        std::thread::sleep(EMPTY_AGAIN.1);
    }
    Ok(environ)
}

/// Whether a process carries the mark of some worker.
pub(crate) fn is_marked(pid: u32) -> bool {
    let environ = environ(Path::new(&format!("/proc/{pid}/environ"))).unwrap_or_default();
    let mark = format!("{WORKER_MARK}=");
    environ.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark.as_bytes()))
}

/// A process may end, or belong to somebody else, at any moment.
fn is_not_ours(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// Whether a process is no session in a container. Those could carry the mark of anybody, and end with their
/// container.
fn is_outside_of_containers(pid: i32) -> bool {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    namespace(&pid.to_string()).is_none_or(|other| namespace("self").is_none_or(|own| own == other))
}

fn is_zombie(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    // The state follows the program's name, which may itself hold parentheses.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z') || rest.starts_with('X'))
}

/// Kills with -9. One that is gone already is no error.
pub(crate) fn kill_now(pids: &[i32]) {
    for pid in pids.iter().copied().filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}
