//! `holdpoint bridge`: stands for the CLI outside of the container.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use holdpoint_model::container::Note;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};

use crate::{
    GATEWAY_SOCKET, SESSION_SOCKET,
    advice::advice,
    frame::{Frame, FrameSink, Frames, Launch, MAX_CHUNK_BYTES},
    socket,
};

/// How long the container has to come up and connect: an image may have to be unpacked for it.
const CONNECT_WITHIN: Duration = Duration::from_secs(90);

/// The exit code of a bridge whose container went away without a word.
const GONE: i32 = 137;

/// What a bridge needs to know.
#[derive(Clone, Debug)]
pub struct BridgeOptions {
    /// The folder for the socket, which the container sees as [`holdpoint_model::container::SESSION_DIR`].
    pub folder: PathBuf,
    /// A file for notes, one JSON object a line, which the container does not see.
    pub notes: PathBuf,
    /// The folder with the gateway's socket, where the container does not see it.
    pub gateway: Option<PathBuf>,
    /// What is to be started.
    pub launch: Launch,
}

/// Carries stdio between this process and the program inside. Returns the exit code to end with.
///
/// # Errors
/// When the container does not connect in time, or breaks off.
pub async fn bridge(options: BridgeOptions) -> anyhow::Result<i32> {
    let folder = options.folder.display();
    let gateway = match options.gateway {
        Some(gateway) => Some((socket::bind(&options.folder, GATEWAY_SOCKET)?, gateway)),
        None => None,
    };
    let listener = socket::bind(&options.folder, SESSION_SOCKET)
        .with_context(|| format!("failed to listen in {folder}"))?;
    let Ok(accepted) = tokio::time::timeout(CONNECT_WITHIN, listener.accept()).await else {
        let why = format!("the session's container did not come up within {} s", CONNECT_WITHIN.as_secs());
        not_started(
            &options.notes,
            &why,
            "holdpoint image build --base     (and build other images on it)",
            "",
        )?;
        anyhow::bail!("{why}");
    };
    let (stream, _) = accepted?;
    // One connection, from the first process inside, before anything else runs there.
    drop(listener);
    std::fs::remove_file(options.folder.join(SESSION_SOCKET))?;
    if let Some((listener, gateway)) = gateway {
        let first = stream.peer_cred()?.pid().context("the first process inside has no number")?;
        tokio::spawn(lead(listener, gateway, first));
    }
    let (read, write) = stream.into_split();
    let (mut frames, mut sink) = (Frames::new(read), FrameSink::new(write));
    let writable = options.launch.writable.clone();
    sink.send(&Frame::Launch(options.launch)).await?;
    let stdin = tokio::spawn(async move {
        let mut stdin = tokio::io::stdin();
        let mut chunk = vec![0; MAX_CHUNK_BYTES];
        loop {
            let frame = match stdin.read(&mut chunk).await {
                Ok(count @ 1..) => Frame::Stdin(Bytes::copy_from_slice(&chunk[..count])),
                _ => Frame::StdinEnd,
            };
            let over = frame == Frame::StdinEnd;
            if sink.send(&frame).await.is_err() {
                return;
            }
            if over {
                // The connection stays: its end would be the end of everything inside.
                std::future::pending::<()>().await;
            }
        }
    });
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    let code = loop {
        match frames.next().await? {
            Some(Frame::Stdout(bytes)) => {
                stdout.write_all(&bytes).await?;
                stdout.flush().await?;
            }
            Some(Frame::Stderr(bytes)) => {
                stderr.write_all(&bytes).await?;
                stderr.flush().await?;
            }
            // Only this side knows what goes on outside; inside they could make it up.
            Some(Frame::Note(Note::NotStarted { .. })) => {}
            Some(Frame::Note(note)) => append(&options.notes, &note)?,
            Some(Frame::Exit(exit)) => break exit.as_code(),
            Some(Frame::Failed(said)) => {
                let (why, next) = advice(&writable).unwrap_or_else(|| {
                    let next = "holdpoint image build --base     (and build other images on it)";
                    ("the session could not be started in its container".into(), next.into())
                });
                not_started(&options.notes, &why, &next, &said)?;
                anyhow::bail!("{said}");
            }
            Some(_) => anyhow::bail!("the container sent something that only we send"),
            None => {
                stderr.write_all(b"the session's container is gone\n").await?;
                stderr.flush().await?;
                break GONE;
            }
        }
    };
    stdin.abort();
    Ok(code)
}

fn not_started(notes: &std::path::Path, why: &str, next: &str, said: &str) -> io::Result<()> {
    append(notes, &Note::NotStarted { why: why.into(), next: next.into(), said: said.into() })
}

/// Leads calls to the gateway, of the first process inside alone: the kernel says who it is that connects.
async fn lead(listener: UnixListener, gateway: PathBuf, first: i32) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            // Out of files, most likely: a pause, and not a loop that takes a processor.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if stream.peer_cred().ok().and_then(|peer| peer.pid()) != Some(first) {
            continue;
        }
        let gateway = gateway.clone();
        tokio::spawn(async move {
            // The caller sees a closed connection, as when the gateway is away, and tries again.
            if let Ok(mut to) = socket::connect(&gateway, GATEWAY_SOCKET).await {
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut to).await;
            }
        });
    }
}

fn append(notes: &std::path::Path, note: &Note) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(notes)?;
    let mut line = serde_json::to_string(note)?;
    line.push('\n');
    file.write_all(line.as_bytes())
}
