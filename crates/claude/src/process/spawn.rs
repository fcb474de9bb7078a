//! Starting the CLI.

use std::io;
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::mpsc;

use tokio::process::{Child, Command};
use tokio::runtime;

/// Starts the command in a session of its own, with piped stdio, bound to the life of this process.
///
/// The kernel's "kill me when my parent dies" (`PR_SET_PDEATHSIG`) means the *thread* that forked. Threads of
/// a runtime come and go, so one thread that never ends forks for everybody.
pub(crate) async fn spawn(mut command: Command) -> io::Result<Child> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    die_with_parent::arrange(&mut command);
    let runtime = runtime::Handle::current();
    let (reply, receive) = tokio::sync::oneshot::channel();
    let job: Job = Box::new(move || {
        // The child's pipes belong to the caller's runtime.
        let _entered = runtime.enter();
        let _ = reply.send(command.spawn());
    });
    spawner()?.send(job).map_err(|_| io::Error::other("the spawning thread is gone"))?;
    receive.await.map_err(|_| io::Error::other("the spawning thread is gone"))?
}

type Job = Box<dyn FnOnce() + Send>;

fn spawner() -> io::Result<&'static mpsc::Sender<Job>> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    if let Some(spawner) = SPAWNER.get() {
        return Ok(spawner);
    }
    let (sender, jobs) = mpsc::channel::<Job>();
    std::thread::Builder::new().name("claude-spawner".into()).spawn(move || {
        for job in jobs {
            job();
        }
    })?;
    // When two threads race, the loser's thread ends with its channel; it has forked nothing.
    Ok(SPAWNER.get_or_init(|| sender))
}

/// The only unsafe code of the crate: what has to happen between fork and exec.
#[allow(unsafe_code)]
mod die_with_parent {
    use std::io;

    use rustix::process::{Signal, getppid, set_parent_process_death_signal, setsid};
    use tokio::process::Command;

    pub(super) fn arrange(command: &mut Command) {
        let parent = rustix::process::getpid();
        let prepare = move || -> io::Result<()> {
            // A session of its own: a Ctrl-C on the host's terminal is the host's business.
            setsid()?;
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the line above took effect.
            if getppid() != Some(parent) {
                return Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()));
            }
            Ok(())
        };
        // SAFETY: between fork and exec only async-signal-safe work is allowed. The closure makes three
        // system calls, which rustix issues directly, and allocates nothing.
        unsafe {
            command.pre_exec(prepare);
        }
    }
}
