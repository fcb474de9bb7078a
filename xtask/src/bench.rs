//! `cargo xtask bench`: the figures of `docs/performance.md`, from a release build.

use crate::{run, tools};

/// Runs every benchmark; each prints its own table, with something else measured in the same run.
pub(crate) fn bench() -> anyhow::Result<()> {
    tools::install()?;
    run::build_release()?;
    for name in ["log", "checkpoints", "bench", "parked", "starts", "scale"] {
        run::example(name, &[])?;
    }
    Ok(())
}
