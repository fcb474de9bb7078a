//! `holdpoint audit`: what was done about who may do what.

use clap::Args;
use holdpoint_store::Deed;
use serde_json::Value;

use crate::{
    cli::{Context, table::Table},
    client::ids::short,
    render::{clean, one_line},
    term,
};

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Only lines of this kind, as in sign_in_failed
    #[arg(long, value_name = "KIND")]
    pub kind: Option<Deed>,
    /// Lines before this one, as a page before it says
    #[arg(long, value_name = "CURSOR")]
    pub before: Option<u64>,
    /// How many at most
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    pub limit: u32,
}

/// Carries it out.
///
/// # Errors
/// When it may not be read.
pub(super) async fn run(args: AuditArgs, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    let mut path = format!("/v1/audit?limit={}", args.limit);
    if let Some(kind) = args.kind {
        path.push_str(&format!("&kind={}", kind.as_str()));
    }
    if let Some(before) = args.before {
        path.push_str(&format!("&cursor={before}"));
    }
    let page = api.get(&path).await?;
    if context.json {
        return term::json(&page);
    }
    let mut table = Table::new(&["when", "who", "what", "to", "detail", "from"]);
    let text = |value: &Value| one_line(value.as_str().unwrap_or_default(), 60);
    for line in page["items"].as_array().into_iter().flatten() {
        let about = match (line["subject_name"].as_str(), line["execution"].as_str()) {
            (Some(name), _) => one_line(name, 40),
            (None, Some(execution)) => short(execution).to_owned(),
            (None, None) => String::new(),
        };
        table.row([
            clean(line["at"].as_str().unwrap_or_default()),
            text(&line["by"]["name"]),
            text(&line["kind"]),
            about,
            text(&line["detail"]),
            text(&line["address"]),
        ]);
    }
    term::line(&table.to_string())?;
    match page["next"].as_u64() {
        Some(next) => Ok(term::line(&format!("→ holdpoint audit --before {next}"))?),
        None => Ok(()),
    }
}
