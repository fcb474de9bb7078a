//! From the configuration to a release: what it is made of now, what that changes, and doing it.
//!
//! - [`Prepared`]: everything that goes in, fetched and merged, with the lock that it comes to
//! - [`Plan`]: what differs from the release that is current, and how much work that is; pure
//! - [`carry_out`]: each step recorded with the release by the control plane, and safe to do again

mod image;
mod lockfile;
mod plan;
mod prepare;
mod releases;
mod steps;

pub use image::{AgentsImage, build};
pub use lockfile::written;
pub use plan::Plan;
pub use prepare::{Prepared, Wish, look};
pub use releases::Release;
pub use steps::{Done, carry_out, make_current};

use holdpoint_model::problem::Problem;

use crate::failure::Failure;

/// Several at once: all of them are read before anything is mended.
pub(crate) fn failures(what: &str, problems: Vec<Problem>) -> Failure {
    let mut problems = problems;
    if problems.len() == 1
        && let Some(problem) = problems.pop()
    {
        return problem.into();
    }
    let why: Vec<String> =
        problems.iter().map(|problem| format!("{}: {}", problem.what, problem.why)).collect();
    let failure = Failure::new(format!("{what}: {} problems", problems.len())).why(why.join("\n"));
    problems.into_iter().flat_map(|problem| problem.next).fold(failure, Failure::next)
}
