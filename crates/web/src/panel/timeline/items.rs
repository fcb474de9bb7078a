//! The parts that the rounds of a conversation are made of.

use holdpoint_model::{
    Hold, HoldState, Seq, Suggestion, UnixMs,
    event::{Level, Message, ToolResult, TurnResult},
    hold::Decision,
};
use serde_json::Value;

/// One part of the rounds.
#[derive(Debug)]
pub(in crate::panel) enum Item {
    /// A person's message.
    Message(MessageItem),
    /// What the model says.
    Text { seq: Seq, at: UnixMs, text: String, parent: Option<String> },
    /// What it thinks.
    Thinking { seq: Seq, text: String, parent: Option<String> },
    /// A call of a tool.
    Tool(Box<ToolItem>),
    /// A block that has no picture.
    Other { seq: Seq, raw: Value, parent: Option<String> },
    /// Something that Holdpoint says; some of it to operators alone.
    Note { seq: Seq, level: Level, text: String, operators: bool },
    /// A package that the agent did without.
    Suggestion(SuggestionItem),
    /// A turn that did not end as it should.
    Turn { seq: Seq, result: TurnResult },
    /// Shown already, and nothing will change it.
    Gone,
}

/// A package that the agent did without, and where somebody who wants it there next time asks for it.
#[derive(Debug)]
pub(in crate::panel) struct SuggestionItem {
    pub(in crate::panel) seq: Seq,
    pub(in crate::panel) suggestion: Suggestion,
    /// The repository with the file to change, where it is known.
    pub(in crate::panel) project: Option<String>,
}

/// A person's message and where it is on its way.
#[derive(Debug)]
pub(in crate::panel) struct MessageItem {
    pub(in crate::panel) seq: Seq,
    pub(in crate::panel) message: Message,
    pub(in crate::panel) at: UnixMs,
    pub(in crate::panel) state: MessageState,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::panel) enum MessageState {
    Queued,
    Sent,
    Delivered,
}

/// A call of a tool, with all that became of it.
#[derive(Debug, Default)]
pub(in crate::panel) struct ToolItem {
    /// The event in which it was first told of.
    pub(in crate::panel) seq: Seq,
    pub(in crate::panel) id: String,
    pub(in crate::panel) name: String,
    pub(in crate::panel) input: Value,
    /// The subagent's call that it belongs to.
    pub(in crate::panel) parent: Option<String>,
    pub(in crate::panel) holds: Vec<HoldEntry>,
    pub(in crate::panel) result: Option<ToolResult>,
    /// Its turn is over without a result.
    pub(in crate::panel) ended: bool,
}

/// A hold about a tool call.
#[derive(Debug)]
pub(in crate::panel) struct HoldEntry {
    pub(in crate::panel) hold: Hold,
    /// The last decision, also where the present state does not carry it.
    pub(in crate::panel) decision: Option<Decision>,
}

impl HoldEntry {
    /// Whether nothing will change it any more.
    pub(in crate::panel) fn is_settled(&self) -> bool {
        matches!(
            self.hold.state,
            HoldState::Released { .. }
                | HoldState::Indeterminate { .. }
                | HoldState::Cancelled { .. }
                | HoldState::Superseded { .. }
                | HoldState::Expired { told: Some(_) }
        )
    }
}

impl Item {
    /// The event that it came with; None once it is gone.
    pub(super) fn seq(&self) -> Option<Seq> {
        match self {
            Self::Message(message) => Some(message.seq),
            Self::Tool(tool) => Some(tool.seq),
            Self::Suggestion(item) => Some(item.seq),
            Self::Text { seq, .. }
            | Self::Thinking { seq, .. }
            | Self::Other { seq, .. }
            | Self::Note { seq, .. }
            | Self::Turn { seq, .. } => Some(*seq),
            Self::Gone => None,
        }
    }

    /// The subagent's call that it belongs to.
    pub(super) fn parent(&self) -> Option<&str> {
        match self {
            Self::Text { parent, .. } | Self::Thinking { parent, .. } | Self::Other { parent, .. } => {
                parent.as_deref()
            }
            Self::Tool(tool) => tool.parent.as_deref(),
            Self::Message(_) | Self::Note { .. } | Self::Suggestion(_) | Self::Turn { .. } | Self::Gone => {
                None
            }
        }
    }
}
