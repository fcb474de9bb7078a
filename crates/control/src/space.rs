//! Room on the disk. A session on a full one keeps no transcript and no journal, so none is started until there
//! is room again; what runs meanwhile ends by itself where it can no longer be written down.

use std::{collections::HashSet, io, path::Path, sync::Mutex};

use holdpoint_model::{Command, Execution, ExecutionId, event::Level};
use tracing::{info, warn};

use crate::{Inner, commands::blocking, lock};

/// What must be free where the data folder is, before a session is started: room for some turns of every
/// session that may be starting now, and for the log.
pub(crate) const RESERVE_BYTES: u64 = 32 << 20;

/// Conversations that wait for room, and were told so.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<HashSet<ExecutionId>>);

impl Inner {
    /// Whether there is room for a session; tells people when it has to wait. The sweep looks again.
    pub(crate) async fn has_room(&self, state: &Execution) -> bool {
        let root = self.options.layout.root().to_owned();
        let free = match blocking(move || free_bytes(&root)).await {
            Ok(free) => free,
            Err(error) => {
                // Whoever cannot be asked is not known to be full.
                warn!(%error, "failed to see how much room the disk has");
                return true;
            }
        };
        if free >= RESERVE_BYTES {
            if lock(&self.waiting_for_room.0).remove(&state.id) {
                info!(execution = %state.id, "there is room on the disk again");
            }
            return true;
        }
        if lock(&self.waiting_for_room.0).insert(state.id) {
            warn!(execution = %state.id, free, "the disk is full: the session waits for room");
            let text = format!(
                "The disk is full: the conversation waits for space and then goes on by itself. {} MB are free where the data folder is, {} MB are needed.",
                free >> 20,
                RESERVE_BYTES >> 20
            );
            if let Err(error) =
                self.options.store.apply(state.id, Command::Notice { level: Level::Warning, text }).await
            {
                // The next look tries again.
                lock(&self.waiting_for_room.0).remove(&state.id);
                warn!(execution = %state.id, %error, "failed to tell that a session waits for room");
            }
        }
        false
    }
}

/// How much room a disk has, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What may still be written.
    pub free_bytes: u64,
    /// All of it.
    pub total_bytes: u64,
    /// Without so much no session is started.
    pub needed_bytes: u64,
}

/// What may still be written.
pub(crate) fn free_bytes(folder: &Path) -> io::Result<u64> {
    Ok(room(folder)?.free_bytes)
}

/// How much room there is where this folder is.
///
/// # Errors
/// When the system does not say, as for a folder that is not there.
pub fn room(folder: &Path) -> io::Result<Room> {
    let of = rustix::fs::statvfs(folder)?;
    Ok(Room {
        free_bytes: of.f_bavail.saturating_mul(of.f_frsize),
        total_bytes: of.f_blocks.saturating_mul(of.f_frsize),
        needed_bytes: RESERVE_BYTES,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_room_is_seen() {
        assert!(free_bytes(Path::new("/")).unwrap() > 0);
        assert!(free_bytes(Path::new("/no/such/folder")).is_err());
    }
}
