//! A gateway for tests: a script behind it, a record in memory, on a port of its own.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use holdpoint_gateway::{MemoryRecorder, Script, testing};
//!
//! let script = Script::parse("scenes: [{turns: [[{text: hello}]]}]", "inline").expect("script");
//! let recorder = MemoryRecorder::new();
//! let (base_url, handle) = testing::test_server(script, recorder.clone()).await?;
//! // ANTHROPIC_BASE_URL=base_url, ANTHROPIC_API_KEY=anything
//! assert_eq!(handle.journal().answered(), 0);
//! handle.stop().await;
//! # Ok(()) }
//! ```

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt as _, future::BoxFuture};
use holdpoint_model::{ExecutionId, Incarnation};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use uuid::Uuid;

use crate::{
    Gateway, MemoryRecorder, Rehearsal, Script, Ticket, Tickets, TicketsError, Upstream,
    rehearsal::{Always, Journal},
};

/// Takes any token. `<execution>.<incarnation>` (see [`TestTickets::token`]) means just that; anything
/// else is incarnation 1 of an execution that the token's text stands for ([`TestTickets::execution`]).
#[derive(Debug, Clone, Default)]
pub struct TestTickets {
    fences: Arc<Mutex<HashMap<ExecutionId, Incarnation>>>,
}

impl TestTickets {
    /// A token for this incarnation.
    #[must_use]
    pub fn token(execution: ExecutionId, incarnation: Incarnation) -> String {
        format!("{execution}.{incarnation}")
    }

    /// The execution that a token without one stands for.
    #[must_use]
    pub fn execution(token: &str) -> ExecutionId {
        ExecutionId(Uuid::new_v5(&Uuid::NAMESPACE_OID, token.as_bytes()))
    }

    /// Refuses every incarnation of `execution` below `incarnation` from now on.
    pub fn fence(&self, execution: ExecutionId, incarnation: Incarnation) {
        self.fences.lock().unwrap_or_else(PoisonError::into_inner).insert(execution, incarnation);
    }
}

impl Tickets for TestTickets {
    fn check<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<Ticket>, TicketsError>> {
        let named = token
            .split_once('.')
            .and_then(|(execution, incarnation)| Some((execution.parse().ok()?, incarnation.parse().ok()?)));
        let (execution, incarnation) = named.unwrap_or_else(|| (Self::execution(token), 1));
        let fence = self.fences.lock().unwrap_or_else(PoisonError::into_inner).get(&execution).copied();
        let acts = fence.is_none_or(|fence| incarnation >= fence);
        let ticket =
            Ticket { execution, incarnation, rehearsal_script: Some("test".into()), place: String::new() };
        std::future::ready(Ok(acts.then_some(ticket))).boxed()
    }
}

/// A served gateway. Dropping it ends it at once.
#[derive(Debug)]
pub struct TestHandle {
    address: SocketAddr,
    tickets: TestTickets,
    journal: Journal,
    gateway: Gateway,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

impl TestHandle {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every call that reached the script: the upstream's own count.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Its tickets, to fence incarnations with.
    #[must_use]
    pub fn tickets(&self) -> &TestTickets {
        &self.tickets
    }

    /// The gateway itself.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Takes no new connections, and waits until every call is recorded.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        self.server.abort();
        self.gateway.drained().await;
    }
}

impl Drop for TestHandle {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Serves `script` on a loopback port; returns the base URL for `ANTHROPIC_BASE_URL`.
///
/// # Errors
/// When no port can be had.
pub async fn test_server(script: Script, recorder: MemoryRecorder) -> io::Result<(String, TestHandle)> {
    let journal = Journal::memory();
    let rehearsal = Rehearsal::new(Always(Arc::new(script)), journal.clone());
    serve(Arc::new(rehearsal), recorder, journal).await
}

/// Serves any upstream the same way. `journal` is what the handle shows; its upstream has to write it.
///
/// # Errors
/// When no port can be had.
pub async fn serve(
    upstream: Arc<dyn Upstream>,
    recorder: MemoryRecorder,
    journal: Journal,
) -> io::Result<(String, TestHandle)> {
    let tickets = TestTickets::default();
    let gateway = Gateway::new(Arc::new(tickets.clone()), Arc::new(recorder), upstream);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let router = crate::router(gateway.clone());
    let server = tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        if let Err(error) = served.await {
            tracing::error!(%error, "the test gateway ended");
        }
    });
    let handle = TestHandle { address, tickets, journal, gateway, stop: Some(stop), server };
    Ok((format!("http://{address}"), handle))
}
