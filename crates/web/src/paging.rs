//! Pages of lists. One row more than a page has is read: whether it is there says whether there is another page.

use holdpoint_store::Cursor;

use crate::{encode, limits, problem::Problem};

/// How many rows a page has, where so many were asked for.
pub(crate) fn page_size(asked: Option<u32>) -> u32 {
    asked.unwrap_or(limits::DEFAULT_PAGE).clamp(1, limits::MAX_PAGE)
}

/// Takes the row too many away, if it is there; then the place of the last one is where the next page begins.
pub(crate) fn cut<T, P>(rows: &mut Vec<T>, limit: u32, place: impl FnOnce(&T) -> P) -> Option<P> {
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    rows.last().filter(|_| more).map(place)
}

/// A place in the list of conversations, as it stands in an address; empty for its beginning.
pub(crate) fn cursor(text: &str) -> Result<Option<Cursor>, Problem> {
    (!text.is_empty()).then(|| text.parse()).transpose().map_err(Problem::invalid)
}

/// An address with those of its parameters that say something.
pub(crate) fn address(path: &str, parameters: &[(&str, &str)]) -> String {
    let said = parameters.iter().filter(|(_, value)| !value.is_empty());
    let query: Vec<String> = said.map(|(name, value)| format!("{name}={}", encode(value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_whether_there_is_another() {
        for (rows, shown, next) in [(0, 0, None), (2, 2, None), (3, 2, Some(2))] {
            let mut rows: Vec<u32> = (1..=rows).collect();
            assert_eq!(cut(&mut rows, 2, |row| *row), next);
            assert_eq!(rows.len(), shown);
        }
    }

    #[test]
    fn addresses_have_what_says_something() {
        assert_eq!(address("/inbox", &[("agent", ""), ("cursor", "")]), "/inbox");
        assert_eq!(
            address("/x", &[("q", "a b&c"), ("agent", ""), ("cursor", "1")]),
            "/x?q=a%20b%26c&cursor=1"
        );
    }
}
