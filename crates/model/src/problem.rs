//! What went wrong, for the person who asked for something to be built or fetched.

use std::{fmt, io, path::Path};

/// What went wrong: what failed, why, and what to type next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What failed, as a sentence fragment.
    pub what: String,
    /// Why; may have several lines.
    pub why: String,
    /// What to type next, one line each.
    pub next: Vec<String>,
}

impl Problem {
    /// What failed, and why.
    pub fn new(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { what: what.into(), why: why.to_string(), next: Vec::new() }
    }

    /// With one more line to type.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next.push(next.into());
        self
    }

    /// A file or folder that could not be used, with what helps where that is known.
    #[must_use]
    pub fn file(what: &str, path: &Path, error: &io::Error) -> Self {
        let problem = Self::new(format!("failed to {what} {}", path.display()), error);
        match error.kind() {
            io::ErrorKind::StorageFull => problem.next(format!("df -h {}", path.display())),
            io::ErrorKind::PermissionDenied => problem.next(format!("ls -ld {}", path.display())),
            _ => problem,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl std::error::Error for Problem {}
