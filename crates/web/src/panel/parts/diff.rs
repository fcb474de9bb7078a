//! What a change changes, in colour.

use maud::{Markup, html};
use serde_json::Value;

use super::text::visible;

/// Lines of one change that are shown in colour; the others follow as plain text, which browsers
/// lay out with far less work. None is left out: whoever allows a change must be able to see it all.
const MAX_COLOURED: usize = 2_000;

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
    Some(html! {
        div.diff {
            @for (old, new, lines) in &hunks {
                div.hunk { "line " (old) @if old != new { " → " (new) } }
                (rows(&lines.iter().map(|text| signed_of(text)).collect::<Vec<_>>()))
            }
        }
    })
}

/// What an edit would replace, before it happens: the lines that stay the same on either end are
/// its context. Split at line feeds alone, so that a change of line ends is one.
pub(in crate::panel) fn replacement(old: &str, new: &str) -> Markup {
    let lines = |text| -> Vec<&str> { str::split(text, '\n').filter(|_| !text.is_empty()).collect() };
    let (old, new) = (lines(old), lines(new));
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let most = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let parts = [
        (' ', &old[..head]),
        ('-', &old[head..old.len() - tail]),
        ('+', &new[head..new.len() - tail]),
        (' ', &old[old.len() - tail..]),
    ];
    let lines: Vec<(char, &str)> =
        parts.into_iter().flat_map(|(sign, lines)| lines.iter().map(move |text| (sign, *text))).collect();
    html! { div.diff { (rows(&lines)) } }
}

/// Lines by their sign; `\\` is one that says something about the patch.
fn rows(lines: &[(char, &str)]) -> Markup {
    let (coloured, plain) = lines.split_at(lines.len().min(MAX_COLOURED));
    html! {
        @for (sign, text) in coloured { (signed(*sign, text)) }
        @if !plain.is_empty() {
            details.note {
                summary { (plain.len()) " more lines of this change" }
                pre { @for (sign, text) in plain { (sign) (visible(text)) "\n" } }
            }
        }
    }
}

fn signed_of(line: &str) -> (char, &str) {
    match line.chars().next() {
        Some(sign @ ('-' | '+' | ' ')) => (sign, &line[1..]),
        // `\ No newline at end of file`
        _ => ('\\', line),
    }
}
fn signed(sign: char, text: &str) -> Markup {
    let (class, said) = match sign {
        '-' => ("del", "removed: "),
        '+' => ("add", "added: "),
        '\\' => return html! { div.hunk { (text) } },
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
        // Line ends are part of a text.
        let shown = replacement("a\r\nb", "a\nb\n").into_string();
        assert!(shown.contains("U+000D"), "{shown}");
        assert_eq!(shown.matches("class=\"add\"").count(), 3, "{shown}");
        for (old, new) in [("", "a"), ("a", ""), ("a\na", "a"), ("a", "a\na"), ("a\nb\na", "a\na")] {
            let _ = replacement(old, new);
        }
    }
    #[test]
    fn of_a_long_change_every_line_is_there() {
        let text = |word: &str| (0..MAX_COLOURED).map(|n| format!("{word} {n}\n")).collect::<String>();
        let shown = replacement(&text("old"), &text("new")).into_string();
        for n in 0..MAX_COLOURED {
            assert!(
                shown.contains(&format!("old {n}<")) || shown.contains(&format!("-old {n}\n")),
                "old {n}"
            );
            assert!(
                shown.contains(&format!("new {n}<")) || shown.contains(&format!("+new {n}\n")),
                "new {n}"
            );
        }
        assert!(shown.contains("more lines of this change"));
        let lines: Vec<String> = (0..3 * MAX_COLOURED).map(|n| format!("+line {n}")).collect();
        let shown = patch(&json!([{"lines": lines}])).expect("a patch").into_string();
        assert!(shown.contains(&format!("line {}\n", 3 * MAX_COLOURED - 1)));
    }
}
