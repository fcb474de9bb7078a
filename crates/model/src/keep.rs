//! How long what has ended is kept.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AgentDef, HumanDuration, UnixMs};

/// How long something is kept after its end, as people write it: `"90d"`, or `"forever"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Keep {
    /// Nothing deletes it.
    Forever,
    /// So long.
    For(HumanDuration),
}

impl Keep {
    /// Milliseconds after the end; the end of time for what is kept for ever.
    #[must_use]
    pub fn ms(self) -> UnixMs {
        match self {
            Self::Forever => UnixMs::MAX,
            Self::For(time) => time.ms(),
        }
    }

    /// What [`Self::ms`] came from.
    #[must_use]
    pub fn from_ms(ms: UnixMs) -> Self {
        match u64::try_from(ms) {
            Ok(ms) if ms < UnixMs::MAX.cast_unsigned() => Self::For(HumanDuration(ms)),
            _ => Self::Forever,
        }
    }
}

impl FromStr for Keep {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim() == "forever" {
            return Ok(Self::Forever);
        }
        text.parse().map(Self::For).map_err(|error| format!("{error}, or \"forever\""))
    }
}

impl TryFrom<String> for Keep {
    type Error = String;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Keep> for String {
    fn from(keep: Keep) -> Self {
        keep.to_string()
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.write_str("forever"),
            Self::For(time) => time.fmt(f),
        }
    }
}

/// Today's rules. What an execution's own definition said when it was created comes before them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepRules {
    /// By agent.
    pub agents: BTreeMap<String, Keep>,
    /// For all others; None keeps them for ever.
    pub otherwise: Option<Keep>,
}

impl KeepRules {
    /// Of these agents, and for all others.
    #[must_use]
    pub fn new(agents: &BTreeMap<String, AgentDef>, otherwise: Option<Keep>) -> Self {
        let agents = agents.iter().filter_map(|(name, agent)| Some((name.clone(), agent.keep?))).collect();
        Self { agents, otherwise }
    }
}

/// Where the rule that an execution goes by was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepSource {
    /// In the definition that was recorded when it was created.
    Recorded,
    /// In today's definition of its agent.
    Agent,
    /// At the top of the configuration.
    Top,
}

impl KeepSource {
    /// The rule in words, as a deletion gives it for its reason.
    #[must_use]
    pub fn rule(self, keep: Keep, agent: &str) -> String {
        match self {
            Self::Recorded => format!("keep = \"{keep}\" of agent {agent}, as recorded at its start"),
            Self::Agent => format!("keep = \"{keep}\" of agent {agent}"),
            Self::Top => format!("keep = \"{keep}\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_alike() {
        for text in ["forever", "0s", "90d", "36h"] {
            let keep: Keep = text.parse().expect(text);
            assert_eq!(keep.to_string(), text);
            assert_eq!(Keep::from_ms(keep.ms()), keep);
        }
        let error = "for ever".parse::<Keep>().expect_err("no length");
        assert!(error.contains("\"7d\", or \"forever\""), "{error}");
    }

    #[test]
    fn no_length_of_time_overflows() {
        let longest = Keep::For(HumanDuration(u64::MAX));
        assert_eq!((longest.ms(), Keep::from_ms(longest.ms())), (UnixMs::MAX, Keep::Forever));
    }
}
