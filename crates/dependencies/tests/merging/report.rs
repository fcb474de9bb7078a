//! The report that a person reads.

use super::support::{files, merged};

#[test]
fn a_report_names_everything_at_once() {
    let master = files([
        (
            "requirements.txt",
            "# shared by all agents\nrequests>=2.28\nnumpy<2 ; python_version < '3.12'\nflask=2\n",
        ),
        ("package.json", "{\n  \"dependencies\": {\n    \"express\": \"^4.0.0\"\n  }\n}\n"),
        ("system-packages.txt", "git=1:2.39.2-1.1\n"),
    ]);
    let project = files([
        ("requirements.txt", "-r more.txt\nnumpy>=2\npkg @ https://me:hunter2@example.org/pkg.tar.gz\n"),
        ("more.txt", "\n\nrequests<2.27\n"),
        ("package.json", "{\n  \"dependencies\": {\n    \"express\": \"^5.0.0\",\n  }\n}\n"),
        ("system-packages.txt", "git=1:2.39.5-0\nfoo; rm -rf /\n"),
    ]);
    let refused = merged(&master, &project).expect_err("they do not go together");
    insta::assert_snapshot!(refused.to_string());
}

#[test]
fn every_line_that_asks_for_a_package_can_be_shown() {
    let master = files([("requirements.txt", "requests>=2.28\n"), ("system-packages.txt", "git\n")]);
    let project = files([
        ("requirements.txt", "attrs\nrequests<3\n"),
        ("package.json", "{ \"dependencies\": { \"a\": \"1\" }, \"overrides\": { \"b\": \"2\" } }"),
    ]);
    let merged = merged(&master, &project).expect("they go together");
    let origins = merged.origins().iter().fold(String::new(), |text, origin| {
        let asked = origin.asked.iter().map(|it| format!("  {} {}\n", it.place, it.text));
        format!("{text}{} {}\n{}", origin.kind, origin.name, asked.collect::<String>())
    });
    insta::assert_snapshot!(origins);
}

#[test]
fn the_canonical_text_says_what_is_installed_and_not_where_it_was_asked_for() {
    let one = files([("requirements.txt", "requests>=2.28\n"), ("system-packages.txt", "git\n")]);
    let other =
        files([("requirements.txt", "# why\nRequests >= 2.28\n"), ("system-packages.txt", "git # why\n")]);
    let nothing = files([]);
    let canonical = |a, b| merged(a, b).expect("they go together").canonical();
    assert_eq!(canonical(&one, &nothing), canonical(&nothing, &one));
    assert_eq!(canonical(&one, &one), canonical(&one, &nothing));
    // Another spelling of a name is another file to install from; pip would not mind, and nobody is misled.
    assert_ne!(canonical(&one, &nothing), canonical(&other, &nothing));
    insta::assert_snapshot!(canonical(&one, &nothing));
}

#[test]
fn a_file_that_cannot_be_read_is_said_and_not_passed_over() {
    let unreadable = |_: &str| Err("stream did not contain valid UTF-8".to_owned());
    let repository = holdpoint_dependencies::Repository { name: "project", read: &unreadable };
    let refused = holdpoint_dependencies::merge(&[repository]).expect_err("nothing can be read");
    let report = refused.to_string();
    for name in ["requirements.txt", "package.json", "system-packages.txt"] {
        let line = format!("failed to read dependencies/{name}: stream did not contain valid UTF-8");
        assert!(report.contains(&line), "{report}");
    }
}
