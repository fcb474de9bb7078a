//! How a request came in: from which address, and whether over TLS.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::{Extensions, HeaderMap, header, request::Parts};
use ipnet::IpNet;

use crate::{limits, state::WebState};

/// Put beside each request that came over TLS to us ourselves.
#[derive(Clone, Copy, Debug)]
pub struct OverTls;

/// How a request came in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Via {
    /// The address that it came from, as far as that is known.
    pub(crate) address: Option<IpAddr>,
    /// Between us and the browser nobody reads along.
    pub(crate) https: bool,
    /// What it says that it is.
    pub(crate) browser: String,
}

impl Via {
    /// What a proxy says is believed of those that we were told to trust alone: others can write anything.
    pub(crate) fn of(proxies: &[IpNet], extensions: &Extensions, headers: &HeaderMap) -> Self {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip().to_canonical());
        let is_trusted = |address: IpAddr| proxies.iter().any(|net| net.contains(&address));
        let from_proxy = peer.is_some_and(is_trusted);
        let over_tls = extensions.get::<OverTls>().is_some();
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        Self {
            address: if from_proxy { peer.map(|peer| client(peer, headers, is_trusted)) } else { peer },
            https: over_tls || from_proxy && last_of(headers, "x-forwarded-proto") == Some("https"),
            browser: agent.chars().take(limits::BROWSER_CHARS).collect(),
        }
    }

    /// The address as it is written.
    pub(crate) fn address(&self) -> Option<String> {
        self.address.map(|address| address.to_string())
    }
}

/// The last address that a proxy of ours has seen: each adds its peer at the end, and whatever is before the
/// first that is not ours, anybody may have written.
fn client(peer: IpAddr, headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let lines = headers.get_all("x-forwarded-for").iter().rev().filter_map(|line| line.to_str().ok());
    let mut last = peer;
    for entry in lines.flat_map(|line| line.rsplit(',')) {
        let Some(address) = address(entry.trim()) else { return last };
        last = address;
        if !is_trusted(last) {
            return last;
        }
    }
    last
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.trim_start_matches('[').trim_end_matches(']');
    let parsed = plain.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    parsed.ok().map(|address: IpAddr| address.to_canonical())
}

fn last_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let line = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    line.rsplit(',').next().map(str::trim)
}

impl FromRequestParts<WebState> for Via {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&state.proxies, &parts.extensions, &parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// 10.0.0.0/8 is ours.
    #[rstest]
    #[case::nobody("203.0.113.9", &[], "", "203.0.113.9", false)]
    #[case::a_stranger_writes("203.0.113.9", &["198.51.100.1"], "https", "203.0.113.9", false)]
    #[case::our_proxy("10.0.0.1", &["198.51.100.1"], "https", "198.51.100.1", true)]
    #[case::plain("10.0.0.1", &["198.51.100.1"], "http", "198.51.100.1", false)]
    #[case::written_before("10.0.0.1", &["6.6.6.6, 198.51.100.1"], "https", "198.51.100.1", true)]
    #[case::two_of_ours("10.0.0.1", &["6.6.6.6, 198.51.100.1", "10.0.0.2"], "", "198.51.100.1", false)]
    #[case::all_ours("10.0.0.1", &["10.0.0.3"], "", "10.0.0.3", false)]
    #[case::nonsense("10.0.0.1", &["198.51.100.1, <script>"], "", "10.0.0.1", false)]
    #[case::with_port("10.0.0.1", &["198.51.100.1:4711"], "", "198.51.100.1", false)]
    #[case::six("10.0.0.1", &["[2001:db8::1]:443"], "", "2001:db8::1", false)]
    #[case::mapped("::ffff:10.0.0.1", &["2001:db8::1"], "", "2001:db8::1", false)]
    #[case::told_twice("10.0.0.1", &[], "https, http", "10.0.0.1", false)]
    fn only_our_proxies_are_believed(
        #[case] peer: &str,
        #[case] forwarded: &[&str],
        #[case] proto: &str,
        #[case] address: &str,
        #[case] https: bool,
    ) {
        let proxies = ["10.0.0.0/8".parse().expect("net")];
        let mut extensions = Extensions::new();
        let ip: IpAddr = peer.parse().expect("peer");
        extensions.insert(ConnectInfo(SocketAddr::new(ip, 1)));
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().expect("header"));
        }
        if !proto.is_empty() {
            headers.insert("x-forwarded-proto", proto.parse().expect("header"));
        }
        let via = Via::of(&proxies, &extensions, &headers);
        assert_eq!((via.address().as_deref(), via.https), (Some(address), https));
        extensions.insert(OverTls);
        assert!(Via::of(&[], &extensions, &headers).https);
    }
}
