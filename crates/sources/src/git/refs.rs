//! What a branch or tag is at, asked of the remote without fetching anything.

use std::{collections::BTreeMap, ffi::OsString};

use holdpoint_model::problem::Problem;

use super::{
    environment::Access,
    run::{Call, Git, LOOK_LIMIT},
    trouble::explain,
};
use crate::{names::near_text, revision::commit};

/// The most that a list of references may have, in bytes: some hundred thousand of them.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The commit that a reference is at; without one, the remote's own `HEAD`.
pub(crate) async fn look(git: &Git, access: &Access, reference: Option<&str>) -> Result<String, Problem> {
    let url = &access.remote.url;
    if let Some(reference) = reference {
        check(reference)
            .map_err(|why| Problem::new(format!("failed to look for {reference:?} in {url}"), why))?;
    }
    let found = list(git, access, &patterns(reference)).await?;
    if let Some(commit) = choose(&found, reference) {
        return Ok(commit.to_owned());
    }
    let all = list(git, access, &[]).await?;
    Err(not_there(url, reference, &all))
}

/// Names to ask for. Whatever else ends in them comes along, and is not chosen.
fn patterns(reference: Option<&str>) -> Vec<String> {
    match reference {
        None => vec!["HEAD".to_owned()],
        Some(whole) if whole.starts_with("refs/") => vec![whole.to_owned(), format!("{whole}^{{}}")],
        Some(name) => vec![
            format!("refs/heads/{name}"),
            format!("refs/tags/{name}"),
            // What an annotated tag is of; the tag itself is another object.
            format!("refs/tags/{name}^{{}}"),
        ],
    }
}

/// Of what there is, the commit that is meant: a branch before a tag.
fn choose<'a>(found: &'a BTreeMap<String, String>, reference: Option<&str>) -> Option<&'a str> {
    let names = match reference {
        None => vec!["HEAD".to_owned()],
        Some(whole) if whole.starts_with("refs/") => vec![format!("{whole}^{{}}"), whole.to_owned()],
        Some(name) => {
            vec![format!("refs/heads/{name}"), format!("refs/tags/{name}^{{}}"), format!("refs/tags/{name}")]
        }
    };
    names.iter().find_map(|name| found.get(name)).map(String::as_str)
}

async fn list(git: &Git, access: &Access, patterns: &[String]) -> Result<BTreeMap<String, String>, Problem> {
    let url = &access.remote.url;
    let mut arguments: Vec<OsString> = ["ls-remote", "--quiet", "--", url].map(OsString::from).to_vec();
    arguments.extend(patterns.iter().map(OsString::from));
    let call =
        Call { arguments, access: Some(access), max_bytes: MAX_BYTES, limit: LOOK_LIMIT, ..Call::default() };
    let what = format!("failed to look at {url}");
    let ended = git.run(&call).await.map_err(|problem| Problem { what: what.clone(), ..problem })?;
    if !ended.status.success() {
        return Err(explain(what, access, &ended.said));
    }
    Ok(parse(&String::from_utf8_lossy(&ended.out)))
}

/// Lines of a commit, a tab and a name.
fn parse(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    lines.filter_map(|(id, name)| Some((name.to_owned(), commit(id)?))).collect()
}

fn not_there(url: &str, reference: Option<&str>, all: &BTreeMap<String, String>) -> Problem {
    let names = all.keys().filter(|name| !name.ends_with("^{}"));
    let short = names.filter_map(|name| name.strip_prefix("refs/heads/").or(name.strip_prefix("refs/tags/")));
    if all.is_empty() {
        return Problem::new(
            format!("failed to look at {url}"),
            "the repository is empty: it has no commit yet",
        )
        .next("push a first commit to it");
    }
    match reference {
        None => Problem::new(
            format!("failed to find the default branch of {url}"),
            format!("its HEAD names a branch that is not there; {}", near_text("main", short)),
        )
        .next("name the branch to be used"),
        Some(name) => {
            let problem = Problem::new(
                format!("failed to find {name:?} in {url}"),
                format!("there is no such branch or tag; {}", near_text(name, short)),
            );
            match name.len() {
                7..40 if name.bytes().all(|byte| byte.is_ascii_hexdigit()) => problem
                    .next("a commit is named by all of its 40 digits: git rev-parse ".to_owned() + name),
                _ => problem.next(format!("git ls-remote {url}")),
            }
        }
    }
}

/// Whether it can be the name of a branch or tag (git-check-ref-format(1)).
pub(super) fn check(name: &str) -> Result<(), &'static str> {
    let bad = |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    let part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if name.starts_with('-')
        || name.contains(bad)
        || name.contains("..")
        || name.contains("@{")
        || name.ends_with('.')
        || name == "@"
        || name.split('/').any(part)
    {
        return Err("no branch or tag can have that name");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[(&str, char)]) -> BTreeMap<String, String> {
        names.iter().map(|(name, digit)| ((*name).to_owned(), digit.to_string().repeat(40))).collect()
    }

    #[test]
    fn a_branch_comes_before_a_tag_and_a_tag_is_what_it_is_of() {
        let refs = found(&[
            ("HEAD", '1'),
            ("refs/heads/main", '1'),
            ("refs/heads/x", '2'),
            ("refs/tags/x", '3'),
            ("refs/tags/v1", '4'),
            ("refs/tags/v1^{}", '5'),
            ("refs/heads/a/refs/heads/y", '6'),
        ]);
        for (reference, digit) in [
            (None, Some('1')),
            (Some("main"), Some('1')),
            (Some("x"), Some('2')),
            (Some("refs/tags/x"), Some('3')),
            (Some("v1"), Some('5')),
            (Some("refs/tags/v1"), Some('5')),
            (Some("y"), None),
        ] {
            let commit = digit.map(|digit| digit.to_string().repeat(40));
            assert_eq!(choose(&refs, reference), commit.as_deref(), "{reference:?}");
        }
    }

    #[test]
    fn names_that_git_would_read_as_something_else_are_refused() {
        for bad in [
            "", "-x", "a*", "a?", "a b", "a..b", "a^{}", "a~1", "a:b", "@{u}", "@", "a.lock", "/a", "a//b",
            ".a", "a.", "a\n",
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        for good in ["main", "feature/x", "v1.2.3", "release-1", "ünï"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn near_names_are_told() {
        let all = found(&[
            ("HEAD", '1'),
            ("refs/heads/main", '1'),
            ("refs/tags/v1", '1'),
            ("refs/tags/v1^{}", '1'),
        ]);
        let problem = not_there("u", Some("mian"), &all);
        assert!(problem.why.contains("there are: main, v1"), "{problem}");
        let problem = not_there("u", Some("abc1234"), &all);
        assert!(problem.next[0].contains("40 digits"), "{problem:?}");
        assert!(not_there("u", None, &BTreeMap::new()).why.contains("empty"));
    }

    #[test]
    fn other_lines_are_no_references() {
        assert_eq!(parse("hello\nxyz\trefs/heads/a\n").len(), 0);
    }
}
