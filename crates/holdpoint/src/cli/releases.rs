//! `holdpoint releases`, `diff`, `rollback` and `move`.

use clap::Args;
use holdpoint_model::{
    ReleaseNumber, ReleaseState,
    lock::{Change, short},
};
use serde_json::json;

use crate::{
    cli::{Context, table::Table},
    client::ids,
    config::Overrides,
    deploy::{Release, make_current},
    failure::{Exit, Failure},
    render::one_line,
    term,
};

/// The widest cell of changes.
const CHANGES_WIDTH: usize = 60;

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A release
    pub from: ReleaseNumber,
    /// Another
    pub to: ReleaseNumber,
}

/// Arguments of `rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Which release becomes current [default: the one that was before this one]
    pub number: Option<ReleaseNumber>,
}

/// Arguments of `move`.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// The conversation
    pub id: String,
    /// The release [default: the one that is current]
    pub number: Option<ReleaseNumber>,
}

/// Lists releases.
///
/// # Errors
/// When the control plane cannot be asked.
pub(super) async fn list(context: &Context) -> anyhow::Result<()> {
    let releases = Release::all(&context.api()?).await?;
    if context.json {
        return term::json(&json!({ "items": releases }));
    }
    if releases.is_empty() {
        term::line(
            "Nothing was deployed yet: conversations run on the configuration as it was at the start.",
        )?;
        return Ok(term::line("→ holdpoint deploy")?);
    }
    let mut table = Table::new(&["release", "state", "since", "by", "image", "going on", "changes"]);
    for release in &releases {
        let image = release.lock.image.as_ref();
        let image = image
            .map_or_else(|| "base".to_owned(), |image| short(image.reference.as_ref().unwrap_or(&image.id)));
        let changes = release.problem.clone().unwrap_or_else(|| titles(&release.changes));
        table.row([
            release.number.to_string(),
            release.state.as_str().to_owned(),
            release.activated_at.clone().unwrap_or_else(|| release.created_at.clone()),
            release.by["name"].as_str().unwrap_or_default().to_owned(),
            image,
            release.going_on.to_string(),
            one_line(&changes, CHANGES_WIDTH),
        ]);
    }
    Ok(term::line(&table.to_string())?)
}

fn titles(changes: &[Change]) -> String {
    changes.iter().map(|change| change.what.as_str()).collect::<Vec<_>>().join(", ")
}

/// Shows what differs between two releases.
///
/// # Errors
/// When there is no such release.
pub(super) async fn diff(args: DiffArgs, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    let (from, to) = tokio::try_join!(Release::one(&api, args.from), Release::one(&api, args.to))?;
    let changes = to.lock.changes_from(Some(&from.lock));
    if context.json {
        return term::json(&json!({ "from": args.from, "to": args.to, "changes": changes }));
    }
    if changes.is_empty() {
        return Ok(term::line(&format!("Releases {} and {} are made of the same.", args.from, args.to))?);
    }
    for change in changes {
        term::line(&format!("{:8}  {change}", change.effort.as_str()))?;
    }
    Ok(())
}

/// Makes an earlier release current again.
///
/// # Errors
/// When there is none to go back to.
pub(super) async fn rollback(args: RollbackArgs, context: &Context) -> anyhow::Result<()> {
    let config = context.config(&Overrides::default())?;
    let api = context.api()?;
    let release = match args.number {
        Some(number) => Release::one(&api, number).await?,
        None => {
            let retired = Release::all(&api).await?;
            let retired = retired.into_iter().filter(|release| release.state == ReleaseState::Retired);
            let last = retired.max_by(|a, b| a.activated_at.cmp(&b.activated_at));
            last.ok_or_else(|| {
                Failure::new("there is no release to go back to")
                    .why("none was current before this one, or their images are gone")
                    .next("holdpoint releases")
                    .exit(Exit::NotFound)
            })?
        }
    };
    let release = make_current(context, &config, &api, &release).await?;
    if context.json {
        return term::json(&json!({ "release": release }));
    }
    term::line(&format!("Release {} is current again: new conversations run on it.", release.number))?;
    Ok(term::line("holdpoint.toml is as it was: the next `holdpoint deploy` deploys what it says.")?)
}

/// Moves a conversation to another release.
///
/// # Errors
/// When it is at work or over, or there is no such release.
pub(super) async fn move_one(args: MoveArgs, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    let id = ids::execution(&api, &args.id).await?;
    let number = match args.number {
        Some(number) => number,
        None => {
            let current = Release::all(&api).await?.into_iter().find(Release::is_current);
            current.map(|release| release.number).ok_or_else(|| {
                Failure::new("nothing was deployed yet").exit(Exit::NotFound).next("holdpoint deploy")
            })?
        }
    };
    let moved = api.post(&format!("/v1/executions/{id}/move"), &json!({ "release": number })).await?;
    if context.json {
        return term::json(&moved);
    }
    Ok(term::line(&format!("{} goes on with release {number} from its next start.", ids::short(&id)))?)
}
