//! `GET /v1/holds`: what waits for people, or holds of another state.
//!
//! Open ones come by nearest deadline, those without one last, and among equals by when they were
//! opened; any others (and `any`) newest first. The order is stable: a page that begins at the
//! `next` of the one before it leaves out and repeats nothing that stayed in the list.

use axum::{Json, extract::State};
use holdpoint_model::{HoldId, HumanDuration, Share, UnixMs, UserId};
use holdpoint_store::{HoldFilter, HoldPhase, HoldRow, Snoozes};
use schemars::JsonSchema;
use serde::Deserialize;

use super::views::{self, HoldRowView};
use crate::{
    auth::Caller,
    body::{Page, Query},
    openapi::{Doc, Group},
    paging::{cut, page_size},
    problem::Problem,
    state::WebState,
    waiting,
};

pub(super) const HOLDS: Doc = Doc::new(Group::Holds, "listHolds", "List what waits for people")
    .text("Open ones by nearest deadline, those without one last; any others (and `any`) newest first.")
    .problems(&[(422, "invalid_request")]);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// A state, or `any`; `open` where absent.
    status: Option<String>,
    /// Only those of this conversation.
    execution: Option<String>,
    /// Only those of this agent's conversations.
    agent: Option<String>,
    /// `tool`, `question`, `plan` or `reply`.
    kind: Option<String>,
    /// `me`, `nobody`, or the id of a user.
    assigned: Option<String>,
    /// Those that expire within so much, as in `4h`.
    due_within: Option<HumanDuration>,
    /// Of what the caller has snoozed: `with` it (where absent), `without` it, or `only` that.
    snoozed: Option<String>,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// How many, at most 200.
    #[schemars(range(max = 4_294_967_295_u32))]
    limit: Option<u32>,
}

pub(super) async fn holds(
    State(state): State<WebState>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Json<Page<HoldRowView>>, Problem> {
    let execution = params
        .execution
        .map(|id| id.parse().map_err(|_| Problem::invalid(format!("{id:?} is not the id of an execution"))))
        .transpose()?;
    let now = state.now();
    let filter = HoldFilter {
        phase: phase(params.status.as_deref().unwrap_or("open")).map_err(Problem::invalid)?,
        execution,
        owner: None,
        only_for: caller.sees_only().map(|user| (user, Share::Look)),
        agent: params.agent,
        kind: params.kind.as_deref().map(waiting::kind).transpose().map_err(Problem::invalid)?,
        assigned: params
            .assigned
            .map(|whose| assigned(&whose, &caller))
            .transpose()
            .map_err(Problem::invalid)?,
        due_before: params.due_within.map(|time| time.after(now)),
        snoozes: snoozes(params.snoozed.as_deref(), &caller, now).map_err(Problem::invalid)?,
    };
    let limit = page_size(params.limit);
    let (rows, next) = hold_page(&state, &filter, params.cursor.as_deref(), limit).await?;
    let items = rows.iter().map(|row| views::hold(&state, row)).collect();
    Ok(Json(Page { items, next }))
}

/// A page of the list that `filter` makes, and where the next one begins, if there is one.
pub(crate) async fn hold_page(
    state: &WebState,
    filter: &HoldFilter,
    cursor: Option<&str>,
    limit: u32,
) -> Result<(Vec<HoldRow>, Option<String>), Problem> {
    let after = cursor.map(place).transpose().map_err(Problem::invalid)?;
    let mut rows = state.store().holds_after(filter, after, limit + 1).await?;
    let next = cut(&mut rows, limit, |row| filter.place_of(row));
    Ok((rows, next.map(|(at, id)| format!("{at}.{id}"))))
}

fn assigned(whose: &str, caller: &Caller) -> Result<Option<UserId>, String> {
    match whose {
        "me" => Ok(Some(caller.user)),
        "nobody" => Ok(None),
        id => id
            .parse()
            .map(Some)
            .map_err(|_| format!("`assigned` is {id:?}: one of me, nobody, or the id of a user")),
    }
}

fn snoozes(which: Option<&str>, caller: &Caller, now: UnixMs) -> Result<Option<Snoozes>, String> {
    let of = |only| Some(Snoozes { user: caller.user, now, only });
    match which {
        None | Some("with") => Ok(None),
        Some("without") => Ok(of(false)),
        Some("only") => Ok(of(true)),
        Some(other) => Err(format!("`snoozed` is {other:?}: one of with, without, only")),
    }
}

/// Parses a cursor.
fn place(text: &str) -> Result<(UnixMs, HoldId), String> {
    text.split_once('.')
        .and_then(|(at, id)| Some((at.parse().ok()?, id.parse().ok()?)))
        .ok_or_else(|| format!("{text:?} is not a cursor: take it from the previous page"))
}

fn phase(name: &str) -> Result<Option<HoldPhase>, String> {
    const ALL: [HoldPhase; 8] = [
        HoldPhase::Open,
        HoldPhase::Answered,
        HoldPhase::Releasing,
        HoldPhase::Released,
        HoldPhase::Indeterminate,
        HoldPhase::Expired,
        HoldPhase::Cancelled,
        HoldPhase::Superseded,
    ];
    if name == "any" {
        return Ok(None);
    }
    ALL.into_iter().find(|phase| phase.as_str() == name).map(Some).ok_or_else(|| {
        let known: Vec<&str> = ALL.iter().map(|phase| phase.as_str()).collect();
        format!("unknown status {name:?}: one of {}, any", known.join(", "))
    })
}
