//! Who acts, in which role, and over which channel.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::UserId;

/// What a user may do, from most to least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, users and tokens included.
    Admin,
    /// Every conversation and the running of the machine.
    Operator,
    /// Decides holds of every conversation.
    Approver,
    /// Starts conversations; sees and answers their own.
    Asker,
    /// Looks, changes nothing.
    Viewer,
}

impl Role {
    /// All roles, from most to least.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Operator, Self::Approver, Self::Asker, Self::Viewer];

    /// The name as stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Asker => "asker",
            Self::Viewer => "viewer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == s)
            .ok_or_else(|| format!("unknown role {s:?}: one of admin, operator, approver, asker, viewer"))
    }
}

/// Over what a person's act reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// The panel.
    Browser,
    /// `holdpoint answer` and its siblings.
    Terminal,
    /// The HTTP API.
    Api,
    /// Holdpoint itself: policy, a grant, an expiry, a limit.
    System,
}

/// Who did something, as it stays readable in the log after the user is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// None for Holdpoint itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user: Option<UserId>,
    /// The name at that time; for Holdpoint itself, what in it acted (`policy`, `grant`, `limit`).
    pub name: String,
    /// Over which channel.
    pub channel: Channel,
}

impl Actor {
    /// Holdpoint itself; `what` says which part of it.
    #[must_use]
    pub fn system(what: &str) -> Self {
        Self { user: None, name: what.to_owned(), channel: Channel::System }
    }
}
