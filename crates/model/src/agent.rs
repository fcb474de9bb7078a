//! An agent: a deployable definition, one table `[agents.NAME]` of `holdpoint.toml`.

use std::{fmt, path::PathBuf, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ContainerDef, Keep, Policy, UnixMs,
    form::{self, Checked, FieldErrors, FieldKind, FormField, Given, Inputs},
};

/// The definition of an agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AgentDef {
    /// Shown to people; the name in the table's header is for scripts.
    pub title: String,
    /// What the agent is for, in a sentence or two. Markdown.
    pub description: String,
    /// Words that it is found by.
    pub tags: Vec<String>,
    /// Whom to ask about it, as people should read it.
    pub author: Option<String>,
    /// Whose it is, as people should read it.
    pub organization: Option<String>,
    /// What a person fills in to start; empty means one field, the prompt.
    pub form: Vec<FormField>,
    /// The first message, with `{{field}}` for the form's fields; empty means the prompt alone.
    pub prompt: String,
    /// The model, as the Claude CLI takes it (`opus`, `sonnet`, or a full name); empty means its default.
    pub model: String,
    /// Added to the CLI's own system prompt.
    pub system_prompt: String,
    /// A `.claude` folder copied into each workspace (CLAUDE.md, settings.json, commands, skills).
    pub claude_folder: Option<PathBuf>,
    /// Plugin folders handed to the CLI.
    pub plugins: Vec<PathBuf>,
    /// What runs without asking, what asks, what is refused, what may be repeated.
    pub policy: Policy,
    /// Whether a person or the agent says that it is done.
    pub completion: Completion,
    /// Whether the agent may leave work running in the background: shells, subagents that work beside
    /// it. Such a conversation keeps its worker for as long as that work goes on, and what runs is lost
    /// with the worker. Without it every tool is waited for.
    pub background: bool,
    /// How long a worker stays warm while everything waits for people, as in `"2m"`; then it ends
    /// and only rows and files remain until somebody answers.
    pub linger: Option<HumanDuration>,
    /// Bounds on turns, money and time.
    pub limits: Limits,
    /// Where its sessions run in containers: the image, and what they get of this machine.
    pub container: ContainerDef,
    /// How long a conversation is kept after its end, as in `"90d"`, or `"forever"`; then it is deleted with
    /// its files. Where absent, as `keep` at the top says. A conversation goes by what was written here when
    /// it was started.
    pub keep: Option<Keep>,
    /// Files that are not collected as results, as patterns over paths in the workspace.
    pub exclude: Vec<String>,
    /// Answers this agent from a script file instead of a model, whatever the server does.
    pub rehearsal: Option<PathBuf>,
}

/// The linger time where an agent sets none.
pub const DEFAULT_LINGER_MS: u64 = 10 * 60 * 1000;

/// How long a hold waits where an agent sets nothing: a week.
pub const DEFAULT_HOLD_EXPIRY_MS: u64 = 7 * 24 * 3600 * 1000;

/// The longest time before a hold's end at which people are reminded where an agent sets nothing: a day.
pub const LONGEST_DEFAULT_LEAD_MS: u64 = 24 * 3600 * 1000;

/// Reminders of one hold. More would be ignored by people before they are by us.
pub const MAX_REMINDERS: usize = 8;

/// Who says that a conversation is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Completion {
    /// A person: after each turn the agent waits for a reply, until somebody presses finish.
    #[default]
    Person,
    /// The agent: the end of its turn is the end of the execution.
    Auto,
}

/// Bounds on an execution. An absent one is not bounded, except where noted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Model calls for one message.
    pub turns: Option<u32>,
    /// US dollars for the whole execution, as the gateway sees them.
    pub budget_usd: Option<f64>,
    /// US dollars for all conversations with this agent, rehearsals left out, in a day of UTC. What is written
    /// here now counts, also for conversations that have begun.
    pub budget_per_day_usd: Option<f64>,
    /// The same in a calendar month of UTC.
    pub budget_per_month_usd: Option<f64>,
    /// How long a hold waits before it expires; a week where absent.
    pub hold: Option<HumanDuration>,
    /// How long before a hold expires people are reminded of it, as in `["1d", "1h"]`. Where absent, once:
    /// when a quarter of its time is left, and at most a day. An empty list reminds nobody.
    pub remind: Option<Vec<HumanDuration>>,
    /// How long a session may go without a sign of life while it is working.
    pub idle: Option<HumanDuration>,
    /// From start to end, waiting included.
    pub wall_clock: Option<HumanDuration>,
}

impl AgentDef {
    /// The agent that every installation has: Claude, asking before it acts.
    #[must_use]
    pub fn builtin() -> Self {
        Self {
            title: "Claude".into(),
            description: "The Claude Code CLI in an empty workspace. Asks before it changes anything.".into(),
            ..Self::default()
        }
    }

    /// The form, with the default of one prompt.
    #[must_use]
    pub fn fields(&self) -> Vec<FormField> {
        if !self.form.is_empty() {
            return self.form.clone();
        }
        vec![FormField {
            name: "prompt".into(),
            label: "What should be done?".into(),
            kind: FieldKind::Area,
            required: true,
            placeholder: "Describe the task; files can be attached below.".into(),
            ..FormField::default()
        }]
    }

    /// Holds what was filled in against the form.
    ///
    /// # Errors
    /// What is wrong, by field; never empty.
    pub fn check_inputs(&self, given: &Given) -> Result<Checked, FieldErrors> {
        form::validate(&self.fields(), given)
    }

    /// The first message, made of inputs that fit the form.
    ///
    /// # Errors
    /// When there would be none.
    pub fn first_message(&self, inputs: &Inputs) -> Result<String, FieldErrors> {
        let fields = self.fields();
        let text = form::message(&fields, &self.prompt, inputs);
        if !text.trim().is_empty() {
            return Ok(text);
        }
        let first = fields.iter().find(|field| field.kind.has_value()).map(|field| field.name.clone());
        let key = first.unwrap_or_else(|| form::GLOBAL.to_owned());
        Err(FieldErrors::from([(key, "the first message would be empty".to_owned())]))
    }

    /// The linger time in milliseconds.
    #[must_use]
    pub fn linger_ms(&self) -> u64 {
        self.linger.map_or(DEFAULT_LINGER_MS, |linger| linger.0)
    }

    /// How long a hold waits, in milliseconds.
    #[must_use]
    pub fn hold_expiry_ms(&self) -> u64 {
        self.limits.hold.map_or(DEFAULT_HOLD_EXPIRY_MS, |expiry| expiry.0)
    }

    /// How long before its end people are reminded of a hold that waits for `hold_ms`: milliseconds,
    /// longest first. What would come before the hold opens is left out.
    #[must_use]
    pub fn reminder_leads_ms(&self, hold_ms: u64) -> Vec<u64> {
        let mut leads: Vec<u64> = match &self.limits.remind {
            Some(remind) => remind.iter().map(|lead| lead.0).collect(),
            None => vec![(hold_ms / 4).min(LONGEST_DEFAULT_LEAD_MS)],
        };
        leads.retain(|lead| (1..hold_ms).contains(lead));
        leads.sort_unstable_by(|a, b| b.cmp(a));
        leads.dedup();
        leads.truncate(MAX_REMINDERS);
        leads
    }
}

/// A length of time as people write it: `"90s"`, `"2m"`, `"36h"`, `"7d"`. In milliseconds inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-9]{1,9} ?(ms|s|m|h|d)$"))]
pub struct HumanDuration(pub u64);

impl HumanDuration {
    /// In milliseconds; the end of time for what is longer.
    #[must_use]
    pub fn ms(self) -> UnixMs {
        UnixMs::try_from(self.0).unwrap_or(UnixMs::MAX)
    }

    /// When so much time has passed.
    #[must_use]
    pub fn after(self, then: UnixMs) -> UnixMs {
        then.saturating_add(self.ms())
    }
}

impl FromStr for HumanDuration {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || {
            format!(
                "{text:?} is not a length of time: write a number and a unit, as in \"90s\", \"2m\", \"36h\", \"7d\""
            )
        };
        let text_trimmed = text.trim();
        let split = text_trimmed.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, unit) = text_trimmed.split_at(split);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let unit_ms = match unit.trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(bad()),
        };
        number.checked_mul(unit_ms).map(Self).ok_or_else(bad)
    }
}

impl TryFrom<String> for HumanDuration {
    type Error = String;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.0 {
            0 => (0, "s"),
            ms if ms % 86_400_000 == 0 => (ms / 86_400_000, "d"),
            ms if ms % 3_600_000 == 0 => (ms / 3_600_000, "h"),
            ms if ms % 60_000 == 0 => (ms / 60_000, "m"),
            ms if ms % 1_000 == 0 => (ms / 1_000, "s"),
            ms => (ms, "ms"),
        };
        write!(f, "{number}{unit}")
    }
}

impl From<HumanDuration> for String {
    fn from(duration: HumanDuration) -> Self {
        duration.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_alike() {
        for text in ["0s", "500ms", "90s", "2m", "36h", "7d"] {
            assert_eq!(text.parse::<HumanDuration>().expect(text).to_string(), text);
        }
        for text in ["", "5", "m", "-1s", "1w", "99999999999999999999d", "1.5h"] {
            assert!(text.parse::<HumanDuration>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn reminders_come_while_the_hold_is_open() {
        const HOUR_MS: u64 = 3_600_000;
        let with = |remind: Option<Vec<u64>>| AgentDef {
            limits: Limits {
                remind: remind.map(|leads| leads.into_iter().map(HumanDuration).collect()),
                ..Limits::default()
            },
            ..AgentDef::builtin()
        };
        let unset = with(None);
        assert_eq!(unset.reminder_leads_ms(DEFAULT_HOLD_EXPIRY_MS), [24 * HOUR_MS], "a day before");
        assert_eq!(unset.reminder_leads_ms(4 * HOUR_MS), [HOUR_MS], "a quarter of a short hold");
        assert_eq!(unset.reminder_leads_ms(3), [0_u64; 0]);
        let set = with(Some(vec![HOUR_MS, 48 * HOUR_MS, 0, HOUR_MS, 24 * HOUR_MS]));
        assert_eq!(set.reminder_leads_ms(48 * HOUR_MS), [24 * HOUR_MS, HOUR_MS]);
        assert_eq!(with(Some(vec![])).reminder_leads_ms(HOUR_MS), [0_u64; 0], "nobody is reminded");
        assert_eq!(with(Some((1..20).collect())).reminder_leads_ms(HOUR_MS).len(), MAX_REMINDERS);
    }
}
