//! Hooks that call back into the host.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// When a hook fires.
///
/// `SessionStart` and `SessionEnd` are missing on purpose: they never fire as callbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum HookEvent {
    /// Before a tool is asked for and run.
    PreToolUse,
    /// After a tool ran.
    PostToolUse,
    /// After a tool failed.
    PostToolUseFailure,
    /// After all tools of one message.
    PostToolBatch,
    /// Before the CLI asks for a permission.
    PermissionRequest,
    /// After the CLI refused a tool by itself.
    PermissionDenied,
    /// Before a user message is taken.
    UserPromptSubmit,
    /// Before a turn ends.
    Stop,
    /// When a subagent begins.
    SubagentStart,
    /// Before a subagent ends.
    SubagentStop,
    /// Before the conversation is compacted.
    PreCompact,
    /// When the CLI has something to tell a person.
    Notification,
}

impl HookEvent {
    /// The CLI's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreToolUse => "PreToolUse",
            Self::PostToolUse => "PostToolUse",
            Self::PostToolUseFailure => "PostToolUseFailure",
            Self::PostToolBatch => "PostToolBatch",
            Self::PermissionRequest => "PermissionRequest",
            Self::PermissionDenied => "PermissionDenied",
            Self::UserPromptSubmit => "UserPromptSubmit",
            Self::Stop => "Stop",
            Self::SubagentStart => "SubagentStart",
            Self::SubagentStop => "SubagentStop",
            Self::PreCompact => "PreCompact",
            Self::Notification => "Notification",
        }
    }
}

/// What the CLI does when a hook answers with an error or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnHookFailure {
    /// Go on as if there were no hook: the CLI's default.
    Continue,
    /// Do not run the tool. Only newer CLIs know it.
    Block,
}

/// Which calls reach a hook, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookMatcher {
    callback_id: String,
    matcher: Option<String>,
    timeout: Option<Duration>,
    on_failure: OnHookFailure,
}

impl HookMatcher {
    /// A hook for everything; `callback_id` comes back in [`HookCall`](crate::HookCall).
    pub fn all(callback_id: impl Into<String>) -> Self {
        Self {
            callback_id: callback_id.into(),
            matcher: None,
            timeout: None,
            on_failure: OnHookFailure::Continue,
        }
    }

    /// Only for tools whose name matches this pattern (`Bash`, `Write|Edit`).
    #[must_use]
    pub fn tools(mut self, pattern: impl Into<String>) -> Self {
        self.matcher = Some(pattern.into());
        self
    }

    /// How long the CLI waits for the answer, in whole seconds. 600 s by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// What happens when the hook fails.
    #[must_use]
    pub fn on_failure(mut self, on_failure: OnHookFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut entry = Map::new();
        entry.insert("matcher".into(), json!(self.matcher));
        entry.insert("hookCallbackIds".into(), json!([self.callback_id]));
        if let Some(timeout) = self.timeout {
            entry.insert("timeout".into(), json!(timeout.as_secs().max(1)));
        }
        if self.on_failure == OnHookFailure::Block {
            entry.insert("onFailure".into(), json!("block"));
        }
        Value::Object(entry)
    }
}
