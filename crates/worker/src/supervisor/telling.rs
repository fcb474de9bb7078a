//! Facts are numbered and journaled, then told, again and again until they are committed.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use holdpoint_model::{
    UnixMs,
    wire::{Down, Fact, JournalLine, NumberedFact, Up},
};
use tokio::{sync::mpsc, time::Instant};

use super::{LAST_ACK_WITHIN, Supervisor};
use crate::link::FromLink;

impl Supervisor {
    /// Numbers and journals a fact; it is told with the next flush.
    pub(super) fn tell(&mut self, fact: Fact) -> anyhow::Result<()> {
        self.seq += 1;
        let fact = NumberedFact { seq: self.seq, at: now(), fact };
        let line = JournalLine::Fact(fact.clone());
        let bytes = self.journal.append(&line).context("failed to write the journal")?;
        self.untold.push(fact, bytes);
        Ok(())
    }

    /// Tells what has not been told over this connection. Never waits: a control plane that does not read
    /// must not keep the loop from the end of its lease. What finds no room is told after the next frame.
    pub(super) fn flush(&mut self) {
        while self.welcome {
            let facts = self.untold.next();
            let given = facts.len();
            if facts.is_empty() || !self.send(Up::Facts { facts }) {
                return;
            }
            self.untold.gave(given);
        }
    }

    /// Whether the frame is on its way.
    pub(super) fn send(&mut self, frame: Up) -> bool {
        match self.up.as_ref().map(|up| up.try_send(frame)) {
            Some(Ok(())) => true,
            Some(Err(mpsc::error::TrySendError::Closed(_))) => {
                (self.up, self.welcome) = (None, false);
                false
            }
            Some(Err(mpsc::error::TrySendError::Full(_))) | None => false,
        }
    }

    /// Gives the last facts the time to be committed. What is not stays in the journal.
    pub(super) async fn settle(&mut self, link: &mut mpsc::Receiver<FromLink>) {
        let deadline = Instant::now() + LAST_ACK_WITHIN;
        self.flush();
        while !self.untold.is_empty() {
            match tokio::time::timeout_at(deadline, link.recv()).await {
                Ok(Some(FromLink::Connected(up))) => self.connected(up).await,
                Ok(Some(FromLink::Frame(frame))) => match *frame {
                    Down::Refused { .. } => return,
                    frame => self.on_bookkeeping(&frame),
                },
                Ok(Some(FromLink::Disconnected)) => (self.up, self.welcome) = (None, false),
                Ok(Some(FromLink::Unwanted(_)) | None) | Err(_) => return,
            }
            self.flush();
        }
    }
}

fn now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs::try_from(since.as_millis()).unwrap_or(UnixMs::MAX)
}
