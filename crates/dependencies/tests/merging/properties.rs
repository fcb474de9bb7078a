//! What holds whatever is merged: the same twice is the same, the order is of no account where it should not
//! be, and no constraint is lost.

use std::{collections::BTreeSet, str::FromStr};

use holdpoint_dependencies::Kind;
use nodejs_semver::{Range, Version as NpmVersion};
use pep440_rs::{Version, VersionSpecifiers};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::support::{Files, as_files, files, merged};

const NAMES: [&str; 4] = ["requests", "Requests", "numpy", "ruamel.yaml"];
const MARKERS: [&str; 5] = [
    "python_version < '3.9'",
    "python_version >= '3.9'",
    "'3.9' <= python_version",
    "sys_platform == 'linux'",
    "sys_platform == 'win32' and python_version >= '3.11'",
];
const OPERATORS: [&str; 8] = ["==", "!=", ">=", "<=", ">", "<", "~=", "==="];
const VERSIONS: [&str; 12] = [
    "1.0.0",
    "1.0.1",
    "1.1.0",
    "1.1.0a1",
    "1.1.0rc2",
    "1.1.0.post1",
    "1.1.0.dev3",
    "1.2.0",
    "2.0.0",
    "2.0.0b1",
    "3.1.4",
    "1!1.0.0",
];
/// Versions to try, beside those that are asked for.
const TRIED: [&str; 12] = [
    "0.9.0",
    "1.0.5",
    "1.0.0.post1",
    "1.1.0a2",
    "1.1.5",
    "1.2.0.dev1",
    "1.9.9",
    "2.0.0a9",
    "2.5.0",
    "4.0.0",
    "1!0.1.0",
    "1.1.0+local",
];

fn specifier() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => (select(&OPERATORS[..]), select(&VERSIONS[..])).prop_map(|(operator, version)| format!("{operator}{version}")),
        1 => (select(&["==", "!="][..]), select(&["1.*", "1.1.*", "2.*", "1!1.*"][..])).prop_map(|(a, b)| format!("{a}{b}")),
        1 => Just("==1.1.0+local".to_owned()),
    ]
}

/// A line of `requirements.txt`: its name, what it asks for, its marker.
fn requirement() -> impl Strategy<Value = (String, String, Option<&'static str>)> {
    let extras = select(&["", "[one]", "[two,one]"][..]);
    (select(&NAMES[..]), extras, vec(specifier(), 0..3), option::weighted(0.4, select(&MARKERS[..])))
        .prop_map(|(name, extras, specifiers, marker)| {
            (format!("{name}{extras}"), specifiers.join(","), marker)
        })
}

type Requirements = Vec<(String, String, Option<&'static str>)>;

fn requirements(lines: &Requirements) -> Files {
    let text = lines.iter().map(|(name, specifiers, marker)| {
        let marker = marker.map(|marker| format!(" ; {marker}")).unwrap_or_default();
        format!("{name}{specifiers}{marker}\n")
    });
    files([("requirements.txt", text.collect::<String>().as_str())])
}

fn base(name: &str) -> String {
    name.split('[').next().unwrap_or(name).to_ascii_lowercase()
}

fn meets(version: &Version, specifiers: &str) -> bool {
    let specifiers = VersionSpecifiers::from_str(specifiers).expect("specifiers");
    specifiers.iter().all(|one| {
        // The library compares `===` by letters; versions that are equal are as good here.
        if one.to_string().starts_with("===") { one.version() == version } else { one.contains(version) }
    })
}

fn tried() -> impl Iterator<Item = Version> {
    VERSIONS.iter().chain(&TRIED).map(|version| Version::from_str(version).expect("a version"))
}

/// The name, specifiers and marker of a line that came out.
fn parts(line: &str) -> (String, String, &str) {
    let (what, marker) = line.split_once(" ; ").unwrap_or((line, ""));
    let begins = what.find(|c| "<>=!~".contains(c)).unwrap_or(what.len());
    (base(&what[..begins]), what[begins..].to_owned(), marker)
}

fn equal_markers(a: &str, b: &str) -> bool {
    let tree = |text: &str| pep508_rs::MarkerTree::from_str(text).expect("a marker");
    a == b || (!a.is_empty() && !b.is_empty() && tree(a) == tree(b))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn requirements_lose_no_constraint(master in vec(requirement(), 0..4), project in vec(requirement(), 0..4)) {
        let Ok(merged) = merged(&requirements(&master), &requirements(&project)) else { return Ok(()) };
        let out = merged.python.requirements().unwrap_or_default();
        for (name, asked, marker) in master.iter().chain(&project) {
            let lines: Vec<_> = out.lines().map(parts)
                .filter(|(it, _, of)| *it == base(name) && equal_markers(of, marker.unwrap_or_default())).collect();
            prop_assert_eq!(lines.len(), 1, "{} in {}", name, &out);
            for version in tried() {
                prop_assert!(!meets(&version, &lines[0].1) || meets(&version, asked), "{version}: {asked} in {out}");
            }
            for extra in name.split(['[', ',', ']']).skip(1).filter(|extra| !extra.is_empty()) {
                let has = |line: &&str| base(line) == base(name) && line.contains(extra);
                prop_assert!(out.lines().any(|line| has(&line)), "{extra} in {out}");
            }
        }
    }

    #[test]
    fn requirements_that_conflict_leave_no_version(one in specifier(), other in specifier(), third in specifier()) {
        let master = files([("requirements.txt", format!("a{one}\na{third}\n").as_str())]);
        let project = files([("requirements.txt", format!("a{other}\n").as_str())]);
        let Err(refused) = merged(&master, &project) else { return Ok(()) };
        for conflict in &refused.conflicts {
            for version in tried() {
                let all = conflict.asked.iter().all(|it| meets(&version, it.text.trim_start_matches('a')));
                prop_assert!(!all, "{version} meets {conflict:?}");
            }
        }
    }

    #[test]
    fn requirements_do_not_mind_the_order(master in vec(requirement(), 0..5), project in vec(requirement(), 0..5)) {
        let there = merged(&requirements(&master), &requirements(&project));
        let back = merged(&requirements(&project), &requirements(&master));
        let one_file: Requirements = project.iter().chain(&master).cloned().collect();
        let together = merged(&requirements(&one_file), &files([]));
        prop_assert_eq!(there.as_ref().ok().map(as_files), back.as_ref().ok().map(as_files));
        prop_assert_eq!(there.as_ref().ok().map(as_files), together.as_ref().ok().map(as_files));
        prop_assert_eq!(there.map_err(|it| it.conflicts.len()).err(), back.map_err(|it| it.conflicts.len()).err());
    }

    #[test]
    fn requirements_merge_with_themselves_to_themselves(lines in vec(requirement(), 0..6), more in vec(requirement(), 0..3)) {
        again_the_same(&requirements(&lines), &requirements(&more))?;
    }
}

fn again_the_same(master: &Files, project: &Files) -> Result<(), TestCaseError> {
    let Ok(first) = merged(master, project) else { return Ok(()) };
    let out = as_files(&first);
    for (a, b) in [(&out, &out), (&out, &files([])), (&files([]), &out), (&out, project), (master, &out)] {
        let again = merged(a, b);
        prop_assert_eq!(again.as_ref().map(as_files), Ok(out.clone()));
        prop_assert_eq!(again.map(|it| it.canonical()).ok(), Some(first.canonical()));
    }
    Ok(())
}

const NPM_NAMES: [&str; 3] = ["express", "@scope/thing", "left-pad"];
const SECTIONS: [&str; 4] = ["dependencies", "peerDependencies", "optionalDependencies", "devDependencies"];

fn npm_version() -> impl Strategy<Value = String> {
    let pre = select(&["", "", "", "-0", "-alpha", "-alpha.1", "-beta.2", "-rc.1"][..]);
    (0u64..3, 0u64..3, 0u64..3, pre)
        .prop_map(|(major, minor, patch, pre)| format!("{major}.{minor}.{patch}{pre}"))
}

fn comparator() -> impl Strategy<Value = String> {
    let partial = (0u64..3, option::of(0u64..3)).prop_map(|(major, minor)| match minor {
        Some(minor) => format!("{major}.{minor}"),
        None => major.to_string(),
    });
    let operator = select(&["", "=", ">", ">=", "<", "<=", "^", "~"][..]);
    (operator, prop_oneof![npm_version(), partial])
        .prop_map(|(operator, version)| format!("{operator}{version}"))
}

fn range() -> impl Strategy<Value = String> {
    let stretch = prop_oneof![
        6 => vec(comparator(), 1..3).prop_map(|all| all.join(" ")),
        1 => (npm_version(), npm_version()).prop_map(|(a, b)| format!("{a} - {b}")),
        1 => Just("*".to_owned()),
    ];
    vec(stretch, 1..4).prop_map(|all| all.join(" || "))
}

fn package_json(section: &str, packages: &[(&str, String)]) -> Files {
    let packages: serde_json::Map<_, _> =
        packages.iter().map(|(name, range)| ((*name).to_owned(), range.as_str().into())).collect();
    files([("package.json", serde_json::json!({ section: packages }).to_string().as_str())])
}

/// Every version there can be a question about, pre-releases included.
fn npm_versions() -> impl Iterator<Item = NpmVersion> {
    let pre = ["", "-0", "-alpha", "-alpha.0", "-alpha.1", "-beta.2", "-beta.3", "-rc.1", "-zz"];
    let of = move |n: u64| {
        pre.into_iter().map(move |pre| {
            NpmVersion::parse(format!("{}.{}.{}{pre}", n / 16, n / 4 % 4, n % 4)).expect("a version")
        })
    };
    (0..64).flat_map(of)
}

/// npm leaves out `>=0.0.0`, also where `0.x` means it.
fn without_zero(range: Range) -> Range {
    match range.to_string().strip_prefix(">=0.0.0 ") {
        Some(rest) => Range::parse(rest).expect("a range"),
        None => range,
    }
}

/// What npm takes. Each comparator is asked alone, and a pre-release let in if one names it, as npm has it; the
/// library's own reading of several is not relied on.
struct NpmTakes(Vec<Vec<Range>>);

impl NpmTakes {
    fn of(range: &str) -> Self {
        let comparators = |stretch: &str| match stretch.split_once(" - ") {
            Some((from, to)) => vec![format!(">={from}"), format!("<={to}")],
            None => stretch.split_whitespace().map(str::to_owned).collect(),
        };
        let read = |part: &String| Range::parse(part).expect("a range");
        // `>=0` is nothing to npm, as `*` is; and a stretch of which nothing is left is the whole range.
        let says_something = |range: &Range| !matches!(range.to_string().as_str(), "*" | ">=0.0.0");
        let stretches: Vec<Vec<Range>> = range
            .split("||")
            .map(|stretch| comparators(stretch.trim()).iter().map(read).filter(says_something).collect())
            .collect();
        if stretches.iter().any(Vec::is_empty) {
            return Self(vec![vec![Range::parse("*").expect("a range")]]);
        }
        Self(stretches.into_iter().map(|parts| parts.into_iter().map(without_zero).collect()).collect())
    }

    fn takes(&self, version: &NpmVersion) -> bool {
        self.0.iter().any(|parts| {
            parts.iter().all(|part| part.satisfies_with_prerelease(version, true))
                && (!version.is_prerelease() || parts.iter().any(|part| part.satisfies(version)))
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn npm_ranges_lose_nothing_and_add_nothing(a in range(), b in range()) {
        let project = package_json("dependencies", &[("x", b.clone())]);
        let (takes_a, takes_b) = (NpmTakes::of(&a), NpmTakes::of(&b));
        let both = |version: &NpmVersion| takes_a.takes(version) && takes_b.takes(version);
        match merged(&package_json("devDependencies", &[("x", a.clone())]), &project) {
            Ok(merged) => {
                let json: serde_json::Value = serde_json::from_str(&merged.npm.package_json().expect("one")).expect("JSON");
                let out = json["dependencies"]["x"].as_str().expect("a range");
                let takes = NpmTakes::of(out);
                for version in npm_versions() {
                    prop_assert_eq!(takes.takes(&version), both(&version), "{} in {} and {}: {}", version, &a, &b, out);
                }
            }
            Err(refused) => {
                // One of them alone may be what no version is in.
                for version in npm_versions() {
                    prop_assert!(!both(&version), "{version} in {a} and {b}: {refused}");
                }
            }
        }
    }

    #[test]
    fn npm_packages_do_not_mind_the_order(
        master in vec((select(&NPM_NAMES[..]), range()), 0..4), project in vec((select(&NPM_NAMES[..]), range()), 0..4),
        one in select(&SECTIONS[..]), other in select(&SECTIONS[..]),
    ) {
        let (master, project) = (package_json(one, &master), package_json(other, &project));
        let (there, back) = (merged(&master, &project), merged(&project, &master));
        prop_assert_eq!(there.as_ref().ok().map(as_files), back.as_ref().ok().map(as_files));
        again_the_same(&master, &project)?;
    }

    #[test]
    fn system_packages_are_a_set(
        master in vec(("[a-c]{2}(:amd64)?", option::weighted(0.2, "[12]")), 0..6),
        project in vec(("[a-c]{2}(:amd64)?", option::weighted(0.2, "[12]")), 0..6),
    ) {
        let line = |(name, version): &(String, Option<String>)| match version {
            Some(version) => format!("{name}={version}"),
            None => name.clone(),
        };
        let listed = |all: &[(String, Option<String>)]| {
            files([("system-packages.txt", all.iter().map(|it| line(it) + "\n").collect::<String>().as_str())])
        };
        let (there, back) = (merged(&listed(&master), &listed(&project)), merged(&listed(&project), &listed(&master)));
        prop_assert_eq!(there.as_ref().ok().map(as_files), back.as_ref().ok().map(as_files));
        again_the_same(&listed(&master), &listed(&project))?;
        let all: Vec<_> = master.iter().chain(&project).collect();
        let pins: BTreeSet<_> = all.iter().filter(|it| it.1.is_some()).map(|it| line(it)).collect();
        let pinned: BTreeSet<_> = all.iter().filter(|it| it.1.is_some()).map(|it| &it.0).collect();
        match there {
            Ok(merged) => {
                let names: BTreeSet<_> = all.iter().map(|it| it.0.as_str()).collect();
                let out = merged.system.packages();
                prop_assert_eq!(out.iter().map(|it| it.split('=').next().unwrap_or(it)).collect::<BTreeSet<_>>(), names);
                prop_assert!(pins.iter().all(|pin| out.contains(pin)));
            }
            Err(refused) => {
                prop_assert!(refused.problems.is_empty() && pins.len() > pinned.len());
                prop_assert!(refused.conflicts.iter().all(|it| it.kind == Kind::System && it.asked.len() > 1));
            }
        }
    }
}
