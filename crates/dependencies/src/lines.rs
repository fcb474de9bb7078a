//! A file's lines: numbered, of a limited length, without characters that nobody sees.

/// The most that a line may be, continuations included: a requirement with fifty hashes is about 4 000.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// A line, or several that end in `\` and are one.
#[derive(Debug)]
pub(crate) struct Line {
    /// The first line's number, from one.
    pub(crate) number: usize,
    /// Without comment, and without spaces at its ends. Never empty.
    pub(crate) text: String,
}

/// A line that cannot be taken.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) number: usize,
    pub(crate) what: String,
    pub(crate) instead: &'static str,
}

/// What a text says beyond the mark that some editors put at its beginning.
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Characters that show nothing, or turn around what is shown: a reader would see another line than the
/// installer does.
pub(crate) fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The lines that say something, as pip joins and strips them.
///
/// A `#` begins a comment at the start of a line and after a space, so that addresses keep their fragments.
/// With `joined`, a line that ends in `\` goes on with the next, and a line that is a comment ends that.
pub(crate) fn lines(text: &str, joined: bool) -> impl Iterator<Item = Result<Line, Unreadable>> {
    let mut raw = without_mark(text).lines().enumerate();
    std::iter::from_fn(move || {
        loop {
            let (index, first) = raw.next()?;
            let number = index + 1;
            let mut whole = first.to_owned();
            let mut trouble = trouble(first);
            let mut piece = first;
            while joined && piece.ends_with('\\') && !is_comment(piece) {
                if comment_start(piece).is_some() {
                    trouble.get_or_insert((
                        "a comment ends in `\\`, so that the next line is part of the comment".to_owned(),
                        "take the `\\` away, or put the comment on a line of its own",
                    ));
                }
                whole.pop();
                let Some((_, next)) = raw.next() else { break };
                trouble = trouble.or_else(|| self::trouble(next));
                if is_comment(next) {
                    break;
                }
                piece = next;
                if whole.len() + piece.len() > MAX_LINE_BYTES {
                    trouble.get_or_insert_with(too_long);
                } else {
                    whole.push_str(piece);
                }
            }
            if let Some((what, instead)) = trouble {
                return Some(Err(Unreadable { number, what, instead }));
            }
            let text = comment_start(&whole).map_or(whole.as_str(), |start| &whole[..start]).trim();
            if !text.is_empty() {
                return Some(Ok(Line { number, text: text.to_owned() }));
            }
        }
    })
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

fn comment_start(line: &str) -> Option<usize> {
    let bytes = line.as_bytes();
    (0..bytes.len()).find(|&at| bytes[at] == b'#' && (at == 0 || bytes[at - 1].is_ascii_whitespace()))
}

fn too_long() -> (String, &'static str) {
    (format!("the line is longer than {MAX_LINE_BYTES} bytes"), "split what it says into several lines")
}

fn trouble(line: &str) -> Option<(String, &'static str)> {
    if line.len() > MAX_LINE_BYTES {
        return Some(too_long());
    }
    let unseen = line.chars().find(|&c| (c.is_control() && c != '\t') || is_unseen(c))?;
    Some((
        format!("the character U+{:04X} stands in it, which shows nothing", u32::from(unseen)),
        "write the line anew; such a character comes along when text is copied from a page",
    ))
}
