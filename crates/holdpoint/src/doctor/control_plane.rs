//! Whether the control plane answers, is of this program's version, and has the same time.

use std::time::Duration;

use reqwest::{Method, header::DATE};
use serde_json::Value;

use super::{Finding, Machine, Verdict};
use crate::{
    cli::Context,
    failure::{Exit, Failure},
    left,
    render::{
        clean,
        time::{length, now},
    },
};

/// A control plane answers this in milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// More than the second that the header is rounded to, and a slow network.
const MAX_SKEW_MS: i64 = 5_000;

/// What became of asking it.
#[derive(Debug)]
pub(super) enum ControlPlane {
    /// There is none to ask; why, and what to type.
    Absent(Failure),
    /// There is one, and it does not answer.
    Silent(Failure),
    /// It answers.
    Answers {
        /// There.
        url: String,
        /// Its version.
        version: String,
        /// How far its clock is ahead of ours, where it says what time it is.
        ahead_ms: Option<i64>,
        /// A script answers instead of a model, where it lets us ask.
        rehearsal: Option<bool>,
        /// Why it does not let us ask.
        refused: Option<Failure>,
    },
}

/// Asks it.
pub(super) async fn ask(context: &Context) -> ControlPlane {
    let api = match context.api() {
        Ok(api) => api,
        Err(failure) if failure.exit == Exit::NotRunning => return ControlPlane::Absent(failure),
        Err(failure) => return ControlPlane::Silent(failure),
    };
    let asked = api.send(api.request(Method::GET, "/health").timeout(ANSWER_WITHIN)).await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(error) => {
            return ControlPlane::Silent(
                error.failure.next("holdpoint down     (if it hangs; then: holdpoint up)"),
            );
        }
    };
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok()).and_then(instant);
    let ahead_ms = date.map(|date| date - now());
    let health: Value = answer.json().await.unwrap_or_default();
    let status = api.get("/v1/status").await;
    let (rehearsal, refused) = match status {
        Ok(status) => (status["rehearsal"].as_bool(), None),
        Err(error) => (None, Some(error.failure)),
    };
    let version = clean(health["version"].as_str().unwrap_or_default());
    ControlPlane::Answers { url: api.base().to_owned(), version, ahead_ms, rehearsal, refused }
}

pub(super) async fn check(machine: &Machine) -> Vec<Finding> {
    let (url, version, ahead_ms, refused) = match machine.control_plane().await {
        ControlPlane::Absent(failure) => {
            let mut finding = Finding::of(Verdict::Warning, failure.clone());
            let left = left::of(&machine.context.data).len();
            if left > 0 && machine.context.data.locked_by().is_none() {
                finding = finding
                    .because(format!("it was killed, and {left} processes of its sessions go on without it"))
                    .next("holdpoint down     (ends them, without starting it)");
            }
            return vec![finding];
        }
        ControlPlane::Silent(failure) => return vec![Finding::of(Verdict::Problem, failure.clone())],
        ControlPlane::Answers { url, version, ahead_ms, refused, .. } => (url, version, *ahead_ms, refused),
    };
    let mut findings = Vec::new();
    let own = env!("CARGO_PKG_VERSION");
    if version != own {
        findings.push(
            Finding::warning(format!(
                "the control plane at {url} is version {version:?}, this program is {own}"
            ))
            .because("the program was replaced since it was started, or is another one")
            .next("holdpoint down; holdpoint up     (conversations go on)"),
        );
    }
    findings.extend(ahead_ms.and_then(skew));
    findings.extend(refused.clone().map(|failure| Finding::of(Verdict::Problem, failure)));
    if findings.is_empty() {
        findings.push(Finding::ok(format!("version {version} answers at {url}")));
    }
    findings
}

fn skew(ahead_ms: i64) -> Option<Finding> {
    if ahead_ms.abs() <= MAX_SKEW_MS {
        return None;
    }
    let how = if ahead_ms > 0 { "ahead of" } else { "behind" };
    let far = length(ahead_ms.saturating_abs());
    Some(
        Finding::warning(format!("the control plane's clock is {far} {how} this machine's"))
            .because("holds and tokens expire by its clock")
            .next("timedatectl     (on both machines: is the clock synchronised?)"),
    )
}

/// The moment of a `Date:`, in milliseconds since 1970.
fn instant(date: &str) -> Option<i64> {
    Some(jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_is_read() {
        assert_eq!(instant("Thu, 01 Jan 1970 00:01:00 GMT"), Some(60_000));
        assert_eq!(instant("yesterday"), None);
    }

    #[test]
    fn clocks_that_differ_by_more_than_the_way_takes_are_said() {
        assert_eq!(skew(4_000), None);
        assert_eq!(skew(-4_000), None);
        assert!(skew(65_000).expect("found").what.contains("ahead of"));
        assert!(skew(-65_000).expect("found").what.contains("behind"));
    }
}
