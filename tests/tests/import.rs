//! Moving over by the real program: what it says, what it writes, and that what it writes is a configuration.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use holdpoint_tests::holdpoint;
use serde_json::Value;
use tempfile::TempDir;

const ENV: &str = "ANTHROPIC_API_KEY=sk-ant-api03-0123456789abcdef
GITHUB_TOKEN=ghp_0123456789abcdef
GITHUB_USERNAME=example-org
MASTER_CONFIG_REPO=https://${GITHUB_TOKEN}@github.com/example-org/master.git
ANTHROPIC_BASE_URL=https://llm.example.org/
KODO_APP_SERVER=http://localhost:3999
";

const APPS: &str = "applications:
  - name: Claude HITL
    import_path: a.query:app
    runtime_env:
      env_vars: {CLAUDE_MODEL: opus, COMPLETION_MODE: auto-complete, CLAUDE_ACTOR_CPUS: 2, CLAUDE_ACTOR_MEMORY_GB: 1.5}
  - {name: Claude hitl, import_path: b.query:app}
";

const SETTINGS: &str =
    r#"{"permissions": {"deny": ["WebFetch"], "ask": ["Bash(git push:*)"], "allow": ["Bash(ls:*)"]}}"#;

fn checkout(files: &[(&str, &str)]) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        fs::write(path, text)?;
    }
    Ok(folder)
}

fn run(folder: &Path, args: &[&str]) -> Result<Output> {
    let mut command = Command::new(holdpoint()?);
    command.env_remove("HOLDPOINT_CONFIG").env("HOLDPOINT_DATA", folder.join("data-of-holdpoint"));
    Ok(command.args(args).output()?)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// What `import` says as JSON, with its exit code.
fn import(folder: &Path, args: &[&str]) -> Result<(i32, Value)> {
    let path = folder.display().to_string();
    let output = run(folder, &[&["--json", "import", &path], args].concat())?;
    let value = serde_json::from_slice(&output.stdout).with_context(|| text(&output))?;
    Ok((output.status.code().unwrap_or(-1), value))
}

/// What `config check` comes to.
fn check(file: &Path) -> Result<Value> {
    let folder = file.parent().context("no parent")?;
    let path = file.display().to_string();
    let output = run(folder, &["--json", "--config", &path, "config", "check"])?;
    ensure!(output.status.success(), "{}\n{}", text(&output), fs::read_to_string(file)?);
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn what_is_written_is_a_configuration_without_a_secret() -> Result<()> {
    let files = [
        (".env", ENV),
        ("data/config/apps.yaml", APPS),
        (".claude/settings.json", SETTINGS),
        ("Dockerfile", "FROM x\n"),
    ];
    let folder = checkout(&files)?;
    let (code, said) = import(folder.path(), &[])?;
    assert_eq!((code, &said["written"], &said["counts"]["error"]), (0, &true.into(), &0.into()), "{said}");
    let file = folder.path().join("holdpoint.toml");
    let written = fs::read_to_string(&file)?;
    for secret in ["sk-ant-api03-0123456789abcdef", "ghp_0123456789abcdef"] {
        assert!(!written.contains(secret) && !said.to_string().contains(secret), "{written}\n{said}");
    }
    assert!(written.contains("git = \"https://github.com/example-org/master.git\""), "{written}");
    let comes_to = check(&file)?;
    assert_eq!(comes_to["port"], 3999, "{comes_to}");
    assert_eq!(comes_to["agents"], serde_json::json!(["claude", "claude-hitl", "claude-hitl-2"]));
    assert!(
        comes_to["model"].as_str().is_some_and(|model| model.contains("https://llm.example.org")),
        "{comes_to}"
    );

    // It is theirs now.
    fs::write(&file, "# mine\n")?;
    let path = folder.path().display().to_string();
    let again = run(folder.path(), &["import", &path])?;
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
    assert!(text(&again).contains("--force") && fs::read_to_string(&file)? == "# mine\n", "{}", text(&again));
    let (code, said) = import(folder.path(), &["--dry-run"])?;
    assert_eq!((code, &said["written"], said["toml"].as_str()), (0, &false.into(), Some(written.as_str())));
    assert_eq!(fs::read_to_string(&file)?, "# mine\n");
    assert_eq!(import(folder.path(), &["--force"])?.0, 0);
    assert_eq!(fs::read_to_string(&file)?, written);

    // From elsewhere, folders are named by their paths.
    let elsewhere = tempfile::tempdir()?;
    let output = elsewhere.path().join("other.toml");
    assert_eq!(import(folder.path(), &["--output", &output.display().to_string()])?.0, 0);
    check(&output)?;
    Ok(())
}

#[test]
fn whatever_there_is_of_a_checkout_it_is_a_configuration() -> Result<()> {
    for files in [
        &[(".env", "")][..],
        &[("Dockerfile", "FROM x\n")],
        &[(".claude/CLAUDE.md", "# Hello\n")],
        &[("data/config/a.yaml", "name: a\nimport_path: b:c\n")],
    ] {
        let folder = checkout(files)?;
        assert_eq!(import(folder.path(), &[])?.0, 0, "{files:?}");
        check(&folder.path().join("holdpoint.toml"))?;
    }
    Ok(())
}

#[test]
fn errors_are_in_the_exit_code_and_name_their_places() -> Result<()> {
    let yaml =
        "name: a\nimport_path: b:c\nruntime_env:\n  env_vars:\n    ANTHROPIC_API_KEY: ${ANTHROPIC_API_KEY}\n";
    let folder = checkout(&[("data/config/a.yaml", yaml)])?;
    let path = folder.path().display().to_string();
    let said = run(folder.path(), &["import", &path])?;
    assert_eq!(said.status.code(), Some(7), "{}", text(&said));
    for expected in ["data/config/a.yaml:5", "${ANTHROPIC_API_KEY}", "expands nothing", "1 error"] {
        assert!(text(&said).contains(expected), "{expected}\n{}", text(&said));
    }
    let written = fs::read_to_string(folder.path().join("holdpoint.toml"))?;
    assert!(written.contains("key = { env = \"ANTHROPIC_API_KEY\" }"), "{written}");

    let nothing = tempfile::tempdir()?;
    let said = run(nothing.path(), &["import", &nothing.path().display().to_string()])?;
    assert_eq!(said.status.code(), Some(4), "{}", text(&said));
    let said = run(nothing.path(), &["import", "/nowhere/at/all"])?;
    assert_eq!(said.status.code(), Some(4), "{}", text(&said));
    Ok(())
}
