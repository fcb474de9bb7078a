//! `holdpoint doctor`: what is wrong on this machine, why, and what to type. One check, one file; each looks and
//! changes nothing, and works whatever else is broken.

mod claude_cli;
mod configuration;
mod container_engine;
mod control_plane;
mod data_folder;
mod environment;
mod finding;
mod git;
mod machine;
mod ports;
mod release;
mod sources;

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::task::JoinSet;

pub use finding::{Finding, Found, Report, Verdict};
pub use machine::Machine;

/// How long one check may take. What answers later than that is in trouble, and a person waits for all of it.
const CHECK_LIMIT: Duration = Duration::from_secs(8);

/// Looks at one thing.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// What it looks at, in a word or two.
    pub name: &'static str,
    run: fn(Arc<Machine>) -> BoxFuture<'static, Vec<Finding>>,
}

/// All checks, in the order in which they are shown: what others depend on comes first.
pub const CHECKS: &[Check] = &[
    Check { name: "configuration", run: |machine| async move { configuration::check(&machine) }.boxed() },
    Check { name: "environment", run: |machine| async move { environment::check(&machine).await }.boxed() },
    Check { name: "data folder", run: |machine| async move { data_folder::check(&machine) }.boxed() },
    Check { name: "Claude CLI", run: |machine| async move { claude_cli::check(&machine).await }.boxed() },
    Check { name: "ports", run: |machine| async move { ports::check(&machine) }.boxed() },
    Check {
        name: "control plane",
        run: |machine| async move { control_plane::check(&machine).await }.boxed(),
    },
    Check {
        name: "container engine",
        run: |machine| async move { container_engine::check(&machine).await }.boxed(),
    },
    Check { name: "git", run: |machine| async move { git::check(&machine).await }.boxed() },
    Check { name: "repositories", run: |machine| async move { sources::check(&machine).await }.boxed() },
    Check { name: "release", run: |machine| async move { release::check(&machine).await }.boxed() },
];

/// Runs all checks at once. `done` hears of each that is over.
pub async fn examine(machine: Machine, done: impl Fn()) -> Report {
    let machine = Arc::new(machine);
    // Each on its own: one that blocks on a disk that is gone, or fails, keeps no other from its end.
    let mut running = JoinSet::new();
    for (place, check) in CHECKS.iter().enumerate() {
        let looks = tokio::spawn((check.run)(machine.clone()));
        running.spawn(async move {
            let stop = looks.abort_handle();
            let findings = match tokio::time::timeout(CHECK_LIMIT, looks).await {
                Ok(Ok(findings)) => findings,
                Ok(Err(error)) => vec![Finding::problem("the check itself failed").because(error).next(
                    "holdpoint doctor --json     (and report what it prints: this is a fault of Holdpoint)",
                )],
                Err(_) => {
                    stop.abort();
                    let what = format!("no answer within {} s", CHECK_LIMIT.as_secs());
                    vec![
                        Finding::warning(what)
                            .because("the machine is busy, or what was asked hangs")
                            .next("holdpoint doctor     (once more)"),
                    ]
                }
            };
            (place, findings)
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = running.join_next().await {
        all.extend(ended);
        done();
    }
    all.sort_by_key(|(place, _)| *place);
    let found = all.into_iter().flat_map(|(place, findings)| {
        let name = CHECKS.get(place).map_or("", |check| check.name);
        findings.into_iter().map(move |finding| Found { check: name, finding })
    });
    Report::new(found.collect())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;
    use crate::{
        cli::{Cli, Context},
        env::Environment,
    };
    use clap::Parser as _;

    /// What is found with this data folder and this `holdpoint.toml`.
    async fn found(data: &Path, toml: &Path, environment: Environment) -> Report {
        let (data, toml) = (data.display().to_string(), toml.display().to_string());
        let cli = Cli::parse_from(["holdpoint", "doctor", "--data", &data, "--config", &toml]);
        let context = Context::new(cli.global, environment).expect("a context");
        examine(Machine::new(context).expect("a machine"), || {}).await
    }

    #[tokio::test]
    async fn every_check_says_something_where_nothing_works() {
        let dir = tempfile::tempdir().expect("dir");
        let toml = dir.path().join("holdpoint.toml");
        std::fs::write(&toml, "prot = 1").expect("file");
        std::fs::write(dir.path().join("file"), "").expect("file");
        // The data folder is below a file, nothing is on the PATH, and no engine's socket is anywhere.
        let environment = Environment {
            container_host: Some("tcp://nowhere:1".into()),
            path: "/nowhere".into(),
            ..Environment::default()
        };
        let report = found(&dir.path().join("file/data"), &toml, environment).await;
        let names: BTreeSet<&str> = report.checks.iter().map(|found| found.check).collect();
        assert_eq!(names.len(), CHECKS.len(), "{report:?}");
        assert_eq!(report.verdict, Verdict::Problem);
        let of = |name: &str| report.checks.iter().find(|found| found.check == name).expect("there");
        let configuration = &of("configuration").finding;
        assert!(configuration.why.contains("did you mean `port`?"), "{configuration:?}");
        for name in ["configuration", "data folder", "Claude CLI"] {
            assert_eq!(of(name).finding.verdict, Verdict::Problem, "{:?}", of(name));
        }
        for found in report.checks.iter().filter(|found| found.finding.verdict != Verdict::Ok) {
            assert!(!found.finding.next.is_empty(), "nothing to type: {found:?}");
        }
        assert!(!dir.path().join("file/data").exists(), "it changes nothing");
    }

    #[tokio::test]
    async fn nothing_is_made_where_nothing_is_yet() {
        let dir = tempfile::tempdir().expect("dir");
        let toml = dir.path().join("holdpoint.toml");
        std::fs::write(&toml, "port = 0\nengine = \"process\"").expect("file");
        let data = dir.path().join("data");
        let report = found(&data, &toml, Environment::default()).await;
        let verdict = |name: &str| {
            report.checks.iter().find(|found| found.check == name).expect("there").finding.verdict
        };
        for (name, expected) in [
            ("configuration", Verdict::Ok),
            ("environment", Verdict::Warning),
            ("data folder", Verdict::Ok),
            ("ports", Verdict::Ok),
            ("control plane", Verdict::Warning),
            ("container engine", Verdict::Warning),
        ] {
            assert_eq!(verdict(name), expected, "{name}: {report:?}");
        }
        assert!(!data.exists());
    }
}
