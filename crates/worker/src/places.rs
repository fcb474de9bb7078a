//! Where the path of a tool call really leads, for policy: rules like `Read(./*)` speak of places.

use std::{
    ffi::OsString,
    io,
    path::{Component, Path, PathBuf},
};

use holdpoint_beneath::Folder;
use holdpoint_model::{policy::path_argument, wire::WorkerSpec};
use serde_json::Value;

/// Links followed in one path, as the system has it.
const MAX_LINKS: usize = 40;

/// `./…` for a place in the working directory, `~/…` for one in the session's home, links followed;
/// None for anywhere else, for tools without a path, and where it cannot be said.
///
/// Only links below these two folders are looked at, and none is followed by the system: what lies elsewhere
/// on this machine is none of the session's, and need not be what it finds there itself.
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
    let roots = [Root::open(&spec.workspace, '.')?, Root::open(&spec.home, '~')?];
    let path = spec.workspace.join(path);
    let place = resolve(&roots, &path)?;
    // The CLI takes `link/..` for the folder that the link is in, the system for the one above what it leads
    // to. Where that makes a difference it cannot be said which of them is meant.
    (resolve(&roots, &by_spelling(&path))? == place).then_some(place)
}

/// A folder that rules speak of.
struct Root<'a> {
    /// As sessions are told.
    given: &'a Path,
    /// Without links.
    real: PathBuf,
    folder: Folder,
    sign: char,
}

impl<'a> Root<'a> {
    fn open(given: &'a Path, sign: char) -> Option<Self> {
        Some(Self { given, real: given.canonicalize().ok()?, folder: Folder::open(given).ok()?, sign })
    }
}

/// The place that an absolute path leads to; its last parts may not exist yet.
fn resolve(roots: &[Root<'_>], path: &Path) -> Option<String> {
    let mut at = PathBuf::from("/");
    let mut links = 0;
    let mut rest = parts(roots, path);
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        at.push(part);
        let inside = roots.iter().find_map(|root| Some((root, at.strip_prefix(&root.real).ok()?)));
        match inside {
            None if roots.iter().any(|root| root.real.starts_with(&at)) => {}
            None => return None,
            Some((_, below)) if below.as_os_str().is_empty() => {}
            Some((root, below)) => match root.folder.link(below) {
                Ok(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    at.pop();
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    rest.extend(parts(roots, &target));
                }
                // Not there yet, or no link.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {}
                Err(_) => return None,
            },
        }
    }
    roots
        .iter()
        .find_map(|root| Some(format!("{}/{}", root.sign, at.strip_prefix(&root.real).ok()?.to_str()?)))
}

/// The parts of a path that are still to be gone, the first one last.
fn parts(roots: &[Root<'_>], path: &Path) -> Vec<OsString> {
    let real = roots.iter().find_map(|root| Some(root.real.join(path.strip_prefix(root.given).ok()?)));
    let parts = real.as_deref().unwrap_or(path).components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    let mut parts: Vec<OsString> = parts.collect();
    parts.reverse();
    parts
}

/// The path without `..`, as if there were no links.
fn by_spelling(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
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
            losses: 0,
            known_blocks: Vec::new(),
            background: false,
            policy: Policy::default(),
            model: String::new(),
            system_prompt: String::new(),
            plugins: Vec::new(),
            suggests: false,
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
    #[case("Read", json!({"file_path": "inner/b.txt"}), Some("./sub/b.txt"))]
    #[case("Read", json!({"file_path": "absolute"}), Some("./a.txt"))]
    #[case("Read", json!({"file_path": "loop"}), None)]
    #[case("Read", json!({"file_path": "magic/a.txt"}), None)]
    #[case("Read", json!({"file_path": "a.txt/below"}), None)]
    #[case("Write", json!({"file_path": "deeper/../../run/spec.json"}), None)]
    #[case("Write", json!({"file_path": "deeper/../x"}), None)]
    #[case("Bash", json!({"command": "ls"}), None)]
    fn leads(#[case] tool: &str, #[case] input: Value, #[case] expected: Option<&str>) {
        let dir = tempfile::tempdir().expect("dir");
        for folder in ["work/sub/one/two", "home/.claude", "run"] {
            fs::create_dir_all(dir.path().join(folder)).expect("folder");
        }
        fs::write(dir.path().join("work/a.txt"), "a").expect("file");
        fs::write(dir.path().join("run/spec.json"), "secret").expect("file");
        symlink("/etc/passwd", dir.path().join("work/link")).expect("link");
        symlink("../run", dir.path().join("work/linked")).expect("link");
        symlink("../run/not-yet", dir.path().join("work/dangling")).expect("link");
        symlink("sub", dir.path().join("work/inner")).expect("link");
        symlink("sub/one/two", dir.path().join("work/deeper")).expect("link");
        symlink(dir.path().join("work/a.txt"), dir.path().join("work/absolute")).expect("link");
        symlink("loop", dir.path().join("work/loop")).expect("link");
        symlink("/proc/self/cwd", dir.path().join("work/magic")).expect("link");
        assert_eq!(of(&spec(dir.path()), tool, &input).as_deref(), expected);
    }
}
