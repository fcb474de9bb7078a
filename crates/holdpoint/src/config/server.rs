//! `[server]`: how others than this machine reach the panel.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use ipnet::IpNet;

use super::file::ServerTable;

/// The port of panel and API over TLS.
pub const DEFAULT_TLS_PORT: u16 = 3443;

/// How others reach the panel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Over TLS, beside the plain address.
    pub tls: Option<Tls>,
}

/// Panel and API over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate with what leads up to it, as PEM.
    pub cert: PathBuf,
    /// Its key, as PEM.
    pub key: PathBuf,
    /// Where to listen.
    pub address: SocketAddr,
}

impl Server {
    /// Of a table that was checked, whose relative paths start at `folder`.
    pub(super) fn resolve(table: ServerTable, folder: &Path) -> Self {
        let tls = table.tls.map(|tls| Tls {
            cert: folder.join(tls.cert),
            key: folder.join(tls.key),
            address: SocketAddr::new(
                tls.host.unwrap_or(Ipv4Addr::LOCALHOST.into()),
                tls.port.unwrap_or(DEFAULT_TLS_PORT),
            ),
        });
        let trusted_proxies = table.trusted_proxies.iter().filter_map(|net| network(net)).collect();
        Self { trusted_proxies, tls }
    }
}

/// A network as in `10.0.0.0/8`, or a single address.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
