//! `holdpoint fork`: go on from an earlier point of a conversation, in a new one.

use clap::Args;
use serde_json::json;

use crate::{
    cli::{Context, table::Table},
    client::ids::{self, short},
    render::time::bytes,
    term,
};

/// Arguments of `fork`.
#[derive(Debug, Args)]
pub struct ForkArgs {
    /// Which conversation: its id, or an end or beginning of it that means one only
    pub execution: String,
    /// What to say there; without it the points to go on from are listed
    pub message: Option<String>,
    /// The point to go on from, as listed; the last one where absent
    #[arg(long, value_name = "SEQ", requires = "message")]
    pub at: Option<u64>,
}

/// Carries it out.
///
/// # Errors
/// When there is no such point.
pub(super) async fn run(args: ForkArgs, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    let id = ids::execution(&api, &args.execution).await?;
    let Some(message) = args.message else {
        let page = api.get(&format!("/v1/executions/{id}/checkpoints")).await?;
        if context.json {
            return term::json(&page);
        }
        let points = page["items"].as_array().cloned().unwrap_or_default();
        if points.is_empty() {
            return Ok(term::line(
                "There is no point to go on from yet: the first is where a turn is over.",
            )?);
        }
        let mut table = Table::new(&["point", "files", "size"]);
        for point in &points {
            table.row([
                point["seq"].to_string(),
                point["files"].to_string(),
                bytes(point["bytes"].as_u64().unwrap_or_default()),
            ]);
        }
        term::line(&table.to_string())?;
        return Ok(term::line(&format!("→ holdpoint fork {} \"MESSAGE\" --at POINT", short(&id)))?);
    };
    let answer = api
        .post(&format!("/v1/executions/{id}/fork"), &json!({ "seq": args.at, "message": message }))
        .await?;
    if context.json {
        return term::json(&answer);
    }
    let new = answer["id"].as_str().unwrap_or_default();
    term::line(&format!("{new}  {}", answer["url"].as_str().unwrap_or_default()))?;
    Ok(term::line(&format!(
        "→ holdpoint logs {} --follow",
        new.get(new.len().saturating_sub(8)..).unwrap_or(new)
    ))?)
}
