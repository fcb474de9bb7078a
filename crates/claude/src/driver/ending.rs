//! Ending and holding a session.

use std::time::Duration;

use serde_json::Map;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::handle::Handle;
use super::shared::{Ending, Outgoing};
use super::tasks::kill_all;
use crate::event::Exit;
use crate::process::KillReport;

/// How to end a session in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    interrupt: bool,
    within: Duration,
}

impl Close {
    /// Let a running turn finish first. When a question is open the turn is interrupted all the same: closing
    /// stdin would deny the question, and the model would go on with nobody listening.
    pub fn finishing(within: Duration) -> Self {
        Self { interrupt: false, within }
    }

    /// Interrupt a running turn.
    pub fn interrupting(within: Duration) -> Self {
        Self { interrupt: true, within }
    }
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseReport {
    /// How the process ended.
    pub exit: Exit,
    /// It did not end in time and was killed.
    pub forced: bool,
}

impl Handle {
    /// Ends the session: interrupts what must be interrupted, closes stdin, waits, and kills what is still
    /// there when the time is up. The transcript is whole afterwards, unless it came to that.
    ///
    /// **An interrupt settles an open question for good.** To let go of a session at a question and resume it
    /// later, [`kill`](Self::kill) it.
    pub async fn close(&self, how: Close) -> CloseReport {
        let shared = self.shared();
        let deadline = Instant::now() + how.within;
        shared.want_end(Ending::Closing);
        let asked = !shared.asks().waiting().is_empty();
        if asked || (how.interrupt && self.is_busy()) {
            let settled = async {
                let _ = shared.call("interrupt", Map::new()).await;
                let _ = shared.busy.subscribe().wait_for(|busy| !busy).await;
            };
            let _ = timeout_at(deadline, settled).await;
        }
        let ended = async {
            let _ = shared.outgoing.send(Outgoing::Close).await;
            self.exited().await
        };
        match timeout_at(deadline, ended).await {
            Ok(exit) => CloseReport { exit, forced: false },
            Err(_) => {
                shared.want_end(Ending::Killed);
                kill_all(shared).await;
                CloseReport { exit: self.exited().await, forced: true }
            }
        }
    }

    /// Kills the CLI and everything it started, running commands included, and waits until they are gone.
    ///
    /// Nothing is written to the transcript by this, so a session killed at a question is resumed at it.
    pub async fn kill(&self) -> KillReport {
        self.shared().want_end(Ending::Killed);
        let report = kill_all(self.shared()).await;
        self.exited().await;
        report
    }

    /// Stops the CLI and everything it started where they are, for a checkpoint of their files. Returns how
    /// many processes were stopped. Frozen processes can be killed.
    pub async fn freeze(&self) -> usize {
        let root = self.shared().root;
        spawn_blocking(move || root.freeze()).await.unwrap_or(0)
    }

    /// Lets a frozen session go on.
    pub async fn thaw(&self) {
        let root = self.shared().root;
        let _ = spawn_blocking(move || root.thaw()).await;
    }
}
