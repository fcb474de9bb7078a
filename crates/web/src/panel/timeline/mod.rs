//! The rounds of a conversation: the log folded into what a page shows, event by event, saying
//! which parts each event touched.

mod items;
mod show;
mod transcript;

use std::collections::HashMap;

use holdpoint_model::{
    Event, EventBody, Execution, HoldId, MessageId, Seq, Status, UnixMs,
    event::{AssistantBlock, Block, Level, ResultFile, command_line},
};

use crate::files::may_show;

pub(super) use items::{HoldEntry, Item, MessageItem, MessageState, SuggestionItem, ToolItem};
pub(super) use transcript::Section;

/// A part of the rounds that an event touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Part {
    /// A new one, or one that changed as a whole.
    Whole(usize),
    /// The line of a tool call.
    Head(usize),
    /// The result of a tool call.
    Result(usize),
    /// One hold about a tool call.
    Hold(usize, HoldId),
}

/// A conversation as a page shows it.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    execution: Option<Execution>,
    items: Vec<Item>,
    tools: HashMap<String, usize>,
    messages: HashMap<MessageId, usize>,
    holds: HashMap<HoldId, usize>,
    /// Time that went by with a hold open, without the present one.
    waited_ms: i64,
    waiting_since: Option<UnixMs>,
    files: Vec<ResultFile>,
    omitted: u64,
    /// The CLI tries a model call again: which try, of how many, why.
    retry: Option<(u32, u32, String)>,
    /// What the agent said last, in the main line.
    last_words: String,
    /// What a screen reader should say about the last events.
    news: Option<String>,
}

impl Timeline {
    /// The execution as it is after the last event.
    pub(super) fn execution(&self) -> Option<&Execution> {
        self.execution.as_ref()
    }

    /// Result files, and how many more there are.
    pub(super) fn files(&self) -> (&[ResultFile], u64) {
        (&self.files, self.omitted)
    }

    /// Whether people get this file of the workspace.
    fn shows(&self, path: &str) -> bool {
        self.execution.as_ref().is_some_and(|execution| may_show(&execution.definition, path))
    }

    pub(super) fn last_words(&self) -> &str {
        &self.last_words
    }

    /// Since when it waits for people.
    pub(super) fn waiting_since(&self) -> Option<UnixMs> {
        self.waiting_since
    }

    /// How long it has waited for people in all.
    pub(super) fn waited_ms(&self, now: UnixMs) -> i64 {
        self.waited_ms + self.waiting_since.map_or(0, |since| (now - since).max(0))
    }

    /// What somebody who does not look should hear, once.
    pub(super) fn take_news(&mut self) -> Option<String> {
        self.news.take()
    }

    /// What is going on, in a line; nothing where a person is awaited or it is over.
    pub(super) fn activity(&self, execution: &Execution) -> Option<String> {
        if execution.status.is_final() {
            return None;
        }
        if let Some((attempt, of, error)) = &self.retry {
            return Some(format!("The model’s API failed ({error}); trying again, {attempt} of {of}"));
        }
        if execution.interrupt {
            return Some("Stopping".into());
        }
        match execution.status {
            Status::Starting => Some("Starting".into()),
            Status::Running if execution.turn.is_some() => Some("Working".into()),
            Status::Running => Some("Getting ready".into()),
            _ => None,
        }
    }

    /// Takes the next event in; the parts it touched.
    ///
    /// # Errors
    /// When the log is not one.
    pub(super) fn apply(&mut self, event: &Event) -> Result<Vec<Part>, String> {
        let Some(execution) = self.execution.as_mut() else {
            let mut parts = Vec::new();
            self.execution = Some(Execution::from_first(event)?);
            self.note(event, &mut parts);
            return Ok(parts);
        };
        let hold_after = execution.hold_after(&event.body);
        execution.evolve(event);
        let awaiting = execution.status == Status::Awaiting;
        match (awaiting, self.waiting_since) {
            (true, None) => self.waiting_since = Some(event.at),
            (false, Some(since)) => {
                self.waited_ms += event.at - since;
                self.waiting_since = None;
            }
            _ => {}
        }
        let mut parts = Vec::new();
        if let Some((id, state)) = hold_after
            && let Some(&at) = self.holds.get(&id)
            && let Some(Item::Tool(tool)) = self.items.get_mut(at)
            && let Some(entry) = tool.holds.iter_mut().find(|entry| entry.hold.id == id)
            && (entry.hold.state != state || matches!(event.body, EventBody::HoldAssigned { .. }))
        {
            if let EventBody::HoldAssigned { to, .. } = &event.body {
                entry.hold.assigned.clone_from(to);
            }
            if let Some(decision) = state.decision() {
                entry.decision = Some(decision.clone());
            }
            entry.hold.state = state;
            parts.extend([Part::Hold(at, id), Part::Head(at)]);
        }
        self.note(event, &mut parts);
        Ok(parts)
    }

    fn push(&mut self, item: Item, parts: &mut Vec<Part>) -> usize {
        self.items.push(item);
        let at = self.items.len() - 1;
        parts.push(Part::Whole(at));
        at
    }

    fn note(&mut self, event: &Event, parts: &mut Vec<Part>) {
        if !matches!(event.body, EventBody::ApiRetry { .. }) {
            self.retry = None;
        }
        match &event.body {
            EventBody::MessageQueued(message) => {
                let item = Item::Message(MessageItem {
                    seq: event.seq,
                    message: message.clone(),
                    at: event.at,
                    state: MessageState::Queued,
                });
                let at = self.push(item, parts);
                self.messages.insert(message.id, at);
            }
            EventBody::MessageIntent { message, .. } => self.message(*message, MessageState::Sent, parts),
            EventBody::MessageDelivered { message } => self.message(*message, MessageState::Delivered, parts),
            EventBody::MessageRequeued { message } => self.message(*message, MessageState::Queued, parts),
            EventBody::Assistant(block) => self.block(event, block, parts),
            EventBody::ToolResult(result) => {
                let known = self.tools.get(&result.tool_use_id).copied();
                if let Some(at) = known
                    && let Some(Item::Tool(tool)) = self.items.get_mut(at)
                {
                    tool.result = Some(result.clone());
                    parts.extend([Part::Head(at), Part::Result(at)]);
                }
            }
            EventBody::HoldOpened { hold, subject, .. } => self.opened(event.seq, *hold, subject, parts),
            EventBody::TurnEnded(result) => {
                self.stop_tools(parts);
                if !result.ok || result.interrupted {
                    self.push(Item::Turn { seq: event.seq, result: result.clone() }, parts);
                }
            }
            EventBody::FilesCollected { files, omitted } => {
                self.files = files.iter().filter(|file| self.shows(&file.path)).cloned().collect();
                self.omitted = *omitted;
            }
            EventBody::ApiRetry { attempt, max_retries, status, error, .. } => {
                let error = status.map_or_else(|| error.clone(), |status| format!("{status} {error}"));
                self.retry = Some((*attempt, *max_retries, error));
            }
            EventBody::WorkerLost { incarnation, problem: Some(problem), .. } => self.say(
                event,
                Level::Warning,
                format!(
                    "Worker {incarnation} could not be started: {}. Try: {}",
                    problem.title, problem.hint
                ),
                // Everybody sees the newest as long as it is so.
                true,
                parts,
            ),
            EventBody::WorkerLost { incarnation, reason, problem: None } => self.say(
                event,
                Level::Warning,
                format!("Worker {incarnation} was lost ({reason}). Another one goes on from where it was."),
                false,
                parts,
            ),
            EventBody::WorkerStarting { incarnation, engine, reason } => self.say(
                event,
                Level::Info,
                format!("Worker {incarnation} is being started ({engine}): {reason}."),
                true,
                parts,
            ),
            EventBody::WorkerStopped { incarnation, parked: true } => self.say(
                event,
                Level::Info,
                format!("Worker {incarnation} has ended: nothing runs while people are awaited."),
                true,
                parts,
            ),
            EventBody::Notice { level, text } => {
                self.say(event, *level, text.clone(), *level == Level::Info, parts);
            }
            EventBody::BudgetWarning(used) => self.say(event, Level::Warning, used.to_string(), false, parts),
            EventBody::CommandRun { by, command, .. } => {
                let text = format!("{} ran a command beside the session: {}", by.name, command_line(command));
                self.say(event, Level::Info, text, false, parts);
            }
            EventBody::DependencySuggested(suggestion) => {
                let release = self.execution.as_ref().and_then(|execution| execution.release.as_ref());
                let project = release.and_then(|release| release.project.clone());
                let (seq, suggestion) = (event.seq, suggestion.clone());
                self.push(Item::Suggestion(SuggestionItem { seq, suggestion, project }), parts);
            }
            EventBody::ReleaseChanged { release, by, .. } => {
                let text = format!("{} moved this conversation to release {}.", by.name, release.number);
                self.say(event, Level::Info, text, false, parts);
            }
            EventBody::InterruptRequested { by } => {
                self.say(event, Level::Info, format!("{} interrupted the agent.", by.name), false, parts);
            }
            EventBody::FinishRequested { by } => {
                let text = format!("{} asked to finish after this turn.", by.name);
                self.say(event, Level::Info, text, false, parts);
            }
            EventBody::ExecutionFinished { .. } => self.over("The conversation has finished", parts),
            EventBody::ExecutionFailed { error } => self.over(&format!("Failed: {}", error.title), parts),
            EventBody::ExecutionCancelled { .. } => self.over("The conversation was cancelled", parts),
            _ => {}
        }
    }

    fn over(&mut self, news: &str, parts: &mut Vec<Part>) {
        self.stop_tools(parts);
        self.news = Some(news.to_owned());
    }

    /// Calls that have no result will get none any more.
    fn stop_tools(&mut self, parts: &mut Vec<Part>) {
        let background = self
            .execution
            .as_ref()
            .is_some_and(|execution| !execution.status.is_final() && execution.background > 0);
        if background {
            return;
        }
        for (at, item) in self.items.iter_mut().enumerate() {
            if let Item::Tool(tool) = item
                && tool.result.is_none()
                && !tool.ended
            {
                tool.ended = true;
                parts.push(Part::Head(at));
            }
        }
    }

    fn say(&mut self, event: &Event, level: Level, text: String, operators: bool, parts: &mut Vec<Part>) {
        self.push(Item::Note { seq: event.seq, level, text, operators }, parts);
    }

    fn message(&mut self, id: MessageId, state: MessageState, parts: &mut Vec<Part>) {
        if let Some(&at) = self.messages.get(&id)
            && let Some(Item::Message(message)) = self.items.get_mut(at)
        {
            message.state = state;
            parts.push(Part::Whole(at));
        }
    }

    fn block(&mut self, event: &Event, block: &AssistantBlock, parts: &mut Vec<Part>) {
        let parent = block.parent_tool_use_id.clone();
        let (seq, at) = (event.seq, event.at);
        match &block.block {
            Block::Text { text } if text.trim().is_empty() => {}
            Block::Text { text } => {
                if parent.is_none() {
                    self.last_words.clone_from(text);
                }
                self.push(Item::Text { seq, at, text: text.clone(), parent }, parts);
            }
            Block::Thinking { thinking } if thinking.trim().is_empty() => {}
            Block::Thinking { thinking } => {
                self.push(Item::Thinking { seq, text: thinking.clone(), parent }, parts);
            }
            Block::ToolUse { id, name, input } => {
                // A new incarnation's session tells of an interrupted turn's calls again.
                if !self.tools.contains_key(id) {
                    let item = ToolItem {
                        seq,
                        name: name.clone(),
                        input: input.clone(),
                        parent,
                        ..ToolItem::default()
                    };
                    self.tool(id, item, parts);
                }
            }
            Block::Other { raw } => {
                self.push(Item::Other { seq, raw: raw.clone(), parent }, parts);
            }
        }
    }

    fn tool(&mut self, id: &str, item: ToolItem, parts: &mut Vec<Part>) -> usize {
        let at = self.push(Item::Tool(Box::new(ToolItem { id: id.to_owned(), ..item })), parts);
        self.tools.insert(id.to_owned(), at);
        at
    }

    fn opened(
        &mut self,
        seq: Seq,
        id: HoldId,
        subject: &holdpoint_model::hold::Subject,
        parts: &mut Vec<Part>,
    ) {
        let Some(execution) = &self.execution else { return };
        let Some(hold) = execution.holds.get(&id).cloned() else { return };
        let title = execution.title.clone();
        let is_open = hold.state == holdpoint_model::HoldState::Open;
        if is_open {
            self.news = Some(match subject.tool.as_str() {
                "" => format!("Your reply is awaited: {title}"),
                tool => format!("A decision is needed, {}: {title}", super::parts::subject::name(tool)),
            });
        }
        // A reply hold is the composer's business.
        let Some(call) = &subject.tool_use_id else { return };
        let at = match self.tools.get(call) {
            Some(&at) => at,
            None => {
                let (name, input) = (subject.tool.clone(), subject.input.clone());
                self.tool(call, ToolItem { seq, name, input, ..ToolItem::default() }, parts)
            }
        };
        if let Some(Item::Tool(tool)) = self.items.get_mut(at) {
            tool.ended = false;
            tool.holds.push(HoldEntry { hold, decision: None });
            self.holds.insert(id, at);
            parts.extend([Part::Hold(at, id), Part::Head(at)]);
        }
    }

    /// Lets go of the content of everything that no later event touches, so that a stream which is
    /// open for days holds on to no more than what may still change.
    pub(super) fn forget_settled(&mut self) {
        for item in &mut self.items {
            let settled = match item {
                Item::Message(message) => message.state == MessageState::Delivered,
                Item::Tool(tool) => {
                    let over = tool.result.is_some() || tool.ended;
                    over && tool.holds.iter().all(HoldEntry::is_settled)
                }
                _ => true,
            };
            if settled {
                *item = Item::Gone;
            }
        }
    }
}

#[cfg(test)]
mod tests;
