//! Releases, as far as the control plane has to do with them: what new conversations run on, how a new one is tried
//! out, and how a conversation is moved. Images are built by whoever deploys.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use holdpoint_model::{
    Actor, AgentDef, Command, Completion, Execution, ExecutionId, Lock, Policy, ReleaseNumber, ReleaseState,
    Rule, SessionId, Stamp, Status, event::Created, lock::ImageLock, release::IMAGE_DEPENDENCIES,
};
use holdpoint_store::{By, ReleaseError, ReleaseRow};
use thiserror::Error;
use uuid::Uuid;

use crate::{CommandError, Control, lock};

/// The agent by which a release is tried out. It cannot be started by anybody.
pub const VERIFICATION_AGENT: &str = "verification-of-a-release";

/// The name of the script that answers it.
pub const VERIFICATION_SCRIPT: &str = "verification of a release";

/// What new conversations run on.
#[derive(Clone, Debug)]
pub(crate) struct Deployed {
    /// The release; None before the first deployment.
    pub(crate) stamp: Option<Stamp>,
    /// Agents by name.
    pub(crate) agents: Arc<BTreeMap<String, AgentDef>>,
}

/// What is known of releases besides what is stored.
#[derive(Debug)]
pub(crate) struct Releases {
    deployed: Mutex<Deployed>,
    /// The images that verifications were seen running in. What is lost here is tried out again.
    ran: Mutex<HashMap<ExecutionId, Option<String>>>,
    /// What is current changes here and in the store together.
    changing: tokio::sync::Mutex<()>,
}

/// How trying a release out went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// It is under way.
    Running(ExecutionId),
    /// It went through, in the release's own image.
    Passed(ExecutionId),
    /// It did not.
    Failed(ExecutionId, String),
}

/// Why a deployment did not go on.
#[derive(Debug, Error)]
pub enum DeployError {
    /// The configuration cannot be read.
    #[error("the configuration cannot be used: {0}")]
    Configuration(String),
    /// It is not what the lock says.
    #[error("holdpoint.toml has changed since the deployment was planned")]
    Changed,
    /// The release has not been tried out, or not with success.
    #[error("release {0} has not been tried out yet")]
    Untried(ReleaseNumber),
    /// The agent of a conversation is not part of the release.
    #[error("release {number} has no agent `{agent}`")]
    NoAgent {
        /// Which release.
        number: ReleaseNumber,
        /// Which agent.
        agent: String,
    },
    /// A release is not where it would have to be.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// A conversation cannot be started or moved.
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl From<holdpoint_store::StoreError> for DeployError {
    fn from(error: holdpoint_store::StoreError) -> Self {
        Self::Release(error.into())
    }
}

impl Releases {
    pub(crate) fn new(agents: BTreeMap<String, AgentDef>) -> Self {
        Self {
            deployed: Mutex::new(Deployed { stamp: None, agents: Arc::new(agents) }),
            ran: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn deployed(&self) -> Deployed {
        lock(&self.deployed).clone()
    }

    /// What a verification runs in, seen while it does.
    pub(crate) fn saw(&self, execution: ExecutionId, image: Option<String>) {
        lock(&self.ran).insert(execution, image);
    }
}

impl Control {
    /// What new conversations run on; None before the first deployment.
    #[must_use]
    pub fn release(&self) -> Option<Stamp> {
        self.inner.releases.deployed().stamp
    }

    /// Takes what is current from the store. Asked for once, before anybody starts a conversation.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn load_release(&self) -> Result<(), holdpoint_store::StoreError> {
        if let Some(row) = self.store().current_release().await? {
            self.take(&row);
        }
        Ok(())
    }

    fn take(&self, row: &ReleaseRow) {
        let deployed = Deployed { stamp: Some(row.stamp()), agents: Arc::new(row.agents.clone()) };
        *lock(&self.inner.releases.deployed) = deployed;
    }

    /// Begins a release of the configuration as it is on disk now, or takes up an unfinished one of the same.
    ///
    /// # Errors
    /// When the configuration is not what the lock says, or cannot be read.
    pub async fn begin_release(&self, lock: Lock, by: By) -> Result<ReleaseRow, DeployError> {
        let agents = (self.inner.options.read_agents)().map_err(DeployError::Configuration)?;
        if !lock.is_of(&agents) {
            return Err(DeployError::Changed);
        }
        Ok(self.store().begin_release(lock, agents, by).await?)
    }

    /// Says which image was built for a release.
    ///
    /// # Errors
    /// When the release is not unfinished.
    pub async fn release_image(
        &self,
        number: ReleaseNumber,
        image: ImageLock,
    ) -> Result<ReleaseRow, DeployError> {
        Ok(self.store().release_image(number, image).await?)
    }

    /// Tries a release out: a rehearsed conversation in its image. Asked again it says how that goes.
    ///
    /// # Errors
    /// When the release is not unfinished.
    pub async fn verify(&self, number: ReleaseNumber, by: Actor) -> Result<Verification, DeployError> {
        let row = self.known_release(number).await?;
        if let Some(verification) = self.verification(&row).await? {
            return Ok(verification);
        }
        if row.state != ReleaseState::Building {
            let why = "it is not to be tried out any more".into();
            return Err(ReleaseError::Refused { number, state: row.state, why }.into());
        }
        let id = ExecutionId(Uuid::now_v7());
        // Should this end in between, the first one ends by itself, unnoticed: a script answers it.
        self.store().release_verification(number, id).await?;
        let created = Created {
            agent: VERIFICATION_AGENT.into(),
            definition: definition(),
            title: format!("Release {number} is tried out"),
            owner: by,
            session: SessionId(Uuid::new_v4()),
            inputs: BTreeMap::new(),
            rehearsal: true,
            forked_from: None,
            release: Some(row.stamp()),
        };
        let prompt = match row.lock.image {
            Some(_) => format!("Look at {IMAGE_DEPENDENCIES}."),
            None => "Look around.".into(),
        };
        self.store().create(id, created, prompt, Vec::new(), None).await?;
        Ok(Verification::Running(id))
    }

    /// How trying a release out went, if it was; None too where what it ran in is not known any more.
    async fn verification(&self, row: &ReleaseRow) -> Result<Option<Verification>, DeployError> {
        let Some(id) = row.verification else { return Ok(None) };
        let Some(execution) = self.store().execution(id).await? else { return Ok(None) };
        let seen = lock(&self.inner.releases.ran).get(&id).cloned();
        Ok(judge(row, &execution, seen))
    }

    /// Makes a release the one that new conversations run on: an unfinished one that was tried out, or an earlier one.
    ///
    /// # Errors
    /// When it was not tried out, has failed, or its image is gone.
    pub async fn activate(&self, number: ReleaseNumber, by: By) -> Result<ReleaseRow, DeployError> {
        let _changing = self.inner.releases.changing.lock().await;
        let row = self.known_release(number).await?;
        if row.state == ReleaseState::Building
            && !matches!(self.verification(&row).await?, Some(Verification::Passed(_)))
        {
            return Err(DeployError::Untried(number));
        }
        let row = self.store().activate_release(number, by).await?;
        // Committed: new conversations take it from here on, and after a restart too.
        self.take(&row);
        Ok(row)
    }

    /// Moves a conversation to a release: its next worker runs on that. Refused while it is at work.
    ///
    /// # Errors
    /// When the release cannot be run on, does not have its agent, or the conversation is at work or over.
    pub async fn move_to(
        &self,
        id: ExecutionId,
        number: ReleaseNumber,
        by: Actor,
    ) -> Result<Arc<Execution>, DeployError> {
        let row = self.known_release(number).await?;
        if !matches!(row.state, ReleaseState::Current | ReleaseState::Retired) {
            let why = "conversations run on one that is or was current".into();
            return Err(ReleaseError::Refused { number, state: row.state, why }.into());
        }
        let execution = self.store().execution(id).await?.ok_or(CommandError::Unknown)?;
        let definition = row.agents.get(&execution.agent).cloned();
        let definition =
            definition.ok_or_else(|| DeployError::NoAgent { number, agent: execution.agent.clone() })?;
        let command = Command::Move { release: row.stamp(), definition: Box::new(definition), by };
        Ok(self.store().apply(id, command).await.map_err(CommandError::from)?.execution)
    }

    async fn known_release(&self, number: ReleaseNumber) -> Result<ReleaseRow, DeployError> {
        Ok(self.store().release(number).await?.ok_or(ReleaseError::Unknown(number))?)
    }
}

/// The agent that tries a release out: it may do what its script does, and nothing else.
fn definition() -> AgentDef {
    AgentDef {
        title: "Verification of a release".into(),
        completion: Completion::Auto,
        policy: Policy {
            allow: vec![
                Rule::new("Bash", Some(&format!("cat {IMAGE_DEPENDENCIES}"))),
                Rule::new("Bash", Some("pwd")),
            ],
            ..Policy::default()
        },
        rehearsal: Some(VERIFICATION_SCRIPT.into()),
        keep: "7d".parse().ok(),
        ..AgentDef::default()
    }
}

/// What a verification comes to. `seen`: what it ran in, if that is known.
fn judge(row: &ReleaseRow, execution: &Execution, seen: Option<Option<String>>) -> Option<Verification> {
    let id = execution.id;
    let failed = |why: String| Some(Verification::Failed(id, why));
    match execution.status {
        Status::Finished => match (&row.lock.image, seen) {
            (None, _) => Some(Verification::Passed(id)),
            (Some(_), None) => None,
            (Some(image), Some(ran)) if ran.as_ref() == Some(&image.id) => Some(Verification::Passed(id)),
            (Some(image), Some(ran)) => failed(format!(
                "it ran in {}, and not in {}",
                ran.as_deref().unwrap_or("no container"),
                image.id
            )),
        },
        Status::Error | Status::Cancelled => failed(match &execution.outcome {
            Some(holdpoint_model::execution::Outcome::Failed { error }) => {
                format!("{}: {} {}", error.title, error.detail, error.hint).trim().to_owned()
            }
            _ => "it was cancelled".into(),
        }),
        Status::Awaiting => failed("it asked for something that no verification asks for".into()),
        Status::Starting | Status::Running => match &execution.start_problem {
            Some(problem) => failed(format!("{}; try: {}", problem.title, problem.hint)),
            None => Some(Verification::Running(id)),
        },
    }
}

#[cfg(test)]
mod tests {
    use holdpoint_model::{Channel, Digest, Event, EventBody, event::Problem, lock::LOCK_VERSION};
    use rstest::rstest;

    use super::*;

    fn row(image: Option<&str>) -> ReleaseRow {
        ReleaseRow {
            number: 1,
            state: ReleaseState::Building,
            lock: Lock {
                version: LOCK_VERSION,
                holdpoint: String::new(),
                claude_cli: String::new(),
                settings: Digest::of_bytes(&[]),
                policy: Digest::of_bytes(&[]),
                base: None,
                dependencies: None,
                configuration: None,
                image: image.map(|id| ImageLock { id: id.into(), reference: None }),
                sources: BTreeMap::new(),
                plugins: Vec::new(),
            },
            agents: BTreeMap::new(),
            by: person(),
            created_at: 0,
            activated_at: None,
            verification: None,
            problem: None,
            going_on: 0,
        }
    }

    fn person() -> Actor {
        Actor { user: None, name: "ada".into(), channel: Channel::Terminal }
    }

    fn execution(end: Option<EventBody>) -> Execution {
        let id = ExecutionId(Uuid::from_u128(1));
        let created = Created {
            agent: VERIFICATION_AGENT.into(),
            definition: definition(),
            title: String::new(),
            owner: person(),
            session: SessionId(Uuid::from_u128(2)),
            inputs: BTreeMap::new(),
            rehearsal: true,
            forked_from: None,
            release: None,
        };
        let bodies = std::iter::once(EventBody::ExecutionCreated(Box::new(created))).chain(end);
        let log: Vec<Event> = (1..)
            .zip(bodies)
            .map(|(seq, body)| Event { execution: id, seq, at: 0, incarnation: None, worker_seq: None, body })
            .collect();
        Execution::rebuild(&log).expect("a log")
    }

    fn finished() -> Option<EventBody> {
        Some(EventBody::ExecutionFinished { by: person(), result: String::new(), structured: None })
    }

    #[rstest]
    #[case::passed(Some("a"), finished(), Some(Some("a")), Some("passed"))]
    #[case::no_image(None, finished(), None, Some("passed"))]
    #[case::another_image(Some("a"), finished(), Some(Some("b")), Some("failed"))]
    #[case::no_container(Some("a"), finished(), Some(None), Some("failed"))]
    #[case::nobody_saw(Some("a"), finished(), None, None)]
    #[case::running(Some("a"), None, None, Some("running"))]
    #[case::cancelled(Some("a"), Some(EventBody::ExecutionCancelled { by: person() }), Some(Some("a")), Some("failed"))]
    #[case::failed(
        Some("a"),
        Some(EventBody::ExecutionFailed { error: Problem { code: "x".into(), title: "no".into(), detail: String::new(), hint: String::new() } }),
        Some(Some("a")),
        Some("failed")
    )]
    fn a_release_passes_in_its_own_image_alone(
        #[case] image: Option<&str>,
        #[case] end: Option<EventBody>,
        #[case] seen: Option<Option<&str>>,
        #[case] expected: Option<&str>,
    ) {
        let judged = judge(&row(image), &execution(end), seen.map(|ran| ran.map(str::to_owned)));
        let name = judged.as_ref().map(|judged| match judged {
            Verification::Running(_) => "running",
            Verification::Passed(_) => "passed",
            Verification::Failed(..) => "failed",
        });
        assert_eq!(name, expected, "{judged:?}");
    }
}
