//! One command beside a session, for a person who looks inside: what it is given, and what comes of it.

use std::{collections::BTreeMap, fs, io, path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    sync::mpsc,
};

use crate::{EngineError, SESSION_MARK, WorkerId, proc_scan::kill_now};

/// The variable that a command and what it starts are known by, so that all of it can be ended.
const EXEC_MARK: &str = "HOLDPOINT_EXEC";

/// Pieces of output that wait for a reader; then the command waits.
const PIECES: usize = 16;

/// One piece of output, in bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// How long output may still come after a command has ended; something that it left may hold the pipe open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Rounds of "find and kill" for what a command leaves, and the pause between two.
const END_ROUNDS: (u32, Duration) = (20, Duration::from_millis(20));

/// How many rounds are waited for a command to appear that an engine was just asked for.
const START_ROUNDS: u32 = 10;

/// What a shell says of a program that is not there, and of one that may not be run.
const NOT_FOUND: i64 = 127;
const NOT_RUNNABLE: i64 = 126;

/// A command to run beside a session.
#[derive(Clone, Debug)]
pub struct Exec {
    /// Whose session.
    pub id: WorkerId,
    /// The program and its arguments; not empty.
    pub command: Vec<String>,
    /// Where it runs.
    pub workspace: PathBuf,
    /// Its whole environment, but for marks.
    pub environment: BTreeMap<String, String>,
    /// What it reads; nothing where absent.
    pub stdin: Option<Vec<u8>>,
    /// Unique: it is known by this.
    pub mark: String,
}

impl Exec {
    /// The environment with marks.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        let marks = [(EXEC_MARK, self.mark.clone()), (SESSION_MARK, self.id.to_string())];
        let marks = marks.map(|(name, value)| (name.to_owned(), value));
        self.environment.clone().into_iter().chain(marks).collect()
    }
}

/// What comes of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// On its stdout.
    Out(Vec<u8>),
    /// On its stderr.
    Err(Vec<u8>),
    /// Its end, with its exit code, or 128 and the signal that ended it.
    Exit(i64),
    /// Nobody knows how it ended: it was stopped, or the engine went away. In words.
    Stopped(String),
}

/// A command that runs. Dropped, it ends with all that it has started.
#[derive(Debug)]
pub struct Running(mpsc::Receiver<Piece>);

impl Running {
    /// The next piece; None after the end.
    pub async fn next(&mut self) -> Option<Piece> {
        self.0.recv().await
    }

    /// One that has ended with these.
    #[must_use]
    pub fn ended(pieces: Vec<Piece>) -> Self {
        let (sender, receiver) = mpsc::channel(pieces.len().max(1));
        for piece in pieces {
            let _ = sender.try_send(piece);
        }
        Self(receiver)
    }

    /// A program that could not even be started, as a shell would say it.
    pub(crate) fn not_started(program: &str, is_missing: bool) -> Self {
        let (why, code) = if is_missing { ("not found", NOT_FOUND) } else { ("cannot be run", NOT_RUNNABLE) };
        Self::ended(vec![Piece::Err(format!("{program}: {why}\n").into_bytes()), Piece::Exit(code)])
    }

    /// Runs what fills it, and ends what is left of the command when that is done or nobody reads any more.
    pub(crate) fn of<F: Future<Output = Piece> + Send + 'static>(
        mark: String,
        run: impl FnOnce(mpsc::Sender<Piece>) -> F,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(PIECES);
        let running = run(sender.clone());
        tokio::spawn(async move {
            let end = tokio::select! {
                end = running => Some(end),
                () = sender.closed() => None,
            };
            // One that was cut short may be just about to start.
            end_marked(mark, if end.is_none() { START_ROUNDS } else { 0 }).await;
            if let Some(end) = end {
                let _ = sender.send(end).await;
            }
        });
        Self(receiver)
    }
}

/// Runs a command as a process of this user.
pub(crate) fn run(exec: &Exec) -> Result<Running, EngineError> {
    let Some((program, args)) = exec.command.split_first() else {
        return Err(EngineError::Look(io::Error::other("no command")));
    };
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .envs(exec.env())
        .current_dir(&exec.workspace)
        .stdin(if exec.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if exec.workspace.is_dir() => {
            return Ok(Running::not_started(program, error.kind() == io::ErrorKind::NotFound));
        }
        Err(source) => return Err(EngineError::Prepare { path: exec.workspace.clone(), source }),
    };
    let stdin = child.stdin.take().zip(exec.stdin.clone());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    Ok(Running::of(exec.mark.clone(), |sender| async move {
        let feed = async {
            if let Some((mut stdin, bytes)) = stdin {
                // A command need not read all that it is given.
                let _ = stdin.write_all(&bytes).await;
            }
        };
        let read = async {
            tokio::join!(pump(stdout, &sender, Piece::Out), pump(stderr, &sender, Piece::Err), feed);
        };
        tokio::pin!(read);
        let ended = tokio::select! {
            ended = child.wait() => {
                let _ = tokio::time::timeout(LAST_WORDS, &mut read).await;
                ended
            }
            () = &mut read => child.wait().await,
        };
        match ended {
            Ok(status) => Piece::Exit(code_of(status)),
            Err(error) => Piece::Stopped(format!("nobody knows how it ended: {error}")),
        }
    }))
}

fn code_of(status: std::process::ExitStatus) -> i64 {
    use std::os::unix::process::ExitStatusExt as _;
    let signal = || status.signal().map_or(1, |signal| 128 + signal);
    status.code().unwrap_or_else(signal).into()
}

async fn pump(
    from: Option<impl AsyncRead + Unpin>,
    to: &mpsc::Sender<Piece>,
    piece: impl Fn(Vec<u8>) -> Piece,
) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(length) = from.read(&mut buffer).await {
        if length == 0 || to.send(piece(buffer[..length].to_vec())).await.is_err() {
            return;
        }
    }
}

/// Ends every process with this mark, in containers too. What has taken the mark off itself is left: it ends
/// with the worker or the container.
async fn end_marked(mark: String, at_least: u32) {
    let entry = format!("{EXEC_MARK}={mark}");
    for round in 0..END_ROUNDS.0 {
        let entry = entry.clone();
        let found = tokio::task::spawn_blocking(move || marked(entry.as_bytes())).await.unwrap_or_default();
        if found.is_empty() && round >= at_least {
            return;
        }
        kill_now(&found);
        tokio::time::sleep(END_ROUNDS.1).await;
    }
}

fn marked(entry: &[u8]) -> Vec<i32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    pids.filter_map(|folder| folder.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|variable| variable == entry))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdpoint_model::ExecutionId;

    fn exec(mark: &str, script: &str, stdin: Option<&str>) -> Exec {
        Exec {
            id: WorkerId { execution: ExecutionId(uuid::Uuid::from_u128(7)), incarnation: 1 },
            command: vec!["sh".into(), "-c".into(), script.into()],
            workspace: "/".into(),
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            stdin: stdin.map(Into::into),
            mark: format!("{mark}-{}", std::process::id()),
        }
    }

    async fn all(mut running: Running) -> (String, String, Option<Piece>) {
        let (mut out, mut err, mut end) = (Vec::new(), Vec::new(), None);
        while let Some(piece) = running.next().await {
            match piece {
                Piece::Out(bytes) => out.extend(bytes),
                Piece::Err(bytes) => err.extend(bytes),
                other => end = Some(other),
            }
        }
        (String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"), end)
    }

    #[tokio::test]
    async fn what_a_command_says_and_how_it_ends_comes_back() {
        let run = |script: &str| run(&exec("said", script, Some("typed"))).expect("run");
        let (out, err, end) = all(run("cat; echo oops >&2; exit 3")).await;
        assert_eq!((out.as_str(), err.as_str(), end), ("typed", "oops\n", Some(Piece::Exit(3))));
        assert_eq!(all(run("kill -9 $$")).await.2, Some(Piece::Exit(137)));
        let long = all(run("head -c 300000 /dev/zero | tr '\\0' x")).await;
        assert_eq!((long.0.len(), long.2), (300_000, Some(Piece::Exit(0))));
    }

    #[tokio::test]
    async fn what_is_not_there_is_said_as_a_shell_says_it() {
        let mut exec = exec("missing", "", None);
        exec.command = vec!["no-such-program".into()];
        let (_, err, end) = all(run(&exec).expect("run")).await;
        assert_eq!((err.as_str(), end), ("no-such-program: not found\n", Some(Piece::Exit(127))));
    }

    #[tokio::test]
    async fn nothing_of_a_command_is_left() {
        let exec = exec("left", "setsid sleep 1000 & setsid sleep 1000 & echo up; wait", None);
        let entry = format!("{EXEC_MARK}={}", exec.mark);
        let mut running = run(&exec).expect("run");
        assert_eq!(running.next().await, Some(Piece::Out(b"up\n".to_vec())));
        assert!(!marked(entry.as_bytes()).is_empty());
        drop(running);
        for _ in 0..200 {
            if marked(entry.as_bytes()).is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?} still run", marked(entry.as_bytes()));
    }
}
