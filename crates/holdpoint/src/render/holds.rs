//! What waits for a person, in full: who decides has to see all of it.

use holdpoint_model::{HoldKind, hold::Question, policy::main_argument};
use serde_json::Value;

use crate::{
    client::{ids::short, types::HoldItem},
    render::{ALL_LINES, block, one_line, paint::Paint, visible},
};

const INDENT: &str = "    ";

/// A rule that is longer than this stands on a line of its own.
const SHORT_RULE: usize = 40;

/// A hold: all of what is asked. Nothing is cut or left out, whatever its length: this is what a
/// decision is about.
#[must_use]
pub fn hold(hold: &HoldItem, paint: Paint) -> String {
    let mut parts = vec![format!("{} {}", paint.yellow("◆"), paint.bold(&heading(hold)))];
    let subject = &hold.subject;
    if let Some(caution) = &subject.caution {
        parts.push(paint.red(&whole(&format!("! {caution}"), INDENT)));
    }
    match hold.kind {
        Some(HoldKind::Question) => parts.extend(
            hold.questions().iter().enumerate().map(|(i, question)| one_question(i, question, paint)),
        ),
        Some(HoldKind::Plan) => {
            let plan = subject.input.get("plan").and_then(Value::as_str).unwrap_or_default();
            let plan = if plan.trim().is_empty() { "(the plan is empty)" } else { plan };
            parts.push(whole(plan, INDENT));
            parts.push(others(&subject.input, &["plan"]));
        }
        Some(HoldKind::Tool) | None => parts.push(tool_input(&subject.tool, &subject.input)),
        Some(HoldKind::Reply) => {}
    }
    // Often it only repeats an argument, or how that begins.
    let own = subject.input.get("description").and_then(Value::as_str);
    let main = main_argument(&subject.tool, &subject.input).unwrap_or_default();
    let repeats = |text: &str| own == Some(text) || main.starts_with(text.trim_end_matches('…'));
    if let Some(description) = subject.description.as_deref().filter(|text| !repeats(text)) {
        parts.push(paint.dim(&whole(description, INDENT)));
    }
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

/// All of a text, with what does not show made visible.
fn whole(text: &str, indent: &str) -> String {
    block(&visible(text), indent, ALL_LINES)
}

fn heading(hold: &HoldItem) -> String {
    match hold.kind {
        Some(HoldKind::Reply) => "It is your turn".to_owned(),
        Some(HoldKind::Question) => "A question for you".to_owned(),
        Some(HoldKind::Plan) => "A plan for you to look at".to_owned(),
        Some(HoldKind::Tool) | None => format!("May it use {}?", all_on_one_line(&hold.subject.tool)),
    }
}

fn all_on_one_line(text: &str) -> String {
    one_line(&visible(text), usize::MAX)
}

fn one_question(i: usize, question: &Question, paint: Paint) -> String {
    let mut lines = vec![format!("  {}. {}", i + 1, visible(&question.question).trim())];
    for (n, choice) in question.options.iter().enumerate() {
        let description = all_on_one_line(&choice.description);
        let dash = if description.is_empty() { "" } else { " — " };
        let label = all_on_one_line(&choice.label);
        lines.push(format!("{INDENT}{}) {label}{}", n + 1, paint.dim(&format!("{dash}{description}"))));
    }
    if question.multi_select {
        lines.push(paint.dim(&format!("{INDENT}(several may be chosen)")));
    }
    lines.join("\n")
}

/// A tool's arguments, all of them, as its kind reads best.
#[must_use]
pub fn tool_input(tool: &str, input: &Value) -> String {
    let text = |key: &str| input.get(key).and_then(Value::as_str).unwrap_or_default();
    let (shown, first): (&[&str], String) = match tool {
        "Bash" if !text("command").is_empty() => (&["command"], whole(text("command"), INDENT)),
        "Write" if !text("file_path").is_empty() => (
            &["file_path", "content"],
            [whole(text("file_path"), INDENT), whole(text("content"), "    + ")].join("\n"),
        ),
        "Edit" if !text("file_path").is_empty() => (
            &["file_path", "old_string", "new_string"],
            [
                whole(text("file_path"), INDENT),
                whole(text("old_string"), "    - "),
                whole(text("new_string"), "    + "),
            ]
            .join("\n"),
        ),
        _ => match input {
            Value::Null => return String::new(),
            Value::Object(map) if map.is_empty() => return String::new(),
            _ => return whole(&serde_json::to_string_pretty(input).unwrap_or_default(), INDENT),
        },
    };
    [first, others(input, shown)].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The arguments that have no place of their own, one on a line: `run_in_background: true`. One that
/// has a place and is no text stands here as well.
fn others(input: &Value, shown: &[&str]) -> String {
    let Some(map) = input.as_object() else { return String::new() };
    let lines: Vec<String> = map
        .iter()
        .filter(|(key, value)| !(shown.contains(&key.as_str()) && value.is_string()))
        .map(|(key, value)| format!("{INDENT}{}: {}", all_on_one_line(key), visible(&value.to_string())))
        .collect();
    lines.join("\n")
}

/// What "for this conversation" would allow, whole: ` NAME`, or lines of its own where it is long.
#[must_use]
pub fn grant(rule: &str) -> String {
    let rule = visible(rule);
    let rule = rule.trim();
    if rule.contains('\n') || rule.chars().count() > SHORT_RULE {
        format!("\n{}\n", block(rule, INDENT, ALL_LINES))
    } else {
        format!(" {rule} ")
    }
}

/// A tool call on one line.
#[must_use]
pub fn tool_line(tool: &str, input: &Value, width: usize) -> String {
    let argument = match main_argument(tool, input) {
        Some(argument) => argument.to_owned(),
        None if input.as_object().is_none_or(serde_json::Map::is_empty) => String::new(),
        None => input.to_string(),
    };
    let tool = one_line(tool, 60);
    let room = width.saturating_sub(tool.chars().count() + 1);
    format!("{tool} {}", one_line(&argument, room)).trim_end().to_owned()
}

/// The commands that answer a hold.
#[must_use]
pub fn commands(hold: &HoldItem) -> Vec<String> {
    let id = short(&hold.id);
    match hold.kind {
        Some(HoldKind::Reply) => vec![
            format!("holdpoint answer {id} --reply \"…\""),
            format!("holdpoint finish {}", short(&hold.execution)),
        ],
        Some(HoldKind::Question) => match hold.questions().as_slice() {
            [_] | [] => vec![format!("holdpoint answer {id} --answer \"…\"")],
            several => {
                let all: Vec<String> = (1..=several.len()).map(|n| format!("--answer {n}=\"…\"")).collect();
                vec![format!("holdpoint answer {id} {}", all.join(" "))]
            }
        },
        Some(HoldKind::Tool | HoldKind::Plan) | None => {
            let edit = match hold.kind {
                Some(HoldKind::Plan) => "\"…\"      (approves this text in its place)",
                _ => "'{…}'      (runs it with these arguments, as JSON)",
            };
            let mut all = vec![
                format!("holdpoint answer {id} --allow"),
                format!("holdpoint answer {id} --deny \"why\""),
                format!("holdpoint answer {id} --edit {edit}"),
            ];
            if let Some(rule) = &hold.subject.grant {
                all.push(format!(
                    "holdpoint answer {id} --allow --scope conversation   (then all of {})",
                    all_on_one_line(rule)
                ));
            }
            all
        }
    }
}

/// A hold on one line, for lists.
#[must_use]
pub fn summary(hold: &HoldItem, width: usize) -> String {
    match hold.kind {
        Some(HoldKind::Reply) => "waits for a reply".to_owned(),
        Some(HoldKind::Question) => {
            let questions: Vec<String> = hold.questions().into_iter().map(|q| q.question).collect();
            one_line(&questions.join(" · "), width)
        }
        Some(HoldKind::Plan) => {
            let plan = hold.subject.input.get("plan").and_then(Value::as_str).unwrap_or_default();
            one_line(plan, width)
        }
        Some(HoldKind::Tool) | None => tool_line(&hold.subject.tool, &hold.subject.input, width),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::types::SubjectItem;
    use serde_json::json;

    fn asked(kind: HoldKind, tool: &str, input: Value) -> HoldItem {
        HoldItem {
            id: "0190-0000beef".into(),
            kind: Some(kind),
            subject: SubjectItem { tool: tool.into(), input, ..SubjectItem::default() },
            ..HoldItem::default()
        }
    }

    #[test]
    fn every_line_and_every_argument_is_shown() {
        let command: String = (0..500).map(|n| format!("echo {n}\n")).collect();
        let input = json!({"command": command, "run_in_background": true, "dangerouslyDisableSandbox": true, "timeout": 9, "new_one": {"a": "b\u{1b}"}});
        let text = hold(&asked(HoldKind::Tool, "Bash", input), Paint(false));
        for part in [
            "echo 0\n",
            "echo 499",
            "run_in_background: true",
            "dangerouslyDisableSandbox: true",
            "timeout: 9",
            "new_one: {\"a\":\"b\\u001b\"}",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        let input =
            json!({"file_path": "/a", "old_string": "x", "new_string": "y\u{1b}[2K", "replace_all": true});
        let text = hold(&asked(HoldKind::Tool, "Edit", input), Paint(false));
        assert!(text.ends_with("    /a\n    - x\n    + y␛[2K\n    replace_all: true"), "{text}");
        // A place is for text: something else in it is shown as it is.
        let input = json!({"file_path": "/a", "content": ["x"]});
        assert!(tool_input("Write", &input).contains("content: [\"x\"]"));
        let plan = json!({"plan": "1. Do", "allowedPrompts": [{"tool": "Bash"}]});
        let text = hold(&asked(HoldKind::Plan, "ExitPlanMode", plan), Paint(false));
        assert!(text.contains("allowedPrompts: [{\"tool\":\"Bash\"}]"), "{text}");
    }

    #[test]
    fn a_rule_is_shown_whole() {
        let rule = format!("Bash(git {} *)", "x".repeat(200));
        assert_eq!(grant(&rule), format!("\n    {rule}\n"));
        assert_eq!(grant("Bash(ls *)"), " Bash(ls *) ");
        let mut tool = asked(HoldKind::Tool, "Bash", json!({"command": "git x"}));
        tool.subject.grant = Some(rule.clone());
        let all = commands(&tool).join("\n");
        assert!(all.contains(&rule) && all.contains("--edit '{…}'"), "{all}");
    }
}
