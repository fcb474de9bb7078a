//! Whether what new conversations run on is what the configuration says.

use super::{Finding, Machine, Verdict, control_plane::ControlPlane};
use crate::{deploy::Release, failure::Failure};

pub(super) async fn check(machine: &Machine) -> Vec<Finding> {
    if !matches!(machine.control_plane().await, ControlPlane::Answers { refused: None, .. }) {
        return vec![Finding::ok("not asked: no control plane lets us")];
    }
    let releases = match machine.context.api() {
        Ok(api) => Release::all(&api).await,
        Err(failure) => return vec![Finding::of(Verdict::Warning, failure)],
    };
    let releases = match releases {
        Ok(releases) => releases,
        Err(error) => {
            let failure = Failure::new("releases cannot be asked for").why(format!("{error:#}"));
            return vec![Finding::of(Verdict::Warning, failure.next("holdpoint releases"))];
        }
    };
    let mut found = vec![match releases.iter().find(|release| release.is_current()) {
        None => {
            Finding::ok("nothing was deployed: conversations run on the configuration as it was at the start")
        }
        Some(release) if release.lock.is_of(&machine.config.agents) => Finding::ok(format!(
            "release {} is current, and its agents are those of the configuration",
            release.number
        )),
        Some(release) => Finding::warning(format!("agents have changed since release {}", release.number))
            .because("new conversations run on that release until the next deployment, also after a restart")
            .next("holdpoint deploy --plan"),
    }];
    if let Some(release) = releases.iter().find(|release| release.is_unfinished()) {
        found.push(
            Finding::warning(format!("release {} is unfinished", release.number))
                .because("a deployment is under way, or was cut short")
                .next("holdpoint deploy     (goes on with it)"),
        );
    }
    found
}
