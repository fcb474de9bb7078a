//! The rounds as markup: all of them for a page, or the parts that changed for a live fragment.

use std::collections::BTreeSet;

use holdpoint_model::{Seq, event::Level, execution::Outcome};
use maud::{Markup, html};

use super::{Item, MessageItem, MessageState, Part, Timeline};
use crate::{
    markdown,
    panel::parts::{View, moment, permalink, suggestion, text, tool},
};

impl Timeline {
    /// The rounds, from item `first` up to the one before `end`.
    pub(in crate::panel) fn rounds(&self, first: usize, end: usize, view: &View<'_>) -> Markup {
        html! {
            @for (at, item) in self.items.iter().enumerate().take(end).skip(first) {
                // What belongs to a subagent's call is shown inside of it, if the call is on the page.
                @if self.inside_of(item).is_none_or(|parent| parent < first) { (self.item(at, item, view)) }
            }
        }
    }

    /// How many items there are.
    pub(in crate::panel) fn len(&self) -> usize {
        self.items.len()
    }

    /// The item that an event is of: the last that came with it or before.
    pub(in crate::panel) fn item_at(&self, seq: Seq) -> usize {
        self.items.iter().rposition(|item| item.seq().is_some_and(|its| its <= seq)).unwrap_or(0)
    }

    /// Whether somebody sees any of these parts.
    pub(in crate::panel) fn any_seen(&self, parts: &[Part], is_operator: bool) -> bool {
        parts.iter().any(|part| {
            let (Part::Whole(at) | Part::Head(at) | Part::Result(at) | Part::Hold(at, _)) = part;
            is_operator || !matches!(self.items.get(*at), Some(Item::Note { operators: true, .. }))
        })
    }

    /// The parts as fragments, each once, new ones in their order.
    pub(in crate::panel) fn fragments(&self, parts: &[Part], view: &View<'_>) -> Markup {
        let parts: BTreeSet<Part> = parts.iter().copied().collect();
        // A whole call brings its own line, holds and result.
        let whole: BTreeSet<usize> = parts
            .iter()
            .filter_map(|part| if let Part::Whole(at) = part { Some(*at) } else { None })
            .collect();
        html! {
            @for at in &whole { @if let Some(item) = self.items.get(*at) { (self.alone(*at, item, view)) } }
            @for part in &parts {
                @match part {
                    Part::Whole(_) => {},
                    Part::Head(at) | Part::Result(at) | Part::Hold(at, _) if whole.contains(at) => {},
                    part => (self.of_tool(*part, view)),
                }
            }
        }
    }

    fn of_tool(&self, part: Part, view: &View<'_>) -> Markup {
        let (Part::Head(at) | Part::Result(at) | Part::Hold(at, _) | Part::Whole(at)) = part;
        let Some(Item::Tool(item)) = self.items.get(at) else { return html! {} };
        match part {
            Part::Head(_) => tool::head(item),
            Part::Result(_) => tool::result(item),
            Part::Hold(_, id) => item
                .holds
                .iter()
                .find(|entry| entry.hold.id == id)
                .map(|entry| tool::tool_hold(item, entry, view))
                .unwrap_or_default(),
            Part::Whole(_) => html! {},
        }
    }

    /// Whether the end of a turn only repeats what stands on the page anyhow.
    fn says_elsewhere(&self, text: &str) -> bool {
        let failed_with = self.execution.as_ref().and_then(|execution| match &execution.outcome {
            Some(Outcome::Failed { error }) => Some(error.detail.as_str()),
            _ => None,
        });
        text == self.last_words
            || failed_with.is_some_and(|detail| !detail.is_empty() && text.starts_with(detail))
    }

    fn inside_of(&self, item: &Item) -> Option<usize> {
        self.tools.get(item.parent()?).copied()
    }

    /// Where an item is appended.
    fn into(&self, item: &Item) -> String {
        match (self.inside_of(item), item.parent()) {
            (Some(_), Some(parent)) => format!("sub-{parent}"),
            _ => "rounds".to_owned(),
        }
    }

    fn item(&self, at: usize, item: &Item, view: &View<'_>) -> Markup {
        let Item::Tool(call) = item else { return self.alone(at, item, view) };
        let children = html! {
            @for (child, inner) in self.items.iter().enumerate().skip(at + 1) {
                @if inner.parent() == Some(call.id.as_str()) { (self.item(child, inner, view)) }
            }
        };
        tool::tool(call, &self.into(item), &children, view)
    }

    /// An item without those inside of it: they come by themselves.
    fn alone(&self, _at: usize, item: &Item, view: &View<'_>) -> Markup {
        let into = self.into(item);
        match item {
            Item::Message(message) => self.message_item(message, view),
            Item::Text { seq, at, text, .. } => html! {
                article.answer id={ "e-" (seq) } data-into=(into) {
                    div.prose { (markdown::render(text)) }
                    span.unseen { (moment(*at, view.now)) }
                    (permalink(view, *seq, None))
                }
            },
            Item::Thinking { seq, text, .. } => html! {
                details.thinking id={ "e-" (seq) } data-into=(into) {
                    summary { "Thinking" }
                    div.prose { (markdown::render(text)) }
                }
            },
            Item::Tool(call) => tool::tool(call, &into, &html! {}, view),
            Item::Other { seq, raw, .. } => {
                html! { div id={ "e-" (seq) } data-into=(into) { (tool::raw(raw)) } }
            }
            Item::Note { operators: true, .. } if !view.is_operator => html! {},
            Item::Note { seq, level, text, .. } => html! {
                p.note.warn[*level == Level::Warning] id={ "e-" (seq) } data-into=(into) { (text::visible(text)) }
            },
            Item::Suggestion(item) => suggestion::card(item, &into, view),
            Item::Turn { seq, result } => html! {
                div.note.warn[!result.interrupted] id={ "e-" (seq) } data-into=(into) {
                    p {
                        @if result.interrupted { "This turn was interrupted." }
                        @else { "This turn ended with an error (" (result.reason) ")." }
                    }
                    @if !result.interrupted && !result.text.is_empty() && !self.says_elsewhere(&result.text) {
                        pre.output.error { (text::visible(&result.text)) }
                    }
                }
            },
            Item::Gone => html! {},
        }
    }

    fn message_item(&self, item: &MessageItem, view: &View<'_>) -> Markup {
        let message = &item.message;
        let (state, words) = match item.state {
            MessageState::Queued => ("queued", Some("waits to be sent")),
            MessageState::Sent => ("sent", Some("being sent")),
            MessageState::Delivered => ("delivered", None),
        };
        html! {
            article.message id={ "m-" (message.id) } data-into="rounds" data-state=(state) {
                header {
                    strong { (message.by.name) }
                    " " (moment(item.at, view.now))
                    @if let Some(words) = words { span.chip { (words) } }
                    (permalink(view, item.seq, Some("e")))
                }
                div.prose { (markdown::render_typed(&message.text)) }
                @if !message.files.is_empty() {
                    ul.files { @for file in &message.files {
                        li {
                            @if self.shows(file) { a href=(crate::file_path(view.execution, file)) download { (text::visible(file)) } }
                            @else { (text::visible(file)) }
                        }
                    } }
                }
            }
        }
    }
}
