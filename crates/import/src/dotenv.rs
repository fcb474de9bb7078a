//! `.env`, as shells and dotenv libraries agree to read it.

/// An assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The variable.
    pub(crate) name: String,
    /// What stands on the right, without quotes.
    pub(crate) value: String,
    /// The line that it begins on.
    pub(crate) line: usize,
    /// Whether `${…}` in it stands for another variable; between single quotes it does not.
    pub(crate) expands: bool,
}

/// All that is in such a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DotEnv {
    /// The assignments, in their order.
    pub(crate) entries: Vec<Entry>,
    /// Lines that are none, and why.
    pub(crate) bad: Vec<(usize, &'static str)>,
}

/// Reads it.
pub(crate) fn parse(text: &str) -> DotEnv {
    let mut parsed = DotEnv::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut position, mut line) = (0, 1);
    while position < text.len() {
        let (start, at) = (position, line);
        let first = text[start..].split('\n').next().unwrap_or_default();
        (position, line) = (start + first.len() + 1, at + 1);
        let statement = first.trim();
        if statement.is_empty() || statement.starts_with('#') {
            continue;
        }
        let Some(equals) = first.find('=') else {
            parsed.bad.push((at, "this is no assignment"));
            continue;
        };
        let name = first[..equals].trim();
        let name = name.strip_prefix("export ").map_or(name, str::trim_start);
        if !is_name(name) {
            parsed.bad.push((at, "what stands before `=` is no name of a variable"));
            continue;
        }
        let behind = &first[equals + 1..];
        let value = behind.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        let Some(quote) = quote else {
            let value = unquoted(behind.trim());
            parsed.entries.push(Entry { name: name.into(), value, line: at, expands: true });
            continue;
        };
        // A value between quotes may go on over lines.
        let opens = start + equals + 1 + (behind.len() - value.len()) + quote.len_utf8();
        let Some(length) = closing(&text[opens..], quote) else {
            parsed.bad.push((at, "the quote that opens here is never closed"));
            continue;
        };
        let inside = &text[opens..opens + length];
        let newlines = inside.matches('\n').count();
        let value = if quote == '"' { unescaped(inside) } else { inside.to_owned() };
        let expands = quote == '"' && !inside.contains("\\$");
        parsed.entries.push(Entry { name: name.into(), value, line: at, expands });
        let after = opens + length + quote.len_utf8();
        let trailing = text[after..].split('\n').next().unwrap_or_default();
        if !matches!(trailing.trim().chars().next(), None | Some('#')) {
            parsed.bad.push((at + newlines, "something stands after the closing quote"));
        }
        (position, line) = (after + trailing.len() + 1, at + newlines + 1);
    }
    parsed
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// Up to a comment, which a space announces.
fn unquoted(value: &str) -> String {
    if value.starts_with('#') {
        return String::new();
    }
    let comment = value.match_indices('#').find(|(at, _)| value[..*at].ends_with([' ', '\t']));
    value[..comment.map_or(value.len(), |(at, _)| at)].trim_end().to_owned()
}

/// Where the quote closes.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, value and line.
    type Assigned = &'static [(&'static str, &'static str, usize)];

    fn read(text: &str) -> Vec<(String, String, usize)> {
        let parsed = parse(text);
        assert!(parsed.bad.is_empty(), "{text:?}: {:?}", parsed.bad);
        parsed.entries.into_iter().map(|entry| (entry.name, entry.value, entry.line)).collect()
    }

    #[test]
    fn assignments() {
        let cases: [(&str, Assigned); 12] = [
            ("", &[]),
            ("A=1", &[("A", "1", 1)]),
            ("# no\n\nA=1 # why\r\nB=\n", &[("A", "1", 3), ("B", "", 4)]),
            ("export A='x # y'", &[("A", "x # y", 1)]),
            ("A=\"x\\n\\\"y\\\"\" # z", &[("A", "x\n\"y\"", 1)]),
            ("A=x#y", &[("A", "x#y", 1)]),
            ("A = 1", &[("A", "1", 1)]),
            ("A=\"one\ntwo\"\nB=2", &[("A", "one\ntwo", 1), ("B", "2", 3)]),
            ("A=1\nA=2", &[("A", "1", 1), ("A", "2", 2)]),
            ("A=a=b", &[("A", "a=b", 1)]),
            ("\u{feff}A=1", &[("A", "1", 1)]),
            ("A='ä'  \nB=\"ö\"\n", &[("A", "ä", 1), ("B", "ö", 2)]),
        ];
        for (text, expected) in cases {
            let expected: Vec<_> =
                expected.iter().map(|(n, v, l)| ((*n).to_owned(), (*v).to_owned(), *l)).collect();
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_assignment_is_said_by_its_line() {
        let cases = [("set -a", 1), ("A=1\n1B=2", 2), ("A=\"x\n#", 1), ("A='x' y", 1), ("=x", 1)];
        for (text, line) in cases {
            let bad: Vec<usize> = parse(text).bad.into_iter().map(|(line, _)| line).collect();
            assert_eq!(bad, [line], "{text:?}");
        }
    }

    #[test]
    fn only_single_quotes_and_backslashes_keep_a_variable_from_its_value() {
        for (text, expands) in
            [("A=${B}", true), ("A=\"${B}\"", true), ("A='${B}'", false), ("A=\"\\${B}\"", false)]
        {
            assert_eq!(parse(text).entries[0].expands, expands, "{text}");
        }
    }
}
