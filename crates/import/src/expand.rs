//! `${NAME}`: what it stands for, where it stands for anything.

/// The longest text that comes of putting values in: a few lines can otherwise stand for gigabytes.
const MAX_EXPANDED_BYTES: usize = 16 * 1024;

/// A `${…}` in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// What stands for it if it is not set, as in `${NAME:-this}`.
    default: Option<&'a str>,
    /// Where it is.
    span: (usize, usize),
}

/// Every `${…}` of a text.
pub(crate) fn variables(text: &str) -> Vec<Variable<'_>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find("${").map(|at| from + at) {
        let Some(end) = text[start..].find('}').map(|at| start + at) else { break };
        let inside = &text[start + 2..end];
        let stop = inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inside.len());
        let (name, rest) = inside.split_at(stop);
        let rest = rest.strip_prefix(':').unwrap_or(rest);
        if !name.is_empty() {
            found.push(Variable { name, default: rest.strip_prefix('-'), span: (start, end + 1) });
        }
        from = end + 1;
    }
    found
}

/// What of a text stands between its variables.
pub(crate) fn literals(text: &str) -> Vec<&str> {
    let mut from = 0;
    let mut found = Vec::new();
    for variable in variables(text) {
        found.push(&text[from..variable.span.0]);
        from = variable.span.1;
    }
    found.push(&text[from..]);
    found
}

/// The text with values in place of its variables.
///
/// # Errors
/// The names that nothing stands for; none of them if the text would become too long.
pub(crate) fn expand(text: &str, value_of: impl Fn(&str) -> Option<String>) -> Result<String, Vec<String>> {
    let (mut out, mut from, mut missing) = (String::new(), 0, Vec::new());
    for variable in variables(text) {
        out.push_str(&text[from..variable.span.0]);
        from = variable.span.1;
        match value_of(variable.name).or_else(|| variable.default.map(str::to_owned)) {
            Some(value) => out.push_str(&value),
            None => missing.push(variable.name.to_owned()),
        }
        if out.len() > MAX_EXPANDED_BYTES {
            return Err(Vec::new());
        }
    }
    out.push_str(&text[from..]);
    if missing.is_empty() { Ok(out) } else { Err(missing) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_place_of_names() {
        let value = |name: &str| (name == "A").then(|| "1".to_owned());
        for (text, expected) in [
            ("x${A}y", Ok("x1y".to_owned())),
            ("${A}${A}", Ok("11".to_owned())),
            ("${B:-2} ${B-3}", Ok("2 3".to_owned())),
            ("${B}", Err(vec!["B".to_owned()])),
            ("$A ${ ${}", Ok("$A ${ ${}".to_owned())),
            ("ä${A}ö", Ok("ä1ö".to_owned())),
        ] {
            assert_eq!(expand(text, value), expected, "{text}");
        }
        let long = |_: &str| Some("x".repeat(MAX_EXPANDED_BYTES));
        assert_eq!(expand("${A}${A}", long), Err(Vec::new()));
    }
}
