//! Whether the Claude CLI is there, is the version that Holdpoint was tested with, and runs.

use super::{Finding, Machine, Verdict};
use crate::{
    config::CliSource,
    install::{self, Installer, VERSION},
};

pub(super) async fn check(machine: &Machine) -> Vec<Finding> {
    let config = &machine.config.claude;
    let context = &machine.context;
    if config.cli != CliSource::Installed {
        // One of these installs nothing.
        let found = install::resolve(config, &context.data, machine.environment(), context.term).await;
        return vec![match found {
            Ok(program) => Finding::ok(format!("{} runs", program.display())),
            Err(error) => Finding::of_error(Verdict::Problem, error),
        }];
    }
    let folder = context.data.cli_folder().join(VERSION);
    let installer = Installer::new(folder, machine.environment().path.clone(), context.term);
    let Some(program) = installer.installed() else {
        return vec![match installer.cannot_install() {
            Some(failure) => Finding::of(Verdict::Problem, failure),
            None => Finding::warning(format!("the Claude CLI {VERSION} is not installed yet"))
                .because("the next `holdpoint up` does it")
                .next("holdpoint cli install"),
        }];
    };
    vec![match install::version_of(&program).await {
        Ok(version) if version == VERSION => Finding::ok(format!("{version} in {} runs", program.display())),
        Ok(version) => Finding::problem(format!("{} says that it is version {version}", program.display()))
            .because(format!("{VERSION} was installed there"))
            .next("holdpoint cli check"),
        Err(failure) => Finding::of(Verdict::Problem, failure),
    }]
}
