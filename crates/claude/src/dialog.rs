//! The two tools that exist to ask a person: `AskUserQuestion` and `ExitPlanMode`.
//!
//! Both arrive as an [`Ask`](crate::Event::Ask) and are answered by an allow whose input carries the answer.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::answer::PermissionAnswer;
use crate::event::PermissionAsk;

/// One question of an `AskUserQuestion`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Question {
    /// The whole text. Answers name their question by it.
    pub question: String,
    /// A short title.
    #[serde(default)]
    pub header: String,
    /// What can be chosen. Free text is always possible too.
    #[serde(default)]
    pub options: Vec<Choice>,
    /// Several may be chosen.
    #[serde(default, rename = "multiSelect")]
    pub multi_select: bool,
}

/// Something to choose.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Choice {
    /// The answer if it is chosen.
    pub label: String,
    /// What it means.
    #[serde(default)]
    pub description: String,
}

/// Answers to an `AskUserQuestion`, by the whole text of the question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    answers: BTreeMap<String, String>,
    notes: BTreeMap<String, String>,
}

impl Answers {
    /// No answers yet. Sent like this, the model is told that nobody answered.
    pub fn new() -> Self {
        Self::default()
    }

    /// A label, or free text.
    #[must_use]
    pub fn answer(mut self, question: impl Into<String>, answer: impl Into<String>) -> Self {
        self.answers.insert(question.into(), answer.into());
        self
    }

    /// Several labels.
    #[must_use]
    pub fn choose(self, question: impl Into<String>, labels: &[&str]) -> Self {
        self.answer(question, labels.join(", "))
    }

    /// A remark beside an answer.
    #[must_use]
    pub fn note(mut self, question: impl Into<String>, note: impl Into<String>) -> Self {
        self.notes.insert(question.into(), note.into());
        self
    }
}

/// A plan that waits for approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The plan, Markdown. Absent when the model asked to leave plan mode without having written one.
    pub text: Option<String>,
    /// The file that holds it.
    pub file: Option<String>,
}

impl PermissionAsk {
    /// The questions, when this is an `AskUserQuestion`.
    pub fn questions(&self) -> Option<Vec<Question>> {
        (self.tool_name == "AskUserQuestion").then(|| Vec::deserialize(&self.input["questions"]).ok())?
    }

    /// Turns answers into the answer to this ask. Questions without an answer stay unanswered.
    pub fn answer_questions(&self, answers: Answers) -> PermissionAnswer {
        let mut input = self.input.as_object().cloned().unwrap_or_default();
        if !answers.answers.is_empty() {
            input.insert("answers".into(), json!(answers.answers));
        }
        if !answers.notes.is_empty() {
            let notes: Map<String, Value> = answers
                .notes
                .into_iter()
                .map(|(question, note)| (question, json!({ "notes": note })))
                .collect();
            input.insert("annotations".into(), Value::Object(notes));
        }
        PermissionAnswer::allow_with(input)
    }

    /// The plan, when this is an `ExitPlanMode`. A plain [`allow`](PermissionAnswer::allow) approves it and
    /// leaves plan mode; a denial keeps the session in it.
    pub fn plan(&self) -> Option<Plan> {
        (self.tool_name == "ExitPlanMode").then(|| Plan {
            text: self.input["plan"].as_str().map(str::to_owned),
            file: self.input["planFilePath"].as_str().map(str::to_owned),
        })
    }

    /// Approves the plan with another text.
    pub fn approve_edited_plan(&self, plan: impl Into<String>) -> PermissionAnswer {
        let mut input = self.input.as_object().cloned().unwrap_or_default();
        input.insert("plan".into(), Value::String(plan.into()));
        PermissionAnswer::allow_with(input)
    }
}
