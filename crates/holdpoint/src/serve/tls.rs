//! The panel and the API over TLS, beside the plain listener that this machine uses: workers, sessions and the
//! terminal. What a certificate is renewed to is used without a restart.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::serve::Listener;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
    server::TlsStream,
};
use tracing::{debug, info, warn};

use crate::config::Tls;

/// How long a client has to finish its handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Handshakes at once: each costs a little memory, and a client that says nothing holds its own until its time
/// is over.
const HANDSHAKES: usize = 256;

/// How often the files of the certificate are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long to wait when no connection can be taken, for want of file descriptors for instance.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Connections that have shaken hands.
pub(super) struct TlsListener {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl TlsListener {
    /// Listens.
    ///
    /// # Errors
    /// When the certificate or its key cannot be used, or the address not be listened on.
    pub(super) async fn bind(tls: &Tls) -> anyhow::Result<Self> {
        let acceptor = acceptor(&tls.cert, &tls.key)?;
        let listener = TcpListener::bind(tls.address)
            .await
            .map_err(|error| super::admin::cannot_listen(tls.address, &error))?;
        let address = listener.local_addr()?;
        let (tell, current) = watch::channel(acceptor);
        let (hand_over, ready) = mpsc::channel(1);
        tokio::spawn(follow(tls.clone(), tell));
        tokio::spawn(accept(listener, current, hand_over));
        Ok(Self { address, ready })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The other side ends with the runtime alone.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

/// Takes connections; a slow handshake keeps nobody else waiting.
async fn accept(
    listener: TcpListener,
    current: watch::Receiver<TlsAcceptor>,
    hand_over: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, peer) = tokio::select! {
            () = hand_over.closed() => return,
            taken = listener.accept() => match taken {
                Ok(taken) => taken,
                Err(error) => {
                    warn!(%error, "failed to take a connection");
                    tokio::time::sleep(RETRY_AFTER).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let (acceptor, hand_over) = (current.borrow().clone(), hand_over.clone());
        tokio::spawn(async move {
            let shaken = timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await;
            drop(place);
            match shaken {
                Ok(Ok(stream)) => drop(hand_over.send((stream, peer)).await),
                Ok(Err(error)) => debug!(%peer, %error, "a handshake failed"),
                Err(_) => debug!(%peer, "a handshake took too long"),
            }
        });
    }
}

/// Reads the certificate again when its files have changed. One that cannot be used leaves the old one.
async fn follow(tls: Tls, tell: watch::Sender<TlsAcceptor>) {
    let mut known = modified(&tls);
    loop {
        tokio::select! {
            () = tell.closed() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = modified(&tls);
        if now == known {
            continue;
        }
        known = now;
        match acceptor(&tls.cert, &tls.key) {
            Ok(acceptor) => {
                info!(cert = %tls.cert.display(), "a new certificate is used");
                tell.send_replace(acceptor);
            }
            Err(error) => warn!(error = format!("{error:#}"), "the old certificate is used on"),
        }
    }
}

fn modified(tls: &Tls) -> [Option<std::time::SystemTime>; 2] {
    [&tls.cert, &tls.key].map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
}

fn acceptor(cert: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let failed = |what: &str, path: &Path| format!("failed to read the {what} in {}", path.display());
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| failed("certificate", cert))?;
    anyhow::ensure!(!chain.is_empty(), "there is no certificate in {}", cert.display());
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| failed("key", key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| format!("the certificate in {} and its key do not fit", cert.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
