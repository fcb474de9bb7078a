//! Following a conversation, and on a terminal answering what it asks, in one place.

use holdpoint_model::Seq;
use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::{
    cli::{Context, edit},
    client::{
        ErrorKind,
        feed::{self, Item},
        ids::short,
    },
    dialogue::{Dialogue, Step},
    failure::{Exit, Failure},
    render::{
        events::{Outcome, Transcript},
        paint::Paint,
    },
    term::{self, Lines},
};

/// Follows `execution` from after `after` to its end. `said` is what this terminal has just sent.
///
/// # Errors
/// When it cannot be followed, or ends badly.
pub(super) async fn run(
    context: &Context,
    execution: &str,
    after: Seq,
    said: Option<String>,
) -> anyhow::Result<()> {
    let interactive = context.term.is_interactive() && !context.json;
    let show_writing = context.term.has_screen && !context.json;
    let connect = {
        let context = context.clone();
        move || context.api()
    };
    let items = feed::follow(connect, execution.to_owned(), after, show_writing);
    if context.json {
        return as_json(items, execution).await;
    }
    let mut transcript = Transcript::new(execution, Paint(context.term.color), !interactive);
    if let Some(said) = &said {
        transcript.said_here(said);
    }
    let mut following = Following {
        context,
        execution,
        transcript,
        dialogue: None,
        left: Vec::new(),
        lines: interactive.then(Lines::start),
    };
    if interactive {
        term::line(&following.transcript.dim(HOW_TO_TYPE))?;
    }
    following.run(items).await
}

/// What can be typed while nothing is asked.
const HOW_TO_TYPE: &str = "(a line you type is a message for after the present turn; with ! before it, \
                           for now · Ctrl-C leaves)";

async fn as_json(mut items: mpsc::Receiver<Item>, execution: &str) -> anyhow::Result<()> {
    // For the outcome alone.
    let mut transcript = Transcript::new(execution, Paint(false), false);
    while let Some(item) = items.recv().await {
        match item {
            Item::Event(event) => {
                transcript.event(&event);
                term::json(&event.raw)?;
            }
            Item::Failed(error) => return Err(error.into()),
            Item::Delta(_) | Item::Reconnecting | Item::Reconnected => {}
            Item::End => break,
        }
    }
    ended(transcript.outcome(), execution)
}

struct Following<'a> {
    context: &'a Context,
    execution: &'a str,
    transcript: Transcript,
    /// What the person is being asked right now.
    dialogue: Option<Dialogue>,
    /// Holds that the person left for later.
    left: Vec<String>,
    /// What the person types, where one can.
    lines: Option<Lines>,
}

/// What happened first.
enum Next {
    Item(Option<Item>),
    Line(Option<String>),
    Interrupted,
}

impl Following<'_> {
    async fn run(&mut self, mut items: mpsc::Receiver<Item>) -> anyhow::Result<()> {
        let mut interrupts = signal(SignalKind::interrupt())?;
        loop {
            let next = tokio::select! {
                // What happened comes before what is typed, so that nobody answers what is over.
                biased;
                item = items.recv() => Next::Item(item),
                line = next_line(&mut self.lines) => Next::Line(line),
                _ = interrupts.recv() => Next::Interrupted,
            };
            match next {
                Next::Item(None | Some(Item::End)) => return self.ended(),
                Next::Item(Some(item)) => self.item(item, items.is_empty())?,
                Next::Line(Some(line)) => self.line(&line).await?,
                Next::Line(None) => self.lines = None,
                Next::Interrupted if self.context.own_server => {
                    return Ok(term::line(&format!("{}\nIt ends here.", self.transcript.break_line()))?);
                }
                Next::Interrupted => {
                    term::line(&format!("{}\nIt goes on without you.", self.transcript.break_line()))?;
                    term::line(&format!("→ holdpoint logs {} --follow", short(self.execution)))?;
                    return Ok(());
                }
            }
        }
    }

    fn item(&mut self, item: Item, caught_up: bool) -> anyhow::Result<()> {
        match item {
            Item::Event(event) => {
                let text = self.transcript.event(&event);
                if !text.is_empty() {
                    // What the person was asked stands on a line that is not finished.
                    let gap = if self.dialogue.is_some() { "\n" } else { "" };
                    term::print(&format!("{gap}{text}"))?;
                }
                let answered = self.dialogue.as_ref().is_some_and(|d| !self.transcript.is_open(&d.hold().id));
                if answered {
                    self.dialogue = None;
                } else if !text.is_empty()
                    && let Some(dialogue) = &self.dialogue
                {
                    term::print(&dialogue.prompt())?;
                }
            }
            Item::Delta(delta) if self.dialogue.is_none() => term::print(&self.transcript.delta(&delta))?,
            Item::Delta(_) => {}
            Item::Reconnecting => eprintln!("{}reconnecting…", self.transcript.break_line()),
            Item::Reconnected => eprintln!("connected again"),
            Item::Failed(error) => return Err(error.into()),
            Item::End => {}
        }
        // While the past is being shown, what it asked may have been answered since.
        if caught_up {
            self.ask_next()?;
        }
        Ok(())
    }

    /// Asks the person for what waits, the oldest first.
    fn ask_next(&mut self) -> anyhow::Result<()> {
        if self.lines.is_none() || self.dialogue.is_some() {
            return Ok(());
        }
        let next = self.transcript.open().find(|hold| !self.left.contains(&hold.id)).cloned();
        if let Some(hold) = next {
            let dialogue = Dialogue::new(hold);
            term::print(&format!("{}{}", self.transcript.break_line(), dialogue.prompt()))?;
            self.dialogue = Some(dialogue);
        }
        Ok(())
    }

    async fn line(&mut self, line: &str) -> anyhow::Result<()> {
        let Some(dialogue) = &mut self.dialogue else { return self.unasked(line).await };
        let mut step = dialogue.line(line);
        if let Step::Edit(text) = &step {
            let suffix =
                if dialogue.hold().kind == Some(holdpoint_model::HoldKind::Plan) { ".md" } else { ".json" };
            step = match edit::text(&self.context.environment, text, suffix).await {
                Ok(text) => dialogue.edited(&text),
                Err(failure) => Step::Ask(format!("{failure}\n{}", dialogue.prompt())),
            };
        }
        match step {
            Step::Ask(prompt) => term::print(&prompt)?,
            Step::Edit(_) => {}
            Step::Leave => {
                self.left.extend(self.dialogue.take().map(|dialogue| dialogue.hold().id.clone()));
                term::line(
                    "(left for later: Enter asks again; anything else is a message, ! before it sends it now)",
                )?;
                self.ask_next()?;
            }
            Step::Finish => {
                self.dialogue = None;
                let path = format!("/v1/executions/{}/finish", self.execution);
                self.send(&path, &json!({}), None).await?;
            }
            Step::Send(decision) => {
                let Some(dialogue) = self.dialogue.take() else { return Ok(()) };
                let id = dialogue.hold().id.clone();
                let said = decision["action"] == "reply";
                let said = said.then(|| decision["message"].as_str().unwrap_or_default().to_owned());
                // Not asked again, whatever comes of it: the log says whether it was taken.
                self.left.push(id.clone());
                self.send(&format!("/v1/holds/{id}/decision"), &decision, said).await?;
            }
        }
        Ok(())
    }

    /// Typed without having been asked: a message, or nothing.
    async fn unasked(&mut self, line: &str) -> anyhow::Result<()> {
        let (text, mode) = message(line);
        if text.is_empty() {
            // Asks again for what was left.
            self.left.clear();
            return self.ask_next();
        }
        let path = format!("/v1/executions/{}/messages", self.execution);
        self.send(&path, &json!({"text": text, "mode": mode}), Some(text.to_owned())).await
    }

    /// What is refused is told and the conversation goes on; so does it while the control plane is away.
    async fn send(&mut self, path: &str, body: &Value, said: Option<String>) -> anyhow::Result<()> {
        let result = match self.context.api() {
            Ok(api) => api.post(path, body).await.map_err(|error| (error.kind, error.failure)),
            Err(failure) => Err((ErrorKind::Unreachable, failure)),
        };
        match result {
            Ok(_) => {
                if let Some(said) = said {
                    self.transcript.said_here(&said);
                }
            }
            Err((kind, failure)) => {
                eprintln!("{failure}");
                if kind.is_passing() {
                    // It was not taken: ask again once it is back.
                    self.left.clear();
                }
            }
        }
        Ok(())
    }

    fn ended(&mut self) -> anyhow::Result<()> {
        term::print(self.transcript.break_line())?;
        ended(self.transcript.outcome(), self.execution)
    }
}

/// How a conversation that was followed ended, for scripts too.
fn ended(outcome: Option<Outcome>, execution: &str) -> anyhow::Result<()> {
    match outcome {
        None | Some(Outcome::Finished) => Ok(()),
        Some(Outcome::Failed) => Err(Failure::new("the conversation ended in an error")
            .exit(Exit::Ended)
            .next(format!("holdpoint logs {} --worker", short(execution)))
            .into()),
        Some(Outcome::Cancelled) => {
            Err(Failure::new("the conversation was cancelled").exit(Exit::Ended).into())
        }
    }
}

/// A line that was typed unasked: what to say, and when. With `!` before it, between two steps of the
/// present turn rather than after it.
fn message(line: &str) -> (&str, &'static str) {
    match line.trim().strip_prefix('!') {
        Some(text) => (text.trim_start(), "steer"),
        None => (line.trim(), "queue"),
    }
}

/// The next line; never, where nobody types.
async fn next_line(lines: &mut Option<Lines>) -> Option<String> {
    match lines {
        Some(lines) => lines.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::types::LogEvent;

    #[test]
    fn a_message_waits_for_the_turn_unless_it_begins_with_a_mark() {
        assert_eq!(message(" and then? "), ("and then?", "queue"));
        assert_eq!(message("! not that one"), ("not that one", "steer"));
        assert_eq!(message("!"), ("", "steer"));
        assert_eq!(message("wow!"), ("wow!", "queue"));
    }

    #[tokio::test]
    async fn scripts_are_told_how_it_ended() {
        let exit = async |last: Value| {
            let (sender, items) = mpsc::channel(2);
            sender.send(Item::Event(Box::new(LogEvent::new(last)))).await.expect("room");
            sender.send(Item::End).await.expect("room");
            let ended = as_json(items, "e").await;
            ended.err().and_then(|error| error.downcast_ref::<Failure>().map(|failure| failure.exit))
        };
        let by = json!({"id": uuid::Uuid::nil(), "name": "Tess", "channel": "api"});
        let error = json!({"code": "x", "title": "t", "detail": "", "hint": ""});
        let event = |kind: &str, data: Value| json!({"seq": 1, "at": 1, "kind": kind, "data": data});
        assert_eq!(exit(event("execution_failed", json!({ "error": error }))).await, Some(Exit::Ended));
        assert_eq!(exit(event("execution_cancelled", json!({ "by": by }))).await, Some(Exit::Ended));
        assert_eq!(exit(event("notice", json!({"level": "info", "text": "t"}))).await, None);
    }
}
