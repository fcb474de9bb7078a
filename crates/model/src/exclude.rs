//! Which files of a workspace the agent keeps to itself.

use crate::policy::glob;

/// Whether one of an agent's `exclude` patterns names this path below the workspace: the path itself, its last
/// name, or a folder that it is in. `*` matches any run of characters, `/` too.
#[must_use]
pub fn is_excluded(patterns: &[String], path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    patterns.iter().any(|pattern| {
        let pattern = pattern.trim_end_matches('/');
        let is_within = path.strip_prefix(pattern).is_some_and(|rest| rest.starts_with('/'));
        is_within || glob(pattern, path) || glob(pattern, name)
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::is_excluded;

    #[rstest]
    #[case("x.log", true)]
    #[case("out/x.log", true)]
    #[case("private", true)]
    #[case("private/a/b", true)]
    #[case("a/private", true)]
    #[case("out/1/raw", true)]
    #[case("a/private/b", false)]
    #[case("privateer", false)]
    #[case("x.logs", false)]
    #[case("out/a.txt", false)]
    fn patterns_name_paths_names_and_folders(#[case] path: &str, #[case] expected: bool) {
        let patterns = ["*.log", "private/", "out/*/raw"].map(str::to_owned);
        assert_eq!(is_excluded(&patterns, path), expected);
    }

    #[test]
    fn a_name_made_to_be_slow_is_not() {
        let pattern = ["*a".repeat(30) + "b"];
        assert!(!is_excluded(&pattern, &"a".repeat(100_000)));
    }
}
