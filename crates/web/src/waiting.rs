//! What the API and the panel do about a hold beside answering it: whose it is, and when somebody wants to see it
//! again.

use holdpoint_model::{Act, HoldKind, HoldState, UnixMs, hold::Assignee};
use holdpoint_store::HoldRow;

use crate::{
    auth::{Caller, hold, standing_of},
    limits,
    problem::Problem,
    state::WebState,
};

/// Whose a hold is to be.
#[derive(Clone, Debug)]
pub(crate) enum Whose {
    /// Of whoever says so.
    Mine,
    /// Of nobody in particular.
    Nobodys,
    /// Of whoever is called that.
    Named(String),
}

/// Says whose a hold is. Whoever may decide it may say so, of everybody who may decide it.
pub(crate) async fn assign(
    state: &WebState,
    caller: &Caller,
    id: &str,
    whose: Whose,
) -> Result<HoldRow, Problem> {
    let row = hold(state, caller, id, Act::Decide).await?;
    let to = match whose {
        Whose::Nobodys => None,
        Whose::Mine => Some(Assignee { user: caller.user, name: caller.name.clone() }),
        Whose::Named(name) => Some(assignee(state, &row, name.trim()).await?),
    };
    Ok(state.control.assign(row.hold.id, to, caller.actor()).await?)
}

/// The person of this name, if they may decide the hold. Whoever asks does not learn who there is beside.
async fn assignee(state: &WebState, row: &HoldRow, name: &str) -> Result<Assignee, Problem> {
    let nobody = || Problem::invalid(format!("nobody called {name:?} may answer this hold"));
    let user = state.store().user_by_name(name).await?.filter(|user| user.is_active()).ok_or_else(nobody)?;
    let standing = standing_of(state, user.id, row.execution, &row.owner).await?;
    if user.role.may(Act::Decide, standing) {
        Ok(Assignee { user: user.id, name: user.name })
    } else {
        Err(nobody())
    }
}

/// When somebody wants to see a hold again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// Now.
    Now,
    /// At this time, or when it is nearly due if that is earlier.
    At(UnixMs),
    /// When it is nearly due.
    NearlyDue,
}

/// Hides a hold from the caller's own inbox, or shows it again; until when it is hidden.
pub(crate) async fn snooze(
    state: &WebState,
    caller: &Caller,
    id: &str,
    again: Again,
) -> Result<(HoldRow, Option<UnixMs>), Problem> {
    let row = hold(state, caller, id, Act::Decide).await?;
    let until = match again {
        Again::Now => None,
        again => Some(wakes_at(&row, again, state.now())?),
    };
    state.store().snooze(caller.user, row.hold.id, until).await?;
    Ok((row, until))
}

fn wakes_at(row: &HoldRow, again: Again, now: UnixMs) -> Result<UnixMs, Problem> {
    if row.hold.state != HoldState::Open {
        return Err(holdpoint_control::DecideError::NotOpen(row.hold.state.as_str()).into());
    }
    let nearly_due = row.hold.expires_at.map(|at| at - limits::NEARLY_DUE_MS);
    let until = match (again, nearly_due) {
        (Again::At(at), Some(nearly)) => at.min(nearly),
        (Again::At(at), None) => at,
        (_, Some(nearly)) => nearly.min(now + limits::MAX_SNOOZE_MS),
        (_, None) => {
            return Err(Problem::invalid("this hold does not expire: say until when it is to be hidden"));
        }
    };
    if nearly_due.is_some_and(|nearly| nearly <= now) {
        return Err(Problem::invalid(
            "this hold is nearly due: answer it, or give it to somebody who can; a hidden one would expire unseen",
        ));
    }
    if until <= now || until - now > limits::MAX_SNOOZE_MS {
        let days = limits::MAX_SNOOZE_MS / 86_400_000;
        return Err(Problem::invalid(format!(
            "a hold is hidden until a time to come, {days} days from now at the latest"
        )));
    }
    Ok(until)
}

/// A kind of hold by its name.
pub(crate) fn kind(name: &str) -> Result<HoldKind, String> {
    const ALL: [HoldKind; 4] = [HoldKind::Tool, HoldKind::Question, HoldKind::Plan, HoldKind::Reply];
    ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| {
        let known: Vec<&str> = ALL.iter().map(|kind| kind.as_str()).collect();
        format!("unknown kind {name:?}: one of {}", known.join(", "))
    })
}
