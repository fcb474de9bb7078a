//! Answers to the CLI's questions.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::event::PermissionUpdate;

/// What a denied tool's model is told when nobody gave a reason. An empty message is not allowed.
pub const DEFAULT_DENIAL: &str = "The user did not allow this.";

/// The answer to an [`Ask`](crate::Event::Ask).
#[derive(Debug, Clone, PartialEq)]
pub struct PermissionAnswer(pub(crate) Verdict);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    Allow { updated_input: Option<Map<String, Value>>, update: Option<PermissionUpdate> },
    Deny { message: String, interrupt: bool },
}

impl PermissionAnswer {
    /// Run it as asked. The CLI's own text of the input goes back, unchanged to the byte.
    pub fn allow() -> Self {
        Self(Verdict::Allow { updated_input: None, update: None })
    }

    /// Run it with this input instead.
    pub fn allow_with(input: Map<String, Value>) -> Self {
        Self(Verdict::Allow { updated_input: Some(input), update: None })
    }

    /// Also changes the session's rules. One change at most: the CLI's suggestions are alternatives, and
    /// sending all of them puts a session into `acceptEdits` without anybody having said so. On a denial this
    /// does nothing.
    #[must_use]
    pub fn and(mut self, change: PermissionUpdate) -> Self {
        if let Verdict::Allow { update, .. } = &mut self.0 {
            *update = Some(change);
        }
        self
    }

    /// Do not run it; the model reads the message and goes on. A blank message becomes [`DEFAULT_DENIAL`].
    pub fn deny(message: impl Into<String>) -> Self {
        Self(Verdict::Deny { message: message.into(), interrupt: false })
    }

    /// Do not run it and end the turn. The model never sees the message; the session stays usable.
    pub fn deny_and_interrupt(message: impl Into<String>) -> Self {
        Self(Verdict::Deny { message: message.into(), interrupt: true })
    }

    /// The response's JSON; `asked` is the input as the CLI wrote it.
    pub(crate) fn to_json(&self, asked: &RawValue) -> Result<Box<RawValue>, serde_json::Error> {
        #[derive(serde::Serialize)]
        struct Allow<'a> {
            behavior: &'a str,
            // Older CLIs refuse an allow without it, so it is always sent.
            #[serde(rename = "updatedInput")]
            updated_input: Input<'a>,
            #[serde(rename = "updatedPermissions", skip_serializing_if = "Option::is_none")]
            updated_permissions: Option<[&'a PermissionUpdate; 1]>,
        }
        #[derive(serde::Serialize)]
        #[serde(untagged)]
        enum Input<'a> {
            Asked(&'a RawValue),
            Edited(&'a Map<String, Value>),
        }
        match &self.0 {
            Verdict::Allow { updated_input, update } => serde_json::value::to_raw_value(&Allow {
                behavior: "allow",
                updated_input: updated_input.as_ref().map_or(Input::Asked(asked), Input::Edited),
                updated_permissions: update.as_ref().map(|update| [update]),
            }),
            Verdict::Deny { message, interrupt } => {
                let message = if message.trim().is_empty() { DEFAULT_DENIAL } else { message };
                serde_json::value::to_raw_value(
                    &json!({"behavior": "deny", "message": message, "interrupt": interrupt}),
                )
            }
        }
    }
}

/// The answer to a [`HookCall`](crate::Event::HookCall).
#[derive(Debug, Clone, PartialEq)]
pub struct HookAnswer(pub(crate) Result<Value, String>);

impl HookAnswer {
    /// Nothing to say: go on.
    pub fn pass() -> Self {
        Self(Ok(json!({})))
    }

    /// `PreToolUse`: run the tool without asking anybody.
    pub fn allow(reason: &str) -> Self {
        Self::pre_tool_use("allow", reason)
    }

    /// `PreToolUse`: do not run the tool; the model reads the reason.
    pub fn deny(reason: &str) -> Self {
        let reason = if reason.trim().is_empty() { DEFAULT_DENIAL } else { reason };
        Self::pre_tool_use("deny", reason)
    }

    /// `PreToolUse`: put the question to the host, whatever the rules say.
    pub fn ask(reason: &str) -> Self {
        Self::pre_tool_use("ask", reason)
    }

    /// `PreToolUse`: end the turn here; a resume calls the hook again with the same call. For a message with
    /// one tool call only: of two deferred in one turn, the first is lost.
    pub fn defer(reason: &str) -> Self {
        Self::pre_tool_use("defer", reason)
    }

    /// `PreToolUse`: with another input. Has no effect on a denial.
    #[must_use]
    pub fn with_input(mut self, input: Map<String, Value>) -> Self {
        if let Ok(answer) = &mut self.0 {
            answer["hookSpecificOutput"]["hookEventName"] = "PreToolUse".into();
            answer["hookSpecificOutput"]["updatedInput"] = Value::Object(input);
        }
        self
    }

    /// `UserPromptSubmit`, `PostToolUse`, `Stop`: no further, for this reason.
    pub fn block(reason: &str) -> Self {
        Self(Ok(json!({"decision": "block", "reason": reason})))
    }

    /// Something more for the model to read, for the given event.
    pub fn context(event: crate::HookEvent, text: &str) -> Self {
        Self(Ok(json!({"hookSpecificOutput": {"hookEventName": event.as_str(), "additionalContext": text}})))
    }

    /// The turn ends after this. In `PreToolUse` the tool still runs.
    pub fn stop(reason: &str) -> Self {
        Self(Ok(json!({"continue": false, "stopReason": reason})))
    }

    /// The hook failed. **The CLI goes on as if there were no hook**, unless the hook was declared with
    /// [`OnHookFailure::Block`](crate::OnHookFailure::Block).
    pub fn error(message: impl Into<String>) -> Self {
        Self(Err(message.into()))
    }

    fn pre_tool_use(decision: &str, reason: &str) -> Self {
        Self(Ok(json!({"hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": decision,
            "permissionDecisionReason": reason,
        }})))
    }
}

/// The answer to an [`Elicitation`](crate::Event::Elicitation).
#[derive(Debug, Clone, PartialEq)]
pub enum ElicitationAnswer {
    /// The form's content, or an empty map for "I have opened it".
    Accept(Map<String, Value>),
    /// The person says no.
    Decline,
    /// Nobody could be asked.
    Cancel,
}

impl ElicitationAnswer {
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Accept(content) => json!({"action": "accept", "content": content}),
            Self::Decline => json!({"action": "decline"}),
            Self::Cancel => json!({"action": "cancel"}),
        }
    }
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerOutcome {
    /// It was written to the CLI.
    Answered,
    /// This question had its answer already; this one was not sent.
    AlreadyAnswered,
    /// The CLI had taken the question back, or ended, before; the answer was not sent.
    Withdrawn,
    /// The CLI never put this question, or put it as another kind of question; the answer was not sent.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Box<RawValue> {
        RawValue::from_string(r#"{"z":1.10,"a":12345678901234567890123}"#.into()).unwrap()
    }

    #[test]
    fn an_allow_echoes_the_input_to_the_byte() {
        let json = PermissionAnswer::allow().to_json(&asked()).unwrap();
        assert_eq!(
            json.get(),
            r#"{"behavior":"allow","updatedInput":{"z":1.10,"a":12345678901234567890123}}"#
        );
    }

    #[test]
    fn a_blank_denial_gets_a_text() {
        let json = PermissionAnswer::deny("  ").to_json(&asked()).unwrap();
        let value: Value = serde_json::from_str(json.get()).unwrap();
        assert_eq!(value["message"], DEFAULT_DENIAL);
    }

    #[test]
    fn at_most_one_permission_change_is_sent() {
        let answer = PermissionAnswer::allow()
            .and(PermissionUpdate::set_mode(crate::PermissionMode::AcceptEdits))
            .and(PermissionUpdate::allow_tool("Bash", Some("ls *")));
        let value: Value = serde_json::from_str(answer.to_json(&asked()).unwrap().get()).unwrap();
        assert_eq!(value["updatedPermissions"].as_array().unwrap().len(), 1);
        assert_eq!(value["updatedPermissions"][0]["type"], "addRules");
    }
}
