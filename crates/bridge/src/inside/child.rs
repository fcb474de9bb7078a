//! The program, and everything that is orphaned inside.

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use rustix::{
    io::Errno,
    process::{Pid, WaitOptions, wait},
};
use tokio::{
    process::{ChildStderr, ChildStdin, ChildStdout},
    sync::oneshot,
};

use crate::frame::{Exit, Launch};

#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: u32,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
    pub(super) exit: oneshot::Receiver<Exit>,
}

impl Child {
    /// Starts the program, and a thread that collects it and every orphan: that is the first process's duty.
    pub(super) fn start(launch: &Launch) -> io::Result<Self> {
        let mut child = Command::new(&launch.program)
            .args(&launch.args)
            .env_clear()
            .envs(launch.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&launch.cwd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("the program has no pipes"));
        };
        let pid = child.id();
        let (told, exit) = oneshot::channel();
        std::thread::Builder::new().name("reaper".into()).spawn(move || collect(pid, told))?;
        Ok(Self {
            pid,
            stdin: Some(ChildStdin::from_std(stdin)?),
            stdout: ChildStdout::from_std(stdout)?,
            stderr: ChildStderr::from_std(stderr)?,
            exit,
        })
    }
}

/// Waits for whoever ends, until the program has ended.
fn collect(pid: u32, told: oneshot::Sender<Exit>) {
    let program = i32::try_from(pid).ok().and_then(Pid::from_raw);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if Some(ended) == program => {
                let _ = told.send(Exit { code: status.exit_status(), signal: status.terminating_signal() });
                return;
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
