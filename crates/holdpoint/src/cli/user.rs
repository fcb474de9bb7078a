//! `holdpoint user`: who there is, and what they may do.

use clap::{Args, Subcommand};
use holdpoint_model::Role;
use serde_json::{Value, json};

use crate::{
    cli::{Context, table::Table},
    client::{
        Api,
        ids::{self, short},
        types::{UserItem, items},
    },
    failure::Failure,
    render::{clean, one_line, time},
    term,
};

/// Subcommands of `user`.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// List everybody, with what they may do
    List,
    /// Make a user, and print the link by which they choose a password
    Create(CreateArgs),
    /// Change what somebody may do
    Role(RoleArgs),
    /// Change what somebody is called
    Rename(RenameArgs),
    /// Let somebody in no longer: they are out at once, and their tokens end
    Deactivate(WhoArgs),
    /// Let somebody in again
    Activate(WhoArgs),
    /// Print a link by which somebody chooses another password
    Link(WhoArgs),
}

/// Arguments of `user create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What they are called
    pub name: String,
    /// What they may do: admin, operator, approver, asker, viewer
    #[arg(long, default_value = "asker")]
    pub role: Role,
}

/// Arguments of `user role`.
#[derive(Debug, Args)]
pub struct RoleArgs {
    /// The name, or the user's id, or an end or beginning of it that means one only
    #[arg(value_name = "NAME|ID")]
    pub who: String,
    /// admin, operator, approver, asker, viewer
    pub role: Role,
}

/// Arguments of `user rename`.
#[derive(Debug, Args)]
pub struct RenameArgs {
    /// The name, or the user's id, or an end or beginning of it that means one only
    #[arg(value_name = "NAME|ID")]
    pub who: String,
    /// What they are called from now on
    pub name: String,
}

/// Whom it is about.
#[derive(Debug, Args)]
pub struct WhoArgs {
    /// The name, or the user's id, or an end or beginning of it that means one only
    #[arg(value_name = "NAME|ID")]
    pub who: String,
}

/// Carries it out.
///
/// # Errors
/// When it is not allowed, or there is no such user.
pub(super) async fn run(command: UserCommand, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    match command {
        UserCommand::List => list(&api, context).await,
        UserCommand::Create(args) => {
            let body = json!({ "name": args.name, "role": args.role });
            link(&api.post("/v1/users", &body).await?, context)
        }
        UserCommand::Link(args) => {
            let id = find(&api, &args.who).await?.id;
            link(&api.post(&format!("/v1/users/{id}/link"), &json!({})).await?, context)
        }
        UserCommand::Role(args) => change(&api, &args.who, json!({ "role": args.role }), context).await,
        UserCommand::Rename(args) => change(&api, &args.who, json!({ "name": args.name }), context).await,
        UserCommand::Deactivate(args) => change(&api, &args.who, json!({ "active": false }), context).await,
        UserCommand::Activate(args) => change(&api, &args.who, json!({ "active": true }), context).await,
    }
}

async fn list(api: &Api, context: &Context) -> anyhow::Result<()> {
    let page = api.get("/v1/users").await?;
    if context.json {
        return term::json(&page);
    }
    let now = time::now();
    let mut table = Table::new(&["id", "name", "role", "comes in", "made"]);
    for user in items::<UserItem>(&page) {
        let comes_in = match (user.active, user.has_password) {
            (false, _) => "not any more",
            (true, true) => "by password",
            (true, false) => "by token alone",
        };
        table.row([
            short(&user.id).to_owned(),
            one_line(&user.name, 40),
            clean(&user.role),
            comes_in.to_owned(),
            time::ago(user.created_at, now),
        ]);
    }
    term::line(&table.to_string())?;
    Ok(term::line("→ holdpoint user create NAME --role asker")?)
}

fn link(answer: &Value, context: &Context) -> anyhow::Result<()> {
    if context.json {
        return term::json(answer);
    }
    Ok(term::line(answer["url"].as_str().unwrap_or_default())?)
}

async fn change(api: &Api, who: &str, body: Value, context: &Context) -> anyhow::Result<()> {
    let id = find(api, who).await?.id;
    let answer = api.patch(&format!("/v1/users/{id}"), &body).await?;
    if context.json {
        return term::json(&answer);
    }
    let user: UserItem = serde_json::from_value(answer)?;
    let active = if user.active { "" } else { ", deactivated" };
    Ok(term::line(&format!(
        "{}  {}: {}{active}",
        short(&user.id),
        one_line(&user.name, 60),
        clean(&user.role)
    ))?)
}

/// The user of a name, or the one that an id means.
async fn find(api: &Api, typed: &str) -> anyhow::Result<UserItem> {
    let all: Vec<UserItem> = items(&api.get("/v1/users").await?);
    Ok(meant(typed, &all)?)
}

fn meant(typed: &str, all: &[UserItem]) -> Result<UserItem, Failure> {
    if let Some(user) = all.iter().find(|user| user.name.to_lowercase() == typed.to_lowercase()) {
        return Ok(user.clone());
    }
    let known: Vec<&str> = all.iter().map(|user| user.id.as_str()).collect();
    let id = ids::one("user", typed, &known, "holdpoint user list")?;
    Ok(all.iter().find(|user| user.id == id).cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_name_comes_before_an_id() {
        let user =
            |id: &str, name: &str| UserItem { id: id.into(), name: name.into(), ..UserItem::default() };
        let all = [user("0190-aa", "ada"), user("0190-bb", "aa")];
        assert_eq!(meant("ADA", &all).expect("by name").id, "0190-aa");
        assert_eq!(meant("aa", &all).expect("by name").id, "0190-bb");
        assert_eq!(meant("bb", &all).expect("by id").id, "0190-bb");
        assert_eq!(meant("zz", &all).expect_err("none").exit, Exit::NotFound);
    }
}
