//! The release of a conversation, for operators: which it is, and the way to the present one.

use holdpoint_model::{Execution, ReleaseNumber, ReleaseState};
use maud::{Markup, html};

use super::{View, count};

/// Where a release is on its way, as a sign.
pub(in crate::panel) fn state(state: ReleaseState) -> Markup {
    html! { span.chip data-release-state=(state.as_str()) { (state_words(state)) } }
}

/// Where a release is on its way, in words.
fn state_words(state: ReleaseState) -> &'static str {
    match state {
        ReleaseState::Building => "Unfinished",
        ReleaseState::Current => "Current",
        ReleaseState::Retired => "Earlier",
        ReleaseState::Failed => "Failed",
        ReleaseState::Removed => "Removed",
    }
}

/// How many conversations a release still has.
pub(in crate::panel) fn going_on(conversations: u64) -> String {
    match conversations {
        0 => "no conversation on it goes on".into(),
        1 => "one conversation on it goes on".into(),
        n => format!("{} conversations on it go on", count(n)),
    }
}

/// The way to the release that new conversations run on, where this one runs on another.
pub(in crate::panel) fn move_on(
    execution: &Execution,
    current: Option<ReleaseNumber>,
    view: &View<'_>,
) -> Markup {
    let own = execution.release.as_ref().map(|release| release.number);
    let to = current.filter(|current| Some(*current) != own && !execution.status.is_final());
    html! {
        div #move {
            @if let Some(to) = to.filter(|_| view.is_operator) {
                details.way data-part="move" {
                    summary.button { "Move to release " (to) "…" }
                    form.stack method="post" action={ "/executions/" (execution.id) "/move" } data-send {
                        input type="hidden" name="release" value=(to);
                        p {
                            @match own {
                                Some(own) => { "It runs on release " (own) ", and keeps to that until somebody moves it." },
                                None => "It was started before the first deployment, and goes on as it was.",
                            }
                            " From its next step on it would run on release " (to)
                            ": that image, and its agent as defined there. What it did so far stays. While the agent is at work it cannot be moved."
                        }
                        p.alert role="alert" hidden {}
                        div.row { button type="submit" data-action="move" { "Move it to release " (to) } }
                    }
                }
            }
        }
    }
}
