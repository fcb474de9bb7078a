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
