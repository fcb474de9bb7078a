//! Where the path of a tool call really leads, for policy: rules like `Read(./*)` speak of places.

use std::{
    ffi::OsString,
    io,
    path::{Component, Path, PathBuf},
};

use holdpoint_model::{policy::path_argument, wire::WorkerSpec};
use serde_json::Value;

/// `./…` for a place in the working directory, `~/…` for one in the session's home, links followed;
/// None for anywhere else, for tools without a path, and where it cannot be said.
///
/// What is said holds for the moment of the call. A command that is still running could put a link
/// in the way afterwards; against that only another user or a container helps.
pub(crate) fn of(spec: &WorkerSpec, tool: &str, input: &Value) -> Option<String> {
    let argument = path_argument(tool)?;
    let path = match input.get(argument) {
        None | Some(Value::Null) => "",
        Some(path) => path.as_str()?,
    };
    // The pattern of a search may be a path of its own.
    let pattern = input.get("pattern").and_then(Value::as_str).filter(|_| tool == "Glob").unwrap_or_default();
    if Path::new(pattern).components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
        || pattern.starts_with('~')
        || path.starts_with('~')
    {
        return None;
    }
    let target = resolve(&spec.workspace.join(path)).ok()?;
    let below = |root: &Path, sign: &str| {
        let root = root.canonicalize().ok()?;
        Some(format!("{sign}/{}", target.strip_prefix(root).ok()?.to_str()?))
    };
    below(&spec.workspace, ".").or_else(|| below(&spec.home, "~"))
}

/// The path without links, of which the last parts may not exist yet.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut missing: Vec<OsString> = Vec::new();
    let mut existing = path.to_owned();
    loop {
        match existing.canonicalize() {
            Ok(mut resolved) => {
                resolved.extend(missing.iter().rev());
                return Ok(resolved);
            }
            // A link to nowhere exists, and writing through it creates what it names.
            Err(error) if error.kind() != io::ErrorKind::NotFound || existing.symlink_metadata().is_ok() => {
                return Err(error);
            }
            Err(error) => match existing.components().next_back() {
                Some(Component::Normal(name)) => {
                    missing.push(name.to_owned());
                    existing.pop();
                }
                _ => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, os::unix::fs::symlink};

    use holdpoint_model::{ExecutionId, Policy, SessionId};
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn spec(root: &Path) -> WorkerSpec {
        WorkerSpec {
            wire: 1,
            execution: ExecutionId(uuid::Uuid::nil()),
            incarnation: 1,
            control_url: String::new(),
            worker_token: String::new(),
            gateway_url: String::new(),
            gateway_token: String::new(),
            cli: PathBuf::new(),
            bridge: None,
            container: holdpoint_model::ContainerDef::default(),
            session: SessionId(uuid::Uuid::nil()),
            workspace: root.join("work"),
            home: root.join("home"),
            run_dir: root.join("run"),
            turn_open: false,
            turn_messages: Vec::new(),
            known_results: BTreeMap::new(),
            known_blocks: Vec::new(),
            background: false,
            policy: Policy::default(),
            model: String::new(),
            system_prompt: String::new(),
            plugins: Vec::new(),
            max_turns: None,
            max_budget_usd: None,
            exclude: Vec::new(),
            environment: BTreeMap::new(),
        }
    }

    #[rstest]
    #[case("Read", json!({"file_path": "a.txt"}), Some("./a.txt"))]
    #[case("Read", json!({"file_path": "sub/../a.txt"}), Some("./a.txt"))]
    #[case("Write", json!({"file_path": "new/deep/b.txt"}), Some("./new/deep/b.txt"))]
    #[case("Read", json!({"file_path": "/etc/passwd"}), None)]
    #[case("Read", json!({"file_path": "../run/spec.json"}), None)]
    #[case("Read", json!({"file_path": "new/../../run/spec.json"}), None)]
    #[case("Read", json!({"file_path": "link"}), None)]
    #[case("Read", json!({"file_path": "linked/spec.json"}), None)]
    #[case("Write", json!({"file_path": "dangling"}), None)]
    #[case("Read", json!({"file_path": "../home/.claude/x"}), Some("~/.claude/x"))]
    #[case("Read", json!({"file_path": "~/x"}), None)]
    #[case("Read", json!({"file_path": 7}), None)]
    #[case("Grep", json!({"pattern": "/etc"}), Some("./"))]
    #[case("Grep", json!({"pattern": "x", "path": "/etc"}), None)]
    #[case("Glob", json!({"pattern": "**/*.rs"}), Some("./"))]
    #[case("Glob", json!({"pattern": "/etc/*"}), None)]
    #[case("Glob", json!({"pattern": "sub/../../run/*"}), None)]
    #[case("Bash", json!({"command": "ls"}), None)]
    fn leads(#[case] tool: &str, #[case] input: Value, #[case] expected: Option<&str>) {
        let dir = tempfile::tempdir().expect("dir");
        for folder in ["work/sub", "home/.claude", "run"] {
            fs::create_dir_all(dir.path().join(folder)).expect("folder");
        }
        fs::write(dir.path().join("work/a.txt"), "a").expect("file");
        fs::write(dir.path().join("run/spec.json"), "secret").expect("file");
        symlink("/etc/passwd", dir.path().join("work/link")).expect("link");
        symlink("../run", dir.path().join("work/linked")).expect("link");
        symlink("../run/not-yet", dir.path().join("work/dangling")).expect("link");
        assert_eq!(of(&spec(dir.path()), tool, &input).as_deref(), expected);
    }
}
