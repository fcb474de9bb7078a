//! Starting git: its output bounded, its time limited, and all of it ended when nobody waits for it any more.

use std::{
    ffi::OsString,
    fs::File,
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use holdpoint_model::problem::Problem;
use rustix::process::{Pid, Signal};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::OnceCell,
    time::Instant,
};

use super::environment::{Access, environment};

/// The oldest git that takes settings from the environment (`GIT_CONFIG_COUNT`).
const OLDEST: (u32, u32) = (2, 31);

/// How long a call may take that speaks to nobody.
pub(super) const LOCAL_LIMIT: Duration = Duration::from_secs(60);
/// How long a look at a remote may take.
pub(super) const LOOK_LIMIT: Duration = Duration::from_secs(45);
/// How long a fetch may take.
pub(super) const FETCH_LIMIT: Duration = Duration::from_secs(600);

/// The most that is kept of what git says, in bytes; its last words are the ones that count.
const SAID_BYTES: usize = 16 * 1024;

/// After git's end, how long its pipes are read on: a connection that SSH keeps open for later may hold them.
const AFTER_END: Duration = Duration::from_millis(300);

/// Between two looks at how large a fetch has become.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// The user's git.
#[derive(Debug)]
pub(crate) struct Git {
    program: PathBuf,
    path: String,
    env: Vec<(String, String)>,
    /// Whether the user says what SSH is; known after the first look at git itself.
    own_ssh: OnceCell<bool>,
}

/// One call.
#[derive(Debug, Default)]
pub(super) struct Call<'a> {
    pub(super) arguments: Vec<OsString>,
    pub(super) access: Option<&'a Access>,
    /// Git holds it until its own end: its standard input is this file, which is empty.
    pub(super) lock: Option<&'a File>,
    pub(super) max_bytes: usize,
    pub(super) limit: Duration,
    /// A folder, and how large it may become.
    pub(super) watch: Option<(PathBuf, u64)>,
}

/// What came of a call that ended by itself.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) out: Vec<u8>,
    pub(super) said: String,
}

/// A program and everything it started, ended when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Also after its end: one that was killed leaves what it had started. A connection that SSH keeps for later is
        // in a group of its own.
        if let Some(group) = self.group {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

impl Running {
    pub(super) fn pipes(&mut self) -> Option<(ChildStdin, ChildStdout)> {
        Some((self.child.stdin.take()?, self.child.stdout.take()?))
    }

    /// Its end, and what it said.
    pub(super) async fn end(&mut self) -> io::Result<(ExitStatus, String)> {
        let mut said = Vec::new();
        if let Some(stderr) = self.child.stderr.take() {
            last(stderr, &mut said).await;
        }
        Ok((self.child.wait().await?, String::from_utf8_lossy(&said).into_owned()))
    }
}

impl Git {
    pub(crate) fn new(program: PathBuf, path: String, env: Vec<(String, String)>) -> Self {
        Self { program, path, env, own_ssh: OnceCell::new() }
    }

    /// Makes sure once that git is there and new enough, and whether the user told it what SSH is.
    async fn own_ssh(&self) -> Result<bool, Problem> {
        let known = self.own_ssh.get_or_try_init(async || {
            let asked = |arguments: &[&str]| Call {
                arguments: arguments.iter().map(OsString::from).collect(),
                max_bytes: SAID_BYTES,
                limit: LOCAL_LIMIT,
                ..Call::default()
            };
            let version = self.ended(&asked(&["version"]), true).await?;
            check_version(&String::from_utf8_lossy(&version.out))?;
            if self.env.iter().any(|(name, _)| matches!(name.as_str(), "GIT_SSH" | "GIT_SSH_COMMAND")) {
                return Ok(true);
            }
            let config = self.ended(&asked(&["config", "--get", "core.sshCommand"]), true).await?;
            Ok(!config.out.is_empty())
        });
        known.await.copied()
    }

    /// Runs it to its end.
    pub(super) async fn run(&self, call: &Call<'_>) -> Result<Ended, Problem> {
        let own_ssh = self.own_ssh().await?;
        self.ended(call, own_ssh).await
    }

    /// Starts it with pipes, to be written to and read from.
    pub(super) async fn start(&self, arguments: &[OsString]) -> Result<Running, Problem> {
        let own_ssh = self.own_ssh().await?;
        self.spawn(arguments, own_ssh, &[], Stdio::piped())
    }

    fn spawn(
        &self,
        arguments: &[OsString],
        own_ssh: bool,
        settings: &[(String, String)],
        stdin: Stdio,
    ) -> Result<Running, Problem> {
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear();
        command.envs(environment(&self.path, &self.env, own_ssh, settings));
        // Where no repository is, whose settings would be taken for ours.
        command.current_dir("/").stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        // With all that it starts, so that all of it can be ended.
        command.process_group(0).kill_on_drop(true);
        let spawned = command.spawn().map(|child| {
            let id = child.id().and_then(|id| i32::try_from(id).ok());
            Running { child, group: id.and_then(Pid::from_raw) }
        });
        spawned.map_err(|error| {
            let what = format!("failed to start {}", self.program.display());
            match error.kind() {
                io::ErrorKind::NotFound => {
                    Problem::new(what, "git is not installed, or not in PATH").next("apt-get install git")
                }
                _ => Problem::new(what, error),
            }
        })
    }

    async fn ended(&self, call: &Call<'_>, own_ssh: bool) -> Result<Ended, Problem> {
        let name = call.arguments.iter().find(|argument| !argument.as_encoded_bytes().starts_with(b"-"));
        let name = name.map_or_else(String::new, |name| format!(" {}", name.to_string_lossy()));
        let failed = |why: &dyn std::fmt::Display| Problem::new(format!("failed to run git{name}"), why);
        let stdin = match call.lock {
            Some(lock) => Stdio::from(lock.try_clone().map_err(|error| failed(&error))?),
            None => Stdio::null(),
        };
        let settings = call.access.map(Access::settings).unwrap_or_default();
        let mut running = self.spawn(&call.arguments, own_ssh, &settings, stdin)?;
        let (stdout, stderr) = (running.child.stdout.take(), running.child.stderr.take());
        let (mut out, mut said) = (Vec::new(), Vec::new());
        let until = Instant::now() + call.limit;
        let mut too_much = false;
        let status = {
            let reading = async {
                let first = async {
                    if let Some(stdout) = stdout {
                        too_much = first(stdout, &mut out, call.max_bytes).await;
                    }
                };
                let last = async {
                    if let Some(stderr) = stderr {
                        last(stderr, &mut said).await;
                    }
                };
                // More than is wanted ends it: what else it says does not matter.
                tokio::join!(first, last);
            };
            let mut reading = std::pin::pin!(reading);
            let mut watch = tokio::time::interval(WATCH_EVERY);
            let mut read = false;
            loop {
                tokio::select! {
                    biased;
                    () = &mut reading, if !read => read = true,
                    status = running.child.wait() => {
                        if !read {
                            let _ = tokio::time::timeout(AFTER_END, &mut reading).await;
                        }
                        break status.map_err(|error| failed(&error))?;
                    }
                    () = tokio::time::sleep_until(until) => {
                        return Err(failed(&format!("it took longer than {} s", call.limit.as_secs()))
                            .next("try again; if it hangs, see whether the host answers at all"));
                    }
                    _ = watch.tick(), if call.watch.is_some() => {
                        if let Some((folder, max)) = &call.watch
                            && size(folder) > *max
                        {
                            return Err(failed(&format!("the repository has more than {} MiB", max >> 20))
                                .next("name a smaller repository: configuration is small"));
                        }
                    }
                }
            }
        };
        if too_much {
            return Err(failed(&format!("it wrote more than {} MiB", call.max_bytes >> 20)));
        }
        let said = String::from_utf8_lossy(&said);
        let said = call.access.map_or_else(|| said.to_string(), |access| access.redact(&said));
        Ok(Ended { status, out, said })
    }
}

/// Reads so many bytes; whether there were more. Then the pipe is closed, which ends whoever writes to it.
async fn first(mut from: impl AsyncRead + Unpin, into: &mut Vec<u8>, max: usize) -> bool {
    let mut part = vec![0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut part).await {
        if into.len() + n > max {
            return true;
        }
        into.extend_from_slice(&part[..n]);
    }
    false
}

/// Reads all, and keeps the end.
async fn last(mut from: impl AsyncRead + Unpin, into: &mut Vec<u8>) {
    let mut part = vec![0; 4096];
    while let Ok(n @ 1..) = from.read(&mut part).await {
        into.extend_from_slice(&part[..n]);
        if into.len() > 2 * SAID_BYTES {
            into.drain(..into.len() - SAID_BYTES);
        }
    }
}

/// How large the files in a folder are together.
fn size(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}

/// Whether a version, as `git version` says it, will do.
fn check_version(said: &str) -> Result<(), Problem> {
    let mut numbers = said.strip_prefix("git version ").unwrap_or_default().split('.');
    let mut number = || numbers.next().and_then(|part| part.trim().parse::<u32>().ok());
    let what = "failed to use git";
    match (number(), number()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST => Ok(()),
        (Some(major), Some(minor)) => {
            let (x, y) = OLDEST;
            Err(Problem::new(what, format!("version {major}.{minor} is too old: {x}.{y} or newer is needed"))
                .next("apt-get install git, from a newer release of the system or its backports"))
        }
        _ => {
            let said: String = said.trim().chars().take(100).collect();
            Err(Problem::new(what, format!("asked for its version, it says {said:?}")).next("git version"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_and_other_programs_are_told() {
        for good in [
            "git version 2.31.0\n",
            "git version 2.47.3",
            "git version 2.39.5 (Apple Git-154)",
            "git version 3.0.1",
        ] {
            assert_eq!(check_version(good), Ok(()), "{good}");
        }
        assert!(check_version("git version 2.30.2").expect_err("old").why.contains("2.30 is too old"));
        assert!(check_version("hello").expect_err("other").why.contains("hello"));
    }
}
