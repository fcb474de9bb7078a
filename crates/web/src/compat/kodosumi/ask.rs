//! Holds as forms, and their fields as decisions. Pure.

use std::collections::BTreeMap;

use holdpoint_model::{DecisionRequest, Execution, Hold, HoldKind, hold::Scope};
use serde_json::{Value, json};

use super::{elements, fields::Fields};

/// The field that says what is decided.
const DECISION: &str = "decision";

/// What the fields come to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    /// A decision about the hold.
    Decide(DecisionRequest),
    /// The conversation is done: nothing more is to be said.
    Finish,
}

/// Field name → what is wrong with it; `_global_` for all of them.
pub(super) type Errors = BTreeMap<String, Vec<String>>;

/// The form of an open hold.
pub(super) fn form(execution: &Execution, hold: &Hold) -> Vec<Value> {
    let mut form = vec![elements::markdown(&what_is_asked(execution, hold)), elements::errors()];
    match hold.kind {
        HoldKind::Reply => {
            form.push(elements::area("message", "Your reply", None, true));
            form.push(elements::files());
            form.push(elements::submit("Send"));
            form.push(elements::action(DECISION, "finish", "Finish"));
        }
        HoldKind::Tool => {
            form.push(allow_or_deny("Allow it", "Do not allow it"));
            form.push(elements::area("input", "Arguments", Some(&pretty(&hold.subject.input)), false));
            if let Some(rule) = &hold.subject.grant {
                let label = format!("Allow {rule} for the rest of this conversation");
                form.push(elements::boolean("conversation", &label, false, "Yes"));
            }
            form.push(elements::text("message", "Reason", Some("What the agent should know if you do not")));
            form.push(elements::submit("Send"));
        }
        HoldKind::Plan => {
            form.push(allow_or_deny("Go ahead", "Send it back"));
            form.push(elements::area("plan", "Plan", Some(plan_of(hold)), false));
            form.push(elements::text("message", "What should be different", None));
            form.push(elements::submit("Send"));
        }
        HoldKind::Question => {
            form.extend(questions(hold));
            form.push(elements::submit("Send"));
            form.push(elements::action(DECISION, "deny", "Do not answer"));
        }
    }
    form
}

fn allow_or_deny(allow: &str, deny: &str) -> Value {
    elements::select(DECISION, "Decision", None, &[("allow", allow), ("deny", deny)])
}

fn what_is_asked(execution: &Execution, hold: &Hold) -> String {
    let mut text = match hold.kind {
        HoldKind::Reply => execution.last_turn.as_ref().map_or("", |turn| &turn.text).to_owned(),
        HoldKind::Tool => format!(
            "# Allow {}?\n\n{}\n\n{}",
            hold.subject.tool,
            hold.subject.description.as_deref().unwrap_or_default(),
            fenced(&pretty(&hold.subject.input))
        ),
        HoldKind::Plan => format!("# Go ahead with this plan?\n\n{}", plan_of(hold)),
        HoldKind::Question => "# The agent asks".to_owned(),
    };
    if let Some(caution) = &hold.subject.caution {
        text = format!("**{caution}**\n\n{text}");
    }
    text
}

/// A code block that no text can end early.
fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}json\n{text}\n{fence}")
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn plan_of(hold: &Hold) -> &str {
    hold.subject.input.get("plan").and_then(Value::as_str).unwrap_or_default()
}

/// `qN` is what is chosen, `qN_M` whether the M-th of several is, `qN_other` words of one's own.
fn questions(hold: &Hold) -> Vec<Value> {
    let mut form = Vec::new();
    for (n, question) in hold.questions().iter().enumerate() {
        form.push(elements::markdown(&question.question));
        if question.multi_select {
            form.extend(question.options.iter().enumerate().map(|(m, choice)| {
                elements::boolean(&format!("q{n}_{m}"), &choice.label, false, &choice.description)
            }));
        } else if !question.options.is_empty() {
            let label = if question.header.is_empty() { "Answer" } else { &question.header };
            let choices: Vec<(&str, &str)> = question
                .options
                .iter()
                .map(|choice| (choice.label.as_str(), choice.label.as_str()))
                .collect();
            form.push(elements::select(&format!("q{n}"), label, None, &choices));
        }
        form.push(elements::text(&format!("q{n}_other"), "Something else", None));
    }
    form
}

/// What is wanted by these fields.
pub(super) fn read(hold: &Hold, fields: &Fields) -> Result<Wanted, Errors> {
    let decision = fields.get(DECISION).trim();
    let request = |action: &str| DecisionRequest {
        action: action.into(),
        digest: Some(hold.subject.digest.as_str().to_owned()),
        ..DecisionRequest::default()
    };
    let denied = || Wanted::Decide(DecisionRequest { message: fields.text("message"), ..request("deny") });
    match (hold.kind, decision) {
        (HoldKind::Reply, "finish") => Ok(Wanted::Finish),
        (HoldKind::Reply, _) => match fields.text("message") {
            Some(message) => {
                Ok(Wanted::Decide(DecisionRequest { message: Some(message), ..request("reply") }))
            }
            None => Err(error("message", "a reply needs a text")),
        },
        (HoldKind::Tool | HoldKind::Plan | HoldKind::Question, "deny") => Ok(denied()),
        (HoldKind::Tool, "allow") => {
            let scope = fields.is_on("conversation").then_some(Scope::Conversation);
            let input = edited_input(fields)?.filter(|edited| edited != &hold.subject.input);
            Ok(Wanted::Decide(DecisionRequest { input, scope, ..request("allow") }))
        }
        (HoldKind::Plan, "allow") => {
            let edited = fields.text("plan").filter(|plan| plan.trim() != plan_of(hold).trim());
            let input = edited.map(|plan| json!({ "plan": plan }));
            Ok(Wanted::Decide(DecisionRequest { input, ..request("allow") }))
        }
        (HoldKind::Tool | HoldKind::Plan, _) => Err(error(DECISION, "choose: allow or deny")),
        (HoldKind::Question, _) => {
            let answers = answers(hold, fields);
            if answers.is_empty() {
                return Err(error("_global_", "answer at least one question, or send decision=deny"));
            }
            Ok(Wanted::Decide(DecisionRequest { answers: Some(answers), ..request("answer") }))
        }
    }
}

/// One thing that is wrong.
pub(super) fn error(field: &str, text: &str) -> Errors {
    Errors::from([(field.to_owned(), vec![text.to_owned()])])
}

fn edited_input(fields: &Fields) -> Result<Option<Value>, Errors> {
    let Some(text) = fields.text("input") else { return Ok(None) };
    match serde_json::from_str(&text) {
        Ok(value @ Value::Object(_)) => Ok(Some(value)),
        Ok(_) => Err(error("input", "the arguments must be a JSON object")),
        Err(why) => Err(error("input", &format!("the arguments are not JSON: {why}"))),
    }
}

fn answers(hold: &Hold, fields: &Fields) -> BTreeMap<String, Value> {
    let mut answers = BTreeMap::new();
    for (n, question) in hold.questions().into_iter().enumerate() {
        let other = fields.text(&format!("q{n}_other"));
        let answer = if question.multi_select {
            let options = question.options.iter().enumerate();
            let ticked = options.filter(|(m, _)| fields.is_on(&format!("q{n}_{m}")));
            let chosen: Vec<String> = ticked.map(|(_, choice)| choice.label.clone()).chain(other).collect();
            (!chosen.is_empty()).then(|| Value::from(chosen))
        } else {
            // Words of one's own are more than a choice.
            other.or_else(|| fields.text(&format!("q{n}"))).map(Value::from)
        };
        answers.extend(answer.map(|answer| (question.question, answer)));
    }
    answers
}

#[cfg(test)]
#[path = "ask_tests.rs"]
mod tests;
