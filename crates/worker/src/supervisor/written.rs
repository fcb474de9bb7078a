//! What the session has on disk. The CLI drops what it cannot write without a word (seen with 2.1.330 on a full
//! disk), so it is looked for before anybody relies on it.

use std::{path::Path, time::Duration};

use holdpoint_claude::transcript;
use tokio::time::Instant;
use tracing::warn;
use uuid::Uuid;

use super::Supervisor;

/// The CLI writes a moment after it has said something. What is not there by then was not written.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(25);

impl Supervisor {
    /// Whether the transcript holds what the session said, and hangs together up to there: a later session
    /// knows of it then.
    pub(super) async fn is_written(&self, said: Uuid) -> anyhow::Result<bool> {
        let (config, session) = (self.spec.home.join(".claude"), self.spec.session.0);
        let deadline = Instant::now() + WRITTEN_WITHIN;
        loop {
            let config = config.clone();
            if tokio::task::spawn_blocking(move || holds(&config, session, said)).await? {
                return Ok(true);
            }
            if Instant::now() > deadline {
                return Ok(false);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn holds(config: &Path, session: Uuid, said: Uuid) -> bool {
    let Some(file) = transcript::find(config, session) else { return false };
    match file.read() {
        Ok(mut transcript) => {
            transcript.straighten();
            transcript.contains(said)
        }
        Err(error) => {
            warn!(%error, "failed to read the transcript");
            false
        }
    }
}
