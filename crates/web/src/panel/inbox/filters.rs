//! What of the inbox is shown.

use holdpoint_model::{HoldKind, UnixMs};
use holdpoint_store::{HoldFilter, Snoozes};
use maud::{Markup, html};
use serde::Deserialize;

use crate::{auth::Caller, paging, problem::Problem, waiting};

/// As they stand in the address; empty ones do not restrict.
#[derive(Debug, Default, Deserialize)]
pub(in crate::panel) struct Filters {
    /// `me` or `nobody`.
    #[serde(default)]
    whose: String,
    #[serde(default)]
    agent: String,
    #[serde(default)]
    kind: String,
    /// `hour` or `day`.
    #[serde(default)]
    due: String,
    /// `snoozed`.
    #[serde(default)]
    show: String,
    #[serde(default)]
    pub(super) cursor: String,
}

const HOUR_MS: UnixMs = 3600 * 1000;

impl Filters {
    /// Whether anything is left out.
    pub(super) fn restrict(&self) -> bool {
        [&self.whose, &self.agent, &self.kind, &self.due, &self.show].iter().any(|value| !value.is_empty())
    }

    /// Whether it is what was put off that is shown.
    pub(super) fn shows_snoozed(&self) -> bool {
        self.show == "snoozed"
    }

    /// The list that the page is made of.
    pub(super) fn filter(&self, caller: &Caller, now: UnixMs) -> Result<HoldFilter, Problem> {
        let unknown = |what: &str, value: &str| Problem::invalid(format!("there is no {what} {value:?}"));
        Ok(HoldFilter {
            assigned: match self.whose.as_str() {
                "" => None,
                "me" => Some(Some(caller.user)),
                "nobody" => Some(None),
                other => return Err(unknown("choice of whose holds are shown", other)),
            },
            agent: Some(self.agent.trim().to_owned()).filter(|agent| !agent.is_empty()),
            kind: Some(self.kind.as_str())
                .filter(|kind| !kind.is_empty())
                .map(waiting::kind)
                .transpose()
                .map_err(Problem::invalid)?,
            due_before: match self.due.as_str() {
                "" => None,
                "hour" => Some(now + HOUR_MS),
                "day" => Some(now + 24 * HOUR_MS),
                other => return Err(unknown("choice of deadlines", other)),
            },
            snoozes: Some(Snoozes { user: caller.user, now, only: self.shows_snoozed() }),
            ..super::filter_for(caller, now)
        })
    }

    /// The address of a page with these filters.
    pub(super) fn address(&self, cursor: Option<&str>) -> String {
        let chosen = [
            ("whose", self.whose.as_str()),
            ("agent", &self.agent),
            ("kind", &self.kind),
            ("due", &self.due),
            ("show", &self.show),
            ("cursor", cursor.unwrap_or_default()),
        ];
        paging::address("/inbox", &chosen)
    }

    /// The controls.
    pub(super) fn controls<'a>(&self, agents: impl Iterator<Item = &'a str>) -> Markup {
        let whose = [("", "Anybody’s"), ("me", "Mine"), ("nobody", "Nobody’s yet")];
        let kinds = [
            ("", "Any kind"),
            (HoldKind::Tool.as_str(), "Approvals"),
            (HoldKind::Question.as_str(), "Questions"),
            (HoldKind::Plan.as_str(), "Plans"),
            (HoldKind::Reply.as_str(), "Replies"),
        ];
        let due = [("", "Any deadline"), ("hour", "Due within 1 h"), ("day", "Due within 24 h")];
        let show = [("", "Waiting"), ("snoozed", "Snoozed")];
        html! {
            form #inbox-filters .choices-row method="get" action="/inbox" role="search" {
                (select("whose", "Whose", &self.whose, &whose))
                (select("kind", "Kind", &self.kind, &kinds))
                select name="agent" aria-label="Agent" {
                    option value="" { "Any agent" }
                    @for agent in agents { option value=(agent) selected[agent == self.agent] { (agent) } }
                }
                (select("due", "Deadline", &self.due, &due))
                (select("show", "Waiting or snoozed", &self.show, &show))
                button type="submit" { "Filter" }
            }
        }
    }
}

fn select(name: &str, label: &str, chosen: &str, options: &[(&str, &str)]) -> Markup {
    html! {
        select name=(name) aria-label=(label) {
            @for (value, words) in options { option value=(value) selected[*value == chosen] { (words) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_what_was_chosen() {
        let filters = Filters { whose: "me".into(), agent: "a&b".into(), ..Filters::default() };
        assert_eq!(filters.address(None), "/inbox?whose=me&agent=a%26b");
        assert_eq!(filters.address(Some("1.x")), "/inbox?whose=me&agent=a%26b&cursor=1.x");
        assert!(filters.restrict());
        assert_eq!(Filters::default().address(None), "/inbox");
    }
}
