//! What a tool would do, shown whole: whoever decides must have seen all of it.

use holdpoint_model::hold::Subject;
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::{diff, text};
use crate::markdown;

/// What the agent wants, as the end of "The agent wants to …".
pub(in crate::panel) fn deed(tool: &str) -> String {
    match tool {
        "Bash" => "run a command".into(),
        "Write" => "write a file".into(),
        "Edit" => "change a file".into(),
        "Read" => "read a file".into(),
        "NotebookEdit" => "change a notebook".into(),
        "WebFetch" => "open a web page".into(),
        "WebSearch" => "search the web".into(),
        "Agent" | "Task" => "start a subagent".into(),
        other => format!("use {}", name(other)),
    }
}

/// A tool's name for people: `mcp__server__tool` becomes `server · tool`.
pub(in crate::panel) fn name(tool: &str) -> String {
    match tool {
        "AskUserQuestion" => "Question".into(),
        "ExitPlanMode" => "Plan".into(),
        other => match other.strip_prefix("mcp__").and_then(|rest| rest.split_once("__")) {
            Some((server, tool)) => format!("{server} · {tool}"),
            None => other.to_owned(),
        },
    }
}

/// One line that tells this call from others.
pub(in crate::panel) fn summary(tool: &str, input: &Value) -> String {
    let text = |key: &str| input.get(key).and_then(Value::as_str);
    let line = match tool {
        "AskUserQuestion" => input.pointer("/questions/0/question").and_then(Value::as_str),
        "ExitPlanMode" => text("plan").and_then(|plan| plan.lines().find(|line| !line.trim().is_empty())),
        "Agent" | "Task" => text("description").or_else(|| text("subagent_type")),
        _ => holdpoint_model::policy::main_argument(tool, input),
    };
    let line = line
        .map(str::to_owned)
        .or_else(|| input.as_object()?.values().find_map(Value::as_str).map(str::to_owned))
        .unwrap_or_default();
    let first = line.lines().next().unwrap_or_default();
    let mut short: String = first.trim_start_matches(['#', ' ']).chars().take(160).collect();
    if short.len() < line.trim().len() {
        short.push_str(" …");
    }
    short
}

/// Whether a plan is asked about without one.
pub(in crate::panel) fn is_empty_plan(subject: &Subject) -> bool {
    let plan = subject.input.get("plan").and_then(Value::as_str).unwrap_or_default();
    subject.tool == "ExitPlanMode" && plan.trim().is_empty()
}

/// The arguments.
pub(in crate::panel) fn arguments(tool: &str, input: &Value) -> Markup {
    let known: &[&str] = match tool {
        "Bash" => &["command", "description"],
        "Write" => &["file_path", "content"],
        "Edit" => &["file_path", "old_string", "new_string"],
        "ExitPlanMode" => &["plan", "planFilePath"],
        _ => &[],
    };
    let text = |key: &str| input.get(key).and_then(Value::as_str).unwrap_or_default();
    let shape_is_known = !known.is_empty() && input.get(known[0]).is_some_and(Value::is_string);
    if !shape_is_known {
        return anything(input);
    }
    html! {
        @match tool {
            "Bash" => {
                @if !text("description").is_empty() { p.quiet { (text::visible(text("description"))) } }
                pre.command { code { (text::visible(text("command"))) } }
            }
            "Write" => {
                p.path { (text::visible(text("file_path"))) }
                pre.content { (text::visible(text("content"))) }
            }
            "Edit" => {
                p.path { (text::visible(text("file_path"))) }
                (diff::replacement(text("old_string"), text("new_string")))
            }
            _ => {
                div.prose.plan { (markdown::render(text("plan"))) }
                // Rendered, some of it has no picture: comments, addresses that nothing refers to.
                details.note.as-text {
                    summary { "As text" }
                    pre.content { (text::visible(text("plan"))) }
                }
            }
        }
        (others(input, known))
    }
}

/// Arguments without a place of their own: small, but never left out.
fn others(input: &Value, known: &[&str]) -> Markup {
    let rest: Map<String, Value> = input
        .as_object()
        .map(|map| {
            map.iter()
                .filter(|(key, _)| !known.contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        })
        .unwrap_or_default();
    html! { @if !rest.is_empty() { (anything(&Value::Object(rest))) } }
}

fn anything(input: &Value) -> Markup {
    html! {
        @match input {
            Value::Object(map) if map.is_empty() => p.quiet { "No arguments." },
            Value::Object(map) => {
                dl.arguments {
                    @for (key, value) in map {
                        dt { (text::visible(key)) }
                        dd {
                            @match value {
                                Value::String(value) => pre { (text::visible(value)) },
                                Value::Array(_) | Value::Object(_) => pre { (text::visible(&text::pretty(value))) },
                                other => code { (other) },
                            }
                        }
                    }
                }
            }
            Value::Null => {}
            other => pre { (text::visible(&text::pretty(other))) },
        }
    }
}

/// What of the arguments is edited by hand: the name for the form, and the text as it is.
pub(in crate::panel) fn editable(tool: &str, input: &Value) -> (&'static str, String) {
    let key = match tool {
        "Bash" => "command",
        "Write" => "content",
        "Edit" => "new_string",
        "ExitPlanMode" => "plan",
        _ => "json",
    };
    match input.get(key).and_then(Value::as_str) {
        Some(text) if key != "json" => (key, text.to_owned()),
        _ => ("json", text::pretty(input)),
    }
}

/// The arguments after an edit by hand.
pub(in crate::panel) fn edited(input: &Value, key: &str, text: &str) -> Result<Value, String> {
    if key == "json" {
        let edited: Value = serde_json::from_str(text)
            .map_err(|error| format!("the edited arguments are not JSON: {error}"))?;
        return if edited.is_object() {
            Ok(edited)
        } else {
            Err("the edited arguments must be a JSON object".into())
        };
    }
    let mut edited = input.clone();
    if key == "plan"
        && let Some(input) = edited.as_object_mut()
    {
        // A plan may be asked about without one: the CLI takes it from here then.
        input.entry(key).or_insert_with(|| Value::String(String::new()));
    }
    let old = edited
        .get_mut(key)
        .filter(|old| old.is_string())
        .ok_or_else(|| format!("there is no text `{key}` to edit"))?;
    // Browsers turn every line end into one kind; a file that had the other kind keeps it.
    let had_crlf = old.as_str().is_some_and(|old| old.contains("\r\n"));
    *old = Value::String(if had_crlf { text.replace('\n', "\r\n") } else { text.to_owned() });
    Ok(edited)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_argument_is_shown() {
        let shown = arguments(
            "Bash",
            &json!({"command": "ls", "description": "List", "run_in_background": true, "dangerouslyDisableSandbox": true}),
        )
        .into_string();
        for part in ["ls", "List", "run_in_background", "dangerouslyDisableSandbox"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert!(arguments("Bash", &json!({"cmd": "ls"})).into_string().contains("cmd"));
        assert!(
            arguments(
                "Edit",
                &json!({"file_path": "/a", "old_string": "x", "new_string": "y", "replace_all": true})
            )
            .into_string()
            .contains("replace_all")
        );
        assert!(arguments("mcp__a__b", &json!({})).into_string().contains("No arguments"));
    }

    #[test]
    fn edits_change_one_argument_and_keep_its_line_ends() {
        let input = json!({"file_path": "/a", "content": "a\r\nb"});
        assert_eq!(editable("Write", &input).0, "content");
        assert_eq!(edited(&input, "content", "a\nb").expect("same"), input);
        assert_eq!(edited(&input, "content", "x").expect("edit")["file_path"], "/a");
        edited(&input, "nothing", "x").expect_err("no such argument");
        edited(&input, "json", "[1]").expect_err("not an object");
        edited(&input, "json", "{").expect_err("not JSON");
        assert_eq!(editable("Bash", &json!({"command": 1})).0, "json");
    }

    #[test]
    fn summaries_are_one_line() {
        assert_eq!(summary("Bash", &json!({"command": "a\nb"})), "a …");
        assert_eq!(summary("mcp__x__y", &json!({"n": 1, "q": "hello"})), "hello");
        assert_eq!(summary("X", &json!(null)), "");
        assert_eq!(name("mcp__git__push_all"), "git · push_all");
    }
}
