//! The way to the model: from a port on loopback to the gateway's socket. It is the only way out of a
//! container without a network.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream};

use crate::{GATEWAY_SOCKET, socket};

/// Connections at once. The CLI has a few; whoever opens more in a container waits.
const MOST: usize = 64;

/// Listens, and forwards for as long as this process lives.
pub(super) async fn listen(port: u16, gateway: PathBuf, alone: Option<Alone>) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("failed to listen on port {port} in the container"))?;
    let places = Arc::new(tokio::sync::Semaphore::new(MOST));
    tokio::spawn(async move {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let Ok((stream, from)) = listener.accept().await else { continue };
            if alone.as_ref().is_some_and(|alone| !alone.has(from)) {
                continue;
            }
            let gateway = gateway.clone();
            tokio::spawn(async move {
                // The caller sees a closed connection, as when the gateway is away, and tries again.
                let _ = forward(stream, gateway).await;
                drop(place);
            });
        }
    });
    Ok(())
}

/// The one process that is let through.
#[derive(Clone, Debug, Default)]
pub(super) struct Alone(Arc<OnceLock<u32>>);

impl Alone {
    pub(super) fn is(&self, pid: u32) {
        let _ = self.0.set(pid);
    }

    /// Whether the connection from this address is that process's: the kernel's table has the number of the
    /// socket, the process's descriptors have it, too.
    fn has(&self, from: SocketAddr) -> bool {
        let (Some(pid), SocketAddr::V4(from)) = (self.0.get(), from) else { return false };
        let table = fs::read_to_string("/proc/self/net/tcp").unwrap_or_default();
        let address = format!("{:08X}:{:04X}", u32::from_ne_bytes(from.ip().octets()), from.port());
        let Some(inode) = inode_of(&table, &address) else { return false };
        let socket = format!("socket:[{inode}]");
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok())
            .any(|link| link.as_os_str() == socket.as_str())
    }
}

/// The number of the socket with this local address, in the kernel's table
/// (<https://docs.kernel.org/networking/proc_net_tcp.html>).
fn inode_of<'a>(table: &'a str, address: &str) -> Option<&'a str> {
    let fields = table.lines().map(|line| line.split_whitespace());
    fields.filter(|fields| fields.clone().nth(1) == Some(address)).find_map(|mut fields| fields.nth(9))
}

async fn forward(mut from: TcpStream, gateway: PathBuf) -> std::io::Result<()> {
    // The model's words come in small pieces: none is to wait for the next.
    from.set_nodelay(true)?;
    let mut to = socket::connect(&gateway, GATEWAY_SOCKET).await?;
    tokio::io::copy_bidirectional(&mut from, &mut to).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_known_by_its_process() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listen");
        let address = listener.local_addr().expect("address");
        let (here, there) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (_here, (_there, from)) = (here.expect("connect"), there.expect("accept"));
        let alone = Alone::default();
        assert!(!alone.has(from), "nobody is let through before the program runs");
        alone.is(std::process::id());
        assert!(alone.has(from));
        let other = Alone::default();
        other.is(1);
        assert!(!other.has(from));
    }
}
