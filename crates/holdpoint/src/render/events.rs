//! A conversation's log as people read it: what was said, done, asked and decided. How workers come
//! and go is left to `--json` and the panel, unless something was lost.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_model::{
    Answer, EventBody, HoldId, Suggestion,
    event::{AssistantBlock, Block, Created, Level, Message, Problem, TurnResult, command_line},
    hold::{Decision, Subject},
    wire::Delta,
};

use crate::{
    client::{
        ids::short,
        types::{HoldItem, LogEvent, SubjectItem},
    },
    render::{
        ALL_LINES, block, clean, holds, one_line,
        paint::Paint,
        time::{bytes, dollars},
    },
};

/// Lines of a tool's result that are shown.
const RESULT_LINES: usize = 6;

/// Lines of a text that is one of many things on the screen, and that nobody decides about.
const SOME_LINES: usize = 40;

/// The width of lines that stand for something longer.
const WIDTH: usize = 100;

/// Turns events into text, one after the other, and knows what waits.
#[derive(Debug, Default)]
pub struct Transcript {
    paint: Paint,
    /// Text that was shown while it was being written, by the block it belongs to.
    live: Option<Live>,
    /// What waits for a person now, in the order in which it came.
    open: BTreeMap<String, HoldItem>,
    /// How to answer is said where nobody is asked at once.
    says_commands: bool,
    execution: String,
    cost_micros: u64,
    own_messages: BTreeSet<String>,
    outcome: Option<Outcome>,
    /// The repository that asks for the packages of its image, where it is known.
    project: Option<String>,
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Finished,
    /// It could not go on.
    Failed,
    /// A person ended it.
    Cancelled,
}

#[derive(Debug)]
struct Live {
    attempt: String,
    index: u32,
    text: String,
}

impl Transcript {
    /// For this execution; `says_commands` where people answer with commands.
    #[must_use]
    pub fn new(execution: &str, paint: Paint, says_commands: bool) -> Self {
        Self { paint, says_commands, execution: execution.to_owned(), ..Self::default() }
    }

    /// A remark beside the story.
    #[must_use]
    pub fn dim(&self, text: &str) -> String {
        self.paint.dim(text)
    }

    /// What waits for a person, the oldest first.
    pub fn open(&self) -> impl Iterator<Item = &HoldItem> {
        self.open.values()
    }

    /// Whether this still waits for a person.
    #[must_use]
    pub fn is_open(&self, hold: &str) -> bool {
        self.open.contains_key(hold)
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Messages that this terminal sent need not be shown again.
    pub fn said_here(&mut self, text: &str) {
        self.own_messages.insert(text.trim().to_owned());
    }

    /// Ends a line that is being written, so that something else can be shown.
    pub fn break_line(&mut self) -> &'static str {
        match self.live.take() {
            Some(live) if !live.text.ends_with('\n') => "\n",
            _ => "",
        }
    }

    /// Part of what the model is writing; what to print of it.
    pub fn delta(&mut self, delta: &Delta) -> String {
        if delta.kind != "text" || delta.parent_tool_use_id.is_some() {
            return String::new();
        }
        let mut out = String::new();
        let same =
            self.live.as_ref().is_some_and(|live| live.attempt == delta.attempt && live.index == delta.index);
        if !same {
            // A new attempt begins anew: what stood there is void.
            out.push_str(self.break_line());
            out.push('\n');
            self.live =
                Some(Live { attempt: delta.attempt.clone(), index: delta.index, text: String::new() });
        }
        let text = clean(&delta.text);
        out.push_str(&text);
        if let Some(live) = &mut self.live {
            live.text.push_str(&text);
        }
        out
    }

    /// What to print of an event; empty for most of them.
    pub fn event(&mut self, event: &LogEvent) -> String {
        let Some(body) = &event.body else { return String::new() };
        if let EventBody::Assistant(AssistantBlock {
            block: Block::Text { text },
            parent_tool_use_id: None,
            ..
        }) = body
        {
            return self.said(text);
        }
        let text = self.text_of(body);
        if text.is_empty() { text } else { format!("{}{text}\n", self.break_line()) }
    }

    /// A complete text. Where its beginning was shown live, only the rest is.
    fn said(&mut self, text: &str) -> String {
        let text = clean(text);
        let text = text.trim_end();
        if let Some(live) = self.live.take() {
            if let Some(rest) = text.strip_prefix(live.text.trim_end()) {
                return format!("{rest}\n");
            }
            return format!("\n\n{text}\n");
        }
        if text.is_empty() { String::new() } else { format!("\n{text}\n") }
    }

    fn text_of(&mut self, body: &EventBody) -> String {
        let paint = self.paint;
        match body {
            EventBody::ExecutionCreated(created) => self.created(created),
            EventBody::MessageQueued(message) => self.message(message),
            EventBody::WorkerLost { problem: Some(problem), .. } => {
                let why = format!(
                    "the session could not be started, and is tried again: {}",
                    clean(&problem.title)
                );
                let next = clean(&problem.hint);
                format!("{}\n{}", paint.dim(&format!("  ({why})")), paint.dim(&format!("  → {next}")))
            }
            EventBody::WorkerLost { reason, .. } => {
                paint.dim(&format!("  (the session was lost: {}; it goes on)", one_line(reason, WIDTH)))
            }
            EventBody::Assistant(block) => said_in_passing(block, paint),
            EventBody::ToolResult(result) => {
                let mark = if result.is_error { paint.red("  ✗") } else { paint.green("  ✓") };
                let text = block(&result.content, "    ", RESULT_LINES);
                let text = if text.is_empty() { "    (nothing)".to_owned() } else { text };
                // The first line stands beside the mark.
                format!("{mark}{}", paint.dim(text.get(3..).unwrap_or(&text)))
            }
            EventBody::HoldOpened { hold, hold_kind, subject, expires_at, .. } => {
                let item = HoldItem {
                    id: hold.to_string(),
                    execution: self.execution.clone(),
                    kind: Some(*hold_kind),
                    state: "open".into(),
                    expires_at: *expires_at,
                    subject: subject_item(subject),
                    ..HoldItem::default()
                };
                self.opened(item)
            }
            EventBody::HoldAssigned { to, by, .. } => {
                let whose = to.as_ref().map_or_else(|| "nobody's".into(), |to| one_line(&to.name, 60));
                paint.dim(&format!("  ({}: this is {whose} to answer)", one_line(&by.name, 60)))
            }
            EventBody::HoldAnswered { hold, decision } => {
                let was = self.closed(hold);
                decided(decision, was.as_ref(), paint)
            }
            EventBody::HoldExpired { hold } => {
                self.closed(hold);
                paint.red("  ✗ nobody answered in time: it was refused")
            }
            EventBody::HoldCancelled { hold, reason } => match self.closed(hold) {
                Some(_) => paint.dim(&format!("  (not asked any more: {})", one_line(reason, WIDTH))),
                None => String::new(),
            },
            EventBody::HoldSuperseded { hold, .. } => match self.closed(hold) {
                Some(_) => paint.dim("  (not asked any more: it asks for something else)"),
                None => String::new(),
            },
            EventBody::HoldIndeterminate { reason, .. } => {
                paint.red(&format!("  ! nobody knows whether this ran: {}", one_line(reason, WIDTH)))
            }
            EventBody::ModelCall(call) => {
                self.cost_micros += call.cost_micros;
                String::new()
            }
            EventBody::ApiRetry { attempt, max_retries, error, .. } => {
                paint.dim(&format!("  (the model call failed: {error}; attempt {attempt} of {max_retries})"))
            }
            EventBody::TurnEnded(result) => turn_ended(result, paint),
            EventBody::FilesCollected { files, omitted } if !files.is_empty() => {
                let mut lines: Vec<String> =
                    files.iter().map(|file| format!("{} ({})", file.path, bytes(file.size))).collect();
                if *omitted > 0 {
                    lines.push(format!("… and {omitted} more"));
                }
                paint.dim(&format!("  files:\n{}", block(&lines.join("\n"), "    ", SOME_LINES)))
            }
            EventBody::CommandRun { by, command, .. } => paint.dim(&format!(
                "  ({} ran beside the session: {})",
                one_line(&by.name, 60),
                one_line(&command_line(command), WIDTH)
            )),
            EventBody::DependencySuggested(suggestion) => self.suggested(suggestion),
            EventBody::ReleaseChanged { release, by, .. } => {
                self.project.clone_from(&release.project);
                let name = one_line(&by.name, 60);
                paint.dim(&format!("  ({name} moved this conversation to release {})", release.number))
            }
            EventBody::InterruptRequested { by } => {
                paint.dim(&format!("  (interrupted by {})", one_line(&by.name, 60)))
            }
            EventBody::FinishRequested { by } => {
                paint.dim(&format!("  ({} says that this is done)", one_line(&by.name, 60)))
            }
            EventBody::BudgetWarning(used) => paint.red(&block(&format!("! {used}"), "  ", SOME_LINES)),
            EventBody::Notice { level, text } => match level {
                Level::Info => paint.dim(&block(&format!("({text})"), "  ", SOME_LINES)),
                Level::Warning => paint.red(&block(&format!("! {text}"), "  ", SOME_LINES)),
            },
            EventBody::ExecutionFinished { .. } => self.finished(),
            EventBody::ExecutionFailed { error } => self.failed(error),
            EventBody::ExecutionCancelled { by } => {
                self.outcome = Some(Outcome::Cancelled);
                format!("\n{}", paint.red(&format!("✗ cancelled by {}", one_line(&by.name, 60))))
            }
            _ => String::new(),
        }
    }

    /// A package that was missing: how the agent managed, and which file to change.
    fn suggested(&self, suggestion: &Suggestion) -> String {
        let paint = self.paint;
        let what = format!("! {} is missing ({})", suggestion.name, suggestion.kind.title());
        let why = format!("for: {}\ninstead: {}", suggestion.purpose, suggestion.workaround);
        let of = self.project.as_ref().map(|project| format!(" ({project})")).unwrap_or_default();
        let next = format!(
            "to have it, add it to {} in the project's configuration repository{of}, then: holdpoint deploy",
            suggestion.kind.file()
        );
        format!(
            "{}\n{}\n{}",
            paint.yellow(&block(&one_line(&what, WIDTH), "  ", 1)),
            paint.dim(&block(&why, "    ", SOME_LINES)),
            paint.dim(&block(&next, "  → ", SOME_LINES))
        )
    }

    fn created(&mut self, created: &Created) -> String {
        self.project = created.release.as_ref().and_then(|release| release.project.clone());
        let rehearsal = if created.rehearsal { ", rehearsal" } else { "" };
        format!(
            "{}  {}",
            self.paint.bold(&one_line(&created.title, WIDTH)),
            self.paint.dim(&format!("{} {}{rehearsal}", created.agent, short(&self.execution)))
        )
    }

    fn message(&mut self, message: &Message) -> String {
        if self.own_messages.remove(message.text.trim()) {
            return String::new();
        }
        let who = one_line(&message.by.name, 60);
        let mut out =
            format!("\n{}\n{}", self.paint.bold(&format!("{who}:")), block(&message.text, "  ", 200));
        if !message.files.is_empty() {
            out.push_str(&format!("\n  [{}]", one_line(&message.files.join(", "), WIDTH)));
        }
        out
    }

    fn opened(&mut self, item: HoldItem) -> String {
        let mut out = format!("\n{}", holds::hold(&item, self.paint));
        if self.says_commands {
            let commands = holds::commands(&item);
            out.push_str(&format!("\n{}", self.paint.dim(&block(&commands.join("\n"), "  → ", ALL_LINES))));
        }
        self.open.insert(item.id.clone(), item);
        out
    }

    fn closed(&mut self, hold: &HoldId) -> Option<HoldItem> {
        self.open.remove(&hold.to_string())
    }

    fn finished(&mut self) -> String {
        self.outcome = Some(Outcome::Finished);
        let cost =
            if self.cost_micros > 0 { format!(" · {}", dollars(self.cost_micros)) } else { String::new() };
        format!("\n{}{}", self.paint.green("✓ finished"), self.paint.dim(&cost))
    }

    fn failed(&mut self, error: &Problem) -> String {
        self.outcome = Some(Outcome::Failed);
        let mut out = format!("\n{}", self.paint.red(&format!("✗ {}", one_line(&error.title, WIDTH))));
        for (mark, text) in [("  ", &error.detail), ("→ ", &error.hint)] {
            if !text.is_empty() {
                out.push_str(&format!("\n{}", block(text, mark, SOME_LINES)));
            }
        }
        out
    }
}

fn subject_item(subject: &Subject) -> SubjectItem {
    SubjectItem {
        tool: subject.tool.clone(),
        input: subject.input.clone(),
        digest: subject.digest.to_string(),
        description: subject.description.clone(),
        grant: subject.grant.as_ref().map(ToString::to_string),
        caution: subject.caution.clone(),
    }
}

fn said_in_passing(said: &AssistantBlock, paint: Paint) -> String {
    let indent = if said.parent_tool_use_id.is_some() { "    " } else { "  " };
    match &said.block {
        Block::Text { text } => paint.dim(&block(text, indent, RESULT_LINES)),
        Block::Thinking { .. } | Block::Other { .. } => String::new(),
        Block::ToolUse { name, .. } if matches!(name.as_str(), "AskUserQuestion" | "ExitPlanMode") => {
            String::new()
        }
        Block::ToolUse { name, input, .. } => {
            format!("{indent}▸ {}", holds::tool_line(name, input, WIDTH))
        }
    }
}

fn decided(decision: &Decision, hold: Option<&HoldItem>, paint: Paint) -> String {
    let by = one_line(&decision.by.name, 60);
    match &decision.answer {
        // The message itself follows as an event of its own.
        Answer::Reply { .. } => String::new(),
        Answer::Allow { input } => {
            let edited = if input.is_some() { ", edited" } else { "" };
            let scope = if decision.grant.is_some() { ", for this conversation" } else { "" };
            paint.green(&format!("  ✓ allowed by {by}{edited}{scope}"))
        }
        Answer::Deny { message } => {
            format!("{}\n{}", paint.red(&format!("  ✗ denied by {by}")), block(message, "    ", SOME_LINES))
        }
        Answer::Answers { answers, .. } => {
            let only = hold.is_some_and(|hold| hold.questions().len() == 1);
            let lines: Vec<String> = answers
                .iter()
                .map(|(question, answer)| match only {
                    true => one_line(answer, WIDTH),
                    false => format!("{}: {}", one_line(question, 60), one_line(answer, WIDTH)),
                })
                .collect();
            format!(
                "{}\n{}",
                paint.green(&format!("  ✓ answered by {by}")),
                block(&lines.join("\n"), "    ", 60)
            )
        }
    }
}

fn turn_ended(result: &TurnResult, paint: Paint) -> String {
    if result.ok || result.interrupted {
        return String::new();
    }
    paint.red(&block(
        &format!("! the turn ended early ({}): {}", result.reason, result.text),
        "  ",
        SOME_LINES,
    ))
}
