//! `holdpoint token`: tokens for scripts, and links to sign in with. Works on the data folder,
//! whether the control plane runs or not.

use clap::{Args, Subcommand};
use holdpoint_model::{Keep, Role, Scopes, TokenScope};
use serde_json::json;

use crate::{
    cli::{Context, table::Table},
    client::{
        ids::{self, short},
        types::TokenItem,
    },
    config::Overrides,
    failure::{Exit, Failure},
    render::{clean, one_line, time},
    serve::{self, TokenWish},
    term,
};

/// Subcommands of `token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token for a script or a person; it is printed once and stored nowhere
    Create(CreateArgs),
    /// List the tokens that are good, without the tokens themselves
    List,
    /// Take tokens back: who has one is out at once
    Revoke(RevokeArgs),
    /// Make a one-time link to sign in with
    Link,
}

/// Arguments of `token revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The name, for all tokens of that name; or a token's id, or an end or beginning of it that means one only
    #[arg(value_name = "NAME|ID")]
    pub which: String,
}

/// Arguments of `token create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Whose it is
    #[arg(long)]
    pub name: String,
    /// What they may do: admin, operator, approver, asker, viewer
    #[arg(long, default_value = "operator")]
    pub role: Role,
    /// What it may be used for: start, decide, operate, admin; may be given more than once, and reading is always
    /// among them [default: all that the role may]
    #[arg(long, value_name = "SCOPE")]
    pub scope: Vec<TokenScope>,
    /// How long it is good, as in 30d, or forever
    #[arg(long, value_name = "TIME", default_value = "90d")]
    pub expires: Keep,
}

/// Carries it out.
///
/// # Errors
/// When it cannot be made.
pub(super) async fn run(command: TokenCommand, context: &Context) -> anyhow::Result<()> {
    context.data.create()?;
    let (key, value) = match command {
        TokenCommand::Create(args) => {
            let scopes = (!args.scope.is_empty()).then(|| Scopes::of(args.scope));
            let expires = Some(args.expires);
            let wish = TokenWish { name: args.name, role: args.role, scopes, expires };
            ("token", serve::create_token(&context.data, wish).await?)
        }
        TokenCommand::List => return list(context).await,
        TokenCommand::Revoke(args) => return revoke(&args.which, context).await,
        TokenCommand::Link => {
            let config = context.config(&Overrides::default())?;
            let base = config.base_url.unwrap_or_else(|| format!("http://localhost:{}", config.port));
            ("url", serve::create_link(&context.data, &base).await?)
        }
    };
    if context.json {
        return term::json(&json!({key: value}));
    }
    Ok(term::line(&value)?)
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let all = serve::list_tokens(&context.data).await?;
    if context.json {
        return term::json(&json!({ "items": all }));
    }
    if all.is_empty() {
        term::line("There are no tokens.")?;
        return Ok(term::line("→ holdpoint token create --name NAME")?);
    }
    let now = time::now();
    let mut table = Table::new(&["id", "name", "user", "role", "may", "made", "used", "expires"]);
    for token in &all {
        table.row([
            short(&token.id).to_owned(),
            one_line(&token.name, 40),
            one_line(&token.user, 40),
            clean(&token.role),
            one_line(&token.scopes.join(" "), 40),
            time::ago(token.created_at, now),
            token.used_at.map_or_else(|| "never".to_owned(), |at| time::ago(Some(at), now)),
            time::until(token.expires_at, now),
        ]);
    }
    term::line(&table.to_string())?;
    Ok(term::line("→ holdpoint token revoke NAME|ID")?)
}

async fn revoke(typed: &str, context: &Context) -> anyhow::Result<()> {
    let all = serve::list_tokens(&context.data).await?;
    let meant = meant(typed, &all)?;
    for token in &meant {
        serve::revoke_token(&context.data, &token.id).await?;
    }
    if context.json {
        return term::json(&json!({ "revoked": meant }));
    }
    for token in &meant {
        term::line(&format!(
            "revoked {} ({}, {})",
            short(&token.id),
            one_line(&token.name, 40),
            clean(&token.role)
        ))?;
    }
    Ok(())
}

/// All tokens of a name, or the one that an id means.
fn meant(typed: &str, all: &[TokenItem]) -> Result<Vec<TokenItem>, Failure> {
    // The terminal's is replaced at each start, and without it nothing could be typed until then.
    let own = |token: &TokenItem| {
        Failure::new(format!("{} is the token of the terminal itself", short(&token.id)))
            .exit(Exit::Usage)
            .why("it is good until the next start, which makes another")
            .next("holdpoint down; holdpoint up")
    };
    let named: Vec<TokenItem> = all
        .iter()
        .filter(|token| token.name.eq_ignore_ascii_case(typed) && !token.is_terminals())
        .cloned()
        .collect();
    if !named.is_empty() {
        return Ok(named);
    }
    if let Some(token) = all.iter().find(|token| token.is_terminals() && token.name == typed) {
        return Err(own(token));
    }
    let ids: Vec<&str> = all.iter().map(|token| token.id.as_str()).collect();
    let id = ids::one("token", typed, &ids, "holdpoint token list")?;
    match all.iter().find(|token| token.id == id) {
        Some(token) if token.is_terminals() => Err(own(token)),
        token => Ok(token.cloned().into_iter().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::types::{OPERATOR, TERMINAL};

    #[test]
    fn a_name_means_all_of_its_tokens_and_an_id_one() {
        let token = |id: &str, name: &str, user: &str| TokenItem {
            id: id.into(),
            name: name.into(),
            user: user.into(),
            ..TokenItem::default()
        };
        let all = [
            token("0190-aa", "ci", "ci"),
            token("0190-bb", "ci", "ci"),
            token("0190-cc", TERMINAL, OPERATOR),
        ];
        let ids = |typed: &str| {
            meant(typed, &all).map(|found| found.into_iter().map(|token| token.id).collect::<Vec<_>>())
        };
        assert_eq!(ids("CI").expect("two"), ["0190-aa", "0190-bb"]);
        assert_eq!(ids("bb").expect("one"), ["0190-bb"]);
        assert_eq!(ids("zz").expect_err("none").exit, Exit::NotFound);
        assert_eq!(ids("0190").expect_err("three").exit, Exit::Usage);
        for own in ["cc", TERMINAL] {
            assert!(ids(own).expect_err("not that one").what.contains("terminal itself"));
        }
    }
}
