//! Errors as people meet them: what failed, why, and what to type next.

use std::{
    error::Error,
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use holdpoint_model::problem::Problem;

use crate::term;

/// What a command's exit code says to scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Something failed; the message says what.
    Failed = 1,
    /// The command line is wrong. The same code as clap's.
    Usage = 2,
    /// No control plane answers.
    NotRunning = 3,
    /// There is no such execution, hold, agent or file.
    NotFound = 4,
    /// Too late: already answered, expired or over.
    Conflict = 5,
    /// The conversation that was followed ended in an error or was cancelled.
    Ended = 6,
    /// The configuration is wrong.
    Config = 7,
}

/// The table of exit codes, as `holdpoint --help` shows it.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; the message says what, why, and what to type next
  2  the command line is wrong
  3  no control plane answers
  4  no such execution, hold, agent or file
  5  too late: already answered, expired or over
  6  the conversation that was followed ended in an error or was cancelled
  7  the configuration is wrong";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Something that a person can do something about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For scripts.
    pub exit: Exit,
    /// What failed, as a sentence fragment.
    pub what: String,
    /// Why; may have several lines.
    pub why: String,
    /// What to type next; one line each.
    pub next: Vec<String>,
}

impl Failure {
    /// What failed.
    pub fn new(what: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, what: what.into(), why: String::new(), next: Vec::new() }
    }

    /// Why.
    #[must_use]
    pub fn why(mut self, why: impl fmt::Display) -> Self {
        self.why = why.to_string();
        self
    }

    /// What to type next; may be called several times.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next.push(next.into());
        self
    }

    /// The exit code, where it is not 1.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for line in self.why.lines() {
            write!(f, "\n  {line}")?;
        }
        for next in &self.next {
            write!(f, "\n→ {next}")?;
        }
        Ok(())
    }
}

impl Error for Failure {}

/// A problem of a library is a failure of the command that asked it.
impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let failure = Self::new(problem.what).why(problem.why);
        problem.next.into_iter().fold(failure, Self::next)
    }
}

/// A command that ran for somebody ended with this code; it has said itself why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedWith(pub u8);

impl fmt::Display for EndedWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the command ended with code {}", self.0)
    }
}

impl Error for EndedWith {}

/// Says on stderr what went wrong, once, and gives the exit code for it: also where stderr cannot be written, as a
/// worker's log on a full disk.
#[must_use]
pub fn report(error: &anyhow::Error) -> ExitCode {
    if term::nobody_reads(error) {
        return ExitCode::SUCCESS;
    }
    if let Some(EndedWith(code)) = error.downcast_ref() {
        return ExitCode::from(*code);
    }
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    match failure {
        // What stands above the failure only says on the way to what it happened.
        Some(failure) => {
            let _ = writeln!(io::stderr(), "error: {failure}");
            failure.exit.into()
        }
        None => {
            let _ = writeln!(io::stderr(), "error: {error}");
            for cause in error.chain().skip(1) {
                let _ = writeln!(io::stderr(), "  because: {cause}");
            }
            Exit::Failed.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_what_why_and_next() {
        let failure = Failure::new("nothing answers").why("no file\nno port").next("holdpoint up");
        assert_eq!(failure.to_string(), "nothing answers\n  no file\n  no port\n→ holdpoint up");
    }
}
