//! A look at `/proc`.

use std::collections::HashMap;
use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// One process, told apart from a later one under the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ProcessId {
    pub(super) pid: u32,
    /// Clock ticks since boot.
    start: u64,
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy)]
struct Stat {
    id: ProcessId,
    parent: u32,
    /// Dead, but not collected by its parent yet.
    zombie: bool,
}

impl ProcessId {
    /// The process that has this number now.
    pub(super) fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|stat| stat.id)
    }

    /// Sends a signal to this process and to no other. A process that is gone is no error.
    pub(super) fn signal(self, signal: Signal) {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return };
        // The descriptor pins the process; only then is its start time compared.
        let Ok(pinned) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        if stat(self.pid).is_some_and(|now| now.id == self) {
            let _ = pidfd_send_signal(&pinned, signal);
        }
    }

    pub(super) fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|now| now.id == self && !now.zombie)
    }
}

/// A snapshot of who is whose child. Dead processes are left out.
#[derive(Debug, Default)]
pub(super) struct ProcTable {
    living: HashMap<u32, ProcessId>,
    children: HashMap<u32, Vec<ProcessId>>,
    parents: HashMap<u32, u32>,
}

impl ProcTable {
    pub(super) fn read() -> Self {
        let mut table = Self::default();
        for stat in pids().filter_map(stat).filter(|stat| !stat.zombie) {
            table.living.insert(stat.id.pid, stat.id);
            table.children.entry(stat.parent).or_default().push(stat.id);
            table.parents.insert(stat.id.pid, stat.parent);
        }
        table
    }

    /// `root` and everything below it, parents before their children.
    pub(super) fn tree(&self, root: u32) -> Vec<ProcessId> {
        let mut found: Vec<_> = self.living.get(&root).copied().into_iter().collect();
        // A dead root that nobody collected has no entry, but it can still have children.
        let mut queue = vec![root];
        while let Some(parent) = queue.pop() {
            for child in self.children.get(&parent).into_iter().flatten() {
                found.push(*child);
                queue.push(child.pid);
            }
        }
        found
    }

    /// [`tree`](Self::tree), if `root` still lives; its number may have gone to another.
    pub(super) fn tree_of(&self, root: ProcessId) -> Vec<ProcessId> {
        if self.living.get(&root.pid) == Some(&root) { self.tree(root.pid) } else { Vec::new() }
    }

    /// This process and all above it.
    pub(super) fn own_line(&self) -> Vec<u32> {
        let mut line = vec![std::process::id()];
        while let Some(parent) = line.last().and_then(|pid| self.parents.get(pid)) {
            line.push(*parent);
        }
        line
    }

    /// Every living process whose environment, at its start, held `entry`. Those of other users cannot be
    /// read and are left out.
    pub(super) fn with_env(&self, entry: &[u8]) -> Vec<ProcessId> {
        let holds = |pid: u32| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|held| held == entry))
        };
        self.living.values().copied().filter(|id| holds(id.pid)).collect()
    }
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything, brackets too.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<_> = fields.split_whitespace().collect();
    Some(Stat {
        id: ProcessId { pid, start: fields.get(19)?.parse().ok()? },
        parent: fields.get(1)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
    })
}
