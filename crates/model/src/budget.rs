//! Budgets: whose money, over which time, and how much of it is used.
//!
//! A conversation's own budget is part of its definition. Those of an agent and of a person are shared by
//! all their conversations, begin anew with each period, and are those of the present configuration: raising
//! one helps conversations that have begun. Days and months are those of UTC.

use std::{collections::BTreeMap, fmt};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AgentDef, Execution, Refusal, UnixMs};

/// Of how much of a budget people are warned, in percent.
pub const WARN_AT_PERCENT: u64 = 80;

const DAY_MS: UnixMs = 24 * 3600 * 1000;

/// Whose budget it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Whose {
    /// One conversation's.
    Conversation,
    /// An agent's, for all conversations with it.
    Agent,
    /// A person's, for all conversations that they started.
    Person,
}

/// Over which time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    /// From start to end.
    Whole,
    /// A day of UTC.
    Day,
    /// A month of UTC.
    Month,
}

impl Span {
    /// The first day of the period that `at` is in, in days since 1970-01-01.
    #[must_use]
    pub fn first_day(self, at: UnixMs) -> i64 {
        match self {
            Self::Whole => 0,
            Self::Day => day_of(at),
            Self::Month => day_of(begin_of(date_of(at).first_of_month())),
        }
    }

    /// When the next period begins.
    #[must_use]
    pub fn ends_at(self, at: UnixMs) -> Option<UnixMs> {
        match self {
            Self::Whole => None,
            Self::Day => Some((day_of(at) + 1) * DAY_MS),
            Self::Month => Some(begin_of(date_of(at).last_of_month()) + DAY_MS),
        }
    }
}

/// The day of a time, in days since 1970-01-01.
#[must_use]
pub fn day_of(at: UnixMs) -> i64 {
    at.div_euclid(DAY_MS)
}

fn date_of(at: UnixMs) -> Date {
    TimeZone::UTC.to_datetime(Timestamp::from_millisecond(at).unwrap_or_default()).date()
}

fn begin_of(date: Date) -> UnixMs {
    TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).map_or(0, Timestamp::as_millisecond)
}

/// Millionths of a US dollar for each period; an absent one is not bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerSpan<T> {
    /// For a day.
    pub day: T,
    /// For a month.
    pub month: T,
}

impl PerSpan<Option<u64>> {
    /// Of US dollars as they are configured.
    #[must_use]
    pub fn of_usd(day: Option<f64>, month: Option<f64>) -> Self {
        Self { day: day.map(micros), month: month.map(micros) }
    }

    /// Whether nothing is bounded.
    #[must_use]
    pub fn is_unbounded(&self) -> bool {
        self.day.is_none() && self.month.is_none()
    }
}

/// The budgets that conversations share, as they are configured now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    agents: BTreeMap<String, PerSpan<Option<u64>>>,
    person: PerSpan<Option<u64>>,
}

/// Millionths of a US dollar that are spent, or set aside for calls under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// By this conversation.
    pub conversation: u64,
    /// By conversations with its agent.
    pub agent: PerSpan<u64>,
    /// By conversations of its owner.
    pub person: PerSpan<u64>,
}

/// A budget, and how much of it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetUse {
    /// Whose.
    pub whose: Whose,
    /// Over which time.
    pub span: Span,
    /// The name of the conversation's agent, or of the person.
    pub name: String,
    /// The budget, in millionths of a US dollar.
    pub budget_micros: u64,
    /// What is spent of it, in millionths of a US dollar.
    pub spent_micros: u64,
    /// When it begins anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<UnixMs>,
}

impl Budgets {
    /// Those of agents, and what each person has.
    #[must_use]
    pub fn new(agents: &BTreeMap<String, AgentDef>, person: PerSpan<Option<u64>>) -> Self {
        let of_agent = |agent: &AgentDef| {
            PerSpan::of_usd(agent.limits.budget_per_day_usd, agent.limits.budget_per_month_usd)
        };
        let agents = agents.iter().map(|(name, agent)| (name.clone(), of_agent(agent)));
        Self { agents: agents.filter(|(_, limits)| !limits.is_unbounded()).collect(), person }
    }

    fn of_agent(&self, execution: &Execution) -> PerSpan<Option<u64>> {
        self.agents.get(&execution.agent).copied().unwrap_or_default()
    }

    fn of_owner(&self, execution: &Execution) -> PerSpan<Option<u64>> {
        execution.owner.user.map_or_else(PerSpan::default, |_| self.person)
    }

    /// Whether anything that others share bounds this conversation: only then sums are needed.
    #[must_use]
    pub fn bound(&self, execution: &Execution) -> bool {
        let shared = [self.of_agent(execution), self.of_owner(execution)];
        !execution.rehearsal && shared.iter().any(|limits| !limits.is_unbounded())
    }

    /// Every budget of a conversation with what is spent of it at `at`; its own comes first. A script
    /// costs nothing, so a rehearsal has none.
    #[must_use]
    pub fn of(&self, execution: &Execution, spent: &Sums, at: UnixMs) -> Vec<BudgetUse> {
        if execution.rehearsal {
            return Vec::new();
        }
        let (agent, person) = (self.of_agent(execution), self.of_owner(execution));
        let own = execution.definition.limits.budget_usd.map(micros);
        let all = [
            (Whose::Conversation, Span::Whole, own, execution.totals.cost_micros),
            (Whose::Agent, Span::Day, agent.day, spent.agent.day),
            (Whose::Agent, Span::Month, agent.month, spent.agent.month),
            (Whose::Person, Span::Day, person.day, spent.person.day),
            (Whose::Person, Span::Month, person.month, spent.person.month),
        ];
        let used = |(whose, span, budget, spent_micros): (Whose, Span, Option<u64>, u64)| {
            let name = match whose {
                Whose::Conversation | Whose::Agent => execution.agent.clone(),
                Whose::Person => execution.owner.name.clone(),
            };
            let resets_at = span.ends_at(at);
            Some(BudgetUse { whose, span, name, budget_micros: budget?, spent_micros, resets_at })
        };
        all.into_iter().filter_map(used).collect()
    }
}

impl Sums {
    fn of(&self, whose: Whose, span: Span) -> u64 {
        let sums = match whose {
            Whose::Conversation => return self.conversation,
            Whose::Agent => &self.agent,
            Whose::Person => &self.person,
        };
        if span == Span::Month { sums.month } else { sums.day }
    }
}

impl BudgetUse {
    /// Whether people are to be warned.
    #[must_use]
    pub fn is_nearly_used(&self) -> bool {
        u128::from(self.spent_micros) * 100 >= u128::from(self.budget_micros) * u128::from(WARN_AT_PERCENT)
    }

    /// Whether this is the same budget in the same period.
    #[must_use]
    pub fn is_same_period(&self, other: &Self) -> bool {
        self.is_same_budget(other) && self.resets_at == other.resets_at
    }

    /// Whether this is the same budget, in whichever period.
    #[must_use]
    pub fn is_same_budget(&self, other: &Self) -> bool {
        (self.whose, self.span) == (other.whose, other.span)
    }

    /// Whose budget it is, in words.
    #[must_use]
    pub fn title(&self) -> String {
        let span = match self.span {
            Span::Whole => "",
            Span::Day => "daily ",
            Span::Month => "monthly ",
        };
        match self.whose {
            Whose::Conversation => "the budget of this conversation".to_owned(),
            Whose::Agent => format!("the {span}budget of the agent `{}`", self.name),
            Whose::Person => format!("the {span}budget of {}", self.name),
        }
    }

    /// When it begins anew and what to change, in words.
    #[must_use]
    pub fn what_to_do(&self) -> String {
        let key = match (self.whose, self.span) {
            (Whose::Conversation, _) => {
                return format!(
                    "Raise `budget_usd` in [agents.{}.limits] of holdpoint.toml, restart Holdpoint, and start the conversation again.",
                    self.name
                );
            }
            (Whose::Agent, Span::Month) => format!("`budget_per_month_usd` in [agents.{}.limits]", self.name),
            (Whose::Agent, _) => format!("`budget_per_day_usd` in [agents.{}.limits]", self.name),
            (Whose::Person, Span::Month) => "`budget_per_person_per_month_usd` in [gateway]".to_owned(),
            (Whose::Person, _) => "`budget_per_person_per_day_usd` in [gateway]".to_owned(),
        };
        let anew = match self.resets_at.and_then(|at| Timestamp::from_millisecond(at).ok()) {
            Some(at) => {
                format!("It begins anew at {} UTC; to go on before, raise ", at.strftime("%Y-%m-%d %H:%M"))
            }
            None => "To go on, raise ".to_owned(),
        };
        format!("{anew}{key} of holdpoint.toml and restart Holdpoint.")
    }
}

/// What a warning says.
impl fmt::Display for BudgetUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = u128::from(self.spent_micros) * 100 / u128::from(self.budget_micros.max(1));
        let (spent, budget) = (dollars(self.spent_micros), dollars(self.budget_micros));
        write!(f, "{share} % of {} is used: ${spent:.2} of ${budget:.2}. ", self.title())?;
        f.write_str("When nothing is left, no model call begins any more. ")?;
        f.write_str(&self.what_to_do())
    }
}

impl Execution {
    /// Whether a model call fits into every budget, beside what is spent and what calls under way have set
    /// aside.
    ///
    /// # Errors
    /// [`Refusal::OverBudget`] with the first that it does not fit into; the call must not be made then.
    pub fn affords(call_micros: u64, budgets: &[BudgetUse], set_aside: &Sums) -> Result<(), Refusal> {
        for used in budgets {
            let set_aside_micros = set_aside.of(used.whose, used.span);
            let taken = used.spent_micros.saturating_add(set_aside_micros);
            if taken.saturating_add(call_micros) > used.budget_micros {
                return Err(Refusal::OverBudget {
                    used: Box::new(used.clone()),
                    set_aside_micros,
                    call_micros,
                });
            }
        }
        Ok(())
    }
}

/// Millionths of a US dollar.
#[must_use]
pub fn micros(usd: f64) -> u64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let micros = (usd.max(0.0) * 1e6).round() as u64;
    micros
}

#[allow(clippy::cast_precision_loss)]
pub(crate) fn dollars(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
