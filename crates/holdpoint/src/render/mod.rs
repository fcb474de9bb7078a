//! What people read at the terminal. Everything that a model or a person wrote is data: control
//! characters never reach the terminal.

pub mod events;
pub mod holds;
pub mod paint;
pub mod time;

#[cfg(test)]
mod tests;

/// The text without anything that a terminal would obey: only letters, line ends and tabs.
#[must_use]
pub fn clean(text: &str) -> String {
    text.replace("\r\n", "\n")
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        // These turn the direction of what follows, so that it reads as something else than it is.
        .filter(|c| !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        .collect()
}

/// As [`clean`], with a mark in place of everything that would be left out or not be seen: what a
/// person allows has to be what they were shown.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        match c {
            '\n' | '\t' => out.push(c),
            // Unicode has a picture of each of these.
            '\0'..='\u{1f}' => out.extend(char::from_u32(0x2400 + u32::from(c))),
            '\u{7f}' => out.push('␡'),
            '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}' => out.push_str(&format!("<U+{:04X}>", u32::from(c))),
            _ => out.push(c),
        }
    }
    out
}

/// In place of a number of lines: all of them.
pub const ALL_LINES: usize = usize::MAX;

/// The first line, cut to `width` characters.
#[must_use]
pub fn one_line(text: &str, width: usize) -> String {
    let cleaned = clean(text);
    let mut words = cleaned.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() > width {
        words = words.chars().take(width.saturating_sub(1)).collect();
        words.push('…');
    }
    words
}

/// Each line moved to the right, and no more than `most` lines.
#[must_use]
pub fn block(text: &str, indent: &str, most: usize) -> String {
    let cleaned = clean(text);
    let lines: Vec<&str> = cleaned.trim_end().lines().collect();
    let mut out: Vec<String> =
        lines.iter().take(most).map(|line| format!("{indent}{line}").trim_end().to_owned()).collect();
    if lines.len() > most {
        out.push(format!("{indent}… {} more lines", lines.len() - most));
    }
    out.join("\n")
}
