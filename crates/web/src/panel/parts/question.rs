//! Questions with options, free text and notes; and their answers, read back from the form.

use std::collections::BTreeMap;

use holdpoint_model::{Hold, hold::Question};
use maud::{Markup, html};
use serde_json::Value;

use super::text;
use crate::panel::form::FormData;

/// The fields of a question hold; `qN` are the options, `qN-other` free text, `nN` notes.
pub(in crate::panel) fn fields(hold: &Hold) -> Markup {
    html! {
        @for (n, question) in hold.questions().iter().enumerate() { (one(n, question)) }
    }
}

fn one(n: usize, question: &Question) -> Markup {
    let kind = if question.multi_select { "checkbox" } else { "radio" };
    html! {
        fieldset.question {
            legend {
                @if !question.header.is_empty() { span.eyebrow { (question.header) } }
                (text::visible(&question.question))
            }
            @if question.multi_select { p.quiet { "Choose any number." } }
            @for choice in &question.options {
                label.option {
                    input type=(kind) name={ "q" (n) } value=(choice.label);
                    span {
                        strong { (text::visible(&choice.label)) }
                        @if !choice.description.is_empty() { small { (text::visible(&choice.description)) } }
                    }
                }
            }
            label.other {
                span { @if question.options.is_empty() { "Your answer" } @else { "Something else" } }
                input type="text" name={ "q" (n) "-other" } autocomplete="off" data-other={ "q" (n) };
            }
            details.notes {
                summary { "Add a note" }
                textarea name={ "n" (n) } rows="2" aria-label={ "A note on: " (question.question) } {}
            }
        }
    }
}

/// Question → what was chosen or written, and question → notes.
pub(in crate::panel) fn read(
    hold: &Hold,
    form: &FormData,
) -> (BTreeMap<String, Value>, BTreeMap<String, String>) {
    let mut answers = BTreeMap::new();
    let mut notes = BTreeMap::new();
    for (n, question) in hold.questions().into_iter().enumerate() {
        let key = format!("q{n}");
        let mut chosen: Vec<String> =
            form.all(&key).filter(|label| !label.is_empty()).map(str::to_owned).collect();
        let other = form.text(&format!("q{n}-other")).trim().to_owned();
        if !other.is_empty() {
            // Words of one's own are more than a choice; beside several choices they are one more.
            if !question.multi_select {
                chosen.clear();
            }
            chosen.push(other);
        }
        let note = form.text(&format!("n{n}")).trim().to_owned();
        if !note.is_empty() {
            notes.insert(question.question.clone(), note);
        }
        match (question.multi_select, chosen.len()) {
            (_, 0) => {}
            (true, _) => {
                answers.insert(question.question, Value::from(chosen));
            }
            (false, _) => {
                answers.insert(question.question, Value::from(chosen.swap_remove(0)));
            }
        }
    }
    (answers, notes)
}
