//! `holdpoint retention`: what is deleted by rule (`keep` in holdpoint.toml), and what was.

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    bar::Bar,
    cli::{Context, table::Table},
    client::{Api, ids::short, types::items},
    render::{one_line, time},
    term,
};

/// How many are asked for, and deleted, at a time.
const PAGE: u64 = 50;

/// Rows of a table on the screen; the total counts all.
const ROWS: usize = 200;

/// Arguments of `retention`.
#[derive(Debug, Args)]
pub struct RetentionArgs {
    /// Show what would be deleted now, and delete nothing [what happens without a flag]
    #[arg(long, conflicts_with_all = ["now", "log"])]
    pub dry_run: bool,
    /// Delete it now, rather than within the hour
    #[arg(long, conflicts_with = "log")]
    pub now: bool,
    /// Show what was deleted
    #[arg(long)]
    pub log: bool,
}

/// An execution that goes or is gone.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Item {
    execution: String,
    agent: String,
    title: String,
    ended_at: Option<String>,
    deleted_at: Option<String>,
    why: String,
    events: u64,
    files_bytes: u64,
}

/// Carries it out.
///
/// # Errors
/// When it does not run, or something could not be deleted.
pub(super) async fn run(args: RetentionArgs, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    if args.now {
        return delete(&api, context).await;
    }
    let path = if args.log { "/v1/deletions" } else { "/v1/retention" };
    let (all, raw) = pages(&api, path, context).await?;
    if context.json {
        return term::json(&json!({ "items": raw }));
    }
    if all.is_empty() {
        return Ok(term::line(if args.log {
            "Nothing was deleted yet."
        } else {
            "Nothing is to be deleted: no conversation has been over for longer than it is kept."
        })?);
    }
    show(&all, args.log)?;
    if args.log {
        return Ok(());
    }
    Ok(term::line("Within the hour, or at once:\n→ holdpoint retention --now")?)
}

/// Every item of a list, as it is shown and as it came.
async fn pages(api: &Api, path: &str, context: &Context) -> anyhow::Result<(Vec<Item>, Vec<Value>)> {
    let (mut all, mut raw, mut cursor) = (Vec::new(), Vec::new(), String::new());
    let mut bar: Option<Bar> = None;
    loop {
        let page = api.get(&format!("{path}?limit={PAGE}{cursor}")).await?;
        let found = page["items"].as_array().cloned().unwrap_or_default();
        let bar = bar.get_or_insert_with(|| {
            Bar::things(context.term, "looking", page["total"].as_u64().unwrap_or_default())
        });
        bar.add(found.len());
        all.extend(items::<Item>(&page));
        raw.extend(found);
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => {
                bar.done();
                return Ok((all, raw));
            }
        }
    }
}

async fn delete(api: &Api, context: &Context) -> anyhow::Result<()> {
    let total = api.get("/v1/retention?limit=1").await?["total"].as_u64().unwrap_or_default();
    let bar = Bar::things(context.term, "deleting", total);
    let (mut all, mut raw, mut left) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let page = api.post("/v1/retention", &json!({ "limit": PAGE })).await?;
        let found = page["items"].as_array().cloned().unwrap_or_default();
        bar.add(found.len());
        all.extend(items::<Item>(&page));
        // One whose files cannot be deleted is told again each time.
        left = page["files_left"].as_array().cloned().unwrap_or(left);
        let is_stuck = found.is_empty();
        raw.extend(found);
        if is_stuck || page["more"] != json!(true) {
            break;
        }
    }
    bar.done();
    if context.json {
        term::json(&json!({ "items": raw, "files_left": left }))?;
    } else if all.is_empty() {
        term::line("Nothing was to be deleted.")?;
    } else {
        show(&all, true)?;
    }
    anyhow::ensure!(
        left.is_empty(),
        "the files of {} deleted conversations could not be deleted; the server's log says why, and it tries again",
        left.len()
    );
    Ok(())
}

fn show(all: &[Item], is_deleted: bool) -> anyhow::Result<()> {
    let now = time::now();
    let when = |text: &Option<String>| {
        let at = text.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        time::ago(at.map(jiff::Timestamp::as_millisecond), now)
    };
    let mut table = if is_deleted {
        Table::new(&["conversation", "agent", "title", "ended", "deleted", "size", "rule"])
    } else {
        Table::new(&["conversation", "agent", "title", "ended", "events", "size", "rule"])
    };
    for item in all.iter().take(ROWS) {
        table.row([
            short(&item.execution).to_owned(),
            one_line(&item.agent, 20),
            one_line(&item.title, 30),
            when(&item.ended_at),
            if is_deleted { when(&item.deleted_at) } else { item.events.to_string() },
            time::bytes(item.files_bytes),
            one_line(&item.why, 60),
        ]);
    }
    term::line(&table.to_string())?;
    if all.len() > ROWS {
        term::line(&format!("… and {} more; --json has all of them", all.len() - ROWS))?;
    }
    let bytes: u64 = all.iter().map(|item| item.files_bytes).sum();
    let done = if is_deleted { " deleted" } else { "" };
    Ok(term::line(&format!("{} conversations, {}{done}", all.len(), time::bytes(bytes)))?)
}
