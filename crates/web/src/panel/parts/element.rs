//! The elements of an entry form, as controls that browsers know.

use holdpoint_model::{
    UploadId,
    form::{Bound, FieldKind, FormField, UPLOAD_PREFIX, is_yes},
};
use maud::{Markup, PreEscaped, html};

use super::text;
use crate::markdown;

/// What a field shows.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::panel) struct Shown<'a> {
    /// What is in it. Of a password, nothing.
    pub(in crate::panel) value: &'a str,
    /// What is wrong with it.
    pub(in crate::panel) error: Option<&'a str>,
    /// What was uploaded for it.
    pub(in crate::panel) kept: &'a [Kept],
    /// Whether it has the focus when the page opens.
    pub(in crate::panel) first: bool,
}

/// A file that has been uploaded for a field; under the empty name, for none.
#[derive(Clone, Debug)]
pub(in crate::panel) struct Kept {
    pub(in crate::panel) field: String,
    pub(in crate::panel) id: UploadId,
    pub(in crate::panel) name: String,
    pub(in crate::panel) size_bytes: u64,
}

/// A field, or something to read. Buttons come at the form's end, errors where the page says them.
pub(in crate::panel) fn element(field: &FormField, shown: Shown<'_>) -> Markup {
    match field.kind {
        FieldKind::Markdown => html! { div.prose { (markdown::render(&field.text)) } },
        FieldKind::Html => html! { div.prose { (PreEscaped(markdown::clean_html(&field.text))) } },
        FieldKind::Break => html! { div.space {} },
        FieldKind::Hr => html! { hr; },
        FieldKind::Errors | FieldKind::Submit | FieldKind::Cancel | FieldKind::Action => Markup::default(),
        _ => labelled(field, shown),
    }
}

fn labelled(field: &FormField, shown: Shown<'_>) -> Markup {
    let id = format!("field-{}", field.name);
    let error_id = shown.error.map(|_| format!("{id}-error"));
    let is_file = field.kind == FieldKind::File;
    html! {
        div.field data-upload=[is_file.then_some(&field.name)] data-required[is_file && field.required] {
            @if field.kind == FieldKind::Checkbox {
                (checkbox(field, &id, error_id.as_deref(), shown))
            } @else {
                label for=(id) { (field.title()) @if !field.required { span.quiet { " (optional)" } } }
                (control(field, &id, error_id.as_deref(), shown))
            }
            @if is_file { (uploads(shown.kept)) }
            @if let Some(error) = shown.error { p.field-error id=[&error_id] { (error) } }
        }
    }
}

fn checkbox(field: &FormField, id: &str, error_id: Option<&str>, shown: Shown<'_>) -> Markup {
    html! {
        // The words beside the box, where the field has some of its own.
        @if !field.text.is_empty() { span.label { (field.title()) } }
        label.check {
            input id=(id) type="checkbox" name=(field.name) value="yes" checked[is_yes(shown.value) == Some(true)]
                required[field.required] autofocus[shown.first]
                aria-invalid=[error_id.map(|_| "true")] aria-describedby=[error_id];
            span { @if field.text.is_empty() { (field.title()) } @else { (field.text) } }
        }
    }
}

fn control(field: &FormField, id: &str, error_id: Option<&str>, shown: Shown<'_>) -> Markup {
    let (name, value, first) = (&field.name, shown.value, shown.first);
    let invalid = error_id.map(|_| "true");
    let at_least = usize::from(field.rows.unwrap_or(5));
    html! {
        @match field.kind {
            FieldKind::Area => textarea id=(id) name=(name) rows=(text::rows(value, at_least, at_least.max(20)))
                cols=[field.cols] minlength=[field.min_length] maxlength=[field.max_length]
                placeholder=(field.placeholder) required[field.required] autofocus[first]
                aria-invalid=[invalid] aria-describedby=[error_id] { (text::area_value(value)) },
            FieldKind::Select => select id=(id) name=(name) required[field.required] autofocus[first]
                aria-invalid=[invalid] aria-describedby=[error_id]
            {
                @if !field.required || value.is_empty() { option value="" { "—" } }
                @for choice in &field.options {
                    option value=(choice.name()) selected[choice.name() == value] { (choice.label()) }
                }
            },
            FieldKind::File => input id=(id) type="file" name=(name) multiple[field.multiple]
                webkitdirectory[field.directory] required[field.required && shown.kept.is_empty()] autofocus[first]
                aria-invalid=[invalid] aria-describedby=[error_id];,
            FieldKind::Password => input id=(id) type="password" name=(name) autocomplete="off"
                placeholder=(field.placeholder) size=[field.size] pattern=[&field.pattern]
                minlength=[field.min_length] maxlength=[field.max_length]
                required[field.required] autofocus[first] aria-invalid=[invalid] aria-describedby=[error_id];,
            kind => input id=(id) name=(name) value=(value) type=(kind.as_str()) placeholder=(field.placeholder)
                size=[field.size] pattern=[&field.pattern] minlength=[field.min_length] maxlength=[field.max_length]
                min=[bound(field.min.as_ref())] max=[bound(field.max.as_ref())] step=[step(field)]
                required[field.required] autofocus[first] aria-invalid=[invalid] aria-describedby=[error_id];,
        }
    }
}

fn bound(bound: Option<&Bound>) -> Option<String> {
    bound.map(ToString::to_string)
}

/// Without one, a browser would take whole numbers alone.
fn step(field: &FormField) -> Option<String> {
    let any = (field.kind == FieldKind::Number).then(|| "any".to_owned());
    field.step.map(|step| step.to_string()).or(any)
}

/// Files that are uploaded already; unchecked, one is left out. A script adds those that it uploads.
fn uploads(kept: &[Kept]) -> Markup {
    html! {
        ul.uploads {
            @for Kept { field, id, name, size_bytes } in kept {
                li data-uploaded=(id) {
                    label.check {
                        input type="checkbox" name={ (UPLOAD_PREFIX) (field) } value=(id) checked;
                        span { (text::visible(name)) " " span.quiet { "(" (size(*size_bytes)) ", uploaded)" } }
                    }
                }
            }
        }
    }
}

/// Files for the conversation as a whole, where the form asks for none.
pub(in crate::panel) fn attach(kept: &[Kept]) -> Markup {
    html! {
        div.field data-upload="" {
            (super::hold::attach())
            (uploads(kept))
        }
    }
}

/// The buttons of a form, in their order; one that starts, where there is none.
pub(in crate::panel) fn buttons(fields: &[FormField]) -> Markup {
    let starts = |field: &&FormField| matches!(field.kind, FieldKind::Submit | FieldKind::Action);
    let primary = fields.iter().position(|field| starts(&field));
    let words = |field: &FormField, default: &str| {
        if field.text.is_empty() { default.to_owned() } else { field.text.clone() }
    };
    html! {
        @for (n, field) in fields.iter().enumerate() {
            @match field.kind {
                FieldKind::Submit => button.primary[primary == Some(n)] type="submit" data-action="start" {
                    (words(field, "Start"))
                },
                FieldKind::Action => button.primary[primary == Some(n)] type="submit" data-action="start-as"
                    name=(field.name) value=(field.value) { (words(field, &field.value)) },
                // No button: nothing is sent, and nothing need be filled in.
                FieldKind::Cancel => a.button href="/" data-action="cancel" { (words(field, "Cancel")) },
                _ => {},
            }
        }
        @if primary.is_none() { button.primary type="submit" data-action="start" { "Start" } }
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}
