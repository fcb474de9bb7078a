//! A Dockerfile: its instructions, and what `ARG` and `ENV` set.

/// An instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// The line that it begins on.
    pub(crate) line: usize,
    /// Its first word, in capitals.
    pub(crate) word: String,
    /// The rest; a line that went on is two lines here, too.
    pub(crate) rest: String,
}

/// What `ARG` or `ENV` set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// The name.
    pub(crate) name: String,
    /// The value; `ARG` may have none.
    pub(crate) value: Option<String>,
    /// The line of its name.
    pub(crate) line: usize,
}

/// The instructions of a Dockerfile.
pub(crate) fn parse(text: &str) -> Vec<Instruction> {
    let escape =
        if text.lines().take_while(|line| line.starts_with('#')).any(is_backtick) { '`' } else { '\\' };
    let mut found: Vec<Instruction> = Vec::new();
    let mut goes_on = false;
    let mut ends: Vec<String> = Vec::new();
    for (i, whole) in text.lines().enumerate() {
        if let Some(end) = ends.first() {
            // The body of a here-document belongs to its instruction.
            if whole.trim() == end {
                ends.remove(0);
            } else if let Some(last) = found.last_mut() {
                last.rest.push('\n');
                last.rest.push_str(whole);
            }
            continue;
        }
        let line = whole.trim();
        if line.starts_with('#') || (line.is_empty() && !goes_on) {
            if let Some(last) = found.last_mut().filter(|_| goes_on) {
                last.rest.push('\n');
            }
            continue;
        }
        let (body, continued) = match line.strip_suffix(escape) {
            Some(body) => (body.trim_end(), true),
            // An empty line between two that belong together is passed over.
            None => (line, goes_on && line.is_empty()),
        };
        if goes_on {
            if let Some(last) = found.last_mut() {
                last.rest.push('\n');
                last.rest.push_str(body);
            }
        } else {
            let (word, rest) = body.split_once(char::is_whitespace).unwrap_or((body, ""));
            found.push(Instruction {
                line: i + 1,
                word: word.to_ascii_uppercase(),
                rest: rest.trim_start().into(),
            });
        }
        goes_on = continued;
        if let Some(last) =
            found.last().filter(|last| !goes_on && matches!(last.word.as_str(), "RUN" | "COPY"))
        {
            ends = here_documents(&last.rest);
        }
    }
    found
}

fn is_backtick(comment: &str) -> bool {
    comment
        .trim_start_matches('#')
        .split_once('=')
        .is_some_and(|(name, value)| name.trim().eq_ignore_ascii_case("escape") && value.trim() == "`")
}

/// The words that end the here-documents that an instruction opens.
fn here_documents(rest: &str) -> Vec<String> {
    rest.match_indices("<<")
        .filter(|(at, _)| !rest[..*at].ends_with('<') && !rest[at + 2..].starts_with('<'))
        .filter_map(|(at, _)| {
            let word = rest[at + 2..].trim_start_matches('-').trim_start_matches(['"', '\'']);
            let end = word.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(word.len());
            Some(word[..end].to_owned()).filter(|word| !word.is_empty())
        })
        .collect()
}

/// What an `ARG` or `ENV` sets.
pub(crate) fn pairs(instruction: &Instruction) -> Vec<Pair> {
    let words = words(&instruction.rest);
    let line = |newlines: usize| instruction.line + newlines;
    // The old form, `ENV NAME the rest`.
    if let Some((first, newlines)) = words.first()
        && instruction.word == "ENV"
        && !first.contains('=')
    {
        let value = instruction.rest.split_once(char::is_whitespace).map_or("", |(_, value)| value.trim());
        return vec![Pair { name: first.clone(), value: Some(value.to_owned()), line: line(*newlines) }];
    }
    let pair = |(word, newlines): (String, usize)| match word.split_once('=') {
        Some((name, value)) => {
            Pair { name: name.to_owned(), value: Some(value.to_owned()), line: line(newlines) }
        }
        None => Pair { name: word, value: None, line: line(newlines) },
    };
    words.into_iter().map(pair).filter(|pair| !pair.name.is_empty()).collect()
}

/// The words of an instruction without their quotes, each with how many lines further down it begins.
fn words(text: &str) -> Vec<(String, usize)> {
    let mut found: Vec<(String, usize)> = Vec::new();
    let (mut word, mut quote, mut newlines, mut escaped) = (None::<(String, usize)>, None, 0, false);
    for c in text.chars() {
        let is_newline = c == '\n';
        if escaped {
            word.get_or_insert_with(|| (String::new(), newlines)).0.push(c);
            escaped = false;
        } else if c == '\\' && quote != Some('\'') {
            escaped = true;
        } else if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && matches!(c, '"' | '\'') {
            quote = Some(c);
            word.get_or_insert_with(|| (String::new(), newlines));
        } else if quote.is_none() && c.is_whitespace() {
            found.extend(word.take());
        } else {
            word.get_or_insert_with(|| (String::new(), newlines)).0.push(c);
        }
        newlines += usize::from(is_newline);
    }
    found.extend(word);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, value and line.
    type Set = &'static [(&'static str, Option<&'static str>, usize)];

    fn set(text: &str) -> Vec<(String, Option<String>, usize)> {
        let all = parse(text);
        let set = all.iter().filter(|i| matches!(i.word.as_str(), "ARG" | "ENV")).flat_map(pairs);
        set.map(|pair| (pair.name, pair.value, pair.line)).collect()
    }

    #[test]
    fn what_is_set_and_on_which_line() {
        let cases: [(&str, Set); 8] = [
            ("ARG A", &[("A", None, 1)]),
            ("FROM x\nARG A=1 B=\"2 3\"", &[("A", Some("1"), 2), ("B", Some("2 3"), 2)]),
            ("ENV A=1 \\\n    # why\n    B='2'\n", &[("A", Some("1"), 1), ("B", Some("2"), 3)]),
            ("ENV A the rest", &[("A", Some("the rest"), 1)]),
            ("arg a=b", &[("a", Some("b"), 1)]),
            ("RUN <<EOF\nARG A=1\nEOF\nARG B=2", &[("B", Some("2"), 4)]),
            ("# escape=`\nENV A=1 `\n  B=2", &[("A", Some("1"), 2), ("B", Some("2"), 3)]),
            ("RUN x \\\n\n  && ARG=1\nARG C=\"\\\"q\\\"\"", &[("C", Some("\"q\""), 4)]),
        ];
        for (text, expected) in cases {
            let expected: Vec<_> =
                expected.iter().map(|(n, v, l)| ((*n).to_owned(), v.map(str::to_owned), *l)).collect();
            assert_eq!(set(text), expected, "{text:?}");
        }
    }
}
