//! What the API and the panel do about releases: what new conversations run on, and which of them a conversation
//! keeps to.

use std::sync::Arc;

use holdpoint_control::DeployError;
use holdpoint_model::{Act, Execution, ReleaseNumber, lock::Change};
use holdpoint_store::{ReleaseError, ReleaseRow};
use http::StatusCode;
use serde_json::json;

use crate::{
    auth::{Caller, execution},
    problem::Problem,
    state::WebState,
};

/// A release, and what it changed.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) row: ReleaseRow,
    /// What is different in it from the release before it that ever was current.
    pub(crate) changes: Vec<Change>,
}

/// The releases that are listed, newest first.
pub(crate) async fn all(state: &WebState) -> Result<Vec<Listed>, Problem> {
    let rows = state.store().releases().await?;
    let mut before = match rows.last() {
        Some(oldest) => state.store().release_before(oldest.number).await?.map(|row| row.lock),
        None => None,
    };
    let mut listed = Vec::with_capacity(rows.len());
    for row in rows.into_iter().rev() {
        let changes = row.lock.changes_from(before.as_ref());
        if row.activated_at.is_some() {
            before = Some(row.lock.clone());
        }
        listed.push(Listed { row, changes });
    }
    listed.reverse();
    Ok(listed)
}

/// The release that an address names.
pub(crate) async fn find(state: &WebState, text: &str) -> Result<Listed, Problem> {
    let number = number(text)?;
    let row = state.store().release(number).await?.ok_or(ReleaseError::Unknown(number))?;
    compared(state, row).await
}

/// With what it changed.
pub(crate) async fn compared(state: &WebState, row: ReleaseRow) -> Result<Listed, Problem> {
    let before = state.store().release_before(row.number).await?;
    Ok(Listed { changes: row.lock.changes_from(before.as_ref().map(|row| &row.lock)), row })
}

/// The number that stands in an address, as it is written there by us: what is none names no release.
pub(crate) fn number(text: &str) -> Result<ReleaseNumber, Problem> {
    let number = text.parse::<ReleaseNumber>().ok().filter(|number| *number > 0);
    number.filter(|number| number.to_string() == text).ok_or_else(|| {
        unknown(format!("{:?} is not the number of one", text.chars().take(40).collect::<String>()))
    })
}

/// Moves a conversation to a release, for operators. Who is none does not learn whether there is either.
pub(crate) async fn move_to(
    state: &WebState,
    caller: &Caller,
    id: &str,
    number: ReleaseNumber,
) -> Result<Arc<Execution>, Problem> {
    caller.check_operate()?;
    let id = execution(state, caller, id, Act::See).await?.id;
    Ok(state.control.move_to(id, number, caller.actor()).await?)
}

fn unknown(detail: String) -> Problem {
    let detail = format!("{detail}; `holdpoint releases` lists those there are");
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such release", detail)
}

fn refused(code: &'static str, title: &str, detail: String) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, title, detail)
}

impl From<ReleaseError> for Problem {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::Unknown(number) => unknown(format!("no release has the number {number}")),
            ReleaseError::Refused { number, state, why } => refused(
                "release_refused",
                "this release is not where it would have to be for that",
                format!("release {number} is {}: {why}", state.as_str()),
            )
            .with("state", json!(state)),
            ReleaseError::Store(error) => error.into(),
        }
    }
}

impl From<DeployError> for Problem {
    fn from(error: DeployError) -> Self {
        let said = error.to_string();
        match error {
            DeployError::Configuration(_) => refused(
                "configuration_unusable",
                "the server’s configuration cannot be used",
                format!("{said}; mend it, then type `holdpoint deploy` again"),
            ),
            DeployError::Changed => refused(
                "configuration_changed",
                "the configuration is another one by now",
                format!("{said}; plan it anew with `holdpoint deploy`"),
            ),
            DeployError::Untried(number) => refused(
                "release_untried",
                "this release has not been tried out",
                format!(
                    "{said}; `holdpoint deploy` does that, and so does POST /v1/releases/{number}/verify"
                ),
            ),
            DeployError::NoAgent { number, agent } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "no_agent",
                "the release does not have this conversation’s agent",
                format!("{said}; move it to a release that does, or deploy one"),
            )
            .with("agent", json!(agent))
            .with("release", json!(number)),
            DeployError::Release(error) => error.into(),
            DeployError::Command(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_as_we_write_it_names_a_release() {
        for (text, expected) in [("1", 1), ("42", 42), ("4294967295", u32::MAX)] {
            assert_eq!(number(text).expect(text), expected);
        }
        for text in ["", "0", "-1", "+1", "01", " 1", "1.0", "abc", "4294967296", "1099511627776", "²", "1\n"]
        {
            let problem = number(text).expect_err(text);
            assert_eq!((problem.status, problem.code), (StatusCode::NOT_FOUND, "not_found"), "{text:?}");
        }
        let long = number(&"9".repeat(10_000)).expect_err("no number");
        assert!(long.detail.len() < 200, "{}", long.detail);
    }
}
