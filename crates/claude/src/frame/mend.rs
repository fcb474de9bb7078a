//! JSON as JavaScript writes it, made readable for a parser that wants Unicode.
//!
//! `JSON.stringify` writes half of a surrogate pair as an escape (`\ud83e`) when a string was cut between the
//! halves, which is what cutting tool output at n UTF-16 units does. That is no valid Unicode and serde_json
//! refuses the whole frame. Losing a frame is worse than losing half a character.

const REPLACEMENT: &[u8] = b"\\ufffd";

/// The line with every lone surrogate escape replaced by U+FFFD, or `None` when there was none.
pub(crate) fn replace_lone_surrogates(line: &[u8]) -> Option<Vec<u8>> {
    let mut mended: Option<Vec<u8>> = None;
    let mut at = 0;
    let mut copied = 0;
    while at < line.len() {
        if line[at] != b'\\' {
            at += 1;
            continue;
        }
        match escape(line, at) {
            Some(0xD800..=0xDBFF) if matches!(escape(line, at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
            Some(0xD800..=0xDFFF) => {
                let out = mended.get_or_insert_with(|| Vec::with_capacity(line.len()));
                out.extend_from_slice(&line[copied..at]);
                out.extend_from_slice(REPLACEMENT);
                at += 6;
                copied = at;
            }
            Some(_) => at += 6,
            // Any other escape is two bytes; stepping over both keeps `\\u` from being read as an escape.
            None => at += 2,
        }
    }
    if let Some(out) = &mut mended {
        out.extend_from_slice(&line[copied..]);
    }
    mended
}

/// The code unit of the `\uXXXX` at `at`.
fn escape(line: &[u8], at: usize) -> Option<u16> {
    let digits = line.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mend(text: &str) -> Option<String> {
        replace_lone_surrogates(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn whole_pairs_and_escaped_backslashes_are_left_alone() {
        assert_eq!(mend(r#""\ud83e\udd80 \\ud83e \n A""#), None);
    }

    #[test]
    fn halves_become_the_replacement_character() {
        assert_eq!(mend(r#""a\ud83e""#).unwrap(), r#""a\ufffd""#);
        assert_eq!(mend(r#""\udd80b\ud83e\ud83e\udd80""#).unwrap(), r#""\ufffdb\ufffd\ud83e\udd80""#);
    }
}
