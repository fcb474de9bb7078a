//! What is really installed in an image: asked in a container of it, not taken from what was asked for.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::configuration::{Installed, Runtime};

/// Prints one section for each kind, under a line with its name. npm's own note of what it installed has every
/// package with its version.
pub(super) const SCRIPT: &str = r#"
echo '== system'
dpkg-query --show --showformat='${binary:Package} ${Version}\n'
echo '== python'
python3 -c '
import importlib.metadata, platform
print("python", platform.python_version())
found = {(d.metadata["Name"], d.version) for d in importlib.metadata.distributions()}
for name, version in sorted(found, key=str):
    print(name, version)
'
echo '== nodejs'
if command -v node >/dev/null; then node --version | sed 's/^v/nodejs /'; fi
if [ -e /app/node_modules/.package-lock.json ]; then tr -d '\n' < /app/node_modules/.package-lock.json; echo; fi
"#;

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    packages: BTreeMap<String, Locked>,
}

#[derive(Deserialize)]
struct Locked {
    version: Option<String>,
}

/// Reads what the script printed; None where a section is missing.
pub(super) fn parse(said: &str) -> Option<Installed> {
    let (_, rest) = said.split_once("== system\n")?;
    let (system, rest) = rest.split_once("== python\n")?;
    let (python, nodejs) = rest.split_once("== nodejs\n")?;
    let mut installed = Installed::default();
    installed.system.extend(system.lines().filter_map(pair));
    installed.python = runtime(python, "python");
    let (note, lines): (Vec<_>, Vec<_>) = nodejs.lines().partition(|line| line.starts_with('{'));
    installed.nodejs = runtime(&lines.join("\n"), "nodejs");
    for (path, package) in
        note.iter().filter_map(|text| serde_json::from_str::<Lock>(text).ok()?.packages.into()).flatten()
    {
        let name = path.rsplit_once("node_modules/").map_or(path.as_str(), |(_, name)| name);
        installed.nodejs.packages.extend(package.version.map(|version| (name.to_owned(), version)));
    }
    installed.nodejs.packages.sort();
    installed.nodejs.packages.dedup();
    Some(installed)
}

/// The first line has the version of what runs the packages, under its name.
fn runtime(text: &str, name: &str) -> Runtime {
    let mut runtime = Runtime::default();
    for (package, version) in text.lines().filter_map(pair) {
        if package == name && runtime.version.is_none() {
            runtime.version = Some(version);
        } else {
            runtime.packages.push((package, version));
        }
    }
    runtime
}

fn pair(line: &str) -> Option<(String, String)> {
    let (name, version) = line.trim().split_once(' ')?;
    Some((name.to_owned(), version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_read_and_a_missing_one_is_missed() {
        let said = "== system\nbash 5.2.15-2+b8\n== python\npython 3.11.2\nsix 1.16.0\n== nodejs\nnodejs 18.20.4\n\
                    {\"packages\":{\"node_modules/@a/b\":{\"version\":\"1.0.0\"},\"node_modules/x/node_modules/y\":{\"version\":\"2.0.0\"},\"link\":{\"link\":true}}}\n";
        let found = parse(said).expect("all sections");
        assert_eq!(found.system.get("bash").map(String::as_str), Some("5.2.15-2+b8"));
        assert_eq!(found.python.version.as_deref(), Some("3.11.2"));
        assert_eq!(found.python.packages, [("six".to_owned(), "1.16.0".to_owned())]);
        assert_eq!(found.nodejs.version.as_deref(), Some("18.20.4"));
        let names: Vec<_> = found.nodejs.packages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["@a/b", "y"]);
        assert_eq!(parse("== system\n"), None);
    }
}
