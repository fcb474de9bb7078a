//! Ending whole process trees.
//!
//! A command that the CLI runs has a session and a group of its own, so neither a signal to the CLI nor one
//! to its group reaches it. What holds them together is parenthood, read from `/proc`, and, when a parent is
//! gone already, a variable that all of them inherited.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::proc_table::{ProcTable, ProcessId};

/// How long a hunt goes on, in all. Killed processes are gone within milliseconds; one that is stuck in the
/// kernel (a dead network mount) may never go, and nobody should wait for that.
const HUNT_LIMIT: Duration = Duration::from_secs(5);

/// The pause before looking whether the killed ones are gone.
const HUNT_PAUSE: Duration = Duration::from_millis(2);

/// What a hunt did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KillReport {
    /// Every process that was sent SIGKILL.
    pub killed: Vec<u32>,
    /// Those that were still there when the time was up: stuck in the kernel.
    pub survivors: Vec<u32>,
}

impl KillReport {
    pub(crate) fn merge(&mut self, other: Self) {
        self.killed.extend(other.killed);
        self.survivors.extend(other.survivors);
    }
}

/// Kills `pid` and everything below it.
///
/// Every process found is stopped first, parents before children, until a look finds nobody new: a stopped
/// process cannot fork, so nobody slips away. Then all are killed, leaves first. Blocks, for milliseconds as
/// a rule.
///
/// A descendant whose parent died **before** this call is not below `pid` any more; see
/// [`kill_by_env_marker`].
pub fn kill_tree(pid: u32) -> KillReport {
    hunt(|table| table.tree(pid))
}

/// Kills every process of this user that was started with `key=value` in its environment, except this process
/// and those above it.
///
/// Finds what a dead supervisor left behind, provided it gave its children a variable of their own.
pub fn kill_by_env_marker(key: &str, value: &str) -> KillReport {
    let entry = format!("{key}={value}").into_bytes();
    hunt(|table| {
        let spared = table.own_line();
        table.with_env(&entry).into_iter().filter(|id| !spared.contains(&id.pid)).collect()
    })
}

/// Stops `pid` and everything below it, until nobody new is found.
///
/// Returns how many were stopped. [`thaw_tree`] lets them go on.
pub fn freeze_tree(pid: u32) -> usize {
    stop(&|table| table.tree(pid), Instant::now() + HUNT_LIMIT).len()
}

/// Lets a frozen tree go on.
pub fn thaw_tree(pid: u32) {
    thaw(ProcTable::read().tree(pid));
}

/// The root of a tree, which no later process under the same number is taken for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Root(Option<ProcessId>);

impl Root {
    /// The process that has this number now. It must not have been waited for yet.
    pub(crate) fn of(pid: u32) -> Self {
        Self(ProcessId::of(pid))
    }

    pub(crate) fn kill(self) -> KillReport {
        hunt(|table| self.members(table))
    }

    pub(crate) fn freeze(self) -> usize {
        stop(&|table| self.members(table), Instant::now() + HUNT_LIMIT).len()
    }

    pub(crate) fn thaw(self) {
        thaw(self.members(&ProcTable::read()));
    }

    fn members(self, table: &ProcTable) -> Vec<ProcessId> {
        self.0.map(|id| table.tree_of(id)).unwrap_or_default()
    }
}

type Find<'a> = &'a dyn Fn(&ProcTable) -> Vec<ProcessId>;

fn thaw(members: Vec<ProcessId>) {
    // Children first, so that none of them is awaited by a parent that is awake already.
    for id in members.into_iter().rev() {
        id.signal(Signal::CONT);
    }
}

/// Stops what `find` finds until it finds nobody new. Returns them, parents before children.
fn stop(find: Find<'_>, deadline: Instant) -> Vec<ProcessId> {
    let mut stopped = Vec::new();
    loop {
        let fresh: Vec<_> = find(&ProcTable::read()).into_iter().filter(|id| !stopped.contains(id)).collect();
        if fresh.is_empty() || Instant::now() > deadline {
            return stopped;
        }
        for id in fresh {
            id.signal(Signal::STOP);
            stopped.push(id);
        }
    }
}

fn hunt(find: impl Fn(&ProcTable) -> Vec<ProcessId>) -> KillReport {
    let deadline = Instant::now() + HUNT_LIMIT;
    let mut all = BTreeSet::new();
    loop {
        let found = stop(&find, deadline);
        for id in found.iter().rev() {
            id.signal(Signal::KILL);
        }
        all.extend(found.iter().copied());
        let alive: Vec<_> = all.iter().filter(|id| id.is_alive()).map(|id| id.pid).collect();
        if (alive.is_empty() && found.is_empty()) || Instant::now() > deadline {
            return KillReport { killed: all.iter().map(|id| id.pid).collect(), survivors: alive };
        }
        thread::sleep(HUNT_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// A shell with a child in a session of its own, which has a child again.
    fn family(marker: &str) -> std::process::Child {
        Command::new("sh")
            .args(["-c", "setsid sh -c 'sleep 300 & wait' & echo ready; wait"])
            .env("TREE_TEST", marker)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn members(marker: &str) -> usize {
        ProcTable::read().with_env(format!("TREE_TEST={marker}").as_bytes()).len()
    }

    fn await_members(marker: &str, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while members(marker) != count {
            assert!(Instant::now() < deadline, "{} instead of {count} processes", members(marker));
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_child_in_another_session_dies_with_the_tree() {
        let mut root = family("tree");
        await_members("tree", 3);
        let report = kill_tree(root.id());
        assert_eq!(report.killed.len(), 3);
        assert_eq!(report.survivors, Vec::<u32>::new());
        root.wait().unwrap();
        assert_eq!(members("tree"), 0);
    }

    #[test]
    fn orphans_are_found_by_their_marker() {
        let mut root = family("orphans");
        await_members("orphans", 3);
        root.kill().unwrap();
        root.wait().unwrap();
        assert_eq!(kill_tree(root.id()).killed.len(), 0, "the tree is not theirs any more");
        assert_eq!(kill_by_env_marker("TREE_TEST", "orphans").killed.len(), 2);
        assert_eq!(members("orphans"), 0);
    }

    #[test]
    fn a_marker_must_match_whole() {
        let mut root = family("whole-1");
        await_members("whole-1", 3);
        assert_eq!(kill_by_env_marker("TREE_TEST", "whole").killed.len(), 0);
        assert_eq!(kill_by_env_marker("REE_TEST", "whole-1").killed.len(), 0);
        kill_tree(root.id());
        root.wait().unwrap();
    }

    #[test]
    fn a_frozen_tree_goes_on_when_thawed() {
        let mut root = Command::new("sh").args(["-c", "sleep 0.2; exit 7"]).spawn().unwrap();
        assert!(freeze_tree(root.id()) >= 1);
        thread::sleep(Duration::from_millis(400));
        assert!(root.try_wait().unwrap().is_none(), "it is frozen");
        thaw_tree(root.id());
        assert_eq!(root.wait().unwrap().code(), Some(7));
    }
}
