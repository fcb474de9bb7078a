//! What every handler gets.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use holdpoint_control::Control;
use holdpoint_model::UnixMs;
use holdpoint_store::Store;
use ipnet::IpNet;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{auth::Throttle, limits, tail::Tails};

/// How many model calls there are right now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// They wait in the line upstream.
    pub waiting: usize,
    /// They are under way.
    pub under_way: usize,
}

/// What the router is made of. Cheap to clone.
#[derive(Clone)]
pub struct WebState {
    /// The control plane.
    pub control: Control,
    /// Where people reach the panel, without a slash at its end: `https://holdpoint.example`.
    pub base_url: Arc<str>,
    /// Shown in `/health` and `/v1/status`.
    pub version: Arc<str>,
    /// Cancelled when the server goes down: streams end then, so that it can.
    pub closing: CancellationToken,
    /// Wall-clock milliseconds.
    pub now: fn() -> UnixMs,
    pub(crate) traffic: Option<Arc<dyn Fn() -> Traffic + Send + Sync>>,
    pub(crate) proxies: Arc<[IpNet]>,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) hashing: Arc<Semaphore>,
    /// The ends of the logs that are followed right now.
    pub(crate) tails: Tails,
}

impl fmt::Debug for WebState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebState").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

impl WebState {
    /// With the machine's clock and streams that end with the process.
    #[must_use]
    pub fn new(control: Control, base_url: &str) -> Self {
        Self {
            control,
            base_url: base_url.trim_end_matches('/').into(),
            version: env!("CARGO_PKG_VERSION").into(),
            closing: CancellationToken::new(),
            now: system_now,
            traffic: None,
            proxies: Arc::from([]),
            throttle: Arc::default(),
            hashing: Arc::new(Semaphore::new(limits::HASHES_AT_ONCE)),
            tails: Tails::default(),
        }
    }

    /// Streams end when `closing` is cancelled.
    #[must_use]
    pub fn closing(mut self, closing: CancellationToken) -> Self {
        self.closing = closing;
        self
    }

    /// Where operators see how many model calls there are: whoever stands upstream is asked.
    #[must_use]
    pub fn traffic(mut self, traffic: impl Fn() -> Traffic + Send + Sync + 'static) -> Self {
        self.traffic = Some(Arc::new(traffic));
        self
    }

    /// What proxies at these addresses say of a request (`X-Forwarded-For`, `X-Forwarded-Proto`) is believed.
    #[must_use]
    pub fn proxies(mut self, proxies: Vec<IpNet>) -> Self {
        self.proxies = proxies.into();
        self
    }

    pub(crate) fn store(&self) -> &Store {
        self.control.store()
    }

    pub(crate) fn now(&self) -> UnixMs {
        (self.now)()
    }

    /// Whether browsers reach us over TLS, so that cookies may demand it.
    pub(crate) fn is_https(&self) -> bool {
        self.base_url.starts_with("https://")
    }
}

fn system_now() -> UnixMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs::try_from(since_epoch.as_millis()).unwrap_or(UnixMs::MAX)
}
