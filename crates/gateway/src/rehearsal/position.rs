//! Where in its script a conversation stands: read off the request, so that nothing need be remembered.

use super::ids;
use crate::wire::{Block, Merged, Request, Role};

/// The place of the next answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// The conversation's first words; they choose the scene.
    pub(super) first_prompt: String,
    /// The person's messages so far, from 1.
    pub(super) turn: usize,
    /// Answers since the last of them, from 0.
    pub(super) step: usize,
    /// The person's last message.
    pub(super) prompt: String,
    /// The last tool result's text.
    pub(super) last_result: String,
    /// Where the CLI wants a plan written; see [`plan_file`].
    pub(super) plan_file: String,
}

/// How the CLI goes on after an answer whose stream broke off.
const CUT_OFF: &str = "Your response above was cut off mid-stream";

/// Beginnings of user texts that the CLI writes itself (seen with 2.1.330).
const NOT_A_PERSON: &[&str] = &[
    "<system-reminder>",
    "<local-command-",
    "<command-",
    "<task-notification>",
    "[Request interrupted by user",
    "Continue from where you left off.",
    CUT_OFF,
    "This session is being continued from a previous conversation",
];

impl Position {
    pub(super) fn of(merged: &[Merged<'_>]) -> Self {
        let mut position = Self {
            first_prompt: String::new(),
            turn: 0,
            step: 0,
            prompt: String::new(),
            last_result: String::new(),
            plan_file: String::new(),
        };
        let mut last_call: Option<String> = None;
        for message in merged {
            if message.role == Role::Assistant {
                // An answer that was replayed in part comes as two messages of one call.
                let call = message.blocks.iter().find_map(|block| call_of(block)).map(str::to_owned);
                if call.is_none() || call != last_call {
                    position.step += 1;
                }
                last_call = call;
                continue;
            }
            for block in &message.blocks {
                if block.as_tool_result().is_some() {
                    position.last_result = block.content.text();
                }
            }
            let mut texts = message.blocks.iter().filter_map(|block| block.as_text());
            let has_results = message.blocks.iter().any(|block| block.as_tool_result().is_some());
            if !has_results && texts.any(|text| text.trim_start().starts_with(CUT_OFF)) {
                // What broke off is no answer: it comes again, whole. (With results behind it, the CLI has put
                // both together.)
                position.step = position.step.saturating_sub(1);
                last_call = None;
            }
            let said: Vec<&str> = message.blocks.iter().filter_map(|block| persons_words(block)).collect();
            if !said.is_empty() {
                position.turn += 1;
                position.step = 0;
                last_call = None;
                position.prompt = said.join("\n");
                if position.turn == 1 {
                    position.first_prompt.clone_from(&position.prompt);
                }
            }
        }
        position
    }
}

fn call_of(block: &Block) -> Option<&str> {
    block.as_tool_use().and_then(ids::read_tool_use).map(|(call, _)| call)
}

/// What a person wrote in a block; none of what the CLI writes itself.
pub(crate) fn persons_words(block: &Block) -> Option<&str> {
    let text = block.as_text()?;
    let start = text.trim_start();
    let own = start.is_empty() || NOT_A_PERSON.iter().any(|beginning| start.starts_with(beginning));
    (!own).then_some(text)
}

/// The file that plan mode keeps its plan in, `<config>/plans/<name>.md`. CLI 2.1.330 names it in an
/// instruction (`role: system`) when plan mode begins.
pub(super) fn plan_file(request: &Request) -> Option<String> {
    let blocks = request.messages().iter().rev().flat_map(|message| message.content.0.iter().rev());
    blocks.filter_map(|block| block.text.as_deref()).find_map(|text| {
        let words = text.split_whitespace();
        words.rev().find(|word| word.contains("/plans/") && word.ends_with(".md")).map(str::to_owned)
    })
}

/// Puts values in for `{{prompt}}`, `{{last_result}}`, `{{plan_file}}` and `{{id}}` (a fresh one each time).
pub(super) fn fill(text: &str, position: &Position) -> String {
    if !text.contains("{{") {
        return text.to_owned();
    }
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        let (before, after) = rest.split_at(open);
        filled.push_str(before);
        let Some(close) = after.find("}}") else { return filled + after };
        match after[2..close].trim() {
            "prompt" => filled.push_str(&position.prompt),
            "last_result" => filled.push_str(&position.last_result),
            "plan_file" => filled.push_str(&position.plan_file),
            "id" => filled.push_str(&ids::random(8)),
            _ => filled.push_str(&after[..close + 2]),
        }
        rest = &after[close + 2..];
    }
    filled + rest
}

/// The same in every string of a tool's input.
pub(super) fn fill_value(value: &serde_json::Value, position: &Position) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => Value::String(fill(text, position)),
        Value::Array(items) => items.iter().map(|item| fill_value(item, position)).collect(),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, item)| (key.clone(), fill_value(item, position))).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn position(messages: &Value) -> Position {
        let request = Request::read(json!({"messages": messages}).to_string().as_bytes()).expect("request");
        Position::of(&request.merged())
    }

    #[test]
    fn counts_people_and_answers_and_nothing_else() {
        let call = ids::call();
        let (a, b) = (ids::tool_use(&call, true), ids::tool_use(&call, true));
        let seen = position(&json!([
            {"role": "user", "content": [{"type": "text", "text": "<system-reminder>x"}, {"type": "text", "text": "one"}]},
            {"role": "system", "content": "env"},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": "two"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": a, "name": "Bash", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": a, "content": "out"}]},
            {"role": "user", "content": "Continue from where you left off."},
            {"role": "assistant", "content": [{"type": "tool_use", "id": b, "name": "Bash", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": b, "content": "out 2"}]},
        ]));
        assert_eq!((seen.turn, seen.step), (2, 1), "both tool uses are one answer");
        assert_eq!((seen.first_prompt.as_str(), seen.prompt.as_str()), ("one", "two"));
        assert_eq!(seen.last_result, "out 2");
    }

    #[rstest::rstest]
    #[case::main_loop("Your response above was cut off mid-stream. Resume directly from where it stops.")]
    #[case::subagent("Your response above was cut off mid-stream and only your next message is delivered.")]
    fn an_answer_that_broke_off_is_none(#[case] told: &str) {
        let call = ids::call();
        let seen = position(&json!([
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "I beg"},
            {"role": "user", "content": told},
            {"role": "assistant", "content": [{"type": "text", "text": "I begin"},
                {"type": "tool_use", "id": ids::tool_use(&call, false), "name": "Bash", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "out"}]},
        ]));
        assert_eq!((seen.turn, seen.step), (1, 1));
    }

    #[test]
    fn fills_templates() {
        let seen = position(&json!([{"role": "user", "content": "hé"}]));
        assert_eq!(fill("a {{ prompt }} {{other}} {{prompt", &seen), "a hé {{other}} {{prompt");
        let filled = fill_value(&json!({"a": ["{{id}}", 1]}), &seen);
        assert_eq!(filled["a"][0].as_str().map(str::len), Some(8));
    }
}
