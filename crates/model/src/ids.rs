//! Identifiers. Each is a UUID behind a newtype, so that one cannot stand in for another.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(s).map(Self)
            }
        }
    };
}

id!(
    /// One conversation with an agent. UUID v7: sorts by the time of its creation.
    ExecutionId
);
id!(
    /// A pending request to a person.
    HoldId
);
id!(
    /// The answer to a hold. Also the uuid of the user message that carries a reply (invariant 11).
    DecisionId
);
id!(
    /// A message from a person to the session; the uuid the Claude CLI sees.
    MessageId
);
id!(
    /// A rule "allow this kind in this conversation".
    GrantId
);
id!(
    /// The Claude CLI's own conversation, as in `--session-id`.
    SessionId
);
id!(
    /// A person or service that signs in.
    UserId
);
id!(
    /// One model call as the gateway recorded it.
    CallId
);
id!(
    /// What people are told about a hold once: the id that receivers know it by.
    NoticeId
);
id!(
    /// A file that somebody uploads in chunks, before a conversation takes it.
    UploadId
);

/// The position of an event in its execution's log: 1, 2, 3… without a gap. 0 means "before the first".
pub type Seq = u64;

/// The n-th worker of an execution, from 1. A higher one fences off all lower ones.
pub type Incarnation = u32;

/// The number a worker gives its own facts, from 1, without a gap, per incarnation.
pub type WorkerSeq = u64;

/// Wall-clock milliseconds since the Unix epoch, as the store's machine has it.
pub type UnixMs = i64;
