//! Holds: what waits for a person, and what a person may answer.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{Actor, DecisionId, Digest, GrantId, HoldId, Incarnation, ReleaseNumber, Rule, UnixMs, UserId};

/// What kind of answer a hold needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldKind {
    /// The turn is over; the agent waits for the next message.
    Reply,
    /// The agent wants to use a tool.
    Tool,
    /// The agent asks one or several questions (`AskUserQuestion`).
    Question,
    /// The agent proposes a plan (`ExitPlanMode`).
    Plan,
}

impl HoldKind {
    /// The kind of hold that an ask for `tool` becomes.
    #[must_use]
    pub fn of_tool(tool: &str) -> Self {
        match tool {
            "AskUserQuestion" => Self::Question,
            "ExitPlanMode" => Self::Plan,
            _ => Self::Tool,
        }
    }

    /// The name as stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Tool => "tool",
            Self::Question => "question",
            Self::Plan => "plan",
        }
    }
}

/// What is asked for. `input` is the CLI's raw input, which nothing rewrites (invariant 3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Subject {
    /// The tool's name; empty for a reply.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tool: String,
    /// The tool call's id, the same in every incarnation; absent for a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_use_id: Option<String>,
    /// The raw input; null for a reply.
    #[serde(default)]
    pub input: Value,
    /// Where its path leads, links followed: `./…` in the working directory, `~/…` in the session's
    /// own home; absent for anywhere else, and for tools without a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The digest of `input`: what a decision is bound to.
    pub digest: Digest,
    /// The CLI's one-line description, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Which subagent asks, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// What "allow this kind in this conversation" would allow; absent where it is not offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Rule>,
    /// Why a person has to look although something was decided before, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caution: Option<String>,
}

impl Subject {
    /// The subject of a `reply` hold: nothing but the end of a turn.
    #[must_use]
    pub fn reply() -> Self {
        Self {
            tool: String::new(),
            tool_use_id: None,
            input: Value::Null,
            place: None,
            digest: Digest::of(&Value::Null),
            description: None,
            agent_id: None,
            grant: None,
            caution: None,
        }
    }

    /// Whether it is of the kind that a rule names.
    #[must_use]
    pub fn is_of(&self, rule: &Rule) -> bool {
        rule.matches(&self.tool, &self.input, self.place.as_deref())
    }
}

/// A pending request to a person, in its present state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// Its id.
    pub id: HoldId,
    /// What kind of answer it needs.
    pub kind: HoldKind,
    /// What is asked for.
    pub subject: Subject,
    /// When it was opened.
    pub opened_at: UnixMs,
    /// When it expires, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixMs>,
    /// The incarnation whose session asks right now; None while no live session does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<Incarnation>,
    /// Whose it is, if somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned: Option<Assignee>,
    /// Where it stands.
    #[serde(flatten)]
    pub state: HoldState,
}

/// The person whose a hold is, as the log keeps them readable. It says who is to look, not who may answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Assignee {
    /// Who.
    pub user: UserId,
    /// How they were called then.
    pub name: String,
}

/// Where a hold stands. Transitions are made by `Execution::evolve` alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum HoldState {
    /// Nobody has answered.
    Open,
    /// Decided, not yet handed to the session.
    Answered {
        /// The decision.
        decision: Decision,
    },
    /// Being handed to the session of that incarnation: the intent is committed.
    Releasing {
        /// The decision.
        decision: Decision,
        /// To whom.
        incarnation: Incarnation,
        /// The worker told that the answer was written to the CLI.
        written: bool,
    },
    /// Handed over, and the session has shown that it took it.
    Released {
        /// The decision.
        decision: Decision,
    },
    /// A worker was lost between intent and result; `replaced_by` asks again.
    Indeterminate {
        /// The decision, which is never used again.
        decision: Decision,
        /// The hold that asks again.
        replaced_by: HoldId,
    },
    /// The time was over before anybody answered; the session is told so, once.
    Expired {
        /// The incarnation that the refusal was handed to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        told: Option<Incarnation>,
    },
    /// The execution ended, or the ask was withdrawn.
    Cancelled {
        /// In words.
        reason: String,
    },
    /// The session asked for something else instead.
    Superseded {
        /// By which hold, where one took its place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<HoldId>,
    },
}

impl HoldState {
    /// The name of the state as stored and shown.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Answered { .. } => "answered",
            Self::Releasing { .. } => "releasing",
            Self::Released { .. } => "released",
            Self::Indeterminate { .. } => "indeterminate",
            Self::Expired { .. } => "expired",
            Self::Cancelled { .. } => "cancelled",
            Self::Superseded { .. } => "superseded",
        }
    }

    /// The decision, in every state that has one.
    #[must_use]
    pub fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Answered { decision }
            | Self::Releasing { decision, .. }
            | Self::Released { decision }
            | Self::Indeterminate { decision, .. } => Some(decision),
            Self::Open | Self::Expired { .. } | Self::Cancelled { .. } | Self::Superseded { .. } => None,
        }
    }
}

/// The answer to a hold: who, when, over which channel, what, and what they had seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// Its id; for a reply also the uuid of the user message.
    pub id: DecisionId,
    /// Who.
    pub by: Actor,
    /// When.
    pub at: UnixMs,
    /// What.
    pub answer: Answer,
    /// The digest of what was seen.
    pub seen: Digest,
    /// The digest of the edited input, where a person edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<Digest>,
    /// The grant this decision made or rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The release that the conversation ran on then; None before the first deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseNumber>,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Answer {
    /// Let it run; `input` only where a person edited it.
    Allow {
        /// The edited input.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<Value>,
    },
    /// Do not let it run (send a plan back, skip a question).
    Deny {
        /// Why, as the model will read it.
        message: String,
    },
    /// The next message of the conversation.
    Reply {
        /// What the person wrote.
        text: String,
        /// Paths of attached files, relative to the workspace.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<String>,
    },
    /// Answers to questions, by the full text of the question.
    Answers {
        /// A label, several labels joined by `, `, or free text.
        answers: BTreeMap<String, String>,
        /// Notes beside an answer.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        notes: BTreeMap<String, String>,
    },
}

/// How far an "allow" reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// This ask alone.
    #[default]
    Once,
    /// This kind of ask for the rest of this conversation, as a grant.
    Conversation,
}

/// A decision as a client sends it (`POST /v1/holds/{id}/decision`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecisionRequest {
    /// `allow`, `deny`, `reply` or `answer`.
    pub action: String,
    /// With `allow`: the edited input. A plan's edited text is its `plan` key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// With `deny`: the reason. With `reply`: the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// With `answer`: question → label, list of labels, or free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<BTreeMap<String, Value>>,
    /// With `answer`: question → notes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<BTreeMap<String, String>>,
    /// With `reply`: files already placed in the workspace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// With `allow`: once, or for this kind in this conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The digest that the client saw; refused when it is not the hold's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The longest message, reason or free text that is taken, in bytes.
pub const MAX_TEXT_BYTES: usize = 1024 * 1024;

impl Hold {
    /// Turns a client's request into an answer that fits this hold.
    ///
    /// # Errors
    /// A sentence that says what does not fit and what would.
    pub fn parse_answer(&self, request: &DecisionRequest) -> Result<(Answer, Scope), String> {
        let text = request.message.as_deref().map(str::trim).filter(|text| !text.is_empty());
        if request.message.as_ref().is_some_and(|text| text.len() > MAX_TEXT_BYTES) {
            return Err(format!(
                "the message is longer than {} KiB; attach it as a file instead",
                MAX_TEXT_BYTES / 1024
            ));
        }
        if let Some(seen) = &request.digest
            && seen != self.subject.digest.as_str()
        {
            return Err(
                "the digest is not this hold's: what you saw is not what is asked now; look again".into()
            );
        }
        let scope = request.scope.unwrap_or_default();
        let answer = match (request.action.as_str(), self.kind) {
            ("reply", HoldKind::Reply) => Answer::Reply {
                text: text.ok_or("a reply needs a text in `message`")?.to_owned(),
                files: request.files.clone(),
            },
            ("allow", HoldKind::Tool | HoldKind::Plan) => {
                let input = match &request.input {
                    None => None,
                    Some(input) if input == &self.subject.input => None,
                    Some(Value::Object(edited)) => Some(Value::Object(self.edit(edited)?)),
                    Some(_) => return Err("`input` must be an object: the tool's edited arguments".into()),
                };
                Answer::Allow { input }
            }
            ("deny", HoldKind::Tool | HoldKind::Plan | HoldKind::Question) => {
                Answer::Deny { message: text.map_or_else(|| self.default_denial(), str::to_owned) }
            }
            ("answer", HoldKind::Question) => {
                let given =
                    request.answers.as_ref().ok_or("an answer needs `answers`: question → label or text")?;
                self.parse_answers(given, request.notes.clone().unwrap_or_default())?
            }
            (action @ ("allow" | "deny" | "reply" | "answer"), kind) => {
                return Err(format!(
                    "`{action}` does not fit a {} hold: {}",
                    kind.as_str(),
                    match kind {
                        HoldKind::Reply => "use `reply` with a `message`",
                        HoldKind::Tool => "use `allow` or `deny`",
                        HoldKind::Question => "use `answer` with `answers`, or `deny` to skip it",
                        HoldKind::Plan => "use `allow` (with an edited `input.plan` if you like) or `deny`",
                    }
                ));
            }
            ("", _) => return Err("`action` is missing: one of allow, deny, reply, answer".into()),
            (action, _) => {
                return Err(format!("unknown action `{action}`: one of allow, deny, reply, answer"));
            }
        };
        if scope == Scope::Conversation {
            if !matches!(answer, Answer::Allow { input: None }) {
                return Err("`scope: conversation` goes with a plain `allow`, without edits".into());
            }
            if self.subject.grant.is_none() {
                return Err("this ask cannot be allowed for the whole conversation: allow it once".into());
            }
        }
        Ok((answer, scope))
    }

    fn edit(&self, edited: &Map<String, Value>) -> Result<Map<String, Value>, String> {
        if self.kind == HoldKind::Plan {
            let plan = edited.get("plan").and_then(Value::as_str).map(str::trim).unwrap_or_default();
            if plan.is_empty() {
                return Err("an edited plan needs a text in `input.plan`".into());
            }
            let mut whole = self.subject.input.as_object().cloned().unwrap_or_default();
            whole.insert("plan".into(), Value::String(plan.to_owned()));
            return Ok(whole);
        }
        Ok(edited.clone())
    }

    fn default_denial(&self) -> String {
        match self.kind {
            HoldKind::Question => "The person chose not to answer these questions.",
            HoldKind::Plan => "The person sent the plan back without a comment. Ask what to change.",
            HoldKind::Tool | HoldKind::Reply => {
                "The person did not allow this. Do not try it again in another way."
            }
        }
        .to_owned()
    }

    fn parse_answers(
        &self,
        given: &BTreeMap<String, Value>,
        notes: BTreeMap<String, String>,
    ) -> Result<Answer, String> {
        let questions = self.questions();
        let mut answers = BTreeMap::new();
        for (question, value) in given {
            let Some(known) = questions.iter().find(|known| &known.question == question) else {
                return Err(format!("there is no question {question:?} in this hold"));
            };
            let text = match value {
                Value::String(text) => text.trim().to_owned(),
                Value::Array(labels) if known.multi_select => labels
                    .iter()
                    .map(|label| {
                        label.as_str().ok_or_else(|| format!("the labels for {question:?} must be strings"))
                    })
                    .collect::<Result<Vec<_>, _>>()?
                    .join(", "),
                Value::Array(_) => return Err(format!("{question:?} takes one answer, not a list")),
                _ => return Err(format!("the answer to {question:?} must be a string or a list of strings")),
            };
            if text.len() > MAX_TEXT_BYTES {
                return Err(format!("the answer to {question:?} is too long"));
            }
            if !text.is_empty() {
                answers.insert(question.clone(), text);
            }
        }
        if answers.is_empty() {
            return Err("answer at least one question, or `deny` to skip them".into());
        }
        let notes = notes.into_iter().filter(|(_, note)| !note.trim().is_empty()).collect();
        Ok(Answer::Answers { answers, notes })
    }

    /// The questions of a `question` hold, as far as the input has the known shape.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        self.subject
            .input
            .get("questions")
            .and_then(Value::as_array)
            .map(|list| list.iter().filter_map(|q| serde_json::from_value(q.clone()).ok()).collect())
            .unwrap_or_default()
    }

    /// The whole input that the tool runs with under `answer`; None when it is refused.
    #[must_use]
    pub fn released_input(&self, answer: &Answer) -> Option<Value> {
        match answer {
            Answer::Allow { input } => Some(input.clone().unwrap_or_else(|| self.subject.input.clone())),
            Answer::Answers { answers, notes } => {
                let mut input = self.subject.input.clone();
                input["answers"] = json!(answers);
                if !notes.is_empty() {
                    let annotations: Map<String, Value> = notes
                        .iter()
                        .map(|(question, note)| (question.clone(), json!({ "notes": note })))
                        .collect();
                    input["annotations"] = Value::Object(annotations);
                }
                Some(input)
            }
            Answer::Deny { .. } | Answer::Reply { .. } => None,
        }
    }
}

/// One question of `AskUserQuestion`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Question {
    /// The full text, which is also its key in the answers.
    pub question: String,
    /// A short title.
    #[serde(default)]
    pub header: String,
    /// What is offered; free text is always possible besides.
    #[serde(default)]
    pub options: Vec<Choice>,
    /// Whether several labels may be chosen.
    #[serde(default, rename = "multiSelect")]
    pub multi_select: bool,
}

/// One option of a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "QuestionChoice")]
pub struct Choice {
    /// What is chosen.
    pub label: String,
    /// What it means.
    #[serde(default)]
    pub description: String,
}

#[cfg(test)]
#[path = "hold_tests.rs"]
mod tests;
