//! Starting a worker: folders, tokens, specification, process.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use holdpoint_engine::{StartWorker, WorkerId};
use holdpoint_model::{
    Digest, Execution,
    event::{EventBody, ToolResult},
    wire::{WIRE_VERSION, WorkerSpec, block_digest},
};
use holdpoint_store::StoreError;
use thiserror::Error;

use crate::{Inner, Purpose, commands::blocking, layout::create_private};

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

impl Inner {
    /// Starts the incarnation that `state` says is starting. If this process ends in between, the
    /// next pass finds no such worker alive, and starts another.
    pub(crate) async fn launch(&self, state: &Execution) -> Result<(), LaunchError> {
        let id = WorkerId { execution: state.id, incarnation: state.incarnation };
        self.restore_if_gone(state).await.map_err(|error| LaunchError::Restore(error.to_string()))?;
        let layout = &self.options.layout;
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
                copy_missing(&folder, &workspace.join(".claude"))?;
            }
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&written)?;
            io::Write::write_all(&mut file, serde_json::to_string_pretty(&spec)?.as_bytes())?;
            file.sync_all()
        });
        prepared.await.map_err(|source| LaunchError::Prepare { path: run_dir.clone(), source })?;
        self.options.engine.start(StartWorker { id, spec: path, run_dir }).await?;
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
            system_prompt: definition.system_prompt.clone(),
            plugins: definition.plugins.clone(),
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

/// Copies a folder, leaving files that are there already: a later incarnation keeps what the
/// session has changed. Links are left out; they would point out of the workspace.
fn copy_missing(from: &Path, to: &Path) -> io::Result<()> {
    create_private(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_missing(&entry.path(), &target)?;
        } else if kind.is_file() && fs::symlink_metadata(&target).is_err() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
