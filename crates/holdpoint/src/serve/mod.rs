//! The control plane as one process: the store, the reconciler, the gateway and the web, put together.

mod admin;
mod models;
mod people;
mod place;
mod record;
mod secret;
mod sessions;
mod tickets;
mod tls;

use std::{
    collections::{BTreeMap, HashSet},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use axum::{Extension, Router, serve::ListenerExt as _};
use holdpoint_containers::ConnectOptions;
use holdpoint_control::{Control, ControlOptions, Layout, Outlets, ReadAgents, Shutdown, Tokens};
use holdpoint_engine::{Engine, ProcessEngine, WorkerId};
use holdpoint_gateway::Gateway;
use holdpoint_model::{ReleaseNumber, UnixMs, container, image};
use holdpoint_store::{Hint, Store, StoreOptions};
use holdpoint_web::{OverTls, Traffic, WebState};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::{
    net::TcpListener,
    signal::unix::SignalKind,
    sync::broadcast,
    task::{JoinError, JoinHandle},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use admin::{create_link, create_token, list_tokens, revoke_token};
pub use people::TokenWish;
pub use place::ways_back;
pub use sessions::Isolation;
pub(crate) use sessions::image_of_sessions;

use crate::{
    config::{Config, Overrides},
    data::{ControlFile, DataDir, DataLock},
    env::Environment,
    left,
};

/// Where in the router sessions find their model.
const GATEWAY_PATH: &str = "/gateway";

/// How long model calls that are under way may take to be recorded when the control plane ends.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);

/// How long open connections may take to close.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// Everything that `run` needs.
#[derive(Debug)]
pub struct Plan {
    /// The configuration.
    pub config: Config,
    /// The data folder, which exists.
    pub data: DataDir,
    /// The Claude CLI's program file.
    pub cli: PathBuf,
    /// `PATH` for workers and sessions.
    pub path: String,
    /// How to reach a container engine.
    pub connect: ConnectOptions,
    /// The data folder goes when the control plane does: no worker may outlive it.
    pub is_passing: bool,
}

/// What is running, once it answers.
#[derive(Clone, Debug)]
pub struct Running {
    /// The panel's address.
    pub url: String,
    /// A one-time link that makes the first admin, until there is one.
    pub first_link: Option<String>,
    /// A script answers instead of a model.
    pub rehearsal: bool,
    /// Workers that were found alive.
    pub adopted: usize,
    /// What is between sessions and this machine.
    pub isolation: Isolation,
    /// The release that new conversations run on, once anything was deployed.
    pub release: Option<Deployed>,
}

/// The release that new conversations run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// Its number.
    pub number: ReleaseNumber,
    /// Its agents are not those of the configuration any more.
    pub is_behind: bool,
}

/// Why the control plane ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Ctrl-C or `holdpoint down`: workers are parked, nothing stays behind.
    Down,
    /// SIGTERM: the service manager restarts us; workers go on and are adopted.
    Restart,
}

/// Runs the control plane until it is told to end, by a signal or by `stop`, which means the same as
/// Ctrl-C. The future has to be kept until it is ready: it is what ends the workers.
///
/// # Errors
/// When it cannot start; says why.
pub async fn run(plan: Plan, stop: CancellationToken, ready: impl FnOnce(&Running)) -> anyhow::Result<()> {
    let _lock: DataLock = plan.data.lock()?;
    hide_from_sessions();
    let address = SocketAddr::new(plan.config.host, plan.config.port);
    let listener = TcpListener::bind(address).await.map_err(|error| admin::cannot_listen(address, &error))?;
    let address = listener.local_addr()?;
    let budgets = Arc::new(plan.config.gateway.budgets.clone());
    let store =
        Store::open(&plan.data.database(), StoreOptions { budgets, ..StoreOptions::default() }).await?;
    place::same_as_before(&store, &plan.data).await?;
    let models = models::Models::new(&plan.config, &plan.data)?;
    // What is only tried out is nobody's business.
    let channels = if plan.is_passing { Vec::new() } else { plan.config.notify.channels()? };
    let rehearsal = models.rehearsal;
    let chosen = sessions::choose(&plan).await?;
    let control = control(&plan, store.clone(), address, rehearsal, chosen.engine)?;
    control.load_release().await?;
    store.fail_open_calls("the control plane ended before the response was whole").await?;

    let gateway = Gateway::new(
        Arc::new(tickets::StoreTickets::new(control.clone(), models.default_script())),
        Arc::new(record::StoreRecorder::new(store.clone())),
        models.upstream,
    )
    .with_rates(plan.config.gateway.rates);
    tokio::spawn(forget_what_ended(store.hints(), gateway.clone()));
    let closing = CancellationToken::new();
    let url = local_url("http", address);
    let tls = match &plan.config.server.tls {
        Some(tls) => Some(tls::TlsListener::bind(tls).await?),
        None => None,
    };
    let public = match (&plan.config.base_url, &tls) {
        (Some(base_url), _) => base_url.clone(),
        (None, Some(tls)) => local_url("https", tls.address()),
        (None, None) => url.clone(),
    };
    let gateway_routes = Router::new().nest(GATEWAY_PATH, holdpoint_gateway::router(gateway.clone()));
    let line = gateway.clone();
    let web = WebState::new(control.clone(), &public).closing(closing.clone()).traffic(move || {
        let (waiting, under_way) = line.line();
        Traffic { waiting, under_way }
    });
    let web = holdpoint_web::router(web.proxies(plan.config.server.trusted_proxies.clone()));
    // Sessions are on this machine: the gateway is not reached from elsewhere.
    let over_tls = web.clone().layer(Extension(OverTls));
    let router = gateway_routes.clone().merge(web);

    let (token, older) = people::terminal_token(&store).await?;
    plan.data.write_control(&ControlFile {
        url: url.clone(),
        pid: i32::try_from(std::process::id()).context("a process id")?,
        token,
    })?;
    for token in older {
        store.delete_token(token, people::terminal()).await?;
    }
    let first_link = people::first_link(&store, &public, now()).await?;
    let adopted = store.needing_attention().await?.len();

    let mut server = tokio::spawn({
        let closing = closing.clone();
        async move {
            axum::serve(
                listener.tap_io(|stream| {
                    let _ = stream.set_nodelay(true);
                }),
                router.into_make_service_with_connect_info::<SocketAddr>(),
            )
            .with_graceful_shutdown(async move { closing.cancelled().await })
            .await
        }
    });
    let mut tls_server = tls.map(|listener| {
        info!(address = %listener.address(), "listening over TLS");
        let (closing, service) =
            (closing.clone(), over_tls.into_make_service_with_connect_info::<SocketAddr>());
        tokio::spawn(async move {
            axum::serve(listener.tap_io(|_| {}), service)
                .with_graceful_shutdown(async move { closing.cancelled().await })
                .await
        })
    });
    if let Some(containers) = chosen.containers {
        let (listener, closing) = (sessions::listen(&plan.data)?, closing.clone());
        tokio::spawn(async move {
            axum::serve(listener, gateway_routes)
                .with_graceful_shutdown(async move { closing.cancelled().await })
                .await
        });
        tokio::spawn(sessions::reap(containers));
    }
    let mut reconciler = tokio::spawn({
        let control = control.clone();
        async move { control.run().await }
    });
    if plan.config.base_url.is_none() && !channels.is_empty() {
        warn!(
            "notifications link to {public}: set `base_url` to where people reach the panel from elsewhere"
        );
    }
    let mut announcer = tokio::spawn({
        let (control, outlets) = (control.clone(), Outlets { channels, base_url: public });
        async move { control.announce(outlets).await }
    });
    let release = control
        .release()
        .map(|stamp| Deployed { number: stamp.number, is_behind: *control.agents() != plan.config.agents });
    ready(&Running { url, first_link, rehearsal, adopted, isolation: chosen.isolation, release });
    let end = tokio::select! {
        end = asked_to_end() => end.map_err(Into::into),
        () = stop.cancelled() => Ok(End::Down),
        ended = &mut server => Err(by_itself("server", ended.map_err(Into::into).and_then(|ended| Ok(ended?)))),
        ended = ended(&mut tls_server) => {
            Err(by_itself("TLS server", ended.map_err(Into::into).and_then(|ended| Ok(ended?))))
        }
        ended = &mut reconciler => {
            Err(by_itself("reconciler", ended.map_err(Into::into).and_then(|ended| Ok(ended?))))
        }
        ended = &mut announcer => {
            Err(by_itself("announcer", ended.map_err(Into::into).and_then(|ended| Ok(ended?))))
        }
    };
    info!(?end, "ending");
    // Nobody is to begin anything here any more.
    plan.data.remove_control();
    let how = if plan.is_passing || matches!(end, Ok(End::Down)) {
        Shutdown::EndWorkers
    } else {
        Shutdown::LeaveWorkers
    };
    // Workers can still tell their last facts while they are being ended.
    control.shutdown(how).await;
    let _ = tokio::time::timeout(DRAIN_WITHIN, gateway.drained()).await;
    closing.cancel();
    if !server.is_finished() && tokio::time::timeout(CLOSE_WITHIN, &mut server).await.is_err() {
        server.abort();
    }
    if let Some(server) = &tls_server {
        server.abort();
    }
    store.close().await;
    end.map(|_| ())
}

/// When a server that there may be has ended.
async fn ended<T>(server: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    match server {
        Some(server) => server.await,
        None => std::future::pending().await,
    }
}

fn by_itself(what: &str, ended: anyhow::Result<()>) -> anyhow::Error {
    match ended {
        Ok(()) => anyhow::anyhow!("the {what} ended by itself"),
        Err(error) => error.context(format!("the {what} ended by itself")),
    }
}

/// Ends the workers of a data folder whose control plane is not running, and says how many they
/// were. What could not be ended is for the caller to look for.
///
/// # Errors
/// When the log cannot be read.
pub async fn end_left_behind(plan: Plan) -> anyhow::Result<usize> {
    let _lock: DataLock = plan.data.lock()?;
    plan.data.remove_control();
    let store = open(&plan.data).await?;
    // Without its worker a container ends by itself; what is left of it goes with the next start.
    let engine = Arc::new(ProcessEngine::new(PathBuf::new(), plan.path.clone()));
    let control = control(&plan, store.clone(), SocketAddr::new(plan.config.host, 0), false, engine)?;
    let (mut ended, still_there) = control.end_all_workers().await?;
    store.close().await;
    // The log may know nothing of what outlived its worker.
    let engine = ProcessEngine::new(PathBuf::new(), plan.path);
    let unknown: HashSet<WorkerId> = left::of(&plan.data).into_iter().map(|left| left.worker).collect();
    for id in unknown.into_iter().filter(|id| !still_there.contains(id)) {
        match engine.end(id).await {
            Ok(_) => ended += 1,
            Err(error) => warn!(worker = %id, %error, "failed to end what a worker left behind"),
        }
    }
    Ok(ended)
}

async fn open(data: &DataDir) -> anyhow::Result<Store> {
    Ok(Store::open(&data.database(), StoreOptions::default()).await?)
}

fn control(
    plan: &Plan,
    store: Store,
    address: SocketAddr,
    rehearsal: bool,
    engine: Arc<dyn Engine>,
) -> anyhow::Result<Control> {
    // Workers and sessions are on this machine, whatever address the panel is reached at.
    let loopback = SocketAddr::new(
        if address.ip().is_unspecified() { loopback_of(address) } else { address.ip() },
        address.port(),
    );
    // In a container the CLI and the way to the gateway are where the image and its first process have them.
    let (cli, gateway, path) = match engine.bridge() {
        Some(_) => (
            image::CLI_PATH.into(),
            format!("http://127.0.0.1:{}", container::GATEWAY_PORT),
            container::PATH.to_owned(),
        ),
        None => (plan.cli.clone(), format!("http://{loopback}"), plan.path.clone()),
    };
    let mut environment = BTreeMap::from([("PATH".to_owned(), path)]);
    environment.insert("LANG".into(), "C.UTF-8".into());
    Ok(Control::new(ControlOptions {
        store,
        engine,
        agents: plan.config.agents.clone(),
        read_agents: read_agents(plan),
        keep: plan.config.keep,
        layout: Layout::new(plan.data.root().to_owned()),
        checkpoints: plan.config.checkpoints.open(plan.data.root())?,
        tokens: Tokens::new(secret::load_or_make(plan.data.root())?),
        max_sessions: usize::try_from(plan.config.max_sessions).unwrap_or(usize::MAX),
        worker_url: format!("ws://{loopback}/worker/link"),
        gateway_url: format!("{gateway}{GATEWAY_PATH}"),
        cli,
        environment,
        rehearsal,
        now,
    }))
}

/// Reads the agents from the configuration as it is now.
fn read_agents(plan: &Plan) -> ReadAgents {
    let (file, data) = (plan.config.file.clone(), plan.data.clone());
    let at_start = plan.config.agents.clone();
    Arc::new(move || {
        // Without a file there is nothing that could have changed.
        let Some(file) = &file else { return Ok(at_start.clone()) };
        let nothing = (Environment::default(), Overrides::default());
        let config = Config::load(Some(file), &data, &nothing.0, &nothing.1);
        config.map(|config| config.agents).map_err(|failure| failure.to_string())
    })
}

fn loopback_of(address: SocketAddr) -> IpAddr {
    if address.is_ipv4() {
        std::net::Ipv4Addr::LOCALHOST.into()
    } else {
        std::net::Ipv6Addr::LOCALHOST.into()
    }
}

/// The address as people type it on this machine.
fn local_url(scheme: &str, address: SocketAddr) -> String {
    if address.ip().is_loopback() || address.ip().is_unspecified() {
        format!("{scheme}://localhost:{}", address.port())
    } else {
        format!("{scheme}://{address}")
    }
}

async fn asked_to_end() -> std::io::Result<End> {
    let mut interrupt = tokio::signal::unix::signal(SignalKind::interrupt())?;
    let mut terminate = tokio::signal::unix::signal(SignalKind::terminate())?;
    let mut hangup = tokio::signal::unix::signal(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => End::Down,
        _ = terminate.recv() => End::Restart,
        _ = hangup.recv() => {
            warn!("the terminal is gone: workers go on, `holdpoint up` adopts them");
            End::Restart
        }
    })
}

fn now() -> UnixMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs::try_from(since_epoch.as_millis()).unwrap_or(UnixMs::MAX)
}

/// Keeps what is in this process, the API key above all, from other processes of the same user: sessions
/// of the `process` engine could otherwise read its environment and memory. Root can do so anyway.
fn hide_from_sessions() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        warn!(%error, "this process cannot be hidden from others of the same user");
    }
}

/// Drops what the gateway holds in memory for executions that have ended.
async fn forget_what_ended(mut hints: broadcast::Receiver<Hint>, gateway: Gateway) {
    loop {
        match hints.recv().await {
            Ok(hint) if hint.status.is_final() => gateway.forget(hint.execution),
            // What was missed stays a little longer: bookkeeping of a few bytes.
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}
