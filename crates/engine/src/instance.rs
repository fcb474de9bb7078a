//! What can be seen of a worker that runs: how it is doing, and what is around its session.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use holdpoint_model::UnixMs;

use crate::WorkerId;

/// The longest file of `/proc` or a control group that is read here, in bytes; they have a few lines.
const MAX_PROC_BYTES: u64 = 64 * 1024;

/// A worker that runs, and its session.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Which.
    pub id: WorkerId,
    /// `process`, `podman`, `docker`.
    pub engine: &'static str,
    /// `running`; of a container, whatever its engine says.
    pub state: String,
    /// Since when.
    pub started_at: Option<UnixMs>,
    /// The worker's process on this machine.
    pub worker_pid: Option<i32>,
    /// The session's processes on this machine; of a container, its first.
    pub session_pids: Vec<i32>,
    /// Memory in bytes.
    pub memory: Usage,
    /// Processes and threads.
    pub processes: Usage,
    /// Processor time that what runs now has used, in milliseconds.
    pub cpu_ms: u64,
    /// How many processors there are for it, as in `1.5`; None for all.
    pub cpus: Option<f64>,
    /// What is around it; None where that is nothing.
    pub container: Option<ContainerView>,
}

/// How much of something is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Now.
    pub used: u64,
    /// At most, if it is bounded.
    pub limit: Option<u64>,
}

/// A session's container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerView {
    /// The engine's id for it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image's name, as it was asked for.
    pub image: String,
    /// The digest of the image's configuration.
    pub image_digest: String,
    /// The engine's word for its network: `none` is none but the way to the gateway.
    pub network: String,
    /// `uid:gid` inside.
    pub user: String,
    /// What it sees of the host.
    pub mounts: Vec<MountView>,
}

/// A folder of the host in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountView {
    /// Where it is on the host.
    pub source: PathBuf,
    /// Where the container sees it.
    pub target: PathBuf,
    /// Whether it may not be written to.
    pub read_only: bool,
}

/// What some processes use together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    /// Memory, in bytes; what they share counts for each of them.
    pub(crate) resident: u64,
    /// Threads.
    pub(crate) tasks: u64,
    /// Processor time in milliseconds.
    pub(crate) cpu_ms: u64,
    /// When the oldest was started.
    pub(crate) started_at: Option<UnixMs>,
}

/// Adds up what these processes use. One that has ended meanwhile uses nothing.
pub(crate) fn measure(pids: &[i32]) -> Measured {
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let booted_at = booted_at();
    let mut all = Measured::default();
    for stat in pids.iter().filter_map(|pid| Stat::read(*pid)) {
        all.resident += stat.resident_pages * rustix::param::page_size() as u64;
        all.tasks += stat.threads;
        all.cpu_ms += stat.cpu_ticks * 1000 / ticks;
        let started =
            booted_at.and_then(|at| Some(at + UnixMs::try_from(stat.started_ticks * 1000 / ticks).ok()?));
        all.started_at = [all.started_at, started].into_iter().flatten().min();
    }
    all
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    started_ticks: u64,
    resident_pages: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&read(Path::new(&format!("/proc/{pid}/stat")))?)
    }

    /// proc_pid_stat(5). The program's name, which may itself hold blanks and parentheses, ends with the last.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
        // The first after the name is field 3.
        let field = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            started_ticks: field(22)?,
            resident_pages: field(24)?,
        })
    }
}

/// When this machine was started, in milliseconds since the epoch.
fn booted_at() -> Option<UnixMs> {
    let stat = read(Path::new("/proc/stat"))?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(seconds.trim().parse::<UnixMs>().ok()? * 1000)
}

/// The processes of this machine by their namespace of process ids, as far as those may be looked at.
pub(crate) fn by_namespace() -> io::Result<HashMap<PathBuf, Vec<i32>>> {
    let mut found: HashMap<PathBuf, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok())
            && let Some(namespace) = namespace_of(pid)
        {
            found.entry(namespace).or_default().push(pid);
        }
    }
    Ok(found)
}

/// A process's namespace of process ids.
pub(crate) fn namespace_of(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// What a control group counts: memory that was written but not yet taken back included, and nothing twice.
pub(crate) fn counted(pid: i32, controller: &str, (old, new): (&str, &str)) -> Option<u64> {
    let groups = read(Path::new(&format!("/proc/{pid}/cgroup")))?;
    let file = cgroup_folder(&groups, controller)?;
    let name = if file.1 { new } else { old };
    read(&file.0.join(name))?.trim().parse().ok()
}

/// Where a controller's group is, and whether it is one of the new kind, where all controllers share it.
fn cgroup_folder(groups: &str, controller: &str) -> Option<(PathBuf, bool)> {
    let root = Path::new("/sys/fs/cgroup");
    let lines = || groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let below = |folder: &Path, path: &str| {
        let path = path.trim_start_matches('/');
        // Only seen from outside of it: then it is another's.
        (!path.is_empty() && !path.starts_with("..")).then(|| folder.join(path))
    };
    if let Some((_, path)) = lines().find(|(names, _)| names.split(',').any(|name| name == controller)) {
        return Some((below(&root.join(controller), path)?, false));
    }
    let (_, path) = lines().find(|(names, _)| names.is_empty())?;
    Some((below(root, path)?, true))
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(MAX_PROC_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_called_anything() {
        let stat = "7 (a) S 1 (b) S 1 7 7 0 -1 0 0 0 0 0 5 6 0 0 20 0 3 0 900 1000 42 0";
        let expected = Stat { cpu_ticks: 11, threads: 3, started_ticks: 900, resident_pages: 42 };
        assert_eq!(Stat::parse(stat), Some(expected));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let own = i32::try_from(std::process::id()).expect("pid");
        let measured = measure(&[own, -1]);
        assert!(measured.resident > 1 << 20 && measured.tasks > 0, "{measured:?}");
        assert!(measured.started_at.is_some_and(|at| at > 1_600_000_000_000), "{measured:?}");
        let namespace = namespace_of(own).expect("namespace");
        assert!(by_namespace().expect("proc")[&namespace].contains(&own));
    }

    #[test]
    fn control_groups_of_both_kinds_are_found() {
        let mixed = "12:pids,misc:/a\n5:memory:/pod/x\n0::/new\n";
        let folder = |groups, controller| cgroup_folder(groups, controller);
        assert_eq!(folder(mixed, "memory"), Some(("/sys/fs/cgroup/memory/pod/x".into(), false)));
        assert_eq!(folder(mixed, "cpu"), Some(("/sys/fs/cgroup/new".into(), true)));
        assert_eq!(folder("0::/\n", "memory"), None, "everybody's");
        assert_eq!(folder("0::/../x\n", "memory"), None);
    }
}
