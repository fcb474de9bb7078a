//! `holdpoint list`, and what is done to a conversation with one word.

use clap::Args;
use serde_json::json;

use crate::{
    cli::{Context, table::Table},
    client::{
        ids::{self, short},
        types::{Execution, items},
    },
    render::{one_line, time},
    term,
};

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those: starting, running, awaiting, finished, error, cancelled
    #[arg(long)]
    pub status: Option<String>,
    /// Only those of this agent
    #[arg(long)]
    pub agent: Option<String>,
    /// Only those that this finds: words, "as it stands", author:, agent:, tag:, input:, result:, status:
    #[arg(long, short = 'q')]
    pub search: Option<String>,
    /// How many
    #[arg(long, default_value_t = 20)]
    pub limit: u32,
}

/// Arguments of what is done to one conversation.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// Which conversation: its id, or an end or beginning of it that means one only
    pub execution: String,
}

/// Lists conversations, the newest first.
///
/// # Errors
/// When they cannot be read.
pub(super) async fn list(args: ListArgs, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    let mut query = format!("limit={}", args.limit);
    for (key, value) in [("status", &args.status), ("agent", &args.agent)] {
        if let Some(value) = value {
            let value: String =
                value.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
            query.push_str(&format!("&{key}={value}"));
        }
    }
    if let Some(search) = &args.search {
        let encoded: String = search.bytes().map(|byte| format!("%{byte:02X}")).collect();
        query.push_str(&format!("&q={encoded}"));
    }
    let page = api.get(&format!("/v1/executions?{query}")).await?;
    if context.json {
        return term::json(&page);
    }
    let list: Vec<Execution> = items(&page);
    if list.is_empty() && args.search.is_some() {
        return Ok(term::line("No conversation is like that.")?);
    }
    if list.is_empty() {
        term::line("There are no conversations.")?;
        return Ok(term::line("→ holdpoint ask \"What should be done\" --follow")?);
    }
    let now = time::now();
    let mut table = Table::new(&["id", "status", "agent", "title", "started"]);
    for execution in &list {
        table.row([
            short(&execution.id).to_owned(),
            execution.status.clone(),
            execution.agent.clone(),
            one_line(&execution.title, 50),
            time::ago(execution.created_at, now),
        ]);
    }
    term::line(&table.to_string())?;
    if !page["next"].is_null() {
        term::line(&format!("… and more: --limit {}", args.limit.saturating_mul(5)))?;
    }
    Ok(())
}

/// `interrupt`, `cancel`, `finish`.
///
/// # Errors
/// When it is refused.
pub(super) async fn act(args: OneArgs, action: &str, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    let id = ids::execution(&api, &args.execution).await?;
    let answer = api.post(&format!("/v1/executions/{id}/{action}"), &json!({})).await?;
    if context.json {
        return term::json(&answer);
    }
    let done = match action {
        "interrupt" => "asked to stop the present turn",
        "cancel" => "cancelled",
        _ => "finishes as soon as the present turn is over",
    };
    Ok(term::line(done)?)
}
