//! Words of others, made fit to be shown.

/// The most that is shown of a name or value, in characters.
const MAX_SHOWN: usize = 100;

/// The text on one line, not too long, and without anything that a terminal would obey or nobody would see.
pub(crate) fn shown(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(MAX_SHOWN + 1)
        .map(|c| if c.is_control() || is_unseen(c) { '\u{fffd}' } else { c })
        .collect();
    if let Some((end, _)) = out.char_indices().nth(MAX_SHOWN) {
        out.truncate(end);
        out.push('…');
    }
    out
}

/// Marks that turn the direction of what follows, or take no room.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}
