//! Why a merge was refused: everything at once, so that it is put right in one go.

use std::fmt;

use crate::place::{Asked, Place};

/// The most problems, the most conflicts, and the most lines of a conflict, that a report spells out.
const MAX_SPELLED_OUT: usize = 50;

/// What kind of package something is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Of a Python index, by `requirements.txt`.
    Python,
    /// Of the npm registry, by `package.json`.
    Npm,
    /// Of Debian, by `system-packages.txt`.
    System,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Python => "Python",
            Self::Npm => "npm",
            Self::System => "system package",
        })
    }
}

/// A line that cannot be taken as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong with it.
    pub what: String,
    /// What to write instead.
    pub instead: String,
}

/// Lines that do not go together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// What kind of package it is.
    pub kind: Kind,
    /// The package's name; an option's, if the options contradict each other.
    pub name: String,
    /// Why they do not go together.
    pub why: String,
    /// All that take part, in the order of the repositories.
    pub asked: Vec<Asked>,
    /// What to do about it.
    pub remedy: String,
}

/// Why there is no merged set. Its `Display` is the report for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Lines that cannot be taken.
    pub problems: Vec<Problem>,
    /// Lines that do not go together. Looked for among those lines that can be taken.
    pub conflicts: Vec<Conflict>,
}

impl std::error::Error for Refused {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  {}\n  {}", self.place, self.what, self.instead)
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({}): {}", self.name, self.kind, self.why)?;
        let shown = &self.asked[..self.asked.len().min(MAX_SPELLED_OUT)];
        let width = shown.iter().map(|asked| asked.place.to_string().chars().count()).max().unwrap_or(0);
        for asked in shown {
            writeln!(f, "  {:width$}  {}", asked.place.to_string(), asked.text)?;
        }
        if shown.len() < self.asked.len() {
            writeln!(f, "  …and {} more lines", self.asked.len() - shown.len())?;
        }
        write!(f, "  {}", self.remedy)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (problems, conflicts) = (self.problems.len(), self.conflicts.len());
        write!(f, "the dependencies cannot be merged, so nothing was built: ")?;
        match (problems, conflicts) {
            (0, _) => write!(f, "{}", counted(conflicts, "conflict", "conflicts"))?,
            (_, 0) => write!(f, "{}", counted(problems, "line to put right", "lines to put right"))?,
            _ => write!(
                f,
                "{}, and {}",
                counted(problems, "line to put right", "lines to put right"),
                counted(conflicts, "conflict", "conflicts")
            )?,
        }
        for problem in self.problems.iter().take(MAX_SPELLED_OUT) {
            write!(f, "\n\n{problem}")?;
        }
        for conflict in self.conflicts.iter().take(MAX_SPELLED_OUT) {
            write!(f, "\n\n{conflict}")?;
        }
        let more = problems.saturating_sub(MAX_SPELLED_OUT) + conflicts.saturating_sub(MAX_SPELLED_OUT);
        if more > 0 { write!(f, "\n\n…and {more} more of the same kind") } else { Ok(()) }
    }
}

fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
