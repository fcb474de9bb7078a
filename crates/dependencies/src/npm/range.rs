//! npm's ranges of versions: several stretches, any of which will do.

use super::interval::Interval;

/// The most stretches of a range, each of which is held against each of another's.
const MAX_STRETCHES: usize = 16;

/// The longest text of one.
const MAX_BYTES: usize = 1024;

/// A range as it was written, and what it means.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    text: String,
    stretches: Vec<Interval>,
}

impl Range {
    /// Reads a range; `None` if it is none, if no version can be in it, or if it is too long.
    ///
    /// Only what npm documents is one. npm itself reads around what it does not know, and a typing error
    /// would be a wider range.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() > MAX_BYTES {
            return None;
        }
        let mut stretches = Vec::new();
        for alternative in text.split("||") {
            stretches.extend(stretch(alternative)?);
            if stretches.len() > MAX_STRETCHES {
                return None;
            }
        }
        // To npm, one that takes any release is the whole range: pre-releases that others name are out.
        let any = stretches.iter().any(|it| it.same(&Interval::ANY));
        let stretches = if any { vec![Interval::ANY] } else { without_covered(stretches) };
        let text = if text.is_empty() { "*" } else { text };
        (!stretches.is_empty()).then(|| Self { text: text.to_owned(), stretches })
    }

    /// The range, as it is written in `package.json`.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether every release is in it.
    pub(crate) fn is_any(&self) -> bool {
        self.stretches.iter().any(|it| it.same(&Interval::ANY))
    }

    /// What is in both; `None` if no version is. The words are those of the one that says it already, the
    /// shorter of the two if both do.
    pub(crate) fn meet(&self, other: &Self) -> Option<Self> {
        let met = self.stretches.iter().flat_map(|a| other.stretches.iter().filter_map(|b| a.meet(b)));
        let stretches = without_covered(met.collect());
        if stretches.is_empty() {
            return None;
        }
        let said = [self, other].into_iter().filter(|it| same(&it.stretches, &stretches)).map(|it| &it.text);
        let text = match said.min_by_key(|text| (text.len(), *text)) {
            Some(text) => text.clone(),
            None => stretches.iter().map(ToString::to_string).collect::<Vec<_>>().join(" || "),
        };
        Some(Self { text, stretches })
    }
}

fn same(a: &[Interval], b: &[Interval]) -> bool {
    a.len() == b.len() && a.iter().all(|one| b.iter().any(|other| one.same(other)))
}

/// The stretches without those that lie in another, in one order whatever order they came in.
fn without_covered(stretches: Vec<Interval>) -> Vec<Interval> {
    let mut kept: Vec<Interval> = Vec::new();
    for one in stretches {
        if !kept.iter().any(|other| other.covers(&one)) {
            kept.retain(|other| !one.covers(other));
            kept.push(one);
        }
    }
    kept.sort_by_cached_key(ToString::to_string);
    kept
}

/// Reads what stands between `||`: comparators that all hold, or `a - b`. The outer `None` is an error, the
/// inner says that no version meets it.
fn stretch(text: &str) -> Option<Option<Interval>> {
    if let Some((from, to)) = text.split_once(" - ") {
        let (from, to) = (from.trim(), to.trim());
        if !is_version(from) || !is_version(to) {
            return None;
        }
        let both = comparator(">=", from)?.within(&comparator("<=", to)?);
        return Some(Some(both).filter(Interval::has_any));
    }
    let mut all = Interval::ANY;
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let version_at = word.find(|c: char| !"<>=~^".contains(c)).unwrap_or(word.len());
        let (operator, version) = word.split_at(version_at);
        let version = if version.is_empty() { words.next()? } else { version };
        if !["", "=", ">", ">=", "<", "<=", "^", "~", "~>"].contains(&operator) || !is_version(version) {
            return None;
        }
        if matches!(operator, "<" | ">") && is_wild(version) {
            return Some(None);
        }
        all = all.within(&comparator(operator, version)?);
    }
    Some(Some(all).filter(Interval::has_any))
}

fn is_wild(version: &str) -> bool {
    version.starts_with(['*', 'x', 'X'])
}

fn comparator(operator: &str, version: &str) -> Option<Interval> {
    if is_wild(version) {
        return Some(Interval::ANY);
    }
    let operator = if operator == "~>" { "~" } else { operator };
    Interval::parse(&format!("{operator}{version}"))
}

/// A version, or the beginning of one: `1`, `1.2`, `1.2.x`, `v1.2.3-rc.1`.
fn is_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let ends = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(ends);
    let mut count = 0;
    let numeric = numbers.split('.').all(|part| {
        count += 1;
        matches!(part, "x" | "X" | "*") || (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    });
    numeric && count <= 3 && (rest.is_empty() || count == 3) && {
        rest.bytes().all(|b| b.is_ascii_alphanumeric() || b".-+".contains(&b))
            && !rest.ends_with(['.', '-', '+'])
    }
}
