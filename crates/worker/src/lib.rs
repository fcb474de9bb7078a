//! One session's supervisor: the Claude CLI on one side, the control plane on the other, a journal
//! between them.
//!
//! It is the only process that talks to the session. What it sees it numbers, journals and tells;
//! what it is told to hand over it hands over once. It outlives the control plane, and ends itself
//! before its lease is over.

mod disk;
mod facts;
mod files;
mod journal;
mod link;
mod notes;
mod places;
mod session;
mod supervisor;
mod untold;

use std::path::Path;

use anyhow::Context as _;
use holdpoint_model::wire::{WIRE_VERSION, WorkerSpec};

/// Runs the worker that this specification file describes, until its session ends.
///
/// Everything happens on the calling thread: the kernel ends the CLI when the thread that started
/// it ends, so that thread must be the one that lives as long as the process.
///
/// # Errors
/// When the specification cannot be used or the worker ends without having been told to.
pub fn run(spec: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(spec).with_context(|| format!("failed to read {}", spec.display()))?;
    let spec: WorkerSpec = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a worker's specification", spec.display()))?;
    anyhow::ensure!(
        spec.wire == WIRE_VERSION,
        "this worker speaks wire version {WIRE_VERSION}, its specification {}; both must come from the same Holdpoint",
        spec.wire
    );
    // Away from the terminal that the control plane was started in. Fails only if that is so already.
    let _ = rustix::process::setsid();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(supervisor::supervise(spec))
}
