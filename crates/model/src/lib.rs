//! Holdpoint's words, states and decisions. Pure: no I/O, no clock, no randomness.
//!
//! The heart is [`Execution`]: an aggregate that [`Execution::decide`] turns a [`Command`] into
//! events with, and that [`Execution::evolve`] folds events into. The log of events is the truth;
//! everything else, this aggregate included, can be rebuilt from it.

pub mod access;
pub mod agent;
pub mod budget;
pub mod command;
pub mod container;
pub mod digest;
pub mod event;
pub mod exclude;
pub mod execution;
pub mod form;
pub mod hold;
pub mod ids;
pub mod image;
pub mod keep;
pub mod lock;
pub mod occasion;
pub mod policy;
pub mod pricing;
pub mod problem;
pub mod release;
pub mod tree;
pub mod user;
pub mod wire;

pub use access::{Act, Scopes, Share, Standing, TokenScope};
pub use agent::{AgentDef, Completion, HumanDuration, Limits};
pub use budget::{BudgetUse, Budgets, PerSpan, Sums};
pub use command::{Command, DecideCtx, Refusal};
pub use container::{ContainerDef, HumanSize, Network, SharedFolder};
pub use digest::Digest;
pub use event::{Event, EventBody};
pub use execution::{Execution, Residency, Status};
pub use hold::{Answer, DecisionRequest, Hold, HoldKind, HoldState};
pub use ids::*;
pub use keep::{Keep, KeepRules, KeepSource};
pub use lock::Lock;
pub use occasion::Occasion;
pub use policy::{Policy, Rule, Verdict};
pub use release::{ReleaseNumber, ReleaseState, Stamp, Suggestion};
pub use tree::{Tree, TreeError, TreeFile};
pub use user::{Actor, Channel, Role};
