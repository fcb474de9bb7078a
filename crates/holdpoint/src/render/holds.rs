//! What waits for a person, in full: who decides has to see all of it.

use holdpoint_model::{HoldKind, hold::Question, policy::main_argument};
use serde_json::Value;

use crate::{
    client::{ids::short, types::HoldItem},
    render::{block, clean, one_line, paint::Paint},
};

/// Lines of an ask that are shown where it is one of many things on the screen.
pub const SOME_LINES: usize = 40;

/// All of it.
pub const ALL_LINES: usize = usize::MAX;

const INDENT: &str = "    ";

/// A hold: what is asked, and at most `most` lines of each part.
#[must_use]
pub fn hold(hold: &HoldItem, paint: Paint, most: usize) -> String {
    let mut parts = vec![format!("{} {}", paint.yellow("◆"), paint.bold(&heading(hold)))];
    let subject = &hold.subject;
    if let Some(caution) = &subject.caution {
        parts.push(paint.red(&block(&format!("! {caution}"), INDENT, most)));
    }
    match hold.kind {
        Some(HoldKind::Question) => parts.extend(
            hold.questions().iter().enumerate().map(|(i, question)| one_question(i, question, paint, most)),
        ),
        Some(HoldKind::Plan) => {
            let plan = subject.input.get("plan").and_then(Value::as_str).unwrap_or("(the plan is empty)");
            parts.push(block(plan, INDENT, most));
        }
        Some(HoldKind::Tool) | None => parts.push(tool_input(&subject.tool, &subject.input, most)),
        Some(HoldKind::Reply) => {}
    }
    if let Some(description) = &subject.description {
        parts.push(paint.dim(&block(description, INDENT, most)));
    }
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn heading(hold: &HoldItem) -> String {
    let tool = one_line(&hold.subject.tool, 60);
    match hold.kind {
        Some(HoldKind::Reply) => "It is your turn".to_owned(),
        Some(HoldKind::Question) => "A question for you".to_owned(),
        Some(HoldKind::Plan) => "A plan for you to look at".to_owned(),
        Some(HoldKind::Tool) | None => format!("May it use {tool}?"),
    }
}

fn one_question(i: usize, question: &Question, paint: Paint, most: usize) -> String {
    let mut lines = vec![format!("  {}. {}", i + 1, clean(&question.question).trim())];
    for (n, choice) in question.options.iter().enumerate() {
        let description = one_line(&choice.description, 100);
        let dash = if description.is_empty() { "" } else { " — " };
        let label = one_line(&choice.label, 100);
        lines.push(format!("{INDENT}{}) {label}{}", n + 1, paint.dim(&format!("{dash}{description}"))));
    }
    if question.multi_select {
        lines.push(paint.dim(&format!("{INDENT}(several may be chosen)")));
    }
    lines.truncate(most);
    lines.join("\n")
}

/// A tool's arguments, as its kind reads best.
#[must_use]
pub fn tool_input(tool: &str, input: &Value, most: usize) -> String {
    let text = |key: &str| input.get(key).and_then(Value::as_str).unwrap_or_default();
    match tool {
        "Bash" if !text("command").is_empty() => block(text("command"), INDENT, most),
        "Write" if !text("file_path").is_empty() => {
            format!("{}\n{}", block(text("file_path"), INDENT, 1), block(text("content"), "    + ", most))
        }
        "Edit" if !text("file_path").is_empty() => format!(
            "{}\n{}\n{}",
            block(text("file_path"), INDENT, 1),
            block(text("old_string"), "    - ", most),
            block(text("new_string"), "    + ", most)
        ),
        _ => match input {
            Value::Null => String::new(),
            Value::Object(map) if map.is_empty() => String::new(),
            _ => block(&serde_json::to_string_pretty(input).unwrap_or_default(), INDENT, most),
        },
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
            let mut all = vec![
                format!("holdpoint answer {id} --allow"),
                format!("holdpoint answer {id} --deny \"why\""),
            ];
            if let Some(grant) = &hold.subject.grant {
                all.push(format!(
                    "holdpoint answer {id} --allow --scope conversation   (then all of {})",
                    one_line(grant, 60)
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
