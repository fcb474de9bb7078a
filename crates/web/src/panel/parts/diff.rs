//! What a change changes, in colour.

use maud::{Markup, html};
use serde_json::Value;

use super::text::visible;

/// Lines shown of one change; a longer one is a file to download.
const MAX_LINES: usize = 2_000;

/// The structured patch that Write and Edit report: hunks with lines that begin with ` `, `-` or `+`.
/// Nothing where there is none, or of a shape that is not known.
pub(in crate::panel) fn patch(patch: &Value) -> Option<Markup> {
    let hunks = patch.as_array().or_else(|| patch.get("structuredPatch")?.as_array())?;
    let hunks: Vec<(u64, u64, Vec<&str>)> = hunks
        .iter()
        .filter_map(|hunk| {
            let lines = hunk.get("lines")?.as_array()?.iter().filter_map(Value::as_str).collect();
            let start = |key: &str| hunk.get(key).and_then(Value::as_u64).unwrap_or(1);
            Some((start("oldStart"), start("newStart"), lines))
        })
        .collect();
    if hunks.is_empty() {
        return None;
    }
    let total: usize = hunks.iter().map(|(_, _, lines)| lines.len()).sum();
    Some(html! {
        div.diff {
            @for (old, new, lines) in &hunks {
                div.hunk { "line " (old) @if old != new { " → " (new) } }
                @for text in lines.iter().take(MAX_LINES) { (line(text)) }
            }
            @if total > MAX_LINES { div.hunk { "… " (total - MAX_LINES) " more lines" } }
        }
    })
}

/// What an edit would replace, before it happens: the lines that stay the same on either end are
/// its context.
pub(in crate::panel) fn replacement(old: &str, new: &str) -> Markup {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let most = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let removed = &old[head..old.len() - tail];
    let added = &new[head..new.len() - tail];
    html! {
        div.diff {
            @for text in &old[..head] { (signed(' ', text)) }
            @for text in removed.iter().take(MAX_LINES) { (signed('-', text)) }
            @for text in added.iter().take(MAX_LINES) { (signed('+', text)) }
            @for text in &old[old.len() - tail..] { (signed(' ', text)) }
            @if removed.len().max(added.len()) > MAX_LINES { div.hunk { "… more lines" } }
        }
    }
}

fn line(text: &str) -> Markup {
    let mut chars = text.chars();
    match chars.next() {
        Some(sign @ ('-' | '+' | ' ')) => signed(sign, chars.as_str()),
        // `\ No newline at end of file`
        _ => html! { div.hunk { (text) } },
    }
}

fn signed(sign: char, text: &str) -> Markup {
    let (class, said) = match sign {
        '-' => ("del", "removed: "),
        '+' => ("add", "added: "),
        _ => ("same", ""),
    };
    html! {
        div class=(class) {
            span.sign aria-hidden="true" { (sign) }
            @if !said.is_empty() { span.unseen { (said) } }
            span { (visible(text)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patches_show_their_signs_and_hide_no_markup() {
        let shown =
            patch(&json!([{"oldStart": 3, "newStart": 4, "lines": [" a", "-<b>", "+c", "\\ No newline"]}]))
                .expect("a patch")
                .into_string();
        insta::assert_snapshot!(shown);
        assert!(patch(&json!([])).is_none());
        assert!(patch(&json!("x")).is_none());
        assert!(patch(&json!([{"lines": "x"}])).is_none());
    }

    #[test]
    fn a_replacement_keeps_what_stays() {
        let shown = replacement("a\nb\nc\nd", "a\nx\ny\nc\nd").into_string();
        assert_eq!(shown.matches("class=\"same\"").count(), 3);
        assert_eq!(shown.matches("class=\"del\"").count(), 1);
        assert_eq!(shown.matches("class=\"add\"").count(), 2);
        for (old, new) in [("", "a"), ("a", ""), ("a\na", "a"), ("a", "a\na"), ("a\nb\na", "a\na")] {
            let _ = replacement(old, new);
        }
    }
}
