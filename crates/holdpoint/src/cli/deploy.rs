//! `holdpoint deploy` and `holdpoint build`.

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use crate::{
    cli::Context,
    config::Overrides,
    deploy::{Done, Plan, Prepared, Release, Wish, build, carry_out, written},
    failure::{Exit, Failure},
    term::{self, Lines},
};

/// Arguments of `deploy`.
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// Show what would be done and why, and do nothing
    #[arg(long, conflicts_with_all = ["yes", "now"])]
    pub plan: bool,
    /// Do it without asking
    #[arg(long, short)]
    pub yes: bool,
    /// Move conversations that go on to the new release, where they are not at work
    #[arg(long)]
    pub now: bool,
    /// Deploy the commits of holdpoint.lock, rather than the newest
    #[arg(long)]
    pub locked: bool,
}

/// Arguments of `build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Build the commits of holdpoint.lock, rather than the newest
    #[arg(long)]
    pub locked: bool,
}

/// Deploys.
///
/// # Errors
/// What failed, why, and what to type next.
pub(super) async fn run(args: DeployArgs, context: &Context) -> anyhow::Result<()> {
    let config = context.config(&Overrides::default())?;
    let api = match context.api() {
        // A plan needs nobody: what was deployed last is written down.
        Err(failure) if args.plan && failure.exit == Exit::NotRunning => {
            let lock = written(&config, &context.data)?;
            let prepared = Prepared::new(context, &config, Wish { locked: args.locked }).await?;
            let mut plan = Plan::against(&prepared, lock.as_ref());
            plan.notes.push("Holdpoint is not running, so this goes by holdpoint.lock".into());
            return show(context, &plan);
        }
        api => api?,
    };
    let (prepared, releases) =
        tokio::join!(Prepared::new(context, &config, Wish { locked: args.locked }), Release::all(&api));
    let (prepared, releases) = (prepared?, releases?);
    let plan = Plan::new(&prepared, &releases);
    if args.plan || plan.is_nothing() {
        return show(context, &plan);
    }
    if !args.yes {
        if !context.term.is_interactive() || context.json {
            return Err(Failure::new("nobody is here to say yes to the plan")
                .exit(Exit::Usage)
                .why(&plan)
                .next("holdpoint deploy --yes")
                .into());
        }
        term::print(&format!("{plan}Deploy? [y/N] "))?;
        let answer = Lines::start().next().await.unwrap_or_default();
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(term::line("Nothing was done.")?);
        }
    } else if !context.json {
        term::print(&plan.to_string())?;
    }
    let done = carry_out(context, &config, &api, &prepared, &plan, args.now).await?;
    if context.json {
        return term::json(&json!({ "plan": plan, "done": done }));
    }
    Ok(term::print(&told(&done))?)
}

fn show(context: &Context, plan: &Plan) -> anyhow::Result<()> {
    if context.json { term::json(&json!({ "plan": plan })) } else { Ok(term::print(&plan.to_string())?) }
}

fn told(done: &Done) -> String {
    let mut text = format!("Release {} is current, and was tried out.\n", done.release);
    if let Some(image) = done.reference.as_ref().or(done.image.as_ref()) {
        text.push_str(&format!("  image         {image}\n"));
    }
    text.push_str(&format!("  tried out by  {}\n", done.verification));
    if done.moved > 0 || done.at_work > 0 {
        text.push_str(&format!("  moved         {} conversations", done.moved));
        if done.at_work > 0 {
            text.push_str(&format!("; {} were at work, and stay where they are", done.at_work));
        }
        text.push('\n');
    }
    if !done.removed.is_empty() {
        let numbers: Vec<String> = done.removed.iter().map(ToString::to_string).collect();
        text.push_str(&format!("  removed       {}\n", numbers.join(", ")));
    }
    text
}

/// Builds the image that would be deployed, and deploys nothing.
///
/// # Errors
/// What failed, why, and what to type next.
pub(super) async fn image(args: BuildArgs, context: &Context) -> anyhow::Result<()> {
    let config = context.config(&Overrides::default())?;
    context.data.create()?;
    let prepared = Prepared::new(context, &config, Wish { locked: args.locked }).await?;
    if !prepared.lock.needs_image() {
        return Err(Failure::new("there is nothing to build")
            .why("[deploy] of holdpoint.toml names no configuration repository, so sessions run in the base image")
            .next("holdpoint config example     (shows how)")
            .exit(Exit::Config)
            .into());
    }
    // No release: the number 0 is nobody's.
    let built = build(context, &config, &prepared, 0, Timestamp::now()).await?;
    if context.json {
        return term::json(&json!({
            "id": built.lock.id, "name": built.name, "reference": built.lock.reference, "lock": prepared.lock,
            "layers": built.layers.iter().map(|(what, cached)| json!({"what": what, "was_cached": cached})).collect::<Vec<_>>(),
            "notes": prepared.notes,
        }));
    }
    let mut text = format!("{} is built\n  id      {}\n", built.name, built.lock.id);
    if let Some(reference) = &built.lock.reference {
        text.push_str(&format!("  pushed  {reference}\n"));
    }
    for (what, cached) in &built.layers {
        let how = if *cached { "there already" } else { "made" };
        text.push_str(&format!("  layer   {what}, {how}\n"));
    }
    for note in &prepared.notes {
        text.push_str(&format!("  note    {note}\n"));
    }
    Ok(term::print(&text)?)
}
