//! The one place that says who may see and do what to an execution. Handlers get at executions
//! and holds through here alone.

use std::sync::Arc;

use holdpoint_model::{Actor, Execution, ExecutionId, HoldId, Role, UserId};
use holdpoint_store::HoldRow;

use super::Caller;
use crate::{problem::Problem, state::WebState};

/// What somebody wants with an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Look at it.
    See,
    /// Answer its holds.
    Decide,
    /// Send messages, interrupt, cancel, finish.
    Steer,
}

impl Caller {
    fn owns(&self, owner: &Actor) -> bool {
        owner.user == Some(self.user)
    }

    /// Whether this is allowed.
    pub(crate) fn may(&self, act: Act, owner: &Actor) -> bool {
        let own = self.owns(owner);
        self.role.may_see(own)
            && match act {
                Act::See => true,
                Act::Decide => self.role.may_decide(own),
                Act::Steer => self.role.may_steer(own),
            }
    }

    /// What one may not see does not exist; what one sees and may not touch is refused.
    fn check(&self, act: Act, owner: &Actor, what: &str) -> Result<(), Problem> {
        if !self.may(Act::See, owner) {
            return Err(Problem::not_found(what));
        }
        if self.may(act, owner) {
            return Ok(());
        }
        let deed = match act {
            Act::See => "look at",
            Act::Decide => "answer the holds of",
            Act::Steer => "steer",
        };
        Err(Problem::forbidden(format!("a {} may not {deed} this conversation", self.role)))
    }

    /// Whether conversations may be started.
    pub(crate) fn check_start(&self) -> Result<(), Problem> {
        if self.role.may_start() {
            Ok(())
        } else {
            Err(Problem::forbidden(format!("a {} may not start conversations", self.role)))
        }
    }

    /// Whether tokens and links may be made.
    pub(crate) fn check_administer(&self) -> Result<(), Problem> {
        if self.role.may_administer() {
            Ok(())
        } else {
            Err(Problem::forbidden(format!("a {} may not make tokens or links", self.role)))
        }
    }

    /// Whether what has been kept for long enough may be looked at and deleted.
    pub(crate) fn check_operate(&self) -> Result<(), Problem> {
        if self.is_operator() {
            Ok(())
        } else {
            Err(Problem::forbidden(format!(
                "a {} may not see or do what concerns everybody's conversations",
                self.role
            )))
        }
    }

    /// Whether sessions may be looked into. Asked before whether there is one: who may not, learns nothing.
    pub(crate) fn check_look_inside(&self) -> Result<(), Problem> {
        if self.is_operator() {
            Ok(())
        } else {
            Err(Problem::forbidden(format!(
                "a {} may not look inside of sessions; an operator may",
                self.role
            )))
        }
    }

    /// Lists are restricted to what this user owns; None where they see everything.
    pub(crate) fn sees_only(&self) -> Option<UserId> {
        (!self.role.may_see(false)).then_some(self.user)
    }

    /// Sees where sessions are and what workers do.
    pub(crate) fn is_operator(&self) -> bool {
        matches!(self.role, Role::Admin | Role::Operator)
    }
}

/// The execution with this id, if the caller may do this to it.
pub(crate) async fn execution(
    state: &WebState,
    caller: &Caller,
    id: &str,
    act: Act,
) -> Result<Arc<Execution>, Problem> {
    let missing = || Problem::not_found("execution");
    let id: ExecutionId = id.parse().map_err(|_| missing())?;
    let execution = state.store().execution(id).await?.ok_or_else(missing)?;
    caller.check(act, &execution.owner, "execution")?;
    Ok(execution)
}

/// The hold with this id, if the caller may do this to its execution.
pub(crate) async fn hold(state: &WebState, caller: &Caller, id: &str, act: Act) -> Result<HoldRow, Problem> {
    let missing = || Problem::not_found("hold");
    let id: HoldId = id.parse().map_err(|_| missing())?;
    let row = state.store().hold(id).await?.ok_or_else(missing)?;
    caller.check(act, &row.owner, "hold")?;
    Ok(row)
}
