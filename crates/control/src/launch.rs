//! Starting a worker: folders, tokens, specification, process.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use holdpoint_beneath::{Folder, is_the_trees_doing};
use holdpoint_engine::{
    EngineError, StartWorker, WorkerId,
    container::{NOTES_FILE, SESSION_FOLDER},
};
use holdpoint_model::{
    ContainerDef, Digest, Execution, Network, Residency, Stamp,
    container::Note,
    event::{EventBody, Problem, ToolResult},
    release::IMAGE_INSTRUCTIONS,
    wire::{Bridge, WIRE_VERSION, WorkerSpec, block_digest},
};
use holdpoint_store::StoreError;
use thiserror::Error;
use tracing::warn;

use crate::{Inner, Purpose, UploadError, VERIFICATION_AGENT, commands::blocking, layout::create_private};

/// The name of the specification in a worker's run folder.
const SPEC_FILE: &str = "spec.json";

/// Events read at once while a turn is gathered.
const BLOCKS_AT_ONCE: u32 = 500;

/// Why a worker could not be started.
#[derive(Debug, Error)]
pub(crate) enum LaunchError {
    #[error("failed to prepare {path}: {source}")]
    Prepare { path: PathBuf, source: io::Error },
    #[error("failed to restore the session's files: {0}")]
    Restore(String),
    #[error(transparent)]
    Engine(#[from] holdpoint_engine::EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LaunchError {
    /// What people see of it; None for what the log's own state has to settle.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let (code, title, detail, hint) = match self {
            Self::Engine(EngineError::Container { why, next, said }) => {
                ("container_failed", why.clone(), said.clone(), next.clone())
            }
            Self::Prepare { path, source } => (
                "start_failed",
                format!("failed to prepare {}", path.display()),
                source.to_string(),
                format!(
                    "ls -ld {0}; df -h {0}     (it must be writable for the user that runs Holdpoint)",
                    path.display()
                ),
            ),
            Self::Engine(EngineError::Prepare { path, source }) => (
                "start_failed",
                format!("failed to make {}", path.display()),
                source.to_string(),
                format!(
                    "ls -ld {0}; df -h {0}     (it must be writable for the user that runs Holdpoint)",
                    path.display()
                ),
            ),
            Self::Engine(_) | Self::Restore(_) | Self::Store(_) => return None,
        };
        Some(Problem { code: code.into(), title, detail, hint })
    }
}

/// The release whose image a conversation runs in, where that has one and its agent does not name another.
fn image_of(state: &Execution) -> Option<&Stamp> {
    let own = state.definition.container.image.is_some();
    state.release.as_ref().filter(|stamp| stamp.image.is_some() && !own)
}

fn container_of(state: &Execution) -> ContainerDef {
    let image = image_of(state).and_then(|stamp| stamp.image.clone());
    let def = state.definition.container.clone();
    ContainerDef { image: image.or_else(|| def.image.clone()), ..def }
}

/// What is added to the CLI's own system prompt: the agent's own, and what it has to know of its image.
fn system_prompt(state: &Execution) -> String {
    let of_image = image_of(state).map(|_| IMAGE_INSTRUCTIONS);
    let own = Some(state.definition.system_prompt.as_str()).filter(|prompt| !prompt.is_empty());
    own.into_iter().chain(of_image).collect::<Vec<_>>().join("\n\n")
}

impl Inner {
    /// Why the session of a worker that is gone never came up in its container, if that is known.
    pub(crate) async fn never_up(&self, state: &Execution) -> Option<Problem> {
        if state.residency != Residency::Starting {
            return None;
        }
        let notes = self.options.layout.run(state.id, state.incarnation).join(NOTES_FILE);
        let text = blocking(move || fs::read_to_string(notes)).await.ok()?;
        text.lines().find_map(|line| match serde_json::from_str(line).ok()? {
            Note::NotStarted { why, next, said } => {
                Some(Problem { code: "container_failed".into(), title: why, detail: said, hint: next })
            }
            _ => None,
        })
    }

    /// Starts the incarnation that `state` says is starting. If this process ends in between, the
    /// next pass finds no such worker alive, and starts another.
    pub(crate) async fn launch(&self, state: &Execution) -> Result<(), LaunchError> {
        let id = WorkerId { execution: state.id, incarnation: state.incarnation };
        self.restore_if_gone(state).await.map_err(|error| LaunchError::Restore(error.to_string()))?;
        let layout = &self.options.layout;
        let folder = layout.workspace(id.execution);
        // Before the session sees its workspace: what people uploaded for it.
        self.settle_uploads(Some(state.id)).await.map_err(|error| match error {
            UploadError::Store(error) => LaunchError::Store(error),
            error => LaunchError::Prepare { path: folder, source: io::Error::other(error) },
        })?;
        let run_dir = layout.run(id.execution, id.incarnation);
        let spec = self.spec(state, id, run_dir.clone()).await?;
        let (workspace, home, folder) =
            (spec.workspace.clone(), spec.home.clone(), state.definition.claude_folder.clone());
        let path = run_dir.join(SPEC_FILE);
        let (written, run) = (path.clone(), run_dir.clone());
        let prepared = blocking(move || {
            create_private(&workspace)?;
            create_private(&home)?;
            create_private(&run)?;
            if let Some(folder) = folder {
                copy_missing(&folder, &Folder::open(&workspace)?, Path::new(".claude"))?;
            }
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&written)?;
            io::Write::write_all(&mut file, serde_json::to_string_pretty(&spec)?.as_bytes())?;
            file.sync_all()
        });
        prepared.await.map_err(|source| LaunchError::Prepare { path: run_dir.clone(), source })?;
        let start = StartWorker {
            id,
            spec: path,
            run_dir,
            workspace: layout.workspace(id.execution),
            home: layout.home(id.execution),
            read_only: state.definition.plugins.clone(),
            container: container_of(state),
        };
        self.options.engine.start(start).await?;
        if state.agent == VERIFICATION_AGENT {
            // What it really runs in, and not what was asked for.
            let seen = self.options.engine.look(&[id]).await?;
            let image = seen.into_iter().find_map(|instance| instance.container);
            self.releases.saw(id.execution, image.map(|container| container.image_digest));
        }
        Ok(())
    }

    async fn spec(
        &self,
        state: &Execution,
        id: WorkerId,
        run_dir: PathBuf,
    ) -> Result<WorkerSpec, StoreError> {
        let options = &self.options;
        let definition = &state.definition;
        let turn_messages = state.turn.as_ref().map(|turn| turn.messages.clone()).unwrap_or_default();
        Ok(WorkerSpec {
            wire: WIRE_VERSION,
            execution: id.execution,
            incarnation: id.incarnation,
            control_url: options.worker_url.clone(),
            worker_token: options.tokens.sign(Purpose::Worker, id),
            gateway_url: options.gateway_url.clone(),
            gateway_token: options.tokens.sign(Purpose::Gateway, id),
            cli: options.cli.clone(),
            bridge: self.bridge(state, &run_dir),
            container: container_of(state),
            session: state.session,
            workspace: options.layout.workspace(id.execution),
            home: options.layout.home(id.execution),
            run_dir,
            turn_open: state.turn.is_some(),
            turn_messages,
            known_results: self.known_results(state).await?,
            losses: state.losses_in_a_row,
            known_blocks: self.known_blocks(state).await?,
            background: definition.background,
            policy: definition.policy.clone(),
            model: definition.model.clone(),
            system_prompt: system_prompt(state),
            plugins: definition.plugins.clone(),
            suggests: image_of(state).is_some(),
            max_turns: definition.limits.turns,
            max_budget_usd: definition.limits.budget_usd.map(|budget| {
                #[allow(clippy::cast_precision_loss)]
                let spent = state.totals.cost_micros as f64 / 1e6;
                (budget - spent).max(0.000_001)
            }),
            exclude: definition.exclude.clone(),
            environment: options.environment.clone(),
        })
    }

    /// How this worker will reach its session, where that is in a container.
    fn bridge(&self, state: &Execution, run_dir: &Path) -> Option<Bridge> {
        self.options.engine.bridge().map(|side| Bridge {
            program: side.program,
            folder: run_dir.join(SESSION_FOLDER),
            notes: run_dir.join(NOTES_FILE),
            memory_bytes: Some(state.definition.container.memory.0),
            processes: Some(state.definition.container.processes),
            gateway: (state.definition.container.network == Network::None).then_some(side.gateway_dir),
        })
    }

    /// The blocks of the open turn, from the log.
    async fn known_blocks(&self, state: &Execution) -> Result<Vec<Digest>, StoreError> {
        let Some(turn) = &state.turn else { return Ok(Vec::new()) };
        let mut known = Vec::new();
        let mut after = turn.began_after;
        loop {
            let page =
                self.options.store.events_of_kind(state.id, &["assistant"], after, BLOCKS_AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(known) };
            after = last.seq;
            known.extend(page.into_iter().filter_map(|event| match event.body {
                EventBody::Assistant(block) => Some(block_digest(&block.block)),
                _ => None,
            }));
        }
    }

    /// The results of the open turn's tools, from the log: none of these tools runs again.
    async fn known_results(&self, state: &Execution) -> Result<BTreeMap<String, ToolResult>, StoreError> {
        let mut known = BTreeMap::new();
        for (call, tool) in state.turn.iter().flat_map(|turn| &turn.tools) {
            let Some(seq) = tool.result_seq else { continue };
            if let Some(EventBody::ToolResult(result)) =
                self.options.store.event(state.id, seq).await?.map(|event| event.body)
            {
                known.insert(call.clone(), result);
            }
        }
        Ok(known)
    }
}

/// Copies a folder to a place in a workspace, leaving what is there already: a later incarnation keeps what
/// the session has changed, also where it has put a link or a file in the place of a folder. Links of the
/// agent are left out; they would point out of the workspace.
fn copy_missing(from: &Path, to: &Folder, name: &Path) -> io::Result<()> {
    let to = match to.make_folder(name) {
        Err(error) if is_the_trees_doing(&error) => {
            warn!(%error, folder = %from.display(), "the session has something else in the place of a folder of its agent");
            return Ok(());
        }
        other => other?,
    };
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, name) = (entry.file_type()?, PathBuf::from(entry.file_name()));
        if kind.is_dir() {
            copy_missing(&entry.path(), &to, &name)?;
        } else if kind.is_file() {
            copy_file(&entry.path(), &to, &name)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Folder, name: &Path) -> io::Result<()> {
    let mut copy = match to.create_new(name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    };
    let copied = fs::File::open(from).and_then(|mut file| {
        io::copy(&mut file, &mut copy)?;
        copy.set_permissions(file.metadata()?.permissions())
    });
    if copied.is_err() {
        // Half of it would be taken for the whole next time.
        let _ = to.remove_file(name);
    }
    copied
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// An agent's folder, a workspace, and a folder of the host.
    fn world() -> (tempfile::TempDir, PathBuf, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().expect("dir");
        let [agent, work, host] = ["agent", "work", "host"].map(|name| dir.path().join(name));
        fs::create_dir_all(agent.join("hooks")).expect("folder");
        fs::write(agent.join("settings.json"), "{}").expect("file");
        fs::write(agent.join("hooks/run.sh"), "#!").expect("file");
        fs::set_permissions(agent.join("hooks/run.sh"), fs::Permissions::from_mode(0o755)).expect("mode");
        symlink(&host, agent.join("link")).expect("link");
        for folder in [&work, &host] {
            fs::create_dir(folder).expect("folder");
        }
        (dir, agent, work, host)
    }

    fn copy(agent: &Path, work: &Path) {
        let work = Folder::open(work).expect("workspace");
        copy_missing(agent, &work, Path::new(".claude")).expect("copied");
    }

    #[test]
    fn what_is_missing_is_copied_and_nothing_is_overwritten() {
        let (_dir, agent, work, _) = world();
        copy(&agent, &work);
        let run = work.join(".claude/hooks/run.sh");
        assert_eq!(fs::metadata(&run).expect("copied").permissions().mode() & 0o777, 0o755);
        assert!(!work.join(".claude/link").exists());
        fs::write(&run, "changed").expect("file");
        fs::remove_file(work.join(".claude/settings.json")).expect("remove");
        copy(&agent, &work);
        assert_eq!(fs::read_to_string(&run).expect("kept"), "changed");
        assert_eq!(fs::read_to_string(work.join(".claude/settings.json")).expect("again"), "{}");
    }

    #[test]
    fn nothing_is_copied_through_a_link() {
        for case in ["", "hooks", "settings.json", "hooks/run.sh"] {
            let (_dir, agent, work, host) = world();
            let at = work.join(".claude").join(case);
            let at = if case.is_empty() { work.join(".claude") } else { at };
            fs::create_dir_all(at.parent().expect("parent")).expect("folder");
            let target = if case.contains('.') { host.join("new") } else { host.clone() };
            symlink(target, &at).expect("link");
            copy(&agent, &work);
            assert_eq!(fs::read_dir(&host).expect("host").count(), 0, "{case}");
            assert!(at.is_symlink(), "{case}: what the session has made is kept");
            if case == "hooks" {
                assert!(work.join(".claude/settings.json").is_file(), "and the rest is there");
            }
        }
    }
}
