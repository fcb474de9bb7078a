//! The processes of a conversation, told apart, and its connections.

use std::{collections::HashSet, fs, path::Path};

use rustix::{
    fd::AsFd as _,
    net::Shutdown,
    process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open},
};

use crate::processes::{self, Part};

/// What of a conversation runs right now.
#[derive(Clone, Debug, Default)]
pub(super) struct Processes {
    pub(super) workers: Vec<u32>,
    pub(super) clis: Vec<u32>,
    /// The first processes of containers: with one of them the whole container ends.
    pub(super) firsts: Vec<u32>,
    /// What the CLI has started.
    pub(super) children: Vec<u32>,
}

impl Processes {
    pub(super) fn of(execution: &str) -> Self {
        let workers = processes::of(execution, Part::Worker);
        let (clis, children): (Vec<u32>, Vec<u32>) = processes::of(execution, Part::Session)
            .into_iter()
            .partition(|pid| parent(*pid).is_some_and(|parent| workers.contains(&parent)) || is_cli(*pid));
        let parents = clis.iter().filter(|pid| is_cli(**pid)).filter_map(|pid| parent(*pid));
        let firsts = parents.filter(|pid| !workers.contains(pid)).collect();
        Self { workers, clis, firsts, children }
    }

    pub(super) fn all(&self) -> Vec<u32> {
        [self.workers.as_slice(), &self.clis, &self.firsts, &self.children].concat()
    }
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name may itself hold parentheses and spaces.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn is_cli(pid: u32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe"))
        .is_ok_and(|program| program.file_name().is_some_and(|name| name == "claude"))
}

/// Lets a stopped process go on.
pub(super) fn go_on(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::CONT);
    }
}

/// Cuts every connection of a process to a port of this machine, as a network would: both ends see it
/// closed, neither asked for it. Returns how many; none where the system does not let us.
pub(super) fn cut(pid: u32, port: u16) -> usize {
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return 0 };
    let Ok(process) = pidfd_open(raw, PidfdFlags::empty()) else { return 0 };
    let sockets = sockets_to(port);
    let mut cut = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let is_ours = inode(&entry.path()).is_some_and(|inode| sockets.contains(&inode));
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if is_ours
            && let Ok(socket) = pidfd_getfd(process.as_fd(), number, PidfdGetfdFlags::empty())
            && rustix::net::shutdown(&socket, Shutdown::Both).is_ok()
        {
            cut += 1;
        }
    }
    cut
}

fn inode(link: &Path) -> Option<u64> {
    let target = fs::read_link(link).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The sockets that are connected to a port: what `/proc/net/tcp` says.
fn sockets_to(port: u16) -> HashSet<u64> {
    const ESTABLISHED: &str = "01";
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let remote = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let fits = fields.get(2)?.ends_with(&remote) && *fields.get(3)? == ESTABLISHED;
            fits.then(|| fields.get(9)?.parse().ok()).flatten()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn a_connection_is_cut_at_both_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = listener.local_addr().expect("address").port();
        let mut near = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        let (mut far, _) = listener.accept().expect("accept");
        near.write_all(b"x").expect("it works before");
        let cut = cut(std::process::id(), port);
        if cut == 0 {
            eprintln!("this system does not let us cut connections");
            return;
        }
        assert_eq!(cut, 1);
        assert!(near.write_all(b"y").is_err(), "the near end can still write");
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).expect("the far end sees the end");
        assert_eq!(rest, b"x");
    }
}
