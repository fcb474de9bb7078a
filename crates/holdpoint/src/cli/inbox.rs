//! `holdpoint inbox`: what waits for a person.

use clap::Args;

use crate::{
    cli::Context,
    client::{
        ids::{self, short},
        types::{HoldItem, items},
    },
    render::{holds, one_line, paint::Paint, time},
    term,
};

use super::table::Table;

/// Arguments of `inbox`.
#[derive(Debug, Args)]
pub struct InboxArgs {
    /// Show one in full, with the commands that answer it
    pub hold: Option<String>,
    /// Of this conversation alone
    #[arg(long, value_name = "ID")]
    pub execution: Option<String>,
    /// Those that are assigned to you alone
    #[arg(long)]
    pub mine: bool,
}

/// Carries it out.
///
/// # Errors
/// When there is no such hold.
pub(super) async fn run(args: InboxArgs, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    if let Some(typed) = &args.hold {
        let hold = ids::hold(&api, typed).await?;
        if context.json {
            return term::json(&api.get(&format!("/v1/holds/{}", hold.id)).await?);
        }
        term::line(&holds::hold(&hold, Paint(context.term.color)))?;
        for command in holds::commands(&hold).iter().filter(|_| hold.state == "open") {
            term::line(&format!("→ {command}"))?;
        }
        return Ok(());
    }
    let only = match &args.execution {
        Some(typed) => format!("&execution={}", ids::execution(&api, typed).await?),
        None => String::new(),
    };
    let mine = if args.mine { "&assigned=me" } else { "" };
    let page = api.get(&format!("/v1/holds?status=open&limit=200{only}{mine}")).await?;
    if context.json {
        return term::json(&page);
    }
    let list: Vec<HoldItem> = items(&page);
    if list.is_empty() {
        return Ok(term::line("Nothing waits for you.")?);
    }
    let now = time::now();
    let mut table = Table::new(&["hold", "kind", "asks", "conversation", "with", "since", "expires"]);
    for hold in &list {
        table.row([
            short(&hold.id).to_owned(),
            hold.kind.map_or("", |kind| kind.as_str()).to_owned(),
            holds::summary(hold, 60),
            one_line(&hold.title, 30),
            hold.assigned_to.as_ref().map_or_else(String::new, |to| one_line(&to.name, 20)),
            time::ago(hold.opened_at, now),
            time::until(hold.expires_at, now),
        ]);
    }
    term::line(&table.to_string())?;
    if !page["next"].is_null() {
        term::line("… and more: holdpoint inbox --execution ID, or the panel")?;
    }
    Ok(term::line("→ holdpoint answer HOLD")?)
}
