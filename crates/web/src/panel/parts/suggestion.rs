//! A package that the agent did without: what it is, how it managed, and which file to change to have it next time.

use maud::{Markup, html};

use super::{View, permalink, text};
use crate::panel::timeline::SuggestionItem;

/// The card, appended to the element `into`.
pub(in crate::panel) fn card(item: &SuggestionItem, into: &str, view: &View<'_>) -> Markup {
    let suggestion = &item.suggestion;
    html! {
        article.suggestion.card id={ "e-" (item.seq) } data-into=(into) data-suggestion=(suggestion.kind.file()) {
            header {
                p.eyebrow { "A package is missing" }
                p.package { strong { (text::visible(&suggestion.name)) } " " span.quiet { (suggestion.kind.title()) } }
            }
            dl {
                div { dt { "What it is for" } dd { (text::visible(&suggestion.purpose)) } }
                div { dt { "How the agent did without it" } dd { (text::visible(&suggestion.workaround)) } }
            }
            p.quiet {
                "To have it, add it to " code { (suggestion.kind.file()) } " in the project’s configuration repository"
                @if let Some(project) = &item.project { " (" code { (text::visible(project)) } ")" }
                ", then type " code { "holdpoint deploy" } "."
            }
            (permalink(view, item.seq, None))
        }
    }
}
