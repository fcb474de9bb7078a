//! What a hold is about, in a line that may be read over somebody's shoulder.
//!
//! Arguments of tools hold whatever the agent put there, keys and personal data included. Only names
//! are taken out of them: of a program, a file, a host, a question's heading.

use holdpoint_model::{Hold, HoldKind, policy::main_argument};
use serde_json::Value;

use crate::text::one_line;

/// The longest name that is taken over, in characters.
const MAX_NAME_CHARS: usize = 40;

/// Headings of questions that are named.
const MAX_HEADINGS: usize = 3;

/// What the agent waits for, to be read after its name.
pub(crate) fn of(hold: &Hold) -> String {
    match hold.kind {
        HoldKind::Reply => "waits for your reply".into(),
        HoldKind::Plan => "proposes a plan".into(),
        HoldKind::Question => question(hold),
        HoldKind::Tool => tool(&hold.subject.tool, &hold.subject.input),
    }
}

fn question(hold: &Hold) -> String {
    let questions = hold.questions();
    let headings: Vec<String> = questions
        .iter()
        .map(|question| one_line(&question.header, MAX_NAME_CHARS))
        .filter(|heading| !heading.is_empty())
        .take(MAX_HEADINGS)
        .collect();
    let asks = match questions.len() {
        0 | 1 => "asks a question".to_owned(),
        n => format!("asks {n} questions"),
    };
    if headings.is_empty() { asks } else { format!("{asks}: {}", headings.join(", ")) }
}

fn tool(tool: &str, input: &Value) -> String {
    let uses = format!("asks to use {}", one_line(tool, MAX_NAME_CHARS));
    match name_in(tool, input) {
        Some(name) => format!("{uses}: {name}"),
        None => uses,
    }
}

/// The name of what a tool works on, where it is a name and nothing more.
fn name_in(tool: &str, input: &Value) -> Option<String> {
    let argument = main_argument(tool, input)?;
    let name = match tool {
        "Bash" => argument.split_whitespace().next()?.rsplit('/').next()?,
        "Read" | "Write" | "Edit" | "NotebookEdit" => argument.trim_end_matches('/').rsplit('/').next()?,
        "WebFetch" => {
            let rest = argument.strip_prefix("https://").or_else(|| argument.strip_prefix("http://"))?;
            let authority = rest.split(['/', '?', '#', '\\']).next()?;
            // What stands before an @ may be a password.
            authority.rsplit('@').next()?
        }
        _ => return None,
    };
    let is_plain = |c: char| {
        c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | ':') || (c == ' ' && tool != "Bash")
    };
    let is_name = !name.is_empty() && name.chars().count() <= MAX_NAME_CHARS && name.chars().all(is_plain);
    is_name.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdpoint_model::{Digest, HoldId, HoldState, hold::Subject};
    use serde_json::json;
    use uuid::Uuid;

    fn line(kind: HoldKind, tool: &str, input: Value) -> String {
        let subject = Subject { tool: tool.into(), digest: Digest::of(&input), input, ..Subject::reply() };
        of(&Hold {
            id: HoldId(Uuid::nil()),
            kind,
            subject,
            opened_at: 0,
            expires_at: None,
            asked_by: None,
            assigned: None,
            state: HoldState::Open,
        })
    }

    #[test]
    fn names_are_told_and_nothing_more() {
        let bash = |command: &str| line(HoldKind::Tool, "Bash", json!({ "command": command }));
        let other = |tool: &str, input: Value| line(HoldKind::Tool, tool, input);
        let lines = [
            bash("git push origin main"),
            bash("/usr/bin/psql 'postgres://u:hunter2@db/x'"),
            bash("TOKEN=hunter2 deploy"),
            bash("$(cat /etc/hunter2)"),
            bash("hunter2hunter2hunter2hunter2hunter2hunter2hunter2hunter2"),
            bash(""),
            other("Write", json!({"file_path": "/home/me/hunter2/notes.md", "content": "hunter2"})),
            other("Edit", json!({"file_path": "évidence du jour.txt"})),
            other("WebFetch", json!({"url": "https://u:hunter2@example.org/x?token=hunter2"})),
            other("WebFetch", json!({"url": "https://example.org\\@hunter2.example/"})),
            other("WebFetch", json!({"url": "hunter2"})),
            other("WebSearch", json!({"query": "hunter2"})),
            other("mcp__mail__send", json!({"to": "hunter2"})),
            line(HoldKind::Plan, "ExitPlanMode", json!({"plan": "hunter2"})),
            line(HoldKind::Reply, "", Value::Null),
            line(HoldKind::Question, "AskUserQuestion", json!({"questions": [{"question": "hunter2?"}]})),
            line(
                HoldKind::Question,
                "AskUserQuestion",
                json!({"questions": [{"question": "hunter2?", "header": "Database"}, {"question": "b", "header": "Mo\nde"}]}),
            ),
        ];
        assert!(lines.iter().all(|line| !line.contains("hunter2")), "{lines:#?}");
        assert_eq!(
            lines,
            [
                "asks to use Bash: git",
                "asks to use Bash: psql",
                "asks to use Bash",
                "asks to use Bash",
                "asks to use Bash",
                "asks to use Bash",
                "asks to use Write: notes.md",
                "asks to use Edit: évidence du jour.txt",
                "asks to use WebFetch: example.org",
                "asks to use WebFetch: example.org",
                "asks to use WebFetch",
                "asks to use WebSearch",
                "asks to use mcp__mail__send",
                "proposes a plan",
                "waits for your reply",
                "asks a question",
                "asks 2 questions: Database, Mo de",
            ]
        );
    }
}
