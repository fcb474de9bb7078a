//! What people are told about a hold, and when.

use serde::{Deserialize, Serialize};

/// Why somebody is told about a hold. Once per hold, occasion and channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "occasion", rename_all = "snake_case")]
pub enum Occasion {
    /// It opened, and no policy or grant answered it.
    Opened,
    /// It is still open, and its end is near.
    Reminder {
        /// How long before its end, in milliseconds; more than zero.
        lead_ms: u64,
    },
}

impl Occasion {
    /// The name as stored and sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Reminder { .. } => "reminder",
        }
    }

    /// How long before the hold's end, in milliseconds; 0 when it opened.
    #[must_use]
    pub fn lead_ms(self) -> u64 {
        match self {
            Self::Opened => 0,
            Self::Reminder { lead_ms } => lead_ms,
        }
    }

    /// The occasion of that name and lead.
    ///
    /// # Errors
    /// When there is no such occasion.
    pub fn of(name: &str, lead_ms: u64) -> Result<Self, String> {
        match (name, lead_ms) {
            ("opened", 0) => Ok(Self::Opened),
            ("reminder", 1..) => Ok(Self::Reminder { lead_ms }),
            _ => Err(format!("`{name}` {lead_ms} ms before the end is no occasion")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_comes_back() {
        for occasion in [Occasion::Opened, Occasion::Reminder { lead_ms: 5 }] {
            assert_eq!(Occasion::of(occasion.as_str(), occasion.lead_ms()), Ok(occasion));
        }
        for (name, lead_ms) in [("opened", 1), ("reminder", 0), ("expired", 0)] {
            assert!(Occasion::of(name, lead_ms).is_err(), "{name} {lead_ms}");
        }
    }
}
