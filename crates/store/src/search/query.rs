//! What somebody types into the search box, as a question to the index.
//!
//! Words all have to be there, each as the beginning of a word; `"what is in quotes"` as it stands; `author:`,
//! `agent:`, `tag:`, `title:`, `input:` and `result:` before a word or quotes look in one place only; `status:`
//! takes one status, or several with commas between. There is nothing else to know, and nothing that is wrong:
//! what has no letter and no digit is left out, and a name before a colon that is none of these is a word.

use holdpoint_model::Status;

/// Words of a question at most; what comes after them is left out.
const MAX_TERMS: usize = 32;

/// Where there is something to find for people.
const VISIBLE: &str = "{title author agent tags input result}";

const STATUSES: [Status; 6] =
    [Status::Starting, Status::Running, Status::Awaiting, Status::Finished, Status::Error, Status::Cancelled];

/// A question to the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    terms: Vec<Term>,
    /// None for any; empty where no status is called that.
    pub(crate) statuses: Option<Vec<Status>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    columns: &'static str,
    text: String,
    /// Its last word may go on.
    prefix: bool,
}

/// What a name before a colon means.
#[derive(Clone, Copy)]
enum Field {
    Columns(&'static str),
    Status,
}

impl Field {
    fn of(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "title" => Self::Columns("title"),
            "author" => Self::Columns("author"),
            "agent" => Self::Columns("agent"),
            "tag" | "tags" => Self::Columns("tags"),
            "input" => Self::Columns("input"),
            "result" => Self::Columns("result"),
            "status" => Self::Status,
            _ => return None,
        })
    }
}

impl Query {
    /// Any text is a question.
    pub(crate) fn parse(text: &str) -> Self {
        let mut query = Self::default();
        // Nothing comes after a NUL, in the index's own language.
        let text = text.replace('\0', " ");
        let mut rest = text.trim_start();
        while !rest.is_empty() && query.terms.len() < MAX_TERMS {
            let field = rest.split_once(':').and_then(|(name, after)| Some((Field::of(name)?, after)));
            let (field, after) =
                field.map_or((Field::Columns(VISIBLE), rest), |(field, after)| (field, after));
            let (value, quoted, after) = value(after);
            query.add(field, value, quoted);
            rest = after.trim_start();
        }
        query
    }

    fn add(&mut self, field: Field, value: &str, quoted: bool) {
        match field {
            _ if !value.contains(char::is_alphanumeric) => {}
            Field::Status => self.statuses = Some(statuses(value)),
            Field::Columns(columns) => {
                // One letter begins a word in nearly everything: it is taken for the whole of one.
                let is_letter = value.len() == 1 && value.is_ascii();
                let prefix = !(quoted || is_letter);
                self.terms.push(Term { columns, text: value.to_owned(), prefix });
            }
        }
    }

    /// In the index's language, with further conditions; None where there is nothing to look up.
    pub(crate) fn expression(&self, facets: &[String]) -> Option<String> {
        if self.terms.is_empty() {
            return None;
        }
        let terms = self.terms.iter().map(|term| {
            let star = if term.prefix { " *" } else { "" };
            format!("({} : {}{star})", term.columns, phrase(&term.text))
        });
        Some(terms.chain(facets.iter().cloned()).collect::<Vec<_>>().join(" AND "))
    }
}

/// A text as a phrase of the index's language, in which nothing but the quote has a meaning.
pub(crate) fn phrase(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// What stands at the beginning, whether in quotes, and what comes after it. Quotes that nobody closes go on to
/// the end.
fn value(text: &str) -> (&str, bool, &str) {
    if let Some(quoted) = text.strip_prefix('"') {
        let (value, after) = quoted.split_once('"').unwrap_or((quoted, ""));
        return (value, true, after);
    }
    let end = text.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(text.len());
    let (value, after) = text.split_at(end);
    (value, false, after)
}

/// The statuses that a list of their names, or of how these begin, means.
fn statuses(names: &str) -> Vec<Status> {
    let names: Vec<String> =
        names.split(',').map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty()).collect();
    let is_meant = |status: &Status| names.iter().any(|name| status.as_str().starts_with(name.as_str()));
    STATUSES.into_iter().filter(is_meant).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const ANY: &str = "{title author agent tags input result}";

    #[rstest]
    #[case("", None)]
    #[case("  \t ", None)]
    #[case("-- * ( ) \"\" author: ^", None)]
    #[case("contract", Some(format!("({ANY} : \"contract\" *)")))]
    #[case("two words", Some(format!("({ANY} : \"two\" *) AND ({ANY} : \"words\" *)")))]
    #[case("\"two words\"", Some(format!("({ANY} : \"two words\")")))]
    #[case("\"never closed", Some(format!("({ANY} : \"never closed\")")))]
    #[case("a", Some(format!("({ANY} : \"a\")")))]
    #[case("é", Some(format!("({ANY} : \"é\" *)")))]
    #[case("author:ada", Some("(author : \"ada\" *)".to_owned()))]
    #[case("AUTHOR:\"ada lovelace\" x1", Some(format!("(author : \"ada lovelace\") AND ({ANY} : \"x1\" *)")))]
    #[case("tag:legal tags:eu", Some("(tags : \"legal\" *) AND (tags : \"eu\" *)".to_owned()))]
    #[case("http://x", Some(format!("({ANY} : \"http://x\" *)")))]
    #[case("facets:open", Some(format!("({ANY} : \"facets:open\" *)")))]
    #[case("a\" OR b", Some(format!("({ANY} : \"a\") AND ({ANY} : \" OR b\")")))]
    #[case("NEAR(x y", Some(format!("({ANY} : \"NEAR(x\" *) AND ({ANY} : \"y\")")))]
    #[case("a1\0b2", Some(format!("({ANY} : \"a1\" *) AND ({ANY} : \"b2\" *)")))]
    fn expressions(#[case] text: &str, #[case] expected: Option<String>) {
        assert_eq!(Query::parse(text).expression(&[]), expected);
    }

    #[rstest]
    #[case("x1", None)]
    #[case("status:error", Some(vec![Status::Error]))]
    #[case("status:fin,AWAIT", Some(vec![Status::Awaiting, Status::Finished]))]
    #[case("status:\"running\" x1", Some(vec![Status::Running]))]
    #[case("status:nonsense", Some(vec![]))]
    #[case("status:", None)]
    fn statuses_are_taken_out(#[case] text: &str, #[case] expected: Option<Vec<Status>>) {
        assert_eq!(Query::parse(text).statuses, expected);
    }

    #[test]
    fn a_question_has_an_end() {
        let long = "word ".repeat(10_000);
        assert_eq!(Query::parse(&long).terms.len(), MAX_TERMS);
    }
}
