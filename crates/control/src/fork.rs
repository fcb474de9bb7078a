//! Time travel: a new conversation that goes on from a checkpointed turn of another.

use std::sync::Arc;

use holdpoint_beneath::remove_tree;
use holdpoint_checkpoint::ManifestId;
use holdpoint_claude::transcript;
use holdpoint_model::{
    Actor, AgentDef, Digest, Execution, ExecutionId, ReleaseState, SessionId, Stamp, UserId,
    event::{Created, ForkedFrom},
};
use holdpoint_store::{CreateOutcome, Idempotency, StoreError};
use thiserror::Error;
use uuid::Uuid;

use crate::{Control, Layout, Started, commands::blocking};

/// What a person asks for.
#[derive(Clone, Debug)]
pub struct NewFork {
    /// From which conversation.
    pub from: ExecutionId,
    /// The `checkpoint_taken` event to go on from; the last one at rest where absent.
    pub seq: Option<u64>,
    /// What to say there.
    pub message: String,
    /// Who.
    pub by: Actor,
    /// Whose key, and the digest of the request that came with it: the same again starts nothing new.
    pub idempotency: Option<(UserId, String, Digest)>,
}

/// Why a conversation did not branch off.
#[derive(Debug, Error)]
pub enum ForkError {
    /// No such execution.
    #[error("there is no such execution")]
    Unknown,
    /// Nothing to say.
    #[error("the message is empty")]
    Empty,
    /// There is no checkpoint there at which the turn was over.
    #[error("no conversation can branch off there")]
    NotThere {
        /// Where one can: events of the log.
        possible: Vec<u64>,
    },
    /// The checkpoint is damaged or gone.
    #[error("the checkpoint cannot be used: {0}")]
    Damaged(String),
    /// The key was used for another request.
    #[error("this idempotency key was used for a different request")]
    IdempotencyMismatch,
    /// The log could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Control {
    /// Starts a conversation that goes on from a checkpointed turn of another, workspace included.
    ///
    /// # Errors
    /// [`ForkError`]; nothing was started then.
    pub async fn fork(&self, new: NewFork) -> Result<Started, ForkError> {
        if new.message.trim().is_empty() {
            return Err(ForkError::Empty);
        }
        let source = self.store().execution(new.from).await?.ok_or(ForkError::Unknown)?;
        let (seq, checkpoint) = self.branching_point(&source, new.seq).await?;
        let (release, definition) = self.release_of_fork(&source).await?;
        let created = Created {
            agent: source.agent.clone(),
            definition,
            title: source.title.clone(),
            owner: new.by,
            session: SessionId(Uuid::new_v4()),
            inputs: source.inputs.clone(),
            rehearsal: source.rehearsal,
            forked_from: Some(ForkedFrom { execution: source.id, seq }),
            release,
        };
        let id = ExecutionId(Uuid::now_v7());
        let outcome = match self.branch(&source, &checkpoint, id, created.session).await {
            Ok(()) => {
                let idempotency =
                    new.idempotency.map(|(user, key, request)| Idempotency { user, key, request });
                self.store().create(id, created, new.message, Vec::new(), idempotency).await.map_err(
                    |error| match error {
                        StoreError::IdempotencyConflict { .. } => ForkError::IdempotencyMismatch,
                        error => ForkError::Store(error),
                    },
                )
            }
            Err(error) => Err(ForkError::Damaged(error)),
        };
        if !matches!(outcome, Ok(CreateOutcome::New(_))) {
            // Nothing refers to the files that were restored for it.
            let folder = self.inner.options.layout.execution(id);
            let _ = blocking(move || remove_tree(&folder)).await;
        }
        match outcome? {
            CreateOutcome::New(execution) => Ok(Started { execution, existed: false }),
            CreateOutcome::Existing(earlier) => {
                let execution =
                    self.store().execution(earlier).await?.ok_or(ForkError::IdempotencyMismatch)?;
                Ok(Started { execution, existed: true })
            }
        }
    }

    /// What a fork runs on: the same as the other, as long as that release can be run on; else what every new
    /// conversation runs on, with its agent as it is there.
    async fn release_of_fork(&self, source: &Execution) -> Result<(Option<Stamp>, AgentDef), StoreError> {
        let same = (source.release.clone(), source.definition.clone());
        let Some(stamp) = &source.release else { return Ok(same) };
        let row = self.store().release(stamp.number).await?;
        if row.is_some_and(|row| row.state != ReleaseState::Removed) {
            return Ok(same);
        }
        let deployed = self.inner.releases.deployed();
        let definition = deployed.agents.get(&source.agent).cloned();
        Ok((deployed.stamp, definition.unwrap_or_else(|| source.definition.clone())))
    }

    /// The checkpoints of a conversation that another can branch off from: the event's seq, how far it
    /// goes, files and bytes; oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn branching_points(
        &self,
        id: ExecutionId,
    ) -> Result<Vec<(u64, holdpoint_model::event::Checkpoint)>, StoreError> {
        let all = self.inner.checkpoint_events(id).await.map_err(|error| match error {
            holdpoint_store::ApplyError::Store(error) => error,
            other => StoreError::Corrupt(other.to_string()),
        })?;
        Ok(all.into_iter().filter(|(_, checkpoint)| checkpoint.at_rest).collect())
    }

    async fn branching_point(
        &self,
        source: &Arc<Execution>,
        asked: Option<u64>,
    ) -> Result<(u64, String), ForkError> {
        let points = self.branching_points(source.id).await?;
        let found = match asked {
            None => points.last(),
            Some(seq) => points.iter().find(|(point, _)| *point == seq),
        };
        match found {
            Some((seq, checkpoint)) => Ok((*seq, checkpoint.id.clone())),
            None => Err(ForkError::NotThere { possible: points.iter().map(|(seq, _)| *seq).collect() }),
        }
    }

    /// Files and session of the new conversation. Transcripts hold absolute paths: they become those of
    /// the new one, or its session would write into the old workspace.
    async fn branch(
        &self,
        source: &Execution,
        checkpoint: &str,
        id: ExecutionId,
        session: SessionId,
    ) -> Result<(), String> {
        let inner = &self.inner;
        let checkpoint: ManifestId = checkpoint.parse().map_err(|error| format!("{error}"))?;
        let manifest = inner
            .checkpoints()
            .read(&source.id.to_string(), checkpoint)
            .await
            .map_err(|error| error.to_string())?;
        inner.bring_back(&manifest, id).await.map_err(|error| error.to_string())?;
        let (config, workspace) =
            (Layout::claude_config(&inner.options.layout.home(id)), inner.options.layout.workspace(id));
        let (from, to) = (source.session.0, session.0);
        let pairs = [(source.id.to_string(), id.to_string()), (from.to_string(), to.to_string())];
        blocking(move || {
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(old, new)| (&**old, &**new)).collect();
            transcript::branch(&config, from, to, &workspace, &pairs)
        })
        .await
        .map_err(|error| format!("failed to make the session a new one: {error}"))
    }
}
