//! The one place that says who may see and do what. Handlers get at executions and holds through here alone.
//!
//! The rules themselves are [`Role::may`](holdpoint_model::Role::may) and its siblings; a token narrows them to
//! its scopes. What one may not see does not exist (404); what one sees and may not touch is refused (403).

use std::sync::Arc;

use holdpoint_model::{Actor, Execution, ExecutionId, HoldId, Share, Standing, TokenScope, UserId};
use holdpoint_store::{Credential, HoldRow};
use serde_json::json;

use super::Caller;
use crate::{problem::Problem, state::WebState};

pub(crate) use holdpoint_model::Act;

impl Caller {
    /// Whether this is allowed.
    pub(crate) fn may(&self, act: Act, standing: Standing) -> bool {
        self.role.may(act, standing) && self.scopes.has(act.scope())
    }

    /// What one may not see does not exist; what one sees and may not touch is refused.
    fn check(&self, act: Act, standing: Standing, what: &str) -> Result<(), Problem> {
        if !self.role.may(Act::See, standing) {
            return Err(Problem::not_found(what));
        }
        let deed = match act {
            Act::See => "look at this conversation",
            Act::Decide => "answer the holds of this conversation",
            Act::Steer => "steer this conversation",
            Act::Share => "share this conversation",
        };
        self.require(self.role.may(act, standing), act.scope(), deed)
    }

    /// Refuses what the role or the token does not allow, and says which of them it is.
    fn require(&self, by_role: bool, scope: TokenScope, deed: &str) -> Result<(), Problem> {
        if !by_role {
            return Err(Problem::forbidden(format!("a {} may not {deed}", self.role)));
        }
        if self.scopes.has(scope) {
            return Ok(());
        }
        Err(Problem::forbidden(format!("this token may not {deed}: it was made without the scope `{scope}`"))
            .with("scope", json!(scope)))
    }

    /// Whether conversations may be started.
    pub(crate) fn check_start(&self) -> Result<(), Problem> {
        self.require(self.role.may_start(), TokenScope::Start, "start conversations")
    }

    /// Whether users, and tokens and links of others, may be made, and the audit log read.
    pub(crate) fn check_administer(&self) -> Result<(), Problem> {
        self.require(self.role.may_administer(), TokenScope::Admin, "look after people and their tokens")
    }

    /// Whether what has been kept for long enough may be looked at and deleted.
    pub(crate) fn check_operate(&self) -> Result<(), Problem> {
        let deed = "see or do what concerns everybody's conversations";
        self.require(self.role.may_operate(), TokenScope::Operate, deed)
    }

    /// Whether sessions may be looked into. Asked before whether there is one: who may not, learns nothing.
    pub(crate) fn check_look_inside(&self) -> Result<(), Problem> {
        let deed = "look inside of sessions; an operator may";
        self.require(self.role.may_operate(), TokenScope::Operate, deed)
    }

    /// Whether one's own password, tokens and sessions may be looked after. A browser may; a token may not, or
    /// it could make another that lives longer or may do more, but for an administrator's.
    pub(crate) fn check_account(&self) -> Result<(), Problem> {
        if matches!(self.credential, Credential::Session(_)) {
            return Ok(());
        }
        self.check_administer().map_err(|_| {
            Problem::forbidden(
                "a token may not look after the account that it belongs to; sign in to the panel",
            )
        })
    }

    /// The same for another's: administrators may.
    pub(crate) fn check_account_of(&self, user: UserId) -> Result<(), Problem> {
        if user == self.user { self.check_account() } else { self.check_administer() }
    }

    /// Lists are restricted to what this user owns or is shared with them; None where they see everything.
    pub(crate) fn sees_only(&self) -> Option<UserId> {
        (!self.role.may(Act::See, Standing::Stranger)).then_some(self.user)
    }

    /// The same for lists of holds that they may answer.
    pub(crate) fn decides_only(&self) -> Option<(UserId, Share)> {
        (!self.role.may(Act::Decide, Standing::Stranger)).then_some((self.user, Share::Answer))
    }

    /// Whether there can be anything that waits for them.
    pub(crate) fn decides(&self) -> bool {
        self.may(Act::Decide, Standing::Owner)
    }

    /// Sees where sessions are and what workers do.
    pub(crate) fn is_operator(&self) -> bool {
        self.role.may_operate() && self.scopes.has(TokenScope::Operate)
    }
}

/// How the caller stands to an execution.
pub(crate) async fn standing(
    state: &WebState,
    caller: &Caller,
    id: ExecutionId,
    owner: &Actor,
) -> Result<Standing, Problem> {
    standing_of(state, caller.user, id, owner).await
}

/// The same for somebody else.
pub(crate) async fn standing_of(
    state: &WebState,
    user: UserId,
    id: ExecutionId,
    owner: &Actor,
) -> Result<Standing, Problem> {
    if owner.user == Some(user) {
        return Ok(Standing::Owner);
    }
    let share = state.store().share(id, user).await?;
    Ok(share.map_or(Standing::Stranger, Standing::Shared))
}

/// The execution with this id, if the caller may do this to it.
pub(crate) async fn execution(
    state: &WebState,
    caller: &Caller,
    id: &str,
    act: Act,
) -> Result<Arc<Execution>, Problem> {
    Ok(execution_as(state, caller, id, act).await?.0)
}

/// The same, and how the caller stands to it.
pub(crate) async fn execution_as(
    state: &WebState,
    caller: &Caller,
    id: &str,
    act: Act,
) -> Result<(Arc<Execution>, Standing), Problem> {
    let missing = || Problem::not_found("execution");
    let id: ExecutionId = id.parse().map_err(|_| missing())?;
    let execution = state.store().execution(id).await?.ok_or_else(missing)?;
    let standing = standing(state, caller, id, &execution.owner).await?;
    caller.check(act, standing, "execution")?;
    Ok((execution, standing))
}

/// The hold with this id, if the caller may do this to its execution.
pub(crate) async fn hold(state: &WebState, caller: &Caller, id: &str, act: Act) -> Result<HoldRow, Problem> {
    let missing = || Problem::not_found("hold");
    let id: HoldId = id.parse().map_err(|_| missing())?;
    let row = state.store().hold(id).await?.ok_or_else(missing)?;
    let standing = standing(state, caller, row.execution, &row.owner).await?;
    caller.check(act, standing, "hold")?;
    Ok(row)
}
