//! Text of others as one safe line.

use holdpoint_model::UnixMs;
use jiff::Timestamp;

/// Words on one line, without anything that a terminal, a header or a notification would take for more
/// than a letter, cut to `most` characters.
pub(crate) fn one_line(text: &str, most: usize) -> String {
    let visible = text.chars().map(|c| if c.is_control() || is_invisible(c) { ' ' } else { c });
    let line = visible.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most {
        return line;
    }
    let mut cut: String = line.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Characters that change the order of others, or are not seen at all.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn rfc3339(at: UnixMs) -> String {
    format!("{:.3}", timestamp(at))
}

/// For a person, in UTC, to the minute.
pub(crate) fn readable(at: UnixMs) -> String {
    timestamp(at).strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn timestamp(at: UnixMs) -> Timestamp {
    Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_one_line() {
        assert_eq!(one_line("  a\r\nTitle: b\t\u{202e}c\0 ", 40), "a Title: b c");
        assert_eq!(one_line("a long line", 6), "a lon…");
        assert_eq!(one_line("", 6), "");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(readable(1_700_000_000_123), "2023-11-14 22:13 UTC");
    }
}
