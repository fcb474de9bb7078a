//! Doing it: each step is recorded with the release before the next, so that whoever was killed in between goes on.

use std::{collections::BTreeSet, time::Duration};

use holdpoint_image::agents;
use holdpoint_model::{ReleaseState, lock::Change};
use serde::Serialize;
use serde_json::json;

use super::{Plan, Prepared, Release, image, lockfile};
use crate::{cli::Context, client::Api, config::Config, failure::Failure};

/// How often a verification is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long a verification may take. A session comes up within seconds; a machine at its limits takes longer.
const VERIFY_WITHIN: Duration = Duration::from_secs(300);

/// Conversations that are asked for at a time.
const PAGE: u32 = 200;

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct Done {
    /// The release that is current now.
    pub release: u32,
    /// Its image's id, if it has one of its own.
    pub image: Option<String>,
    /// Where it was pushed to, by the digest that the registry serves it under.
    pub reference: Option<String>,
    /// The conversation that tried it out.
    pub verification: String,
    /// What has changed.
    pub changes: Vec<Change>,
    /// Releases that cannot be gone back to any more.
    pub removed: Vec<u32>,
    /// Conversations that were moved to it.
    pub moved: u64,
    /// Conversations that were at work, and stay where they are.
    pub at_work: u64,
}

/// Carries a plan out.
///
/// # Errors
/// What failed, why, and what to type next. The release says so too.
pub async fn carry_out(
    context: &Context,
    config: &Config,
    api: &Api,
    prepared: &Prepared,
    plan: &Plan,
    now: bool,
) -> anyhow::Result<Done> {
    let release = Release::begin(api, &prepared.lock).await?;
    let tried = try_it(context, config, api, prepared, &release).await;
    let (release, verification) = match tried {
        Ok(done) => done,
        Err(error) => {
            // Where the control plane is gone it cannot be told; the next deployment takes the release up.
            let _ = release.fail(api, &error.to_string()).await;
            return Err(error);
        }
    };
    let release = make_current(context, config, api, &release).await?;
    say(context, &format!("release {} is current", release.number));
    let (moved, at_work) = if now { move_all(api, &release).await? } else { (0, 0) };
    let removed = clean(context, config, api, prepared).await?;
    Ok(Done {
        release: release.number,
        image: release.lock.image.as_ref().map(|image| image.id.clone()),
        reference: release.lock.image.and_then(|image| image.reference),
        verification,
        changes: plan.changes.clone(),
        removed,
        moved,
        at_work,
    })
}

/// Builds its image and tries it out; gives the conversation that did.
async fn try_it(
    context: &Context,
    config: &Config,
    api: &Api,
    prepared: &Prepared,
    release: &Release,
) -> anyhow::Result<(Release, String)> {
    let mut release = release.clone();
    if prepared.lock.needs_image() && release.lock.image.is_none() {
        say(context, &format!("building the image of release {}", release.number));
        let created = release.created_at.parse()?;
        let built = image::build(context, config, prepared, release.number, created).await?;
        release = release.image(api, &built.lock).await?;
    }
    say(context, &format!("trying release {} out", release.number));
    let verification = verify(api, &release).await?;
    Ok((release, verification))
}

async fn verify(api: &Api, release: &Release) -> anyhow::Result<String> {
    let deadline = tokio::time::Instant::now() + VERIFY_WITHIN;
    let failed = |execution: &str, why: &str| {
        Failure::new(format!("release {} does not work, and nobody runs on it", release.number))
            .why(why)
            .next(format!("holdpoint logs {execution}"))
            .next(format!("holdpoint logs {execution} --worker"))
    };
    loop {
        let verification = release.verify(api).await?;
        match verification.state.as_str() {
            "passed" => return Ok(verification.execution),
            "running" if tokio::time::Instant::now() < deadline => tokio::time::sleep(LOOK_EVERY).await,
            "running" => {
                let seconds = VERIFY_WITHIN.as_secs();
                return Err(
                    failed(&verification.execution, &format!("it is not through after {seconds} s")).into()
                );
            }
            _ => {
                let why = verification.why.unwrap_or_else(|| verification.state.clone());
                return Err(failed(&verification.execution, &why).into());
            }
        }
    }
}

/// Makes a release current, and writes what it is made of beside the configuration.
///
/// # Errors
/// When it was not tried out, has failed, or its image is gone.
pub async fn make_current(
    context: &Context,
    config: &Config,
    api: &Api,
    release: &Release,
) -> anyhow::Result<Release> {
    let release = release.activate(api).await?;
    lockfile::write(&lockfile::path(config, &context.data), release.number, &release.lock)?;
    Ok(release)
}

/// Moves all that go on and are not at work; gives how many were moved, and how many were at work.
async fn move_all(api: &Api, release: &Release) -> anyhow::Result<(u64, u64)> {
    let (mut moved, mut at_work) = (0, 0);
    for status in ["awaiting", "running", "starting"] {
        let mut cursor = String::new();
        loop {
            let page = api.get(&format!("/v1/executions?status={status}&limit={PAGE}{cursor}")).await?;
            for item in page["items"].as_array().into_iter().flatten() {
                let id = item["id"].as_str().unwrap_or_default();
                let path = format!("/v1/executions/{id}/move");
                match api.post(&path, &json!({ "release": release.number })).await {
                    Ok(_) => moved += 1,
                    Err(_) => at_work += 1,
                }
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
    }
    Ok((moved, at_work))
}

/// Gives up what nobody goes back to: releases beyond those that are kept, with their images.
async fn clean(
    context: &Context,
    config: &Config,
    api: &Api,
    prepared: &Prepared,
) -> anyhow::Result<Vec<u32>> {
    let releases = Release::all(api).await?;
    let mut kept = 0;
    let mut removed = Vec::new();
    for release in &releases {
        let may_go = match release.state {
            ReleaseState::Retired if kept < config.deploy.keep => {
                kept += 1;
                false
            }
            ReleaseState::Retired => release.going_on == 0,
            ReleaseState::Failed => release.lock.image.is_some() && release.going_on == 0,
            ReleaseState::Building | ReleaseState::Current | ReleaseState::Removed => false,
        };
        // Somebody may have begun to need it since.
        if may_go && release.remove(api).await.is_ok() {
            removed.push(release.number);
        }
    }
    if let Some(engine) = &prepared.engine {
        let needed: BTreeSet<&str> = releases
            .iter()
            .filter(|release| release.state != ReleaseState::Removed && !removed.contains(&release.number))
            .filter_map(|release| Some(release.lock.image.as_ref()?.id.as_str()))
            .collect();
        let needed: Vec<&str> = needed.into_iter().collect();
        let (cache, repository) = (image::cache(&context.data), image::repository(&context.data));
        agents::remove_unused(engine, &cache, &repository, &needed).await.map_err(Failure::from)?;
    }
    Ok(removed)
}

fn say(context: &Context, what: &str) {
    if context.term.has_error_screen {
        eprintln!("• {what}");
    }
}
