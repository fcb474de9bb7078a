//! Text of others as it is, with what hides in it made visible.

use maud::{Markup, html};
use serde_json::Value;

/// Whether a character changes how others are read without being seen itself: controls, marks of
/// writing direction, characters without width. With them a command can look like another one.
fn hides(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text that somebody decides on.
pub(in crate::panel) fn visible(text: &str) -> Markup {
    html! {
        @for part in text.split_inclusive(hides) {
            @match part.chars().next_back().filter(|last| hides(*last)) {
                Some(hidden) => {
                    (&part[..part.len() - hidden.len_utf8()])
                    span.hidden-char title="a character that cannot be seen" { "U+" (format!("{:04X}", u32::from(hidden))) }
                }
                None => (part),
            }
        }
    }
}

/// The same where there is no place for more than text, as in a picture.
pub(in crate::panel) fn visible_text(text: &str) -> String {
    text.chars().map(|c| if hides(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// JSON, indented.
pub(in crate::panel) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// The value of a textarea. The parser drops one line break behind the tag: here it gets its own.
pub(in crate::panel) fn area_value(text: &str) -> String {
    format!("\n{text}")
}

/// Lines that a textarea needs to show a text, within reason.
pub(in crate::panel) fn rows(text: &str, least: usize, most: usize) -> usize {
    let lines: usize = text.lines().take(most).map(|line| 1 + line.chars().count() / 80).sum();
    lines.clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_shown() {
        let shown = visible("rm \u{202e}txt.exe\u{200b}\r\n<b>").into_string();
        for code in ["U+202E", "U+200B", "U+000D"] {
            assert!(shown.contains(code), "{shown}");
        }
        assert!(shown.contains("\n&lt;b&gt;"), "{shown}");
        assert_eq!(visible("plain ü text").into_string(), "plain ü text");
        assert_eq!(visible_text("a\u{202e}ü"), "a\u{fffd}ü");
    }
}
