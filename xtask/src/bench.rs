//! `cargo xtask bench`: the figures of `docs/performance.md`, from a release build.

use crate::{run, tools};

/// Runs every benchmark; each prints its own table, with something else measured in the same run.
pub(crate) fn bench() -> anyhow::Result<()> {
    tools::install()?;
    run::cargo(&["build", "--release", "-p", "holdpoint"])?;
    run::cargo(&["run", "--release", "-p", "holdpoint-store", "--example", "bench"])?;
    run::cargo(&["run", "--release", "-p", "holdpoint-tests", "--example", "bench"])?;
    run::cargo(&["run", "--release", "-p", "holdpoint-tests", "--example", "parked"])?;
    run::cargo(&["run", "--release", "-p", "holdpoint-tests", "--example", "starts"])
}
