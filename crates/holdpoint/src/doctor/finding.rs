//! What checks find.

use std::fmt;

use serde::Serialize;

use crate::failure::Failure;

/// How bad it is. The later, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and not as well as it could.
    Warning,
    /// It does not work.
    Problem,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found.
    pub what: String,
    /// Why, or what belongs to it; may have several lines, or none.
    pub why: String,
    /// What to type; one line each.
    pub next: Vec<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(what: impl Into<String>) -> Self {
        Self::of(Verdict::Ok, Failure::new(what))
    }

    /// It works, and not as well as it could.
    pub fn warning(what: impl Into<String>) -> Self {
        Self::of(Verdict::Warning, Failure::new(what))
    }

    /// It does not work.
    pub fn problem(what: impl Into<String>) -> Self {
        Self::of(Verdict::Problem, Failure::new(what))
    }

    /// What another command would fail with.
    #[must_use]
    pub fn of(verdict: Verdict, failure: Failure) -> Self {
        Self { verdict, what: failure.what, why: failure.why, next: failure.next }
    }

    /// As [`Self::of`], of an error that may hold a [`Failure`].
    #[must_use]
    pub fn of_error(verdict: Verdict, error: anyhow::Error) -> Self {
        match error.downcast::<Failure>() {
            Ok(failure) => Self::of(verdict, failure),
            Err(error) => Self::of(verdict, Failure::new(format!("{error:#}"))),
        }
    }

    /// Why; may be called several times.
    #[must_use]
    pub fn because(mut self, why: impl fmt::Display) -> Self {
        if !self.why.is_empty() {
            self.why.push('\n');
        }
        self.why.push_str(&why.to_string());
        self
    }

    /// What to type; may be called several times.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next.push(next.into());
        self
    }
}

/// A finding, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The name of the check.
    pub check: &'static str,
    /// What it found.
    #[serde(flatten)]
    pub finding: Finding,
}

/// All that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The version of this program.
    pub version: &'static str,
    /// The worst of all.
    pub verdict: Verdict,
    /// How many problems.
    pub problems: usize,
    /// How many warnings.
    pub warnings: usize,
    /// In the order of the checks; at least one of each.
    pub checks: Vec<Found>,
}

impl Report {
    /// Of these findings.
    #[must_use]
    pub fn new(checks: Vec<Found>) -> Self {
        let count = |verdict| checks.iter().filter(|found| found.finding.verdict == verdict).count();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            verdict: checks.iter().map(|found| found.finding.verdict).max().unwrap_or(Verdict::Ok),
            problems: count(Verdict::Problem),
            warnings: count(Verdict::Warning),
            checks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides_and_scripts_can_read_it() {
        let found = |finding| Found { check: "git", finding };
        let report = Report::new(vec![
            found(Finding::warning("old").because("a").because("b").next("type")),
            found(Finding::ok("there")),
        ]);
        assert_eq!((report.verdict, report.problems, report.warnings), (Verdict::Warning, 0, 1));
        let json = serde_json::to_value(&report).expect("json");
        assert_eq!(
            json["checks"][0],
            serde_json::json!({"check": "git", "verdict": "warning", "what": "old", "why": "a\nb", "next": ["type"]})
        );
        assert_eq!(Report::new(Vec::new()).verdict, Verdict::Ok);
    }
}
