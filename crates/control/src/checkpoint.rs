//! Checkpoints: taken whenever everything waits for people, brought back where the files are gone, and
//! the points at which another conversation can branch off.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use holdpoint_checkpoint::{Checkpoints, Facts, Manifest, Sweep, Tree, settle};
use holdpoint_model::{
    Command, Execution, ExecutionId,
    event::{Checkpoint, EventBody, Level},
    form::SECRETS_FOLDER,
};
use holdpoint_store::ApplyError;
use thiserror::Error;
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use crate::{Inner, Layout, commands::blocking, lock, recover::transcript_of};

/// Checkpoints taken at once: they read and compress files, and others need the machine.
const AT_ONCE: usize = 2;

/// How long a checkpoint that failed waits for the next try: a full disk is not freed in a moment.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// A conversation that goes on during a checkpoint is let go on for so long before the next: one that says a hundred
/// things a second while a hold is open would be taken again and again, and none of it kept.
const GOES_ON: Duration = Duration::from_millis(500);

/// How often blobs that no checkpoint names are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// Checkpoint events read at once.
const EVENTS_AT_ONCE: u32 = 500;

/// What sessions keep in their home that no other needs, and the passwords that a person gave them.
const HOME_LEFT_OUT: [&str; 5] = [".cache", ".npm", ".claude/debug", ".claude/statsig", SECRETS_FOLDER];

/// The names of the two trees of a checkpoint.
const WORKSPACE: &str = "workspace";
const HOME: &str = "home";

/// Checkpoints that are being taken.
#[derive(Debug)]
pub(crate) struct Taking {
    now: Mutex<HashSet<ExecutionId>>,
    places: Semaphore,
}

impl Default for Taking {
    fn default() -> Self {
        Self { now: Mutex::default(), places: Semaphore::new(AT_ONCE) }
    }
}

/// What became of a checkpoint.
enum Taken {
    /// It is in the log.
    Committed,
    /// Something happened while it was taken.
    Void,
}

/// Why a checkpoint was not taken or not brought back.
#[derive(Debug, Error)]
pub(crate) enum CheckpointError {
    #[error("failed to read the session's files: {0}")]
    Read(#[from] std::io::Error),
    #[error(transparent)]
    Take(#[from] holdpoint_checkpoint::TakeError),
    #[error(transparent)]
    Restore(#[from] holdpoint_checkpoint::RestoreError),
    #[error(transparent)]
    Store(#[from] holdpoint_checkpoint::StoreError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl Inner {
    pub(crate) fn checkpoints(&self) -> &Checkpoints {
        &self.options.checkpoints
    }

    /// Takes a checkpoint beside everything else. What happens meanwhile makes it void, and the next
    /// look takes another.
    pub(crate) fn checkpoint_soon(self: &Arc<Self>, state: &Arc<Execution>) {
        if !lock(&self.taking.now).insert(state.id) {
            return;
        }
        let (inner, state) = (Arc::clone(self), Arc::clone(state));
        self.tasks.spawn(async move {
            let taken = async {
                let _place = inner.taking.places.acquire().await;
                inner.take_checkpoint(&state).await
            };
            let pause = tokio::select! {
                () = inner.stopping.cancelled() => return,
                taken = taken => match taken {
                    Ok(Taken::Committed) => None,
                    // Something happened meanwhile, and was perhaps looked at while this was under way.
                    Ok(Taken::Void) => Some(GOES_ON),
                    Err(error) => {
                        warn!(execution = %state.id, %error, "failed to take a checkpoint; trying again");
                        Some(AGAIN_AFTER)
                    }
                },
            };
            if let Some(pause) = pause {
                tokio::select! {
                    () = inner.stopping.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
            }
            lock(&inner.taking.now).remove(&state.id);
            inner.look_at(state.id);
        });
    }

    async fn take_checkpoint(&self, state: &Execution) -> Result<Taken, CheckpointError> {
        let at_rest = state.turn.is_none();
        let home = self.options.layout.home(state.id);
        let session = state.session.0;
        let last = blocking(move || transcript_of(&Layout::claude_config(&home), session));
        let transcript = last.await?.and_then(|transcript| transcript.last_uuid());
        let facts = Facts {
            execution: state.id.to_string(),
            incarnation: state.incarnation,
            seq: state.seq,
            transcript: transcript.map(|uuid| uuid.to_string()),
            label: if at_rest { "rest" } else { "hold" }.into(),
            at_ms: u64::try_from(self.now()).unwrap_or_default(),
        };
        let (workspace, home) = (self.options.layout.workspace(state.id), self.options.layout.home(state.id));
        let left_out = HOME_LEFT_OUT.map(str::to_owned);
        let trees = [
            Tree { name: WORKSPACE, path: &workspace, exclude: &[] },
            Tree { name: HOME, path: &home, exclude: &left_out },
        ];
        let taken = self.checkpoints().take(&trees, facts).await?;
        let manifest = taken.manifest;
        let checkpoint = Checkpoint {
            id: manifest.id().to_string(),
            at: state.seq,
            at_rest,
            transcript,
            files: manifest.files(),
            bytes: manifest.bytes(),
        };
        match self.options.store.apply(state.id, Command::CheckpointTaken(checkpoint)).await {
            Ok(applied) => {
                debug!(execution = %state.id, seq = applied.execution.seq, "checkpoint taken");
                self.drop_superseded(&applied.execution, &manifest).await?;
                Ok(Taken::Committed)
            }
            Err(ApplyError::Refused(_) | ApplyError::UnknownExecution) => {
                // Something was going on while it was read: it may hold halves.
                self.checkpoints().delete(&state.id.to_string(), manifest.id()).await?;
                Ok(Taken::Void)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Of the checkpoints in the middle of a turn only the newest is of use. Those at rest stay: there
    /// other conversations can branch off.
    async fn drop_superseded(&self, state: &Execution, newest: &Manifest) -> Result<(), CheckpointError> {
        let execution = state.id.to_string();
        let keep: HashSet<String> = self
            .checkpoint_events(state.id)
            .await?
            .into_iter()
            .filter(|(_, checkpoint)| checkpoint.at_rest)
            .map(|(_, checkpoint)| checkpoint.id)
            .collect();
        for listed in self.checkpoints().list(&execution).await? {
            if listed.id != newest.id() && !keep.contains(&listed.id.to_string()) {
                self.checkpoints().delete(&execution, listed.id).await?;
            }
        }
        Ok(())
    }

    /// Every checkpoint in the log, oldest first, with the event that tells of it.
    pub(crate) async fn checkpoint_events(
        &self,
        id: ExecutionId,
    ) -> Result<Vec<(u64, Checkpoint)>, ApplyError> {
        let mut all = Vec::new();
        let mut after = 0;
        loop {
            let page = self
                .options
                .store
                .events_of_kind(id, &["checkpoint_taken"], after, EVENTS_AT_ONCE)
                .await
                .map_err(ApplyError::Store)?;
            let Some(last) = page.last() else { return Ok(all) };
            after = last.seq;
            all.extend(page.into_iter().filter_map(|event| match event.body {
                EventBody::CheckpointTaken(checkpoint) => Some((event.seq, checkpoint)),
                _ => None,
            }));
        }
    }

    /// Brings the session's files back where they are gone, and says what may be missing.
    pub(crate) async fn restore_if_gone(&self, state: &Execution) -> Result<(), CheckpointError> {
        let layout = &self.options.layout;
        let (workspace, home) = (layout.workspace(state.id), layout.home(state.id));
        let (folder, places) = (layout.execution(state.id), [workspace.clone(), home.clone()]);
        let gone = blocking(move || {
            if folder.is_dir() {
                // A restore that was cut short is finished, or undone.
                settle(&[&places[0], &places[1]]).map_err(std::io::Error::other)?;
            }
            Ok(places.iter().any(|place| !place.is_dir()))
        });
        if !state.has_started || !gone.await? {
            return Ok(());
        }
        let layout = layout.clone();
        let id = state.id;
        blocking(move || layout.create_execution(id)).await?;
        let destinations = [(WORKSPACE, &*workspace), (HOME, &*home)];
        let text = match self.checkpoints().restore_newest(&id.to_string(), &destinations).await? {
            Ok(found) => {
                for skipped in &found.skipped {
                    warn!(execution = %id, checkpoint = %skipped.id, why = %skipped.why, "a checkpoint is not whole; an older one is used");
                }
                info!(execution = %id, checkpoint = %found.manifest.id(), "restored from a checkpoint");
                let skipped = match found.skipped.len() {
                    0 => String::new(),
                    1 => " A newer checkpoint was damaged and could not be used.".to_owned(),
                    n => format!(" {n} newer checkpoints were damaged and could not be used."),
                };
                format!(
                    "The files of this conversation were gone. They were restored as they were after event {}: what the agent did to files since then may be missing.{skipped}",
                    found.manifest.seq()
                )
            }
            Err(_) => "The files of this conversation are gone, and there is no whole checkpoint of them: the session begins anew, with the present message alone.".into(),
        };
        self.options.store.apply(id, Command::Notice { level: Level::Warning, text }).await?;
        Ok(())
    }

    /// Restores a checkpoint into the folders of an execution, its own or one that branches off.
    pub(crate) async fn bring_back(
        &self,
        manifest: &Manifest,
        to: ExecutionId,
    ) -> Result<(), CheckpointError> {
        let (workspace, home) = (self.options.layout.workspace(to), self.options.layout.home(to));
        let layout = self.options.layout.clone();
        blocking(move || layout.create_execution(to)).await?;
        self.checkpoints().restore(manifest, &[(WORKSPACE, &workspace), (HOME, &home)]).await?;
        Ok(())
    }

    /// Forgets every checkpoint of an execution that was deleted.
    pub(crate) async fn delete_checkpoints(&self, id: ExecutionId) -> Result<(), CheckpointError> {
        let execution = id.to_string();
        for listed in self.checkpoints().list(&execution).await? {
            self.checkpoints().delete(&execution, listed.id).await?;
        }
        Ok(())
    }

    /// Takes away what no checkpoint names any more, until the control plane ends.
    pub(crate) async fn sweep_checkpoints(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
            let now = u64::try_from(self.now()).unwrap_or_default();
            match self.checkpoints().sweep(now, Sweep::Now).await {
                Ok(swept) => debug!(?swept, "swept checkpoints"),
                Err(error) => warn!(%error, "failed to sweep checkpoints; trying again in an hour"),
            }
        }
    }
}
