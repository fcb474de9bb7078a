//! `holdpoint ps`: the sessions that run.

use serde_json::Value;

use crate::{
    cli::{Context, table::Table},
    client::{
        ids::short,
        types::{InstanceItem, WorkerItem, items},
    },
    render::{one_line, time},
    term,
};

/// Carries it out.
///
/// # Errors
/// When they cannot be read, or may not be.
pub(super) async fn run(context: &Context) -> anyhow::Result<()> {
    let page: Value = context.api()?.get("/v1/workers").await?;
    if context.json {
        return term::json(&page);
    }
    let list: Vec<WorkerItem> = items(&page);
    if list.is_empty() {
        term::line("No session runs: whatever waits for a person waits without one.")?;
        return Ok(term::line("→ holdpoint list")?);
    }
    let now = time::now();
    let mut table = Table::new(&[
        "execution",
        "agent",
        "worker",
        "engine",
        "container",
        "state",
        "memory",
        "processes",
        "since",
    ]);
    for item in &list {
        let unknown = || "-".to_owned();
        let seen = item.worker.as_ref();
        let say = |say: &dyn Fn(&InstanceItem) -> String| seen.map_or_else(unknown, say);
        let container = seen.and_then(|seen| seen.container.as_ref());
        table.row([
            short(&item.execution).to_owned(),
            one_line(&item.agent, 24),
            item.incarnation.to_string(),
            say(&|seen| seen.engine.clone()),
            container.map_or_else(unknown, |container| container.id.chars().take(12).collect()),
            seen.map_or_else(|| item.residency.clone(), |seen| seen.state.clone()),
            say(&|seen| seen.memory_bytes.said(time::mebibytes)),
            say(&|seen| seen.processes.said(|count| count.to_string())),
            say(&|seen| time::ago(seen.started_at, now)),
        ]);
    }
    Ok(term::line(&table.to_string())?)
}
