//! `holdpoint inside`: the first process of a container.

mod child;
mod forward;
mod template;
mod watch;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixStream, unix::OwnedWriteHalf},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::{
    SESSION_SOCKET,
    frame::{Frame, FrameSink, Frames, Launch, MAX_CHUNK_BYTES},
    socket,
};
use child::Child;

/// How long the worker outside has to listen. It starts at the same time as the container.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);

/// Between two attempts.
const CONNECT_EVERY: Duration = Duration::from_millis(5);

/// How long output is read after the program has ended: something that it started may hold the pipe open.
const DRAIN_WITHIN: Duration = Duration::from_millis(500);

/// Frames that wait to be sent. Output beyond that waits in the program's pipe.
const QUEUE: usize = 16;

/// What the first process needs to know.
#[derive(Clone, Debug)]
pub struct InsideOptions {
    /// The folder with the worker's socket; [`holdpoint_model::container::SESSION_DIR`].
    pub session: PathBuf,
    /// The folder with the gateway's socket: [`holdpoint_model::container::GATEWAY_DIR`], or that of the worker's
    /// where the gateway is this process's alone.
    pub gateway: PathBuf,
    /// The port on loopback that leads there; [`holdpoint_model::container::GATEWAY_PORT`].
    pub port: u16,
    /// Only the program itself is let through to the gateway, and nothing that it starts.
    pub program_alone: bool,
}

/// Starts what the worker outside says, and serves it until it ends or the worker is gone. The caller ends
/// the process then, and the kernel everything else inside.
///
/// # Errors
/// When there is no worker, or the program cannot be started.
pub async fn inside(options: InsideOptions) -> anyhow::Result<()> {
    // The kernel shields a first process from signals that it has not asked for.
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = serve(options) => ended,
        _ = terminate.recv() => Ok(()),
    }
}

async fn serve(options: InsideOptions) -> anyhow::Result<()> {
    let (read, write) = worker(&options.session).await?.into_split();
    let (mut frames, mut sink) = (Frames::new(read), FrameSink::new(write));
    let Some(Frame::Launch(launch)) = frames.next().await? else {
        anyhow::bail!("the worker did not say what to start");
    };
    let started = async {
        prove_writable(&launch.writable)?;
        if let Some((_, home)) = launch.env.iter().find(|(name, _)| name == "HOME") {
            template::lay_out(Path::new(home), Path::new(&launch.cwd))
                .context("failed to lay out what the image has for every session")?;
        }
        let alone = options.program_alone.then(forward::Alone::default);
        forward::listen(options.port, options.gateway, alone.clone()).await?;
        let child = Child::start(&launch)
            .with_context(|| format!("failed to start {} in the container", launch.program))?;
        if let Some(alone) = alone {
            alone.is(child.pid);
        }
        anyhow::Ok(child)
    };
    let child = match started.await {
        Ok(child) => child,
        Err(error) => {
            sink.send(&Frame::Failed(format!("{error:#}"))).await?;
            return Err(error);
        }
    };
    run(child, launch, frames, sink).await
}

async fn run(
    child: Child,
    launch: Launch,
    mut frames: Frames<tokio::net::unix::OwnedReadHalf>,
    mut sink: FrameSink<OwnedWriteHalf>,
) -> anyhow::Result<()> {
    let Child { pid, mut stdin, stdout, stderr, exit } = child;
    let (queue, mut queued) = mpsc::channel(QUEUE);
    let outputs = tokio::spawn({
        let (out, err) = (queue.clone(), queue.clone());
        async move {
            tokio::join!(pump(stdout, out, Frame::Stdout), pump(stderr, err, Frame::Stderr));
        }
    });
    tokio::spawn(watch::watch(launch.memory_bytes, launch.processes, pid, queue.clone()));
    tokio::spawn(async move {
        if let Ok(exit) = exit.await {
            let _ = tokio::time::timeout(DRAIN_WITHIN, outputs).await;
            let _ = queue.send(Frame::Exit(exit)).await;
        }
    });
    let to_worker = async {
        while let Some(frame) = queued.recv().await {
            sink.send(&frame).await?;
            if matches!(frame, Frame::Exit(_)) {
                return Ok(());
            }
        }
        anyhow::Ok(())
    };
    let from_worker = async {
        loop {
            match frames.next().await? {
                Some(Frame::Stdin(bytes)) => {
                    if let Some(pipe) = &mut stdin
                        && pipe.write_all(&bytes).await.is_err()
                    {
                        stdin = None;
                    }
                }
                Some(Frame::StdinEnd) => stdin = None,
                Some(_) => anyhow::bail!("the worker sent something that only we send"),
                // Nobody is there any more whom anything here is for.
                None => return anyhow::Ok(()),
            }
        }
    };
    tokio::select! {
        ended = to_worker => ended,
        ended = from_worker => ended,
    }
}

async fn worker(folder: &Path) -> anyhow::Result<UnixStream> {
    let deadline = tokio::time::Instant::now() + CONNECT_WITHIN;
    loop {
        match socket::connect(folder, SESSION_SOCKET).await {
            Ok(stream) => return Ok(stream),
            Err(error) if tokio::time::Instant::now() > deadline => {
                return Err(error).context("no worker listens outside of this container");
            }
            Err(_) => tokio::time::sleep(CONNECT_EVERY).await,
        }
    }
}

async fn pump(mut output: impl AsyncRead + Unpin, queue: mpsc::Sender<Frame>, frame: fn(Bytes) -> Frame) {
    let mut chunk = vec![0; MAX_CHUNK_BYTES];
    while let Ok(count @ 1..) = output.read(&mut chunk).await {
        if queue.send(frame(Bytes::copy_from_slice(&chunk[..count]))).await.is_err() {
            return;
        }
    }
}

/// Writes to each folder: permission bits say nothing about a read-only mount or a foreign user id.
fn prove_writable(folders: &[String]) -> anyhow::Result<()> {
    for folder in folders {
        let path = Path::new(folder);
        let probe = path.join(format!(".holdpoint-probe-{}", std::process::id()));
        let proved = fs::create_dir_all(path)
            .and_then(|()| fs::OpenOptions::new().write(true).create_new(true).open(&probe).map(drop))
            .and_then(|()| fs::remove_file(&probe));
        proved.with_context(|| {
            let user = rustix::process::geteuid().as_raw();
            format!("the container's user {user} cannot write to {folder}")
        })?;
    }
    Ok(())
}
