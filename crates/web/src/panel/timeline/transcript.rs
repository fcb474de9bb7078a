//! A conversation to take along: the rounds as Markdown, part by part, safe to open anywhere. What people and models
//! wrote brings no HTML of its own and no address but of the web, and its headings stand below ours.

use std::fmt::Write as _;

use holdpoint_model::{
    Answer, Channel, Execution, HoldState, Seq, UnixMs,
    event::{Level, ToolResult},
    execution::Outcome,
    hold::Decision,
};
use serde_json::Value;

use super::{HoldEntry, Item, MessageItem, SuggestionItem, Timeline, ToolItem};
use crate::{
    markdown::{self, fenced},
    panel::parts::{count, dollars, status_words, subject, text},
    time,
};

/// One part of it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::panel) struct Section {
    /// What it is, for the style of whoever shows it.
    pub(in crate::panel) class: &'static str,
    /// The event that it is of.
    pub(in crate::panel) seq: Option<Seq>,
    /// Its text.
    pub(in crate::panel) markdown: String,
}

impl Section {
    fn new(class: &'static str, seq: Option<Seq>, markdown: impl Into<String>) -> Self {
        Self { class, seq, markdown: markdown.into() }
    }
}

impl Timeline {
    /// The whole of it, as of `now`. What only operators see is left out: what is taken along is passed on.
    pub(in crate::panel) fn transcript(&self, execution: &Execution, url: &str, now: UnixMs) -> Vec<Section> {
        let mut sections = vec![Section::new("head", None, self.head(execution, url, now))];
        let agent = agent_of(execution);
        let mut agent_speaks = false;
        for item in &self.items {
            let Some(section) = self.section(item) else { continue };
            let is_agents = matches!(
                item,
                Item::Text { .. } | Item::Thinking { .. } | Item::Tool(_) | Item::Other { .. }
            );
            if is_agents && !agent_speaks {
                sections.push(Section::new("speaker", None, format!("## {}", line(&agent))));
            }
            agent_speaks = is_agents;
            sections.push(section);
        }
        sections.extend(self.ending(execution));
        sections
    }

    fn head(&self, execution: &Execution, url: &str, now: UnixMs) -> String {
        let totals = &execution.totals;
        let mut head = format!("# {}\n\n| | |\n| --- | --- |\n", line(&execution.title));
        let ended = execution.ended_at.unwrap_or(now);
        let tokens_in = totals.tokens.input_tokens
            + totals.tokens.cache_read_input_tokens
            + totals.tokens.cache_creation_input_tokens;
        let mut facts = vec![
            ("Agent", line(&agent_of(execution))),
            ("Status", status_words(execution.status).to_owned()),
            (
                "Started",
                format!("{} by {}", time::readable(execution.created_at), line(&execution.owner.name)),
            ),
            ("Elapsed", time::length(ended - execution.created_at)),
            (
                "Cost",
                format!(
                    "{}, {} tokens in, {} out",
                    dollars(totals.cost_micros),
                    count(tokens_in),
                    count(totals.tokens.output_tokens)
                ),
            ),
        ];
        let waited = self.waited_ms(ended);
        if waited >= 1000 {
            facts.push(("Waited for people", time::length(waited)));
        }
        if execution.rehearsal {
            facts.push(("Rehearsal", "A script answered in place of a model.".into()));
        }
        facts.push(("From", format!("<{url}>, as of {}", time::readable(now))));
        for (name, value) in facts {
            let _ = writeln!(head, "| {name} | {} |", value.replace('|', "\\|"));
        }
        head
    }

    fn section(&self, item: &Item) -> Option<Section> {
        Some(match item {
            Item::Message(message) => self.message_section(message),
            Item::Text { seq, text, parent, .. } => {
                Section::new("answer", Some(*seq), below(parent.as_deref(), markdown::portable(text, false)))
            }
            Item::Thinking { seq, text, parent } => {
                let text = quoted(&format!("*Thinking*\n\n{}", markdown::portable(text, false)));
                Section::new("thinking", Some(*seq), below(parent.as_deref(), text))
            }
            Item::Tool(tool) => Section::new("tool", Some(tool.seq), tool_section(tool)),
            Item::Other { seq, raw, .. } => {
                Section::new("tool", Some(*seq), fenced(&text::pretty(raw), "json"))
            }
            Item::Note { operators: true, .. } | Item::Gone => return None,
            Item::Note { seq, level, text, .. } => {
                let mark = if *level == Level::Warning { "**Note:** " } else { "" };
                Section::new("note", Some(*seq), quoted(&format!("{mark}{}", line(text))))
            }
            Item::Suggestion(item) => Section::new("note", Some(item.seq), suggestion_section(item)),
            Item::Turn { seq, result } if result.interrupted => {
                Section::new("note", Some(*seq), quoted("This turn was interrupted."))
            }
            Item::Turn { seq, result } => {
                let said = format!("**This turn ended with an error** ({})", line(&result.reason));
                let text = if result.text.is_empty() {
                    said
                } else {
                    format!("{said}\n\n{}", fenced(&result.text, ""))
                };
                Section::new("note", Some(*seq), text)
            }
        })
    }

    fn message_section(&self, item: &MessageItem) -> Section {
        let message = &item.message;
        let mut text = format!(
            "## {}, {}\n\n{}",
            line(&message.by.name),
            time::readable(item.at),
            markdown::portable(&message.text, true)
        );
        for file in &message.files {
            let _ = write!(text, "\n\n- file: {}", code(file));
        }
        Section::new("message", Some(item.seq), text)
    }

    fn ending(&self, execution: &Execution) -> Vec<Section> {
        let mut sections = Vec::new();
        let (files, omitted) = self.files();
        if !files.is_empty() {
            let mut text = String::from("## Files\n");
            for file in files {
                let _ = write!(text, "\n- {} ({})", code(&file.path), crate::panel::parts::size(file.size));
            }
            if omitted > 0 {
                let _ = write!(text, "\n- and {omitted} more");
            }
            sections.push(Section::new("files", None, text));
        }
        let when = execution.ended_at.map(|at| format!(", {}", time::readable(at))).unwrap_or_default();
        let text = match &execution.outcome {
            None => return sections,
            Some(Outcome::Finished { result, structured }) => {
                let mut text = format!("## Finished{when}");
                if structured.is_none() && result != self.last_words() {
                    let _ = write!(text, "\n\n{}", markdown::portable(result, false));
                }
                if let Some(structured) = structured {
                    let _ = write!(text, "\n\n{}", fenced(&text::pretty(structured), "json"));
                }
                text
            }
            Some(Outcome::Failed { error }) => {
                format!(
                    "## Failed{when}: {}\n\n{}\n\n{}",
                    line(&error.title),
                    fenced(&error.detail, ""),
                    markdown::portable(&error.hint, false)
                )
            }
            Some(Outcome::Cancelled { by }) => format!("## Cancelled{when}\n\nby {}", line(&by.name)),
        };
        sections.push(Section::new("outcome", None, text));
        sections
    }
}

fn agent_of(execution: &Execution) -> String {
    let title = &execution.definition.title;
    if title.is_empty() { execution.agent.clone() } else { title.clone() }
}

fn tool_section(tool: &ToolItem) -> String {
    let state = match &tool.result {
        Some(result) if result.is_error => "failed",
        Some(_) => "done",
        None if tool.ended => "did not run",
        None => "under way",
    };
    let mark = if tool.parent.is_some() { "↳ " } else { "" };
    let mut text = format!(
        "### {mark}{}: {state}\n\n{}",
        line(&subject::name(&tool.name)),
        arguments(&tool.name, &tool.input)
    );
    for entry in &tool.holds {
        let _ = write!(text, "\n\n{}", quoted(&hold_words(entry)));
    }
    if let Some(result) = &tool.result {
        let _ = write!(text, "\n\n{}", output(result));
    }
    text
}

fn arguments(tool: &str, input: &Value) -> String {
    let text = |key: &str| input.get(key).and_then(Value::as_str);
    let shown = match (tool, text("command"), text("file_path"), text("content"), text("plan")) {
        ("Bash", Some(command), ..) => Some((fenced(command, "sh"), ["command", "command"])),
        ("Write", _, Some(path), Some(content), _) => {
            Some((format!("{}\n\n{}", code(path), fenced(content, "")), ["file_path", "content"]))
        }
        ("ExitPlanMode", .., Some(plan)) => {
            Some((quoted(&markdown::portable(plan, false)), ["plan", "plan"]))
        }
        _ => None,
    };
    let Some((shown, known)) = shown else { return fenced(&text::pretty(input), "json") };
    let rest: serde_json::Map<String, Value> = input
        .as_object()
        .map(|map| {
            map.iter()
                .filter(|(key, _)| !known.contains(&key.as_str()))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect()
        })
        .unwrap_or_default();
    if rest.is_empty() {
        shown
    } else {
        format!("{shown}\n\n{}", fenced(&text::pretty(&Value::Object(rest)), "json"))
    }
}

fn output(result: &ToolResult) -> String {
    let mut text = if result.content.trim().is_empty() {
        "*No output.*".to_owned()
    } else {
        fenced(&result.content, "")
    };
    if result.truncated {
        text.push_str("\n\n*Cut: the agent read all of it.*");
    }
    text
}

/// A package that was missing, and which file asks for it.
fn suggestion_section(item: &SuggestionItem) -> String {
    let suggestion = &item.suggestion;
    let of = item.project.as_ref().map(|project| format!(", {}", code(project))).unwrap_or_default();
    quoted(&format!(
        "**A package was missing:** {} ({})\n\n- What it is for: {}\n- How the agent did without it: {}\n\nTo have it, add it \
         to {} in the project’s configuration repository{of}, and deploy.",
        code(&suggestion.name),
        suggestion.kind.title(),
        line(&suggestion.purpose),
        line(&suggestion.workaround),
        code(suggestion.kind.file()),
    ))
}

/// Who decided what, in a line, and what they said.
fn hold_words(entry: &HoldEntry) -> String {
    let Some(decision) = entry.hold.state.decision().or(entry.decision.as_ref()) else {
        return match &entry.hold.state {
            HoldState::Open => "**Waits for a person.**".into(),
            HoldState::Expired { .. } => "**Expired** before anybody answered.".into(),
            HoldState::Cancelled { reason } => format!("**Not needed any more**: {}", line(reason)),
            other => format!("**{}**", other.as_str()),
        };
    };
    let (word, said) = match &decision.answer {
        Answer::Allow { input: None } => ("Allowed", String::new()),
        Answer::Allow { input: Some(input) } => {
            ("Allowed with changes", fenced(&text::pretty(input), "json"))
        }
        Answer::Deny { message } => ("Denied", markdown::portable(message, true)),
        Answer::Reply { text, .. } => ("Replied", markdown::portable(text, true)),
        Answer::Answers { answers, notes } => {
            let mut said = String::new();
            for (question, answer) in answers {
                let _ = write!(said, "\n- {}: **{}**", line(question), line(answer));
                if let Some(note) = notes.get(question) {
                    let _ = write!(said, " ({})", line(note));
                }
            }
            ("Answered", said)
        }
    };
    let words = format!("**{word}** {}, {}", by(decision), time::readable(decision.at));
    if said.is_empty() { words } else { format!("{words}\n\n{}", said.trim_start()) }
}

fn by(decision: &Decision) -> String {
    match (decision.by.channel, decision.by.name.as_str()) {
        (Channel::System, "grant") => "by a rule allowed in this conversation".into(),
        (Channel::System, "policy") => "by the agent’s policy".into(),
        (_, name) => format!("by {}", line(name)),
    }
}

/// A text of others on a line of ours, where none of it means anything.
fn line(text: &str) -> String {
    let text: Vec<&str> = text.split_whitespace().collect();
    let mut safe = String::new();
    for c in text.join(" ").chars() {
        if c.is_ascii_punctuation()
            && !matches!(
                c,
                '.' | ',' | ':' | ';' | '?' | '!' | '-' | '/' | '(' | ')' | '\'' | '"' | '%' | '=' | '+'
            )
        {
            safe.push('\\');
        }
        safe.push(c);
    }
    safe
}

/// A short text as code on a line.
fn code(text: &str) -> String {
    let text = text.replace(['\n', '\r'], " ");
    let fence = "`".repeat(markdown::longest_run(&text, '`') + 1);
    // One that begins or ends with a mark of its own needs room.
    let room = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{room}{text}{room}{fence}")
}

fn quoted(text: &str) -> String {
    text.lines()
        .map(|line| if line.is_empty() { ">".to_owned() } else { format!("> {line}") })
        .collect::<Vec<_>>()
        .join("\n")
}

/// What a subagent says stands apart.
fn below(parent: Option<&str>, text: String) -> String {
    if parent.is_some() { quoted(&format!("↳ {text}")) } else { text }
}
