//! What people ask for. Each becomes one command in the log's transaction; the reconciler does the rest.

use std::sync::Arc;

use bytes::Bytes;
use holdpoint_beneath::Folder;
use holdpoint_model::{
    Actor, Command, DecisionRequest, Digest, Execution, ExecutionId, HoldId, HoldState, Refusal, SessionId,
    UnixMs, UploadId, UserId,
    event::{Created, SendMode},
    form::{FieldErrors, GLOBAL, Inputs, SECRETS_FOLDER},
    hold::{Answer, Assignee},
};
use holdpoint_store::{ApplyError, CreateOutcome, HoldRow, Idempotency, StoreError};
use thiserror::Error;
use uuid::Uuid;

use crate::{Control, attach, attach::Attachment, layout::create_private, ready::Ready};

/// The longest title made of a prompt, in characters.
const MAX_TITLE_CHARS: usize = 100;

/// What a person fills in to start a conversation.
#[derive(Clone, Debug)]
pub struct NewExecution {
    /// The agent's name.
    pub agent: String,
    /// Form fields by name.
    pub inputs: Inputs,
    /// Files for the workspace.
    pub files: Vec<NewFile>,
    /// Who starts it.
    pub by: Actor,
    /// Whose key, and the digest of the request that came with it: the same again starts nothing new.
    pub idempotency: Option<(UserId, String, Digest)>,
}

/// A file for a new conversation.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// The field of the form that it is for; empty where it is for none.
    pub field: String,
    /// What is in it.
    pub content: Content,
}

/// What is in a file for a new conversation.
#[derive(Clone, Debug)]
pub enum Content {
    /// It came with the request.
    Sent(Attachment),
    /// It was uploaded before, all of it, by whoever starts the conversation.
    Uploaded(UploadId),
}

/// A conversation that was started, now or by an earlier request with the same key.
#[derive(Clone, Debug)]
pub struct Started {
    /// Its state.
    pub execution: Arc<Execution>,
    /// The key was seen before.
    pub existed: bool,
}

/// A message of a person's.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// What they wrote.
    pub text: String,
    /// Files for the workspace.
    pub files: Vec<Attachment>,
    /// When it is sent while the agent works.
    pub mode: SendMode,
    /// Who.
    pub by: Actor,
    /// Whose key, and the digest of the request that came with it: the same again is no further message.
    pub idempotency: Option<(UserId, String, Digest)>,
}

/// Why a conversation was not started.
#[derive(Debug, Error)]
pub enum StartError {
    /// No such agent.
    #[error("there is no agent `{name}`; there is: {}", known.join(", "))]
    UnknownAgent {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Fields that are wrong, each with what is wrong.
    #[error("some inputs are wrong")]
    Invalid(FieldErrors),
    /// The key was used for another request.
    #[error("this idempotency key was used for a different request")]
    IdempotencyMismatch,
    /// A file could not be stored.
    #[error("failed to store an attached file: {0}")]
    Attachment(std::io::Error),
    /// The log could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a decision was not taken.
#[derive(Debug, Error)]
pub enum DecideError {
    /// No such hold.
    #[error("there is no such hold")]
    Unknown,
    /// Somebody was first.
    #[error("{} answered this first", by.name)]
    AlreadyAnswered {
        /// Who.
        by: Box<Actor>,
        /// When.
        at: UnixMs,
        /// What they decided.
        answer: Box<Answer>,
    },
    /// The time was over.
    #[error("this hold has expired")]
    Expired,
    /// Nothing waits for it any more; says in which state it is.
    #[error("this hold is {0}: nothing waits for an answer any more")]
    NotOpen(&'static str),
    /// It does not fit the hold.
    #[error("{0}")]
    Invalid(String),
    /// A file could not be stored.
    #[error("failed to store an attached file: {0}")]
    Attachment(std::io::Error),
    /// The log could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why something asked of an execution did not happen.
#[derive(Debug, Error)]
pub enum CommandError {
    /// No such execution.
    #[error("there is no such execution")]
    Unknown,
    /// The state does not allow it.
    #[error("{0}")]
    Refused(Refusal),
    /// A file could not be stored.
    #[error("failed to store an attached file: {0}")]
    Attachment(std::io::Error),
    /// The key was used for another request.
    #[error("this idempotency key was used for a different request")]
    IdempotencyMismatch,
    /// The log could not take it.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::IdempotencyConflict { .. } => Self::IdempotencyMismatch,
            error => Self::Store(error),
        }
    }
}

impl From<ApplyError> for CommandError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::UnknownExecution => Self::Unknown,
            ApplyError::Refused(refusal) => Self::Refused(refusal),
            ApplyError::Store(error) => error.into(),
        }
    }
}

impl Control {
    /// Starts a conversation.
    ///
    /// # Errors
    /// [`StartError`]; nothing was started then.
    pub async fn start(&self, new: NewExecution) -> Result<Started, StartError> {
        let deployed = self.inner.releases.deployed();
        let Some(definition) = deployed.agents.get(&new.agent).cloned() else {
            return Err(StartError::UnknownAgent {
                name: new.agent,
                known: deployed.agents.keys().cloned().collect(),
            });
        };
        let idempotency = new.idempotency.map(|(user, key, request)| Idempotency { user, key, request });
        // What an earlier request has started has its uploads: they are not asked for again.
        if let Some(idempotency) = idempotency.clone()
            && let Some(earlier) = self.store().started(idempotency).await.map_err(start_error)?
        {
            return self.existing(earlier).await;
        }
        let ready = Ready::check(self, &definition, new.inputs, new.files, &new.by).await?;
        let id = ExecutionId(Uuid::now_v7());
        let rehearsal = self.rehearsal() || definition.rehearsal.is_some();
        self.prepare(id, ready.sent, ready.secrets).await.map_err(StartError::Attachment)?;
        let created = Created {
            agent: new.agent,
            definition,
            title: title(&ready.prompt),
            owner: new.by,
            session: SessionId(Uuid::new_v4()),
            inputs: ready.inputs,
            rehearsal,
            forked_from: None,
            release: deployed.stamp,
        };
        let outcome = self
            .store()
            .create_with_uploads(id, created, ready.prompt, ready.places, ready.uploads, idempotency)
            .await;
        if !matches!(outcome, Ok(CreateOutcome::New(_))) {
            // Nothing refers to the attachments that were placed for it.
            let folder = self.inner.options.layout.execution(id);
            let _ = blocking(move || holdpoint_beneath::remove_tree(&folder)).await;
        }
        match outcome.map_err(start_error)? {
            CreateOutcome::New(execution) => {
                // It is started, and its uploads are its own: what fails here is done before its worker starts.
                if let Err(error) = self.inner.settle_uploads(Some(id)).await {
                    tracing::warn!(execution = %id, %error, "failed to move uploads; trying again");
                }
                Ok(Started { execution, existed: false })
            }
            CreateOutcome::Existing(earlier) => self.existing(earlier).await,
        }
    }

    async fn existing(&self, earlier: ExecutionId) -> Result<Started, StartError> {
        let execution = self.store().execution(earlier).await?.ok_or(StartError::IdempotencyMismatch)?;
        Ok(Started { execution, existed: true })
    }

    /// Writes what a session is to find, before it is committed that there is one.
    async fn prepare(
        &self,
        id: ExecutionId,
        files: Vec<(String, Bytes)>,
        secrets: Inputs,
    ) -> std::io::Result<()> {
        if files.is_empty() && secrets.is_empty() {
            return Ok(());
        }
        let layout = self.inner.options.layout.clone();
        blocking(move || {
            layout.create_workspace(id)?;
            attach::write(&layout.workspace(id), &files)?;
            if secrets.is_empty() {
                return Ok(());
            }
            let home = layout.home(id);
            create_private(&home)?;
            let folder = Folder::open(&home)?.make_folder(SECRETS_FOLDER)?;
            secrets.iter().try_for_each(|(name, secret)| folder.replace(name, secret.as_bytes()))
        })
        .await
    }

    /// Decides a hold. The first valid answer wins.
    ///
    /// # Errors
    /// [`DecideError`]; the hold is as it was then.
    pub async fn decide(
        &self,
        hold: HoldId,
        request: DecisionRequest,
        by: Actor,
    ) -> Result<HoldRow, DecideError> {
        self.on_hold(hold, |hold| Command::Decide { hold, request, by }).await
    }

    async fn on_hold(
        &self,
        hold: HoldId,
        command: impl FnOnce(HoldId) -> Command,
    ) -> Result<HoldRow, DecideError> {
        let row = self.store().hold(hold).await?.ok_or(DecideError::Unknown)?;
        match self.store().apply(row.execution, command(hold)).await {
            Ok(_) => self.store().hold(hold).await?.ok_or(DecideError::Unknown),
            Err(ApplyError::Refused(refusal)) => Err(self.why_not(hold, refusal).await?),
            Err(ApplyError::UnknownExecution) => Err(DecideError::Unknown),
            Err(ApplyError::Store(error)) => Err(error.into()),
        }
    }

    /// Says whose an open hold is. That the one may say so, and the other decide it, was asked before.
    ///
    /// # Errors
    /// [`DecideError`]; the hold is as it was then.
    pub async fn assign(
        &self,
        hold: HoldId,
        to: Option<Assignee>,
        by: Actor,
    ) -> Result<HoldRow, DecideError> {
        self.on_hold(hold, |hold| Command::Assign { hold, to, by }).await
    }

    /// Decides a hold with files: a reply with attachments.
    ///
    /// # Errors
    /// [`DecideError`].
    pub async fn decide_with_files(
        &self,
        hold: HoldId,
        mut request: DecisionRequest,
        files: Vec<Attachment>,
        by: Actor,
    ) -> Result<HoldRow, DecideError> {
        let row = self.store().hold(hold).await?.ok_or(DecideError::Unknown)?;
        // Looked at first, so that an answer which comes too late leaves no files behind.
        if row.hold.state == HoldState::Open && !files.is_empty() {
            request.files = self.place(row.execution, files).await.map_err(DecideError::Attachment)?;
        }
        self.decide(hold, request, by).await
    }

    /// The reason in the words of a hold that is settled: the aggregate knows only unsettled ones.
    async fn why_not(&self, hold: HoldId, refusal: Refusal) -> Result<DecideError, StoreError> {
        Ok(match refusal {
            Refusal::AlreadyAnswered { by, at, answer } => DecideError::AlreadyAnswered { by, at, answer },
            Refusal::Expired => DecideError::Expired,
            Refusal::NotOpen(state) => DecideError::NotOpen(state),
            Refusal::Invalid(text) => DecideError::Invalid(text),
            Refusal::UnknownHold | Refusal::Ended(_) => match self.store().hold(hold).await? {
                None => DecideError::Unknown,
                Some(row) => match (&row.hold.state, row.hold.state.decision()) {
                    (HoldState::Indeterminate { .. }, _) => DecideError::NotOpen("indeterminate"),
                    (_, Some(decision)) => DecideError::AlreadyAnswered {
                        by: Box::new(decision.by.clone()),
                        at: decision.at,
                        answer: Box::new(decision.answer.clone()),
                    },
                    (HoldState::Expired { .. }, None) => DecideError::Expired,
                    (state, None) => DecideError::NotOpen(state.as_str()),
                },
            },
            other => DecideError::Invalid(other.to_string()),
        })
    }

    /// Sends a message; it answers the reply hold if one is open.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn message(
        &self,
        id: ExecutionId,
        text: String,
        files: Vec<Attachment>,
        mode: SendMode,
        by: Actor,
    ) -> Result<Arc<Execution>, CommandError> {
        self.message_once(id, NewMessage { text, files, mode, by, idempotency: None }).await
    }

    /// The same, once for a key.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn message_once(
        &self,
        id: ExecutionId,
        new: NewMessage,
    ) -> Result<Arc<Execution>, CommandError> {
        let execution = self.store().execution(id).await?.ok_or(CommandError::Unknown)?;
        let idempotency = new.idempotency.map(|(user, key, request)| Idempotency { user, key, request });
        // Looked at first, so that the same request leaves no files behind.
        if let Some(idempotency) = idempotency.clone()
            && self.store().started(idempotency).await?.is_some()
        {
            return Ok(execution);
        }
        let files = if execution.status.is_final() { Vec::new() } else { new.files };
        let files = self.place(id, files).await.map_err(CommandError::Attachment)?;
        let command = Command::Message { text: new.text, files, mode: new.mode, by: new.by };
        let Some(idempotency) = idempotency else {
            return Ok(self.store().apply(id, command).await?.execution);
        };
        match self.store().apply_once(id, command, idempotency).await? {
            Some(applied) => Ok(applied.execution),
            None => self.store().execution(id).await?.ok_or(CommandError::Unknown),
        }
    }

    /// Puts files into an execution's workspace without a message that names them: their paths there.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn attach(&self, id: ExecutionId, files: Vec<Attachment>) -> Result<Vec<String>, CommandError> {
        let execution = self.store().execution(id).await?.ok_or(CommandError::Unknown)?;
        if execution.status.is_final() {
            return Err(CommandError::Refused(Refusal::Ended(execution.status.as_str())));
        }
        self.place(id, files).await.map_err(CommandError::Attachment)
    }

    /// Puts attached files into an execution's workspace, which is not there before its first worker.
    async fn place(&self, id: ExecutionId, files: Vec<Attachment>) -> std::io::Result<Vec<String>> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let layout = self.inner.options.layout.clone();
        blocking(move || {
            layout.create_workspace(id)?;
            attach::place(&layout.workspace(id), &files)
        })
        .await
    }

    /// Stops the present turn.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn interrupt(&self, id: ExecutionId, by: Actor) -> Result<Arc<Execution>, CommandError> {
        Ok(self.store().apply(id, Command::Interrupt { by }).await?.execution)
    }

    /// Ends the execution now.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn cancel(&self, id: ExecutionId, by: Actor) -> Result<Arc<Execution>, CommandError> {
        Ok(self.store().apply(id, Command::Cancel { by }).await?.execution)
    }

    /// Says that the execution is done, at once or as soon as the present turn is over.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn finish(&self, id: ExecutionId, by: Actor) -> Result<Arc<Execution>, CommandError> {
        Ok(self.store().apply(id, Command::Finish { by }).await?.execution)
    }
}

fn start_error(error: StoreError) -> StartError {
    match error {
        StoreError::Missing { what: "upload" } => StartError::Invalid(FieldErrors::from([(
            GLOBAL.to_owned(),
            "another conversation has just taken one of these uploads; choose its file again".to_owned(),
        )])),
        StoreError::IdempotencyConflict { .. } => StartError::IdempotencyMismatch,
        error => StartError::Store(error),
    }
}

/// The first line of a prompt, short.
fn title(prompt: &str) -> String {
    let line = prompt.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut title: String = line.chars().take(MAX_TITLE_CHARS).collect();
    if title.len() < line.len() {
        title.push('…');
    }
    title
}

/// Files are written away from the threads that serve everybody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
