//! Whether git is there, which fetches configuration repositories and plugins, with the person's own keys.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

use super::{Finding, Machine};
use crate::{env::on_path, render::one_line};

/// The longest line of its words that is shown.
const MAX_WORDS: usize = 80;

pub(super) async fn check(machine: &Machine) -> Vec<Finding> {
    let path = &machine.environment().path;
    let Some(git) = on_path(path, "git") else {
        return vec![
            Finding::warning("there is no git on the PATH")
                .because("configuration repositories and plugins are fetched with it")
                .next("sudo apt-get install -y git"),
        ];
    };
    vec![match version(&git, path).await {
        Ok(version) => Finding::ok(format!("{version} ({})", git.display())),
        Err(why) => Finding::problem(format!("{} does not work", git.display()))
            .because(why)
            .next(format!("{} --version", git.display())),
    }]
}

/// `git version 2.39.5`
async fn version(git: &Path, path: &str) -> Result<String, String> {
    let mut command = Command::new(git);
    command.arg("--version").env_clear().env("PATH", path).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|error| error.to_string())?;
    let said = one_line(&String::from_utf8_lossy(&output.stdout), MAX_WORDS);
    if output.status.success() && said.starts_with("git version ") {
        return Ok(said);
    }
    let words = one_line(&String::from_utf8_lossy(&output.stderr), MAX_WORDS);
    Err(format!("it ended with {} and said: {said}{words}", output.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_git_is_told() {
        let why = version(Path::new("/bin/false"), "/bin").await.expect_err("no git");
        assert!(why.contains("exit status: 1"), "{why}");
        assert!(version(Path::new("/bin/echo"), "/bin").await.is_err());
        assert!(version(Path::new("/nowhere/git"), "/bin").await.is_err());
    }
}
