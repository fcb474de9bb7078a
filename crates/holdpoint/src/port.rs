//! A port that cannot be listened on: who has it, and what to do.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr, TcpListener},
};

use crate::failure::Failure;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its id.
    pub pid: i32,
    /// Its command line, shortened.
    pub command: String,
}

/// Checks that the address can be listened on, before anything that takes long.
///
/// # Errors
/// When it cannot; says who has it.
pub fn check(address: SocketAddr) -> Result<(), Failure> {
    // The same option as tokio's listener has, or a port whose connections linger would seem taken.
    TcpListener::bind(address).map(drop).map_err(|error| cannot_listen(address, &error))
}

/// Why `address` cannot be listened on: by whom it is taken, and which flag chooses another.
#[must_use]
pub fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    explain(address, error, owner(address.port()))
}

fn explain(address: SocketAddr, error: &io::Error, owner: Option<Owner>) -> Failure {
    let port = address.port();
    let failure = Failure::new(format!("failed to listen on {address}"));
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let failure = match &owner {
                Some(Owner { pid, command }) => {
                    failure.why(format!("port {port} is taken by process {pid}: {command}"))
                }
                None => failure.why(format!("port {port} is taken by a process of somebody else")),
            };
            let failure = failure
                .next(format!("holdpoint up --port {}     (another port; 0 takes any)", next_port(port)));
            match owner {
                Some(Owner { pid, command }) if command.contains("holdpoint") => failure
                    .next(format!("kill -INT {pid}               (if that is a Holdpoint you want to stop)")),
                _ => failure,
            }
        }
        io::ErrorKind::PermissionDenied => failure
            .why(format!("you may not listen on port {port}; ports below 1024 are for root"))
            .next("holdpoint up --port 3370"),
        io::ErrorKind::AddrNotAvailable => failure
            .why(format!("{} is no address of this machine", address.ip()))
            .next("holdpoint up --host 127.0.0.1"),
        _ => failure.why(error),
    }
}

fn next_port(port: u16) -> u16 {
    port.checked_add(1).unwrap_or(crate::config::DEFAULT_PORT)
}

/// The process that listens on a port, where the system tells (Linux, and only our own processes).
#[must_use]
pub fn owner(port: u16) -> Option<Owner> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(open) = fs::read_dir(process.path().join("fd")) else { continue };
        let has_it = open
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|target| wanted.iter().any(|wanted| target.as_os_str() == wanted.as_str()));
        if has_it {
            return Some(Owner { pid, command: command_of(pid) });
        }
    }
    None
}

/// The sockets that listen on `port`, out of the kernel's table.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
            (*state == LISTEN && local.ends_with(&suffix)).then(|| (*inode).to_owned())
        })
        .collect()
}

/// The longest command line shown.
const MAX_COMMAND: usize = 80;

/// A process's command line, shortened.
#[must_use]
pub fn command_of(pid: i32) -> String {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&raw).replace('\0', " ");
    let text = text.trim();
    if text.chars().count() > MAX_COMMAND {
        let cut: String = text.chars().take(MAX_COMMAND).collect();
        return format!("{cut}…");
    }
    text.to_owned()
}

/// The address as people type it on this machine.
#[must_use]
pub fn is_local(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_the_process_and_the_flag() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("free port");
        let address = listener.local_addr().expect("address");
        let failure = check(address).expect_err("taken").to_string();
        let pid = std::process::id();
        assert!(
            failure.contains(&format!("port {} is taken by process {pid}: ", address.port())),
            "{failure}"
        );
        assert!(failure.contains("holdpoint up --port "), "{failure}");
        drop(listener);
        check(address).expect("free again");
    }

    #[test]
    fn other_reasons_are_told_apart() {
        let address: SocketAddr = "127.0.0.1:3370".parse().expect("address");
        let owner = || Some(Owner { pid: 7, command: "holdpoint up".into() });
        let kinds = [
            (io::ErrorKind::AddrInUse, owner()),
            (io::ErrorKind::AddrInUse, None),
            (io::ErrorKind::PermissionDenied, None),
            (io::ErrorKind::AddrNotAvailable, None),
        ];
        let all: Vec<String> = kinds
            .into_iter()
            .map(|(kind, owner)| explain(address, &kind.into(), owner).to_string())
            .collect();
        insta::assert_snapshot!(all.join("\n\n"));
    }

    #[test]
    fn the_kernels_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:0D2A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1\n   1: 0100007F:0D2A 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 12346 1\n";
        assert_eq!(listening_inodes(table, 3370), ["12345"]);
        assert!(listening_inodes(table, 1).is_empty());
    }
}
